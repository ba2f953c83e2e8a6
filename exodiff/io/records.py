"""Tables that grow by a row: ``observables.csv`` and ``profiles.csv``.

Plain text that survives any kill: a row is appended whole or is the half-written last line, which a resume cuts off
together with the rows after its checkpoint. Numbers are written in the shortest form that reads back to the same bits.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import make_folder, write_text

OBSERVABLES = "observables.csv"
PROFILES = "profiles.csv"
OBSERVABLE_KEYS = ("time_s", "replicate")
PROFILE_COLUMNS = ("time_s", "replicate", "observable", "bin_low", "bin_high", "value")
_INTEGER_COLUMNS = {"replicate"}
_TEXT_COLUMNS = {"observable"}


class RecordWriter:
    """Appends rows to a table; makes it, with its header, when there is none.

    Rows are buffered: they are on the disk after `flush`, which comes before each checkpoint. Times must not go back.

    Raises:
        RunDirectoryError: the table has other columns or a half-written last line, or it cannot be written.

    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)
        if not self.columns or self.columns[0] != "time_s" or len(set(self.columns)) < len(self.columns):
            raise ValueError(f"the columns must differ and begin with time_s: {self.columns}")
        try:
            if not path.exists() or path.stat().st_size == 0:
                make_folder(path.parent)
                write_text(path, _line(self.columns))
            _check_appendable(path, self.columns)
            self._file = open(path, "a", encoding="utf-8", newline="", opener=_not_through_links)  # noqa: SIM115
        except OSError as error:
            raise _unwritable(path, error) from error

    def append(self, row: Sequence[Any]) -> None:
        """Appends one row, of as many values as there are columns."""
        self.append_rows([row])

    def append_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Appends rows. Values are numbers (also of NumPy) or text."""
        lines = [_line([_plain(value) for value in row], len(self.columns)) for row in rows]
        try:
            self._file.writelines(lines)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def flush(self) -> None:
        """Waits until all rows are on the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    @property
    def num_bytes(self) -> int:
        """Size of the table, without rows that are not flushed."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Flushes to the disk and closes; more than once is allowed."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                # After a failed flush this fails too, but it closes; that error is on its way already.
                with suppress(OSError):
                    self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Truncation:
    """What a table holds after `truncate_after`, and how many lines went."""

    rows_kept: int
    lines_dropped: int


def profile_rows(
    time_s: float, replicate: int, observable: str, edges: Sequence[float], values: Sequence[float]
) -> Iterator[tuple[float, int, str, float, float, float]]:
    """The rows of ``profiles.csv`` for one profile or histogram with n values between n + 1 edges."""
    if len(edges) != len(values) + 1:
        raise ValueError(f"{observable}: {len(values)} values need {len(values) + 1} edges, not {len(edges)}")
    for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
        yield time_s, replicate, observable, low, high, value


def truncate_after(path: Path, columns: Sequence[str], time_s: float) -> Truncation:
    """Drops the rows after a time and a half-written end, durably. No file, no rows.

    Raises:
        RunDirectoryError: it has other columns, or an earlier row is damaged; the file is left as it is.

    """
    if not path.exists() or path.stat().st_size == 0:
        return Truncation(0, 0)
    kept_bytes = rows_kept = lines_dropped = 0
    with path.open("rb") as file:
        header = file.readline()
        _refuse_other_columns(path, header, columns)
        kept_bytes = len(header)
        for number, line in enumerate(file, start=2):
            row_time_s = _row_time_s(line, len(columns))
            is_due = row_time_s is not None and row_time_s <= time_s
            if is_due and lines_dropped:
                problem = (
                    f"line {number} of time {row_time_s} s comes after a damaged or later line; it cannot be resumed"
                )
                raise RunDirectoryError(str(path), f"{problem}; restore it, or move it away to begin a new table")
            kept_bytes += len(line) if is_due else 0
            rows_kept, lines_dropped = rows_kept + is_due, lines_dropped + (not is_due)
    if lines_dropped:
        with open(path, "r+b", opener=_not_through_links) as file:
            file.truncate(kept_bytes)
            os.fsync(file.fileno())
    return Truncation(rows_kept, lines_dropped)


def has_rows_after(path: Path, time_s: float) -> bool:
    """Whether a table has a whole row of a later time. No file, no rows."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        num_columns = len(_cells(file.readline()) or ())
        times_s = (_row_time_s(line, num_columns) for line in file)
        return any(found is not None and found > time_s for found in times_s)


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Reads a table for plots: column name -> values; a half-written last line of a running simulation is left out.

    ``replicate`` is int64, ``observable`` text, all else float64.

    Raises:
        RunDirectoryError: there is no such table, or a row is damaged.

    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RunDirectoryError(str(path), f"cannot be read ({error.strerror})") from error
    header = _cells(lines[0]) if lines else None
    if header is None:
        raise RunDirectoryError(str(path), "holds no table: its first line must name the columns")
    rows: list[list[str]] = []
    for number, line in enumerate(lines[1:], start=2):
        if _row_time_s(line, len(header)) is not None:
            rows.append(_cells(line) or [])
        elif number < len(lines) or line.endswith(b"\n"):
            raise RunDirectoryError(str(path), f"line {number} is damaged: expected {len(header)} values")
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    try:
        return {name: np.array(values, _column_type(name)) for name, values in zip(header, columns, strict=True)}
    except ValueError as error:
        raise RunDirectoryError(str(path), f"a value is not a number ({error})") from error


def _column_type(name: str) -> type[np.generic]:
    if name in _TEXT_COLUMNS:
        return np.str_
    return np.int64 if name in _INTEGER_COLUMNS else np.float64


def _plain(value: Any) -> Any:
    # repr of a NumPy scalar is not a number; .item() is exact
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _line(values: Sequence[Any], num_columns: int | None = None) -> str:
    if num_columns is not None and len(values) != num_columns:
        raise ValueError(f"a row of {len(values)} values was given to a table of {num_columns} columns")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _cells(line: bytes) -> list[str] | None:
    """The values in a whole line, or None when it is half-written or not text."""
    if not line.endswith(b"\n"):
        return None
    try:
        return next(csv.reader([line.decode()], strict=True), None)
    except (UnicodeDecodeError, csv.Error):
        return None


def _row_time_s(line: bytes, num_columns: int) -> float | None:
    """The time of a whole row, else None."""
    cells = _cells(line)
    if cells is None or len(cells) != num_columns:
        return None
    try:
        return float(cells[0])
    except ValueError:
        return None


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _check_appendable(path: Path, columns: tuple[str, ...]) -> None:
    with path.open("rb") as file:
        _refuse_other_columns(path, file.readline(), columns)
        file.seek(-1, os.SEEK_END)
        is_whole = file.read(1) == b"\n"
    if not is_whole:
        raise RunDirectoryError(str(path), "ends in a half-written row; `exodiff resume` cuts it off")


def _refuse_other_columns(path: Path, header: bytes, columns: Sequence[str]) -> None:
    found = _cells(header)
    if found != list(columns):
        problem = f"has the columns {found}, this run writes {list(columns)}"
        raise RunDirectoryError(str(path), f"{problem}; move it away, or take the model it was made with")


def _unwritable(path: Path, error: OSError) -> RunDirectoryError:
    advice = "make room or fix the permissions, then `exodiff resume`"
    return RunDirectoryError(str(path), f"could not be written ({error.strerror}); {advice} {path.parent}")
