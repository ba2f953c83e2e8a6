"""Diffusion with one diffusivity in a box, and one loss: solved by the modes of each axis, to precondition others.

The 1-D Laplacian of an axis has cosines as eigenvectors between reflecting walls and sines between open ones, with a
quarter of a wave more between unlike ones, and cos + sin on a ring (R. N. Bracewell, J. Opt. Soc. Am. 73, 1832, 1983).
So a box is solved by a small matrix product along each axis, forwards and back. A system with other coefficients is
scaled on both sides to the diagonal of such a box.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from exodiff.core.arrays import Mask, Real
from exodiff.kernels.decomposition import on_whole, rounded
from exodiff.kernels.faces import at_wall
from exodiff.kernels.totals import ordered_sum
from exodiff.lattice.grid import Grid

SHORTEST = 16  # voxels along the longest axis; in smaller boxes the diagonal does as well
MOST_VOXELS = 1 << 21  # 128^3: products cost more with each voxel of an axis, and each device does them all


class Box(NamedTuple):
    """The box that resembles a system.

    Attributes:
        exchange: D / h^2 along each axis, per second.
        loss: per second.
        scale: of each voxel, 0 where it is left out: the system is about that of the box, divided by it on both sides.

    """

    exchange: tuple[Real, Real, Real]
    loss: Real
    scale: Real


def has_use(grid: Grid) -> bool:
    """Whether modes are the faster way on a lattice; told by its shape, so that bits do not depend on its pieces."""
    return max(grid.longest(axis) for axis in range(3)) >= SHORTEST and grid.num_voxels <= MOST_VOXELS


def axis_modes(grid: Grid, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Modes and eigenvalues of an axis, one stretch between walls after the other."""
    modes, eigenvalues = np.zeros((grid.shape[axis],) * 2), np.zeros(grid.shape[axis])
    low, high = (wall in ("absorbing", "fixed") for wall in grid.walls[axis])
    for first, length in grid.stretches(axis):
        place, number = np.arange(length) + 0.5, np.arange(length)
        if grid.is_periodic(axis):
            waves = 2.0 * number / length
            columns = np.cos(np.pi * np.outer(place, waves) - 0.25 * np.pi)
        else:
            waves = (number + 0.5 * (low + high)) / length
            columns = (np.sin if low else np.cos)(np.pi * np.outer(place, waves))
        here = slice(first, first + length)
        modes[here, here] = columns / np.linalg.norm(columns, axis=0)
        eigenvalues[here] = 2.0 - 2.0 * np.cos(np.pi * waves)
    return modes, eigenvalues


def resembling(
    exchange: tuple[Real, Real, Real], outflow: Real, loss: Real, diagonal: Real, is_free: Mask, grid: Grid
) -> Box:
    """The box with the mean coefficients of a system that is scaled by its diagonal.

    Args:
        exchange: with the upper and the lower neighbour together, of each axis.
        outflow: through open walls.
        loss: what else is lost, to voxels with a held value too.
        diagonal: of the system.
        is_free: voxels of the system; the others are left out.
        grid: the lattice.

    """
    weight = jnp.where(is_free, 1.0 / diagonal, 0.0)
    total = ordered_sum(weight)
    means, own = [], jnp.zeros_like(weight)
    through_walls = ordered_sum(weight * outflow)
    for axis in range(3):
        faces, walls = _faces(grid, axis, weight.dtype)
        mean = _ratio(ordered_sum(weight * exchange[axis]), ordered_sum(weight * faces))
        through_walls = through_walls - rounded(mean * ordered_sum(weight * walls))
        own = own + rounded(mean * (faces + walls))
        means.append(mean)
    mean_loss = _ratio(ordered_sum(weight * loss) + jnp.maximum(through_walls, 0.0), total)
    x, y, z = means
    return Box((x, y, z), mean_loss, jnp.where(is_free, jnp.sqrt((own + mean_loss) / diagonal), 0.0))


def solve_box(box: Box, right: Real, grid: Grid) -> Real:
    """About the solution of the system that a box resembles: a symmetric positive matrix times the right side."""
    rates = mode_rates(box.exchange, box.loss, grid)
    inverse = jnp.where(rates > 0, 1.0 / jnp.where(rates > 0, rates, 1.0), 0.0)
    return box.scale * through_modes(box.scale * right, inverse, grid)


def mode_rates(exchange: tuple[Real, Real, Real], loss: Real, grid: Grid) -> Real:
    """The rate at which each mode of a box decays, by D / h^2 of each axis and a loss, per second."""
    eigenvalues = [axis_modes(grid, axis)[1] for axis in range(3)]
    x, y, z = (rounded(d * jnp.asarray(e, d.dtype)) for d, e in zip(exchange, eigenvalues, strict=True))
    return x[:, None, None] + y[:, None] + z + loss


def through_modes(values: Real, factors: Real, grid: Grid) -> Real:
    """Values whose modes are multiplied by a factor each; each device works on the whole lattice."""
    modes = [axis_modes(grid, axis)[0] for axis in range(3)]
    return on_whole(lambda v, f: _times(_times(v, modes) * f, [m.T for m in modes]), values, factors)


def _times(values: Real, matrices: Sequence[np.ndarray]) -> Real:
    """Each axis times its matrix; the axes stay as they lie in memory, as turning them cost more than the products."""
    for axis, matrix in zip("xyz", matrices, strict=True):
        if matrix.shape[0] > 1:
            along = by_replicate(jnp.asarray(matrix, values.dtype), values)
            result = "xyz".replace(axis, "i")
            values = jnp.einsum(f"xyz,{axis}i->{result}", values, along, precision=lax.Precision.HIGHEST)
    return values


def by_replicate(matrix: Real, values: Real) -> Real:
    """A matrix for each of the replicates that ``vmap`` goes through, so that products are made one by one.

    A product with many at once has other bits.
    """
    return matrix + 0.0 * lax.stop_gradient(values[0, 0, 0])


def _faces(grid: Grid, axis: int, dtype: DTypeLike) -> tuple[Real, Real]:
    """Faces to neighbours along an axis, and the diagonal's share of open walls, in units of D / h^2."""
    shape = [1, 1, 1]
    shape[axis] = grid.shape[axis]
    faces, walls = jnp.full(shape, 2.0, dtype), jnp.zeros(shape, dtype)
    for side in (0, 1):
        if not grid.is_periodic(axis) or grid.shape[axis] == 1:
            ends = at_wall(grid, axis, side)
            faces = faces - ends
            walls = walls + 2.0 * ends * (grid.walls[axis][side] in ("absorbing", "fixed"))
    return faces, walls


def _ratio(part: Real, whole: Real) -> Real:
    return part / jnp.where(whole > 0, whole, 1.0)
