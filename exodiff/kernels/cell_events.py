"""Reactions that make a new cell, and the random walk of cells, over one step."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Bits, Number, Real
from exodiff.kernels.cells import (
    arrivals,
    carrier,
    chance_of_room,
    departures,
    to_neighbours,
)
from exodiff.kernels.decomposition import rounded
from exodiff.kernels.neighbours import faces_of, seen_from_faces
from exodiff.kernels.policies import Discrete, Policy, is_discrete
from exodiff.kernels.random import Stream, fold
from exodiff.kernels.rates import Voxels, event_factor
from exodiff.kernels.reactions import SPLIT, burst_size
from exodiff.model.network import Channel, NewCell

Counts = Array  # (species, x, y, z)


def empty(voxels: Voxels) -> Number:
    """Room for a cell in each voxel."""
    network = voxels.problem.network
    types = voxels.counts[network.first_type : len(network.species)]
    return 1 - jnp.sum(types, axis=0, dtype=voxels.counts.dtype)


def _preferences(voxels: Voxels, cell_type: int) -> list[Real]:
    """For each face direction, how much a cell of a type prefers the neighbour there."""
    problem, network = voxels.problem, voxels.problem.network
    faces, nothing = faces_of(problem.grid), jnp.zeros(problem.grid.shape, problem.precision)
    chemotaxis = network.chemotaxis[cell_type - network.first_type] if network.chemotaxis else None
    if chemotaxis is None:
        return [nothing + 1.0] * len(faces)
    here = nothing + voxels.value(chemotaxis.up)
    strength = voxels.evaluate(chemotaxis.strength)
    result = []
    for there in seen_from_faces(here, problem.grid):
        total = here + there
        result.append(jnp.exp(strength * (there - here) / jnp.where(total > 0, total, 1.0)))
    return result


def add_initial_contents(voxels: Voxels, counts: Counts, cell_type: int, born: Number) -> Counts:
    """Counts with what new cells of a type have in them."""
    network = voxels.problem.network
    inside, named = initial_contents(voxels, cell_type), _named_contents(voxels, cell_type)
    for place in (place for place, name in enumerate(network.in_cell) if name in named):
        counts = counts.at[network.num_free + place].add(inside[place] * born)
    return counts


def initial_contents(voxels: Voxels, cell_type: int) -> Array:
    """Molecules of each in-cell species in a new cell of a type, (in-cell species,)."""
    network, parameters = voxels.problem.network, voxels.inputs.parameters
    named, nothing = _named_contents(voxels, cell_type), jnp.zeros((), voxels.problem.precision)
    values = [parameters[named[name]] if name in named else nothing for name in network.in_cell]
    return jnp.stack(values).astype(voxels.counts.dtype) if values else jnp.zeros((0,), voxels.counts.dtype)


def _named_contents(voxels: Voxels, cell_type: int) -> dict[str, str]:
    """The parameter that holds them, of each in-cell species that new cells of a type have molecules of."""
    network = voxels.problem.network
    keys = {name: f"species.{name}.initial.{network.species[cell_type]}" for name in network.in_cell}
    return {name: key for name, key in keys.items() if key in voxels.inputs.parameters}


def make_cells(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, dt_s: Real
) -> tuple[Counts, Number]:
    """Let a channel that makes a new cell act for one step: new counts, and the events in each voxel."""
    p = _probability(voxels, channel, dt_s)
    if channel.new_cell is NewCell.HERE:
        born = policy.trial(stream, index, 0, empty(voxels), p)
        return fill(policy, stream, index, voxels, channel, born), born
    assert channel.parent is not None
    ready = policy.trial(stream, index, 0, voxels.counts[channel.parent], p)
    return divide(policy, stream, index, voxels, channel, ready)


def _probability(voxels: Voxels, channel: Channel, dt_s: Real) -> Real:
    """Probability that one parent cell (or empty voxel) has an event in the step."""
    return jnp.broadcast_to(-jnp.expm1(-rounded(event_factor(voxels, channel) * dt_s)), voxels.problem.grid.shape)


def _molecules(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, counts: Counts, events: Number
) -> Counts:
    """Apply the changes of molecules of some events."""
    first_type = voxels.problem.network.first_type
    for species, change in channel.changes:
        if species < first_type:
            counts = counts.at[species].add(change * events)
    for place, product in enumerate(channel.bursts):
        counts = counts.at[product.species].add(burst_size(policy, stream, index, voxels, channel, place, events))
    return counts


def fill(policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, born: Number) -> Counts:
    """New counts with a new cell in each of some empty voxels."""
    assert channel.child is not None
    counts = voxels.counts.at[channel.child].add(born)
    counts = add_initial_contents(voxels, counts, channel.child, born)
    return _molecules(policy, stream, index, voxels, channel, counts, born)


def divide(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, ready: Number
) -> tuple[Counts, Number]:
    """New counts with a new cell beside each of some parents, as far as there is room; and the events in each voxel."""
    assert channel.parent is not None
    assert channel.child is not None
    network, grid = voxels.problem.network, voxels.problem.grid
    counts = voxels.counts
    empties = seen_from_faces(empty(voxels), grid)
    if not empties:
        return counts, jnp.zeros_like(ready)
    if not is_discrete(policy):
        ready = ready * chance_of_room(empties)
    real = voxels.problem.precision
    preferences = _preferences(voxels, channel.child)
    weights = [e.astype(real) * preferred for e, preferred in zip(empties, preferences, strict=True)]
    flows = to_neighbours(policy, stream, index, ready, weights, grid)
    events, born = departures(flows), arrivals(flows, grid)
    occupancy = voxels.occupancy().astype(counts.dtype)
    is_division = channel.child == channel.parent and channel.change_of.get(channel.parent, 0) == 1
    new = _molecules(policy, stream, index, voxels, channel, counts, events)
    is_split = jnp.asarray([is_division and kind == "split" for kind in network.on_division], bool)
    fresh, take_along = initial_contents(voxels, channel.child), carrier(policy, flows, occupancy, grid)

    def share_out(place: Array, new: Counts) -> Counts:
        """Molecules of one in-cell species: halved between the daughters, or what a new cell starts with."""
        species = network.num_free + place
        content = new[species]
        asked = jnp.where(events > 0, content, 0) if isinstance(policy, Discrete) else content
        half = policy.half(fold(stream, species, SPLIT), index, 0, asked)
        leaving, entering = take_along(half)
        reset = born * fresh[place]
        if is_division:
            reset = reset + events * fresh[place] - policy.share(content, events, occupancy)
        return new.at[species].add(jnp.where(is_split[place], entering - leaving, reset))

    def shared_out(new: Counts) -> Counts:
        return lax.fori_loop(0, network.num_in_cell, share_out, new)

    if network.num_in_cell and is_discrete(policy):
        new = lax.cond(jnp.any(events > 0), shared_out, lambda same: same, new)
    elif network.num_in_cell:
        new = shared_out(new)
    # the parent becomes the first product; the child appears next door
    kept = kept_type(channel, network.first_type)
    new = new.at[channel.parent].add(-events).at[kept].add(events)
    return new.at[channel.child].add(born), events


def kept_type(channel: Channel, first_type: int) -> int:
    """The type of the cell that stays: the parent's, or the one it turns into."""
    assert channel.parent is not None
    net = {s: c for s, c in channel.changes if s >= first_type}
    net[channel.parent] = net.get(channel.parent, 0) + 1
    assert channel.child is not None
    net[channel.child] = net.get(channel.child, 0) - 1
    return next((s for s, c in net.items() if c == 1), channel.parent)


def move_cells(policy: Policy, stream: Stream, index: Bits, voxels: Voxels, dt_s: Real) -> Counts:
    """Random walk of cells to empty face neighbours, all types that move at once; their molecules go with them.

    A cell leaves at D / h^2 for each empty neighbour; chemotaxis weighs which of them it takes, not when it leaves.
    """
    network = voxels.problem.network
    movers = [network.first_type + place for place, motility in enumerate(network.motility) if motility is not None]
    if is_discrete(policy):
        return _walk(policy, stream, index, voxels, movers, dt_s)
    for cell_type in movers:
        voxels = voxels._replace(counts=_walk(policy, stream, index, voxels, [cell_type], dt_s))
    return voxels.counts


def _walk(policy: Policy, stream: Stream, index: Bits, voxels: Voxels, cell_types: Sequence[int], dt_s: Real) -> Counts:
    """Of cells of some types; of several, no two are in one voxel."""
    network, grid, counts = voxels.problem.network, voxels.problem.grid, voxels.counts
    if not faces_of(grid):
        return counts
    real = voxels.problem.precision
    ways = [(_motility(voxels, cell_type), *_preferences(voxels, cell_type)) for cell_type in cell_types]
    diffusivity, *preferences = ways[0]
    for cell_type, own in zip(cell_types[1:], ways[1:], strict=True):
        is_here = counts[cell_type] > 0
        diffusivity, *preferences = (
            jnp.where(is_here, new, old) for new, old in zip(own, (diffusivity, *preferences), strict=True)
        )
    empties = seen_from_faces(empty(voxels).astype(real), grid)
    weights = [
        rounded(diffusivity * room / grid.spacing_um[axis] ** 2)
        for room, (axis, _) in zip(empties, faces_of(grid), strict=True)
    ]
    cells = sum((counts[cell_type] for cell_type in cell_types[1:]), start=counts[cell_types[0]])
    leaving = policy.trial(stream, index, 0, cells, -jnp.expm1(-rounded(departures(weights) * dt_s)))
    weights = [rounded(weight * preferred) for weight, preferred in zip(weights, preferences, strict=True)]
    flows = to_neighbours(policy, stream, index, leaving, weights, grid)
    take_along = carrier(policy, flows, voxels.occupancy().astype(counts.dtype), grid)
    moved, new = [*range(network.num_free, network.first_type)], counts
    if is_discrete(policy):
        moved += cell_types
    else:
        (cell_type,) = cell_types
        new = new.at[cell_type].add(arrivals(flows, grid) - departures(flows))
    rows = jnp.asarray(moved, COUNT_DTYPE)

    def move(place: Array, new: Counts) -> Counts:
        out, into = take_along(counts[rows[place]])
        return new.at[rows[place]].add(into - out)

    return lax.fori_loop(0, len(moved), move, new) if moved else new


def _motility(voxels: Voxels, cell_type: int) -> Real:
    motility = voxels.problem.network.motility[cell_type - voxels.problem.network.first_type]
    assert motility is not None
    return jnp.broadcast_to(voxels.evaluate(motility), voxels.problem.grid.shape)
