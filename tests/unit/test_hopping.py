"""Hops of one law everywhere: what leaves a voxel is one multinomial number, in any company of lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.kernels.alias_tables import REMAINDER, ROW, Tables
from exodiff.kernels.diffusion import even_hop_flows, net_gain, net_gain_of_words
from exodiff.kernels.hopping import Collect, drawn_gain, even_hop, hop_tables, packed, unpacked
from exodiff.kernels.policies import Discrete, Score, StraightThrough
from exodiff.kernels.random import Stream, fold, make_stream, voxel_index
from exodiff.lattice.grid import Grid, Part

STREAM = fold(make_stream(5, 2), 1)
LANES = 5000


def all_flows(flows, place):
    return jnp.stack(flows, axis=-1) + place


def all_words(words, place):
    return all_flows(unpacked(words), place)


COLLECT = Collect(all_flows, all_words)


def flat(tables):
    return jax.tree.map(lambda a: a.reshape(-1), tables)


def law_of(hops):
    hops = jnp.asarray(hops, jnp.float32)
    return even_hop(hops)._replace(tables=flat(hop_tables(hops)))


@jax.jit
def together(stream, index, n, law):
    return drawn_gain(stream, index, n, law, jnp.int32(0), COLLECT)


@jax.jit
def one_by_one(stream, index, n, law):
    return jnp.stack(even_hop_flows(Discrete(), stream, index, n, law), axis=-1)


def molecules(kind):
    rng = np.random.default_rng(3)
    if kind == "mixed":
        kinds = [rng.poisson(mean, LANES) for mean in (0.3, 4, 25, 80, 400, 30_000)]
        return jnp.asarray(rng.choice(np.stack(kinds, axis=-1).ravel(), LANES), COUNT_DTYPE)
    return jnp.asarray(rng.poisson(kind, LANES), COUNT_DTYPE)


def assert_multinomial(flows, n, law):
    """Each sum of some of the four flows is binomial: by chi-square, with a chance of a false alarm of 1e-6 in all."""
    moves, far = float(law.moves), float(law.far)
    chances = 0.5 * moves * np.asarray([far, 1.0 - far, 1.0 - far, far])
    some = [which for which in np.ndindex(2, 2, 2, 2) if any(which)]
    for which in some:
        p = chances[np.asarray(which, bool)].sum()
        found = flows[:, np.asarray(which, bool)].sum(axis=1)
        expected = stats.binom.pmf(np.arange(n + 1), n, p) * len(flows)
        order = np.argsort(expected)[::-1]
        counts, expected = np.bincount(found, minlength=n + 1)[order], expected[order]
        last = max(np.count_nonzero(expected > 20), 1)
        counts, expected = (np.append(a[:last], a[last:].sum()) for a in (counts, expected))
        statistic = ((counts - expected) ** 2 / np.maximum(expected, 1e-9))[expected > 1].sum()
        freedom = max(np.count_nonzero(expected > 1) - 1, 1)
        assert stats.chi2.sf(statistic, freedom) > 1e-6 / len(some), (which, p)


@pytest.mark.parametrize("hops", [0.002, 0.02, 1 / 6, 1 / 3])
@pytest.mark.parametrize("n", [3, 30, 31, 100, 237, 1000])
def test_what_leaves_a_voxel_is_multinomial(n, hops):
    """By one table, by several, by inversion (31 and more of which few move), and draw by draw."""
    lanes, law = 40_000, law_of(hops)
    flows = np.asarray(together(STREAM, voxel_index((lanes,)), jnp.full(lanes, n, COUNT_DTYPE), law))
    assert_multinomial(flows, n, law)


@pytest.mark.parametrize("n", [12, 30, 100])
def test_remainders_alone_give_the_law_too(n):
    """With entries that all mean the remainder, and remainders that are the whole law."""
    law, lanes = law_of(0.2), 40_000
    columns = np.arange(ROW)
    chances = [stats.binom.pmf(columns, np.arange(ROW)[:, None], float(p)) for p in (law.moves, law.far)]
    tails = np.cumsum(np.asarray(chances)[..., ::-1], axis=-1)[..., ::-1] * 2.0**32
    everywhere = jnp.full(tails.shape, REMAINDER, jnp.uint32)
    law = law._replace(tables=flat(Tables(everywhere, jnp.asarray(tails, jnp.float32))))
    flows = np.asarray(together(STREAM, voxel_index((lanes,)), jnp.full(lanes, n, COUNT_DTYPE), law))
    assert_multinomial(flows, n, law)


@pytest.mark.parametrize("hops", [1e-6, 0.02, 1 / 3])
@pytest.mark.parametrize("kind", [0.5, 60.0, "mixed"])
def test_no_more_leave_than_there_are_and_as_many_as_should(kind, hops):
    n, law = molecules(kind), law_of(hops)
    flows = np.asarray(together(STREAM, voxel_index((LANES,)), n, law))
    assert (flows >= 0).all()
    assert (flows.sum(axis=-1) <= np.asarray(n)).all()
    expected = float(np.asarray(n, float).sum() * law.moves)
    assert abs(flows.sum() - expected) < 6 * np.sqrt(expected) + 1  # 1e-8 for a Poisson number of 1 or more


def test_policies_with_a_derivative_hop_like_counts():
    """Also batched by replicates with laws of their own, and with voxels that need more than the common word."""
    n, index = molecules("mixed"), voxel_index((LANES,))
    hops = jnp.asarray([0.05, 0.25], jnp.float32)

    def each(hops):
        law = law_of(hops)
        reals = StraightThrough().even_hops(STREAM, index, n.astype(jnp.float32), law)
        scored = Score().even_hops(STREAM, index, n, law)
        return [jnp.stack(f, axis=-1).astype(COUNT_DTYPE) for f in (reals, scored)], together(STREAM, index, n, law)

    (reals, scored), wanted = jax.jit(jax.vmap(each))(hops)
    assert (reals == wanted).all()
    assert (scored == wanted).all()


def test_the_hops_of_a_voxel_do_not_depend_on_the_others():
    n, index, law = molecules("mixed"), voxel_index((LANES,)), law_of(0.25)
    whole = np.asarray(together(STREAM, index, n, law))
    for most in (5, 40):
        few = np.resize(np.flatnonzero(np.asarray(n) < most), LANES)
        assert (np.asarray(together(STREAM, index[few], n[few], law)) == whole[few]).all()


@pytest.mark.parametrize("alone", [1, 1 << 30])
def test_a_vmap_over_streams_and_laws_equals_the_single_calls(monkeypatch, alone):
    """With tables of each, and with one set of tables in which each has its place; one after the other, and at once."""
    monkeypatch.setattr("exodiff.kernels.lanes._ALONE", alone)
    jax.clear_caches()
    n, index = molecules("mixed"), voxel_index((LANES,))
    keys, hops = jnp.arange(3, dtype=jnp.uint32), jnp.asarray([0.05, 0.15, 0.3], jnp.float32)
    one_each = [together(Stream(k, k + 1), index, n, law_of(h)) for k, h in zip(keys, hops, strict=True)]
    own = jax.vmap(lambda k, h: together(Stream(k, k + 1), index, n, law_of(h)))(keys, hops)
    tables = jax.tree.map(lambda a: a.reshape(3, -1), hop_tables(hops))
    size = tables.entries.shape[1]

    def shared(key, hops, place):
        law = even_hop(hops)._replace(tables=flat(tables), start=place * size)
        return together(Stream(key, key + 1), index, n, law)

    placed = jax.vmap(shared)(keys, hops, jnp.arange(3))
    for i, one in enumerate(one_each):
        assert (own[i] == one).all()
        assert (placed[i] == one).all()


def test_draws_one_by_one_have_the_same_law():
    n, lanes, law = 45, 40_000, law_of(0.2)
    flows = one_by_one(STREAM, voxel_index((lanes,)), jnp.full(lanes, n, COUNT_DTYPE), law)
    assert_multinomial(np.asarray(flows), n, law)


@pytest.mark.parametrize("walls", ["reflecting", "periodic", "absorbing", ("fixed", "reflecting")])
@pytest.mark.parametrize("parts", [(), (4, 5), (3, 6)])
def test_gains_by_layers_are_those_of_moved_flows(walls, parts):
    if parts and walls == "periodic":
        pytest.skip("several lattices are not periodic along x")
    shape, firsts = (9, 4, 6), np.cumsum((0, *parts))
    lattices = tuple(Part(f"part{i}", int(firsts[i]), n) for i, n in enumerate(parts))
    both = (walls, walls) if isinstance(walls, str) else walls
    grid = Grid(shape, (1.0, 1.0, 1.0), walls=(both,) * 3, parts=lattices)
    flows = tuple(jnp.asarray(f, jnp.int32) for f in np.random.default_rng(8).integers(0, 100, (4, *shape)))
    words = packed(flows)
    for axis in range(3):
        moved = net_gain(tuple(f.astype(jnp.float32) for f in flows), grid, axis)
        assert (net_gain(flows, grid, axis) == moved).all()
        assert (net_gain_of_words(words, grid, axis) == moved).all()
