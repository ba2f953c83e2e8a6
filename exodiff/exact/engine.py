"""The engine ``exact``: spatial stochastic simulation, by the method that suits the size of the model."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Bits, Mask, Real
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import names
from exodiff.core.health import Health
from exodiff.exact import direct, lattice
from exodiff.exact.clock import UNLIMITED, Time, next_number
from exodiff.exact.events import time_dependent
from exodiff.observe import current_inputs
from exodiff.problem import Inputs, Problem
from exodiff.state import Clock, State


def refuse_unsupported(problem: Problem) -> None:
    """Refuse a model that this engine would simulate wrongly."""
    if problem.pools.names:
        raise ConfigError("engine", "exact with compartments is not yet supported; choose leap or mean_field")
    network = problem.network
    if network.fields:
        where = f"species.{network.fields[0].name}.kind"
        raise ConfigError(where, "concentrations are not yet supported with engine exact; use engine leap")
    for name, chemotaxis in zip(network.cell_types, network.chemotaxis, strict=False):
        if chemotaxis is not None:
            where = f"cells.{name}.chemotaxis"
            raise ConfigError(where, "it is not yet supported with engine exact; use engine leap")
    of_state = {*network.species, "t"}
    for name, motility in zip(network.cell_types, network.motility, strict=True):
        if motility is not None and names(motility) & of_state:
            where = f"cells.{name}.motility"
            told = "it depends on the state, which is not yet supported with engine exact; use engine leap"
            raise ConfigError(where, told)
    found = time_dependent(problem)
    if found is not None:
        raise ConfigError(
            f"reactions.{found}",
            "its rate depends on t, which is not yet supported with engine exact; use engine leap",
        )


def start_clock(problem: Problem, inputs: Inputs, state: State) -> State:
    """A state at time zero with its clock."""
    clock = Clock(jnp.zeros((2,), problem.precision), jnp.zeros((2,), BITS_DTYPE), jnp.zeros((0,), problem.precision))
    return _with_rates(problem, inputs, replace(state, clock=clock))


def after_intervention(problem: Problem, inputs: Inputs, state: State, time_s: Real) -> State:
    """A state that was changed from outside at a time: the wait for the next event begins there, with new bits."""
    assert state.clock is not None
    number = jnp.stack(next_number((state.clock.number[0], state.clock.number[1]), jnp.ones((), BITS_DTYPE)))
    clock = replace(state.clock, time_s=jnp.stack((time_s, jnp.zeros_like(time_s))), number=number)
    return _with_rates(problem, inputs, replace(state, clock=clock))


def _with_rates(problem: Problem, inputs: Inputs, state: State) -> State:
    if state.clock is None or direct.is_direct(problem):
        return state
    nodes, health = lattice.first_nodes(problem, current_inputs(problem, inputs, state), state.counts)
    health = jnp.where(state.health == Health.GOOD, health, state.health)
    return replace(state, health=health, clock=replace(state.clock, rates=nodes))


def advance(
    problem: Problem, inputs: Inputs, seed: Bits, replicates: Bits, states: State, target: Time, budget: Bits
) -> tuple[State, Mask]:
    """Advance trajectories to a time, or by as many events as the budget allows.

    Args:
        problem: the static structure.
        inputs: parameters and fields.
        seed: of all trajectories.
        replicates: number of each trajectory, (replicates,).
        states: with a leading axis of replicates.
        target: the time to reach.
        budget: largest number of events of a trajectory in this call.

    Returns:
        The states, and which of them are at the target. No bit depends on the budget.

    """
    if direct.is_direct(problem):
        times = Time(target.high[None], target.low[None])
        states, _, reached = direct.run(problem, inputs, seed, replicates, states, times, budget)
        return states, reached
    one = partial(lattice.advance, problem, inputs, seed)
    return jax.vmap(one, in_axes=(0, 0, None, None))(replicates, states, target, budget)


def trajectories(
    problem: Problem, inputs: Inputs, seed: Bits, replicates: Bits, states: State, times: Time
) -> tuple[State, tuple[Array, Array]]:
    """States at the last of some rising times, and counts and event counters at each of them.

    Returns:
        The states; counts (replicates, times, species, x, y, z) and counters (replicates, times, counters, 2).

    """
    budget = jnp.asarray(UNLIMITED, BITS_DTYPE)
    if direct.is_direct(problem):
        states, records, _ = direct.run(problem, inputs, seed, replicates, states, times, budget)
        return states, records

    def stretch(states: State, target: Time) -> tuple[State, tuple[Array, Array]]:
        states, _ = advance(problem, inputs, seed, replicates, states, target, budget)
        return states, (states.counts, states.events)

    states, records = lax.scan(stretch, states, times)
    return states, jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), records)
