"""Check places and regions against the lattice and the names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from exodiff.config.geometry import Place, Shaped
from exodiff.config.names import Namespace, gather
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError


def check_places(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [[place]]: unknown cell types and regions, points and axes off the lattice."""
    for index, place in enumerate(config.place):
        where = f"place[{index}]"
        checks = [partial(_check_shape, place, config, where), partial(_check_cells, place, names_of, where)]
        if place.region is not None:
            checks.append(partial(names_of.require, place.region, ("regions",), f"{where}.region"))
            checks.append(partial(_check_is_shape, place.region, config, f"{where}.region"))
        if place.csv is not None:
            checks.append(partial(_check_lattice_of_table, place, config, where))
        yield from gather(checks)


def check_regions(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [regions.NAME]: points and axes off the lattice, unknown cell types."""
    for name, region in config.regions.items():
        checks = [partial(_check_shape, region, config, f"regions.{name}")]
        if region.region is not None:
            checks.append(partial(_check_is_lattice, region.region, config, f"regions.{name}.region"))
        if region.of is not None:
            checks.append(partial(names_of.require, region.of, ("cells",), f"regions.{name}.of"))
        yield from gather(checks)


def _check_is_shape(name: str, config: RunConfig, where: str) -> None:
    region = config.regions.get(name)
    if region is not None and region.of is not None:
        raise ConfigError(where, f"{name!r} is measured from the cells once all are placed; place by a shape")


def _check_is_lattice(name: str, config: RunConfig, where: str) -> None:
    known = config.lattice.parts
    if name not in known:
        what = f"name one of {', '.join(known)}" if known else "this file has one without a name, leave it out"
        raise ConfigError(where, f"{name!r} is no lattice; {what}")


def _check_lattice_of_table(place: Place, config: RunConfig, where: str) -> None:
    if config.lattice.parts and config.lattice_of(place.region) is None:
        known = ", ".join(config.lattice.parts)
        raise ConfigError(f"{where}.csv", f"its positions are of one lattice; name it with region ({known})")


def _check_cells(place: Place, names_of: Namespace, where: str) -> None:
    cells = place.cells
    types = [] if cells is None else [cells] if isinstance(cells, str) else list(cells.values())
    for name in types:
        names_of.require(name, ("cells",), f"{where}.cells")


def _check_shape(shape: Shaped, config: RunConfig, where: str) -> None:
    axes = config.lattice.axes
    for key in ("layer", "cylinder", "lines"):
        part = getattr(shape, key)
        if part is not None and part.axis not in axes:
            raise ConfigError(
                f"{where}.{key}.axis", f"{part.axis!r} is not an axis of the lattice; choose one of {', '.join(axes)}"
            )
    lengths = {3, len(axes)}
    if shape.sphere is not None and shape.sphere.centre_um is not None:
        _check_point(shape.sphere.centre_um, lengths, f"{where}.sphere.centre")
    if shape.box is not None:
        _check_point(shape.box.low_um, lengths, f"{where}.box.low")
    if shape.cylinder is not None and shape.cylinder.centre_um is not None:
        _check_point(shape.cylinder.centre_um, {2, 3}, f"{where}.cylinder.centre")


def _check_point(point: tuple[float, ...], lengths: set[int], where: str) -> None:
    if len(point) not in lengths:
        allowed = " or ".join(str(length) for length in sorted(lengths))
        raise ConfigError(where, f"{list(point)} has {len(point)} positions; give {allowed}")
