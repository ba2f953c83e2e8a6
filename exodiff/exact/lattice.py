"""The event loop on a lattice: the tree says when and in which voxel, the voxel's rates say what.

An event changes the counts of one or two voxels; only their rates, and where cells appear or change those of their
neighbours, are computed anew.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.core.health import Health
from exodiff.exact import tree
from exodiff.exact.clock import Time, event_stream, is_after, later, next_number, spend
from exodiff.exact.events import changes_cells, constant_rates, event_rates, events_of, sees_neighbours
from exodiff.exact.outcomes import apply_event
from exodiff.interventions import pull_triggers
from exodiff.kernels import totals
from exodiff.kernels.cells import faces_of
from exodiff.kernels.random import Stream, fold, site_id, word_pair
from exodiff.kernels.rates import Voxels
from exodiff.kernels.waiting import standard_wait
from exodiff.lattice.grid import Grid
from exodiff.observe import current_inputs
from exodiff.problem import Inputs, Problem
from exodiff.state import Clock, State

_OUTCOME = 1  # address of what an event draws, beside those that choose it


class _Lattice(NamedTuple):
    """What all events of a run share."""

    problem: Problem
    inputs: Inputs
    constant: Array  # (constant events, voxels)
    root: Stream

    @property
    def grid(self) -> Grid:
        return self.problem.grid


class _Carry(NamedTuple):
    """The state, flat: voxels are numbered in C order."""

    counts: Count  # (species, voxels)
    nodes: Array
    events: Bits
    settings: Real
    was_true: Mask
    time: Time
    number: tuple[Bits, Bits]
    health: Count
    goes_on: Mask
    left: Bits  # events that this call may still make


def first_nodes(problem: Problem, inputs: Inputs, counts: Count) -> tuple[Array, Count]:
    """The tree over the rates of a whole state, and its health."""
    voxels = Voxels(problem, inputs, counts, jnp.zeros((), problem.precision))
    exists = jnp.ones(problem.grid.shape, problem.precision)
    rates = event_rates(events_of(problem), voxels, constant_rates(problem, inputs), exists)
    rates = rates or [jnp.zeros(problem.grid.shape, problem.precision)]
    total, health = _total(jnp.stack([rate.reshape(-1) for rate in rates]))
    return tree.build(total), jnp.max(health)


def _total(rates: Real) -> tuple[Real, Count]:
    """Sum over the events (axis 0), 0 where a rate is not allowed, and the health that this means."""
    total, lowest = jnp.sum(rates, 0), jnp.min(rates, 0)
    health = jnp.where(lowest < 0, Health.NEGATIVE_RATE, Health.GOOD)
    health = jnp.where(total < jnp.inf, health, Health.NOT_A_NUMBER).astype(COUNT_DTYPE)
    return jnp.where(health == Health.GOOD, total, 0.0), health


def _place(grid: Grid, voxel: Count) -> tuple[Count, Count, Count]:
    _, ny, nz = grid.shape
    return voxel // (ny * nz), voxel // nz % ny, voxel % nz


def _neighbour(grid: Grid, voxel: Count, axis: Count | int, step: Count | int) -> tuple[Count, Mask]:
    """The voxel in a direction, and whether there is one; the voxel itself beyond a wall."""
    shape = jnp.asarray(grid.shape, COUNT_DTYPE)
    strides = jnp.asarray((grid.shape[1] * grid.shape[2], grid.shape[2], 1), COUNT_DTYPE)
    periodic = jnp.asarray([grid.is_periodic(a) for a in range(3)])
    length, stride = shape[axis], strides[axis]
    at = voxel // stride % length
    target = at + step
    wrapped = jnp.where(periodic[axis], target % length, target)
    exists = (wrapped >= 0) & (wrapped < length)
    found = jnp.where(exists, voxel + (wrapped - at) * stride, voxel).astype(COUNT_DTYPE)
    if grid.parts:
        lattice_of = jnp.asarray(grid.stretch_of(0))
        exists &= lattice_of[voxel // strides[0]] == lattice_of[found // strides[0]]
        found = jnp.where(exists, found, voxel)
    return found, exists


def _local_inputs(lattice: _Lattice, voxel: Count) -> Inputs:
    """Parameters and fields in one voxel."""
    place = _place(lattice.grid, voxel)

    def at(array: Array) -> Array:
        if jnp.ndim(array) < 3:
            return array
        return array[tuple(jnp.minimum(p, n - 1) for p, n in zip(place, array.shape, strict=True))]

    return jax.tree.map(at, lattice.inputs)


def _alone(lattice: _Lattice, counts: Count, voxel: Count) -> Voxels:
    """A voxel as a lattice of one."""
    problem = replace(lattice.problem, grid=replace(lattice.grid, shape=(1, 1, 1), parts=()))
    column = counts[:, voxel].reshape(-1, 1, 1, 1)
    return Voxels(problem, _local_inputs(lattice, voxel), column, jnp.zeros((), problem.precision))


def _rates_in(lattice: _Lattice, counts: Count, voxel: Count) -> Real:
    """Rates of all events of a voxel, (events,)."""
    problem, grid = lattice.problem, lattice.grid
    events = events_of(problem)
    constant = lattice.constant[:, voxel].reshape(-1, 1, 1, 1)
    if not sees_neighbours(problem):
        rates = event_rates(events, _alone(lattice, counts, voxel), constant, jnp.ones((1, 1, 1)))
        return jnp.stack([rate[0, 0, 0] for rate in rates])
    sides = tuple(3 if n > 1 else 1 for n in grid.shape)
    walls = (("reflecting", "reflecting"),) * 3
    part = replace(problem, grid=replace(grid, shape=sides, walls=walls, parts=()))
    where, exists = jnp.full(sides, voxel, COUNT_DTYPE), jnp.ones(sides, bool)
    for axis, n in enumerate(sides):
        steps = jnp.arange(n, dtype=COUNT_DTYPE).reshape([-1 if a == axis else 1 for a in range(3)]) - n // 2
        where, inside = _neighbour(grid, where, axis, steps)
        exists = exists & inside
    around = jnp.where(exists, counts[:, where], 0)
    voxels = Voxels(part, _local_inputs(lattice, voxel), around, jnp.zeros((), problem.precision))
    middle = tuple(n // 2 for n in sides)
    return jnp.stack([rate[middle] for rate in event_rates(events, voxels, constant, exists)])


def _refresh(lattice: _Lattice, carry: _Carry, touched: Array, number: Count) -> _Carry:
    """Compute the rates of some voxels anew: the first ``number`` of ``touched``."""

    def one(i: Count | int, found: tuple[Array, Count]) -> tuple[Array, Count]:
        nodes, worst = found
        voxel = touched[i]
        total, health = _total(_rates_in(lattice, carry.counts, voxel))
        nodes = tree.update(nodes, lattice.grid.num_voxels, voxel, total)
        return nodes, jnp.where(worst == Health.GOOD, health, worst)

    found = (carry.nodes, carry.health)
    if touched.shape[0] == 2:
        # a loop that reads the counts makes XLA copy all of them for every event
        nodes, health = one(1, one(0, found))
    else:
        nodes, health = lax.fori_loop(0, number, one, found)
    return carry._replace(nodes=nodes, health=health)


def _touched(lattice: _Lattice, here: Count, there: Count) -> Array:
    """The voxel, its neighbour, and the neighbours of both if rates depend on neighbours."""
    near = [here, there]
    if sees_neighbours(lattice.problem):
        near += [_neighbour(lattice.grid, v, *face)[0] for v in (here, there) for face in faces_of(lattice.grid)]
    return jnp.stack(near)


def _event(lattice: _Lattice, target: Time, carry: _Carry) -> _Carry:
    """One event, or none if it lies beyond the target."""
    problem, grid = lattice.problem, lattice.grid
    events = events_of(problem)
    stream = fold(lattice.root, *carry.number)
    from_tree = tree.num_words(grid.num_voxels)
    words = word_pair(stream, jnp.arange(from_tree + len(events), dtype=BITS_DTYPE), 0)
    wait, here = tree.descend(carry.nodes, grid.num_voxels, (words[0][:from_tree], words[1][:from_tree]))
    time = later(carry.time, wait)
    goes_on = ~is_after(time, target) & (carry.health == Health.GOOD)

    clocks = standard_wait(words[0][from_tree:], words[1][from_tree:]).astype(problem.precision)
    words, here, goes_on = lax.optimization_barrier((words, here, goes_on))
    rates = _rates_in(lattice, carry.counts, here)
    kind = tree.first(jnp.where(rates > 0, clocks / rates, jnp.inf))
    # computed anew, rates may round to 0 where the tree has a rest: then time passes and nothing happens
    happens = goes_on & (rates[kind] > 0)
    faces = np.asarray([event.face or (0, 0) for event in events], np.int32)
    face = jnp.asarray(faces)[kind]
    there, exists = _neighbour(grid, here, face[0], face[1])
    exists = exists & (face[1] != 0)

    old_here, old_there = carry.counts[:, here], carry.counts[:, there]
    local = _alone(lattice, carry.counts, here)
    new_here, new_there = apply_event(problem, local, old_there, fold(stream, _OUTCOME), kind)
    there = jnp.where(exists & happens, there, here)
    new_here = jnp.where(happens, new_here, old_here)
    # as a loop, for XLA would fuse the writing with what reads the old counts, and copy them all for every event
    columns, places = jnp.stack((new_there, new_here)), jnp.stack((there, here))
    counts = lax.fori_loop(
        0, 2, lambda i, c: lax.dynamic_update_index_in_dim(c, columns[i], places[i], 1), carry.counts
    )
    # read again: what XLA computes anew from the old counts keeps them, and they are copied
    overflows = (jnp.min(counts[:, here]) < 0) | (jnp.min(counts[:, there]) < 0)
    health = jnp.where(happens & overflows, Health.OVERFLOW, carry.health).astype(COUNT_DTYPE)

    step = goes_on.astype(BITS_DTYPE)
    counted = _count(lattice, carry.events, kind, here, happens.astype(BITS_DTYPE))
    after = carry._replace(
        counts=counts,
        events=counted,
        time=Time(*(jnp.where(goes_on, new, old) for new, old in zip(time, carry.time, strict=True))),
        number=next_number(carry.number, step),
        health=health,
        goes_on=goes_on & (health == Health.GOOD),
        left=spend(carry.left, step),
    )
    touched = _touched(lattice, here, there)
    cells_change = jnp.asarray([changes_cells(event, problem) for event in events])[kind] & happens
    number = jnp.where(cells_change, touched.shape[0], jnp.where(there == here, 1, 2))
    return _refresh(lattice, after, touched, number)


def _event_and_triggers(lattice: _Lattice, target: Time, carry: _Carry) -> _Carry:
    """One event, and the interventions whose condition it makes true."""
    problem = lattice.problem
    if not problem.triggered:
        return _event(lattice, target, carry)

    def constants(state: State) -> tuple[Inputs, Array]:
        inputs = current_inputs(problem, lattice.inputs, state)
        return inputs, constant_rates(problem, inputs).reshape(-1, problem.grid.num_voxels)

    inputs, constant = constants(_state(problem, carry))
    carry = _event(lattice._replace(inputs=inputs, constant=constant), target, carry)
    before = _state(problem, carry)
    stream = fold(fold(lattice.root, *carry.number), site_id("interventions"))
    after = pull_triggers(problem, lattice.inputs, before, carry.time.high, stream)
    changed = jnp.any(after.counts != before.counts) | jnp.any(after.settings != before.settings)

    def rebuilt() -> tuple[Array, Count]:
        return first_nodes(problem, current_inputs(problem, lattice.inputs, after), after.counts)

    nodes, health = lax.cond(changed, rebuilt, lambda: (carry.nodes, after.health))
    health = jnp.where(after.health == Health.GOOD, health, after.health)
    return carry._replace(
        counts=after.counts.reshape(carry.counts.shape),
        nodes=nodes,
        settings=after.settings,
        was_true=after.was_true,
        health=health,
        goes_on=carry.goes_on & (health == Health.GOOD),
    )


def _state(problem: Problem, carry: _Carry) -> State:
    """The state that conditions and interventions see."""
    counts = carry.counts.reshape(-1, *problem.grid.shape)
    return State(jnp.zeros((), BITS_DTYPE), counts, carry.events, carry.settings, carry.was_true, carry.health)


def _count(lattice: _Lattice, counters: Bits, kind: Count, voxel: Count, step: Bits) -> Bits:
    """Add an event to the counters that follow it."""
    problem = lattice.problem
    channels = [None if event.channel is None else event.channel.name for event in events_of(problem)]
    for c, (reaction, region) in enumerate(problem.event_counters):
        follows = jnp.asarray([name == reaction for name in channels])[kind].astype(BITS_DTYPE) * step
        if region:
            follows = follows * lattice.inputs.fields[f"region.{region}"].reshape(-1)[voxel].astype(BITS_DTYPE)
        increment = jnp.stack((jnp.zeros_like(follows), follows))
        counters = counters.at[c].set(totals.add(counters[c], increment))
    return counters


def advance(
    problem: Problem, inputs: Inputs, seed: Bits, replicate: Bits, state: State, target: Time, budget: Bits
) -> tuple[State, Mask]:
    """Advance one trajectory to a time, or by as many events as the budget allows: the state, and if it came there.

    Batched, it runs one trajectory after the other: no lane pays for the others, and each event touches only the few
    numbers that it changes.
    """
    if not events_of(problem):
        return state, jnp.ones((), bool)

    @jax.custom_batching.sequential_vmap
    def one(
        inputs: Inputs, seed: Bits, replicate: Bits, state: State, target: Time, budget: Bits
    ) -> tuple[State, Mask]:
        return _advance(problem, inputs, event_stream(seed, replicate), state, target, budget)

    return one(inputs, seed, replicate, state, target, budget)


def _advance(
    problem: Problem, inputs: Inputs, root: Stream, state: State, target: Time, budget: Bits
) -> tuple[State, Mask]:
    clock = state.clock
    assert clock is not None
    if not problem.triggered:
        inputs = current_inputs(problem, inputs, state)
    constant = constant_rates(problem, inputs).reshape(-1, problem.grid.num_voxels)
    lattice = _Lattice(problem, inputs, constant, root)
    carry = _Carry(
        counts=state.counts.reshape(-1, problem.grid.num_voxels),
        nodes=clock.rates,
        events=state.events,
        settings=state.settings,
        was_true=state.was_true,
        time=Time(clock.time_s[0], clock.time_s[1]),
        number=(clock.number[0], clock.number[1]),
        health=state.health,
        goes_on=jnp.ones((), bool),
        left=budget,
    )
    carry = lax.while_loop(lambda c: c.goes_on & (c.left > 0), lambda c: _event_and_triggers(lattice, target, c), carry)
    clock = Clock(jnp.stack(carry.time), jnp.stack(carry.number), carry.nodes)
    counts = carry.counts.reshape(state.counts.shape)
    state = replace(
        state,
        counts=counts,
        events=carry.events,
        settings=carry.settings,
        was_true=carry.was_true,
        health=carry.health,
        clock=clock,
    )
    return state, ~carry.goes_on
