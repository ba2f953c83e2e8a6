"""The pass that advances concentrations: each follows its sources, losses and diffusion over a pair of steps.

Amounts of molecules and cells are those of the middle of the pair, so that the pair stays of second order. Those that
follow in time (``implicit``, ``explicit``) go half the way, steady ones are solved with what they find there, and then
the first go all the way with the coefficients of the middle.

Between ``implicit`` and ``explicit`` the difference is how diffusion meets what happens in each voxel: together, or in
turn (half a step of losses and sources, diffusion, the other half). Diffusion with one diffusivity is exact in time in
both (:mod:`exodiff.kernels.exponential`).
"""

from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import Mask, Real
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import names
from exodiff.kernels.decomposition import rounded
from exodiff.kernels.exponential import diffused, relax, response
from exodiff.kernels.modes import has_use
from exodiff.kernels.rates import Voxels, propensity, with_concentrations
from exodiff.kernels.steady import (
    Solution,
    Spread,
    face_exchange,
    implicit_step,
    solve_balance,
    solve_even,
    solve_linear,
    wall_exchange,
)
from exodiff.lattice.grid import Grid
from exodiff.model.network import Continuous, Network, Solve


class Found(NamedTuple):
    """All concentrations (continuous, x, y, z), and whether each equation was solved."""

    concentrations: Array
    is_solved: Mask


def advance_fields(voxels: Voxels, concentrations: Array, dt_s: Real) -> Found:
    """All concentrations after a time, with the counts of its middle."""
    network = voxels.problem.network
    following = [place for place, field in enumerate(network.fields) if field.solve is not Solve.STEADY]
    followed = {network.fields[place].name for place in following}
    middle = Found(concentrations, jnp.asarray(True))
    for place in following if any(_depends(field) & followed for field in network.fields) else ():
        middle = _put(middle, place, _followed(voxels, concentrations, concentrations, place, 0.5 * dt_s))
    middle = solve_steady(voxels, middle.concentrations)
    found = middle
    for place in following:
        found = _put(found, place, _followed(voxels, middle.concentrations, concentrations, place, dt_s))
    return found


def solve_steady(voxels: Voxels, concentrations: Array) -> Found:
    """The steady concentrations that belong to the counts and to the others, from a first guess of them."""
    found = Found(concentrations, jnp.asarray(True))
    for place in steady_order(voxels.problem.network):
        found = _put(found, place, _balanced(voxels, found.concentrations, place))
    return found


def _balanced(voxels: Voxels, concentrations: Array, place: int) -> Solution:
    """One steady concentration that belongs to the others."""
    field, grid = voxels.problem.network.fields[place], voxels.problem.grid
    spread, guess = _spread(voxels, field), concentrations[place]
    if field.name not in _depends(field) and _is_even(voxels, field) and has_use(grid):
        loss, source = _coefficients(_seeing(voxels, concentrations), place)
        exchange = _exchange(voxels, field)
        return solve_even(exchange, loss[0, 0, 0], source + spread.inflow, _grid_of(voxels, field))
    if field.name not in _depends(field):
        return solve_linear(spread, *_coefficients(_seeing(voxels, concentrations), place), guess, grid)

    def coefficients(value: Real) -> tuple[Real, Real]:
        return _coefficients(_seeing(voxels, concentrations.at[place].set(value)), place)

    return solve_balance(spread, coefficients, guess, grid)


@lru_cache(maxsize=64)
def steady_order(network: Network) -> tuple[int, ...]:
    """Places of the steady species, each after those that its equation depends on.

    Raises:
        ConfigError: two of them depend on each other.

    """
    left = {field.name: place for place, field in enumerate(network.fields) if field.solve is Solve.STEADY}
    result: list[int] = []
    while left:
        ready = [name for name, place in left.items() if not (_depends(network.fields[place]) & set(left)) - {name}]
        if not ready:
            raise ConfigError(
                f"species.{min(left)}.solve",
                f"{' and '.join(sorted(left))} are steady and depend on each other, which is not yet supported; choose "
                '"implicit" for one of them',
            )
        result += [left.pop(name) for name in ready]
    return tuple(result)


def unsolved(voxels: Voxels, concentrations: Array) -> str:
    """Name of the first steady species that has no solution with these counts; empty if all have one."""
    found = concentrations
    for place in steady_order(voxels.problem.network):
        solution = _balanced(voxels, found, place)
        if not bool(solution.is_solved):
            return voxels.problem.network.fields[place].name
        found = found.at[place].set(solution.value)
    return ""


def loss_coefficient(voxels: Voxels, place: int) -> Real:
    """First-order loss of a concentration in each voxel, per second."""
    return _coefficients(voxels, place)[0]


def diffusivity_of(voxels: Voxels, field: Continuous) -> Real:
    """D of a concentration in each voxel, um^2/s."""
    if field.diffusivity is None:
        return jnp.zeros(voxels.problem.grid.shape, voxels.problem.precision)
    of_file = voxels.inputs.fields.get(f"diffusion.{field.name}")
    d = voxels.evaluate(field.diffusivity) if of_file is None else of_file
    return jnp.broadcast_to(d, voxels.problem.grid.shape)


def _depends(field: Continuous) -> frozenset[str]:
    """Names in the rates of its equation."""
    return frozenset().union(*(names(term.channel.rate) for term in field.terms))


def _put(found: Found, place: int, solution: Solution) -> Found:
    return Found(found.concentrations.at[place].set(solution.value), found.is_solved & solution.is_solved)


def _seeing(voxels: Voxels, concentrations: Array) -> Voxels:
    return voxels._replace(inputs=with_concentrations(voxels.problem, voxels.inputs, concentrations))


def _followed(voxels: Voxels, seen: Array, start: Array, place: int, dt_s: Real) -> Solution:
    """A concentration after a time, with the coefficients of the concentrations that are seen."""
    field = voxels.problem.network.fields[place]
    spread, value = _spread(voxels, field), start[place]
    loss, source = _coefficients(_seeing(voxels, seen), place)
    if field.solve is Solve.IMPLICIT and not _is_even(voxels, field):
        return implicit_step(spread, loss, source, value, dt_s, voxels.problem.grid)
    if field.solve is Solve.IMPLICIT:
        value = _diffused(voxels, field, value, loss[0, 0, 0], source if field.gains else None, dt_s)
    elif field.diffusivity is None:
        value = jnp.where(spread.is_free, relax(loss, source, value, dt_s), spread.held)
    else:
        value = relax(loss, source, value, 0.5 * dt_s)
        value = _diffused(voxels, field, value, jnp.zeros_like(dt_s), None, dt_s)
        value = relax(loss, source, value, 0.5 * dt_s)
    return Solution(value, jnp.asarray(True))


def _diffused(voxels: Voxels, field: Continuous, value: Real, loss: Real, source: Real | None, dt_s: Real) -> Real:
    """A concentration with one diffusivity after a time with one loss, and with sources that do not change."""
    grid, exchange = _grid_of(voxels, field), _exchange(voxels, field)
    value = rounded(jnp.exp(-loss * dt_s) * diffused(value, exchange, dt_s, grid))
    if source is None and not field.walls:
        return value
    inflow = _spread(voxels, field).inflow
    return value + response(inflow if source is None else inflow + source, exchange, loss, dt_s, grid)


def _exchange(voxels: Voxels, field: Continuous) -> tuple[Real, Real, Real]:
    """D / h^2 along each axis of a concentration with one diffusivity, per second."""
    d = diffusivity_of(voxels, field)[0, 0, 0]
    x, y, z = (d * (1.0 / h**2) for h in voxels.problem.grid.spacing_um)
    return x, y, z


def _grid_of(voxels: Voxels, field: Continuous) -> Grid:
    """The lattice as a concentration meets it: a fixed wall that gives it no value reflects."""
    return voxels.problem.grid.fixed_at({(axis, side) for axis, side, _ in field.walls})


def _is_even(voxels: Voxels, field: Continuous) -> bool:
    """Whether it diffuses with one diffusivity, is lost at one rate, and is held nowhere."""
    if field.diffusivity is None or f"diffusion.{field.name}" in voxels.inputs.fields or field.fixed:
        return False
    losses = [term.channel for term in field.losses]
    if any(channel.reactants or channel.region or channel.needs_cell for channel in losses):
        return False
    network = voxels.problem.network
    by_voxel = {*network.species, *network.continuous, *(name for name, _ in network.by_cell)}
    found = names(field.diffusivity).union(*(names(channel.rate) for channel in losses))
    return not (found & by_voxel or any(name.startswith("region.") for name in found))


def _coefficients(voxels: Voxels, place: int) -> tuple[Real, Real]:
    """Loss coefficient (1/s) and source (concentration/s) of a concentration in each voxel."""
    problem = voxels.problem
    field, nothing = problem.network.fields[place], jnp.zeros(problem.grid.shape, problem.precision)
    loss = sum((rounded(t.factor * propensity(voxels, t.channel)) for t in field.losses), start=nothing)
    return loss, sum((rounded(t.factor * propensity(voxels, t.channel)) for t in field.gains), start=nothing)


def _spread(voxels: Voxels, field: Continuous) -> Spread:
    problem, grid = voxels.problem, voxels.problem.grid
    nothing = jnp.zeros(grid.shape, problem.precision)
    d = diffusivity_of(voxels, field)
    outflow, inflow = nothing, nothing
    for axis in range(3):
        for side in (0, 1):
            if grid.walls[axis][side] == "absorbing":
                outflow = outflow + wall_exchange(d, grid, axis, side)
    for axis, side, value in field.walls:
        exchange = wall_exchange(d, grid, axis, side)
        outflow, inflow = outflow + exchange, inflow + exchange * voxels.evaluate(value)
    held, is_free = nothing, jnp.ones(grid.shape, bool)
    for where, value in field.fixed:
        there = _is_at(voxels, where)
        held, is_free = jnp.where(there, voxels.evaluate(value), held), is_free & ~there
    return Spread(face_exchange(d, grid), outflow, inflow, is_free, held)


def _is_at(voxels: Voxels, where: str) -> Mask:
    """Voxels of a region, or with a cell of a type (in ``mean_field`` more than half of one)."""
    if where in voxels.problem.regions:
        return voxels.inputs.fields[f"region.{where}"] > 0.5
    return voxels.real(voxels.problem.network.index(where)) > 0.5
