"""The namespace of a config, and the meaning and dimension of every name in its expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from exodiff.config.compartments import ELSEWHERE
from exodiff.config.concentrations import Unit
from exodiff.config.fields import nearest
from exodiff.config.interventions import Intervention
from exodiff.config.populations import TAKEN, Derived, derived
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.units import nearest_unit
from exodiff.core.dimensions import DIMENSIONLESS, PER_VOLUME, TIME, Dimension
from exodiff.core.equations import Equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import (
    Binary,
    Call,
    Expression,
    Name,
    Number,
    check_identifier,
    evaluate,
    infer_dimension,
    names,
    to_text,
)
from exodiff.core.syntax import children

# What each form takes: the kinds of its arguments, in order.
_FORM_KINDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "conc": (("species",),),
    "near": (("cells",),),
    "total": (("species", "cells"), ("regions",)),
    "mean": (("species", "cells"), ("cells", "regions")),
    "events": (("reactions",), ("regions",)),
}
_SINGULAR = {
    "species": "a species",
    "cells": "a cell type",
    "parameters": "a parameter",
    "regions": "a region",
    "reactions": "a reaction",
    "compartments": "a compartment",
    "pools": "an amount in a compartment",
    "elsewhere": "an amount elsewhere",
}


@dataclass
class Namespace:
    """Every defined name and its kind: species, cells, parameters, regions, reactions, compartments or pools."""

    config: RunConfig
    kinds: dict[str, str] = field(default_factory=dict)
    derived: Derived = field(init=False)

    def __post_init__(self) -> None:
        self.derived = derived(self.config)

    def collect(self) -> Iterator[ConfigError]:
        """Fill the namespace; yields what is wrong with the names themselves."""
        config = self.config
        tables: dict[str, Any] = {
            "species": config.species,
            "cells": config.cells,
            "parameters": config.parameters,
            "regions": config.regions,
            "compartments": config.compartments,
        }
        places = [(name, kind, f"{kind}.{name}") for kind, table in tables.items() for name in table]
        places += [(name, "regions", f"lattice.{name}") for name in config.lattice.parts]
        places += [(name, "species", f"exosomes.{name}") for name in config.exosomes]
        places += [(item.name, "reactions", reaction_path(item, i)) for i, item in enumerate(config.reactions)]
        yield from self._collect_carried()
        for name, kind, where in places:
            if "." in name:
                yield ConfigError(where, f"{name!r}: dotted names are not yet supported; choose another name")
                continue
            try:
                check_identifier(name, where)
            except ConfigError as error:
                yield error
                continue
            if (name in TAKEN and name in config.exosomes) or (name == "dose" and config.cargo):
                yield ConfigError(where, f"{name!r} begins dotted names of another meaning; choose another name")
            if name == ELSEWHERE and config.compartments:
                yield ConfigError(where, f"{name!r} begins the names of what is in no compartment; choose another name")
            if kind == "regions" and name == "default":
                yield ConfigError(where, "'default' means the voxels of no region; choose another name")
            if name in self.kinds:
                yield ConfigError(
                    where,
                    f"{name!r} is already the name of {_SINGULAR[self.kinds[name]]}; species, cells, parameters, "
                    "regions, lattices, compartments and reactions share one namespace, rename one",
                )
            self.kinds.setdefault(name, kind)
        for name, kind in self.derived.names:
            self.kinds.setdefault(name, kind)

    def _collect_carried(self) -> Iterator[ConfigError]:
        """Names of cargo and tags, which are no part of the namespace."""
        for key, table in (("cargo", self.config.cargo), ("tags", self.config.tags)):
            yield from gather([partial(check_identifier, name, f"{key}.{name}") for name in table])

    def in_cell(self, name: str) -> bool:
        """Whether a species, or what a name stands for, lives in cells."""
        species = self.config.species.get(name)
        return species.in_cell if species is not None else self.derived.species.get(self.members(name)[0], False)

    def members(self, name: str) -> tuple[str, ...]:
        """The names that a name stands for: its size bins or cell types, or itself."""
        return self.derived.members(name)

    def is_species(self, name: str) -> bool:
        """Whether a name means a number of molecules or vesicles."""
        return self.kinds.get(name) == "species"

    def unit_of(self, name: str) -> Unit | None:
        """The unit of a continuous species; None for any other name."""
        species = self.config.species.get(name)
        return None if species is None else species.own_unit

    def has_molecules(self, name: str) -> bool:
        """Whether a continuous species is a number of molecules by volume."""
        unit = self.unit_of(name)
        return unit is not None and unit.has_molecules

    def dimension_of_name(self, name: str) -> Dimension:
        """Dimension of the value of a species; counts have none."""
        unit = self.unit_of(name)
        return DIMENSIONLESS if unit is None else unit.dimension

    def concentrations_in(self, equation: Equation) -> tuple[str, ...]:
        """The continuous species that an equation names, once each."""
        found = (t.name for t in (*equation.reactants, *equation.products) if self.unit_of(t.name) is not None)
        return tuple(dict.fromkeys(found))

    def net_change(self, equation: Equation, name: str) -> int:
        """Molecules of a species that one event makes, bursts aside."""
        made = sum(term.count for term in equation.products if term.name == name and term.burst is None)
        return made - sum(term.count for term in equation.reactants if term.name == name)

    def changes_numbers(self, equation: Equation) -> bool:
        """Whether an equation changes anything but concentrations."""
        others = {t.name for t in (*equation.reactants, *equation.products) if self.unit_of(t.name) is None}
        bursts = any(term.burst is not None for term in equation.products)
        return bursts or any(self.net_change(equation, name) for name in others)

    def makes_cell(self, equation: Equation) -> bool:
        """Whether there is one more cell after an event."""
        return sum(self.net_change(equation, cell) for cell in self.config.cells) > 0

    def require(self, name: str, allowed: tuple[str, ...], where: str, hint: str = "") -> None:
        """Refuse a name that is not defined, or is of another kind than those allowed."""
        kind = self.kinds.get(name)
        if kind in allowed:
            return
        what = " or ".join(_SINGULAR[item] for item in allowed)
        if kind is not None:
            raise ConfigError(where, f"{name!r} is {_SINGULAR[kind]}, but {what} is needed{hint}")
        if "." in name and not self._has_dotted(name.split(".", maxsplit=1)[0]):
            head = name.split(".", maxsplit=1)[0]
            raise ConfigError(
                where, f"{name!r}: there is no compartment or population {head!r}; add it, or leave it out"
            )
        known = [item for item, its_kind in self.kinds.items() if its_kind in allowed]
        raise ConfigError(where, f"{name!r} is not defined ({what} is needed); {nearest(name, known)}{hint}")

    def _has_dotted(self, head: str) -> bool:
        """Whether names that begin so, followed by a dot, may be meant."""
        return head == "dose" or any(known.startswith(f"{head}.") for known in self.kinds)

    def check_expression(self, expr: Expression, allowed: tuple[str, ...], where: str, *, time: bool = False) -> None:
        """Refuse names that are not defined or have no meaning in this key; `time` allows ``t``."""
        for node in _values(expr):
            if isinstance(node, Call):
                for argument, kinds in zip(node.arguments, _FORM_KINDS[node.function], strict=False):
                    self.require(_name(argument), kinds, where, f" in {to_text(node)}")
                self._refuse_of_concentrations(node, where)
            elif node.name == "t":
                if not time:
                    raise ConfigError(where, "'t' (time) has no meaning in this key; use numbers and parameters")
            else:
                self.require(
                    node.name,
                    allowed,
                    where,
                    self._hint(node.name, expr, is_observable=time and "species" not in allowed),
                )

    def _refuse_of_concentrations(self, node: Call, where: str) -> None:
        """Refuse forms that have no meaning for a continuous species, or for what changes only such."""
        name = _name(node.arguments[0])
        if node.function == "events":
            reactions = {item.name: item.equation for item in self.config.reactions}
            equation = reactions.get(name)
            of_field = equation is not None and self.concentrations_in(equation) and not self.changes_numbers(equation)
            if of_field or self.unit_of(name.removesuffix(".decay")) is not None:
                raise ConfigError(
                    where, f"{to_text(node)}: {name!r} changes concentrations only, without single events"
                )
        elif self.unit_of(name) is None:
            return
        elif node.function == "conc":
            raise ConfigError(where, f"{to_text(node)}: {name!r} is a concentration already; write {name!r}")
        elif node.function == "total" and not self.has_molecules(name):
            raise ConfigError(where, f"{to_text(node)}: {name!r} has no molecules to add up; write mean({name})")

    def _hint(self, name: str, expr: Expression, *, is_observable: bool) -> str:
        kind = self.kinds.get(name)
        if kind in ("species", "cells") and is_observable:
            return "; write total(...) or mean(...) of it"
        if kind is None and nearest_unit(name) == name:
            return "; a number with a unit cannot stand in an expression, make it a parameter"
        if kind is None and isinstance(expr, Binary) and expr.op == "/" and isinstance(expr.left, Number):
            unit = nearest_unit(name)
            return f"; nor is it a unit{f', the nearest is {unit!r}' if unit else ''}"
        return ""

    def dimension_of(self, expr: Expression, where: str) -> Dimension:
        """Infer the dimension of an expression whose names are known to be defined."""
        return infer_dimension(expr, self._lookup_dimension, where)

    def _lookup_dimension(self, node: Name | Call) -> Dimension:
        if isinstance(node, Call):
            of_mean = self.dimension_of_name(_name(node.arguments[0])) if node.function == "mean" else DIMENSIONLESS
            return PER_VOLUME if node.function == "conc" else of_mean
        if node.name == "t":
            return TIME
        parameter = self.config.parameters.get(node.name)
        return self.dimension_of_name(node.name) if parameter is None else parameter.dimension

    def unit_of_value(self, expr: Expression, where: str) -> Unit | None:
        """The unit in which an observable is written: that of the concentrations it names, if its value has it."""
        units = {self.unit_of(name) for name in names(expr)} - {None}
        unit = units.pop() if len(units) == 1 else None
        return unit if unit is not None and self.dimension_of(expr, where) == unit.dimension else None

    def depends_on_cell(self, expr: Expression) -> bool:
        """Whether a parameter in it is given by cell type."""
        found = (self.config.parameters.get(name) for name in names(expr))
        return any(parameter is not None and parameter.by_cell is not None for parameter in found)

    def constant(self, expr: Expression) -> np.ndarray | None:
        """Values of an expression of parameters only, over the cell types and the empty voxel; else None."""
        if any(isinstance(node, Call) or node.name not in self.config.parameters for node in _values(expr)):
            return None
        with np.errstate(all="ignore"):
            return np.asarray(evaluate(expr, self._lookup_value, np), dtype=float)

    def _lookup_value(self, node: Name | Call) -> Any:
        parameter = self.config.parameters[_name(node)]
        if parameter.value is not None:
            return np.float64(parameter.value.value)
        by_cell = parameter.by_cell or {}
        values = [by_cell[cell].value if cell in by_cell else 0.0 for cell in self.config.cells]
        return np.array([*values, 0.0])


def reaction_path(reaction: Reaction, index: int) -> str:
    """The key path of a reaction: by its name, by its index if it was named automatically."""
    is_automatic = reaction.name.rstrip("_") == f"r{index + 1}"
    return f"reactions[{index}]" if is_automatic else f"reactions.{reaction.name}"


def intervention_path(intervention: Intervention, index: int) -> str:
    """The key path of an intervention: by its name, by its index if it was named automatically."""
    is_automatic = intervention.name.rstrip("_") == f"i{index + 1}"
    return f"interventions[{index}]" if is_automatic else f"interventions.{intervention.name}"


def gather(checks: list[Callable[[], None]]) -> Iterator[ConfigError]:
    """Run checks one by one and yield what they refuse."""
    for each in checks:
        try:
            each()
        except ConfigError as error:
            yield error


def _values(expr: Expression) -> Iterator[Name | Call]:
    """Yield the names and the forms as wholes: what an evaluation looks up."""
    if isinstance(expr, Name) or (isinstance(expr, Call) and expr.function in _FORM_KINDS):
        yield expr
        return
    for item in children(expr):
        yield from _values(item)


def _name(node: Expression) -> str:
    assert isinstance(node, Name)
    return node.name
