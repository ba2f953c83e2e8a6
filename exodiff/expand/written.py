"""What the file writes about populations with size bins, written out: sums in expressions, an equation for each bin."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from exodiff.config.compartments import Compartment
from exodiff.config.names import Namespace
from exodiff.config.organs import Organs
from exodiff.config.populations import num_copies
from exodiff.config.schema import CellType, Observable, Reaction, RunConfig
from exodiff.core.equations import Burst, Equation, Term
from exodiff.core.expressions import FORMS, Binary, Call, Expression, Name, Number
from exodiff.core.syntax import replaced


@dataclass
class Writer:
    """Writes plain names for those of populations; collects the parameters that literals become."""

    config: RunConfig
    parameters: dict[str, Number] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names_of = Namespace(self.config)
        self.members = self.names_of.members

    def leaf(self, value: Expression, key: str) -> Expression:
        """A literal as a parameter named by its key path."""
        if not isinstance(value, Number):
            return self.summed(value)
        self.parameters[key] = value
        return Name(key)

    def summed(self, expression: Expression) -> Expression:
        """The expression with sums over bins in place of names of populations."""
        return replaced(expression, self._sum)

    def _sum(self, node: Expression) -> Expression | None:
        if isinstance(node, Name) and len(self.members(node.name)) > 1:
            return _plus([Name(one) for one in self.members(node.name)])
        if isinstance(node, Call) and node.function in FORMS:
            first, *others = node.arguments
            assert isinstance(first, Name)
            return _plus([Call(node.function, (Name(one), *others)) for one in self.members(first.name)])
        return None

    def reaction(self, reaction: Reaction) -> tuple[Reaction, ...]:
        """A written reaction as one for each bin that its equation names."""
        copies = num_copies(reaction, self.names_of.derived)
        key, rate = ("rate", reaction.rate) if reaction.rate is not None else ("propensity", reaction.propensity)
        assert rate is not None
        if copies == 1:
            split = self._equation(reaction.equation, None)
            return (reaction.model_copy(update={"equation": split, key: self.summed(rate)}),)
        named = self.leaf(rate, f"reactions.{reaction.name}.{key}")
        if all(len(self.members(term.name)) == 1 for term in reaction.equation.reactants):
            named = times(named, 1.0 / copies)
        return tuple(
            reaction.model_copy(
                update={
                    "name": f"{reaction.name}.s{i + 1}",
                    "equation": self._equation(reaction.equation, i),
                    key: named,
                }
            )
            for i in range(copies)
        )

    def _equation(self, equation: Equation, size: int | None) -> Equation:
        """The equation of one size; bursts of a population fall into all of its bins."""
        sides = (equation.reactants, equation.products)
        return Equation(*(tuple(one for term in side for one in self.term(term, size)) for side in sides))

    def term(self, term: Term, size: int | None) -> tuple[Term, ...]:
        """One term: that of its bin, or a Poisson number for each bin."""
        members = self.members(term.name)
        if len(members) == 1:
            return (Term(members[0], term.count, term.burst),)
        if term.burst is not None:
            return tuple(Term(one, 1, share_of(term.burst, len(members))) for one in members)
        assert size is not None
        return (Term(members[size], term.count),)

    def cell(self, cell: CellType) -> CellType:
        """A cell type whose motility may name populations."""
        return cell.model_copy(update={"motility": self.summed(cell.motility)})

    def observable(self, observable: Observable) -> Observable:
        """An observable with sums."""
        profile, histogram = observable.profile, observable.histogram
        return observable.model_copy(
            update={
                "value": None if observable.value is None else self.summed(observable.value),
                "profile": profile and profile.model_copy(update={"of": self.summed(profile.of)}),
                "histogram": histogram and histogram.model_copy(update={"of": self.summed(histogram.of)}),
            }
        )

    def shared(self, values: dict[str, Expression]) -> dict[str, Expression]:
        """Values by species, with equal shares for the bins of a population."""
        return {
            one: times(self.summed(value), 1.0 / len(self.members(name)))
            for name, value in values.items()
            for one in self.members(name)
        }

    def interventions(self) -> tuple[Any, ...]:
        """The interventions, with what a population is given shared among its bins."""
        return tuple(
            given.model_copy(
                update={
                    "add": self.shared(given.add),
                    "set_": self.shared(given.set_),
                    "infuse": self.shared(given.infuse),
                    "when": given.when and self.summed(given.when),
                }
            )
            for given in self.config.interventions
        )

    def compartments(self) -> dict[str, Compartment]:
        """The compartments, with what is there of a population at first shared among its bins as evenly as may be."""
        return {
            name: compartment.model_copy(update={"initial": dict(self._first_amounts(compartment))})
            for name, compartment in self.config.compartments.items()
        }

    def _first_amounts(self, compartment: Compartment) -> Iterator[tuple[str, float]]:
        for name, amount in compartment.initial.items():
            members = self.members(name)
            share, rest = divmod(amount, len(members))
            yield from ((one, share + min(max(rest - place, 0.0), 1.0)) for place, one in enumerate(members))

    def lattice(self) -> Any:
        """The lattice, with what a population has at a fixed wall shared among its bins."""
        lattice = self.config.lattice
        if isinstance(lattice, Organs):
            return lattice
        faces = {
            name: face.model_copy(update={"fixed": self.shared(face.fixed)})
            for name, face in lattice.boundary.faces.items()
        }
        return lattice.model_copy(update={"boundary": lattice.boundary.model_copy(update=faces)})


def share_of(burst: Burst, bins: int) -> Burst:
    """What one bin gets of a Poisson burst whose copies fall into all bins alike: exact, and independent."""
    (mean,) = burst.arguments
    return Burst(burst.kind, (times(mean, 1.0 / bins),))


def times(expression: Expression, factor: float) -> Expression:
    """A product with a plain number; a literal stays one."""
    if factor == 1.0:
        return expression
    if isinstance(expression, Number):
        return Number(expression.value * factor, expression.dimension)
    return Binary("*", expression, Number(factor))


def _plus(terms: list[Expression]) -> Expression:
    total, *others = terms
    for term in others:
        total = Binary("+", total, term)
    return total
