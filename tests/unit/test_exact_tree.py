"""The tree of rates and the choice by positions: probabilities, and what can never be chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from exodiff.exact import tree
from exodiff.exact.direct import choose, spread
from exodiff.kernels.random import Stream, to_unit_interval, word_pair

ALPHA = 1e-6


@pytest.mark.parametrize("voxels", [1, 31, 32, 33, 1024, 1025, 3000])
def test_updates_give_the_tree_that_is_built_anew(voxels):
    rng = np.random.default_rng(voxels)
    leaves = rng.exponential(1.0, voxels).astype(np.float32)
    nodes, update = tree.build(jnp.asarray(leaves)), jax.jit(tree.update, static_argnums=1)
    for voxel in {0, voxels // 2, voxels - 1}:
        leaves[voxel] = rng.exponential(3.0)
        nodes = update(nodes, voxels, jnp.int32(voxel), jnp.float32(leaves[voxel]))
    # sums of 32 in float32, in one order or another, on at most three levels
    np.testing.assert_allclose(np.asarray(nodes), np.asarray(tree.build(jnp.asarray(leaves))), rtol=3 * 32 * 6e-8)
    top = tree.levels_of(voxels)[-1]
    assert float(jnp.sum(nodes[top.offset :])) == pytest.approx(leaves.sum(dtype=np.float64), rel=1e-5)


def _descend(leaves, draws):
    nodes, voxels = tree.build(jnp.asarray(leaves, jnp.float32)), len(leaves)
    place = jnp.arange(tree.num_words(voxels), dtype=jnp.uint32)

    def one(number):
        return tree.descend(nodes, voxels, word_pair(Stream(jnp.uint32(5), number), place, 0))

    found = jax.jit(lambda n: jax.lax.map(one, n, batch_size=512))(jnp.arange(draws, dtype=jnp.uint32))
    return [np.asarray(part) for part in found]


def test_voxels_are_chosen_by_their_rates_after_exponential_waits():
    leaves = np.zeros(40)
    leaves[[0, 3, 31, 32, 39]] = [1.0, 4.0, 0.5, 2.0, 2.5]
    waits, places = _descend(leaves, 20_000)
    seen = np.bincount(places, minlength=40)
    assert seen[leaves == 0].sum() == 0
    busy = leaves > 0
    assert stats.chisquare(seen[busy], 20_000 * leaves[busy] / leaves.sum()).pvalue > ALPHA
    assert stats.kstest(waits, "expon", args=(0, 0.1)).pvalue > ALPHA
    # waits and places are independent
    assert stats.kruskal(*(waits[places == place] for place in np.flatnonzero(busy))).pvalue > ALPHA


def test_without_rates_no_event_ever_comes():
    waits, _ = _descend(np.zeros(40), 16)
    assert np.all(np.isinf(waits))


def _chosen(rates, words, fine):
    given = [jnp.full(words.shape, rate, jnp.float32) for rate in rates]
    total = sum(given, start=jnp.zeros(words.shape, jnp.float32)) / spread(len(rates))
    return np.asarray(jax.jit(choose)(given, total, jnp.asarray(words), jnp.asarray(fine)))


EDGES = np.asarray(
    [0, 1, 2, 3, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFD, 0xFFFF_FFFE, 0xFFFF_FFFF], np.uint32
)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8])
def test_a_rate_of_zero_is_never_chosen(count):
    rng = np.random.default_rng(count)
    words = np.concatenate((EDGES, rng.integers(0, 2**32, 200).astype(np.uint32)))
    fine = np.asarray([1e-10, 2.0**-33, 0.5, 1.0 - 2.0**-24, 1.0], np.float32)
    words, fine = (part.ravel() for part in np.meshgrid(words, fine))
    for subset in range(1, 2**count):
        is_on = (subset >> np.arange(count)) & 1
        rates = np.where(is_on, np.exp(rng.uniform(-40.0, 40.0, count)), 0.0)
        assert np.all(np.append(is_on, 1)[_chosen(rates, words, fine)]), rates


def test_what_rounding_needs_is_left_over_and_the_largest_rates_never_reach_beyond_it():
    # as many positions as the rates can take by rounding up are free, and no more than twice that
    words = (np.arange(2**23 - 256, 2**23, dtype=np.uint32) << 9) + 5
    for rates in ((1.0,), (1.0, 1e-9), (1.0,) * 64, (1e-30, *(1.0,) * 63), (3.0, *(1e-20,) * 40)):
        nobody = _chosen(rates, words, np.full(words.shape, 1e-10, np.float32)) == len(rates)
        assert 0 < nobody.sum() <= 2 * len(rates), rates


@pytest.mark.parametrize(
    "rates", [(1.0, 1.0), (1.0, 3.0), (5.0, 2.0, 1.0), (1.0, 0.0, 2.0, 1.0), (1.0, 1e-3, 7.0, 2.0, 3.0)]
)
def test_choices_have_the_probabilities_of_the_rates(rates):
    # every 65,536th word: a rule that divides the range in proportion gives each its share but for one word a rate
    words = (np.arange(2**16, dtype=np.uint32) << 16) + 0x8000
    found = _chosen(rates, words, np.full(words.shape, 0.5, np.float32))
    share = np.bincount(found, minlength=len(rates))[: len(rates)] / 2**16
    truth = np.asarray(rates) / np.sum(rates)
    assert np.max(np.abs(share - truth)) < len(rates) * 2.0**-16


def test_a_rare_choice_keeps_its_probability_by_random_rounding():
    # 5e-8 of 2^23 positions is 0.42 of one: it is position 0 where the fine uniform is below 0.42, and never another
    rates = (5e-8, 1.0)
    fine = to_unit_interval(jnp.arange(0, 2**32, 2**20, dtype=jnp.uint32))
    zero = _chosen(rates, np.zeros(fine.shape, np.uint32), fine) == 0
    assert np.mean(zero) == pytest.approx(5e-8 * 2**23, abs=1e-3)
    others = np.asarray([1 << 9, 2 << 9, *EDGES[4:]], np.uint32)
    assert np.all(_chosen(rates, others, np.full(others.shape, 1e-9, np.float32)) != 0)
    # and one of 1e-15 is there where the fine uniform is below 8.4e-9: it keeps its relative precision
    rates, fine = (1e-15, 1.0), np.asarray([8.3e-9, 8.5e-9], np.float32)
    assert _chosen(rates, np.zeros(2, np.uint32), fine).tolist() == [0, 1]
