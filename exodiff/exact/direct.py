"""The direct method for a few voxels: many trajectories in lock step, all rates computed anew for each event.

Each lane is a trajectory with its own clock; every iteration makes one event in each lane (D. T. Gillespie, J. Phys.
Chem. 81, 2340, 1977). A lane that comes to a record keeps its counts and goes on; at the next one it waits until the
lanes together have lost some iterations by waiting; then all write what they keep.

Which event it is, one random word decides: its first 23 bits are a position, and each event has a number of positions
in proportion to its rate, rounded at random to a whole one: so it keeps its probability however rare it is, although
rates are float32. A few positions are left over, since rounding may need them; there nothing happens, and the wait is
as much shorter (thinning; P. A. W. Lewis, G. S. Shedler, Naval Res. Logist. Quart. 26, 403, 1979).
"""

from dataclasses import replace
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.core.health import Health
from exodiff.exact.clock import Time, event_stream, is_after, later, next_number, spend
from exodiff.exact.events import changes_here, changes_next_door, constant_rates, event_rates, events_of, is_plain
from exodiff.kernels import totals
from exodiff.kernels.lanes import in_one_loop, written_down
from exodiff.kernels.random import Stream, to_unit_interval, word_pair
from exodiff.kernels.rates import Voxels
from exodiff.kernels.waiting import standard_wait
from exodiff.lattice.grid import Grid
from exodiff.problem import Inputs, Problem
from exodiff.state import Clock, State

MAX_RATES = 64  # rates of all voxels of a lattice that is done this way
_BLOCK = 3392  # lanes at a time: the arrays of a block stay in the cache
_LANES = 64  # blocks are a multiple of it
_EVENTS_PER_CHECK = 4
_POSITIONS = 2**23  # whole numbers up to it are exact in float32


def is_direct(problem: Problem) -> bool:
    """Whether a model is small and simple enough for this method."""
    events = events_of(problem)
    few = len(events) * problem.grid.num_voxels <= MAX_RATES
    share_inputs = not (problem.settings or problem.triggered)
    return few and share_inputs and all(is_plain(e, problem) for e in events)


class _Lane(NamedTuple):
    """What an event changes or looks at; an array over the lanes each, or a scalar for one of them."""

    counts: tuple[Count, ...]  # of each species in each voxel, voxels fastest
    held: tuple[Count, ...]  # as they were when it came to its record
    health: Count
    time: Time
    number: tuple[Bits, Bits]
    target: Time  # of its record; minus infinity after the last
    limit: Time  # of the record after that, or of the last: there it waits
    holds: Mask  # whether it has come to its record
    waits: Mask  # whether it has come to its limit
    chosen: Count  # place of its last event among the rates, or -1
    stream: Stream
    rates: tuple[Real, ...]  # of its last event


class _Lanes(NamedTuple):
    """Trajectories side by side; the last axis of every array is that of the lanes."""

    lane: _Lane
    record: Count  # the next record that each comes to
    events: tuple[Bits, ...]  # counters, one or none: (counters, 2, lanes)
    held_events: tuple[Bits, ...]  # as they were when it came to its record


def spread(num_rates: int) -> float:
    """The part of all positions that the rates share."""
    return 1.0 - 2.0 * num_rates / _POSITIONS


def choose(rates: list[Real], total: Real, word: Bits, fine: Real) -> Count:
    """Which of some outcomes a random word means, with probabilities in proportion to the rates; else their number.

    Args:
        rates: of the outcomes, none negative, not all zero.
        total: their sum, over :func:`spread`.
        word: the random word.
        fine: a uniform in (0, 1], for the rounding; independent of the first 23 bits of the word.

    """
    position = (word >> 9).astype(COUNT_DTYPE).astype(total.dtype)
    scale = jnp.asarray(_POSITIONS, total.dtype) / total
    fine = jnp.minimum(fine, 1.0 - 2.0**-24)  # or an outcome of rate zero would have a position less than none
    chosen, end = jnp.zeros(word.shape, COUNT_DTYPE), jnp.zeros_like(total)
    for rate in rates:
        # the absolute value keeps the product from being fused, and rounded otherwise, into the difference
        end = end + jnp.ceil(jnp.abs(rate * scale) - fine)
        chosen = chosen + (position >= end).astype(COUNT_DTYPE)
    return chosen


class _Block(NamedTuple):
    """What the lanes of a block share."""

    problem: Problem
    inputs: Inputs
    constant: Array
    times: Time  # of the records

    def rates(self, counts: tuple[Count, ...]) -> tuple[Real, ...]:
        """Rates of each event in each voxel, each (lanes,), voxels fastest."""
        problem, shape = self.problem, self.problem.grid.shape
        now, exists = jnp.zeros((), problem.precision), jnp.ones(shape, problem.precision)

        def one(counts: Count) -> list[Real]:
            voxels = Voxels(problem, self.inputs, counts.reshape(-1, *shape), now)
            return event_rates(events_of(problem), voxels, self.constant, exists)

        found = jax.vmap(one, in_axes=-1, out_axes=-1)(jnp.stack(counts))
        return tuple(row for rate in found for row in rate.reshape(problem.grid.num_voxels, -1))


def _changes(problem: Problem) -> list[tuple[int, int, int]]:
    """(place among the counts, place among the rates, change) of all that events change."""
    grid, found = problem.grid, []
    here, there = changes_here(problem), changes_next_door(problem)
    place_of = np.arange(grid.num_voxels).reshape(grid.shape)
    for e, event in enumerate(events_of(problem)):
        for voxel in range(grid.num_voxels):
            place = e * grid.num_voxels + voxel
            found += [(s * grid.num_voxels + voxel, place, int(here[e, s])) for s in np.flatnonzero(here[e]).tolist()]
            target = None if event.face is None else next_door(place_of, voxel, event.face, grid)
            if target is not None:
                found += [
                    (s * grid.num_voxels + target, place, int(there[e, s])) for s in np.flatnonzero(there[e]).tolist()
                ]
    return found


def next_door(place_of: np.ndarray, voxel: int, face: tuple[int, int], grid: Grid) -> int | None:
    """The voxel on the other side of a face, or None beyond a wall."""
    axis, step = face
    at = list(np.unravel_index(voxel, grid.shape))
    start, end = at[axis], at[axis] + step
    if not grid.is_periodic(axis) and not 0 <= end < grid.shape[axis]:
        return None
    at[axis] = end % grid.shape[axis]
    if len({*grid.stretch_of(axis)[[start, at[axis]]]}) > 1:
        return None
    return int(place_of[tuple(at)])


def _event(block: _Block, lanes: _Lanes) -> _Lanes:
    """Let an event happen in each lane that does not wait."""
    held = tuple(
        jnp.where(lanes.lane.holds, old, new) for old, new in zip(lanes.held_events, lanes.events, strict=True)
    )
    happen = partial(_happen, _changes(block.problem))
    lane = in_one_loop(happen, lanes.lane._replace(rates=block.rates(lanes.lane.counts)))
    return _Lanes(lane, lanes.record, _count(block, lanes.events, lane.chosen), held)


def _happen(changes: list[tuple[int, int, int]], lane: _Lane) -> _Lane:
    """:func:`_event` in one lane, after its rates: all are scalars."""
    # besides dropping the sign of errors, a maximum keeps products from being fused, and rounded otherwise, into sums
    rates = [jnp.maximum(rate, 0.0) for rate in lane.rates]
    health = jnp.where(reduce(jnp.minimum, lane.rates) < 0, Health.NEGATIVE_RATE, Health.GOOD)
    total = reduce(jnp.add, rates)
    health = jnp.where(total < jnp.inf, health, Health.NOT_A_NUMBER)
    health = jnp.where(reduce(jnp.minimum, lane.counts) < 0, Health.OVERFLOW, health)
    health = jnp.where(lane.health == Health.GOOD, health, lane.health).astype(COUNT_DTYPE)
    words = word_pair(lane.stream, *lane.number)
    total = total / spread(len(rates))
    time = later(lane.time, standard_wait(words[0]).astype(total.dtype) / total)
    waits = is_after(time, lane.limit) | (health != Health.GOOD)
    # its first 9 bits are those that choose does not look at, then come the last of the other word
    fine = to_unit_interval((words[1] << 23) | (((words[0] << 16) | (words[0] >> 16)) >> 9)).astype(total.dtype)
    chosen, time, waits = written_down((jnp.where(waits, -1, choose(rates, total, words[1], fine)), time, waits))
    counts = list(lane.counts)
    for row, place, change in changes:
        counts[row] = counts[row] + jnp.where(chosen == place, change, 0)
    return lane._replace(
        counts=tuple(counts),
        held=tuple(jnp.where(lane.holds, old, now) for old, now in zip(lane.held, lane.counts, strict=True)),
        health=health,
        time=Time(*(jnp.where(waits, old, new) for old, new in zip(lane.time, time, strict=True))),
        number=next_number(lane.number, (~waits).astype(BITS_DTYPE)),
        holds=lane.holds | is_after(time, lane.target) | waits,
        waits=waits,
        chosen=chosen,
    )


def _count(block: _Block, counters: tuple[Bits, ...], chosen: Count) -> tuple[Bits, ...]:
    """Add one to the counters that follow the event of each lane."""
    problem, num_voxels = block.problem, block.problem.grid.num_voxels
    channels = [None if event.channel is None else event.channel.name for event in events_of(problem)]
    found = list(counters)
    for c, (reaction, region) in enumerate(problem.event_counters):
        if reaction not in channels:
            continue
        first = channels.index(reaction) * num_voxels
        mask = block.inputs.fields[f"region.{region}"].reshape(-1) if region else jnp.ones((num_voxels,))
        hit = sum(
            (chosen == first + voxel).astype(BITS_DTYPE) * mask[voxel].astype(BITS_DTYPE) for voxel in range(num_voxels)
        )
        found[c] = totals.add(counters[c].T, jnp.stack((jnp.zeros_like(hit), hit), -1)).T
    return tuple(found)


def _flush(block: _Block, lanes: _Lanes, out: Any) -> tuple[_Lanes, Any]:
    """Write the records that lanes have come to, and send them on to their next.

    A lane that waits has come to two, unless it is at the last: to that of what it holds, and to the next as it is.
    """
    lane, num_records = lanes.lane, block.times.high.shape[0]
    is_first = lane.holds & (lanes.record < num_records)
    is_second = lane.waits & (lanes.record + 1 < num_records)
    first = jnp.min(jnp.where(is_first, lanes.record, num_records))
    after = lanes.record + is_second.astype(lanes.record.dtype)
    last = jnp.max(jnp.where(is_first, after, -1))

    def write(row: Array, out: Any) -> Any:
        here, there = is_first & (lanes.record == row), is_second & (lanes.record + 1 == row)
        return jax.tree.map(
            lambda kept, held, now: kept.at[row].set(jnp.where(here, held, jnp.where(there, now, kept[row]))),
            out,
            (lane.held, lanes.held_events),
            (lane.counts, lanes.events),
        )

    out = lax.fori_loop(first, last + 1, write, out)
    record = after + is_first.astype(lanes.record.dtype)
    return lanes._replace(lane=_aim(lane, block.times, record), record=record), out


def _aim(lane: _Lane, times: Time, record: Count) -> _Lane:
    """Give lanes the time of their next record, and that of the one after it."""
    last = times.high.shape[0] - 1

    def of(record: Count) -> Time:
        at = [part.at[jnp.minimum(record, last)].get(mode="promise_in_bounds") for part in times]
        return Time(jnp.where(record > last, -jnp.inf, at[0]), at[1])

    none = jnp.zeros_like(lane.holds)
    limit = of(jnp.where(record < last, record + 1, record))
    return lane._replace(target=of(record), limit=limit, holds=none, waits=none)


def _run_block(problem: Problem, inputs: Inputs, lanes: _Lanes, times: Time, budget: Array) -> Any:
    """Advance lanes to the last record, or by as many events as the budget allows: lanes, and what was recorded."""
    block = _Block(problem, inputs, constant_rates(problem, inputs), times)
    num_records = times.high.shape[0]
    lanes = lanes._replace(lane=_aim(lanes.lane, times, lanes.record))
    out = jax.tree.map(lambda a: jnp.zeros((num_records, *a.shape), a.dtype), (lanes.lane.counts, lanes.events))

    def advance(carry: tuple[_Lanes, Count, Array]) -> tuple[_Lanes, Count, Array]:
        lanes, idle, left = carry
        for _ in range(_EVENTS_PER_CHECK):
            lanes = _event(block, lanes)
        waiting = jnp.sum(lanes.lane.waits & (lanes.record < num_records), dtype=COUNT_DTYPE)
        return lanes, idle + _EVENTS_PER_CHECK * waiting, spend(left, 1)

    def stretch(carry: tuple[_Lanes, Any, Array]) -> tuple[_Lanes, Any, Array]:
        lanes, out, left = carry
        most = jnp.sum(lanes.record < num_records, dtype=COUNT_DTYPE)
        # by the sum of their waiting, not by a share of them: a few slow lanes must not wait for the end of the others
        lanes, _, left = lax.while_loop(
            lambda c: (c[1] < most) & (c[2] > 0), advance, (lanes, jnp.zeros_like(most), left)
        )
        return *_flush(block, lanes, out), left

    def goes_on(carry: tuple[_Lanes, Any, Array]) -> Array:
        return jnp.any(carry[0].record < num_records) & (carry[2] > 0)

    lanes, out, _ = lax.while_loop(goes_on, stretch, (lanes, out, budget))
    return lanes, out


def run(
    problem: Problem, inputs: Inputs, seed: Bits, replicates: Bits, states: State, times: Time, budget: Array
) -> tuple[State, tuple[Array, Array], Mask]:
    """Advance trajectories through some record times.

    Args:
        problem: one that :func:`is_direct` accepts.
        inputs: parameters and fields, shared by all trajectories.
        seed: of all trajectories.
        replicates: number of each trajectory, (replicates,).
        states: with a leading axis of replicates.
        times: of the records, rising, (records,).
        budget: largest number of events of a trajectory, in units of four.

    Returns:
        The states at the last record (or where the budget was used up), counts (replicates, records, species, x, y, z)
        and event counters (replicates, records, counters, 2) at the records, and which trajectories came to the end.

    """
    num, num_voxels = replicates.shape[0], problem.grid.num_voxels
    blocks = -(-num // _BLOCK)
    length = -(-num // (blocks * _LANES)) * _LANES
    filled = np.minimum(np.arange(blocks * length), num - 1)  # the last trajectory fills the rest

    def to_blocks(array: Array) -> Array:
        """(replicates, ...) -> (blocks, ..., lanes)."""
        return jnp.moveaxis(array[filled].reshape(blocks, length, *array.shape[1:]), 1, -1)

    def from_blocks(array: Array) -> Array:
        """(blocks, ..., lanes) -> (replicates, ...)."""
        return jnp.moveaxis(array, -1, 1).reshape(blocks * length, *array.shape[1:-1])[:num]

    clock = states.clock
    assert clock is not None
    nothing, rows = jnp.zeros((num,), COUNT_DTYPE), tuple(states.counts.reshape(num, -1).T)
    events = tuple(jnp.moveaxis(states.events, 1, 0))
    no_time = Time(*(jnp.zeros((num,), problem.precision),) * 2)
    lane = _Lane(
        counts=rows,
        held=rows,
        health=states.health,
        time=Time(clock.time_s[:, 0], clock.time_s[:, 1]),
        number=(clock.number[:, 0], clock.number[:, 1]),
        target=no_time,
        limit=no_time,
        holds=nothing > 0,
        waits=nothing > 0,
        chosen=nothing,
        # a generator that is fused with the padding compiles for minutes
        stream=lax.optimization_barrier(jax.vmap(partial(event_stream, seed))(replicates)),
        rates=(no_time.high,) * (len(events_of(problem)) * num_voxels),
    )
    lanes = _Lanes(lane, nothing, events, events)

    @jax.custom_batching.sequential_vmap
    def one_block(inputs: Inputs, lanes: _Lanes, times: Time, budget: Array) -> Any:
        return _run_block(problem, inputs, lanes, times, budget)

    lanes, out = lax.map(lambda block: one_block(inputs, block, times, budget), jax.tree.map(to_blocks, lanes))
    lanes, out = jax.tree.map(from_blocks, (lanes, out))
    lane = lanes.lane
    clock = Clock(jnp.stack(lane.time, -1), jnp.stack(lane.number, -1), clock.rates)
    counts = jnp.stack(lane.counts, -1).reshape(states.counts.shape)
    events = jnp.stack(lanes.events, 1) if events else states.events
    state = replace(states, counts=counts, events=events, health=lane.health, clock=clock)
    shape = (num, times.high.shape[0])
    counts = jnp.stack(out[0], -1).reshape(*shape, *states.counts.shape[1:])
    events = jnp.stack(out[1], 2) if events.shape[1] else jnp.zeros((*shape, *states.events.shape[1:]), BITS_DTYPE)
    return state, (counts, events), lanes.record >= times.high.shape[0]
