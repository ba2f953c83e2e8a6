"""Values of neighbouring voxels, across the walls of the box."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.kernels.decomposition import moved
from exodiff.lattice.grid import Grid

FACES = tuple((axis, step) for axis in range(3) for step in (-1, 1))


def shift(array: Array, grid: Grid, axis: int, distance: int) -> Array:
    """Move every value by a number of voxels along x, y or z (the last three axes of the array).

    What leaves the box comes back at the other end (periodic) or is gone; zeros enter. What crosses a border between
    lattices is gone too.
    """
    found = moved(array, axis, distance, periodic=grid.is_periodic(axis))
    stretches = grid.stretches(axis)
    if len(stretches) == 1:
        return found
    stays = np.zeros(grid.shape[axis], bool)
    for first, length in stretches:
        stays[first + max(distance, 0) : first + length + min(distance, 0)] = True
    return jnp.where(stays.reshape([-1 if a == axis else 1 for a in range(3)]), found, jnp.zeros((), array.dtype))


def seen_from(array: Array, grid: Grid, axis: int, step: int) -> Array:
    """For each voxel, the value of its neighbour in a direction; zero beyond a wall."""
    return shift(array, grid, axis, -step)


def sum_over_faces(array: Array, grid: Grid) -> Array:
    """For each voxel, the sum over its face neighbours (a periodic axis of two voxels counts both faces)."""
    faces = [seen_from(array, grid, axis, step) for axis, step in FACES if grid.shape[axis] > 1]
    return sum(faces, start=jnp.zeros_like(array))
