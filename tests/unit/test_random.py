"""Random words by address: known answers, independence of addresses, resolution."""

import itertools

import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels import random

_ROOT = random.make_stream(jnp.uint32(2024), jnp.uint32(0))
_N = 1 << 16


def _bits(words):
    """The 32 bits of each word as a (words, 32) array of 0 and 1."""
    return np.unpackbits(np.asarray(words).astype("<u4").view(np.uint8), bitorder="little").reshape(-1, 32)


# Random123 1.14, tests/kat_vectors, lines "threefry2x32 20": counter, key, result.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_random123(counter, key, expected):
    stream = random.Stream(*(jnp.uint32(k) for k in key))
    assert tuple(int(x) for x in random.threefry2x32(stream, *(jnp.uint32(c) for c in counter))) == expected


def test_threefry_equals_the_generator_of_jax_for_many_counters_and_keys():
    words = np.random.default_rng(1).integers(0, 2**32, (4, 1000), dtype=np.uint32)
    ours = random.threefry2x32(random.Stream(words[0], words[1]), words[2], words[3])
    for i in range(0, 1000, 50):
        theirs = jax.extend.random.threefry_2x32(words[:2, i], words[2:, i])
        assert [int(x[i]) for x in ours] == theirs.tolist()


def _address(seed=2024, replicate=0, step=7, site="decay", number=0, voxels=slice(0, _N)):
    stream = random.fold(random.make_stream(jnp.uint32(seed), jnp.uint32(replicate)), step)
    index = random.voxel_index((2 * _N,))[voxels]
    return np.asarray(random.words(random.fold(stream, random.site_id(site)), index, number))


_ADDRESSES = {
    "base": {},
    "seed": {"seed": 2025},
    "replicate": {"replicate": 1},
    "seed + replicate": {"seed": 2023, "replicate": 1},
    "step": {"step": 8},
    "site": {"site": "uptake"},
    "number": {"number": 1},
    "voxel": {"voxels": slice(_N, 2 * _N)},
    "next voxel": {"voxels": slice(1, _N + 1)},
}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(_ADDRESSES, 2)))
def test_words_of_different_addresses_share_no_bits(one, other):
    """Every bit of one against every bit of the other, lane by lane.

    The 1024 agreements of each of 36 pairs are Binomial(65536, 1/2); |z| > 6.8 has probability 1e-11, so a false
    alarm of the whole table 4e-7.
    """
    x, y = (_address(**_ADDRESSES[name]) for name in (one, other))
    assert np.count_nonzero(x == y) <= 1 + (one, other).count("next voxel")  # 65536 / 2^32 expected
    correlation = (2.0 * _bits(x) - 1).T @ (2.0 * _bits(y) - 1) / np.sqrt(_N)
    assert np.abs(correlation).max() < 6.8


@pytest.mark.slow
def test_the_two_words_of_a_draw_and_those_of_its_retries_share_no_bits():
    index = random.voxel_index((_N,))
    pairs = [random.word_pair(_ROOT, index, 0), random.retry_words(_ROOT, index, jnp.uint32(0), jnp.uint32(0))]
    pairs += [random.retry_words(_ROOT, index, jnp.uint32(a), jnp.uint32(b)) for a, b in ((0, 1), (1, 0))]
    for x, y in itertools.combinations([word for pair in pairs for word in pair], 2):  # 28 pairs: as above
        assert np.abs((2.0 * _bits(x) - 1).T @ (2.0 * _bits(y) - 1) / np.sqrt(_N)).max() < 6.8


def test_words_are_uniform_in_low_and_high_digits():
    """256 cells of 256 expected words each: chi-square of 255 degrees, sd 22.6; 420 has probability 2e-10."""
    words = _address()
    for digits in (words >> 24, words & 255):
        counts = np.bincount(digits.astype(int), minlength=256)
        assert ((counts - _N / 256) ** 2 / (_N / 256)).sum() < 420


def test_a_word_depends_only_on_its_address_not_on_the_shape_or_its_neighbours():
    grid = random.voxel_index((4, 8, 16))
    assert grid.dtype == jnp.uint32
    assert int(grid[1, 2, 3]) == (1 * 8 + 2) * 16 + 3
    assert (random.words(_ROOT, grid, 3).ravel() == random.words(_ROOT, jnp.arange(512, dtype=jnp.uint32), 3)).all()


def test_site_ids_are_stable_and_differ():
    assert random.site_id("decay") == 0xBB13D2F1  # b2sum -l 32; a change would change every trajectory
    names = [f"reaction {i}" for i in range(2000)]
    assert len({random.site_id(name) for name in names}) == len(names)
    assert all(0 <= random.site_id(name) < 2**32 for name in names)


def test_to_unit_interval_is_in_the_half_open_interval_with_full_resolution_at_zero():
    words = jnp.asarray([0, 1, 2, 1000, 1 << 31, 2**32 - 1], jnp.uint32)
    coarse = np.asarray(random.to_unit_interval(words))
    assert coarse.dtype == np.float32
    np.testing.assert_allclose(coarse, (np.asarray(words, float) + 0.5) * 2.0**-32, rtol=2.0**-23)
    assert (coarse > 0).all()
    assert (coarse <= 1).all()
    fine = np.asarray(random.to_unit_interval(jnp.zeros(6, jnp.uint32), words))
    np.testing.assert_allclose(fine, (np.asarray(words, float) + 0.5) * 2.0**-64, rtol=2.0**-23)
    both = np.asarray(random.to_unit_interval(words, words))
    np.testing.assert_allclose(both, np.asarray(words, float) * (2.0**-32 + 2.0**-64) + 2.0**-65, rtol=2.0**-22)
    assert (both > 0).all()
    assert (both <= 1).all()
