"""What a step does, as a list: hops of each species along each axis, then the reactions. Static data, no arrays."""

from dataclasses import dataclass
from functools import lru_cache

from exodiff.core.axes import AXES
from exodiff.core.expressions import is_zero, names
from exodiff.lattice.grid import Grid
from exodiff.model.network import Channel, DrawKind, NewCell
from exodiff.problem import FixedWall, Problem

EVEN_HOP, HOP, MODULATED = "even hop", "hop", DrawKind.MODULATED.value


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

    def kind(self, problem: Problem) -> str:
        """How its events are drawn; operations of one kind share a compiled draw, all but the modulated ones."""
        if self.hop is not None:
            return EVEN_HOP if is_even(problem, *self.hop) else HOP
        return DrawKind.POISSON.value if self.channel is None else self.channel.kind.value


@lru_cache(maxsize=64)
def operations(problem: Problem) -> tuple[Operation, ...]:
    """The list of a forward step."""
    network, result = problem.network, []
    for species, diffusivity in enumerate(network.diffusivity):
        if diffusivity is None:
            continue
        for axis in (a for a in range(3) if problem.grid_of(species).can_hop(a)):
            name = f"{network.species[species]}:{AXES[axis]}"
            result.append(Operation(f"hop:{name}", hop=(species, axis)))
            walls = [w for w in problem.walls if w.species == species and w.axis == axis]
            result += [Operation(f"inject:{name}:{wall.side}", wall=wall) for wall in walls]
    result += [Operation(f"reaction:{c.name}", channel=c) for c in network.channels if c.new_cell is NewCell.NONE]
    return tuple(result)


@lru_cache(maxsize=64)
def hop_laws(problem: Problem) -> tuple[tuple[int, Grid], ...]:
    """The axes along which species hop, each with the lattice as the species meets it, once each."""
    return tuple(dict.fromkeys(hop_law(problem, op) for op in operations(problem) if op.hop is not None))


def hop_law(problem: Problem, operation: Operation) -> tuple[int, Grid]:
    """Axis and lattice of a hop."""
    assert operation.hop is not None
    species, axis = operation.hop
    return axis, problem.grid_of(species)


@lru_cache(maxsize=64)
def backward_order(problem: Problem) -> tuple[int, ...]:
    """Places of the list in a backward step: reversed, but an injection still follows the hop that it belongs to."""
    groups: list[list[int]] = []
    for place, op in enumerate(operations(problem)):
        if op.wall is not None:
            groups[-1].append(place)
        else:
            groups.append([place])
    return tuple(place for group in reversed(groups) for place in group)


def is_even(problem: Problem, species: int, axis: int) -> bool:
    """Whether a species hops by the same law in every voxel, both ways: one diffusivity, no flow, no wall is open."""
    expression = problem.network.diffusivity[species]
    assert expression is not None
    found, fields = names(expression), problem.network.continuous
    in_field = species in problem.field_diffusion or any(n.startswith("region.") or n in fields for n in found)
    flows = bool(problem.flow) and not is_zero(problem.flow[axis])
    return not (in_field or flows) and not any(problem.grid_of(species).is_open(a) for a in range(3))
