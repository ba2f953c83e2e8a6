"""The VTKHDF ImageData layout (Kitware, "VTKHDF file format"), as the VTK 9.7 reader wants it.

Voxels are cells, so the extent is the shape and there is one point more along each axis. Arrays are (x, y, z) in
exodiff and [nz, ny, nx] in the file: cell number x + nx (y + ny z). ``Direction`` is required: without it all arrays
vanish from VTK without an error. Booleans are not read by VTK and are stored as bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import h5py
import numpy as np

MAX_VOXELS = 2**32
_SMALL_AXIS = 128
Number = TypeVar("Number", int, float)


class ImageGrid(Protocol):
    """What a file needs to know of the lattice."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        ...

    @property
    def spacing_um(self) -> tuple[float, float, float]:
        """Edge of a voxel along x, y, z."""
        ...


@dataclass(frozen=True)
class StoredGrid:
    """The lattice as a file tells it."""

    shape: tuple[int, int, int]
    spacing_um: tuple[float, float, float]


def write_image_header(file: h5py.File, grid: ImageGrid) -> h5py.Group:
    """Writes the group ``VTKHDF`` with the geometry and returns it."""
    group = file.create_group("VTKHDF")
    nx, ny, nz = grid.shape
    group.attrs["Version"] = np.array([2, 0], np.int64)
    # Older readers want a fixed-length ASCII string.
    group.attrs.create("Type", np.bytes_("ImageData"), dtype=h5py.string_dtype("ascii", len("ImageData")))
    group.attrs["WholeExtent"] = np.array([0, nx, 0, ny, 0, nz], np.int64)
    group.attrs["Origin"] = np.zeros(3)
    group.attrs["Spacing"] = np.array(grid.spacing_um, np.float64)
    group.attrs["Direction"] = np.eye(3).ravel()
    group.create_group("CellData")
    return group


def as_triple(kind: Callable[[Any], Number], values: Sequence[Any]) -> tuple[Number, Number, Number]:
    """One number for each axis, of plain Python type."""
    x, y, z = values
    return kind(x), kind(y), kind(z)


def write_steps(group: h5py.Group, times_s: np.ndarray, entries: dict[str, np.ndarray]) -> None:
    """Writes the times, and for each array which of its entries belongs to which time."""
    steps = group.create_group("Steps")
    steps.create_dataset("Values", data=np.asarray(times_s, np.float64))
    offsets = steps.create_group("CellDataOffsets")
    for name, indices in entries.items():
        offsets.create_dataset(name, data=np.asarray(indices, np.int64))
    # Last, so that a reader never believes in a step that is not there.
    steps.attrs["NSteps"] = np.int64(len(times_s))


def to_vtk_order(values: np.ndarray) -> np.ndarray:
    """(x, y, z) -> contiguous [nz, ny, nx] of a type that VTK reads."""
    plain = values.astype(np.uint8) if values.dtype == np.bool_ else values
    return np.ascontiguousarray(plain.T, plain.dtype.newbyteorder("="))


def from_vtk_order(values: np.ndarray) -> np.ndarray:
    """[nz, ny, nx] -> contiguous (x, y, z)."""
    return np.ascontiguousarray(values.T)


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of 64 voxels an axis, of 32 on small lattices: slices along any axis then read about equally fast."""
    edge = 32 if max(shape) <= _SMALL_AXIS else 64
    return tuple(min(edge, length) for length in shape)


def missing_value(dtype: np.dtype) -> float | int:
    """What VTK shows where a snapshot is missing: NaN, -1, or the largest unsigned number."""
    if dtype.kind == "f":
        return np.nan
    return -1 if dtype.kind == "i" else int(np.iinfo(dtype).max)


def array_name(name: str, replicate: int | None) -> str:
    """The name in VTK, where a dot or slash is not allowed."""
    plain = name.replace(".", "__")
    return plain if replicate is None else f"{plain}__r{replicate}"


def cell_data(file: h5py.File) -> h5py.Group:
    """The group of the arrays."""
    return cast("h5py.Group", file["VTKHDF/CellData"])
