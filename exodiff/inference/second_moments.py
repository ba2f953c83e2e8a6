"""Estimator ``closure2``: means and covariances of all numbers of a small lattice.

What is observed is expanded to second order around the means.

The moments of the master equation up to the second, with all third central moments taken as zero (normal closure): of a
state n with mean m and covariance C, rates a and changes S,

    dm/dt = S E[a],   dC/dt = J C + C J' + S diag(E[a]) S',   E[a] = a(m) + tr(a'' C) / 2,   J = S a'.

Exact where all rates are linear, and there for squares, variances and covariances of sums over voxels, too.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import Real
from exodiff.core.errors import ConfigError, SimulationError
from exodiff.exact.events import changes_here, changes_next_door, constant_rates, events_of, sees_neighbours
from exodiff.inference.question import Parameters, Question, Samples, derivatives, refuse_contents, refuse_fields
from exodiff.inference.straight_through import refuse_zero
from exodiff.kernels.neighbours import shift
from exodiff.kernels.random import make_stream
from exodiff.kernels.rates import Voxels, propensity, rate_factor
from exodiff.model.network import Channel
from exodiff.observe import event_counters, scalar_expressions
from exodiff.problem import Inputs, Problem
from exodiff.smoothness import is_smooth, refuse_jumps
from exodiff.start import begin, known_now, make_inputs, precision_context
from exodiff.state import State
from exodiff.trajectories import read_record
from exodiff.trajectory import Trajectory, is_traced

MOST_NUMBERS = 256  # of which all pairs are followed
_CLOSE = 1e-6  # to which halving the step changes the moments, of the largest
_MOST_PARTS = 2**20


def second_moments(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """The expectation to second order in what scatters, at one time, and its derivative: one row without noise."""
    refuse_contents(question, names, "closure2")
    refuse_fields(parameters, names, "closure2")
    if len(question.times) != 1:
        raise ConfigError("times", f"closure2 gives the moments at one time, not at {len(question.times)}; give one")
    (time_s,) = question.times
    problem = replace(question.model.problem, engine="mean_field", precision="float64")
    _refuse_unsupported(problem)
    wanted = (o for o in problem.observables if is_smooth(o) and not event_counters(scalar_expressions([o])))
    seen = replace(problem, observables=tuple(wanted))
    with precision_context("float64"):
        start = jnp.asarray(question.model.start, "float64")
        known = {name: value for name, value in parameters.items() if not is_traced(value)}
        with known_now():
            parts = _num_parts(problem, make_inputs(question.model, known, "float64"), start, float(time_s))

        def observed(chosen: Parameters) -> tuple[Array, tuple[Array, Trajectory]]:
            inputs = make_inputs(question.model, {**parameters, **chosen}, "float64")
            first, mean, covariance = _moments(problem, parts, inputs, start, float(time_s))

            def trajectory(numbers: Array) -> Trajectory:
                state = replace(first, counts=_counts(problem, first, numbers))
                record = read_record(seen, inputs, make_stream(0, 0), state, jnp.asarray(time_s))
                record = jax.tree.map(lambda a: a[None, None], record)
                return Trajectory(np.asarray([time_s]), *record, health=first.health[None], problem=seen)

            def read(numbers: Array) -> Array:
                return question.read(trajectory(numbers))

            found = read(mean) + 0.5 * _curvature(read, mean, covariance)
            return found, (found, trajectory(mean))

        slopes, (values, trajectory) = derivatives(observed, {name: parameters[name] for name in names})
        failed = refuse_zero(question, trajectory, "closure2") if names else jnp.asarray(False)
        return Samples(values, slopes, "forward").unless(failed)


def _refuse_unsupported(problem: Problem) -> None:
    network = problem.network
    remedy = 'choose estimator = "leap_st", or simulate replicates'
    numbers = network.first_type * problem.grid.num_voxels
    if numbers > MOST_NUMBERS:
        raise ConfigError(
            "lattice.shape",
            f"closure2 follows all pairs of {numbers} numbers (species in voxels), at most {MOST_NUMBERS}; {remedy}",
        )
    refuse_jumps(problem)
    for channel in network.channels:
        if channel.bursts or channel.deposits:
            raise ConfigError(
                f"reactions.{channel.name}", f"closure2 with bursts or concentrations is not yet supported; {remedy}"
            )
    if problem.pools.names or problem.interventions or network.fields or sees_neighbours(problem):
        raise ConfigError(
            "estimator",
            "closure2 with compartments, interventions, concentrations or rates that see neighbours is not yet "
            f"supported; {remedy}",
        )


def _counts(problem: Problem, first: State, numbers: Array) -> Array:
    """All counts, from the numbers of what is no cell; cells stay as they are."""
    changing = problem.network.first_type
    return jnp.concatenate((numbers.reshape(changing, *problem.grid.shape), first.counts[changing:]))


def _curvature(function: Callable[[Array], Array], at: Array, covariance: Array) -> Array:
    """The sum over i and j of a function's second derivatives times C_ij."""

    def along(row: Array, unit: Array) -> Array:
        def slope(x: Array) -> Array:
            return jax.jvp(function, (x,), (unit,))[1]

        return jax.jvp(slope, (at,), (row,))[1]

    return jnp.sum(jax.vmap(along)(covariance, jnp.eye(len(at), dtype=at.dtype)), axis=0)


def _num_parts(problem: Problem, inputs: Inputs, start: Array, time_s: float) -> int:
    """Into how many steps the time is cut."""
    parts, before = 8, None
    while parts <= _MOST_PARTS:
        found = [np.asarray(a) for a in _moments(problem, parts, inputs, start, time_s)[1:]]
        if before is not None and all(
            np.max(np.abs(a - b), initial=0.0) <= _CLOSE * np.max(np.abs(a), initial=0.0)
            for a, b in zip(found, before, strict=True)
        ):
            return parts
        parts, before = 2 * parts, found
    raise SimulationError("closure2", f"the moments do not settle with {_MOST_PARTS} steps; choose leap_st")


@partial(jax.jit, static_argnames=("problem", "time_s"))
def _moments(problem: Problem, parts: int, inputs: Inputs, start: Array, time_s: float) -> tuple[State, Array, Array]:
    """The first state, and the means (numbers,) and covariances of what is no cell at a time."""
    nothing = jnp.zeros((), jnp.uint32)
    first = begin(problem, inputs, start, nothing, nothing)
    changing, shape = problem.network.first_type, problem.grid.shape
    mean = first.counts[:changing].reshape(-1)
    voxels = Voxels(problem, inputs, first.counts, jnp.zeros((), "float64"))
    variance = jnp.zeros_like(first.counts[:changing])
    for species, expression in problem.random_start:
        present = voxels.occupancy() if species >= problem.network.num_free else 1.0
        variance = variance.at[species].set(jnp.broadcast_to(voxels.evaluate(expression) * present, shape))
    dt_s = time_s / parts
    change = partial(_change, problem, inputs, first, constant_rates(problem, inputs))

    def step(i: Array, moments: _Moments) -> _Moments:
        """Runge and Kutta's of the fourth order."""
        now_s = i * dt_s

        def moved(by: _Moments, share: float) -> _Moments:
            return jax.tree.map(lambda a, b: a + share * dt_s * b, moments, by)

        k1 = change(now_s, moments)
        k2 = change(now_s + 0.5 * dt_s, moved(k1, 0.5))
        k3 = change(now_s + 0.5 * dt_s, moved(k2, 0.5))
        k4 = change(now_s + dt_s, moved(k3, 1.0))
        return jax.tree.map(lambda a, b, c, d, e: a + dt_s / 6.0 * (b + 2.0 * c + 2.0 * d + e), moments, k1, k2, k3, k4)

    found = lax.fori_loop(0, parts, step, _Moments(mean, jnp.diag(variance.reshape(-1))))
    return first, found.mean, found.covariance


class _Moments(NamedTuple):
    mean: Array
    covariance: Array


def _change(
    problem: Problem, inputs: Inputs, first: State, constant: Array, time_s: Real, moments: _Moments
) -> _Moments:
    """By second."""
    changing, num_voxels = problem.network.first_type, problem.grid.num_voxels
    mean = moments.mean.reshape(changing, num_voxels)
    here = moments.covariance.reshape(changing, num_voxels, changing, num_voxels)
    here = jnp.diagonal(here, axis1=1, axis2=3)  # (species, species, voxels)

    def rates(mean: Array) -> Array:
        counts = _counts(problem, first, mean)
        return _rates(Voxels(problem, inputs, counts, time_s), constant).reshape(-1, num_voxels)

    def by_species(species: int, mean: Array) -> Array:
        """Derivative of the rates by the number of a species in their voxel, (kinds, voxels)."""
        unit = jnp.zeros_like(mean).at[species].set(1.0)
        return jax.jvp(rates, (mean,), (unit,))[1]

    expected = rates(mean)
    slopes = []
    for species in range(changing):
        slope, bent = jax.jvp(partial(by_species, species), (mean,), (here[species],))
        slopes.append(slope)
        expected = expected + 0.5 * bent
    changes = jnp.asarray(_changes(problem), mean.dtype)  # (numbers, kinds, voxels)
    jacobian = jnp.einsum("nkv,ikv->niv", changes, jnp.stack(slopes)).reshape(mean.size, mean.size)
    drift = jacobian @ moments.covariance
    noise = jnp.einsum("akv,kv,bkv->ab", changes, expected, changes)
    return _Moments(jnp.einsum("nkv,kv->n", changes, expected), drift + drift.T + noise)


def _rates(voxels: Voxels, constant: Array) -> Array:
    """Events per second of each kind in each voxel, as smooth functions of the counts: (kinds, x, y, z)."""
    found, row = [], 0
    for event in events_of(voxels.problem):
        if event.is_constant:
            rate = constant[row] if event.hopper is None else constant[row] * voxels.real(event.hopper)
            row += 1
        else:
            assert event.channel is not None
            rate = _smooth_propensity(voxels, event.channel)
        found.append(jnp.broadcast_to(rate, voxels.problem.grid.shape))
    return jnp.stack(found)


def _smooth_propensity(voxels: Voxels, channel: Channel) -> Real:
    """With n (n - 1) ... as a polynomial, also below its zeros, where a mean can be."""
    if channel.is_propensity:
        return propensity(voxels, channel)
    rate = rate_factor(voxels, channel)
    for species, order in channel.reactants:
        for i in range(order):
            rate = rate * (voxels.real(species) - i)
    return rate


@lru_cache(maxsize=16)
def _changes(problem: Problem) -> np.ndarray:
    """What an event of each kind in each voxel adds to each number, (numbers, kinds, voxels)."""
    events, grid, changing = events_of(problem), problem.grid, problem.network.first_type
    table = np.zeros((changing, grid.num_voxels, len(events), grid.num_voxels))
    each = np.arange(grid.num_voxels)
    here, next_door = changes_here(problem), changes_next_door(problem)
    for kind, event in enumerate(events):
        for species in range(changing):
            table[species, each, kind, each] += here[kind, species]
        if event.hopper is None or event.face is None:
            continue
        axis, step = event.face
        with known_now():
            sources = jnp.asarray(1 + each.reshape(grid.shape))
            came_from = np.asarray(shift(sources, problem.grid_of(event.hopper), axis, step)).reshape(-1)
        reached = came_from > 0
        table[event.hopper, each[reached], kind, came_from[reached] - 1] += next_door[kind, event.hopper]
    return table.reshape(-1, len(events), grid.num_voxels)
