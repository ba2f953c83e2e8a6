"""What of a lattice is drawn: a plane, a line, or nothing; and the fields of a snapshot on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from exodiff.core.axes import AXES
from exodiff.io.results import SnapshotReader
from exodiff.io.snapshots import FieldArray
from exodiff.io.vtkhdf import StoredGrid

CELLS = "cells"
# Planes with nearly as many cells as the fullest are as good; of these the one nearest to the middle is taken.
_NEARLY = 0.95
_LONG = 2.0


@dataclass(frozen=True)
class Plane:
    """A plane or line of voxels of replicate 0.

    Attributes:
        axes: the axes of the lattice that are drawn, to the right and upwards; one only for a line.
        z_index: of the plane on a lattice of three axes, else 0.
        grid: of the snapshots.
        lattices: names and voxels along x of several lattices side by side; empty for one.

    """

    axes: tuple[int, ...]
    z_index: int
    grid: StoredGrid
    lattices: tuple[tuple[str, int], ...] = ()

    @property
    def size_um(self) -> tuple[float, ...]:
        """Edges of what is drawn."""
        return tuple(self.grid.shape[axis] * self.grid.spacing_um[axis] for axis in self.axes)

    @property
    def borders_um(self) -> tuple[float, ...]:
        """Where along x one lattice ends and the next begins."""
        ends = accumulate(length for _, length in self.lattices[:-1])
        return tuple(end * self.grid.spacing_um[0] for end in ends)

    @property
    def note(self) -> str:
        """Where the plane is, how it lies, and which lattices lie in it."""
        named = f"Lattices along x: {', '.join(name for name, _ in self.lattices)}" if self.borders_um else ""
        return ". ".join(part for part in (self._position, named) if part)

    @property
    def _position(self) -> str:
        if len(self.axes) < 2:
            return ""
        right, up = (AXES[axis] for axis in self.axes)
        where = f"{right} to the right, {up} upwards"
        if self.grid.shape[2] == 1 or 2 in self.axes:
            return f"Axes: {where}"
        return f"Plane z = {(self.z_index + 0.5) * self.grid.spacing_um[2]:.4g} µm ({where})"

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Values of replicate 0 on the plane, (right, up), or on the line."""
        lattice = values[0] if values.ndim == 4 else values
        if len(self.axes) == 1:
            return lattice.reshape(-1)
        others = tuple(axis for axis in range(3) if axis not in self.axes)
        plane = np.take(lattice, self.z_index if others == (2,) else 0, axis=others[0])
        return plane if self.axes[0] < self.axes[1] else plane.T

    def edges_um(self) -> np.ndarray:
        """Edges of the voxels along the first drawn axis."""
        axis = self.axes[0]
        return np.arange(self.grid.shape[axis] + 1) * self.grid.spacing_um[axis]


def choose_plane(
    grid: StoredGrid, cells: np.ndarray | None, lattices: tuple[tuple[str, int], ...] = ()
) -> Plane | None:
    """The plane of a lattice: of three axes the z plane with most cells; None for one voxel.

    A long plane lies, so that it fits a page. Without cells it is the middle one.
    """
    drawn = [axis for axis in range(3) if grid.shape[axis] > 1]
    if not drawn:
        return None
    if len(drawn) == 1:
        return Plane((drawn[0],), 0, grid, lattices)
    right, up = drawn[:2]
    edges = [grid.shape[axis] * grid.spacing_um[axis] for axis in range(3)]
    if edges[up] > _LONG * edges[right]:
        right, up = up, right
    return Plane((right, up), _z_index(grid, cells) if len(drawn) == 3 else 0, grid, lattices)


def _z_index(grid: StoredGrid, cells: np.ndarray | None) -> int:
    middle = grid.shape[2] // 2
    if cells is None:
        return middle
    lattice = cells[0] if cells.ndim == 4 else cells
    number = (lattice >= 0).sum(axis=(0, 1))
    good = np.flatnonzero(number >= _NEARLY * number.max())
    return int(good[np.argmin(np.abs(good - middle))])


def read_field(reader: SnapshotReader, position: int, name: str) -> FieldArray | None:
    """A field at a snapshot, or where it was last written (a static field is written once); None if never."""
    start = position % len(reader)
    for earlier in range(start, -1, -1):
        arrays = [array for array in reader.heads[earlier].arrays.values() if array.name == name]
        if arrays and (earlier == start or arrays[0].is_static):
            return reader.read(earlier, [name]).fields[name]
    return None


def replicate_note(*fields: FieldArray | None) -> str:
    """Which replicate is drawn, where there are several."""
    number = max((field.values.shape[0] for field in fields if field is not None and field.values.ndim == 4), default=1)
    return f"Replicate 0 of {number} (numbered from 0)" if number > 1 else ""


def label_of(legend: Mapping[int, str] | None, index: int) -> str:
    """The name of a cell type."""
    return (legend or {}).get(index, f"type {index}")
