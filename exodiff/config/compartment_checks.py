"""Check compartments against the names, and where the molecules of a reaction are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from exodiff.config.names import Namespace, gather
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.value_checks import check_rate
from exodiff.core.dimensions import PER_TIME, VOLUME
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Call, names, to_text, walk
from exodiff.core.syntax import FORMS


def check_compartments(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [compartments] and [vessels]."""
    for name, compartment in config.compartments.items():
        where = f"compartments.{name}.initial"
        for species, amount in compartment.initial.items():
            yield from gather([partial(_initial, names_of, name, species, amount, f"{where}.{species}")])
    for name, vessels in config.vessels.items():
        where = f"vessels.{name}"
        checks: list[Callable[[], None]] = [
            partial(names_of.require, vessels.compartment, ("compartments",), f"{where}.compartment")
        ]
        if vessels.cells is not None:
            checks.append(partial(names_of.require, vessels.cells, ("cells",), f"{where}.cells"))
        if vessels.region is not None:
            checks.append(partial(names_of.require, vessels.region, ("regions",), f"{where}.region"))
        checks += [partial(_exchanged, names_of, vessels.compartment, one, where) for one in vessels.species]
        surface, key = vessels.permeability_surface, f"{where}.permeability_surface"
        checks.append(partial(check_rate, names_of, surface, (VOLUME * PER_TIME,), key))
        yield from gather(checks)
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
    compartments = {_compartment(term.name) for term in pools}
    if len(compartments) > 1:
        first, second = sorted(compartments)
        raise ConfigError(f"{where}.equation", f"'{equation}' lets {first} and {second} react; they do not touch")
    for term in made:
        if term.burst is not None:
            raise ConfigError(
                f"{where}.equation", f"'{term}' is a random number in a compartment, which is not yet supported"
            )
    for name in names_of.concentrations_in(equation):
        if names_of.net_change(equation, name):
            _refuse_steady(names_of, name, f"{where}.equation")
    if len(pools) + len(made) == len(equation.reactants) + len(equation.products):
        _rate_of_compartment(reaction, names_of, where)
    elif pools:
        _into_the_lattice(reaction, names_of, where)


def _into_the_lattice(reaction: Reaction, names_of: Namespace, where: str) -> None:
    """Refuse what is more than one molecule of a compartment that comes to a voxel."""
    equation = reaction.equation
    (pool, *others) = (term for term in equation.reactants if names_of.kinds.get(term.name) == "pools")
    if others or pool.count > 1:
        raise ConfigError(
            f"{where}.equation", f"'{equation}' takes several molecules out of {_compartment(pool.name)}; one an event"
        )
    made = [term.name for term in equation.products if names_of.kinds.get(term.name) == "pools"]
    if made:
        raise ConfigError(
            f"{where}.equation", f"'{equation}' goes from {pool.name} by the lattice to {made[0]}; write two reactions"
        )
    if reaction.rate is None:
        raise ConfigError(
            f"{where}.propensity", f"'{equation}' comes from a compartment: give the rate of one molecule and voxel"
        )
    if {*names_of.members(pool.name)} & {one for name in names(reaction.rate) for one in names_of.members(name)}:
        raise ConfigError(
            f"{where}.rate", f"reads {pool.name}, which its own events change, which is not yet supported here"
        )


def _compartment(pool: str) -> str:
    return pool.split(".", maxsplit=1)[0]


def _exchanged(names_of: Namespace, compartment: str, species: str, where: str) -> None:
    names_of.require(species, ("species",), f"{where}.species")
    names_of.require(f"{compartment}.{species}", ("pools",), f"{where}.species", ": it lives in cells")
    if names_of.unit_of(species) is not None and not names_of.has_molecules(species):
        raise ConfigError(f"{where}.species", f"{species} has a unit without molecules, which cannot be exchanged")
    _refuse_steady(names_of, species, f"{where}.species")


def _refuse_steady(names_of: Namespace, species: str, where: str) -> None:
    known = names_of.config.species.get(species)
    if known is not None and known.solve == "steady":
        raise ConfigError(
            where,
            f"{species} is steady and cannot keep what comes from a compartment or goes there; choose solve = "
            f'"implicit", or hold it where cells are, e.g. fixed = {{ endothelium = "plasma.{species}" }}',
        )


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
