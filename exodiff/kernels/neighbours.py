"""Values of neighbouring voxels, across the walls of the box."""

import jax.numpy as jnp
from jax import Array, lax

from exodiff.lattice.grid import Grid

FACES = tuple((axis, step) for axis in range(3) for step in (-1, 1))


def shift(array: Array, axis: int, distance: int, *, periodic: bool) -> Array:
    """Move every value by a number of voxels along x, y or z (the last three axes of the array).

    What leaves the box comes back at the other end (periodic) or is gone; zeros enter.
    """
    axis = array.ndim - 3 + axis
    length = array.shape[axis]
    if periodic:
        return jnp.roll(array, distance, axis)
    if abs(distance) >= length:
        return jnp.zeros_like(array)
    low, high = max(distance, 0), max(-distance, 0)
    kept = lax.slice_in_dim(array, high, length - low, axis=axis)
    padding = [(0, 0, 0)] * array.ndim
    padding[axis] = (low, high, 0)
    return lax.pad(kept, jnp.zeros((), array.dtype), padding)


def seen_from(array: Array, grid: Grid, axis: int, step: int) -> Array:
    """For each voxel, the value of its neighbour in a direction; zero beyond a wall."""
    return shift(array, axis, -step, periodic=grid.is_periodic(axis))


def sum_over_faces(array: Array, grid: Grid) -> Array:
    """For each voxel, the sum over its face neighbours (a periodic axis of two voxels counts both faces)."""
    faces = [seen_from(array, grid, axis, step) for axis, step in FACES if grid.shape[axis] > 1]
    return sum(faces, start=jnp.zeros_like(array))
