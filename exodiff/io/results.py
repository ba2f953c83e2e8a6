"""All snapshots of a run as one time series: ``results.vtkhdf`` for ParaView, `SnapshotReader` for plots.

``results.vtkhdf`` holds no data, only virtual datasets over the files in ``snapshots/`` by relative path, so a run
directory may be moved as a whole. It can be written again at any time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import fsync
from exodiff.io.hdf5 import WRITE_ERRORS, create_hdf5
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


class SnapshotReader:
    """The snapshots of a run, in order of time, without the damaged ones.

    Attributes:
        heads: what each holds.
        times_s: (snapshots,).
        problems: one line for each file that cannot be used.

    """

    def __init__(self, run_dir: Path) -> None:
        self.heads, self.problems = _usable_heads(run_dir)
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


def write_master(run_dir: Path) -> MasterReport:
    """Writes ``results.vtkhdf`` over all snapshots, atomically; without a snapshot it removes it.

    An array that is not in every snapshot with one type is left out (it stays in the files): a virtual dataset would
    show made-up values for the missing times.

    Raises:
        RunDirectoryError: it could not be written; the earlier one is untouched.

    """
    path = run_dir / MASTER
    heads, problems = _usable_heads(run_dir)
    if not heads:
        path.unlink(missing_ok=True)
        return MasterReport(path, 0, tuple(problems))
    sources, missing = _sources(heads)
    try:
        with create_hdf5(path) as file:
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
        raise RunDirectoryError(str(path), f"could not be written ({error}); make room and run again") from error
    return MasterReport(path, len(heads), tuple(problems + missing))


def discard_after(run_dir: Path, *, time_s: float | None = None, index: int | None = None) -> list[Path]:
    """Removes the snapshots after a time or an index, for a run that resumes there, and rewrites the master.

    By time, a damaged file goes too when it comes after the last good one that stays: it will be written again.

    Returns:
        What was removed.

    """
    if time_s is not None and index is None:
        heads, _ = _readable_heads(run_dir)
        last = max((index_of(head.path) for head in heads if head.time_s <= time_s), default=-1)
    elif index is not None and time_s is None:
        last = index
    else:
        raise ValueError("give either a time or an index")
    later = [path for path in list_snapshots(run_dir) if index_of(path) > last]
    # From the end, so that a kill in between leaves no gap.
    for path in reversed(later):
        path.unlink(missing_ok=True)
    if later:
        fsync(run_dir / FOLDER)
        write_master(run_dir)
    return later


def _readable_heads(run_dir: Path) -> tuple[list[SnapshotHead], list[str]]:
    heads: list[SnapshotHead] = []
    problems: list[str] = []
    for path in list_snapshots(run_dir):
        try:
            heads.append(read_head(path))
        except UnreadableFileError as damage:
            problems.append(f"{FOLDER}/{path.name}: {damage}")
    return heads, problems


def _usable_heads(run_dir: Path) -> tuple[list[SnapshotHead], list[str]]:
    """Those that make one series: of one lattice, with times that do not go back."""
    usable: list[SnapshotHead] = []
    heads, problems = _readable_heads(run_dir)
    for head in heads:
        if usable and head.grid != usable[0].grid:
            problems.append(f"{FOLDER}/{head.path.name}: its lattice is not that of {usable[0].path.name}")
        elif usable and head.time_s < usable[-1].time_s:
            problems.append(f"{FOLDER}/{head.path.name}: its time is before that of {usable[-1].path.name}")
        else:
            usable.append(head)
    return usable, problems


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
    array: ArrayHead = owners[-1].arrays[name]
    shape = owners[0].grid.shape[::-1]
    layout = h5py.VirtualLayout((len(owners), *shape), array.dtype)
    for step, head in enumerate(owners):
        source = f"{FOLDER}/{head.path.name}"
        layout[step] = h5py.VirtualSource(source, f"VTKHDF/CellData/{name}", shape, array.dtype)
    fill = missing_value(array.dtype)
    dataset = group.create_virtual_dataset(f"CellData/{name}", layout, fillvalue=fill)
    dataset.attrs.update(array_attributes(array))
