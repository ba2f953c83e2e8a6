"""What can happen in a voxel, and how often: one list of events, with the rates that ``leap`` integrates.

An event takes place in one voxel, or goes through one of its faces: a hop, a cell that moves, a daughter cell. Each
face is an event of its own, so that an event needs no further choice. The rates are those of the lattice master
equation: D / h^2 through an inner face, 2 D / h^2 through an absorbing or fixed wall (half a voxel away), fitted where
the fluid flows; through a fixed wall as much comes in as would leave at the wall's concentration, without flow.
"""

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.arrays import COUNT_DTYPE, Real
from exodiff.core.expressions import Call, Expression, names, walk
from exodiff.kernels.diffusion import HopRates, entry_rate, hop_rates
from exodiff.kernels.faces import at_wall, fluid_velocity
from exodiff.kernels.neighbours import faces_of, seen_from
from exodiff.kernels.rates import Voxels, propensity
from exodiff.model.network import Channel, NewCell
from exodiff.problem import FixedWall, Inputs, Problem

Face = tuple[int, int]  # axis, and -1 or +1


@dataclass(frozen=True)
class Event:
    """One entry of the list: exactly one of channel, hopper, wall and mover is given.

    Args:
        channel: a reaction.
        hopper: a free species of which one molecule hops through ``face``.
        wall: a wall with a fixed value, through which one molecule comes in.
        mover: a cell type of which one cell moves through ``face``.
        face: where it goes, if it leaves the voxel.

    """

    channel: Channel | None = None
    hopper: int | None = None
    wall: FixedWall | None = None
    mover: int | None = None
    face: Face | None = None

    @property
    def is_constant(self) -> bool:
        """Whether its rate is a constant of the voxel, times the number of hoppers or movers if there are any."""
        return self.channel is None


@lru_cache(maxsize=64)
def events_of(problem: Problem) -> tuple[Event, ...]:
    """All events of a voxel."""
    network, grid = problem.network, problem.grid
    result = []
    for channel in network.channels:
        if channel.new_cell is NewCell.NEIGHBOUR:
            result += [Event(channel=channel, face=face) for face in faces_of(grid)]
        else:
            result.append(Event(channel=channel))
    for species, diffusivity in enumerate(network.diffusivity):
        if diffusivity is not None:
            axes = [axis for axis in range(3) if grid.can_hop(axis)]
            result += [Event(hopper=species, face=(axis, step)) for axis in axes for step in (-1, 1)]
    result += [Event(wall=wall) for wall in problem.walls if network.diffusivity[wall.species] is not None]
    for place, motility in enumerate(network.motility):
        if motility is not None:
            result += [Event(mover=network.first_type + place, face=face) for face in faces_of(grid)]
    return tuple(result)


def constant_rates(problem: Problem, inputs: Inputs) -> Array:
    """Rates per molecule or cell of hops and moves, and of what walls let in: (constant events, x, y, z), per second.

    They depend on parameters and regions alone.
    """
    grid, network, real = problem.grid, problem.network, problem.precision
    nothing = jnp.zeros((len(network.species), *grid.shape), COUNT_DTYPE)
    voxels = Voxels(problem, inputs, nothing, jnp.zeros((), real))

    def diffusivity(species: int) -> Real:
        expression = network.diffusivity[species]
        assert expression is not None
        field = inputs.fields.get(f"diffusion.{network.species[species]}")
        return voxels.evaluate(expression) if field is None else field

    def hops(species: int, axis: int) -> HopRates:
        return hop_rates(diffusivity(species), problem.grid_of(species), axis, fluid_velocity(problem, inputs, axis))

    def enters(wall: FixedWall) -> Real:
        velocity = fluid_velocity(problem, inputs, wall.axis)
        leaving = hops(wall.species, wall.axis)
        own = problem.grid_of(wall.species)
        return entry_rate(leaving, diffusivity(wall.species), own, wall.axis, wall.side, velocity)

    rows = []
    for event in events_of(problem):
        if event.hopper is not None and event.face is not None:
            down, up = hops(event.hopper, event.face[0])
            rate = up if event.face[1] > 0 else down
        elif event.wall is not None:
            wall = event.wall
            outside = voxels.evaluate(wall.concentration) * grid.fluid_volume_um3
            rate = jnp.where(at_wall(grid, wall.axis, wall.side), enters(wall) * outside, 0.0)
        elif event.mover is not None and event.face is not None:
            motility = network.motility[event.mover - network.first_type]
            assert motility is not None
            rate = voxels.evaluate(motility) / grid.spacing_um[event.face[0]] ** 2
        else:
            continue
        rows.append(jnp.broadcast_to(jnp.asarray(rate, real), grid.shape))
    return jnp.stack(rows) if rows else jnp.zeros((0, *grid.shape), real)


def event_rates(events: tuple[Event, ...], voxels: Voxels, constant: Array, exists: Array) -> list[Real]:
    """Events per second of each kind, each (x, y, z).

    Args:
        events: the list of the whole problem.
        voxels: the lattice, or a part of it with a grid of its own.
        constant: from :func:`constant_rates`, in the same part.
        exists: 1 in voxels of the lattice, 0 where the part reaches beyond its walls.

    """
    problem = voxels.problem
    grid, shape = problem.grid, problem.grid.shape
    room = exists.astype(problem.precision) * (1.0 - voxels.occupancy())
    rooms = {face: seen_from(room, grid, *face) for face in faces_of(grid)}
    all_rooms = sum(rooms.values(), start=jnp.zeros(shape, problem.precision))
    rates, row = [], 0
    for event in events:
        if event.is_constant:
            rate = constant[row]
            row += 1
            mobile = event.hopper if event.hopper is not None else event.mover
            if mobile is not None:
                rate = rate * voxels.real(mobile)
            if event.mover is not None and event.face is not None:
                rate = rate * rooms[event.face]
        else:
            assert event.channel is not None
            rate = propensity(voxels, event.channel)
            if event.channel.new_cell is NewCell.HERE:
                rate = rate * room
            elif event.face is not None:
                rate = rate * rooms[event.face] / jnp.where(all_rooms > 0, all_rooms, 1.0)
        rates.append(jnp.broadcast_to(rate, shape))
    return rates


def changes_here(problem: Problem) -> np.ndarray:
    """What one event of each kind adds to the counts of its voxel, (events, species); cells and bursts aside."""
    network = problem.network
    table = np.zeros((len(events_of(problem)), len(network.species)), np.int32)
    for row, event in zip(table, events_of(problem), strict=True):
        if event.channel is not None and event.channel.new_cell is NewCell.NONE:
            for species, change in event.channel.changes:
                row[species] += change
        elif event.channel is not None:
            for species, change in event.channel.changes:
                row[species] += change if species < network.first_type else 0
        elif event.hopper is not None:
            row[event.hopper] = -1
        elif event.wall is not None:
            row[event.wall.species] = 1
    return table


def changes_next_door(problem: Problem) -> np.ndarray:
    """What one event of each kind adds to the voxel that it goes to, (events, species); cells aside."""
    table = np.zeros((len(events_of(problem)), len(problem.network.species)), np.int32)
    for row, event in zip(table, events_of(problem), strict=True):
        if event.hopper is not None:
            row[event.hopper] = 1
    return table


def is_plain(event: Event, problem: Problem) -> bool:
    """Whether all that an event does is to add fixed numbers to the counts of one or two voxels."""
    if event.channel is None:
        return event.mover is None
    dies = event.channel.kills and problem.network.num_in_cell > 0
    return not (event.channel.bursts or dies or event.channel.new_cell is not NewCell.NONE)


def changes_cells(event: Event, problem: Problem) -> bool:
    """Whether an event makes, takes away, moves or converts a cell."""
    if event.channel is None:
        return event.mover is not None
    types = range(problem.network.first_type, len(problem.network.species))
    return any(species in types for species, _ in event.channel.changes)


def sees_neighbours(problem: Problem) -> bool:
    """Whether the rates of a voxel depend on the cells in its neighbours."""
    return problem.network.moves_cells or any(_near(c.rate) for c in problem.network.channels)


def _near(expression: Expression) -> bool:
    return any(isinstance(node, Call) and node.function == "near" for node in walk(expression))


def time_dependent(problem: Problem) -> str | None:
    """Name of a reaction whose rate depends on the time, if there is one."""
    for channel in problem.network.channels:
        arguments = [argument for product in channel.bursts for argument in product.burst.arguments]
        if any("t" in names(expression) for expression in (channel.rate, *arguments)):
            return channel.name
    return None
