"""All snapshots of a run as one time series: ``results.vtkhdf`` for ParaView, `SnapshotReader` for plots.

``results.vtkhdf`` holds no data, only virtual datasets over the files in ``snapshots/`` by relative path, so a run
directory may be moved as a whole. It can be written again at any time.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import h5py
import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import fsync
from exodiff.io.hdf5 import WRITE_ERRORS, Part, create_hdf5, write_virtual
from exodiff.io.pieces import remove_orphans
from exodiff.io.sealed import UnreadableFileError
from exodiff.io.snapshots import (
    FOLDER,
    ArrayHead,
    Snapshot,
    SnapshotHead,
    array_attributes,
    index_of,
    list_snapshots,
    read_head,
    read_snapshot,
)
from exodiff.io.vtkhdf import StoredGrid, missing_value, write_image_header, write_steps

MASTER = "results.vtkhdf"


@dataclass(frozen=True)
class MasterReport:
    """What went into ``results.vtkhdf``, and one line for each file or array that could not."""

    path: Path
    num_steps: int
    left_out: tuple[str, ...]


class Series:
    """The snapshots that make one series: of one lattice, with times that do not go back. Each head is read once.

    Attributes:
        heads: what each holds, in order of time.
        problems: one line for each file that cannot be used.

    """

    def __init__(self, run_dir: Path, last: int | None = None) -> None:
        self.heads: list[SnapshotHead] = []
        self.problems: list[str] = []
        for path in list_snapshots(run_dir):
            if last is None or index_of(path) <= last:
                self.add(path)

    def add(self, path: Path) -> None:
        """Take in the next snapshot, or say why not."""
        try:
            head = read_head(path)
        except UnreadableFileError as damage:
            self._leave_out(path, str(damage))
            return
        if head.missing:
            self._leave_out(path, f"its piece {head.missing[0][:100]} is missing")
        elif self.heads and head.grid != self.heads[0].grid:
            self._leave_out(path, f"its lattice is not that of {self.heads[0].path.name}")
        elif self.heads and head.time_s < self.heads[-1].time_s:
            self._leave_out(path, f"its time is before that of {self.heads[-1].path.name}")
        else:
            self.heads.append(head)

    def _leave_out(self, path: Path, problem: str) -> None:
        self.problems.append(f"{FOLDER}/{path.name}: {problem}")


class SnapshotReader:
    """The snapshots of a run, in order of time, without the damaged ones.

    Attributes:
        heads: what each holds.
        times_s: (snapshots,).
        problems: one line for each file that cannot be used.

    """

    def __init__(self, run_dir: Path) -> None:
        series = Series(run_dir)
        self.heads, self.problems = series.heads, series.problems
        self.times_s = np.array([head.time_s for head in self.heads], np.float64)

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def grid(self) -> StoredGrid:
        """The lattice. There must be a snapshot."""
        return self.heads[0].grid

    @property
    def names(self) -> list[str]:
        """The fields that the run has written."""
        return sorted({array.name for head in self.heads for array in head.arrays.values()})

    def read(self, position: int, names: Collection[str] | None = None) -> Snapshot:
        """Reads the snapshot at a position in `times_s`; negative positions count from the end."""
        return read_snapshot(self.heads[position].path, names)


class Master:
    """``results.vtkhdf`` over all snapshots, written anew and atomically with each one.

    An array that is not in every snapshot with one type is left out (it stays in the files): a virtual dataset would
    show made-up values for the missing times.
    """

    def __init__(self, run_dir: Path, last: int | None = None) -> None:
        """Of the snapshots that are there, up to the one of an index if it is given."""
        self.path = run_dir / MASTER
        self._series = Series(run_dir, last)

    @property
    def problems(self) -> list[str]:
        """One line for each snapshot that is left out."""
        return self._series.problems

    def add(self, path: Path) -> MasterReport:
        """Takes in a snapshot that was just written, and writes the file; arguments and errors as of `write`."""
        self._series.add(path)
        return self.write()

    def write(self) -> MasterReport:
        """Writes the file; without a snapshot it removes it.

        Raises:
            RunDirectoryError: it could not be written; the earlier one is untouched.

        """
        heads, problems = self._series.heads, self._series.problems
        if not heads:
            self.path.unlink(missing_ok=True)
            return MasterReport(self.path, 0, tuple(problems))
        sources, missing = _sources(heads)
        try:
            with create_hdf5(self.path) as file:
                group = write_image_header(file, heads[0].grid)
                times_s = np.array([head.time_s for head in heads])
                for name, owners in sources.items():
                    _write_virtual(group, name, owners)
                entries = {
                    name: np.zeros(len(heads)) if len(owners) < len(heads) else np.arange(len(heads))
                    for name, owners in sources.items()
                }
                write_steps(group, times_s, entries)
        except WRITE_ERRORS as error:
            raise RunDirectoryError(
                str(self.path),
                f"could not be written ({error}); make room or fix the permissions, then `exodiff resume` "
                f"{self.path.parent}",
            ) from error
        return MasterReport(self.path, len(heads), (*problems, *missing))


def discard_after(run_dir: Path, *, time_s: float | None = None, index: int | None = None) -> list[Path]:
    """Removes the snapshots after a time or an index, for a run that resumes there, and rewrites the master.

    By time, a damaged file goes too when it comes after the last good one that stays: it will be written again.

    Returns:
        What was removed.

    """
    if time_s is not None and index is None:
        last = max((index_of(head.path) for head in _readable_heads(run_dir) if head.time_s <= time_s), default=-1)
    elif index is not None and time_s is None:
        last = index
    else:
        raise ValueError("give either a time or an index")
    later = [path for path in list_snapshots(run_dir) if index_of(path) > last]
    if later:
        Master(run_dir, last).write()  # first, so that it shows no file that is gone
    # From the end, so that a kill in between leaves no gap.
    for path in reversed(later):
        path.unlink(missing_ok=True)
    if later:
        fsync(run_dir / FOLDER)
        remove_orphans(run_dir / FOLDER, list_snapshots(run_dir))
    return later


def _readable_heads(run_dir: Path) -> Iterator[SnapshotHead]:
    for path in list_snapshots(run_dir):
        with suppress(UnreadableFileError):
            yield read_head(path)


def _sources(heads: list[SnapshotHead]) -> tuple[dict[str, list[SnapshotHead]], list[str]]:
    """Which files each array comes from: all, or one for a static array; and what cannot be shown."""
    sources: dict[str, list[SnapshotHead]] = {}
    missing: list[str] = []
    for name in sorted({name for head in heads for name in head.arrays}):
        owners = [head for head in heads if name in head.arrays]
        arrays = [head.arrays[name] for head in owners]
        if all(array.is_static for array in arrays):
            sources[name] = owners[:1]
        elif len(owners) < len(heads) or len({array.dtype for array in arrays}) > 1:
            missing.append(f"array {name}: not in every snapshot with one type")
        else:
            sources[name] = owners
    return sources, missing


def _write_virtual(group: h5py.Group, name: str, owners: list[SnapshotHead]) -> None:
    """One entry a file."""
    array: ArrayHead = owners[-1].arrays[name]
    shape = owners[0].grid.shape[::-1]
    parts = [
        Part(f"{FOLDER}/{head.path.name}", f"VTKHDF/CellData/{name}", (step, 0, 0, 0), shape)
        for step, head in enumerate(owners)
    ]
    cells = cast("h5py.Group", group["CellData"])
    whole = (len(owners), *shape)
    dataset = write_virtual(cells, name, array.dtype, whole, parts, missing_value(array.dtype))
    dataset.attrs.update(array_attributes(array))
