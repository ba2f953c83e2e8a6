"""Hops of ``mean_field`` with one law everywhere: by layers, by shifts, and as the four flows of the general kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels import diffusion
from exodiff.kernels.hopping import Collect, even_hop
from exodiff.kernels.policies import Mean
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.lattice.grid import Grid, Part

CLOSED, RING = ("reflecting", "reflecting"), ("periodic", "periodic")
LATTICES = {
    "closed": Grid((7, 5, 4), (1.0, 1.0, 1.0)),
    "rings": Grid((7, 5, 4), (1.0, 1.0, 1.0), walls=(RING, RING, CLOSED)),
    "several": Grid((9, 5, 4), (1.0, 1.0, 1.0), parts=(Part("a", 0, 4), Part("b", 4, 5))),
    "short": Grid((3, 2, 1), (1.0, 1.0, 1.0)),
    "short and several": Grid((7, 3, 2), (1.0, 1.0, 1.0), parts=(Part("a", 0, 1), Part("b", 1, 2), Part("c", 3, 4))),
    "short rings": Grid((3, 2, 1), (1.0, 1.0, 1.0), walls=(RING, RING, RING)),
}
HOPS = jnp.float32(0.3)


def amounts(grid):
    return np.random.default_rng(0).random(grid.shape, np.float32)


def gain_of(grid, axis):
    return jax.jit(lambda n: diffusion.even_mean_gain(n, HOPS, grid, axis))(amounts(grid))


@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_mean_hops_are_the_means_of_the_four_flows(grid):
    index, collect = voxel_index(grid.shape), Collect(lambda flows, axis: diffusion.net_gain(flows, grid, axis), None)
    for axis in range(3):
        if grid.can_hop(axis):
            law = even_hop(HOPS)
            expected = diffusion.even_hop_gain(Mean(), make_stream(1, 0), index, amounts(grid), law, axis, collect)
            np.testing.assert_allclose(gain_of(grid, axis), expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_by_layers_and_by_shifts_the_bits_are_the_same(grid, monkeypatch):
    by_layers = [gain_of(grid, axis) for axis in range(3)]
    monkeypatch.setattr(diffusion, "_can_be_cut", lambda *_: False)
    for axis, found in enumerate(by_layers):
        np.testing.assert_array_equal(gain_of(grid, axis), found)


def test_a_closed_box_of_reals_keeps_its_sum():
    # 1000 steps; the rounding of float32 has no sign: 6e-8 sqrt(3 x 1000 / 4096) of a voxel's share
    grid = Grid((16, 16, 16), (1.0, 1.0, 1.0))
    start = amounts(grid)

    @jax.jit
    def steps(n):
        def step(_, n):
            for axis in range(3):
                n = n + diffusion.even_mean_gain(n, HOPS, grid, axis)
            return n

        return jax.lax.fori_loop(0, 1000, step, n)

    found = np.asarray(steps(start), np.float64)
    assert found.sum() == pytest.approx(start.sum(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_derivatives_of_mean_hops_are_those_of_the_four_flows(grid, mode):
    index, collect = voxel_index(grid.shape), Collect(lambda flows, axis: diffusion.net_gain(flows, grid, axis), None)

    def by_fluxes(n, hops, axis):
        return diffusion.even_mean_gain(n, hops, grid, axis)

    def by_flows(n, hops, axis):
        return diffusion.even_hop_gain(Mean(), make_stream(1, 0), index, n, even_hop(hops), axis, collect)

    def of(gain):
        def value(scales):
            n = scales[0] * amounts(grid)
            for axis in (a for a in range(3) if grid.can_hop(a)):
                n = n + gain(n, scales[1] * HOPS, axis)
            return jnp.sum(n**3)

        return jax.jit(mode(value))(jnp.ones(2))

    np.testing.assert_allclose(of(by_fluxes), of(by_flows), rtol=1e-4)
