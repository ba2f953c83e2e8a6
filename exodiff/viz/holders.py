"""Which cell types can hold a species: what they begin with, are given, make, and take along."""

import re
from dataclasses import dataclass
from typing import Any

from exodiff.core.equations import parse_equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Binary, Expression, Name, parse

Holders = dict[str, frozenset[str]]
_BURST = re.compile(r"\b(?:poisson|geometric|loaded)\([^()]*\)")  # of how many does not matter here


def possible_holders(model: dict[str, Any], in_cell: tuple[str, ...]) -> Holders:
    """The cell types that may hold each species in cells; types that are left out never do.

    Only the form of a rate is looked at, and of that the factors that are a cell type or a parameter ``by_cell``. So
    a type may be named that holds none in fact. Empty when an equation cannot be read.
    """
    cells = frozenset(table_of(model, "cells"))
    try:
        reactions = [_read(entry, model, cells) for entry in _entries(model, "reactions")]
    except ConfigError:
        return {}
    held = {name: _at_first(table_of(model, "species").get(name), cells) for name in in_cell}
    for entry in _entries(model, "interventions"):
        given = {*table_of(entry, "set"), *table_of(entry, "add")}
        held |= dict.fromkeys(given & held.keys(), cells)
    while True:
        before = dict(held)
        for reaction in reactions:
            reaction.spread(held)
        if held == before:
            return held


def table_of(tables: Any, name: str) -> dict[str, Any]:
    """A table in a table of the model, an empty one where there is none."""
    found = tables.get(name) if isinstance(tables, dict) else None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class _Reaction:
    """Where a reaction may happen: ``types`` by its cell and its rate, fewer by its reactants."""

    reactants: frozenset[str]
    products: frozenset[str]
    types: frozenset[str]
    parents: frozenset[str]
    children: frozenset[str]

    def spread(self, held: Holders) -> None:
        """Adds the types to which the reaction brings a species."""
        places = self.types
        for name in self.reactants & held.keys():
            places &= held[name]
        if not places:
            return
        for name in self.products & held.keys():
            held[name] |= self.children or places
        if self.parents and not self.parents <= self.children:
            for name, types in held.items():
                if self.parents <= types:
                    held[name] = types | self.children


def _read(entry: dict[str, Any], model: dict[str, Any], cells: frozenset[str]) -> _Reaction:
    equation = parse_equation(_BURST.sub("", str(entry.get("equation", ""))), "")
    reactants = frozenset(term.name for term in equation.reactants)
    products = frozenset(term.name for term in equation.products)
    parents = reactants & cells
    types = parents or cells
    for factor in _factors(entry.get("rate", entry.get("propensity"))):
        by_cell = table_of(table_of(table_of(model, "parameters"), factor), "by_cell")
        types &= {factor} if factor in cells else frozenset(by_cell) or cells
    return _Reaction(reactants, products, types, parents, products & cells)


def _factors(rate: Any) -> set[str]:
    """The names that a rate is a multiple of."""
    try:
        return _names(parse(str(rate), ""))
    except ConfigError:
        return set()


def _names(node: Expression) -> set[str]:
    match node:
        case Name(name):
            return {name}
        case Binary("*", left, right):
            return _names(left) | _names(right)
        case Binary("/", left, _):
            return _names(left)
        case _:
            return set()


def _at_first(species: Any, cells: frozenset[str]) -> frozenset[str]:
    initial = species.get("initial", 0) if isinstance(species, dict) else 0
    if not isinstance(initial, dict):
        return cells if initial else frozenset()
    return cells if "poisson" in initial else frozenset(name for name, count in initial.items() if count)


def _entries(model: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = model.get(name)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
