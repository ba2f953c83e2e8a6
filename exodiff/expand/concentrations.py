"""Reactions with continuous species: which of them are drawn as events, and which are parts of a field's equation.

A concentration c among the reactants counts as c V molecules, so that the powers of V cancel: what is drawn, or stands
in the equation, is a reaction of the others whose rate is multiplied by c.
"""

from dataclasses import dataclass, replace

from exodiff.config.names import Namespace
from exodiff.config.schema import Reaction
from exodiff.core.equations import Equation
from exodiff.core.expressions import Binary, Call, Compare, Expression, Name, Number
from exodiff.model.channels import SpeciesTable, make_channel
from exodiff.model.network import Channel, Solve, Term


@dataclass(frozen=True)
class Split:
    """What one reaction becomes.

    Attributes:
        channel: what is drawn, or None.
        losses, gains: by continuous species, its terms.

    """

    channel: Channel | None
    losses: tuple[tuple[str, Term], ...]
    gains: tuple[tuple[str, Term], ...]


def split(
    names_of: Namespace,
    reaction: Reaction,
    rate: Expression,
    table: SpeciesTable,
    *,
    per_volume: bool,
    crosses: bool = False,
) -> Split:
    """Split a reaction into events and terms.

    A steady field cannot keep what events take, so it has their mean as a term.

    Args:
        names_of: of the config.
        reaction: checked.
        rate: its rate or propensity, with literals as parameters.
        table: all species of whole molecules, and the names of the continuous ones.
        per_volume: whether a rate without molecular reactants is per volume.
        crosses: whether molecules leave the lattice or come to it, so that there are events in any case.

    """
    equation = reaction.equation
    changes = {name: names_of.net_change(equation, name) for name in names_of.concentrations_in(equation)}
    changes = {name: change for name, change in changes.items() if change}
    is_event = crosses or names_of.changes_numbers(equation) or not changes
    rest = _Rest(names_of, reaction, rate, table, per_volume)
    steady = {name for name in changes if names_of.config.species[name].solve == Solve.STEADY.value}
    kept = {name: change for name, change in changes.items() if name not in steady}
    deposits = tuple((table.continuous.index(name), change) for name, change in kept.items())
    in_equation = {name: change for name, change in changes.items() if name in steady or not is_event}
    return Split(
        rest.channel(deposits) if is_event else None,
        tuple((name, rest.loss(name, -change)) for name, change in in_equation.items() if change < 0),
        tuple((name, rest.gain(name, change)) for name, change in in_equation.items() if change > 0),
    )


@dataclass(frozen=True)
class _Rest:
    """A reaction of the other species, with the concentrations in its rate."""

    names_of: Namespace
    reaction: Reaction
    rate: Expression
    table: SpeciesTable
    per_volume: bool

    @property
    def orders(self) -> dict[str, int]:
        """Order of each continuous reactant."""
        found: dict[str, int] = {}
        for term in self.reaction.equation.reactants:
            if self.names_of.unit_of(term.name) is not None:
                found[term.name] = found.get(term.name, 0) + term.count
        return found

    def channel(self, deposits: tuple[tuple[int, int], ...]) -> Channel:
        """What is drawn."""
        return self._made(_times(self._base, self.orders if not self._is_propensity else {}), deposits)

    def gain(self, name: str, change: int) -> Term:
        """A source: the rate of the events by fluid volume."""
        return Term(self._by_volume(self.channel(()), name), change)

    def loss(self, name: str, change: int) -> Term:
        """A loss: the same, by concentration."""
        if self._is_propensity:
            is_there = Compare(">", Name(name), Number(0.0))
            rate = Binary("/", self._base, Call("where", (is_there, Name(name), Number(1.0))))
        else:
            rate = _times(self._base, {**self.orders, name: self.orders[name] - 1})
        return Term(self._by_volume(self._made(rate, ()), name), change)

    @property
    def _is_propensity(self) -> bool:
        return self.reaction.propensity is not None

    @property
    def _base(self) -> Expression:
        """The rate; a propensity is zero where a concentration that it uses is."""
        result = self.rate
        for name in self.orders if self._is_propensity else ():
            result = Call("where", (Compare(">", Name(name), Number(0.0)), result, Number(0.0)))
        return result

    def _made(self, rate: Expression, deposits: tuple[tuple[int, int], ...]) -> Channel:
        equation = self.reaction.equation
        sides = (equation.reactants, equation.products)
        others = Equation(*(tuple(t for t in side if self.names_of.unit_of(t.name) is None) for side in sides))
        channel = make_channel(
            self.reaction.name,
            others,
            rate,
            self.table,
            is_propensity=self._is_propensity,
            per_volume=self.per_volume or bool(self.orders),
            region=self.reaction.region or "",
            deposits=deposits,
        )
        return replace(channel, equation=str(equation))

    def _by_volume(self, channel: Channel, name: str) -> Channel:
        without_volume = not self._is_propensity and not self.names_of.has_molecules(name) and not self.orders
        molecules = any(not self.table.is_type(species) for species, _ in channel.reactants)
        power = 1 if without_volume and not molecules else channel.volume_power
        return replace(channel, volume_power=power - 1)


def _times(rate: Expression, orders: dict[str, int]) -> Expression:
    for name, order in orders.items():
        for _ in range(order):
            rate = Binary("*", rate, Name(name))
    return rate


def in_unit(names_of: Namespace, value: Expression) -> Expression:
    """What an observable shows: a concentration in its own unit, anything else as it is."""
    unit = names_of.unit_of_value(value, "observables")
    return value if unit is None or unit.value == 1.0 else Binary("/", value, Number(unit.value))
