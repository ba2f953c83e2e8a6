"""From an SBML model to the tables of a model file.

Parameters keep the numbers of the SBML file and have no unit; laws are divided by one parameter, `second` (the unit of
time), and mass action of m molecules is multiplied by `voxel_volume` to the power m - 1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exodiff.config.load import from_mapping
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import (
    RESERVED,
    Binary,
    Call,
    Compare,
    Expression,
    Name,
    Number,
    evaluate,
    names,
    to_text,
)
from exodiff.core.syntax import number_text
from exodiff.sbml.formula import TIME, simplified, substitute
from exodiff.sbml.laws import mass_action_rate, may_be_negative
from exodiff.sbml.reader import SbmlEvent, SbmlModel, SbmlReaction, read_sbml


def import_sbml(path: str | Path, duration: str = "100 s") -> dict[str, Any]:
    """Read a stochastic SBML model as the tables of a model file.

    Args:
        path: an SBML file, level 2 or 3.
        duration: for ``run.duration``, which SBML does not know.

    Raises:
        ConfigError: when something cannot be represented; the text names it.

    """
    path = Path(path)
    tables = _Converter(read_sbml(path), path).tables(duration)
    from_mapping(tables, file=path.name)
    return tables


class _Converter:
    """Writes one model."""

    def __init__(self, model: SbmlModel, path: Path) -> None:
        self.model, self.path = model, path
        self.rules = self._closed_rules()
        self.second = self._free("second")
        self.volume = self._free("voxel_volume")
        self.uses_volume = False
        self.reads_time = False
        used = [model.compartment, *model.species, *model.parameters, *(r.name for r in model.reactions)]
        self.names = {name: self._free(name) if name in RESERVED or name.startswith("__") else name for name in used}

    def _free(self, name: str) -> str:
        """A name that the file does not use."""
        model = self.model
        taken = {model.compartment, *model.species, *model.parameters, *model.rules, *(r.name for r in model.reactions)}
        name = name.lstrip("_") or "x"
        while name in taken or name in RESERVED:
            name += "_"
        return name

    def refuse(self, element: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.path}: {element}", problem)

    def _closed_rules(self) -> dict[str, Expression]:
        """Assignment rules with each other put in."""
        closed = dict(self.model.rules)
        for _ in closed:
            closed = {name: substitute(value, closed) for name, value in closed.items() if _is_small(value)}
        for name in self.model.rules:
            if name not in closed or names(closed[name]) & set(closed):
                raise self.refuse(f"rule of {name}", "depends on itself, or is too large; simplify it")
        return closed

    def tables(self, duration: str) -> dict[str, Any]:
        model = self.model
        reactions = [self._reaction(reaction) for reaction in model.reactions]
        events = [found for event in model.events if (found := self._event(event)) is not None]
        free = [name for name in model.species if name not in model.rules]
        observed = {name: f"total({self.names[name]})" for name in free}
        observed |= {name: to_text(self._of_lattice(value)) for name, value in model.rules.items()}
        parameters: dict[str, Any] = {self.second: f"{number_text(model.time_unit_s)} s"}
        if self.uses_volume:
            parameters[self.volume] = f"{number_text(model.volume_um3)} um^3"
        parameters[self.names[model.compartment]] = model.size
        parameters |= {self.names[name]: value for name, value in model.parameters.items()}
        # the automatic step cannot see how fast a law changes with the time
        step = {"time_step": f"{number_text(0.01 * model.time_unit_s)} s"} if self.reads_time else {}
        return {
            "schema": 1,
            "title": model.name,
            "run": {"duration": duration, **step},
            "lattice": {"shape": [1], "spacing": f"{number_text(model.volume_um3 ** (1.0 / 3.0))} um"},
            "parameters": parameters,
            "species": {
                self.names[name]: {"initial": _number(s.amount), **({"constant": True} if s.is_constant else {})}
                for name, s in model.species.items()
                if name in free
            },
            "reactions": reactions,
            **({"interventions": events} if events else {}),
            "observables": {self.names.get(name, name): {"value": value} for name, value in observed.items()},
        }

    def _in_amounts(self, expr: Expression) -> Expression:
        """An expression with the rules put in and every species as its number of molecules."""
        size = Name(self.model.compartment)
        numbers: dict[str, Expression] = {
            name: Binary("/", Name(name), size) for name, species in self.model.species.items() if not species.is_amount
        }
        return simplified(substitute(substitute(expr, self.rules), numbers))

    def _renamed(self, expr: Expression, species: Mapping[str, Expression] | None = None) -> Expression:
        self.reads_time |= TIME.name in names(expr)
        time = {TIME.name: Binary("/", Name("t"), Name(self.second))}
        new = {name: Name(to) for name, to in self.names.items()}
        return substitute(expr, {**new, **time, **(species or {})})

    def _of_voxel(self, expr: Expression) -> Expression:
        return self._renamed(self._in_amounts(expr))

    def _of_lattice(self, expr: Expression) -> Expression:
        totals = {name: Call("total", (Name(self.names[name]),)) for name in self.model.species}
        return self._renamed(self._in_amounts(expr), totals)

    def _reaction(self, reaction: SbmlReaction) -> dict[str, Any]:
        model = self.model
        reactants = {name: n for name, n in reaction.reactants.items() if name not in model.rules}
        products = {name: n for name, n in reaction.products.items() if name not in model.rules}
        species = frozenset(model.species)
        law = self._in_amounts(reaction.law)
        rate = mass_action_rate(law, reactants, species)
        if rate is None and reaction.is_reversible and may_be_negative(law, species):
            raise self.refuse(
                f"reaction {reaction.name}", "is reversible and its law may be negative; split it into two reactions"
            )
        written = self._renamed(rate if rate is not None else law)
        order = sum(reactants.values())
        if rate is not None and order > 1:
            self.uses_volume = True
            volume = Name(self.volume) if order == 2 else Binary("**", Name(self.volume), Number(order - 1.0))
            written = Binary("*", written, volume)
        written = Binary("/", written, Name(self.second))
        return {
            "name": self.names[reaction.name],
            "equation": f"{self._side(reactants)} -> {self._side(products)}".strip(),
            "rate" if rate is not None else "propensity": to_text(written),
        }

    def _side(self, terms: Mapping[str, int]) -> str:
        return " + ".join(f"{n} {self.names[name]}" if n > 1 else self.names[name] for name, n in terms.items())

    def _event(self, event: SbmlEvent) -> dict[str, Any] | None:
        if not event.assignments:
            return None
        targets = {}
        for target, value in event.assignments.items():
            species = self.model.species.get(target)
            if (species is None and target not in self.model.parameters) or target in self.model.rules:
                raise self.refuse(f"event {event.name}", f"sets {target}, which is no species or free parameter")
            if species is not None and not species.is_amount:
                value = Binary("*", value, Name(self.model.compartment))  # noqa: PLW2901
            written = simplified(self._of_voxel(value) if species is not None else self._of_lattice(value))
            targets[self.names[target]] = _number(written.value) if isinstance(written, Number) else to_text(written)
        return {"name": event.name, **self._when(event), "set": targets}

    def _when(self, event: SbmlEvent) -> dict[str, Any]:
        """Known times as a schedule, all else as a condition."""
        condition = substitute(event.condition, self.rules)
        assert isinstance(condition, Compare)
        if event.is_true_before and self._holds_at_start(condition):
            raise self.refuse(
                f"event {event.name}", "is true at time 0 with initialValue true, which is not supported; set it false"
            )
        time_s = self._known_time_s(condition)
        if time_s is not None:
            return {"at": [f"{number_text(max(time_s, 0.0))} s"]}
        return {"when": to_text(self._of_lattice(event.condition)), "repeat": True}

    def _known_time_s(self, condition: Compare) -> float | None:
        """The time from which ``time >= c`` or ``time > c`` holds, if c cannot change."""
        op, left, right = condition.op, condition.left, condition.right
        if right == TIME:
            op, left, right = {"<": ">", "<=": ">="}.get(op, ""), right, left
        changed = {target for event in self.model.events for target in event.assignments}
        constants = set(self.model.parameters) | {self.model.compartment}
        if left != TIME or op not in (">", ">=") or not names(right) <= constants - changed:
            return None
        return self._at_start(right) * self.model.time_unit_s

    def _holds_at_start(self, condition: Compare) -> bool:
        return bool(self._at_start(condition))

    def _at_start(self, expr: Expression) -> Any:
        model = self.model
        amounts = {name: species.amount for name, species in model.species.items()}
        values = {**amounts, **model.parameters, model.compartment: model.size, TIME.name: 0.0}

        def look_up(node: Name | Call) -> np.float64:
            assert isinstance(node, Name)
            return np.float64(values[node.name])

        with np.errstate(all="ignore"):
            return evaluate(self._in_amounts(expr), look_up, np)


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _is_small(expr: Expression) -> bool:
    return len(to_text(expr)) < 10_000
