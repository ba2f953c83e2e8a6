"""Cell tables in: one row a cell, with its place and type."""

import csv
import math
import re
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exodiff.core.errors import ConfigError

MAX_BYTES = 2**30
_COORDINATES = ("x", "y", "z")
_COLUMNS = (*_COORDINATES, "type")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells by row: positions in um from the lattice's corner and names of their types."""

    x_um: np.ndarray
    y_um: np.ndarray
    z_um: np.ndarray
    cell_type: np.ndarray

    def __len__(self) -> int:
        return len(self.cell_type)


def read_cells_csv(path: Path) -> CellTable:
    """Reads a CSV file with a header that names at least x, y, z (um) and type, in any order; others are ignored.

    Raises:
        ConfigError: naming the file, the line, the column and what is allowed.

    """
    if path.suffix.lower() != ".csv":  # also of what a link leads to: a message may quote the first line of the file
        raise ConfigError(str(path), "is not a table of cells; allowed is a .csv file")
    check_regular_file(path, MAX_BYTES)
    positions = {name: array("d") for name in _COORDINATES}
    codes = array("q")
    code_of: dict[str, int] = {}
    for line, cells in _rows(path):
        for name, cell in zip(_COORDINATES, cells, strict=False):
            positions[name].append(_coordinate(path, line, name, cell))
        if not _IDENTIFIER.fullmatch(cells[-1]):
            allowed = "a cell type is a name: letters, digits and _, not beginning with a digit, at most 100"
            raise ConfigError(_place(path, line, "type"), f"{cells[-1][:100]!r} is no name; {allowed}")
        codes.append(code_of.setdefault(cells[-1], len(code_of)))
    if not codes:
        raise ConfigError(str(path), "holds no cells; give one row a cell under the header x,y,z,type")
    x_um, y_um, z_um = (np.array(positions[name], np.float64) for name in _COORDINATES)
    return CellTable(x_um, y_um, z_um, np.array(list(code_of))[np.array(codes, np.int64)])


def check_regular_file(path: Path, max_bytes: int) -> int:
    """The size of a file that is about to be read.

    Raises:
        ConfigError: it is missing, no ordinary file, empty, or larger than allowed.

    """
    try:
        status = path.stat()
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check the path, which is relative to the model file"
        raise ConfigError(str(path), problem) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(str(path), "is not an ordinary file")
    if status.st_size == 0:
        raise ConfigError(str(path), "is empty")
    if status.st_size > max_bytes:
        raise ConfigError(str(path), f"has {status.st_size} bytes; at most {max_bytes} are allowed")
    return status.st_size


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line number and the cells x, y, z, type of each row that is not blank."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            places: list[int] | None = None
            for row in reader:
                line = reader.line_num
                if not any(cell.strip() for cell in row):
                    continue
                if places is None:
                    places = _column_places(path, line, row)
                else:
                    yield line, _pick(path, line, row, places)
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise ConfigError(f"{path}, line {line + 1}", f"is not CSV ({error})") from error
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})") from error


def _column_places(path: Path, line: int, header: Sequence[str]) -> list[int]:
    names = [cell.strip().lower() for cell in header]
    for name in _COLUMNS:
        if names.count(name) != 1:
            problem = f"has {names.count(name)} columns {name!r} in its header {[cell[:40] for cell in header[:20]]}"
            raise ConfigError(f"{path}, line {line}", f"{problem}; needed is one each of x, y, z (in um) and type")
    return [names.index(name) for name in _COLUMNS]


def _pick(path: Path, line: int, row: Sequence[str], places: Sequence[int]) -> list[str]:
    for name, place in zip(_COLUMNS, places, strict=True):
        if place >= len(row):
            raise ConfigError(_place(path, line, name), f"is missing: the row has only {len(row)} values")
    return [row[place].strip() for place in places]


def _coordinate(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    # float() takes 1_000, which no other program writes or means
    if not math.isfinite(value) or "_" in cell:
        raise ConfigError(_place(path, line, name), f"{cell[:40]!r} is not a finite number; allowed is a place in um")
    return value


def _place(path: Path, line: int, column: str) -> str:
    return f"{path}, line {line}, column {column}"
