"""Estimator ``fsp``: exact expectations of small models of one voxel, from the master equation on its states.

The states are truncated where their probability is below 1e-9 (finite state projection: B. Munsky, M. Khammash,
J. Chem. Phys. 124, 044104, 2006); what leaves them is lost, and seen.
"""

from collections import deque
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.core.errors import ConfigError, SimulationError
from exodiff.core.expressions import names as names_in
from exodiff.inference.question import Parameters, Question, Samples, derivatives, refuse_contents, refuse_fields
from exodiff.kernels.random import make_stream
from exodiff.kernels.rates import Voxels, propensity
from exodiff.model.network import NewCell
from exodiff.observe import event_counters, scalar_expressions
from exodiff.problem import Inputs, Problem
from exodiff.start import begin, known_now, make_inputs, precision_context, start_array
from exodiff.state import State
from exodiff.trajectories import read_record
from exodiff.trajectory import Record, Trajectory, is_traced

MOST_STATES = 50_000
MOST_LOST = 1e-9
_PART = 10.0  # events expected in one part of the time
_TERMS = np.arange(60)  # of the series of a part: what follows is below 1e-20


class Space(NamedTuple):
    """The states of a problem: counts (states, species), and where each channel leads, (channels, states).

    A channel that leads out of them has the number of states as its target.
    """

    states: np.ndarray
    targets: np.ndarray


def exact_expectation(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """The expectation over the law of the states at one time, and its derivative: one row without error."""
    known = {name: value for name, value in parameters.items() if not is_traced(value)}
    refuse_contents(question, tuple(name for name in parameters if name in names or name not in known), "fsp")
    refuse_fields(parameters, names, "fsp")
    model = question.model
    if len(question.times) != 1:
        raise ConfigError(
            "times", f"fsp gives the law at one time, not the joint law of {len(question.times)}; give one"
        )
    (time_s,) = question.times
    problem = replace(model.problem, engine="leap", precision="float64")
    _refuse_unsupported(problem)
    with precision_context("float64"):
        inputs = make_inputs(model, parameters, "float64")
        start = start_array(model, problem)
        nothing = jnp.zeros((), jnp.uint32)
        with known_now():
            first = begin(problem, make_inputs(model, known, "float64"), start, nothing, nothing)
        for size in (64, 256, 1024, 4096):
            space = enumerate_states(problem, np.asarray(first.counts).reshape(-1), size)
            weights, slopes = _laws(
                problem, names, jnp.asarray(space.states), jnp.asarray(space.targets), inputs, time_s
            )
            lost = 1.0 - jnp.sum(weights)
            if is_traced(lost) or float(lost) < MOST_LOST:
                break
        else:
            raise SimulationError("fsp", f"the law does not fit into {size} more molecules of each species")
        values = question.read(_trajectory(problem, inputs, space, first, float(time_s)))
        mean = partial(jnp.tensordot, values, axes=(0, 0))
        return Samples(mean(weights)[None], {name: mean(slope)[None] for name, slope in slopes.items()}, "exact")


def _refuse_unsupported(problem: Problem) -> None:
    network = problem.network
    if problem.grid.num_voxels != 1:
        raise ConfigError("lattice.shape", f"fsp is for one voxel, not {problem.grid.num_voxels}; choose cfd")
    for channel in network.channels:
        where = f"reactions.{channel.name}"
        if channel.kills or channel.bursts or channel.new_cell is not NewCell.NONE or channel.deposits:
            raise ConfigError(
                where, "fsp with dying or new cells, bursts or concentrations is not yet supported; choose cfd"
            )
        if "t" in names_in(channel.rate):
            raise ConfigError(where, "fsp with rates that depend on t is not yet supported; choose cfd")
    has_more = problem.pools.names or problem.interventions or network.fields or problem.random_start or problem.walls
    if has_more:
        raise ConfigError(
            "estimator",
            "fsp with compartments, interventions, concentrations, random starts or fixed walls is not yet supported; "
            "choose cfd",
        )


def enumerate_states(problem: Problem, first: np.ndarray, more: int) -> Space:
    """All states that the channels reach, with at most so many molecules of each species more than at first."""
    channels = problem.network.channels
    changes = np.zeros((len(channels), first.size), np.int64)
    for row, channel in zip(changes, channels, strict=True):
        for species, change in channel.changes:
            row[species] = change
    needed = np.zeros_like(changes)
    for row, channel in zip(needed, channels, strict=True):
        for species, order in channel.reactants:
            row[species] = order
    # a closed model has no more than all its molecules in one species
    most = first.max(initial=0) * 2 + more
    states, queue = [first.astype(np.int64)], deque([0])
    seen = {states[0].tobytes(): 0}
    rows: list[list[int]] = []
    while queue:
        state = states[queue.popleft()]
        reached = []
        for change, order in zip(changes, needed, strict=True):
            after = state + change
            if np.any(state < order) or np.any(after < 0):
                reached.append(-1)
                continue
            key = after.tobytes()
            if key not in seen and np.all(after <= most):
                if len(states) >= MOST_STATES:
                    raise SimulationError("fsp", f"more than {MOST_STATES} states are needed; choose cfd")
                seen[key] = len(states)
                states.append(after)
                queue.append(seen[key])
            reached.append(seen.get(key, -1))
        rows.append(reached)
    targets = np.asarray(rows).reshape(len(states), len(channels)).T
    return Space(np.stack(states), np.where(targets < 0, len(states), targets))


@partial(jax.jit, static_argnames=("problem", "names"))
def _laws(
    problem: Problem, names: tuple[str, ...], states: Array, targets: Array, inputs: Inputs, time_s: float
) -> tuple[Array, dict[str, Array]]:
    """Probability of each state at a time, and its derivatives by name."""

    def law(chosen: Parameters) -> tuple[Array, Array]:
        given = inputs._replace(parameters={**inputs.parameters, **chosen})
        found = _law(problem, states, targets, given, time_s)
        return found, found

    slopes, found = derivatives(law, {name: inputs.parameters[name] for name in names})
    return found, slopes


def _law(problem: Problem, states: Array, targets: Array, inputs: Inputs, time_s: float) -> Array:
    """By uniformisation, in parts of the time."""
    shape = (len(problem.network.species), *problem.grid.shape)
    counts = states.astype(COUNT_DTYPE).reshape(-1, *shape)

    def of_state(counts: Array) -> Array:
        voxels = Voxels(problem, inputs, counts, jnp.zeros((), "float64"))
        return jnp.stack([jnp.sum(jnp.broadcast_to(propensity(voxels, c), problem.grid.shape)) for c in channels])

    channels = problem.network.channels
    rates = jax.vmap(of_state)(counts).T  # (channels, states)
    leaving = jnp.sum(rates, 0)
    fastest = lax.stop_gradient(jnp.max(leaving))
    parts = jnp.maximum(jnp.ceil(fastest * time_s / _PART), 1.0)
    expected = fastest * time_s / parts
    weights = jnp.exp(-expected) * jnp.cumprod(jnp.concatenate((jnp.ones(1), expected / jnp.arange(1.0, len(_TERMS)))))

    def jump(law: Array) -> Array:
        flow = rates * law
        gained = jnp.zeros_like(law).at[targets].add(flow, mode="drop")
        return law + (gained - leaving * law) / jnp.where(fastest > 0, fastest, 1.0)

    def part(_: Array, law: Array) -> Array:
        def term(carry: tuple[Array, Array], weight: Array) -> tuple[tuple[Array, Array], None]:
            law, total = carry
            return (jump(law), total + weight * law), None

        return lax.scan(term, (law, jnp.zeros_like(law)), weights)[0][1]

    first = jnp.zeros(len(states)).at[0].set(1.0)
    return lax.fori_loop(0, parts.astype(COUNT_DTYPE), part, first)


def _trajectory(problem: Problem, inputs: Inputs, space: Space, first: State, time_s: float) -> Trajectory:
    """All states as replicates of a trajectory with one time."""
    shape = (len(problem.network.species), *problem.grid.shape)
    counts = jnp.asarray(space.states, COUNT_DTYPE).reshape(-1, *shape)
    without = tuple(o for o in problem.observables if not event_counters(scalar_expressions([o])))
    seen = replace(problem, observables=without)

    def read(counts: Array) -> Record:
        state = replace(first, counts=counts)
        return read_record(seen, inputs, make_stream(0, 0), state, jnp.asarray(time_s))

    record = jax.vmap(read)(counts)
    record = jax.tree.map(lambda a: a[:, None], record)
    health = jnp.zeros((len(counts),), COUNT_DTYPE)
    return Trajectory(np.asarray([time_s]), *record, health=health, problem=seen)
