"""Which voxels belong to a shape: those whose centre lies in it. Lengths in um from the lattice's corner."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from exodiff.core.axes import AXES
from exodiff.lattice.grid import Grid

VoxelMask = Bool[np.ndarray, "x y z"]


def centres_um(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of the voxel centres along each axis, shaped to broadcast to (x, y, z)."""
    lines = [(np.arange(n) + 0.5) * h for n, h in zip(grid.shape, grid.spacing_um, strict=True)]
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    return x, y, z


def everywhere(grid: Grid) -> VoxelMask:
    """All voxels."""
    return np.ones(grid.shape, bool)


def point_um(given: Sequence[float] | None, grid: Grid) -> tuple[float, ...]:
    """A point with its missing axes, or all of it, in the middle of the lattice."""
    middle = [0.5 * length for length in grid.size_um]
    return (*(given or ()), *middle[len(given or ()) :])


def sphere(grid: Grid, radius_um: float, centre_um: Sequence[float] | None) -> VoxelMask:
    """Voxels within a distance of a point."""
    square = sum((c - p) ** 2 for c, p in zip(centres_um(grid), point_um(centre_um, grid), strict=True))
    return np.broadcast_to(square <= radius_um**2, grid.shape)


def box(grid: Grid, low_um: Sequence[float], high_um: Sequence[float]) -> VoxelMask:
    """Voxels from one corner up to, not including, the other; axes that are not given are not limited."""
    inside = np.ones((1, 1, 1), bool)
    for centre, low, high in zip(centres_um(grid), low_um, high_um, strict=False):
        inside = inside & (low <= centre) & (centre < high)
    return np.broadcast_to(inside, grid.shape)


def layer(grid: Grid, axis: str, from_um: float, to_um: float) -> VoxelMask:
    """Voxels between two planes across an axis."""
    centre = centres_um(grid)[AXES.index(axis)]
    return np.broadcast_to((from_um <= centre) & (centre < to_um), grid.shape)


def cylinder(grid: Grid, axis: str, radius_um: float, centre_um: Sequence[float] | None) -> VoxelMask:
    """Voxels within a distance of a line along an axis; the centre has the other two axes, or all three."""
    along = AXES.index(axis)
    others = [a for a in range(3) if a != along]
    middle = [0.5 * length for length in grid.size_um]
    if centre_um is None:
        centre = [middle[a] for a in others]
    elif len(centre_um) == 3:
        centre = [centre_um[a] for a in others]
    else:
        centre = [*centre_um, *(middle[a] for a in others[len(centre_um) :])]
    centres = centres_um(grid)
    square = sum((centres[a] - c) ** 2 for a, c in zip(others, centre, strict=True))
    return np.broadcast_to(square <= radius_um**2, grid.shape)


def lines(grid: Grid, axis: str, every_um: float, offset_um: float) -> VoxelMask:
    """Lines of voxels along an axis, on a square grid in the other two: the voxels that hold the grid's points."""
    along = AXES.index(axis)
    inside = np.ones((1, 1, 1), bool)
    for a in (a for a in range(3) if a != along):
        if grid.shape[a] == 1:
            continue
        places = np.arange(offset_um, grid.size_um[a], every_um) // grid.spacing_um[a]
        chosen = np.isin(np.arange(grid.shape[a]), places.astype(int))
        shape = [1, 1, 1]
        shape[a] = grid.shape[a]
        inside = inside & chosen.reshape(shape)
    return np.broadcast_to(inside, grid.shape)
