"""Tables of measurements in: a header that names times, values and their units, and a row for each time and tissue."""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exodiff.config.units import parse_quantity
from exodiff.core.dimensions import TIME
from exodiff.core.errors import ConfigError
from exodiff.io.tables import check_regular_file

MAX_BYTES = 2**28
_HEADER = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.]*)\s*(?:[\[(]\s*([^\])]*?)\s*[\])])?\s*")
_MISSING = {"", "na", "nan", "n/a", "-"}
BELOW = "<"


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, the unit in its header if any, and its cells."""

    name: str
    unit: str | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        path: of the file.
        lines: in which each row stands.
        columns: by name.

    """

    path: Path
    lines: tuple[int, ...]
    columns: dict[str, Column]

    def find(self, *names: str) -> Column | None:
        """The first of some columns that there is."""
        return next((self.columns[name] for name in names if name in self.columns), None)

    def where(self, row: int, column: Column) -> str:
        """A cell, for messages."""
        return f"{self.path}, line {self.lines[row]}, column {column.name}"

    def numbers(self, column: Column, *, censored: bool = False) -> np.ndarray:
        """The cells as numbers, NaN where one is missing; ``<0.1`` is 0 where values may be censored."""
        return np.array([self._number(row, column, censored=censored) for row in range(len(self.lines))])

    def _number(self, row: int, column: Column, *, censored: bool) -> float:
        cell = column.cells[row]
        if cell.lower() in _MISSING:
            return math.nan
        if censored and cell.startswith(BELOW):
            return 0.0
        try:
            value = float(cell)
        except ValueError:
            value = math.inf
        if math.isinf(value) or "_" in cell:
            allowed = "a number, or nothing where it is missing"
            raise ConfigError(self.where(row, column), f"{cell[:40]!r} is not a finite number; needed is {allowed}")
        return value

    def times_s(self) -> np.ndarray:
        """The column of times in seconds."""
        column = self.find("time", *[name for name in self.columns if name.startswith("time_")])
        if column is None:
            raise self._no_column("time", "time_s, time_h or 'time [h]'")
        unit = column.unit or column.name.removeprefix("time").removeprefix("_")
        if not unit:
            raise ConfigError(f"{self.path}, column time", "has no unit; write time_s, time_h or 'time [h]'")
        seconds, dimension = parse_quantity(f"1 {unit}", f"{self.path}, column {column.name}")
        if dimension != TIME:
            raise ConfigError(f"{self.path}, column {column.name}", f"{unit!r} is no unit of time; write e.g. h")
        times = self.numbers(column)
        if np.isnan(times).any():
            row = int(np.isnan(times).argmax())
            raise ConfigError(self.where(row, column), "has no time; every row needs one")
        return times * seconds

    def _no_column(self, what: str, example: str) -> ConfigError:
        known = ", ".join(self.columns)
        return ConfigError(str(self.path), f"has no column {what} among {known}; needed is {example}")

    def need(self, what: str, *names: str) -> Column:
        """One of some columns, or an error."""
        found = self.find(*names)
        if found is None:
            raise self._no_column(what, " or ".join(dict.fromkeys(names)))
        return found


def read_table(path: Path) -> Table:
    """Read a CSV file with a header.

    Raises:
        ConfigError: naming the file, the line and what is allowed.

    """
    if not path.exists():
        raise ConfigError(
            str(path), "there is no such file; correct fit.data.file, or make data with `exodiff synthesise CONFIG`"
        )
    check_regular_file(path, MAX_BYTES)
    lines, rows = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
                    lines.append(reader.line_num)
                    rows.append([cell.strip() for cell in row])
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise ConfigError(str(path), f"is not CSV ({error})") from error
    if len(rows) < 2:
        raise ConfigError(str(path), "holds no measurements; give a header and a row for each time")
    return _table(path, lines, rows)


def _table(path: Path, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> Table:
    header = []
    for cell in rows[0]:
        found = _HEADER.fullmatch(cell)
        if found is None:
            raise ConfigError(
                f"{path}, line {lines[0]}", f"{cell[:40]!r} is no name of a column; write e.g. value [nM]"
            )
        header.append((found[1], found[2]))
    names = [name for name, _ in header]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}, line {lines[0]}", f"a column comes twice in {', '.join(names)}; rename one")
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise ConfigError(
                f"{path}, line {line}", f"has {len(row)} cells, the header {len(header)}; make them equal"
            )
    cells = zip(*rows[1:], strict=True)
    columns = {name: Column(name, unit, tuple(of)) for (name, unit), of in zip(header, cells, strict=True)}
    return Table(path, tuple(lines[1:]), columns)
