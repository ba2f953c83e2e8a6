"""Make a channel of a reaction: what it changes, how its events are drawn, what it does to cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from exodiff.core.equations import Equation
from exodiff.core.expressions import Call, Expression, Name
from exodiff.core.syntax import children
from exodiff.model.network import MAX_ORDER, Channel, DrawKind, NewCell, Product


@dataclass(frozen=True)
class SpeciesTable:
    """Names of all species in the order of the state, and where the kinds begin."""

    species: tuple[str, ...]
    num_free: int
    first_type: int
    constant: frozenset[int] = frozenset()  # no reaction changes their numbers
    continuous: tuple[str, ...] = ()

    def is_type(self, index: int) -> bool:
        """Whether a species is a cell type."""
        return index >= self.first_type

    def is_in_cell(self, index: int) -> bool:
        """Whether a species lives in cells."""
        return self.num_free <= index < self.first_type


def make_channel(
    name: str,
    equation: Equation,
    rate: Expression,
    table: SpeciesTable,
    *,
    is_propensity: bool,
    per_volume: bool,
    region: str,
    deposits: tuple[tuple[int, int], ...] = (),
) -> Channel:
    """Classify a reaction.

    Args:
        name: of the reaction.
        equation: checked against the table before.
        rate: rate constant, or propensity.
        table: all species.
        is_propensity: whether ``rate`` is the whole propensity.
        per_volume: whether a rate without molecular reactants is per volume.
        region: name of the region, or empty.
        deposits: (continuous species, molecules an event) pairs; its concentration is in the rate.

    """
    at = table.species.index
    reactants = tuple((at(term.name), term.count) for term in equation.reactants)
    net: dict[int, int] = {}
    for species, count in reactants:
        net[species] = net.get(species, 0) - count
    for term in equation.products:
        if term.burst is None:
            net[at(term.name)] = net.get(at(term.name), 0) + term.count
    kills = any(table.is_type(s) for s, _ in reactants) and not any(
        table.is_type(at(term.name)) for term in equation.products
    )
    # what a dying cell holds goes with it, also what the reaction uses up
    changes = tuple(
        (s, change)
        for s, change in net.items()
        if change and s not in table.constant and not (kills and table.is_in_cell(s))
    )
    bursts = tuple(
        Product(at(term.name), term.burst)
        for term in equation.products
        if term.burst is not None and at(term.name) not in table.constant
    )
    molecules = sum(count for species, count in reactants if not table.is_type(species))
    power = 0 if is_propensity else (int(per_volume) if molecules == 0 else 1 - molecules)
    parent = next((species for species, _ in reactants if table.is_type(species)), None)
    new_cell, child = _new_cell(equation, parent, table)
    made = [species for species, change in changes if change > 0] + [product.species for product in bursts]
    lives_in_cell = any(table.is_in_cell(species) for species in made)
    has_cell = any(not species < table.num_free for species, _ in reactants)
    if is_propensity:  # a constant species is never short
        reactants = tuple((species, count) for species, count in reactants if species not in table.constant)
    return Channel(
        name=name,
        equation=str(equation),
        reactants=reactants,
        changes=changes,
        bursts=bursts,
        rate=rate,
        is_propensity=is_propensity,
        volume_power=power,
        kind=_draw_kind(reactants, dict(changes), rate, table.species, bursts, is_propensity=is_propensity)
        if not _local_names(rate) & {table.continuous[field] for field, _ in deposits}
        else DrawKind.MODULATED,
        parent=parent,
        kills=kills,
        new_cell=new_cell,
        child=child,
        needs_cell=lives_in_cell and not has_cell and new_cell is NewCell.NONE,
        region=region,
        deposits=deposits,
    )


def _new_cell(equation: Equation, parent: int | None, table: SpeciesTable) -> tuple[NewCell, int | None]:
    """Whether a cell is made, where, and its type: the last cell among the products."""
    cells = [
        table.species.index(term.name)
        for term in equation.products
        if term.burst is None
        for _ in range(term.count if table.is_type(table.species.index(term.name)) else 0)
    ]
    if parent is None:
        return (NewCell.HERE, cells[0]) if cells else (NewCell.NONE, None)
    return (NewCell.NEIGHBOUR, cells[-1]) if len(cells) > 1 else (NewCell.NONE, None)


def _draw_kind(
    reactants: Sequence[tuple[int, int]],
    change_of: dict[int, int],
    rate: Expression,
    species: Sequence[str],
    bursts: Sequence[Product],
    *,
    is_propensity: bool,
) -> DrawKind:
    changed_names = {species[s] for s in change_of} | {species[p.species] for p in bursts}
    changing = [(s, order) for s, order in reactants if s in change_of]
    if (
        _local_names(rate) & changed_names
        or (is_propensity and changing)
        or len(changing) > 2
        or any(n > MAX_ORDER for _, n in changing)
    ):
        return DrawKind.MODULATED
    if any(p.species in dict(reactants) for p in bursts):
        return DrawKind.MODULATED
    if not changing:
        return DrawKind.POISSON
    if len(changing) == 1 and changing[0][1] == 1 and change_of[changing[0][0]] == -1:
        return DrawKind.BINOMIAL
    return DrawKind.CHAIN


def _local_names(expression: Expression) -> set[str]:
    """Names whose value in a voxel depends on that voxel alone: all but those inside ``near``."""
    if isinstance(expression, Name):
        return {expression.name}
    if isinstance(expression, Call) and expression.function == "near":
        return set()
    return set().union(*(_local_names(child) for child in children(expression)))
