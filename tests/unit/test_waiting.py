import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.waiting import standard_wait, wait


@pytest.mark.parametrize("has_fine", [False, True])
def test_waits_equal_minus_log1p_in_relative_precision(has_fine):
    rng = np.random.default_rng(2)
    edges = [0, 1, 2, 255, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFE, 0xFFFF_FFFF]
    coarse = np.concatenate((edges, rng.integers(0, 2**32, 20_000), 2 ** np.arange(32))).astype(np.uint32)
    fine = rng.integers(0, 2**32, coarse.size).astype(np.uint32) if has_fine else None
    part = 0.5 if fine is None else (fine + 0.5) / 2.0**32
    short = (coarse.astype(np.float64) + part) / 2.0**32
    rest = ((~coarse).astype(np.float64) + (1.0 - part)) / 2.0**32
    truth = np.where(coarse < 2**31, -np.log1p(-short), -np.log(rest))
    words = (jnp.asarray(coarse),) if fine is None else (jnp.asarray(coarse), jnp.asarray(fine))
    found = np.asarray(standard_wait(*words), np.float64)
    # the uniform, the logarithm, the quotient and the product: a few roundings of 6e-8 each
    assert np.max(np.abs(found / truth - 1.0)) < 5e-7
    assert np.all(found > 0)


def test_waits_of_uniforms_equal_minus_log1p_in_relative_precision():
    rng = np.random.default_rng(3)
    root = 1.0 - 0.5**0.5  # where the two ways meet
    near_root = root * (1.0 + np.linspace(-1e-5, 1e-5, 2001))
    edges = [2.0**-65, 1e-9, 0.5, 1.0 - 2.0**-24]
    uniforms = np.concatenate((edges, near_root, rng.random(20_000), 10.0 ** rng.uniform(-19, 0, 20_000)))
    uniforms = np.minimum(uniforms, 1.0 - 2.0**-24).astype(np.float32)
    truth = -np.log1p(-uniforms.astype(np.float64))
    found = np.asarray(wait(jnp.asarray(uniforms)), np.float64)
    # the complement, the polynomial and its sums: a few roundings of 6e-8 each
    assert np.max(np.abs(found / truth - 1.0)) < 5e-7


def test_the_longest_wait_is_that_of_the_largest_uniform_below_one():
    assert float(wait(jnp.float32(1.0))) == float(wait(jnp.float32(1.0 - 2.0**-24))) > 16.6
