"""A pair of time steps: hops and reactions in their splitting order, forwards and then backwards.

A pair visits the list (what happens outside the lattice, hops by axis, then channels) forwards, then concentrations and
the events that move cells over both steps, then the list backwards: a symmetric (Strang) splitting, second order in the
step for exact sub-flows. Where the rates have grown over the limit of the step, a pair of the discrete engines is
divided.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Bits, Count, Real
from exodiff.core.health import Health
from exodiff.hop_tables import MAX_HALVINGS, HopTables, tables_of_substep, with_halvings
from exodiff.interventions import pull_triggers
from exodiff.kernels.alias_tables import Tables
from exodiff.kernels.lanes import smallest
from exodiff.kernels.laws import MAX_MEAN
from exodiff.kernels.policies import is_discrete, policy_of
from exodiff.kernels.pools import is_beyond
from exodiff.kernels.random import Stream, fold, make_stream, site_id, voxel_index
from exodiff.observe import current_inputs
from exodiff.operation_draws import Amounts, Step
from exodiff.passes import cell_pass, field_pass, looped_pass, looped_passes, unrolled_pass
from exodiff.pools_pass import looped_pools_pass, unrolled_pools_pass
from exodiff.problem import Inputs, Problem
from exodiff.state import State
from exodiff.stepsize import MAX_EXIT_PROBABILITY, MAX_HOPS_PER_STEP, exit_and_hop_rates


def step_pair(
    problem: Problem,
    inputs: Inputs,
    stream: Stream,
    amounts: Amounts,
    time_s: Real,
    dt_s: Real,
    tables: tuple[Tables | None, Count | int],
) -> Amounts:
    """Two steps of dt: forwards, concentrations and cells, backwards. The stream is that of this pair and substep."""
    policy = policy_of(problem.engine)
    places = voxel_index(problem.grid.shape)
    moves_cells, has_fields = problem.network.moves_cells, amounts.concentrations is not None
    if has_fields:
        amounts = amounts._replace(is_solved=jnp.asarray(True))

    def at(half: Array | int, address: int) -> Step:
        time = time_s + (0.5 + half) * dt_s
        return Step(problem, inputs, policy, fold(stream, address, half), places, time, dt_s, *tables)

    def middle(amounts: Amounts) -> Amounts:
        step = at(0, 1)._replace(time_s=time_s + dt_s)
        amounts = field_pass(step, amounts)
        return cell_pass(step, amounts) if moves_cells else amounts

    if not is_discrete(policy):
        amounts = unrolled_pools_pass(at(0, 0), amounts, backwards=False)
        amounts = middle(unrolled_pass(at(0, 0), amounts, backwards=False))
        amounts = unrolled_pass(at(1, 0), amounts, backwards=True)
        amounts = unrolled_pools_pass(at(1, 0), amounts, backwards=True)
        # rounding can leave -1e-9 of a cell; not a maximum, whose derivative at 0 is a half
        return amounts._replace(counts=jnp.where(amounts.counts < 0, 0.0, amounts.counts))

    def half(h: Array, amounts: Amounts) -> Amounts:
        amounts = looped_pass(at(h, 0), amounts, backwards=h == 1)
        if not (moves_cells or has_fields):
            return amounts
        return lax.cond(h == 0, middle, lambda same: same, amounts)

    if not (problem.pools.reactions or problem.pools.crossings):
        if problem.is_reversible and not (moves_cells or has_fields):
            return looped_passes(lambda h: at(h, 0), problem, amounts)
        return lax.fori_loop(0, 2, half, amounts)

    def stage(i: Array, amounts: Amounts) -> Amounts:
        def outside(amounts: Amounts) -> Amounts:
            return looped_pools_pass(at(i // 3, 0), amounts, backwards=i == 3)

        return lax.cond((i == 0) | (i == 3), outside, lambda a: half(i - 1, a), amounts)

    return lax.fori_loop(0, 4, stage, amounts)


def advance_pair(
    problem: Problem,
    inputs: Inputs,
    seed: Bits,
    replicate: Bits,
    state: State,
    time_s: Real,
    dt_s: Real,
    tables: HopTables | None,
) -> tuple[State, HopTables | None]:
    """Advance by a pair of steps; in the discrete engines in 2^k substeps where the rates have grown over the limit.

    Takes and gives the tables of the interval, first :func:`exodiff.hop_tables.no_tables`.

    k comes from the exact maximum over the lattice, so it is the same on any number of devices. A replicate whose
    health is not good stays as it is, and its pair counts no further.
    """
    if not is_discrete(policy_of(problem.engine)):
        health = _mean_field_health(problem, current_inputs(problem, inputs, state), state, time_s, dt_s)

        def go(state: State) -> State:
            return _counted(_advance_once(problem, inputs, state, (root, 0, 0), time_s, dt_s, None))

        root = fold(make_stream(seed, replicate), state.pair)

        return lax.cond(health == Health.GOOD, go, lambda s: s, replace(state, health=health)), None
    parts = division(problem, inputs, state, time_s, dt_s)
    tables = with_halvings(tables, problem, inputs, state.counts, dt_s, most_of_all(parts.halvings))
    state = replace(state, health=parts.health)
    state = further_substeps(problem, inputs, (seed, replicate), state, parts, time_s, 0, tables)
    return ended(problem, state), tables


def further_substeps(
    problem: Problem,
    inputs: Inputs,
    address: tuple[Bits, Bits],
    state: State,
    parts: "Division",
    time_s: Real,
    first: int,
    tables: HopTables | None,
) -> State:
    """The substeps of a pair from one of them on."""

    def go_on(k: Array, before: State) -> State:
        after = substep(problem, inputs, before, k, address=address, parts=parts, time_s=time_s, tables=tables)
        is_wanted = _is_below(k, parts.number)
        return jax.tree.map(lambda new, old: jnp.where(is_wanted, new, old), after, before)

    return lax.fori_loop(first, most_of_all(parts.number), go_on, state)


def ended(problem: Problem, state: State) -> State:
    """The state after all substeps of a pair, as the state after the pair."""
    overflowed = (state.health == Health.GOOD) & _is_out_of_range(problem, state.counts, state.pools)
    health = jnp.where(overflowed, Health.OVERFLOW, state.health).astype(state.health.dtype)
    return _counted(replace(state, health=health))


@jax.custom_batching.custom_vmap
def most_of_all(number: Array) -> Array:
    """Of all replicates, so that they go through one loop: one that ends for each on its own moves all axes twice."""
    return number


@most_of_all.def_vmap
def _(size: int, in_batched: list[bool], numbers: Array) -> tuple[Array, bool]:
    del size, in_batched
    return most_of_all(jnp.max(numbers, axis=0)), False


@jax.custom_batching.custom_vmap
def _is_below(k: Array, number: Array) -> Array:
    """Whether a replicate has not come to its number: always, if it has the loop for itself."""
    del k, number
    return jnp.asarray(True)


@_is_below.def_vmap
def _(size: int, in_batched: list[bool], k: Array, numbers: Array) -> tuple[Array, bool]:
    del size, in_batched
    return k < numbers, True


class Division(NamedTuple):
    """Into how many substeps a pair is divided.

    Attributes:
        number: 2^halvings; 0 if the replicate cannot go on.
        halvings: of the step.
        dt_s: the step of each.
        health: of the replicate.

    """

    number: Array
    halvings: Array
    dt_s: Real
    health: Array


def division(problem: Problem, inputs: Inputs, state: State, time_s: Real, dt_s: Real) -> Division:
    """The division that the exact maximum of the rates over the lattice asks for."""
    seen = lax.stop_gradient((current_inputs(problem, inputs, state), state.counts))
    limits = exit_and_hop_rates(problem, *seen, time_s)
    excess = jnp.maximum(limits.exit_per_s * dt_s / problem.exit_limit, limits.hop_excess_per_s * dt_s)
    halvings = jnp.ceil(jnp.log2(jnp.maximum(excess, 1.0) * (1.0 - 1e-6))).astype(COUNT_DTYPE)
    health = jnp.where(state.health != Health.GOOD, state.health, limits.health)
    # means of Poisson numbers are cut at MAX_MEAN
    too_many = (health == Health.GOOD) & (limits.source_per_s * dt_s > MAX_MEAN)
    health = jnp.where(too_many, Health.OVERFLOW, health)
    too_long = (health == Health.GOOD) & (halvings > MAX_HALVINGS)
    health = jnp.where(too_long, Health.STEP_TOO_LONG, health).astype(state.health.dtype)
    halvings = jnp.clip(halvings, 0, MAX_HALVINGS)
    number = jnp.where(health == Health.GOOD, 1 << halvings, 0)
    return Division(number, halvings, dt_s / (1 << halvings).astype(dt_s.dtype), health)


def substep(
    problem: Problem,
    inputs: Inputs,
    state: State,
    k: Array | int,
    *,
    address: tuple[Bits, Bits],
    parts: Division,
    time_s: Real,
    tables: HopTables | None,
) -> State:
    """Substep k of the pair that begins at a time; the address is the seed and the number of the replicate."""
    root = fold(make_stream(*address), state.pair)
    start = time_s + 2.0 * parts.dt_s * jnp.asarray(k, parts.dt_s.dtype)
    return _advance_once(problem, inputs, state, (root, k, parts.halvings), start, parts.dt_s, tables)


def _is_out_of_range(problem: Problem, counts: Array, pools: Array | None) -> Array:
    """Whether a count cannot be held: below 0 where an integer overflowed, or where a real is no whole number."""
    if jnp.issubdtype(counts.dtype, jnp.integer):
        return (smallest(counts) < 0) | jnp.any(is_beyond(problem, pools))
    whole_to = 2.0 ** (jnp.finfo(counts.dtype).nmant + 1)
    found = jnp.max(counts, initial=0.0) > min(whole_to, 2.0**31)
    return found if pools is None else found | (jnp.max(jnp.abs(pools[:, 0]), initial=0.0) > min(whole_to, 2.0**63))


def _counted(state: State) -> State:
    """The state with one more pair done, unless it has failed: then the pair tells when."""
    done = (state.health == Health.GOOD).astype(state.pair.dtype)
    return replace(state, pair=state.pair + done)


def _advance_once(
    problem: Problem,
    inputs: Inputs,
    state: State,
    address: tuple[Stream, Array | int, Array | int],
    time_s: Real,
    dt_s: Real,
    tables: HopTables | None,
) -> State:
    """A pair of steps without looking at their length, and the interventions that it triggers.

    The address is the stream of the pair, the substep and the number of halvings.
    """
    root, substep, halvings = address
    amounts = Amounts(state.counts, state.events, state.concentrations, state.pools, log_p=state.log_p)
    current = current_inputs(problem, inputs, state)
    own = tables_of_substep(tables, problem, current, state.counts, dt_s, halvings)
    amounts = step_pair(problem, current, fold(root, substep, halvings), amounts, time_s, dt_s, own)
    kept = {name: part for name, part in amounts._asdict().items() if name != "is_solved"}
    state = replace(state, **kept)
    if amounts.is_solved is not None:
        failed = (state.health == Health.GOOD) & ~amounts.is_solved
        state = replace(state, health=jnp.where(failed, Health.NOT_SOLVED, state.health).astype(state.health.dtype))
    return pull_triggers(problem, inputs, state, time_s + 2.0 * dt_s, fold(root, site_id("interventions"), substep))


def _mean_field_health(problem: Problem, inputs: Inputs, state: State, time_s: Real, dt_s: Real) -> Array:
    """Whether the rates have grown beyond what the midpoint rule and the hops of this step can take."""
    inputs, counts = lax.stop_gradient((inputs, state.counts))
    limits = exit_and_hop_rates(problem, inputs, counts, time_s)
    too_long = limits.exit_per_s * dt_s > -np.log1p(-MAX_EXIT_PROBABILITY) * (1.0 + 1e-3)
    too_long |= limits.hop_excess_per_s * problem.hop_limit * dt_s > MAX_HOPS_PER_STEP * (1.0 + 1e-3)
    found = jnp.where(too_long & (limits.health == Health.GOOD), Health.STEP_TOO_LONG, limits.health)
    return jnp.where(state.health == Health.GOOD, found, state.health).astype(state.health.dtype)
