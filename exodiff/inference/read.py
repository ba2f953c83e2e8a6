"""The data sets that a model file names, as arrays in the unit of their observables."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from exodiff.build import ConfiguredModel
from exodiff.config.fit import FitData
from exodiff.config.fit_checks import summed_species, value_of_unit
from exodiff.config.names import Namespace
from exodiff.core.errors import ConfigError
from exodiff.inference.data import Data
from exodiff.inference.tables import Column, Table, read_table
from exodiff.io.images import read_measured_image
from exodiff.problem import Binned


def read_data(model: ConfiguredModel) -> list[Data]:
    """Read all ``[[fit.data]]``.

    Raises:
        ConfigError: naming the file, the line, the column and what is allowed.

    """
    if model.config.fit is None:
        raise ConfigError("fit", "the file has no [fit]; name parameters and [[fit.data]] there")
    if not model.config.fit.data:
        raise ConfigError("fit.data", "there are no measurements; add [[fit.data]] with a file and an observable")
    names_of = Namespace(model.config)
    for error in names_of.collect():
        raise error
    return [_read(model, names_of, given) for given in model.config.fit.data]


def _read(model: ConfiguredModel, names_of: Namespace, given: FitData) -> Data:
    if given.is_image:
        return _image(model, given)
    table = read_table(given.file)
    times_s, replicates = table.times_s(), _replicates(table, given)
    edges = _edges(model, given.observable[0])
    if edges is not None:
        names = [str(place) for place in range(len(edges) - 1)]
        return _long(table, names_of, given, times_s, replicates, names, _bins(table, given.observable[0], edges))
    which = table.find("observable", "region", "class")
    if which is not None and not set(given.observable) & set(table.columns):
        return _long(table, names_of, given, times_s, replicates, list(given.observable), list(which.cells))
    wide = [_values(table, names_of, given, name) for name in given.observable]
    values, deviations = (list(column) for column in zip(*wide, strict=True))
    sd = None if deviations[0] is None else np.stack(deviations, axis=1)
    return _data(given, times_s, np.stack(values, axis=1), sd, replicates)


def _data(
    given: FitData, times_s: np.ndarray, values: np.ndarray, sd: np.ndarray | None, replicates: np.ndarray
) -> Data:
    return Data(given.observable, times_s, values, given.noise, sd, replicates, given.file.name)


def _replicates(table: Table, given: FitData) -> np.ndarray:
    column = table.find("replicate")
    return np.full(len(table.lines), given.replicate) if column is None else np.array(column.cells)


def _values(table: Table, names_of: Namespace, given: FitData, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and standard deviations of one observable, a number for each row of the table."""
    alone = ("value",) if len(given.observable) == 1 or name == "value" else ()
    column = table.need(name, name, *alone)
    factor = _factor(table, column, names_of, given)
    values = factor * table.numbers(column, censored=given.noise.detection_limit is not None)
    if given.noise.kind != "gaussian" or given.noise.scale is not None:
        return values, None
    of_sd = table.need(f"sd of {name}", f"{column.name}_sd", "sd")
    own = factor if of_sd.unit is None else _factor(table, of_sd, names_of, given)
    return values, own * table.numbers(of_sd)


def _factor(table: Table, column: Column, names_of: Namespace, given: FitData) -> float:
    """One of the column's unit in the unit of the observable."""
    unit = column.unit or given.unit
    if not unit:
        return 1.0
    return value_of_unit(unit, names_of, given.observable[0], f"{table.path}, column {column.name}")


def _long(
    table: Table,
    names_of: Namespace,
    given: FitData,
    times_s: np.ndarray,
    replicates: np.ndarray,
    columns: list[str],
    which: Sequence[str | None],
) -> Data:
    """A table with a row for each value: rows of one time and tissue side by side; None in ``which`` skips a row."""
    values, sd = _values(table, names_of, given, "value")
    seen: Counter[tuple[float, str, str]] = Counter()
    rows: dict[tuple[float, str, int], int] = {}
    found: list[np.ndarray] = []
    for number, name in enumerate(which):
        if name is None:
            continue
        if name not in columns:
            raise ConfigError(f"{table.path}, line {table.lines[number]}", f"{name!r} is none of {', '.join(columns)}")
        key = (float(times_s[number]), str(replicates[number]), name)
        row = (*key[:2], seen[key])
        seen[key] += 1
        if row not in rows:
            rows[row] = len(found)
            found.append(np.full((2, len(columns)), np.nan))
        place = columns.index(name)
        found[rows[row]][:, place] = values[number], np.nan if sd is None else sd[number]
    if not found:
        raise ConfigError(str(table.path), f"has no row of {', '.join(given.observable)}")
    pairs = np.stack(found)
    times = np.array([time for time, _, _ in rows])
    labels = np.array([label for _, label, _ in rows])
    return _data(given, times, pairs[:, 0], None if sd is None else pairs[:, 1], labels)


def _edges(model: ConfiguredModel, name: str) -> tuple[float, ...] | None:
    quantity = next(o.quantity for o in model.problem.observables if o.name == name)
    return quantity.edges if isinstance(quantity, Binned) else None


def _bins(table: Table, name: str, edges: Sequence[float]) -> list[str | None]:
    """The bin of each row: by its number from 0, or by its lower edge as in ``profiles.csv``."""
    column = table.need("of bins", "bin", "bin_low")
    numbers, which = table.numbers(column), table.find("observable")
    found: list[str | None] = []
    for row, number in enumerate(numbers):
        if which is not None and which.cells[row] != name:
            found.append(None)
            continue
        places = np.arange(len(edges) - 1) if column.name == "bin" else np.asarray(edges[:-1])
        place = int(np.abs(places - number).argmin()) if np.isfinite(number) else 0
        if not np.isclose(places[place], number, rtol=1e-6, atol=1e-9):
            raise ConfigError(
                table.where(row, column), f"{column.cells[row]!r} is no bin of {name}; it has {len(places)}"
            )
        found.append(str(place))
    return found


def _image(model: ConfiguredModel, given: FitData) -> Data:
    """An image summed over the region of each observable; a region with a missing voxel has no value."""
    if not given.file.exists():
        raise ConfigError(
            str(given.file), "there is no such file; correct fit.data.file, or make it with `exodiff synthesise CONFIG`"
        )
    image, grid = read_measured_image(given.file), model.problem.grid
    if image.shape != grid.shape:
        raise ConfigError(str(given.file), f"has the shape {image.shape}, the lattice {grid.shape}; make them equal")
    sums = []
    for name in given.observable:
        _, region = summed_species(model.config.observables[name], f"observables.{name}")
        mask = np.ones(grid.shape, bool) if region is None else model.fields[f"region.{region}"] > 0.5
        sums.append(float(image[mask].sum()))
    assert given.at_s is not None
    return _data(given, np.array([given.at_s]), np.array([sums]), None, np.array([given.replicate]))
