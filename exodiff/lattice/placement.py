"""Filling the lattice with cells, one step after the other."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from exodiff.core.axes import AXES
from exodiff.core.errors import ConfigError
from exodiff.lattice.grid import Grid
from exodiff.lattice.shapes import VoxelMask

EMPTY = -1
CellMap = Int[np.ndarray, "x y z"]  # index of the cell type in each voxel, EMPTY if none


def fill(
    cells: CellMap, mask: VoxelMask, cell_type: int, uniform: np.ndarray, fraction: float, *, replace: bool
) -> CellMap:
    """Put cells of a type into a share of the voxels of a mask.

    Args:
        cells: the map so far.
        mask: where they may go.
        cell_type: index of the type.
        uniform: a random number in (0, 1] for each voxel.
        fraction: share of the voxels to fill.
        replace: whether voxels that have a cell are taken too.

    """
    free = mask & (uniform <= fraction)
    if not replace:
        free = free & (cells == EMPTY)
    return np.where(free, cell_type, cells)


def voxel_of(points_um: np.ndarray, grid: Grid) -> np.ndarray:
    """Index of the voxel that holds each point, (points, 3); a point on a face belongs to the upper voxel."""
    return np.floor(points_um / np.asarray(grid.spacing_um)).astype(int)


def place_points(
    cells: CellMap,
    points_um: np.ndarray,
    cell_types: Sequence[int],
    mask: VoxelMask,
    grid: Grid,
    where: str,
    *,
    replace: bool,
) -> CellMap:
    """Put one cell of a given type at each point of a table.

    Raises:
        ConfigError: for a point outside the lattice, or two points in one voxel.

    """
    voxels = voxel_of(points_um, grid)
    outside = np.any((voxels < 0) | (voxels >= np.asarray(grid.shape)), axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        size = " x ".join(f"{length:g}" for length in grid.size_um)
        raise ConfigError(
            where,
            f"row {row + 2}: the cell at {_point(points_um[row])} um is outside the lattice of {size} um; "
            "move it, or enlarge lattice.shape or lattice.spacing",
        )
    flat: np.ndarray = np.asarray(np.ravel_multi_index(tuple(voxels.T), grid.shape))
    order: np.ndarray = np.argsort(flat, kind="stable")
    doubled = np.flatnonzero(flat[order][1:] == flat[order][:-1])
    if doubled.size:
        first, second = (int(row) for row in np.sort(order[doubled[0] : doubled[0] + 2]))
        voxel = ", ".join(f"{axis} {i}" for axis, i in zip(AXES, voxels[second, :], strict=True))
        raise ConfigError(
            where,
            f"rows {first + 2} and {second + 2}: both cells, at {_point(points_um[first])} and "
            f"{_point(points_um[second])} um, are in voxel ({voxel}); a voxel holds one cell: lower lattice.spacing, "
            "or drop one of them",
        )
    result = cells.copy()
    allowed = mask[tuple(voxels.T)]
    if not replace:
        allowed &= cells[tuple(voxels.T)] == EMPTY
    kept = voxels[allowed]
    result[tuple(kept.T)] = np.asarray(cell_types)[allowed]
    return result


def _point(point_um: np.ndarray) -> str:
    return "(" + ", ".join(f"{c:g}" for c in point_um) + ")"
