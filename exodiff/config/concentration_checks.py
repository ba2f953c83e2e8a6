"""Check continuous species against the names: what holds them, what changes them, and in which unit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod

from exodiff.config.names import Namespace, gather, reaction_path
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.species import FromFile, Species
from exodiff.config.value_checks import check_dimension, check_value
from exodiff.core.dimensions import DIMENSIONLESS, PER_TIME, PER_VOLUME, VOLUME, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, Name, Number, is_zero


def check_concentrations(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with continuous species and with the reactions that name them."""
    for name, species in config.species.items():
        if species.own_unit is not None:
            yield from gather(_of_species(config, names_of, name, species))
    for index, reaction in enumerate(config.reactions):
        yield from gather([partial(_equation, names_of, reaction, reaction_path(reaction, index))])


def _of_species(config: RunConfig, names_of: Namespace, name: str, species: Species) -> list[partial[None]]:
    where, unit = f"species.{name}", species.own_unit
    assert unit is not None
    checks = [partial(_supported, config, names_of, name, species, where)]
    for place, value in (species.fixed or {}).items():
        checks.append(partial(names_of.require, place, ("cells", "regions"), f"{where}.fixed"))
        checks.append(partial(_fixed, names_of, value, unit.dimension, f"{where}.fixed.{place}"))
    if isinstance(species.initial, Expression):
        checks.append(partial(check_value, names_of, species.initial, unit.dimension, f"{where}.initial"))
    return checks


def _supported(config: RunConfig, names_of: Namespace, name: str, species: Species, where: str) -> None:
    moves = isinstance(species.diffusion, dict | FromFile) or not is_zero(species.diffusion or 0)  # pyright: ignore[reportArgumentType]
    if config.flow is not None and moves:
        raise ConfigError(f"{where}.diffusion", "a concentration that flows is not yet supported; leave out [flow]")
    if species.solve == "explicit" and moves and (species.fixed or not isinstance(species.diffusion, Expression)):
        raise ConfigError(
            f"{where}.solve",
            '"explicit" diffuses with one diffusivity in all voxels and holds no value in any; choose "implicit"',
        )
    if species.solve != "steady":
        return
    is_lost = species.decay is not None or species.half_life is not None or species.fixed is not None
    is_lost |= any(names_of.net_change(reaction.equation, name) < 0 for reaction in config.reactions)
    faces = config.lattice.boundary.faces.values()
    is_open = moves and any(face.kind == "absorbing" or name in face.fixed for face in faces)
    if not (is_lost or is_open):
        raise ConfigError(
            f"{where}.solve",
            "nothing takes it away, so that it has no steady value; give decay, fixed, a reaction that uses it up or "
            'an open boundary, or choose "implicit"',
        )


def _equation(names_of: Namespace, reaction: Reaction, where: str) -> None:
    """Refuse what no field can follow: two units in one equation, random numbers, new cells."""
    equation = reaction.equation
    changed = [name for name in names_of.concentrations_in(equation) if names_of.net_change(equation, name)]
    where = f"{where}.equation"
    for term in equation.products:
        if term.burst is not None and names_of.unit_of(term.name) is not None:
            raise ConfigError(where, f"'{term}' is a random number of a concentration; write a number in front of it")
    plain = [name for name in names_of.concentrations_in(equation) if not names_of.has_molecules(name)]
    if plain and names_of.changes_numbers(equation):
        raise ConfigError(
            where,
            f"'{equation}' changes whole numbers, and {plain[0]!r} has no molecules; name it in the rate instead",
        )
    if changed and names_of.makes_cell(equation):
        raise ConfigError(
            where, f"'{equation}' makes a cell and changes {changed[0]!r}, which is not yet supported; write two"
        )
    units = {names_of.dimension_of_name(name) for name in changed}
    if len(units) > 1:
        raise ConfigError(
            where, f"'{equation}' changes {changed[0]!r} and {changed[-1]!r}, which have other units; write two"
        )
    if reaction.propensity is not None and changed and not names_of.has_molecules(changed[0]):
        raise ConfigError(
            where.removesuffix("equation") + "propensity",
            f"{changed[0]!r} has no molecules to count; give a rate, in its unit by time",
        )


def _fixed(names_of: Namespace, value: Expression, dimension: Dimension, where: str) -> None:
    if isinstance(value, Name) and names_of.kinds.get(value.name) == "pools":
        check_dimension(names_of, Number(1.0, PER_VOLUME), (dimension,), where, f" for the density {value.name!r}")
        return
    check_value(names_of, value, dimension, where)


def allowed_rates(names_of: Namespace, reaction: Reaction, order: int) -> tuple[Dimension, ...]:
    """The dimensions that a rate may have: volume^(order - 1) / time, or what changes a concentration in its unit."""
    equation = reaction.equation
    values = [term for term in equation.reactants if names_of.unit_of(term.name) is not None]
    changed = [name for name in names_of.concentrations_in(equation) if names_of.net_change(equation, name)]
    if changed and not names_of.has_molecules(changed[0]):
        molecules = order - sum(term.count for term in values)
        taken = prod((names_of.dimension_of_name(t.name) ** t.count for t in values), start=PER_VOLUME**molecules)
        return (names_of.dimension_of_name(changed[0]) * PER_TIME / taken,)
    plain = prod((names_of.dimension_of_name(t.name) ** t.count * VOLUME**t.count for t in values), start=DIMENSIONLESS)
    return (VOLUME ** (order - 1) * PER_TIME / plain,) if order else (PER_TIME, PER_VOLUME * PER_TIME)
