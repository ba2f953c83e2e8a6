"""A concentration in balance: div(D grad c) - k c + s = 0, and the implicit steps that solve the same equation.

Finite volumes: D at a face is the harmonic mean of both sides, an open wall has its value on its face, half a voxel
away. The matrix is symmetric and positive, so that conjugate gradients solve it without storing it (M. R. Hestenes,
E. Stiefel, J. Res. Natl. Bur. Stand. 49, 409, 1952), preconditioned by a box with mean coefficients
(:mod:`exodiff.kernels.modes`), in small and in very large lattices by the diagonal. Derivatives come from the equation,
not from the iterations.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import Mask, Real
from exodiff.kernels.decomposition import rounded
from exodiff.kernels.faces import at_wall, face_diffusivity
from exodiff.kernels.modes import has_use, mode_rates, resembling, solve_box, through_modes
from exodiff.kernels.neighbours import seen_from, shift
from exodiff.kernels.totals import ordered_sum
from exodiff.lattice.grid import Grid

MAX_ITERATIONS = 5000
MAX_REPEATS = 200  # of a solution with coefficients taken from the last one
_TOLERANCE = {"float32": 1e-5, "float64": 1e-11}  # of the residual against the sources
_ROUNDING = 50.0  # units of rounding of the terms of the sum that a residual is

Linear = Callable[[Real], Real]
Coefficients = Callable[[Real], tuple[Real, Real]]
"""Loss coefficient (1/s) and source (concentration/s) at a concentration, each on the lattice."""


class Spread(NamedTuple):
    """What diffusion does on the lattice.

    Attributes:
        exchange: for each axis, D / h^2 across the upper face of each voxel, per second.
        outflow: what leaves through open walls, per second.
        inflow: what enters through fixed walls, concentration per second.
        is_free: voxels that follow the equation; the others are held at a value.
        held: that value, 0 where voxels are free.

    """

    exchange: tuple[Real, Real, Real]
    outflow: Real
    inflow: Real
    is_free: Mask
    held: Real


class Solution(NamedTuple):
    """A concentration, and whether the equation holds for it within the tolerance."""

    value: Real
    is_solved: Mask


def face_exchange(diffusivity_um2_per_s: Real, grid: Grid) -> tuple[Real, Real, Real]:
    """Exchange of :class:`Spread`."""
    x, y, z = (
        rounded(face_diffusivity(diffusivity_um2_per_s, grid, axis, 1) * (1.0 / h**2))
        for axis, h in enumerate(grid.spacing_um)
    )
    return x, y, z


def wall_exchange(diffusivity_um2_per_s: Real, grid: Grid, axis: int, side: int) -> Real:
    """Exchange with an open wall, 2 D / h^2 in the voxels beside it, per second."""
    exchange = rounded(diffusivity_um2_per_s * (2.0 / grid.spacing_um[axis] ** 2))
    return jnp.where(at_wall(grid, axis, side), exchange, 0.0)


def loss_by_spread(spread: Spread, value: Real, grid: Grid) -> Real:
    """What diffusion takes from each voxel, outflow through walls included: conservative to rounding."""
    lost = rounded(spread.outflow * value)
    for axis, exchange in enumerate(spread.exchange):
        if grid.shape[axis] > 1:
            upwards = rounded(exchange * (value - seen_from(value, grid, axis, 1)))
            lost = lost + upwards - shift(upwards, grid, axis, 1)
    return lost


def _with_neighbours(spread: Spread, grid: Grid) -> tuple[Real, Real, Real]:
    """Exchange with both neighbours along each axis, per second."""
    x, y, z = (
        exchange + shift(exchange, grid, axis, 1) if grid.shape[axis] > 1 else jnp.zeros_like(exchange)
        for axis, exchange in enumerate(spread.exchange)
    )
    return x, y, z


def _diagonal(spread: Spread, loss: Real, grid: Grid) -> Real:
    total = sum(_with_neighbours(spread, grid), start=spread.outflow + loss)
    return jnp.where(spread.is_free & (total > 0), total, 1.0)


def _preconditioner(spread: Spread, loss: Real, diagonal: Real, grid: Grid) -> Linear:
    """Something near the inverse of the matrix, symmetric and positive; a constant to derivatives."""
    if not has_use(grid):
        diagonal = lax.stop_gradient(diagonal)
        return lambda residual: residual / diagonal
    spread, loss, diagonal = lax.stop_gradient((spread, loss, diagonal))
    exchange = _with_neighbours(spread, grid)
    is_bound = spread.is_free & (sum(exchange, start=spread.outflow + loss) > 0)  # what nothing acts on stays as it is
    to_held = -loss_by_spread(spread, jnp.where(spread.is_free, 0.0, jnp.ones_like(loss)), grid)
    lost = loss + jnp.where(spread.is_free, to_held, 0.0)
    box = resembling(exchange, spread.outflow, lost, diagonal, is_bound, grid)
    return lambda residual: jnp.where(is_bound, solve_box(box, residual, grid), residual)


def system(spread: Spread, loss: Real, grid: Grid) -> tuple[Linear, Linear]:
    """The matrix of the equation with given loss coefficients, unity where a value is held, and its preconditioner."""
    is_free = spread.is_free

    def matrix(free: Real) -> Real:
        value = jnp.where(is_free, free, 0.0)
        return jnp.where(is_free, loss_by_spread(spread, value, grid) + rounded(loss * value), free)

    return matrix, _preconditioner(spread, loss, _diagonal(spread, loss, grid), grid)


def solve_linear(spread: Spread, loss: Real, source: Real, guess: Real, grid: Grid) -> Solution:
    """The concentration with given loss coefficients and sources."""
    is_free = spread.is_free
    left, precondition = system(spread, loss, grid)
    right = jnp.where(is_free, source + spread.inflow - loss_by_spread(spread, spread.held, grid), 0.0)
    first = lax.stop_gradient(jnp.where(is_free, guess, 0.0))

    def solve(matrix: Linear, right: Real) -> Real:
        return conjugate_gradients(matrix, right, first, precondition)

    free = lax.custom_linear_solve(left, right, solve, symmetric=True)
    free = jnp.where(is_free, free, 0.0)
    return Solution(free + spread.held, _is_small(left(free) - right, right, _diagonal(spread, loss, grid) * free))


def solve_even(exchange: tuple[Real, Real, Real], loss: Real, source: Real, grid: Grid) -> Solution:
    """The concentration with one diffusivity and one loss coefficient, mode by mode.

    Args:
        exchange: D / h^2 along each axis, per second.
        loss: per second.
        source: with the inflow through fixed walls, concentration per second.
        grid: the lattice.

    """
    rates = mode_rates(exchange, loss, grid)
    is_lost = rates > 0
    value = through_modes(source, jnp.where(is_lost, 1.0 / jnp.where(is_lost, rates, 1.0), 0.0), grid)
    return Solution(value, (jnp.all(is_lost) | jnp.all(source == 0)) & jnp.all(jnp.isfinite(value)))


def solve_balance(spread: Spread, coefficients: Coefficients, guess: Real, grid: Grid) -> Solution:
    """The concentration whose loss coefficients and sources depend on it, voxel by voxel.

    Solved again with the coefficients of the last solution until the equation holds (Picard). The derivative is that of
    the equation, with the slopes of the rates.
    """
    is_free = spread.is_free

    def terms(free: Real) -> tuple[Real, Real, Real]:
        value = jnp.where(is_free, free, 0.0) + spread.held
        loss, source = coefficients(value)
        return value, loss, source + spread.inflow

    def excess(free: Real) -> Real:
        value, loss, source = terms(free)
        return jnp.where(is_free, loss_by_spread(spread, value, grid) + rounded(loss * value) - source, free)

    def holds(free: Real) -> Mask:
        value, loss, source = terms(free)
        right = jnp.where(is_free, source - loss_by_spread(spread, spread.held, grid), 0.0)
        return _is_small(excess(free), right, _diagonal(spread, loss, grid) * jnp.where(is_free, value, 0.0))

    def repeat(_: Linear, first: Real) -> Real:
        def again(carry: tuple[Real, Array]) -> tuple[Real, Array]:
            value, loss, source = terms(carry[0])
            found = solve_linear(spread, loss, source - spread.inflow, value, grid).value
            return jnp.where(is_free, found, 0.0), carry[1] + 1

        def goes_on(carry: tuple[Real, Array]) -> Mask:
            return (carry[1] < MAX_REPEATS) & ~holds(carry[0])

        return lax.while_loop(goes_on, again, (first, jnp.asarray(0)))[0]

    first = jnp.where(is_free, lax.stop_gradient(guess), 0.0)
    loss = terms(first)[1]
    precondition = _preconditioner(spread, loss, _diagonal(spread, loss, grid), grid)

    def slope(matrix: Linear, right: Real) -> Real:
        def solve(matrix: Linear, right: Real) -> Real:
            return conjugate_gradients(matrix, right, jnp.zeros_like(right), precondition)

        return lax.custom_linear_solve(matrix, right, solve, symmetric=True)

    free = lax.custom_root(excess, first, repeat, slope)
    return Solution(jnp.where(is_free, free, 0.0) + spread.held, holds(lax.stop_gradient(free)))


def implicit_step(spread: Spread, loss: Real, source: Real, start: Real, dt_s: Real, grid: Grid) -> Solution:
    """One step of dc/dt = div(D grad c) - k c + s by TR-BDF2: second order, L-stable, two solutions with one matrix.

    R. E. Bank et al., IEEE Trans. Computer-Aided Design 4, 436, 1985. Solved for the changes, so that the tolerance is
    one of these.
    """
    gamma = 2.0 - 2.0**0.5
    by_time = 2.0 / (gamma * dt_s)
    still = spread._replace(held=jnp.zeros_like(spread.held), inflow=jnp.zeros_like(spread.inflow))

    def change(value: Real, parts: float) -> Solution:
        lost = loss_by_spread(spread, value, grid) + rounded(loss * value)
        drive = jnp.where(spread.is_free, source + spread.inflow - lost, 0.0)
        return solve_linear(still, loss + by_time, rounded(parts * drive), jnp.zeros_like(value), grid)

    start = jnp.where(spread.is_free, start, spread.held)
    first = change(start, 2.0)
    old = (1.0 - gamma) ** 2
    between = (start + first.value - rounded(old * start)) / (gamma * (2.0 - gamma))
    second = change(between, 1.0)
    return Solution(between + second.value, first.is_solved & second.is_solved)


class Search(NamedTuple):
    """Where conjugate gradients are: the value, what is left of the right side, and the last direction and product."""

    value: Real
    residual: Real
    direction: Real
    product: Real
    number: Array


def conjugate_gradients(matrix: Linear, right: Real, guess: Real, precondition: Linear) -> Real:
    """Solve a symmetric positive system to the tolerance of its dtype, or stop after 5000 iterations."""
    limit = _TOLERANCE[right.dtype.name] ** 2 * _square(right)
    residual = right - matrix(guess)
    is_nearer = _square(residual) < _square(right)
    value = jnp.where(is_nearer, guess, jnp.zeros_like(guess))
    residual = jnp.where(is_nearer, residual, right)

    def goes_on(at: Search) -> Mask:
        return (_square(at.residual) > limit) & (at.number < MAX_ITERATIONS)

    start = Search(value, residual, jnp.zeros_like(residual), jnp.zeros_like(limit), jnp.asarray(0))
    return lax.while_loop(goes_on, lambda at: iterate(matrix, precondition, at), start).value


def iterate(matrix: Linear, precondition: Linear, at: Search) -> Search:
    """One iteration of conjugate gradients."""
    scaled = precondition(at.residual)
    product = ordered_sum(at.residual * scaled)
    direction = scaled + rounded(product / jnp.where(at.product > 0, at.product, jnp.inf) * at.direction)
    image = matrix(direction)
    curvature = ordered_sum(direction * image)
    length = product / jnp.where(curvature > 0, curvature, jnp.inf)
    value, residual = at.value + rounded(length * direction), at.residual - rounded(length * image)
    return Search(value, residual, direction, product, at.number + 1)


def _square(array: Real) -> Real:
    return ordered_sum(array * array)


def _is_small(residual: Real, right: Real, terms: Real) -> Mask:
    """Whether a residual is within the tolerance of the sources, or rounding of the terms that it is the sum of."""
    residual, right, terms = (lax.stop_gradient(a) for a in (residual, right, terms))
    tolerance = 10.0 * _TOLERANCE[residual.dtype.name] * jnp.sqrt(_square(right))
    rounding = _ROUNDING * jnp.finfo(residual.dtype).eps * jnp.sqrt(_square(terms))
    return jnp.sqrt(_square(residual)) <= jnp.maximum(tolerance, rounding)
