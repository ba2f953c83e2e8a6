"""Check size histograms and assays against the names: what they read, and the dimensions and signs of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from exodiff.config.measurements import Assay, SizeHistogram
from exodiff.config.names import Namespace, gather
from exodiff.config.schema import RunConfig
from exodiff.config.value_checks import OF_LATTICE, check_dimension, check_value
from exodiff.core.dimensions import DIMENSIONLESS, PER_VOLUME, VOLUME
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import OBSERVABLE_FORMS, Call, Expression, Name, names, to_text, walk

MOST_BINS = 10_000


def check_measurements(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with size_histogram and assay of [observables.NAME]."""
    for name, observable in config.observables.items():
        where = f"observables.{name}"
        if observable.size_histogram is not None:
            yield from gather([partial(_size_histogram, observable.size_histogram, names_of, where)])
        if observable.assay is not None:
            yield from _assay(observable.assay, names_of, f"{where}.assay")


def _size_histogram(given: SizeHistogram, names_of: Namespace, where: str) -> None:
    where = f"{where}.size_histogram"
    population = population_of(given.of, names_of.config)
    if population is None:
        sized = [name for name, item in names_of.config.exosomes.items() if item.diameter is not None]
        example = f"; write e.g. 'total({sized[0]})'" if sized else "; give a population a diameter"
        raise ConfigError(
            f"{where}.of", f"{to_text(given.of)!r} is no number of vesicles of a population with a diameter{example}"
        )
    names_of.check_expression(given.of, ("pools",), f"{where}.of")
    diameter = names_of.config.exosomes[population].diameter
    assert diameter is not None
    if 2 * diameter.max_um / given.bin_um > MOST_BINS:
        raise ConfigError(
            f"{where}.bin", f"{given.bin_um:g} um makes more than {MOST_BINS} bins of diameters; raise it"
        )


def population_of(of: Expression, config: RunConfig) -> str | None:
    """The population whose vesicles ``total(POPULATION)``, with a region or not, or ``plasma.POPULATION`` counts."""
    if isinstance(of, Name):
        compartment, _, name = of.name.partition(".")
        if compartment not in config.compartments:
            return None
    elif isinstance(of, Call) and of.function == "total" and isinstance(of.arguments[0], Name):
        name = of.arguments[0].name
    else:
        return None
    sized = name in config.exosomes and config.exosomes[name].diameter is not None
    return name if sized else None


def _assay(given: Assay, names_of: Namespace, where: str) -> Iterator[ConfigError]:
    checks = [
        partial(check_value, names_of, given.sample, VOLUME, f"{where}.sample"),
        partial(_share, names_of, given.yield_, f"{where}.yield"),
        partial(check_value, names_of, given.background, PER_VOLUME, f"{where}.background"),
        partial(_share, names_of, given.false_positive, f"{where}.false_positive"),
        partial(check_value, names_of, given.detection_limit, DIMENSIONLESS, f"{where}.detection_limit"),
    ]
    yield from gather([partial(_number_or_concentration, given.of, names_of, f"{where}.of"), *checks])


def _number_or_concentration(of: Expression, names_of: Namespace, where: str) -> None:
    names_of.check_expression(of, OF_LATTICE, where, time=True)
    places = [*compartments_in(of, names_of.config), *regions_in(of)]
    if len(places) > 1:
        raise ConfigError(
            where, f"{to_text(of)!r} counts in several places; a sample is taken of one, write one for each"
        )
    if names_of.depends_on_cell(of):
        raise ConfigError(where, "holds a by_cell parameter, which has no value for the whole lattice; use a plain one")
    check_dimension(names_of, of, (DIMENSIONLESS, PER_VOLUME), where)
    is_number = names_of.dimension_of(of, where) == DIMENSIONLESS
    if is_number and any(isinstance(node, Call) and node.function == "mean" for node in walk(of)):
        raise ConfigError(where, f"{to_text(of)!r} is the number in a voxel; write 'total(...)', that in all of them")


def regions_in(of: Expression) -> list[str]:
    """The regions of the lattice in which an expression counts; "" is all of it."""
    calls = [node for node in walk(of) if isinstance(node, Call) and node.function in OBSERVABLE_FORMS]
    return list(dict.fromkeys(to_text(call.arguments[1]) if len(call.arguments) > 1 else "" for call in calls))


def compartments_in(of: Expression, config: RunConfig) -> list[str]:
    """The compartments that an expression reads."""
    heads = dict.fromkeys(name.partition(".")[0] for name in sorted(names(of)))
    return [head for head in heads if head in config.compartments]


def _share(names_of: Namespace, value: Expression, where: str) -> None:
    check_value(names_of, value, DIMENSIONLESS, where)
    known = names_of.constant(value)
    if known is not None and np.any(known > 1):
        raise ConfigError(where, f"{to_text(value)!r} is {float(known.max()):g} here, but it is a share; give 0 to 1")
