"""Records of all replicates at the times of a plan: what is compiled, and how replicates share devices."""

from functools import partial
from math import isqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits
from exodiff.exact import engine as exact
from exodiff.exact.clock import UNLIMITED, Time, split_time
from exodiff.hop_tables import HopTables, no_tables
from exodiff.kernels.random import Stream, make_stream
from exodiff.observe import measure, scalars
from exodiff.problem import Inputs, Problem
from exodiff.programs import program
from exodiff.reverse import Pairs, reversible_pairs
from exodiff.schedule import Plan
from exodiff.start import begin, intervene_at
from exodiff.state import State
from exodiff.step import advance_pair
from exodiff.trajectory import Record


@program(static=("problem", "plan", "replicates", "devices"))
def trajectories(
    problem: Problem,
    plan: Plan,
    inputs: Inputs,
    start: Array,
    seed: Bits,
    *,
    replicates: int,
    devices: int,
) -> tuple[Record, State]:
    """Records of all replicates, and their states at the end, an equal share on each device."""
    if devices == 1:
        return _share(problem, plan, inputs, start, seed, jnp.arange(replicates, dtype=BITS_DTYPE))
    share = -(-replicates // devices)
    numbers = jnp.minimum(jnp.arange(devices * share, dtype=BITS_DTYPE), replicates - 1)
    mesh = Mesh(np.asarray(jax.local_devices()[:devices]), ("replicates",))
    everywhere, split = PartitionSpec(), PartitionSpec("replicates")
    run = jax.shard_map(
        partial(_share, problem, plan),
        mesh=mesh,
        in_specs=(everywhere, everywhere, everywhere, split),
        out_specs=split,
        check_vma=False,
    )
    return jax.tree.map(lambda a: a[:replicates], run(inputs, start, seed, numbers))


def _share(
    problem: Problem, plan: Plan, inputs: Inputs, start: Array, seed: Bits, numbers: Bits
) -> tuple[Record, State]:
    """What one device does: the replicates of some numbers."""
    if problem.engine == "exact":
        return _exact_trajectories(problem, plan, inputs, start, seed, numbers)
    one = partial(trajectory, problem, plan, inputs, start, seed)
    if numbers.shape[0] == 1:
        return jax.tree.map(lambda a: a[None], one(numbers[0]))
    return jax.vmap(one)(numbers)


def trajectory(
    problem: Problem,
    plan: Plan,
    inputs: Inputs,
    start: Array,
    seed: Bits,
    replicate: Bits,
) -> tuple[Record, State]:
    """Records of one replicate, and its state at the end."""
    real = problem.precision
    first = begin(problem, inputs, start, seed, replicate)
    longest = max((interval.num_pairs for interval in plan.intervals), default=0)

    read = partial(read_record, problem, inputs, make_stream(seed, replicate))

    def stretch(state: State, row: tuple[Array, Array, Array, Array, Array]) -> tuple[State, Record]:
        *interval, end_s, fires = row
        start_s, dt_s, num_pairs = interval
        if problem.engine == "mean_field" or problem.is_reversible:
            given = (seed, replicate)
            state = _advance_reversibly(problem, inputs, given, state, (start_s, dt_s, num_pairs), longest)
        else:
            state = advance(problem, inputs, seed, replicate, state, (start_s, dt_s), 0, num_pairs)
        if problem.scheduled:
            state = intervene_at(problem, inputs, seed, replicate, state, fires, end_s)
        return state, read(state, end_s)

    table = (
        jnp.asarray([i.start_s for i in plan.intervals], real),
        jnp.asarray([i.dt_s for i in plan.intervals], real),
        jnp.asarray([i.num_pairs for i in plan.intervals], COUNT_DTYPE),
        jnp.asarray(plan.ends_s, real),
        jnp.asarray(plan.fires, bool).reshape(len(plan.intervals), len(problem.scheduled)),
    )
    last, records = lax.scan(stretch, first, table)
    if plan.rows[0] == 0:
        records = jax.tree.map(lambda a, b: jnp.concatenate((a[None], b)), read(first, jnp.zeros((), real)), records)
    if len(plan.rows) <= len(plan.intervals):
        wanted = np.asarray(plan.rows) - (plan.rows[0] > 0)
        records = jax.tree.map(lambda a: a[wanted], records)
    return records, last


def read_record(problem: Problem, inputs: Inputs, root: Stream, state: State, time_s: Array) -> Record:
    """What is kept of a state."""
    measured = measure(problem, inputs, state, time_s, root)
    values = scalars(problem, measured, inputs.parameters, time_s, jnp)
    found = {name: jnp.asarray(v, problem.precision) for name, v in {**values, **measured.arrays}.items()}
    concentrations = state.concentrations
    if concentrations is not None:
        units = jnp.asarray([field.unit_value for field in problem.network.fields], problem.precision)
        concentrations = concentrations / units[:, None, None, None]
    return Record(state.counts, found, concentrations, state.pools)


def _exact_trajectories(
    problem: Problem, plan: Plan, inputs: Inputs, start: Array, seed: Bits, numbers: Bits
) -> tuple[Record, State]:
    """As :func:`_share`: all replicates go together, each with a clock of its own."""
    first = jax.vmap(partial(begin, problem, inputs, start, seed))(numbers)
    cuts_s = np.asarray([0.0, *plan.ends_s])
    ends = split_time(cuts_s[1:], problem.precision)
    if problem.interventions:
        last, records = _exact_with_interventions(problem, plan, inputs, seed, numbers, first, ends)
    else:
        last, (counts, events) = exact.trajectories(problem, inputs, seed, numbers, first, ends)
        settings = jnp.broadcast_to(first.settings[:, None], (*counts.shape[:2], 0))
        records = (counts, events, settings)
    rows = np.asarray(plan.rows)
    begun = (first.counts, first.events, first.settings)
    if rows[0] == 0:
        records = tuple(jnp.concatenate((a[:, None], b), 1) for a, b in zip(begun, records, strict=True))
    wanted = rows - (rows[0] > 0)
    if len(wanted) < records[0].shape[1]:
        records = jax.tree.map(lambda a: a[:, wanted], records)
    counts, events, settings = records

    def read(number: Bits, counts: Array, events: Array, settings: Array, time_s: Array) -> Record:
        state = State(first.pair[0], counts, events, settings, first.was_true[0], first.health[0])
        return read_record(problem, inputs, make_stream(seed, number), state, time_s)

    read_all = jax.vmap(jax.vmap(read, in_axes=(None, 0, 0, 0, 0)), in_axes=(0, 0, 0, 0, None))
    times = jnp.asarray(cuts_s[rows], problem.precision)
    return read_all(numbers, counts, events, settings, times), last


def _exact_with_interventions(
    problem: Problem, plan: Plan, inputs: Inputs, seed: Bits, numbers: Bits, first: State, ends: Time
) -> tuple[State, tuple[Array, ...]]:
    """States at the last of some times, and counts, event counters and settings at each, (replicates, times, ...)."""

    def stretch(states: State, row: tuple[Time, Array]) -> tuple[State, tuple[Array, ...]]:
        end, fires = row
        states, _ = exact.advance(problem, inputs, seed, numbers, states, end, jnp.asarray(UNLIMITED, BITS_DTYPE))

        def intervened(states: State) -> State:
            def one(number: Bits, state: State) -> State:
                return intervene_at(problem, inputs, seed, number, state, fires, end.high)

            return jax.vmap(one)(numbers, states)

        if problem.scheduled:
            states = lax.cond(jnp.any(fires), intervened, lambda s: s, states)
        return states, (states.counts, states.events, states.settings)

    fires = jnp.asarray(plan.fires, bool).reshape(len(plan.intervals), -1)
    states, records = lax.scan(stretch, first, (ends, fires))
    return states, jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), records)


def advance(
    problem: Problem,
    inputs: Inputs,
    seed: Bits,
    replicate: Bits,
    state: State,
    interval: tuple[Array, Array],
    first_pair: Array | int,
    num_pairs: Array | int,
) -> State:
    """Advance a discrete state by some pairs of an interval; their number may be known only when it runs."""
    start_s, dt_s = interval

    def body(i: Array, carry: tuple[State, HopTables | None]) -> tuple[State, HopTables | None]:
        state, tables = carry
        time_s = start_s + 2.0 * dt_s * (first_pair + i).astype(dt_s.dtype)
        return advance_pair(problem, inputs, seed, replicate, state, time_s, dt_s, tables)

    return lax.fori_loop(0, num_pairs, body, (state, no_tables(problem)))[0]


def _advance_reversibly(
    problem: Problem,
    inputs: Inputs,
    address: tuple[Bits, Bits],
    state: State,
    interval: tuple[Array, ...],
    longest: int,
) -> State:
    """As :func:`advance` for ``mean_field`` and ``leap_st``, as scans of fixed length, so that reverse mode works.

    With two levels of checkpoints reverse mode holds about 2 sqrt(pairs) states (with draws 3 sqrt(pairs)) and what one
    pair needs. The address is the seed and the number of the replicate.
    """
    start_s, dt_s, num_pairs = interval
    # a pair of leap_st leaves its draws as well, as much again as its state
    group_size = max(isqrt(longest if problem.engine == "mean_field" else longest // 2), 1)

    def time_of(i: Array) -> Array:
        return start_s + 2.0 * dt_s * i.astype(dt_s.dtype)

    @partial(jax.checkpoint, prevent_cse=False)
    def mean_pair(state: State, i: Array) -> tuple[State, None]:
        def go(state: State) -> State:
            return advance_pair(problem, inputs, *address, state, time_of(i), dt_s, None)[0]

        return lax.cond(i < num_pairs, go, lambda s: s, state), None

    @partial(jax.checkpoint, prevent_cse=False)
    def mean_group(state: State, first: Array) -> tuple[State, None]:
        return lax.scan(mean_pair, state, first + jnp.arange(group_size, dtype=COUNT_DTYPE))[0], None

    def drawn_group(state: State, first: Array) -> tuple[State, None]:
        numbers = first + jnp.arange(group_size, dtype=COUNT_DTYPE)
        pairs = Pairs(*address, dt_s, time_of(numbers), numbers < num_pairs)
        return reversible_pairs(problem, inputs, state, pairs), None

    group = mean_group if problem.engine == "mean_field" else drawn_group
    return lax.scan(group, state, jnp.arange(0, longest, group_size, dtype=COUNT_DTYPE))[0]
