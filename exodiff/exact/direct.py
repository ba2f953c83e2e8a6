"""The direct method for a few voxels: many trajectories in lock step, all rates computed anew for each event.

Each lane is a trajectory with its own clock; every iteration makes one event in each lane (D. T. Gillespie, J. Phys.
Chem. 81, 2340, 1977). A lane that comes to a record waits until the lanes together have lost one iteration by waiting;
then all that wait write theirs and go on.

Which event it is, one random word decides by bisection: the word is a position in an integer range, which is divided in
proportion to the rates of the two halves, and so on. The smaller part comes first and is rounded at random to a whole
number, so a channel keeps its probability however rare it is, although rates are float32.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.core.health import Health
from exodiff.exact.clock import Time, event_stream, is_after, later, next_number, spend, standard_wait
from exodiff.exact.events import changes_here, changes_next_door, constant_rates, event_rates, events_of, is_plain
from exodiff.kernels import totals
from exodiff.kernels.random import Stream, to_unit_interval, word_pair
from exodiff.kernels.rates import Voxels
from exodiff.lattice.grid import Grid
from exodiff.problem import Inputs, Problem
from exodiff.state import Clock, State

MAX_RATES = 64  # rates of all voxels of a lattice that is done this way
_BLOCK = 8192  # lanes at a time: the arrays of a block stay in the cache
_LANES = 64  # blocks are a multiple of it
_EVENTS_PER_CHECK = 4


def is_direct(problem: Problem) -> bool:
    """Whether a model is small and simple enough for this method."""
    events = events_of(problem)
    few = len(events) * problem.grid.num_voxels <= MAX_RATES
    share_inputs = not (problem.settings or problem.triggered)
    return few and share_inputs and all(is_plain(e, problem) for e in events)


class _Lanes(NamedTuple):
    """Trajectories side by side; the last axis of every array is that of the lanes."""

    counts: Count  # (species, voxels, lanes)
    events: Bits  # (counters, 2, lanes)
    health: Count
    time: Time
    number: tuple[Bits, Bits]
    words: Array  # the two random words of that number, see :func:`_draw`
    chosen: Count  # place among the rates of an event that is still to be applied, or -1
    record: Count  # the next record that it comes to
    target: Time  # its time; minus infinity after the last
    waits: Mask  # whether it has come to it


def choose(rates: list[Real], word: Bits, fine: Real) -> Count:
    """Which of some outcomes a random word means, with probabilities in proportion to the rates.

    Args:
        rates: of the outcomes, none negative, not all zero.
        word: the random word.
        fine: a uniform in (0, 1), for the rounding; it need not be independent of the waiting time.

    """
    depth = (len(rates) - 1).bit_length()
    sums = [rates + [jnp.zeros_like(rates[0])] * ((1 << depth) - len(rates))]
    while len(sums[-1]) > 2:
        sums.append([a + b for a, b in zip(sums[-1][::2], sums[-1][1::2], strict=True)])
    position, width = word, jnp.full_like(word, 0xFFFF_FFFF)
    chosen = jnp.zeros(word.shape, COUNT_DTYPE)
    for _ in range(depth):
        left, right = sums.pop()
        total = left + right
        share = jnp.minimum(left, right) / jnp.where(total > 0, total, 1.0)
        # the maximum keeps the product from being fused, and rounded otherwise, into the difference below
        part = jnp.maximum(width.astype(jnp.float32) * share, 0.0)
        whole = jnp.floor(part)
        rest = part - whole
        is_up = fine < rest
        fine = jnp.where(is_up, fine / jnp.where(is_up, rest, 1.0), (fine - rest) / (1.0 - rest))
        small = whole.astype(BITS_DTYPE) + is_up.astype(BITS_DTYPE)
        in_small = position < small
        is_right = in_small != (left <= right)
        position, width = jnp.where(in_small, position, position - small), jnp.where(in_small, small, width - small)
        chosen = 2 * chosen + is_right.astype(COUNT_DTYPE)
        sums = [_below(level, is_right) for level in sums]
    return chosen


def _below(level: list[Real], is_right: Mask) -> list[Real]:
    """The nodes of a level that are below the side that was chosen."""
    half = len(level) // 2
    return [jnp.where(is_right, right, left) for left, right in zip(level[:half], level[half:], strict=True)]


class _Block(NamedTuple):
    """What the lanes of a block share."""

    problem: Problem
    inputs: Inputs
    constant: Array
    stream: Stream
    times: Time  # of the records

    def rates(self, counts: Count) -> list[Real]:
        """Rates of each event in each voxel, each (lanes,), voxels fastest."""
        problem, shape = self.problem, self.problem.grid.shape
        now, exists = jnp.zeros((), problem.precision), jnp.ones(shape, problem.precision)

        def one(counts: Count) -> list[Real]:
            voxels = Voxels(problem, self.inputs, counts.reshape(-1, *shape), now)
            return event_rates(events_of(problem), voxels, self.constant, exists)

        found = jax.vmap(one, in_axes=-1, out_axes=-1)(counts)
        return [row for rate in found for row in rate.reshape(problem.grid.num_voxels, -1)]


def _changes(problem: Problem) -> list[tuple[int, int, int, int]]:
    """(species, voxel, place among the rates, change) of all that events change."""
    grid, found = problem.grid, []
    here, there = changes_here(problem), changes_next_door(problem)
    place_of = np.arange(grid.num_voxels).reshape(grid.shape)
    for e, event in enumerate(events_of(problem)):
        for voxel in range(grid.num_voxels):
            place = e * grid.num_voxels + voxel
            found += [(int(s), voxel, place, int(here[e, s])) for s in np.flatnonzero(here[e])]
            target = None if event.face is None else next_door(place_of, voxel, event.face, grid)
            if target is not None:
                found += [(int(s), target, place, int(there[e, s])) for s in np.flatnonzero(there[e])]
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


def _apply(block: _Block, lanes: _Lanes) -> _Lanes:
    """Let the chosen events happen."""
    counts = list(lanes.counts.reshape(-1, lanes.counts.shape[-1]))
    for species, voxel, place, change in _changes(block.problem):
        row = species * block.problem.grid.num_voxels + voxel
        counts[row] = counts[row] + jnp.where(lanes.chosen == place, change, 0)
    return lanes._replace(
        counts=jnp.stack(counts).reshape(lanes.counts.shape),
        events=_count(block, lanes.events, lanes.chosen),
        chosen=jnp.full_like(lanes.chosen, -1),
    )


def _event(block: _Block, lanes: _Lanes) -> _Lanes:
    """Apply the event of each lane and choose its next one.

    In this order the choice is the end of an iteration, where XLA has to write it down. Chosen and applied in one go it
    is computed anew for each count that it changes, which is slow, and wrong: with other roundings, hence now and then
    with another outcome for one count than for the next.
    """
    lanes = _apply(block, lanes)
    raw = block.rates(lanes.counts)
    # besides dropping the sign of errors, a maximum keeps products from being fused, and rounded otherwise, into sums
    rates = [jnp.maximum(rate, 0.0) for rate in raw]
    words = [lax.bitcast_convert_type(part, BITS_DTYPE) for part in (jnp.real(lanes.words), jnp.imag(lanes.words))]
    total, lowest = rates[0], raw[0]
    for rate, signed in zip(rates[1:], raw[1:], strict=True):
        total, lowest = total + rate, jnp.minimum(lowest, signed)
    health = jnp.where(lowest < 0, Health.NEGATIVE_RATE, Health.GOOD)
    health = jnp.where(total < jnp.inf, health, Health.NOT_A_NUMBER)
    health = jnp.where(jnp.min(lanes.counts, (0, 1)) < 0, Health.OVERFLOW, health)
    health = jnp.where(lanes.health == Health.GOOD, health, lanes.health).astype(COUNT_DTYPE)
    time = later(lanes.time, standard_wait(words[0]).astype(total.dtype) / total)
    waits = is_after(time, lanes.target) | (health != Health.GOOD)
    turned = (words[0] << 16) | (words[0] >> 16)
    number = next_number(lanes.number, (~waits).astype(BITS_DTYPE))
    return lanes._replace(
        health=health,
        time=Time(*(jnp.where(waits, old, new) for old, new in zip(lanes.time, time, strict=True))),
        number=number,
        words=_draw(block.stream, number),
        chosen=jnp.where(waits, -1, choose(rates, words[1], to_unit_interval(turned))),
        waits=waits,
    )


def _draw(stream: Stream, number: tuple[Bits, Bits]) -> Array:
    """The two random words of an event in one complex number.

    XLA on CPU makes one array at a time, so two words in two arrays cost two runs of the generator.
    """
    return lax.complex(*(lax.bitcast_convert_type(word, jnp.float32) for word in word_pair(stream, *number)))


def _count(block: _Block, counters: Bits, chosen: Count) -> Bits:
    """Add one to the counters that follow the event of each lane."""
    problem, num_voxels = block.problem, block.problem.grid.num_voxels
    channels = [None if event.channel is None else event.channel.name for event in events_of(problem)]
    for c, (reaction, region) in enumerate(problem.event_counters):
        if reaction not in channels:
            continue
        first = channels.index(reaction) * num_voxels
        mask = block.inputs.fields[f"region.{region}"].reshape(-1) if region else jnp.ones((num_voxels,))
        hit = sum(
            (chosen == first + voxel).astype(BITS_DTYPE) * mask[voxel].astype(BITS_DTYPE) for voxel in range(num_voxels)
        )
        increment = jnp.stack((jnp.zeros_like(hit), hit), -1)
        counters = counters.at[c].set(totals.add(counters[c].T, increment).T)
    return counters


def _flush(block: _Block, lanes: _Lanes, out: Any) -> tuple[_Lanes, Any]:
    """Write the records that lanes have come to, and send them on to their next."""
    num_records = block.times.high.shape[0]
    first = jnp.min(jnp.where(lanes.waits, lanes.record, num_records))
    last = jnp.minimum(jnp.max(jnp.where(lanes.waits, lanes.record, -1)), num_records - 1)

    def write(row: Array, carry: tuple[Time, Any]) -> tuple[Time, Any]:
        target, out = carry
        here = lanes.waits & (lanes.record == row)
        following = _target(block.times, row + 1)
        target = Time(*(jnp.where(here, new, old) for new, old in zip(following, target, strict=True)))
        return target, jax.tree.map(
            lambda kept, new: kept.at[row].set(jnp.where(here, new, kept[row])), out, (lanes.counts, lanes.events)
        )

    target, out = lax.fori_loop(first, last + 1, write, (lanes.target, out))
    record = jnp.minimum(lanes.record + lanes.waits.astype(COUNT_DTYPE), num_records)
    return lanes._replace(record=record, target=target), out


def _target(times: Time, record: Count) -> Time:
    """Time of each lane's next record; minus infinity after the last."""
    place = jnp.minimum(record, times.high.shape[0] - 1)
    is_over = record >= times.high.shape[0]
    return Time(jnp.where(is_over, -jnp.inf, times.high[place]), jnp.where(is_over, 0.0, times.low[place]))


def _run_block(problem: Problem, inputs: Inputs, stream: Stream, lanes: _Lanes, times: Time, budget: Array) -> Any:
    """Advance lanes to the last record, or by as many events as the budget allows: lanes, and what was recorded."""
    block = _Block(problem, inputs, constant_rates(problem, inputs), stream, times)
    num_records = times.high.shape[0]
    lanes = lanes._replace(target=_target(times, lanes.record), words=_draw(stream, lanes.number))
    out = jax.tree.map(lambda a: jnp.zeros((num_records, *a.shape), a.dtype), (lanes.counts, lanes.events))

    def advance(carry: tuple[_Lanes, Count, Array]) -> tuple[_Lanes, Count, Array]:
        lanes, idle, left = carry
        lanes = lax.fori_loop(0, _EVENTS_PER_CHECK, lambda _, lanes: _event(block, lanes), lanes)
        waiting = jnp.sum(lanes.waits & (lanes.record < num_records), dtype=COUNT_DTYPE)
        return lanes, idle + _EVENTS_PER_CHECK * waiting, spend(left, 1)

    def stretch(carry: tuple[_Lanes, Any, Array]) -> tuple[_Lanes, Any, Array]:
        lanes, out, left = carry
        most = jnp.sum(lanes.record < num_records, dtype=COUNT_DTYPE)
        # by the sum of their waiting, not by a share of them: a few slow lanes must not wait for the end of the others
        lanes, _, left = lax.while_loop(
            lambda c: (c[1] < most) & (c[2] > 0), advance, (lanes, jnp.zeros_like(most), left)
        )
        lanes, out = _flush(block, _apply(block, lanes), out)
        return lanes._replace(waits=jnp.zeros_like(lanes.waits)), out, left

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
    nothing = jnp.zeros((num,), COUNT_DTYPE)
    lanes = _Lanes(
        counts=states.counts.reshape(num, -1, num_voxels),
        events=states.events,
        health=states.health,
        time=Time(clock.time_s[:, 0], clock.time_s[:, 1]),
        number=(clock.number[:, 0], clock.number[:, 1]),
        words=jnp.zeros((num,), jnp.complex64),
        chosen=nothing - 1,
        record=nothing,
        target=Time(*(jnp.zeros((num,), problem.precision),) * 2),
        waits=nothing > 0,
    )
    # a generator that is fused with the padding compiles for minutes
    streams = lax.optimization_barrier(jax.vmap(partial(event_stream, seed))(replicates))

    @jax.custom_batching.sequential_vmap
    def one_block(inputs: Inputs, stream: Stream, lanes: _Lanes, times: Time, budget: Array) -> Any:
        return _run_block(problem, inputs, stream, lanes, times, budget)

    per_block = jax.tree.map(to_blocks, (streams, lanes))
    lanes, out = lax.map(lambda block: one_block(inputs, *block, times, budget), per_block)
    lanes, out = jax.tree.map(from_blocks, (lanes, out))
    shape = (len(problem.network.species), *problem.grid.shape)
    clock = Clock(jnp.stack(lanes.time, -1), jnp.stack(lanes.number, -1), clock.rates)
    counts = lanes.counts.reshape(num, *shape)
    state = replace(states, counts=counts, events=lanes.events, health=lanes.health, clock=clock)
    counts, events = out
    return state, (counts.reshape(num, -1, *shape), events), lanes.record >= times.high.shape[0]
