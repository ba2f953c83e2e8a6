"""Fair halves: the bits that are counted are those of the addressed words."""

import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.halving import half
from exodiff.kernels.random import make_stream, words

STREAM = make_stream(3, 1)
INDEX = jnp.arange(200, dtype=jnp.uint32)


@pytest.mark.parametrize("n", [0, 1, 7, 31, 32, 33, 50, 63, 64])
def test_a_half_is_the_number_of_ones_among_the_first_n_bits_of_two_words(n):
    low, high = (np.asarray(words(STREAM, INDEX, number)) for number in (4, 5))
    bits = [f"{int(a):032b}"[::-1] + f"{int(b):032b}"[::-1] for a, b in zip(low, high, strict=True)]
    expected = [each[:n].count("1") for each in bits]
    assert np.asarray(half(STREAM, INDEX, 4, jnp.full(200, n, jnp.int32))).tolist() == expected


def test_each_index_has_its_own_number_of_trials():
    n = jnp.arange(200, dtype=jnp.int32) % 65
    alone = [int(half(STREAM, INDEX[i : i + 1], 4, n[i : i + 1])[0]) for i in (3, 40, 64, 127)]
    assert np.asarray(half(STREAM, INDEX, 4, n))[[3, 40, 64, 127]].tolist() == alone


def test_more_than_64_trials_have_the_mean_and_variance_of_a_fair_half():
    n, index = 1000, jnp.arange(100_000, dtype=jnp.uint32)
    found = np.asarray(half(STREAM, index, 4, jnp.full(index.shape, n, jnp.int32))).astype(float)
    # 5 standard errors of each (two comparisons: false alarm 1e-6): sqrt(n/4/N), and v sqrt(2/N) for a near normal law
    assert abs(found.mean() - n / 2) < 5 * np.sqrt(n / 4 / index.size)
    assert abs(found.var() / (n / 4) - 1) < 5 * np.sqrt(2 / index.size)
