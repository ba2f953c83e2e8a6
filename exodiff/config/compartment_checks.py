"""Check compartments against the names, and where the molecules of a reaction are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from exodiff.config.names import Namespace, gather
from exodiff.config.schema import Reaction, RunConfig
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Call, names, to_text, walk
from exodiff.core.syntax import FORMS


def check_compartments(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [compartments]."""
    for name, compartment in config.compartments.items():
        where = f"compartments.{name}.initial"
        for species, amount in compartment.initial.items():
            yield from gather([partial(_initial, names_of, name, species, amount, f"{where}.{species}")])
    if config.compartments and config.run.engine == "exact":
        yield ConfigError("run.engine", "exact with compartments is not yet supported; choose leap or mean_field")


def _initial(names_of: Namespace, compartment: str, species: str, amount: float, where: str) -> None:
    names_of.require(species, ("species", "cells"), where)
    names_of.require(f"{compartment}.{species}", ("pools",), where, ": what lives in cells has no place there")
    if not amount.is_integer() and names_of.config.run.engine != "mean_field":
        raise ConfigError(
            where, f"{amount} is not a whole number of molecules, which only engine mean_field takes; round it"
        )


def check_place_of_reaction(reaction: Reaction, names_of: Namespace, where: str) -> None:
    """Refuse reactions whose molecules cannot meet, and, in a compartment, rates that differ from voxel to voxel."""
    equation = reaction.equation
    pools = [term for term in equation.reactants if names_of.kinds.get(term.name) == "pools"]
    made = [term for term in equation.products if names_of.kinds.get(term.name) == "pools"]
    if not pools and not made:
        return
    compartments = {term.name.split(".", maxsplit=1)[0] for term in pools}
    if len(compartments) > 1:
        first, second = sorted(compartments)
        raise ConfigError(f"{where}.equation", f"'{equation}' lets {first} and {second} react; they do not touch")
    for term in made:
        if term.burst is not None:
            raise ConfigError(
                f"{where}.equation", f"'{term}' is a random number in a compartment, which is not yet supported"
            )
    if len(pools) + len(made) < len(equation.reactants) + len(equation.products):
        raise ConfigError(f"{where}.equation", f"'{equation}' crosses from one place to another, not yet supported")
    _rate_of_compartment(reaction, names_of, where)


def _rate_of_compartment(reaction: Reaction, names_of: Namespace, where: str) -> None:
    key, rate = ("rate", reaction.rate) if reaction.rate is not None else ("propensity", reaction.propensity)
    assert rate is not None
    if reaction.region is not None:
        raise ConfigError(f"{where}.region", f"'{reaction.equation}' happens outside the lattice; leave region out")
    differs = sorted(name for name in names(rate) if names_of.kinds.get(name) in ("species", "cells"))
    forms = [to_text(node) for node in walk(rate) if isinstance(node, Call) and node.function in FORMS]
    if names_of.depends_on_cell(rate):
        differs.append("a by_cell parameter")
    if differs or forms:
        raise ConfigError(
            f"{where}.{key}",
            f"{(forms or differs)[0]} differs from voxel to voxel, and '{reaction.equation}' happens outside the "
            "lattice; use parameters, t and amounts in compartments",
        )
