"""Check the [fit] table against the names: observables, units, and the parameters that noise is made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from exodiff.config.concentrations import Unit
from exodiff.config.fields import nearest
from exodiff.config.fit import FitData, Noise
from exodiff.config.names import Namespace, gather
from exodiff.config.schema import Observable, RunConfig
from exodiff.config.units import parse_quantity
from exodiff.config.value_checks import check_value
from exodiff.core.dimensions import DIMENSIONLESS, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Binary, Call, Expression, Name, Number, to_text

COUNTED = ("poisson", "negative_binomial", "multinomial", "dirichlet_multinomial")


def check_fit(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [fit]."""
    if config.fit is None:
        return
    for index, data in enumerate(config.fit.data):
        yield from gather([partial(_data, data, names_of, f"fit.data[{index}]")])


def _data(data: FitData, names_of: Namespace, where: str) -> None:
    check_measured(names_of, data.observable, f"{where}.observable")
    check_noise(names_of, data.noise, data.observable[0], where)
    if data.unit is not None:
        value_of_unit(data.unit, names_of, data.observable[0], f"{where}.unit")
    if data.at_s is not None:
        for name in data.observable:
            summed_species(names_of.config.observables[name], f"{where}.observable")


def check_measured(names_of: Namespace, observables: tuple[str, ...], where: str) -> None:
    """Refuse what is no observable, or several that cannot stand side by side."""
    known = names_of.config.observables
    for name in observables:
        if name not in known:
            raise ConfigError(where, f"{name!r} is no observable; {nearest(name, known)}")
        if len(observables) > 1 and known[name].value is None and known[name].assay is None:
            raise ConfigError(where, f"{name!r} has bins of its own; give it [[fit.data]] of its own")
    found = {dimension_of_observable(names_of, name) for name in observables}
    if len(found) > 1:
        raise ConfigError(
            where, f"{', '.join(observables)} have the dimensions {', '.join(sorted(map(str, found)))}; give equal ones"
        )


def check_noise(names_of: Namespace, noise: Noise, observable: str, where: str) -> None:
    """Refuse noise whose numbers have the wrong dimension, or that does not fit the observable."""
    dimension, where = dimension_of_observable(names_of, observable), f"{where}.noise.{noise.kind}"
    if noise.kind in COUNTED and dimension != DIMENSIONLESS:
        raise ConfigError(
            where, f"is for counts, but {observable!r} has dimension {dimension}; choose gaussian or lognormal"
        )
    if noise.scale is not None:
        expected = dimension if noise.kind == "gaussian" and not _is_bare(noise.scale) else DIMENSIONLESS
        check_value(names_of, noise.scale, expected, where)
        known = names_of.constant(noise.scale)
        if known is not None and not np.all(known > 0):
            raise ConfigError(where, f"{to_text(noise.scale)!r} is not positive here; give a positive number")
    limit = noise.detection_limit
    if limit is not None and not _is_bare(limit):
        check_value(names_of, limit, dimension, f"{where}.detection_limit")


def noise_in_unit(names_of: Namespace, noise: Noise, observable: str, where: str) -> Noise:
    """The noise with its numbers in the unit in which the observable is written, where a bare number is already."""
    own = unit_of_observable(names_of, observable, where)
    if own is None:
        return noise

    scale, limit = noise.scale, noise.detection_limit
    if scale is not None and noise.kind == "gaussian" and not _is_bare(scale):
        scale = Number(scale.value / own.value) if isinstance(scale, Number) else Binary("/", scale, Number(own.value))
    if limit is not None and not _is_bare(limit):
        limit = Number(limit.value / own.value)
    return Noise(kind=noise.kind, scale=scale, detection_limit=limit)


def _is_bare(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.dimension == DIMENSIONLESS


def dimension_of_observable(names_of: Namespace, name: str) -> Dimension:
    """Dimension of the values of an observable."""
    expression = _expression_of(names_of, name)
    return DIMENSIONLESS if expression is None else names_of.dimension_of(expression, f"observables.{name}")


def unit_of_observable(names_of: Namespace, name: str, where: str) -> Unit | None:
    """The unit in which an observable is written, if it is that of a continuous species."""
    expression = _expression_of(names_of, name)
    return None if expression is None else names_of.unit_of_value(expression, where)


def _expression_of(names_of: Namespace, name: str) -> Expression | None:
    """What an observable shows; None for counts, also those that are recorded when the file names no observable."""
    given = names_of.config.observables.get(name)
    if given is None:
        return None
    return given.profile.of if given.profile is not None else given.value


def value_of_unit(text: str, names_of: Namespace, observable: str, where: str) -> float:
    """One of a unit in the unit in which an observable is written."""
    value, dimension = parse_quantity(f"1 {text}", where)
    needed = dimension_of_observable(names_of, observable)
    if dimension != needed:
        raise ConfigError(
            where, f"{text!r} has dimension {dimension}, but observable {observable!r} has {needed}; correct the unit"
        )
    own = unit_of_observable(names_of, observable, where)
    return value if own is None else value / own.value


def summed_species(observable: Observable, where: str) -> tuple[str, str | None]:
    """The species and region of an observable ``total(X)`` or ``total(X, region)``: what an image can be summed to."""
    value = observable.value
    if isinstance(value, Call) and value.function == "total":
        species, *region = (item.name for item in value.arguments if isinstance(item, Name))
        return species, region[0] if region else None
    raise ConfigError(
        where,
        "an image shows molecules in voxels and is summed over regions; name observables of the form total(X, region)",
    )
