"""How long a step may be: exit rates of molecules, growth by feedback, and hops."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.arrays import Real
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, names
from exodiff.core.health import Health
from exodiff.growth import growth_rate
from exodiff.kernels.crossings import arrival_rates, exits_by_crossing
from exodiff.kernels.diffusion import AUTO_HOPS_PER_STEP, MAX_HOPS_PER_STEP, largest_hops
from exodiff.kernels.faces import fluid_velocity
from exodiff.kernels.lanes import smallest
from exodiff.kernels.pools import exits_of_pools, pool_rate
from exodiff.kernels.rates import Voxels, event_factor, exit_rate, propensity, rate_factor
from exodiff.model.network import Channel, DrawKind, NewCell
from exodiff.problem import Inputs, Problem
from exodiff.programs import ONCE

MAX_EXIT_PROBABILITY = 0.5
MAX_PAIRS = 2**31 - 1
MAX_HOP_PARTS = 8  # into which the hops of a step may be cut
SAME_TIME = 1e-9  # share of the last time by which two times differ at most that are taken as one


class Limits(NamedTuple):
    """What bounds a step at one moment.

    Attributes:
        exit_per_s: largest exit rate of any molecule or cell that is there, or growth rate by feedback.
        hop_excess_per_s: hop rate over the most hops that a step may have.
        source_per_s: largest rate of a channel that none of its reactants limits.
        health: a failure seen in the rates or counts.

    """

    exit_per_s: Real
    hop_excess_per_s: Real
    source_per_s: Real
    health: Array


def exits_by_species(voxels: Voxels, *, anywhere: bool = False) -> dict[int, Real]:
    """Total exit rate of each species that reactions use up, in every voxel where it is (or ``anywhere``).

    Cells that divide or spawn count as well, and what fills an empty voxel.
    """
    network = voxels.problem.network
    result: dict[int, Real] = {}
    for channel in network.channels:
        rates = {
            species: exit_rate(voxels, channel, species, anywhere=anywhere)
            for species, change in channel.changes
            if change < 0 and (channel.new_cell is NewCell.NONE or species < network.first_type)
        }
        if channel.new_cell is not NewCell.NONE:
            cell = channel.child if channel.parent is None else channel.parent
            assert cell is not None
            rates[cell] = _event_rate(voxels, channel, anywhere=anywhere)
        for species, rate in rates.items():
            result[species] = result.get(species, jnp.zeros((), rate.dtype)) + rate
    for place, motility in enumerate(network.motility):
        if motility is not None:
            species = network.first_type + place
            rate = _leaving_rate(voxels, motility)
            rate = rate if anywhere else jnp.where(voxels.real(species) > 0, rate, 0.0)
            result[species] = result.get(species, jnp.zeros((), rate.dtype)) + rate
    return result


def pool_exits(voxels: Voxels, *, anywhere: bool = False) -> dict[str, Real]:
    """Exit rate of one molecule of each amount outside the lattice, by name; 0 where there is none, or ``anywhere``."""
    found = exits_of_pools(voxels)
    for name, rate in exits_by_crossing(voxels).items():
        found[name] = found.get(name, jnp.zeros_like(rate)) + rate
    if anywhere:
        return found
    return {name: jnp.where(voxels.inputs.parameters[name] > 0, rate, 0.0) for name, rate in found.items()}


def drawn_losses(voxels: Voxels, *, anywhere: bool = False) -> dict[str, Real]:
    """Rate at which events take one molecule out of each concentration, by name; 0 where it is 0, or ``anywhere``."""
    network, volume = voxels.problem.network, voxels.problem.grid.fluid_volume_um3
    result: dict[str, Real] = {}
    for channel in network.channels:
        for field, change in channel.deposits:
            if change > 0:
                continue
            name = network.continuous[field]
            is_there = voxels.inputs.fields[name] > 0
            value = jnp.where(is_there, voxels.inputs.fields[name], 1.0 + 1.0 / volume)
            inputs = voxels.inputs._replace(fields={**voxels.inputs.fields, name: value})
            rate = -change * propensity(voxels._replace(inputs=inputs), channel) / (value * volume)
            rate = rate if anywhere else jnp.where(is_there, rate, 0.0)
            result[name] = result.get(name, jnp.zeros((), rate.dtype)) + rate
    return result


def _leaving_rate(voxels: Voxels, motility: Expression) -> Real:
    """Rate at which a cell leaves its voxel, twice: cells move once a pair, so the pair is the step to bound."""
    grid = voxels.problem.grid
    faces = sum(2.0 / h**2 for h, n in zip(grid.spacing_um, grid.shape, strict=True) if n > 1)
    return 2.0 * faces * voxels.evaluate(motility)


def _event_rate(voxels: Voxels, channel: Channel, *, anywhere: bool) -> Real:
    """Rate of an event of one cell that divides or spawns, or of one empty voxel."""
    rate = event_factor(voxels, channel)
    if channel.parent is None or anywhere:
        return rate
    return jnp.where(voxels.real(channel.parent) > 0, rate, 0.0)


def diffusivities(problem: Problem, inputs: Inputs, voxels: Voxels) -> dict[int, Real]:
    """Diffusivity of each free species that moves, broadcastable on the lattice."""
    result = {}
    for species, expression in enumerate(problem.network.diffusivity):
        if expression is not None:
            field = inputs.fields.get(f"diffusion.{problem.network.species[species]}")
            result[species] = voxels.evaluate(expression) if field is None else field
    return result


def hops_by_species(problem: Problem, inputs: Inputs, voxels: Voxels) -> dict[int, Real]:
    """Largest r of a step of one second, of each free species that moves."""
    x, y, z = (fluid_velocity(problem, inputs, axis) if problem.grid.can_hop(axis) else None for axis in range(3))
    spread = diffusivities(problem, inputs, voxels)
    return {s: largest_hops(d, problem.grid_of(s), (x, y, z)) for s, d in spread.items()}


def exit_and_hop_rates(problem: Problem, inputs: Inputs, counts: Array, time_s: Real) -> Limits:
    """The bounds on the next step, from the exact maximum over the lattice."""
    voxels = Voxels(problem, inputs, counts, time_s)
    exits = [jnp.max(rate) for rate in exits_by_species(voxels).values()]
    exits += [jnp.max(rate) for rate in drawn_losses(voxels).values()]
    exits += pool_exits(voxels).values()
    spread = diffusivities(problem, inputs, voxels).values()
    hop_rates = hops_by_species(problem, inputs, voxels)
    hops = [rate / (problem.hop_limit * problem.parts_of(s)) for s, rate in hop_rates.items()]
    zero = jnp.zeros((), problem.precision)
    exit_per_s = jnp.max(jnp.stack([zero, growth_rate(voxels), *exits]))
    rates = [*(rate_factor(voxels, c) for c in problem.network.channels), *spread]
    rates += [voxels.evaluate(motility) for motility in problem.network.motility if motility is not None]
    rates += [pool_rate(voxels, reaction) for reaction in problem.pools.reactions]
    rates += [arrival_rates(voxels, crossing) for crossing in problem.pools.crossings]
    lowest = jnp.min(jnp.stack([zero, *map(jnp.min, rates)]))
    health = jnp.where(lowest < 0, Health.NEGATIVE_RATE, Health.GOOD)
    health = jnp.where(smallest(counts) < 0, Health.OVERFLOW, health)
    sources = [jnp.max(propensity(voxels, c)) for c in problem.network.channels if c.kind is DrawKind.POISSON]
    found = exit_per_s, jnp.max(jnp.stack([zero, *hops])), jnp.max(jnp.stack([zero, *sources]))
    is_finite = jnp.all(jnp.isfinite(jnp.stack([*found, lowest])))
    return Limits(*found, jnp.where(is_finite, health, Health.NOT_A_NUMBER))


class Bound(NamedTuple):
    """The longest step that one cause allows."""

    step_s: float
    cause: str


Moments = Sequence[tuple[Inputs, Array]]
"""Inputs and counts, at the start and after what interventions do."""


def step_bounds(problem: Problem, moments: Moments, tolerance: float, hops: float) -> list[Bound]:
    """What bounds the step at some moments, shortest first: exits of each species at the tolerance, hops of each.

    Exit rates are those that a first molecule would meet anywhere on the lattice, so that a species which is not there
    yet counts too.
    """
    shortest: dict[str, Bound] = {}
    for inputs, counts in moments:
        for bound in _bounds_now(problem, inputs, counts, tolerance, hops):
            shortest[bound.cause] = min(bound, shortest.get(bound.cause, bound))
    return sorted(shortest.values())


def largest_exit(problem: Problem, moments: Moments, step_s: float) -> tuple[float, str] | None:
    """The largest probability that one molecule or cell is used up in a step, and of which kind; None without exits.

    Rates are those that bound the step.
    """
    found = [(rate, name) for inputs, counts in moments for name, rate in _exits_now(problem, inputs, counts).items()]
    if not found:
        return None
    rate, name = max(found)
    return -float(np.expm1(-rate * step_s)), name


@partial(jax.jit, static_argnames="problem", compiler_options=ONCE)
def _exits_anywhere(problem: Problem, inputs: Inputs, counts: Array) -> dict[str, Real]:
    """Largest exit rate that a molecule or cell would meet anywhere, by name."""
    voxels = Voxels(problem, inputs, counts, jnp.zeros((), problem.precision))
    names_of = problem.network.species
    exits = {names_of[s]: rate for s, rate in exits_by_species(voxels, anywhere=True).items()}
    exits |= drawn_losses(voxels, anywhere=True) | pool_exits(voxels, anywhere=True)
    return {name: jnp.max(rate) for name, rate in exits.items()}


@partial(jax.jit, static_argnames="problem", compiler_options=ONCE)
def _growth_and_hops(problem: Problem, inputs: Inputs, counts: Array) -> tuple[Real, dict[int, Real]]:
    """Growth by feedback, and the largest r of a step of one second, now or when the matrix is degraded."""
    voxels = Voxels(problem, inputs, counts, jnp.zeros((), problem.precision))
    now, later = hops_by_species(problem, inputs, voxels), hops_by_species(problem, inputs, _thinned(voxels))
    return growth_rate(voxels), {species: jnp.maximum(rate, later[species]) for species, rate in now.items()}


def _exits_now(problem: Problem, inputs: Inputs, counts: Array) -> dict[str, float]:
    """Largest exit rate that a molecule or cell would meet anywhere, by name; only of those that have one."""
    found = _exits_anywhere(problem, inputs, counts)
    return {name: float(rate) for name, rate in found.items() if rate > 0}


def _bounds_now(problem: Problem, inputs: Inputs, counts: Array, tolerance: float, hops: float) -> list[Bound]:
    longest = -np.log1p(-tolerance)
    exits = _exits_now(problem, inputs, counts)
    bounds = [Bound(float(longest / fastest), f"the exit rate of {name}") for name, fastest in exits.items()]
    growth, most_hops = _growth_and_hops(problem, inputs, counts)
    if growth > 0:
        bounds.append(Bound(float(longest / float(growth)), "growth by feedback between species"))
    for species, rate in most_hops.items():
        if rate > 0:
            bounds.append(Bound(hops / float(rate), f"the hop limit of species.{problem.network.species[species]}"))
    return bounds


def _thinned(voxels: Voxels) -> Voxels:
    """The voxels without the matrix that reactions degrade, which hinders diffusion less and less."""
    fields = dict(voxels.inputs.fields)
    network = voxels.problem.network
    named = {name for expression in network.diffusivity if expression is not None for name in names(expression)}
    for field in network.fields:
        if field.name in named and field.losses:
            fields[field.name] = jnp.zeros_like(fields[field.name])
    return voxels._replace(inputs=voxels.inputs._replace(fields=fields))


def with_step(problem: Problem, moments: Moments, time_step_s: float | None, tolerance: float) -> Problem:
    """The problem with its step bound: a fixed step, or the longest within the tolerance.

    Raises:
        ConfigError: for a fixed step with an exit probability above 0.5, or more hops than their kernel allows.

    """
    if time_step_s is None:
        bounds = step_bounds(problem, moments, tolerance, AUTO_HOPS_PER_STEP)
        step = bounds[0].step_s if bounds else float("inf")
        exit_limit, hop_limit = -float(np.log1p(-tolerance)), AUTO_HOPS_PER_STEP
    else:
        bounds = step_bounds(problem, moments, MAX_EXIT_PROBABILITY, MAX_HOP_PARTS * MAX_HOPS_PER_STEP)
        if bounds and time_step_s > bounds[0].step_s * (1.0 + 1e-6):
            limit, cause = bounds[0]
            for_hops = "; a larger lattice.spacing allows longer steps for hops" if "hop limit" in cause else ""
            raise ConfigError(
                "run.time_step",
                f'{time_step_s:g} s exceeds {limit:.3g} s, {cause} (lower it, or write "auto"{for_hops})',
            )
        step, exit_limit, hop_limit = time_step_s, -float(np.log1p(-MAX_EXIT_PROBABILITY)), MAX_HOPS_PER_STEP
    parts = hop_parts(problem, moments, step, hop_limit)
    return replace(problem, step_bound_s=step, exit_limit=exit_limit, hop_limit=hop_limit, hop_parts=parts)


def hop_parts(problem: Problem, moments: Moments, step_s: float, limit: float) -> tuple[int, ...]:
    """Into how many parts the hops of each species are cut for a step; empty if none are."""
    found = [1] * len(problem.network.species)
    for inputs, counts in moments:
        for species, rate in _growth_and_hops(problem, inputs, counts)[1].items():
            wanted = int(np.ceil(float(rate) * step_s / limit * (1.0 - 1e-6))) if np.isfinite(step_s) else 1
            found[species] = min(max(found[species], wanted), MAX_HOP_PARTS)
    return tuple(found) if max(found, default=1) > 1 else ()


class Interval(NamedTuple):
    """A stretch between two scheduled times, cut into pairs of equal steps."""

    start_s: float
    dt_s: float
    num_pairs: int


def merge_times(times_s: Iterable[float], last_s: float) -> list[float]:
    """Rising times up to the last, with those that differ by rounding only taken as one."""
    ordered = sorted(time for time in times_s if time <= last_s * (1.0 + SAME_TIME))
    kept = ordered[:1]
    for time in ordered[1:]:
        if time - kept[-1] > SAME_TIME * last_s:
            kept.append(time)
    kept[-1] = last_s
    return kept


def intervals(times_s: tuple[float, ...], bound_s: float) -> tuple[Interval, ...]:
    """Cut the stretches between scheduled times into an even number of equal steps within the bound."""
    result = []
    for start, end in pairwise(times_s):
        pairs = max(int(np.ceil((end - start) / (2.0 * bound_s) * (1.0 - 1e-9))), 1)
        if pairs > MAX_PAIRS:
            raise ConfigError(
                "run.time_step",
                f"{pairs:.3g} pairs of steps are needed between {start:g} s and {end:g} s; at most "
                f"{MAX_PAIRS} are possible: look at the fastest rate with `exodiff check`",
            )
        result.append(Interval(start, (end - start) / (2 * pairs), pairs))
    return tuple(result)
