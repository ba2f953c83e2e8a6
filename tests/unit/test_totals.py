"""Sums in two words against Python's integers, and sums of reals that keep what rounding takes."""

import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels import totals


def value_of(words):
    high, low = (int(word) for word in np.asarray(words))
    return high * 2**32 + low


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (40, 40, 40)])  # one group, and more than 2^15 voxels
def test_a_total_of_large_counts_is_exact(shape):
    counts = np.random.default_rng(1).integers(2**30, 2**31, shape, np.int32, endpoint=False)
    assert value_of(totals.total(jnp.asarray(counts))) == sum(int(n) for n in counts.ravel())


def test_axes_before_the_last_three_are_kept():
    counts = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.int32).reshape(2, 3, 4, 5, 6)
    found = np.asarray(totals.total(jnp.asarray(counts)))
    assert found.shape == (2, 3, 2)
    np.testing.assert_array_equal(found[..., 0].astype(np.int64) * 2**32 + found[..., 1], counts.sum((2, 3, 4)))


def test_words_are_added_with_their_carry():
    one, other = jnp.asarray([5, 0xFFFF_FFFF], jnp.uint32), jnp.asarray([2, 0xFFFF_FFFE], jnp.uint32)
    assert value_of(totals.add(one, other)) == (5 * 2**32 + 0xFFFF_FFFF) + (2 * 2**32 + 0xFFFF_FFFE)


def test_a_compensated_sum_keeps_what_a_plain_one_loses():
    """2^24 and 1000 ones in float32: plain, each one is rounded away."""
    summed = jnp.asarray([2.0**24, 0.0], jnp.float32)
    one = jnp.asarray([1.0, 0.0], jnp.float32)
    for _ in range(1000):
        summed = totals.add(summed, one)
    assert float(summed[0]) - float(summed[1]) == 2.0**24 + 1000.0


def test_words_as_a_real():
    assert float(totals.to_real(jnp.asarray([3, 7], jnp.uint32), "float32")) == np.float32(3 * 2**32 + 7)
    assert float(totals.to_real(jnp.asarray([2.5, 0.0], jnp.float32), "float32")) == 2.5
