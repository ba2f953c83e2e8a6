"""What a run compiles: functions of all its replicates at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from exodiff.core.arrays import BITS_DTYPE
from exodiff.devices import in_shares
from exodiff.exact import engine as exact
from exodiff.exact.clock import Time
from exodiff.kernels.decomposition import settled
from exodiff.kernels.random import make_stream
from exodiff.observe import Measured, measure
from exodiff.problem import Inputs, Problem
from exodiff.programs import program
from exodiff.start import begin, intervene_at
from exodiff.state import State
from exodiff.trajectories import advance


@program(static=("problem", "replicates"), donate=("state",))
def advance_all(
    problem: Problem,
    inputs: Inputs,
    seed: jax.Array,
    state: State,
    interval: tuple[jax.Array, jax.Array],
    first_pair: jax.Array,
    num_pairs: jax.Array,
    *,
    replicates: int,
) -> State:
    """The states after some pairs of steps in an interval, which is its start and the step."""

    def one(state: State, replicate: jax.Array) -> State:
        return advance(problem, inputs, seed, replicate, state, interval, first_pair, num_pairs)

    return _over_replicates(one, problem, state, replicates)


@program(static=("problem", "replicates"), donate=("state",))
def advance_exactly(
    problem: Problem,
    inputs: Inputs,
    seed: jax.Array,
    state: State,
    target: Time,
    budget: jax.Array,
    *,
    replicates: int,
) -> tuple[State, jax.Array]:
    """The states after at most a budget of events in ``exact``, and which replicates are at the target."""
    numbers = jnp.arange(replicates, dtype=BITS_DTYPE)

    def share(state: State, numbers: jax.Array) -> tuple[State, jax.Array]:
        return exact.advance(problem, inputs, seed, numbers, state, target, budget)

    return in_shares(share, state, numbers)


@program(static=("problem", "replicates"))
def measure_all(
    problem: Problem, inputs: Inputs, seed: jax.Array, state: State, time_s: jax.Array, *, replicates: int
) -> Measured:
    """What the observables read off the states."""

    def one(state: State, replicate: jax.Array) -> Measured:
        return measure(problem, inputs, state, time_s, make_stream(seed, replicate))

    return _over_replicates(one, problem, state, replicates)


@program(static=("problem", "replicates"), donate=("state",))
def intervene_all(
    problem: Problem,
    inputs: Inputs,
    seed: jax.Array,
    state: State,
    fires: jax.Array,
    time_s: jax.Array,
    *,
    replicates: int,
) -> State:
    """The states after the scheduled interventions that fire now."""

    def one(state: State, replicate: jax.Array) -> State:
        return intervene_at(problem, inputs, seed, replicate, state, fires, time_s)

    return _over_replicates(one, problem, state, replicates)


@program(static=("problem", "replicates"))
def begin_all(problem: Problem, inputs: Inputs, start: jax.Array, seed: jax.Array, *, replicates: int) -> State:
    """The first states."""

    def one(start: jax.Array, replicate: jax.Array) -> State:
        return begin(problem, inputs, start, seed, replicate)

    # An argument of each: JAX refuses to change what every device has where each does its share.
    return _over_replicates(one, problem, jnp.broadcast_to(start, (replicates, *start.shape)), replicates)


def _over_replicates(function: Callable[..., Any], problem: Problem, state: Any, replicates: int) -> Any:
    """Map over the replicates' axis; a single one is not mapped, which spares the batched control flow."""
    if replicates == 1:
        one = function(jax.tree.map(lambda a: a[0], state), jnp.zeros((), BITS_DTYPE))
        return settled(jax.tree.map(lambda a: a[None], one), problem.grid.shape)
    return in_shares(jax.vmap(function), state, jnp.arange(replicates, dtype=BITS_DTYPE))
