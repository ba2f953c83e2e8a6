"""Diffusion with one diffusivity in a box, and one loss: exact in time, for any step.

The generators of the axes commute, so the flow of the box is the product of those of its axes. That of one axis is
written in its fluxes, c <- c - div f: with B the differences across faces and W their conductances (1, at an open wall
2, at a reflecting one 0), dc/dt = -r B' W B c, and what crosses the faces in a step is

    f = -G B c,    G = W B M diag((1 - exp(-r lambda)) / lambda^2) M' B' W,    r = D dt / h^2,

with the modes M and eigenvalues lambda of the axis (:mod:`exodiff.kernels.modes`). Nothing is made or lost but by
rounding that has no sign, and one value everywhere stays as it is to the last bit. The matrix of the flow is positive;
rounding can leave -1e-7 of the largest value (float32) where there is nothing.

A source that does not change in the step enters by phi_1(A dt) = (exp(A dt) - 1) / (A dt), mode by mode, exactly too
(S. M. Cox, P. C. Matthews, J. Comput. Phys. 176, 430, 2002, Eq. 4).
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from exodiff.core.arrays import Real
from exodiff.kernels.decomposition import on_whole, rounded
from exodiff.kernels.modes import axis_modes, by_replicate, mode_rates, through_modes
from exodiff.lattice.grid import Grid

Exchange = tuple[Real, Real, Real]
"""D / h^2 along each axis, per second."""
_SERIES_BELOW = 0.01  # there six terms are exact to 2e-16, and the quotient loses digits of its slope


def diffused(value: Real, exchange: Exchange, dt_s: Real, grid: Grid) -> Real:
    """A concentration after diffusion alone, open walls at zero; each device works on the whole lattice."""
    axes = [axis for axis in range(3) if grid.can_hop(axis)]
    laws = [by_replicate(flux_law(exchange[axis] * dt_s, grid, axis), value) for axis in axes]

    def by_axes(value: Real, *laws: Real) -> Real:
        for axis, law in zip(axes, laws, strict=True):
            value = value + _arrivals(value, law, grid, axis)
        return value

    return on_whole(by_axes, value, *laws) if axes else value


def response(source: Real, exchange: Exchange, loss: Real, dt_s: Real, grid: Grid) -> Real:
    """What a constant source, concentration per second, has left after a step of diffusion and loss."""
    x = mode_rates(exchange, loss, grid) * dt_s
    return through_modes(source, dt_s * mean_decay(x), grid)


def mean_decay(x: Real) -> Real:
    """phi_1(-x), the mean of exp(-x t) over t from 0 to 1: (1 - exp(-x)) / x."""
    small = x < _SERIES_BELOW
    near = jnp.where(small, x, 0.0)
    series = 1 - near / 2 * (1 - near / 3 * (1 - near / 4 * (1 - near / 5 * (1 - near / 6))))
    return jnp.where(small, series, -jnp.expm1(-x) / jnp.where(small, 1.0, x))


def relax(loss: Real, source: Real, start: Real, dt_s: Real) -> Real:
    """The exact solution of dc/dt = s - k c after a time; not negative."""
    x = loss * dt_s
    return rounded(start * jnp.exp(-x)) + rounded(source * dt_s * mean_decay(x))


def flux_law(hops: Real, grid: Grid, axis: int) -> Real:
    """G of the module for r = ``hops``: what crosses each face of an axis for each difference across a face."""
    modes, eigenvalues = _face_modes(grid, axis)
    dtype = jnp.result_type(hops)
    rates = jnp.asarray(eigenvalues, dtype)
    of_steps = modes.copy()
    if grid.is_periodic(axis):
        of_steps[[0, -1]] *= 0.5  # seen at both ends
    left = jnp.asarray(modes, dtype) * (hops * mean_decay(hops * rates))
    return jnp.matmul(left, jnp.asarray(of_steps.T, dtype), precision=lax.Precision.HIGHEST)


def _face_modes(grid: Grid, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """W B M of the modes that change in time, each divided by the root of its eigenvalue, and the eigenvalues."""
    modes, eigenvalues = axis_modes(grid, axis)
    beyond = modes[-1:] if grid.is_periodic(axis) else np.zeros((1, len(modes)))
    behind = modes[:1] if grid.is_periodic(axis) else np.zeros((1, len(modes)))
    steps = np.diff(np.concatenate([beyond, modes, behind]), axis=0) * _conductances(grid, axis)[:, None]
    changes = eigenvalues > 1e-12
    return steps[:, changes] / np.sqrt(eigenvalues[changes]), eigenvalues[changes]


def _conductances(grid: Grid, axis: int) -> np.ndarray:
    """Of each face of an axis, the outer ones included; those of a ring are the same one."""
    found = np.ones(grid.shape[axis] + 1)
    if not grid.is_periodic(axis):
        of_wall = [2.0 if wall in ("absorbing", "fixed") else 0.0 for wall in grid.walls[axis]]
        for first, length in grid.stretches(axis):
            found[[first, first + length]] = of_wall
    return found


def _arrivals(value: Real, law: Real, grid: Grid, axis: int) -> Real:
    """What diffusion along an axis brings to each voxel."""
    n, place = grid.shape[axis], value.ndim - 3 + axis
    if grid.is_periodic(axis):
        low, high = (lax.slice_in_dim(value, i, i + 1, axis=place) for i in (n - 1, 0))
    else:
        low = high = jnp.zeros_like(lax.slice_in_dim(value, 0, 1, axis=place))
    padded = lax.concatenate((low, value, high), place)
    steps = lax.slice_in_dim(padded, 1, n + 2, axis=place) - lax.slice_in_dim(padded, 0, n + 1, axis=place)
    inner = "xyz"[axis]
    fluxes = jnp.einsum(f"i{inner},xyz->{'xyz'.replace(inner, 'i')}", law, steps, precision=lax.Precision.HIGHEST)
    fluxes = lax.optimization_barrier(fluxes)
    return lax.slice_in_dim(fluxes, 1, n + 1, axis=place) - lax.slice_in_dim(fluxes, 0, n, axis=place)
