"""What a step does, as a list: hops of each species along each axis, then the reactions. Static data, no arrays."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from exodiff.core.axes import AXES
from exodiff.core.expressions import is_zero, names
from exodiff.lattice.grid import Grid
from exodiff.model.network import Channel, DrawKind, NewCell
from exodiff.problem import FixedWall, Problem

EVEN_HOP, HOP, TRIAL, MODULATED = "even hop", "hop", "trial", DrawKind.MODULATED.value


@dataclass(frozen=True)
class Operation:
    """One entry of the list: a hop of a species along an axis, an injection through a wall, or a channel.

    Of the hops and injections of a species in a step each does one of so many parts.
    """

    site: str
    hop: tuple[int, int] | None = None
    wall: FixedWall | None = None
    channel: Channel | None = None
    parts: int = 1

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
        if self.channel is None:
            return DrawKind.POISSON.value
        if self.channel.kind is DrawKind.BINOMIAL and self.channel.changing_reactants[0] >= problem.network.first_type:
            return TRIAL  # a voxel holds one cell
        return self.channel.kind.value


@lru_cache(maxsize=64)
def operations(problem: Problem) -> tuple[Operation, ...]:
    """The list of a forward step."""
    network, result = problem.network, []
    for species, diffusivity in enumerate(network.diffusivity):
        if diffusivity is None:
            continue
        parts, axes = problem.parts_of(species), [a for a in range(3) if problem.grid_of(species).can_hop(a)]
        for part, axis in product(range(parts), axes):
            name = f"{network.species[species]}:{AXES[axis]}"
            which = f":{part}" if part else ""
            result.append(Operation(f"hop:{name}{which}", hop=(species, axis), parts=parts))
            walls = [w for w in problem.walls if w.species == species and w.axis == axis]
            result += [Operation(f"inject:{name}:{wall.side}{which}", wall=wall, parts=parts) for wall in walls]
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
    """Whether a species hops by the same law in every voxel and at any time in a step, both ways.

    That is with one diffusivity, without flow or an open wall.
    """
    expression = problem.network.diffusivity[species]
    assert expression is not None
    found, fields = names(expression), {"t", *problem.network.continuous}
    varies = species in problem.field_diffusion or any(n.startswith("region.") or n in fields for n in found)
    flows = bool(problem.flow) and not is_zero(problem.flow[axis])
    return not (varies or flows) and not any(problem.grid_of(species).is_open(a) for a in range(3))


@lru_cache(maxsize=64)
def even_laws(problem: Problem) -> tuple[tuple[int, float], ...]:
    """The laws of even hops: species and spacing, um, once each."""
    listed = [op for op in operations(problem) if op.hop is not None and op.kind(problem) == EVEN_HOP]
    return tuple(dict.fromkeys(even_law(problem, op) for op in listed))


def even_law(problem: Problem, operation: Operation) -> tuple[int, float]:
    """Species of a hop, and the spacing of the lattice along its axis, um."""
    assert operation.hop is not None
    species, axis = operation.hop
    return species, problem.grid.spacing_um[axis]


@lru_cache(maxsize=64)
def keep_their_laws(problem: Problem) -> bool:
    """Whether no intervention changes the law of an even hop."""
    of_laws = (problem.network.diffusivity[species] for species, _ in even_laws(problem))
    return not any(names(d) & set(problem.settings) for d in of_laws if d is not None)
