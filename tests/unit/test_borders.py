"""Lattices side by side in one grid: every kernel does in each what it does there alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.exact import direct, lattice
from exodiff.kernels import cells, diffusion, faces, steady
from exodiff.kernels.neighbours import FACES, seen_from_faces, sum_over_faces
from exodiff.kernels.policies import Discrete, Mean
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.lattice.grid import Grid, Part
from exodiff.observe import squared_distance_um2

GRID = Grid((7, 3, 1), (2.0, 1.0, 1.0), parts=(Part("a", 0, 3), Part("b", 3, 1), Part("c", 4, 3)))
STREAM = make_stream(1, 0)
RANDOM = np.random.default_rng(1)
AMOUNTS = {name: RANDOM.uniform(0.5, 2.0, GRID.shape).astype(np.float32) for name in ("n", "d", "v", "loss", "source")}
INPUTS = {**AMOUNTS, "index": np.asarray(voxel_index(GRID.shape)), "is_cell": RANDOM.random(GRID.shape) < 0.6}
INPUTS["is_origin"] = np.arange(GRID.num_voxels).reshape(GRID.shape) == 7


def even_hops(grid, given):
    return diffusion.even_mean_gain(given["n"], jnp.float32(0.2), grid, 0)


def hops(grid, given, velocity=None):
    law = diffusion.transition(diffusion.hop_rates(given["d"], grid, 0, velocity), 0.3, grid, 0)
    return diffusion.net_gain(diffusion.hop_flows(Mean(), STREAM, given["index"], given["n"], law), grid, 0)


def flow(grid, given):
    return hops(grid, given, given["v"])


def divergence(grid, given):
    return faces.divergence(jnp.stack([given["v"]]), grid)[0]


def spread(grid, given):
    nothing = jnp.zeros(grid.shape)
    return steady.Spread(steady.face_exchange(given["d"], grid), nothing, nothing, jnp.ones(grid.shape, bool), nothing)


def balance(grid, given):
    nothing = jnp.zeros(grid.shape)
    return steady.solve_linear(spread(grid, given), given["loss"], given["source"], nothing, grid).value


def implicit(grid, given):
    return steady.implicit_step(spread(grid, given), given["loss"], given["source"], given["n"], 0.5, grid).value


def near(grid, given):
    return sum_over_faces(given["n"], grid)


def distance(grid, given):
    return squared_distance_um2(jnp.asarray(given["is_origin"]), grid)


def moves(grid, given):
    """Where cells go of those that all want to leave at once, with room everywhere."""
    room = jnp.ones(grid.shape, jnp.float32)
    weights = seen_from_faces(room, grid)
    going = jnp.asarray(given["is_cell"], COUNT_DTYPE)
    flows = cells.to_neighbours(Discrete(), STREAM, given["index"], going, weights, grid)
    return cells.arrivals(flows, grid) - cells.departures(flows)


KERNELS = (even_hops, hops, flow, divergence, balance, implicit, near, distance, moves)


def check(kernel):
    together = np.asarray(jax.jit(partial(kernel, GRID))(INPUTS))
    alone = jax.jit(partial(kernel, GRID.alone("a")))
    for part in (GRID.part("a"), GRID.part("c")):
        found = alone({key: value[part.places] for key, value in INPUTS.items()})
        np.testing.assert_allclose(together[part.places], found, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_lattice_beside_others_behaves_as_it_does_alone(kernel):
    check(kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_open_border_is_noticed(kernel, monkeypatch):
    monkeypatch.setattr(Grid, "stretches", lambda self, axis: ((0, self.shape[axis]),))
    with pytest.raises(AssertionError):
        check(kernel)


def test_events_of_exact_find_no_neighbour_across_a_border():
    place_of = np.arange(GRID.num_voxels).reshape(GRID.shape)
    for part in GRID.parts:
        own = place_of[part.places]
        alone = GRID.alone(part.name)
        for face in FACES[:4]:
            for voxel in range(alone.num_voxels):
                among = int(own.reshape(-1)[voxel])
                expected = direct.next_door(own, voxel, face, alone)
                assert direct.next_door(place_of, among, face, GRID) == expected
                found, exists = lattice._neighbour(GRID, jnp.asarray(among), *face)
                assert (int(found) if exists else None) == expected
                assert int(found) == (among if expected is None else expected)


def test_a_single_voxel_keeps_what_it_has():
    assert not np.any(even_hops(GRID, INPUTS)[GRID.part("b").places])


def test_a_border_bounds_no_step_of_single_voxels():
    wells = Grid((2, 1, 1), (1.0, 1.0, 1.0), parts=(Part("a", 0, 1), Part("b", 1, 1)))
    assert not wells.can_hop(0)
    assert GRID.can_hop(0)
