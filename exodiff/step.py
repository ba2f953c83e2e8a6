"""One time step: hops and reactions in their splitting order, forwards and then backwards.

A pair of steps visits the list (hops by axis, then channels) forwards, then the events that move cells over both steps,
then the list backwards: a symmetric (Strang) splitting, second order in the step for exact sub-flows. In the
discrete engines the list is a loop over operations whose draws are compiled once and shared; in ``mean_field`` it is
unrolled, so that it can be differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Bits, Number, Real
from exodiff.core.expressions import names
from exodiff.core.health import Health
from exodiff.interventions import pull_triggers
from exodiff.kernels import totals
from exodiff.kernels.cell_events import make_cells, move_cells
from exodiff.kernels.diffusion import even_hop_flows, hop_flows, hop_rates, injection, net_gain, transition
from exodiff.kernels.laws import MAX_MEAN
from exodiff.kernels.policies import Policy, is_discrete, policy_of
from exodiff.kernels.random import Stream, fold, make_stream, site_id, voxel_index
from exodiff.kernels.rates import Voxels
from exodiff.kernels.reactions import (
    DrawInputs,
    burst_size,
    draw_inputs,
    mass_action_events,
    mass_action_table,
    modulated_events,
    wipe_cells,
)
from exodiff.model.network import Channel, DrawKind, NewCell
from exodiff.observe import current_inputs
from exodiff.problem import FixedWall, Inputs, Problem
from exodiff.state import State
from exodiff.stepsize import MAX_EXIT_PROBABILITY, MAX_HOPS_PER_STEP, exit_and_hop_rates

MAX_HALVINGS = 6


@dataclass(frozen=True)
class Operation:
    """One entry of the list: a hop of a species along an axis, an injection through a wall, or a channel."""

    site: str
    hop: tuple[int, int] | None = None
    wall: FixedWall | None = None
    channel: Channel | None = None

    @property
    def changes(self) -> tuple[tuple[int, int], ...]:
        """(species, change an event) pairs."""
        if self.channel is not None:
            return self.channel.changes
        if self.wall is not None:
            return ((self.wall.species, 1),)
        assert self.hop is not None
        return ((self.hop[0], 1),)


@lru_cache(maxsize=64)
def operations(problem: Problem) -> tuple[Operation, ...]:
    """The list of a forward step."""
    network, grid = problem.network, problem.grid
    result = []
    for species, diffusivity in enumerate(network.diffusivity):
        if diffusivity is None:
            continue
        for axis in (a for a in range(3) if grid.can_hop(a)):
            name = f"{network.species[species]}:{'xyz'[axis]}"
            result.append(Operation(f"hop:{name}", hop=(species, axis)))
            walls = [w for w in problem.walls if w.species == species and w.axis == axis]
            result += [Operation(f"inject:{name}:{wall.side}", wall=wall) for wall in walls]
    result += [Operation(f"reaction:{c.name}", channel=c) for c in network.channels if c.new_cell is NewCell.NONE]
    return tuple(result)


@lru_cache(maxsize=64)
def _backward_order(problem: Problem) -> tuple[int, ...]:
    """Places of the list in a backward step: reversed, but an injection still follows the hop that it belongs to."""
    groups: list[list[int]] = []
    for place, op in enumerate(operations(problem)):
        if op.wall is not None:
            groups[-1].append(place)
        else:
            groups.append([place])
    return tuple(place for group in reversed(groups) for place in group)


class _Step(NamedTuple):
    """What the operations of one step share."""

    problem: Problem
    inputs: Inputs
    policy: Policy
    stream: Stream
    places: Bits
    time_s: Real
    dt_s: Real

    def voxels(self, counts: Array) -> Voxels:
        return Voxels(self.problem, self.inputs, counts, self.time_s)


def _diffusivity(step: _Step, counts: Array, species: int) -> Real:
    """One value, or a field of them."""
    expression = step.problem.network.diffusivity[species]
    assert expression is not None
    field = step.inputs.fields.get(f"diffusion.{step.problem.network.species[species]}")
    return step.voxels(counts).evaluate(expression) if field is None else field


def _inputs_of(step: _Step, counts: Array, operation: Operation) -> DrawInputs:
    """Inputs of an operation's draw."""
    if operation.channel is not None:
        return draw_inputs(step.voxels(counts), operation.channel, step.dt_s)
    nothing = jnp.zeros(step.problem.grid.shape, counts.dtype)
    if operation.hop is not None:
        species = operation.hop[0]
        diffusivity = jnp.broadcast_to(_diffusivity(step, counts, species), step.problem.grid.shape)
        return DrawInputs(counts[species], nothing, diffusivity)
    wall = operation.wall
    assert wall is not None
    grid = step.problem.grid
    rates = hop_rates(_diffusivity(step, counts, wall.species), grid, wall.axis)
    outside = step.voxels(counts).evaluate(wall.concentration) * grid.fluid_volume_um3
    entering = injection(rates, outside, step.dt_s, grid, wall.axis, wall.side)
    return DrawInputs(nothing, nothing, jnp.broadcast_to(entering, grid.shape))


_EVEN_HOP, _HOP, _BINOMIAL, _POISSON, _MASS_ACTION, _MODULATED = range(6)
_KIND_OF = {DrawKind.BINOMIAL: _BINOMIAL, DrawKind.POISSON: _POISSON, DrawKind.CHAIN: _MASS_ACTION}


def _kind(problem: Problem, operation: Operation) -> int:
    if operation.hop is not None:
        return _EVEN_HOP if _is_even(problem, operation.hop[0]) else _HOP
    if operation.channel is None:
        return _POISSON
    return _KIND_OF.get(operation.channel.kind, _MODULATED)


def _is_even(problem: Problem, species: int) -> bool:
    """Whether a species hops by the same law in every voxel: one diffusivity, and no wall is open."""
    expression = problem.network.diffusivity[species]
    assert expression is not None
    in_field = species in problem.field_diffusion or any(n.startswith("region.") for n in names(expression))
    return not in_field and not any(problem.grid.is_open(axis) for axis in range(3))


def _hop_gain(step: _Step, stream: Stream, counts: Array, species: int, axis: int) -> Number:
    grid = step.problem.grid
    diffusivity = _diffusivity(step, counts, species)
    if _is_even(step.problem, species):
        hops = diffusivity * step.dt_s / grid.spacing_um[axis] ** 2
        flows = even_hop_flows(step.policy, stream, step.places, counts[species], hops)
    else:
        law = transition(hop_rates(diffusivity, grid, axis), step.dt_s, grid, axis)
        flows = hop_flows(step.policy, stream, step.places, counts[species], law)
    return net_gain(flows, grid, axis)


def _shared_hop_gain(step: _Step, stream: Stream, inputs: DrawInputs, axis: Array, *, even: bool) -> Number:
    """As :func:`_hop_gain`, with the axis known only when it runs: one set of compiled draws for all axes."""
    grid = step.problem.grid
    axes = [a for a in range(3) if grid.can_hop(a)]
    place = jnp.searchsorted(jnp.asarray(axes), axis)
    if even:
        per_area = jnp.asarray([grid.spacing_um[a] ** -2 for a in range(3)], inputs.real.dtype)
        hops = inputs.real.reshape(-1)[0] * step.dt_s * per_area[axis]
        flows = even_hop_flows(step.policy, stream, step.places, inputs.first, hops)
    else:
        laws = [lambda d, a=a: transition(hop_rates(d, grid, a), step.dt_s, grid, a) for a in axes]
        flows = hop_flows(step.policy, stream, step.places, inputs.first, lax.switch(place, laws, inputs.real))
    return lax.switch(place, [lambda f, a=a: net_gain(f, grid, a) for a in axes], flows)


class _Tables(NamedTuple):
    """The list as arrays, one row an operation: what a loop over operations looks up."""

    site: np.ndarray
    branch: np.ndarray
    axis: np.ndarray
    mass_action: np.ndarray  # (operations, 4)
    changes: np.ndarray  # (operations, most changes, 2)
    num_changes: np.ndarray
    kills: np.ndarray


@lru_cache(maxsize=64)
def _tables(problem: Problem) -> tuple[_Tables, tuple[int, ...], tuple[Operation, ...]]:
    """Tables, the kinds of draw that occur, and the operations with a draw of their own."""
    listed = operations(problem)
    kinds = tuple(sorted({_kind(problem, op) for op in listed} - {_MODULATED}))
    own = tuple(op for op in listed if _kind(problem, op) == _MODULATED)
    branch = [len(kinds) + own.index(op) if op in own else kinds.index(_kind(problem, op)) for op in listed]
    most = max((len(op.changes) for op in listed), default=0)
    changes = np.zeros((len(listed), max(most, 1), 2), np.int32)
    for row, op in zip(changes, listed, strict=True):
        row[: len(op.changes)] = op.changes or np.zeros((0, 2))
    tables = _Tables(
        site=np.asarray([site_id(op.site) for op in listed], np.uint32),
        branch=np.asarray(branch, np.int32),
        axis=np.asarray([0 if op.hop is None else op.hop[1] for op in listed], np.int32),
        mass_action=np.asarray(
            [(0,) * 4 if op.channel is None else mass_action_table(op.channel) for op in listed], np.int32
        ),
        changes=changes,
        num_changes=np.asarray([len(op.changes) for op in listed], np.int32),
        kills=np.asarray([op.channel is not None and op.channel.kills for op in listed]),
    )
    return tables, kinds, own


def _events_branches(step: _Step) -> list[Callable[..., Number]]:
    """One function a kind of draw that occurs, then one a modulated channel."""
    _, kinds, own = _tables(step.problem)
    shared: dict[int, Callable[..., Number]] = {
        _EVEN_HOP: lambda stream, inputs, counts, axis, table: _shared_hop_gain(step, stream, inputs, axis, even=True),
        _HOP: lambda stream, inputs, counts, axis, table: _shared_hop_gain(step, stream, inputs, axis, even=False),
        _BINOMIAL: lambda stream, inputs, counts, axis, table: step.policy.binomial(
            stream, step.places, 0, inputs.first, inputs.real
        ),
        _POISSON: lambda stream, inputs, counts, axis, table: step.policy.poisson(stream, step.places, 0, inputs.real),
        _MASS_ACTION: lambda stream, inputs, counts, axis, table: mass_action_events(
            step.policy, stream, step.places, inputs, table
        ),
    }

    def modulated(operation: Operation) -> Callable[..., Number]:
        def events(stream: Stream, inputs: DrawInputs, counts: Array, axis: Array, table: Array) -> Number:
            del inputs, axis, table
            assert operation.channel is not None
            return modulated_events(step.policy, stream, step.places, step.voxels(counts), operation.channel, step.dt_s)

        return events

    return [shared[kind] for kind in kinds] + [modulated(op) for op in own]


class _Carry(NamedTuple):
    counts: Array
    events: Array


def _shared_pass(step: _Step, carry: _Carry, *, backwards: Array) -> _Carry:
    """Visit all operations in a loop that compiles each kind of draw once."""
    problem = step.problem
    listed = operations(problem)
    host_tables, _, _ = _tables(problem)
    tables = jax.tree.map(jnp.asarray, host_tables)
    network = problem.network
    prepare = [lambda counts, op=op: _inputs_of(step, counts, op) for op in listed]
    branches = _events_branches(step)

    if not listed:
        return carry
    backward_order = jnp.asarray(_backward_order(problem))

    def visit(i: Array, carry: _Carry) -> _Carry:
        place = jnp.where(backwards, backward_order[i], i)
        stream = fold(step.stream, tables.site[place])
        before = carry.counts
        inputs = lax.switch(place, prepare, before)
        events = lax.switch(
            tables.branch[place],
            branches,
            stream,
            inputs,
            before,
            tables.axis[place],
            tables.mass_action[place],
        )
        counters = _count_events(step, carry.events, events, place)
        counts = _apply_bursts(step, stream, before, events, place)
        if any(host_tables.kills):
            occupancy = jnp.ones((), counts.dtype)
            last = jnp.where(tables.kills[place], network.first_type, network.num_free)
            counts = wipe_cells(step.policy, counts, network.num_free, last, events, occupancy)

        def change(c: Array, counts: Array) -> Array:
            species, amount = tables.changes[place, c, 0], tables.changes[place, c, 1]
            return counts.at[species].add(amount * events)

        return _Carry(lax.fori_loop(0, tables.num_changes[place], change, counts), counters)

    return lax.fori_loop(0, len(listed), visit, carry)


def _apply_bursts(step: _Step, stream: Stream, counts: Array, events: Number, place: Array) -> Array:
    """Add the products of random number, if the operation has any."""
    bursting = [
        (j, op.channel, i)
        for j, op in enumerate(operations(step.problem))
        if op.channel is not None
        for i in range(len(op.channel.bursts))
    ]
    for j, channel, i in bursting:

        def make(channel: Channel = channel, i: int = i, counts: Array = counts) -> Array:
            return burst_size(step.policy, stream, step.places, step.voxels(counts), channel, i, events)

        def nothing(counts: Array = counts) -> Array:
            return jnp.zeros(events.shape, counts.dtype)

        counts = counts.at[channel.bursts[i].species].add(lax.cond(place == j, make, nothing))
    return counts


def _count_events(step: _Step, counters: Array, events: Number, place: Array | int) -> Array:
    """Add an operation's events to the counters that follow it."""
    listed = operations(step.problem)
    for c, (reaction, region) in enumerate(step.problem.event_counters):
        followed = next(
            (j for j, op in enumerate(listed) if op.channel is not None and op.channel.name == reaction), -1
        )
        if followed < 0 or (isinstance(place, int) and place != followed):
            continue

        def counted(values: Array, region: str = region) -> Array:
            mask = step.inputs.fields[f"region.{region}"].astype(values.dtype) if region else 1
            return totals.total(values * mask)

        if isinstance(place, int):
            increment = counted(events)
        else:
            none = jnp.zeros((2,), counters.dtype)
            increment = lax.cond(place == followed, counted, lambda _, none=none: none, events)
        counters = counters.at[c].set(totals.add(counters[c], increment.astype(counters.dtype)))
    return counters


def _unrolled_pass(step: _Step, carry: _Carry, *, backwards: bool) -> _Carry:
    """Visit all operations one by one, each compiled for itself: differentiable, and fast where draws cost nothing."""
    listed = list(enumerate(operations(step.problem)))
    network = step.problem.network
    counts, counters = carry
    for place, op in [listed[j] for j in _backward_order(step.problem)] if backwards else listed:
        stream = fold(step.stream, site_id(op.site))
        inputs = _inputs_of(step, counts, op)
        if op.hop is not None:
            events = _hop_gain(step, stream, counts, *op.hop)
        elif op.channel is None or op.channel.kind is DrawKind.POISSON:
            events = step.policy.poisson(stream, step.places, 0, inputs.real)
        elif op.channel.kind is DrawKind.BINOMIAL:
            events = step.policy.binomial(stream, step.places, 0, inputs.first, inputs.real)
        elif op.channel.kind is DrawKind.CHAIN:
            table = jnp.asarray(mass_action_table(op.channel), COUNT_DTYPE)
            events = mass_action_events(step.policy, stream, step.places, inputs, table)
        else:
            events = modulated_events(step.policy, stream, step.places, step.voxels(counts), op.channel, step.dt_s)
        counters = _count_events(step, counters, events, place)
        before, channel = counts, op.channel
        if channel is not None and channel.kills:
            occupancy = step.voxels(before).occupancy()
            counts = wipe_cells(step.policy, counts, network.num_free, network.first_type, events, occupancy)
        if channel is not None:
            for i, product in enumerate(channel.bursts):
                made = burst_size(step.policy, stream, step.places, step.voxels(before), channel, i, events)
                counts = counts.at[product.species].add(made)
        for species, amount in op.changes:
            counts = counts.at[species].add(amount * events)
    return _Carry(counts, counters)


def _cell_pass(step: _Step, carry: _Carry) -> _Carry:
    """Divisions, spawning, filling and motility, over both steps of a pair."""
    problem, network = step.problem, step.problem.network
    counts, counters = carry
    dt_s = 2.0 * step.dt_s
    for channel in network.channels:
        if channel.new_cell is NewCell.NONE:
            continue
        stream = fold(step.stream, site_id(f"reaction:{channel.name}"))
        counts, events = make_cells(step.policy, stream, step.places, step.voxels(counts), channel, dt_s)
        for c, (reaction, region) in enumerate(problem.event_counters):
            if reaction == channel.name:
                mask = step.inputs.fields[f"region.{region}"].astype(events.dtype) if region else 1
                increment = totals.total(events * mask).astype(counters.dtype)
                counters = counters.at[c].set(totals.add(counters[c], increment))
    for place, motility in enumerate(network.motility):
        if motility is not None:
            cell_type = network.first_type + place
            stream = fold(step.stream, site_id(f"motility:{network.species[cell_type]}"))
            counts = move_cells(step.policy, stream, step.places, step.voxels(counts), cell_type, dt_s)
    return _Carry(counts, counters)


def step_pair(problem: Problem, inputs: Inputs, stream: Stream, carry: _Carry, time_s: Real, dt_s: Real) -> _Carry:
    """Two steps of dt: forwards, cells, backwards. The stream is that of this pair and substep."""
    policy = policy_of(problem.engine)
    places = voxel_index(problem.grid.shape)
    moves_cells = problem.network.moves_cells

    def at(half: Array | int, address: int) -> _Step:
        time = time_s + (0.5 + half) * dt_s
        return _Step(problem, inputs, policy, fold(stream, address, half), places, time, dt_s)

    if not is_discrete(policy):
        carry = _unrolled_pass(at(0, 0), carry, backwards=False)
        if moves_cells:
            carry = _cell_pass(at(0, 1)._replace(time_s=time_s + dt_s), carry)
        return _unrolled_pass(at(1, 0), carry, backwards=True)

    def half(h: Array, carry: _Carry) -> _Carry:
        carry = _shared_pass(at(h, 0), carry, backwards=h == 1)
        if not moves_cells:
            return carry
        cells = at(0, 1)._replace(time_s=time_s + dt_s)
        return lax.cond(h == 0, lambda c: _cell_pass(cells, c), lambda c: c, carry)

    return lax.fori_loop(0, 2, half, carry)


def advance_pair(
    problem: Problem, inputs: Inputs, seed: Bits, replicate: Bits, state: State, time_s: Real, dt_s: Real
) -> State:
    """Advance by a pair of steps; in the discrete engines in 2^k substeps where the rates have grown over the limit.

    k comes from the exact maximum over the lattice, so it is the same on any number of devices. A replicate whose
    health is not good stays as it is.
    """
    root = fold(make_stream(seed, replicate), state.pair)
    if not is_discrete(policy_of(problem.engine)):
        health = _mean_field_health(problem, current_inputs(problem, inputs, state), state, time_s, dt_s)
        state = _advance_once(problem, inputs, replace(state, health=health), (root, 0, 0), time_s, dt_s)
        return replace(state, pair=state.pair + jnp.uint32(1))
    limits = exit_and_hop_rates(problem, current_inputs(problem, inputs, state), state.counts, time_s)
    excess = jnp.maximum(limits.exit_per_s * dt_s / problem.exit_limit, limits.hop_excess_per_s * dt_s)
    halvings = jnp.ceil(jnp.log2(jnp.maximum(excess, 1.0) * (1.0 - 1e-6))).astype(COUNT_DTYPE)
    health = jnp.where(state.health != Health.GOOD, state.health, limits.health)
    # means of Poisson numbers are cut at MAX_MEAN
    too_many = (health == Health.GOOD) & (limits.source_per_s * dt_s > MAX_MEAN)
    health = jnp.where(too_many, Health.OVERFLOW, health)
    too_long = (health == Health.GOOD) & (halvings > MAX_HALVINGS)
    health = jnp.where(too_long, Health.STEP_TOO_LONG, health).astype(state.health.dtype)
    halvings = jnp.clip(halvings, 0, MAX_HALVINGS)
    substeps = jnp.where(health == Health.GOOD, 1 << halvings, 0)
    dt_sub = dt_s / (1 << halvings).astype(dt_s.dtype)

    def substep(k: Array, state: State) -> State:
        start = time_s + 2.0 * dt_sub * k
        return _advance_once(problem, inputs, state, (root, k, halvings), start, dt_sub)

    state = lax.fori_loop(0, substeps, substep, replace(state, health=health))
    overflowed = (state.health == Health.GOOD) & (jnp.min(state.counts) < 0)
    health = jnp.where(overflowed, Health.OVERFLOW, state.health).astype(state.health.dtype)
    return replace(state, health=health, pair=state.pair + jnp.uint32(1))


def _advance_once(
    problem: Problem,
    inputs: Inputs,
    state: State,
    address: tuple[Stream, Array | int, Array | int],
    time_s: Real,
    dt_s: Real,
) -> State:
    """A pair of steps without looking at their length, and the interventions that it triggers.

    The address is the stream of the pair, the substep and the number of halvings.
    """
    root, substep, halvings = address
    carry = _Carry(state.counts, state.events)
    current = current_inputs(problem, inputs, state)
    carry = step_pair(problem, current, fold(root, substep, halvings), carry, time_s, dt_s)
    state = replace(state, counts=carry.counts, events=carry.events)
    return pull_triggers(problem, inputs, state, time_s + 2.0 * dt_s, fold(root, site_id("interventions"), substep))


def _mean_field_health(problem: Problem, inputs: Inputs, state: State, time_s: Real, dt_s: Real) -> Array:
    """Whether the rates have grown beyond what the midpoint rule and the hops of this step can take."""
    inputs, counts = lax.stop_gradient((inputs, state.counts))
    limits = exit_and_hop_rates(problem, inputs, counts, time_s)
    too_long = limits.exit_per_s * dt_s > -np.log1p(-MAX_EXIT_PROBABILITY) * (1.0 + 1e-3)
    too_long |= limits.hop_excess_per_s * problem.hop_limit * dt_s > MAX_HOPS_PER_STEP * (1.0 + 1e-3)
    found = jnp.where(too_long & (limits.health == Health.GOOD), Health.STEP_TOO_LONG, limits.health)
    return jnp.where(state.health == Health.GOOD, found, state.health).astype(state.health.dtype)
