"""Diffusion that is exact in time, against the exponential of the whole matrix."""

from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from test_modes import LATTICES, system

from exodiff.kernels import exponential, steady
from exodiff.lattice.grid import Grid

D, LOSS = 2.0, 0.03
RANDOM = np.random.default_rng(0)


def generator(grid):
    spread = system(grid, jnp.full(grid.shape, D), jnp.ones(grid.shape, bool))
    units = jnp.eye(grid.num_voxels).reshape(-1, *grid.shape)
    lost = jax.vmap(lambda unit: steady.loss_by_spread(spread, unit, grid))(units)
    return -np.asarray(lost).reshape(grid.num_voxels, -1)


def exchange(grid, d=D, dtype=None):
    x, y, z = (jnp.asarray(d / h**2, dtype) for h in grid.spacing_um)
    return x, y, z


@pytest.mark.parametrize("dt", [0.01, 0.7, 50.0])
@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_a_step_is_the_exponential_of_the_matrix(grid, dt):
    value, source = RANDOM.random((2, *grid.shape))
    with jax.enable_x64(True):
        matrix = generator(grid)
        found = exponential.diffused(jnp.asarray(value), exchange(grid), dt, grid)
        added = exponential.response(jnp.asarray(source), exchange(grid), LOSS, dt, grid)
    np.testing.assert_allclose(np.ravel(found), expm(matrix * dt) @ value.ravel(), rtol=1e-12, atol=1e-13)
    matrix -= LOSS * np.eye(grid.num_voxels)
    expected = np.linalg.solve(matrix, (expm(matrix * dt) - np.eye(grid.num_voxels)) @ source.ravel())
    np.testing.assert_allclose(np.ravel(added), expected, rtol=1e-10)


def test_the_mean_of_a_decay_is_exact_for_short_ones_too():
    # phi_1(-x) = 1 - x/2 + x^2/6 - x^3/24 + ..., its slope -1/2 + x/3 - x^2/8 + ...: of 30 terms
    x = np.array([0.0, 1e-9, 1e-4, 9.9e-3, 1.01e-2, 0.3, 2.0])
    value, slope = np.zeros((2, len(x)))
    for n in range(29, -1, -1):
        value = value + (-x) ** n / factorial(n + 1)
        slope = slope - (n + 1) * (-x) ** n / factorial(n + 2)
    with jax.enable_x64(True):
        found = [jax.vmap(f)(jnp.asarray(x)) for f in (exponential.mean_decay, jax.grad(exponential.mean_decay))]
    np.testing.assert_allclose(found[0], value, rtol=1e-15)
    np.testing.assert_allclose(found[1], slope, rtol=1e-12)


@pytest.mark.parametrize("hops", [0.02, 5.0, 100.0])
def test_a_closed_box_keeps_its_molecules_and_an_even_one_its_bits(hops):
    # float32: rounding of a sum of 4096 voxels without sign is 6e-8 sqrt(3 x 1000 / 4096) of a voxel's share a step;
    # with the sign of a matrix whose columns do not sum to 1 it were 1e-7 a step, 1e-4 in the end
    grid = Grid((16, 16, 16), (1.0, 1.0, 1.0))
    value = RANDOM.random(grid.shape, np.float32)

    @jax.jit
    def steps(value):
        one = exponential.diffused
        return jax.lax.fori_loop(0, 1000, lambda _, c: one(c, exchange(grid, 1.0, "float32"), hops, grid), value)

    found = np.asarray(steps(value), np.float64)
    assert found.sum() == pytest.approx(value.sum(dtype=np.float64), rel=1e-6)
    even = np.full(grid.shape, np.float32(1.2345))
    np.testing.assert_array_equal(steps(even), even)


def test_a_point_leaves_nothing_below_zero_but_rounding():
    grid = Grid((24, 24, 24), (1.0, 1.0, 1.0))
    value = np.zeros(grid.shape, np.float32)
    value[3, 4, 5] = 1.0
    for hops in (0.02, 0.3, 4.0, 100.0):
        found = np.asarray(exponential.diffused(jnp.asarray(value), exchange(grid, 1.0, "float32"), hops, grid))
        assert found.min() > -3e-7


def test_many_replicates_at_once_have_the_bits_of_one():
    grid = Grid((17, 3, 5), (20.0, 20.0, 20.0))
    values, sources = RANDOM.random((2, 7, *grid.shape), np.float32)

    def step(value, source):
        given = exchange(grid, 60.0, "float32")
        left = exponential.diffused(value, given, 9.0, grid)
        return left + exponential.response(source, given, jnp.float32(LOSS), jnp.float32(9.0), grid)

    together, alone = jax.jit(jax.vmap(step))(values, sources), jax.jit(step)
    for found, value, source in zip(together, values, sources, strict=True):
        np.testing.assert_array_equal(found, alone(value, source))


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_those_of_the_flow(mode):
    # central differences with a step of 1e-4: truncation 1e-8, rounding 1e-12
    grid = LATTICES["all walls"]
    with jax.enable_x64(True):
        value, source = jnp.asarray(RANDOM.random((2, *grid.shape)))

        def of(scales):
            given = exchange(grid, D * scales[0])
            left = exponential.diffused(value * (1.0 + scales[1]), given, 0.4 * scales[2], grid)
            left += exponential.response(source * scales[1], given, LOSS * scales[3], 0.4 * scales[2], grid)
            return jnp.sum(left**3)

        found, of = jax.jit(mode(of))(jnp.ones(4)), jax.jit(of)
        steps = 1e-4 * np.eye(4)
        expected = [(of(jnp.asarray(1 + e)) - of(jnp.asarray(1 - e))) / 2e-4 for e in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
