"""Arrivals fall on voxels by the multinomial law of their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import fold, make_stream
from exodiff.kernels.spreading import spread

REPEATS = 20_000


@jax.jit
def spreads(total, weights):
    streams = jax.vmap(lambda i: fold(make_stream(4, 0), i))(jnp.arange(REPEATS))
    return jax.vmap(lambda stream: spread(Discrete(), stream, 0, total, weights))(streams)


@pytest.mark.parametrize("shape", [(7, 1, 1), (1, 1, 7), (3, 2, 2)])
def test_arrivals_have_the_multinomial_law(shape):
    """Chi-square of all 126 ways to put 4 arrivals on the 6 voxels that have a weight."""
    weights = np.array([0.0, 1.0, 3.0, 0.5, 2.0, 2.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])[: np.prod(shape)]
    found = spreads(jnp.asarray(4), jnp.asarray(weights, jnp.float32).reshape(shape))
    found = np.asarray(found).reshape(REPEATS, -1)
    assert np.all(found.sum(axis=1) == 4)
    assert np.all(found[:, 0] == 0)
    ways, counts = np.unique(found, axis=0, return_counts=True)
    factorial = np.array([1, 1, 2, 6, 24])
    p = weights / weights.sum()
    law = 24.0 / factorial[ways].prod(axis=1) * (p**ways).prod(axis=1)
    assert abs(law.sum() - 1.0) < 2e-3  # nearly all ways were seen
    often = law * REPEATS > 5.0
    expected = np.append(law[often], 1.0 - law[often].sum()) * REPEATS
    seen = np.append(counts[often], REPEATS - counts[often].sum())
    chi_square, freedom = ((seen - expected) ** 2 / expected).sum(), len(seen) - 1
    # 4 standard deviations of a chi-square: a false alarm once in 3000
    assert abs(chi_square - freedom) < 4.0 * np.sqrt(2.0 * freedom)


def test_many_arrivals_on_a_lattice_are_all_there_and_in_proportion():
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.0, 1.0, (25, 24, 23)) * (rng.uniform(size=(25, 24, 23)) < 0.5)
    total = 2_000_000_000
    found = np.asarray(
        jax.jit(spread, static_argnums=(0, 2))(
            Discrete(), make_stream(5, 0), 0, jnp.asarray(total), jnp.asarray(weights, jnp.float32)
        )
    )
    assert found.sum(dtype=np.int64) == total
    assert np.all(found[weights == 0] == 0)
    p = weights / weights.sum()
    inside = p > 0
    square = ((found - total * p)[inside] ** 2 / (total * p)[inside]).sum()
    freedom = inside.sum() - 1
    # float32 weights are off by 3e-8 of themselves, which adds less than total * 1e-15 = 2e-6 to the chi-square
    assert abs(square - freedom) < 4.5 * np.sqrt(2.0 * freedom)
