"""Hops between neighbouring voxels, one axis at a time.

The lattice master equation of one axis, dP/dt = A P with hop rates w across each face, is advanced by the second-order
transition matrix I + dt A + dt^2 A^2 / 2: a molecule moves by at most two voxels. The axis generators of a homogeneous
box commute, so splitting by axis is exact there. All transition probabilities are positive for r = w dt <= 1/3.

An absorbing or fixed wall has its value on the wall's face, half a voxel away: hop rate 2 D / h^2. Rates across faces
between unlike voxels use the harmonic mean of D (S. V. Patankar, "Numerical Heat Transfer and Fluid Flow", 1980).

Where the fluid flows, the rates up and down differ (:mod:`exodiff.kernels.faces`), and r is half their sum across a
face, or half the rate out through an open wall. A hop to the next voxel, out of i through a face to j, has the
probability w_ij dt (1 - (w_i + w_j) dt / 2), w_i all that leaves i along the axis. Of the four rates in w_i + w_j two
belong to the face between and two to the faces behind, so w_i + w_j <= 6 r / dt <= 2 / dt for r <= 1/3, whatever the
flow.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Bits, Count, Number, Real
from exodiff.kernels.decomposition import is_split_along, rounded
from exodiff.kernels.faces import at_wall, crossing_speed, face_diffusivity, face_velocity
from exodiff.kernels.hopping import (
    FAR,
    FAR_UP,
    MOVES,
    UP,
    Collect,
    EvenHop,
    Flows,
    Place,
    byte_of,
    drawn_gain,
    unpacked,
)
from exodiff.kernels.neighbours import seen_from, shift
from exodiff.kernels.policies import Discrete, Policy, Score, StraightThrough
from exodiff.kernels.random import Stream
from exodiff.lattice.grid import Grid

MAX_HOPS_PER_STEP = 1.0 / 3.0  # r = D dt / h^2 above which a transition probability can be negative
AUTO_HOPS_PER_STEP = 1.0 / 4.0  # r that the automatic step keeps to
_DISTANCES = (-2, -1, 1, 2)  # of the four flows
_MOST_VOXELS = 2  # that a molecule moves


class HopRates(NamedTuple):
    """Hops per second from each voxel to its lower and upper neighbour along one axis."""

    down: Real
    up: Real


class Transition(NamedTuple):
    """The law of a molecule's displacement along one axis, as a cascade of binary choices.

    Attributes:
        moves: probability to leave the voxel.
        goes_up: probability that a mover goes up.
        far_up, far_down: probability that an upward (downward) mover goes two voxels.

    """

    moves: Real
    goes_up: Real
    far_up: Real
    far_down: Real


def hop_rates(diffusivity_um2_per_s: Real, grid: Grid, axis: int, velocity_um_per_s: Real | None = None) -> HopRates:
    """Hop rates along an axis, with the walls built in.

    For one diffusivity (and velocity), one value for each place along the axis, e.g. (x, 1, 1); for a field of them,
    (x, y, z).
    """
    d, v = _along(diffusivity_um2_per_s, velocity_um_per_s, grid, axis)
    h = grid.spacing_um[axis]
    rates = []
    for side, step in enumerate((-1, 1)):
        is_open = grid.walls[axis][side] in ("absorbing", "fixed")
        inner = face_diffusivity(d, grid, axis, side)
        if v is None:
            inner = inner * (1.0 / h**2)
            wall = 2.0 * d * (1.0 / h**2) if is_open else jnp.zeros_like(d)
        else:
            outwards = step * face_velocity(v, grid, axis, side)
            inner = crossing_speed(inner, outwards, h) / h
            wall = crossing_speed(d, outwards, 0.5 * h) / h if is_open else jnp.zeros_like(d)
        rates.append(inner if grid.is_periodic(axis) else jnp.where(at_wall(grid, axis, side), wall, inner))
    return HopRates(*rates)


def _along(d: Real, v: Real | None, grid: Grid, axis: int) -> tuple[Real, Real | None]:
    """Diffusivity and velocity as fields, or by their place along the axis if neither is one."""
    is_field = jnp.ndim(d) or jnp.ndim(v) if v is not None else jnp.ndim(d)
    shape = grid.shape if is_field else tuple(n if a == axis else 1 for a, n in enumerate(grid.shape))
    return jnp.broadcast_to(d, shape), None if v is None else jnp.broadcast_to(v, shape)


def entry_rate(
    rates: HopRates,
    diffusivity_um2_per_s: Real,
    grid: Grid,
    axis: int,
    side: int,
    velocity_um_per_s: Real | None = None,
) -> Real:
    """Molecules that enter through an open wall a second, for each that a voxel at the wall's concentration would hold.

    Only the values next to the wall have a meaning. Without flow as many enter as leave; ``rates`` are then returned.
    """
    d, v = _along(diffusivity_um2_per_s, velocity_um_per_s, grid, axis)
    if v is None:
        return rates.up if side else rates.down
    h = grid.spacing_um[axis]
    inwards = (-1 if side else 1) * face_velocity(v, grid, axis, side)
    return crossing_speed(d, inwards, 0.5 * h) / h


def transition(rates: HopRates, dt_s: Real, grid: Grid, axis: int) -> Transition:
    """Second-order transition probabilities of one step from the hop rates."""
    down, up = rounded(rates.down * dt_s), rounded(rates.up * dt_s)
    out = down + up
    # beyond an open wall nothing comes back, so a lost molecule has no second hop
    next_up, next_down = seen_from(up, grid, axis, 1), seen_from(down, grid, axis, -1)
    out_above, out_below = seen_from(out, grid, axis, 1), seen_from(out, grid, axis, -1)
    two_up, two_down = rounded(0.5 * up * next_up), rounded(0.5 * down * next_down)
    one_up = up - rounded(0.5 * up * (out + out_above))
    one_down = down - rounded(0.5 * down * (out + out_below))
    all_up, all_down = one_up + two_up, one_down + two_down
    moves = all_up + all_down
    return Transition(
        jnp.clip(moves, 0.0, 1.0), _share(all_up, moves), _share(two_up, all_up), _share(two_down, all_down)
    )


def _share(part: Real, whole: Real) -> Real:
    return jnp.clip(part / jnp.where(whole > 0, whole, 1.0), 0.0, 1.0)


def hop_flows(policy: Policy, stream: Stream, index: Bits, n: Number, law: Transition) -> Flows:
    """Numbers that move by -2, -1, +1, +2 voxels: one multinomial draw as four binomials."""
    movers = policy.binomial(stream, index, 0, n, law.moves)
    up = policy.binomial(stream, index, 1, movers, law.goes_up)
    down = movers - up
    far_up = policy.binomial(stream, index, 2, up, law.far_up)
    far_down = policy.binomial(stream, index, 3, down, law.far_down)
    return far_down, down - far_down, up - far_up, far_up


def even_hop_gain(
    policy: Policy, stream: Stream, index: Bits, n: Number, law: EvenHop, place: Place, collect: Collect
) -> Number:
    """Net gain of each voxel by hops with one diffusivity and no open wall: one law everywhere, both ways alike.

    The law is that of the infinite lattice; :func:`net_gain`, which ``collect`` does for the axis at the place, folds
    what crosses a reflecting wall back by mirror images, which is exact.
    """
    if isinstance(policy, Discrete):
        return drawn_gain(stream, index, n, law, jnp.asarray(place), collect)
    flows = policy.even_hops if isinstance(policy, StraightThrough | Score) else partial(even_hop_flows, policy)
    return collect.of_flows(flows(stream, index, n, law), place)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def even_mean_gain(n: Real, hops_per_step: Real, grid: Grid, axis: int) -> Real:
    """As :func:`even_hop_gain` in the mean, in fluxes: nothing is made or lost but by rounding.

    By layers (as :func:`_gain_of_layers`) or, where these cannot be cut, by shifts: the same sum in each voxel, so that
    it has the same bits in pieces. Derivatives are those by shifts: reverse mode through slices took four times longer.
    """
    by_layers = _can_be_cut(n, grid, axis)
    return _gain_of_fluxes(n, hops_per_step, grid, axis, by_layers=by_layers)


@even_mean_gain.defjvp
def _(grid: Grid, axis: int, primals: tuple[Real, Real], tangents: tuple[Real, Real]) -> tuple[Real, Real]:  # pyright: ignore[reportUnusedFunction]
    by_shifts = partial(_gain_of_fluxes, grid=grid, axis=axis, by_layers=False)
    return even_mean_gain(*primals, grid, axis), jax.jvp(by_shifts, primals, tangents)[1]


def _gain_of_fluxes(n: Real, hops_per_step: Real, grid: Grid, axis: int, *, by_layers: bool) -> Real:
    """Net gain where one (n_0 - n_1) + two (n_0 - n_2 + n_-1 - n_1) cross a face; beyond walls are mirror images."""
    one, two = hops_per_step - 2.0 * hops_per_step**2, 0.5 * hops_per_step**2

    def gain(below: tuple[Real, Real], here: Real, above: tuple[Real, Real]) -> Real:
        crossing = below[0] - above[0]
        up = rounded(one * (here - above[0])) + rounded(two * ((here - above[1]) + crossing))
        down = rounded(one * (below[0] - here)) + rounded(two * (crossing + (below[1] - here)))
        return down - up

    if not by_layers:
        low, high = (_two_neighbours(n, grid, axis, side) for side in (0, 1))
        return gain(low, n, high)

    def of_layers(first: int, length: int, low: int, high: int) -> Real:
        def at(distance: int) -> Real:
            origin, end = low + distance, high + distance
            if origin < 0 or end > length:
                image = -1 - origin if origin < 0 else 2 * length - 1 - origin
                origin = origin % length if grid.is_periodic(axis) else image
                end = origin + 1
            return _layers(n, axis, first + origin, first + end)

        return gain((at(-1), at(-2)), at(0), (at(1), at(2)))

    return _by_layers(of_layers, n.ndim, grid, axis)


def _two_neighbours(n: Real, grid: Grid, axis: int, side: int) -> tuple[Real, Real]:
    """Values of the next voxel and of the one behind it; beyond a wall those of their mirror images."""
    step = 1 if side else -1
    near, far = seen_from(n, grid, axis, step), shift(n, grid, axis, -2 * step)
    if grid.is_periodic(axis):
        return near, far
    last, before, single = np.zeros((3, grid.shape[axis]), bool)
    for first, length in grid.stretches(axis):
        end = first + length - 1 if side else first
        last[end], single[end] = True, length == 1
        if length > 1:
            before[end - step] = True
    shape = [-1 if a == axis else 1 for a in range(3)]
    last, before = last.reshape(shape), before.reshape(shape)
    behind_wall = jnp.where(single.reshape(shape), n, seen_from(n, grid, axis, -step))
    return jnp.where(last, n, near), jnp.where(last, behind_wall, jnp.where(before, near, far))


def even_hop_flows(policy: Policy, stream: Stream, index: Bits, n: Number, law: EvenHop) -> Flows:
    """As :func:`hop_flows` for one law everywhere: two binomials and two fair halves."""
    movers = policy.binomial(stream, index, MOVES, n, jnp.broadcast_to(law.moves, n.shape))
    far = policy.binomial(stream, index, FAR, movers, jnp.broadcast_to(law.far, n.shape))
    near = movers - far
    up, far_up = policy.half(stream, index, UP, near), policy.half(stream, index, FAR_UP, far)
    return far - far_up, near - up, up, far_up


def net_gain(flows: Flows, grid: Grid, axis: int) -> Number:
    """Arrivals less departures in each voxel.

    At a periodic wall flows go round, at a reflecting one they are mirrored, and what leaves through an open wall is
    gone.
    """
    far_down, down, up, far_up = flows
    if jnp.issubdtype(up.dtype, jnp.integer) and _can_be_cut(up, grid, axis):
        return _gain_of_layers(lambda place, low, high: _layers(flows[place], axis, low, high), up.ndim, grid, axis)
    rising = shift(up + shift(far_up, grid, axis, 1), grid, axis, 1)
    falling = shift(down + shift(far_down, grid, axis, -1), grid, axis, -1)
    gain = rising + falling - (far_down + down + up + far_up)
    for side, one, two in ((0, down, far_down), (1, up, far_up)):
        if grid.walls[axis][side] == "reflecting":
            gain = gain + _mirrored(one, two, grid, axis, side)
    return gain


def net_gain_of_words(words: Count, grid: Grid, axis: int) -> Count:
    """As :func:`net_gain`, of the four flows in the bytes of a word."""
    if not _can_be_cut(words, grid, axis):
        return net_gain(unpacked(words), grid, axis)
    return _gain_of_layers(
        lambda place, low, high: byte_of(_layers(words, axis, low, high), place), words.ndim, grid, axis
    )


def _can_be_cut(array: Array, grid: Grid, axis: int) -> bool:
    shortest = min(length for _, length in grid.stretches(axis))
    return shortest >= 2 * _MOST_VOXELS and not is_split_along(array, axis)


def _layers(array: Array, axis: int, low: int, high: int) -> Array:
    return lax.slice_in_dim(array, low, high, axis=array.ndim - 3 + axis)


def _gain_of_layers(flow: Callable[[int, int, int], Count], ndim: int, grid: Grid, axis: int) -> Count:
    """Net gain by layers: one pass over the lattice away from walls; the two layers next to a wall are by themselves.

    A compiler on CPU reads what is padded or rolled value by value, and what is cut out as whole rows. Of whole numbers
    only: sums of reals would depend on how the lattice is split.

    Args:
        flow: from which of the four, and its first and last layer, to the numbers.
        ndim: axes of the numbers, of which x, y, z are the last.
        grid: the lattice.
        axis: along which they move.

    """

    def gain(first: int, length: int, low: int, high: int) -> Count:
        found = -sum((flow(place, first + low, first + high) for place in range(4)), start=jnp.zeros((), COUNT_DTYPE))
        for place, distance in enumerate(_DISTANCES):
            origin = low - distance
            side = 0 if origin < 0 else 1
            if 0 <= origin <= length - (high - low):
                found = found + flow(place, first + origin, first + origin + high - low)
            elif grid.is_periodic(axis):
                found = found + flow(place, origin % length, origin % length + 1)
            elif grid.walls[axis][side] == "reflecting":
                image = first + (2 * length - 1 - origin if side else -1 - origin)
                found = found + flow(3 - place, image, image + 1)
        return found

    return _by_layers(gain, ndim, grid, axis)


def _by_layers(gain: Callable[[int, int, int, int], Number], ndim: int, grid: Grid, axis: int) -> Number:
    """The layers next to walls one by one, those between at once; ``gain`` takes first voxel, length, and a range."""
    parts = []
    for first, length in grid.stretches(axis):
        near_low, near_high = range(_MOST_VOXELS), range(length - _MOST_VOXELS, length)
        parts += [gain(first, length, i, i + 1) for i in near_low]
        parts.append(gain(first, length, _MOST_VOXELS, length - _MOST_VOXELS))
        parts += [gain(first, length, i, i + 1) for i in near_high]
    return lax.concatenate(parts, ndim - 3 + axis)


def _mirrored(one: Number, two: Number, grid: Grid, axis: int, side: int) -> Number:
    """What comes back from a reflecting wall, of the flows towards it by one voxel and by two.

    Beyond voxels 0 and 1 at the wall, -1 is the image of 0 and -2 that of 1. In a single voxel everything stays.
    """
    first, second, single = np.zeros((3, grid.shape[axis]), bool)
    for begin, length in grid.stretches(axis):
        place, inwards = (begin + length - 1, -1) if side else (begin, 1)
        first[place], single[place] = True, length == 1
        if length > 1:
            second[place + inwards] = True
    outwards = 1 if side else -1
    parts = ((first, one), (first, shift(two, grid, axis, outwards)), (second, shift(two, grid, axis, -outwards)))
    if single.any():
        parts += ((single, two),)
    shape = [-1 if a == axis else 1 for a in range(3)]
    return sum((jnp.where(mask.reshape(shape), flow, 0) for mask, flow in parts), start=jnp.zeros_like(one))


def injection(rates: HopRates, entry_per_s: Real, outside: Real, dt_s: Real, grid: Grid, axis: int, side: int) -> Real:
    """Mean number of molecules that enter through a fixed wall in one step and where they are at its end.

    Args:
        rates: hop rates of the species along the axis.
        entry_per_s: from :func:`entry_rate`.
        outside: molecules that a voxel at the wall's concentration would hold.
        dt_s: the step.
        grid: the lattice.
        axis: the axis of the wall.
        side: 0 for the low wall, 1 for the high one.

    Returns:
        Means, (x, y, z): the second-order integral of the source over the step, so that a lattice at the wall's
        concentration keeps it.

    """
    through = entry_per_s * dt_s
    entering = jnp.where(at_wall(grid, axis, side), through * outside, 0.0)
    inward = (rates.down if side else rates.up) * dt_s
    out = (rates.down + rates.up) * dt_s
    deeper = shift(0.5 * entering * inward, grid, axis, -1 if side else 1)
    return entering * (1.0 - 0.5 * out) + deeper


def largest_hops(
    diffusivity_um2_per_s: Real, grid: Grid, velocities_um_per_s: tuple[Real | None, ...] = (None, None, None)
) -> Real:
    """Largest r of a step of one second: times the step, the r that the step's limits speak of.

    D / h^2 along an axis without flow. With flow, half the sum of the rates up and down across a face, which is
    D / h^2 (Pe/2) coth(Pe/2), and half the rate out through an open wall.
    """
    axes = [axis for axis in range(3) if grid.can_hop(axis)]
    still = [axis for axis in axes if velocities_um_per_s[axis] is None]
    largest = jnp.max(diffusivity_um2_per_s) * max((grid.spacing_um[a] ** -2 for a in still), default=0.0)
    for axis in (a for a in axes if a not in still):
        down, up = hop_rates(diffusivity_um2_per_s, grid, axis, velocities_um_per_s[axis])
        above, below = seen_from(down, grid, axis, 1), seen_from(up, grid, axis, -1)
        largest = jnp.maximum(largest, 0.5 * jnp.maximum(jnp.max(up + above), jnp.max(down + below)))
    return largest
