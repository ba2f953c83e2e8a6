"""Interventions: what is done to a state from outside, at scheduled times or when a condition becomes true."""

from dataclasses import replace
from functools import reduce

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Mask, Number, Real
from exodiff.core.health import Health
from exodiff.kernels import totals, words
from exodiff.kernels.policies import Policy, is_discrete, policy_of
from exodiff.kernels.pools import is_beyond
from exodiff.kernels.random import Stream, fold, site_id, to_unit_interval, voxel_index
from exodiff.kernels.random import words as words_of
from exodiff.kernels.rates import Voxels
from exodiff.kernels.reactions import wipe_cells
from exodiff.kernels.straight_through import matched
from exodiff.observe import current_inputs, read
from exodiff.problem import Assignment, Inputs, Intervention, Problem
from exodiff.state import State

_LARGEST = 2.0**31


def scheduled_now(problem: Problem, time_s: float, tolerance_s: float) -> tuple[bool, ...]:
    """Which of the scheduled interventions act at a time."""
    return tuple(any(abs(at - time_s) <= tolerance_s for at in i.at_s) for i in problem.scheduled)


def intervene(problem: Problem, inputs: Inputs, state: State, fires: Array, time_s: Real, stream: Stream) -> State:
    """Do the scheduled interventions that ``fires`` names, in their order, and then what they trigger.

    Args:
        problem: its scheduled interventions.
        inputs: of the whole simulation; what interventions changed is in the state.
        state: at the time, after the step that ends there.
        fires: (scheduled,), whether each acts now.
        time_s: the time.
        stream: of the replicate and this moment; the next moment needs another.

    """
    for place, intervention in enumerate(problem.scheduled):
        acts = fires[place] & (state.health == Health.GOOD)
        state = _act_if(acts, problem, inputs, state, intervention, time_s, stream)
    return pull_triggers(problem, inputs, state, time_s, fold(stream, site_id("after scheduled interventions")))


def pull_triggers(problem: Problem, inputs: Inputs, state: State, time_s: Real, stream: Stream) -> State:
    """Test all conditions and do the interventions whose condition became true since the last test.

    As many passes as there are conditions, so that one intervention may trigger another at the same time.
    Arguments as of :func:`intervene`.
    """
    triggered = problem.triggered
    if not triggered:
        return state

    def one_pass(number: Array, state: State) -> State:
        for place, intervention in enumerate(triggered):
            is_true = _holds(problem, inputs, state, intervention, time_s)
            acts = is_true & ~state.was_true[place] & (state.health == Health.GOOD)
            state = _act_if(acts, problem, inputs, state, intervention, time_s, fold(stream, number))
            # What it did may have ended its own condition, so that it can become true again.
            after = _holds(problem, inputs, state, intervention, time_s)
            kept = jnp.where(acts, after, is_true) if intervention.repeat else is_true | state.was_true[place]
            state = replace(state, was_true=state.was_true.at[place].set(kept))
        return state

    if len(triggered) == 1:
        return one_pass(jnp.zeros((), BITS_DTYPE), state)
    return lax.fori_loop(0, len(triggered), lambda i, s: one_pass(i.astype(BITS_DTYPE), s), state)


def _holds(problem: Problem, inputs: Inputs, state: State, intervention: Intervention, time_s: Real) -> Mask:
    assert intervention.when is not None
    return read(Voxels(problem, current_inputs(problem, inputs, state), state.counts, time_s), state, intervention.when)


def _act_if(
    acts: Mask,
    problem: Problem,
    inputs: Inputs,
    state: State,
    intervention: Intervention,
    time_s: Real,
    stream: Stream,
) -> State:
    own = fold(stream, site_id(f"intervention:{intervention.name}"))
    return lax.cond(acts, lambda s: act(problem, inputs, s, intervention, time_s, own), lambda s: s, state)


def act(
    problem: Problem, inputs: Inputs, state: State, intervention: Intervention, time_s: Real, stream: Stream
) -> State:
    """Do one intervention: all values are taken from before it, then cells are removed."""
    network, policy = problem.network, policy_of(problem.engine)
    voxels = Voxels(problem, current_inputs(problem, inputs, state), state.counts, time_s)
    inside = voxels.inputs.fields[f"region.{intervention.region}"] > 0.5 if intervention.region else jnp.asarray(True)
    counts, settings, concentrations, pools = state.counts, state.settings, state.concentrations, state.pools
    is_finite = jnp.asarray(True)
    for assignment in intervention.assignments:
        if concentrations is not None and assignment.target in network.continuous:
            place = network.continuous.index(assignment.target)
            value = voxels.evaluate(assignment.value)
            now = concentrations[place]
            found = jnp.maximum(now + value if assignment.adds else value, 0.0)
            concentrations = concentrations.at[place].set(jnp.where(inside, found, now))
            is_finite &= jnp.all(jnp.isfinite(found))
        elif assignment.target in network.species:
            species = network.index(assignment.target)
            found = _assigned(voxels, species, assignment, fold(stream, site_id(assignment.target)))
            counts = counts.at[species].set(jnp.where(inside, found, state.counts[species]))
        elif assignment.target in problem.pools.names:
            assert pools is not None
            pool = problem.pools.names.index(assignment.target)
            value = read(voxels, state, assignment.value)
            own = fold(stream, site_id(assignment.target))
            is_finite &= jnp.isfinite(value)
            pools = pools.at[pool].set(_amount(policy, pools[pool], value, own, adds=assignment.adds))
        else:
            place = problem.settings.index(assignment.target)
            value = read(voxels, state, assignment.value).astype(settings.dtype)
            settings = settings.at[place].set(value + settings[place] if assignment.adds else value)
            is_finite &= jnp.isfinite(settings[place])
    for cell_type in intervention.removes:
        place = network.index(cell_type)
        gone = jnp.where(inside, counts[place], 0)
        occupancy = voxels._replace(counts=counts).occupancy()
        counts = wipe_cells(policy, counts, network.num_free, network.first_type, gone, occupancy)
        counts = counts.at[place].add(-gone)
    if not is_discrete(policy):
        is_finite &= jnp.all(jnp.isfinite(counts))
    health = jnp.where(is_finite, state.health, Health.NOT_A_NUMBER).astype(state.health.dtype)
    is_out = (jnp.min(counts, initial=0) < 0) | jnp.any(is_beyond(problem, pools))
    health = jnp.where(is_out, Health.OVERFLOW, health).astype(state.health.dtype)
    return replace(state, counts=counts, settings=settings, concentrations=concentrations, pools=pools, health=health)


def _amount(policy: Policy, old: Array, value: Real, stream: Stream, *, adds: bool) -> Array:
    """The new amount outside the lattice, not below 0; whole with the mean of the value."""
    if not words.is_whole(old):
        total = words.to_real(old, old.dtype) + value if adds else value
        mean = jnp.where(total < 0, 0.0, total).astype(old.dtype)
        if not is_discrete(policy):
            return words.from_one(mean)
        bare = lax.stop_gradient(old), lax.stop_gradient(value)
        found = words.to_real(_amount(policy, words.from_whole(bare[0]), bare[1], stream, adds=adds), old.dtype)
        return words.from_one(matched(found, mean, lax.stop_gradient(mean)))
    size = jnp.abs(value).astype(jnp.float32)
    whole, fraction = words.scaled(jnp.asarray((1 << 31, 0), BITS_DTYPE), jnp.minimum(size * 2.0**-63, 0.5))
    uniform = to_unit_interval(words_of(stream, voxel_index((1,)), 0))[0]
    change = totals.add(whole, words.from_count((uniform <= fraction).astype(COUNT_DTYPE)))
    if not adds:
        return jnp.where(value > 0, change, 0)
    lowered = jnp.where(words.is_less(old, change), 0, totals.add(old, words.negated(change)))
    return jnp.where(value < 0, lowered, totals.add(old, change))


def _assigned(voxels: Voxels, species: int, assignment: Assignment, stream: Stream) -> Number:
    """The new number of a species in every voxel; -1 where it is beyond what a count can hold."""
    problem, old = voxels.problem, voxels.counts[species]
    value = jnp.broadcast_to(voxels.evaluate(assignment.value), problem.grid.shape)
    if assignment.per_volume:
        value = value * problem.grid.fluid_volume_um3
    if species >= problem.network.num_free:
        value = value * voxels.occupancy()
    if not is_discrete(policy_of(problem.engine)):
        return jnp.maximum(old + value, 0.0) if assignment.adds else jnp.maximum(value, 0.0)
    total = value + voxels.real(species) if assignment.adds else value
    fits = jnp.isfinite(value) & (total < _LARGEST)
    whole = _rounded(jnp.where(fits, value, 0.0), stream, old)
    found = old + whole if assignment.adds else whole
    # not a maximum, whose derivative at 0 is a half
    return jnp.where(fits, jnp.where(found < 0, 0, found), -1)


def _rounded(value: Real, stream: Stream, like: Number) -> Number:
    """A drawn whole number; where it is held as a real it changes as its mean does."""
    drawn = whole_number(lax.stop_gradient(value), stream).astype(like.dtype)
    return matched(drawn, value, lax.stop_gradient(value)) if jnp.issubdtype(like.dtype, jnp.floating) else drawn


def whole_number(value: Real, stream: Stream) -> Array:
    """A whole number of molecules with the given mean: the next lower or higher one, drawn in each voxel.

    A value within rounding of a whole number is that number.
    """
    uniform = to_unit_interval(words_of(stream, voxel_index(value.shape), 0)).astype(value.dtype)
    nearest = jnp.round(value)
    rounding = 4.0 * jnp.finfo(value.dtype).eps * jnp.maximum(jnp.abs(value), 1.0)
    is_whole = jnp.abs(value - nearest) <= rounding
    low = jnp.floor(value)
    drawn = low + (uniform <= value - low).astype(value.dtype)
    return jnp.where(is_whole, nearest, drawn).astype(COUNT_DTYPE)


def states_after_each(problem: Problem, inputs: Inputs, state: State, stream: Stream) -> list[State]:
    """The state, and what it would become if all interventions were done on it one after the other.

    What bounds on the step look at: an intervention may make rates larger than they were at time 0.
    """
    time_s = jnp.zeros((), problem.precision)

    def then(states: list[State], intervention: Intervention) -> list[State]:
        return [*states, act(problem, inputs, states[-1], intervention, time_s, stream)]

    return reduce(then, problem.interventions, [state])
