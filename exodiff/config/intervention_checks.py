"""Check interventions against the names: targets, dimensions, regions, numbers of times."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from exodiff.config.compartments import MAX_AMOUNT
from exodiff.config.interventions import MAX_TIMES, Intervention, is_bare
from exodiff.config.names import Namespace, gather, intervention_path
from exodiff.config.schema import RunConfig
from exodiff.config.value_checks import OF_LATTICE, check_value
from exodiff.core.dimensions import DIMENSIONLESS, PER_TIME, PER_VOLUME, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import (
    OBSERVABLE_FORMS,
    RATE_FORMS,
    Call,
    Expression,
    Number,
    check_identifier,
    is_zero,
    to_text,
    walk,
)

MAX_COUNT = 2**31 - 1


def check_interventions(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [[interventions]] across tables."""
    seen: set[str] = set()
    for index, intervention in enumerate(config.interventions):
        where = intervention_path(intervention, index)
        if intervention.name in seen:
            yield ConfigError(where, f"the name {intervention.name!r} is used twice; rename one")
        seen.add(intervention.name)
        checks = [
            partial(check_identifier, intervention.name, f"{where}.name"),
            partial(_few_times, intervention, config.run.duration_s, where),
        ]
        for name, (key, value) in intervention.assignments.items():
            checks.append(partial(_assignment, config, names_of, name, value, f"{where}.{key}.{name}"))
            checks.append(partial(_count, names_of, name, key, value, f"{where}.{key}.{name}"))
        for name, value in intervention.infuse.items():
            checks.append(partial(_infusion, names_of, name, value, f"{where}.infuse.{name}"))
        checks += [partial(names_of.require, cell, ("cells",), f"{where}.remove") for cell in intervention.remove]
        if intervention.region is not None:
            checks.append(partial(names_of.require, intervention.region, ("regions",), f"{where}.region"))
        if intervention.when is not None:
            checks.append(partial(_of_lattice, names_of, intervention.when, f"{where}.when"))
        yield from gather(checks)


def _few_times(intervention: Intervention, duration_s: float, where: str) -> None:
    every, start = intervention.every, intervention.from_
    if every is None or start is None:
        return
    end = duration_s if intervention.to is None else intervention.to
    if (end - start) / every > MAX_TIMES:
        raise ConfigError(f"{where}.every", f"{every:g} s makes more than {MAX_TIMES} times up to {end:g} s; raise it")


def _assignment(config: RunConfig, names_of: Namespace, name: str, value: Expression, where: str) -> None:
    names_of.require(name, ("species", "parameters", "pools"), where)
    if names_of.unit_of(name) is not None:
        _concentration(config, names_of, name, value, where)
        return
    if names_of.kinds[name] == "pools":
        _of_lattice(names_of, value, where)
        _dimension(names_of, value, (DIMENSIONLESS, PER_VOLUME), where)
        return
    if names_of.is_species(name):
        _no_form_of(value, OBSERVABLE_FORMS, where, "is of the whole lattice, but a number for each voxel is needed")
        names_of.check_expression(value, ("parameters", "species", "cells"), where, time=True)
        _dimension(names_of, value, (DIMENSIONLESS, PER_VOLUME), where)
        return
    if config.parameters[name].by_cell is not None:
        raise ConfigError(where, f"{name!r} is given by cell type, which is not yet supported here; use a plain one")
    _of_lattice(names_of, value, where)
    if not is_bare(value):
        _dimension(names_of, value, (config.parameters[name].dimension,), where)


def _concentration(config: RunConfig, names_of: Namespace, name: str, value: Expression, where: str) -> None:
    if config.species[name].solve == "steady":
        raise ConfigError(
            where, f"{name!r} is steady, so that it follows from what makes and takes it; change a parameter of these"
        )
    _no_form_of(value, OBSERVABLE_FORMS, where, "is of the whole lattice, but a value for each voxel is needed")
    names_of.check_expression(value, ("parameters", "species", "cells"), where, time=True)
    if not is_bare(value):
        _dimension(names_of, value, (names_of.dimension_of_name(name),), where)


def _infusion(names_of: Namespace, name: str, value: Expression, where: str) -> None:
    names_of.require(name, ("pools",), where, ": an infusion goes into a compartment")
    check_value(names_of, value, PER_TIME, where)


def _of_lattice(names_of: Namespace, value: Expression, where: str) -> None:
    """Refuse what differs from voxel to voxel, in the words of observables; also mixed dimensions."""
    _no_form_of(value, RATE_FORMS, where, "differs from voxel to voxel; write total(...) or mean(...) of a species")
    names_of.check_expression(value, OF_LATTICE, where, time=True)
    if names_of.depends_on_cell(value):
        raise ConfigError(where, "holds a by_cell parameter, which has no value for the whole lattice; use a plain one")
    names_of.dimension_of(value, where)


def _no_form_of(value: Expression, forms: frozenset[str], where: str, problem: str) -> None:
    for node in walk(value):
        if isinstance(node, Call) and node.function in forms:
            raise ConfigError(where, f"{to_text(node)} {problem}")


def _dimension(names_of: Namespace, value: Expression, allowed: tuple[Dimension, ...], where: str) -> None:
    found = names_of.dimension_of(value, where)
    if found in allowed or is_zero(value):
        return
    needed = " or ".join("a number" if item == DIMENSIONLESS else str(item) for item in allowed)
    raise ConfigError(
        where, f"{to_text(value)!r} has dimension {found}, but {needed} is needed; correct the value or its unit"
    )


def _count(names_of: Namespace, name: str, key: str, expr: Expression, where: str) -> None:
    """Refuse a literal that is no number of molecules in a voxel."""
    kind = "other" if names_of.unit_of(name) is not None else names_of.kinds.get(name)
    if kind not in ("species", "pools") or not isinstance(expr, Number) or not is_bare(expr):
        return
    value, (place, most) = expr.value, ("a voxel", MAX_COUNT) if kind == "species" else ("a compartment", MAX_AMOUNT)
    if abs(value) > most:
        raise ConfigError(where, f"{value:g} molecules in {place} are too many; at most {most} fit")
    if not value.is_integer() and names_of.config.run.engine != "mean_field":
        raise ConfigError(
            where, f"{value} is not a whole number of molecules, which only engine mean_field takes; round it"
        )
    if value < 0 and key == "set":
        raise ConfigError(where, f"{value:g} molecules are less than none; give 0 or more")
