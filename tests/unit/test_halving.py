"""Fair halves: the bits that are counted are those of the addressed words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.halving import half
from exodiff.kernels.random import Stream, make_stream, retry_words, word_pair

STREAM = make_stream(3, 1)
INDEX = jnp.arange(200, dtype=jnp.uint32)


@pytest.mark.parametrize("number", [4, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 31, 32])
def test_a_half_is_the_number_of_ones_among_the_first_n_bits_of_its_word(n, number):
    words = np.asarray(word_pair(STREAM, INDEX, 2)[number - 4])
    expected = [f"{int(word):032b}"[::-1][:n].count("1") for word in words]
    assert np.asarray(half(STREAM, INDEX, number, jnp.full(200, n, jnp.int32))).tolist() == expected


@pytest.mark.parametrize("n", [33, 70, 96, 97, 300])
def test_more_trials_take_the_bits_of_further_words(n):
    words = [np.asarray(word_pair(STREAM, INDEX, 2)[0])]
    for attempt in range(5):
        words += map(np.asarray, retry_words(STREAM, INDEX, jnp.uint32(4), jnp.uint32(attempt)))
    expected = ["".join(f"{int(w[i]):032b}"[::-1] for w in words)[:n].count("1") for i in range(200)]
    assert np.asarray(half(STREAM, INDEX, 4, jnp.full(200, n, jnp.int32))).tolist() == expected


def test_each_index_has_its_own_number_of_trials():
    n = jnp.arange(200, dtype=jnp.int32) * 7
    alone = [int(half(STREAM, INDEX[i : i + 1], 4, n[i : i + 1])[0]) for i in (3, 40, 64, 127)]
    assert np.asarray(half(STREAM, INDEX, 4, n))[[3, 40, 64, 127]].tolist() == alone


def test_replicates_may_share_the_numbers_of_trials():
    n = jnp.arange(200, dtype=jnp.int32) * 13  # up to 2587: every branch
    keys = jnp.arange(3, dtype=jnp.uint32)
    many = jax.vmap(lambda key: half(Stream(key, key + 1), INDEX, 4, n))(keys)
    for i, key in enumerate(keys):
        assert (np.asarray(many[i]) == np.asarray(half(Stream(key, key + 1), INDEX, 4, n))).all()


@pytest.mark.parametrize("n", [20, 1000, 5000])
def test_any_number_of_trials_has_the_mean_and_variance_of_a_fair_half(n):
    index = jnp.arange(100_000, dtype=jnp.uint32)
    found = np.asarray(half(STREAM, index, 4, jnp.full(index.shape, n, jnp.int32))).astype(float)
    # 5 standard errors of each (six comparisons: false alarm 4e-6): sqrt(n/4/N), and v sqrt(2/N) for a near normal law
    assert abs(found.mean() - n / 2) < 5 * np.sqrt(n / 4 / index.size)
    assert abs(found.var() / (n / 4) - 1) < 5 * np.sqrt(2 / index.size)
