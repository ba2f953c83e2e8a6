"""What lies between voxels: diffusivity and velocity at their faces, and how fast molecules cross.

Between two points a distance l apart, where D and the velocity v are constant, a steady flux without reactions is

    J = (D / l) [B(-Pe) c_here - B(Pe) c_there],    Pe = v l / D,    B(x) = x / (exp(x) - 1),

exactly (D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64, 1969). Both terms are positive, so they
are the hop rates of a jump process that has the steady profile of the continuum at the nodes. They add up to
(2 D / l) (Pe/2) coth(Pe/2): a crowd on its way spreads faster than in the continuum by that factor.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.arrays import Real
from exodiff.core.expressions import Call, Name, evaluate, is_zero
from exodiff.kernels.decomposition import ROUNDING, rounded
from exodiff.kernels.neighbours import seen_from
from exodiff.lattice.grid import Grid
from exodiff.problem import Inputs, Problem

_SERIES_BELOW = 0.25  # there the terms up to x^10 are exact to 3e-17, and x / (exp(x) - 1) loses digits of its slope
_UPWIND_ABOVE = 100.0  # Pe from which no molecule goes against the flow: B(100) = 4e-42
MAX_DIVERGENCE = 0.01  # share of the fluid that passes a voxel and may vanish in it, of the fastest on the lattice


def at_wall(grid: Grid, axis: int, side: int) -> Array:
    """Mask of the voxels next to a wall (side 0 low, 1 high), broadcastable on the lattice."""
    shape = [1, 1, 1]
    shape[axis] = grid.shape[axis]
    mask = np.zeros(grid.shape[axis], bool)
    mask[[first + length - 1 if side else first for first, length in grid.stretches(axis)]] = True
    return jnp.asarray(mask.reshape(shape))


def face_diffusivity(diffusivity_um2_per_s: Real, grid: Grid, axis: int, side: int) -> Real:
    """Harmonic mean of D across the face on one side of each voxel; zero at a wall."""
    d = diffusivity_um2_per_s
    other = seen_from(d, grid, axis, 1 if side else -1)
    total = d + other
    return 2.0 * d * other / jnp.where(total > 0, total, 1.0)


def face_velocity(velocity_um_per_s: Real, grid: Grid, axis: int, side: int) -> Real:
    """Velocity along the axis at the face on one side of each voxel, from velocities at the centres.

    The mean of both sides; at an open wall the line through the last two centres; zero at a reflecting wall. Of second
    order in the spacing.
    """
    v, step = velocity_um_per_s, 1 if side else -1
    inner = 0.5 * (v + seen_from(v, grid, axis, step))
    if grid.is_periodic(axis):
        return inner
    wall = jnp.zeros_like(v)
    if grid.walls[axis][side] in ("absorbing", "fixed"):
        wall = v + 0.5 * (v - seen_from(v, grid, axis, -step)) if grid.shape[axis] > 1 else v
    return jnp.where(at_wall(grid, axis, side), wall, inner)


def bernoulli(x: Real) -> Real:
    """The function x / (exp(x) - 1) to the precision of its dtype for any x; differentiable, also at 0."""
    square = jnp.where(jnp.abs(x) < _SERIES_BELOW, x, 0.0) ** 2
    series = square * (1 / 720 - square * (1 / 30240 - square * (1 / 1209600 - square / 47900160)))
    near = 1.0 - 0.5 * x + square * (1 / 12 - series)
    size = jnp.where(jnp.abs(x) < _SERIES_BELOW, 1.0, jnp.abs(x))
    far = -size * jnp.exp(-size) / jnp.expm1(-size)
    return jnp.where(jnp.abs(x) < _SERIES_BELOW, near, jnp.where(x > 0, far, far + size))


def crossing_speed(diffusivity_um2_per_s: Real, velocity_um_per_s: Real, distance_um: float) -> Real:
    """Molecules that cross a gap per second, area and concentration on their side: (D / l) B(-v l / D), in um/s.

    Args:
        diffusivity_um2_per_s: D in the gap; 0 leaves max(v, 0).
        velocity_um_per_s: of the fluid, positive in the direction of the crossing.
        distance_um: length l of the gap.

    """
    d, v = diffusivity_um2_per_s / distance_um, velocity_um_per_s
    is_fitted = jnp.abs(v) <= _UPWIND_ABOVE * d
    peclet = jnp.where(is_fitted, v, 0.0) / jnp.where(is_fitted & (d > 0), d, 1.0)
    return jnp.where(is_fitted, d * bernoulli(-peclet), jnp.maximum(v, 0.0))


def fluid_velocity(problem: Problem, inputs: Inputs, axis: int) -> Real | None:
    """Velocity of the fluid along an axis at the centres of the voxels, or None where none is given.

    One value, or a field of them.
    """
    if not problem.flow or is_zero(problem.flow[axis]):
        return None

    def look_up(node: Name | Call) -> Real:
        assert isinstance(node, Name)
        return inputs.fields[node.name] if node.name in inputs.fields else inputs.parameters[node.name]

    return rounded(jnp.asarray(evaluate(problem.flow[axis], look_up, ROUNDING), problem.precision))


def divergence(velocities_um_per_s: Real, grid: Grid) -> tuple[Real, Real]:
    """What flows out of each voxel less what flows in, per volume and second, and the largest |v| / h at a face.

    Velocities at the centres, (axes, x, y, z).
    """
    total, largest = jnp.zeros_like(velocities_um_per_s[0]), jnp.zeros((), velocities_um_per_s.dtype)
    for axis, v in enumerate(velocities_um_per_s):
        low, high = (face_velocity(v, grid, axis, side) / grid.spacing_um[axis] for side in (0, 1))
        total = total + high - low
        largest = jnp.maximum(largest, jnp.maximum(jnp.max(jnp.abs(low)), jnp.max(jnp.abs(high))))
    return total, largest


def largest_peclet(diffusivity_um2_per_s: Real, velocity_um_per_s: Real, grid: Grid, axis: int) -> Real:
    """Largest |v| h / D over the inner faces of an axis; infinite where there is flow and no diffusion."""
    d = jnp.broadcast_to(diffusivity_um2_per_s, grid.shape)
    v = jnp.abs(face_velocity(jnp.broadcast_to(velocity_um_per_s, grid.shape), grid, axis, 1))
    d = face_diffusivity(d, grid, axis, 1)
    inside = jnp.ones(grid.shape, bool) if grid.is_periodic(axis) else ~at_wall(grid, axis, 1)
    ratio = jnp.where(d > 0, v * grid.spacing_um[axis] / jnp.where(d > 0, d, 1.0), jnp.where(v > 0, jnp.inf, 0.0))
    return jnp.max(jnp.where(inside, ratio, 0.0))


def spreading_excess(peclet: Real) -> Real:
    """Variance of a free walker's displacement over that of the continuum: (Pe / 2) coth(Pe / 2)."""
    half = 0.5 * jnp.abs(peclet)
    return jnp.where(half < 1e-3, 1.0 + half**2 / 3.0, half / jnp.tanh(jnp.where(half > 0, half, 1.0)))
