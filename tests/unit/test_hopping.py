"""Hops of one law everywhere: the fused draws are the draws one by one, in any company of lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.kernels.diffusion import even_hop_flows, net_gain, net_gain_of_words
from exodiff.kernels.hopping import Collect, EvenHop, drawn_gain, packed, unpacked
from exodiff.kernels.policies import Discrete, StraightThrough
from exodiff.kernels.random import Stream, fold, make_stream, voxel_index
from exodiff.lattice.grid import Grid, Part

STREAM = fold(make_stream(5, 2), 1)
LANES = 5000


def all_flows(flows, place):
    return jnp.stack(flows, axis=-1) + place


def all_words(words, place):
    return all_flows(unpacked(words), place)


COLLECT = Collect(all_flows, all_words)


def law_of(hops):
    one, two = hops - 2 * hops**2, 0.5 * hops**2
    return EvenHop(jnp.asarray(2 * (one + two), jnp.float32), jnp.asarray(two / (one + two), jnp.float32))


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


@pytest.mark.parametrize("hops", [1e-6, 0.02, 1 / 6, 1 / 4, 1 / 3])
@pytest.mark.parametrize("kind", [0.5, 10.0, 60.0, "mixed"])
def test_fused_hops_are_the_draws_one_by_one(kind, hops):
    n, index, law = molecules(kind), voxel_index((LANES,)), law_of(hops)
    flows = np.asarray(together(STREAM, index, n, law))
    assert (flows == np.asarray(one_by_one(STREAM, index, n, law))).all()
    assert (flows >= 0).all()
    assert (flows.sum(axis=-1) <= np.asarray(n)).all()
    expected = float(np.asarray(n, float).sum() * law.moves)
    assert abs(flows.sum() - expected) < 6 * np.sqrt(expected) + 1  # 1e-8 for a Poisson number of 1 or more


def test_reals_with_a_derivative_hop_like_counts():
    """Also batched by replicates with laws of their own, and with voxels that need more than the common word."""
    n, index = molecules("mixed"), voxel_index((LANES,))
    hops = jnp.asarray([0.05, 0.25], jnp.float32)

    def both(hops):
        law = law_of(hops)
        flows = StraightThrough().even_hops(STREAM, index, n.astype(jnp.float32), law)
        return jnp.stack(flows, axis=-1).astype(COUNT_DTYPE), one_by_one(STREAM, index, n, law)

    found, wanted = jax.jit(jax.vmap(both))(hops)
    assert (found == wanted).all()


def test_the_hops_of_a_voxel_do_not_depend_on_the_others():
    n, index, law = molecules("mixed"), voxel_index((LANES,)), law_of(0.25)
    whole = np.asarray(together(STREAM, index, n, law))
    for most in (5, 40):
        few = np.resize(np.flatnonzero(np.asarray(n) < most), LANES)
        assert (np.asarray(together(STREAM, index[few], n[few], law)) == whole[few]).all()


def test_a_vmap_over_streams_and_laws_equals_the_single_calls():
    n, index = molecules("mixed"), voxel_index((LANES,))
    keys = jnp.arange(3, dtype=jnp.uint32)
    laws = EvenHop(*(jnp.stack(each) for each in zip(*map(law_of, (0.05, 0.15, 0.3)), strict=True)))
    many = jax.vmap(together, in_axes=(Stream(0, 0), None, None, EvenHop(0, 0)))(Stream(keys, keys + 1), index, n, laws)
    for i in range(3):
        one = together(Stream(keys[i], keys[i] + 1), index, n, EvenHop(laws.moves[i], laws.far[i]))
        assert (many[i] == one).all()


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
