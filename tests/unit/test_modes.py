"""The box of mean coefficients that preconditions concentrations in balance."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels import modes, steady
from exodiff.lattice.grid import Grid, Part

CLOSED, OPEN, RING = ("reflecting", "reflecting"), ("absorbing", "absorbing"), ("periodic", "periodic")
HALF_OPEN = ("reflecting", "absorbing")
LATTICES = {
    "closed": Grid((5, 4, 3), (2.0, 1.0, 1.5)),
    "all walls": Grid((5, 4, 6), (2.0, 1.0, 1.5), walls=(RING, OPEN, HALF_OPEN)),
    "thin": Grid((2, 1, 7), (2.0, 1.0, 1.5), walls=(RING, OPEN, HALF_OPEN[::-1])),
    "thin and closed": Grid((1, 1, 7), (2.0, 1.0, 1.5), walls=(RING, CLOSED, RING)),
    "several": Grid((7, 3, 1), (2.0, 1.0, 1.5), parts=(Part("a", 0, 3), Part("b", 3, 1), Part("c", 4, 3))),
}


def system(grid, diffusivity, is_free, held=0.0):
    outflow = sum(
        (
            steady.wall_exchange(diffusivity, grid, axis, side)
            for axis in range(3)
            for side in (0, 1)
            if grid.walls[axis][side] == "absorbing"
        ),
        start=jnp.zeros_like(diffusivity),
    )
    exchange = steady.face_exchange(diffusivity, grid)
    return steady.Spread(exchange, outflow, jnp.zeros_like(diffusivity), is_free, jnp.where(is_free, 0.0, held))


@partial(jax.jit, static_argnums=0)
def applied(grid, diffusivity, is_free, loss):
    """The preconditioner and the matrix, times each unit vector."""
    spread = system(grid, diffusivity, is_free)
    precondition = steady._preconditioner(spread, loss, steady._diagonal(spread, loss, grid), grid)
    units = jnp.eye(grid.num_voxels).reshape(-1, *grid.shape)
    matrix = jax.vmap(lambda unit: steady.loss_by_spread(spread, unit, grid) + loss * unit)(units)
    return jax.vmap(precondition)(units), matrix


def dense(grid, diffusivity, is_free, loss):
    """The preconditioner and the matrix of the free voxels."""
    with jax.enable_x64(True):
        found = applied(grid, *(jnp.asarray(np.broadcast_to(a, grid.shape)) for a in (diffusivity, is_free, loss)))
    free = np.flatnonzero(np.broadcast_to(is_free, grid.shape))
    return [np.asarray(a).reshape(grid.num_voxels, -1)[np.ix_(free, free)] for a in found]


def solved(grid, is_free, loss, source):
    diffusivity = jnp.full(grid.shape, 60.0)
    return steady.solve_linear(system(grid, diffusivity, is_free, 1.0), loss, source, jnp.zeros(grid.shape), grid)


@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_a_box_of_constant_coefficients_is_solved_at_once(grid, monkeypatch):
    monkeypatch.setattr(modes, "SHORTEST", 1)
    inverse, matrix = dense(grid, 2.0, True, 0.03)
    np.testing.assert_allclose(inverse @ matrix, np.eye(grid.num_voxels), atol=1e-12)


@pytest.mark.parametrize("grid", LATTICES.values(), ids=LATTICES)
def test_the_preconditioner_is_symmetric_and_positive_for_any_system(grid, monkeypatch):
    monkeypatch.setattr(modes, "SHORTEST", 1)
    random = np.random.default_rng(3)
    can_pass, is_free, is_cell = (random.random(grid.shape) < share for share in (0.8, 0.7, 0.2))
    diffusivity = np.where(can_pass, random.uniform(0.1, 3.0, grid.shape), 0.0)
    inverse, matrix = dense(grid, diffusivity, is_free, np.where(is_cell, 50.0, 0.01))
    np.testing.assert_allclose(inverse, inverse.T, rtol=1e-10, atol=1e-12)
    shares = np.linalg.eigvals(inverse @ matrix).real
    assert shares.min() > 0.05
    assert shares.max() < 5.0


@pytest.mark.parametrize(("vessels", "iterations"), [(False, 3), (True, 15)])
def test_a_field_of_long_range_needs_few_iterations(vessels, iterations, monkeypatch):
    # a range of 10 voxels; with the diagonal 87 and 60 iterations
    monkeypatch.setattr(steady, "MAX_ITERATIONS", iterations)
    jax.clear_caches()
    grid = Grid((18, 16, 20), (20.0, 20.0, 20.0), walls=(CLOSED, RING, HALF_OPEN))
    random = np.random.default_rng(0)
    is_cell, is_free = random.random(grid.shape) < 0.3, random.random(grid.shape) > 0.02 * vessels
    loss = np.where(is_cell & vessels, 5e-3, 1.5e-3).astype(np.float32)
    found = jax.jit(partial(solved, grid))(is_free, loss, np.where(is_cell, np.float32(1e-3), 0))
    assert found.is_solved


def test_a_voxel_that_nothing_acts_on_keeps_its_value():
    grid = Grid((17, 3, 5), (20.0, 20.0, 20.0))
    is_cut = np.zeros(grid.shape, bool)
    is_cut[5, 1, 2] = True

    @jax.jit
    def solve(is_cut):
        spread = system(grid, jnp.where(is_cut, 0.0, 60.0), jnp.ones(grid.shape, bool))
        source = jnp.where(is_cut, 0.0, jnp.ones(grid.shape))
        return steady.solve_linear(spread, source, source, jnp.full(grid.shape, 0.5), grid)

    found = solve(is_cut)
    assert found.is_solved
    np.testing.assert_allclose(found.value, np.where(is_cut, 0.5, 1.0), rtol=1e-4)


def test_many_right_sides_at_once_have_the_bits_of_one():
    grid = Grid((17, 3, 5), (20.0, 20.0, 20.0))
    sources = np.random.default_rng(1).random((7, *grid.shape), np.float32)
    loss = np.full(grid.shape, 1.5e-3, np.float32)
    solve = partial(solved, grid, np.ones(grid.shape, bool), loss)
    together, alone = jax.jit(jax.vmap(solve))(sources), jax.jit(solve)
    for found, source in zip(together.value, sources, strict=True):
        np.testing.assert_array_equal(found, alone(source).value)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_go_through_the_equation_alone(mode):
    # central differences with a step of 1e-4: truncation 1e-8, the tolerance of the solution 1e-10 / 1e-4
    grid = Grid((16, 3, 1), (20.0, 20.0, 20.0), walls=(HALF_OPEN, CLOSED, CLOSED))
    with jax.enable_x64(True):
        source = jnp.asarray(np.random.default_rng(2).random(grid.shape))
        is_free = source > 0.1

        def loss(scales):
            spread = system(grid, 60.0 * scales[0] * (1.0 + source), is_free, 2.0)
            found = steady.solve_linear(spread, 1e-3 * scales[1] * source, 1e-3 * source, jnp.zeros(grid.shape), grid)
            return jnp.sum(found.value**2)

        found, of = jax.jit(mode(loss))(jnp.ones(2)), jax.jit(loss)
        steps = 1e-4 * np.eye(2)
        expected = [(of(jnp.asarray(1 + e)) - of(jnp.asarray(1 - e))) / 2e-4 for e in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", LATTICES)
def test_an_even_system_is_solved_mode_by_mode(name):
    grid = LATTICES[name]
    with jax.enable_x64(True):
        source = jnp.asarray(np.random.default_rng(3).random(grid.shape))
        d, loss = 6.0, jnp.asarray(0.3)
        spread = system(grid, jnp.full(grid.shape, d), jnp.ones(grid.shape, bool))
        x, y, z = (jnp.asarray(d / h**2) for h in grid.spacing_um)
        found = steady.solve_even((x, y, z), loss, source, grid)
        left = steady.loss_by_spread(spread, found.value, grid) + loss * found.value
        assert bool(found.is_solved)
        np.testing.assert_allclose(left, source, rtol=1e-10)


def test_an_even_system_that_loses_nothing_has_a_solution_only_without_sources():
    grid, nothing = LATTICES["closed"], jnp.zeros(LATTICES["closed"].shape)
    exchange = (jnp.float32(1.0),) * 3
    assert not bool(steady.solve_even(exchange, jnp.float32(0.0), nothing + 1.0, grid).is_solved)
    still = steady.solve_even(exchange, jnp.float32(0.0), nothing, grid)
    assert bool(still.is_solved)
    assert np.all(np.asarray(still.value) == 0)
    open_grid = LATTICES["all walls"]
    assert bool(steady.solve_even(exchange, jnp.float32(0.0), jnp.ones(open_grid.shape), open_grid).is_solved)
    unknown = jnp.full(open_grid.shape, jnp.nan)
    assert not bool(steady.solve_even(exchange, jnp.float32(1.0), unknown, open_grid).is_solved)
