"""Cells that appear in another voxel: division, spawning, filling of empty voxels, motility.

Every voxel with an event picks one empty face neighbour. When several pick the same voxel, the one with the highest
addressed priority gets it; the others try again in the next step. So all voxels act at once, no direction is preferred,
and the result does not depend on any order.
"""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Number, Real
from exodiff.kernels.neighbours import FACES, seen_from, shift
from exodiff.kernels.policies import Policy, is_discrete
from exodiff.kernels.random import Stream, to_unit_interval, words
from exodiff.lattice.grid import Grid

_CHOICE, _PRIORITY = 8, 10  # draw numbers


def faces_of(grid: Grid) -> tuple[tuple[int, int], ...]:
    """The (axis, direction) pairs along which the lattice has neighbours."""
    return tuple((axis, step) for axis, step in FACES if grid.shape[axis] > 1)


def empty_neighbours(empty: Number, grid: Grid) -> list[Number]:
    """For each face direction, how empty the neighbour is; 0 beyond a wall."""
    return [seen_from(empty, grid, axis, step) for axis, step in faces_of(grid)]


def to_neighbours(
    policy: Policy, stream: Stream, index: Bits, attempts: Number, weights: Sequence[Real], grid: Grid
) -> list[Number]:
    """Cells that go from each voxel to each face neighbour.

    Args:
        policy: discrete or mean.
        stream: address of the choice and of the priority.
        index: address of each voxel.
        attempts: cells that try to go, 0 or 1 (a real in ``mean_field``).
        weights: for each face direction, the weight of that neighbour; 0 if it is not empty.
        grid: the lattice.

    Returns:
        For each face direction, the cells that leave in it.

    """
    total = sum(weights, start=jnp.zeros_like(weights[0]))
    if not is_discrete(policy):
        return [attempts * w / jnp.where(total > 0, total, 1.0) for w in weights]

    def claimed() -> tuple[Count, Bits]:
        target = to_unit_interval(words(stream, index, _CHOICE)).astype(total.dtype) * total
        # the choice lies in (0, total], so a weight of zero is never chosen
        choice, reached = jnp.zeros(index.shape, COUNT_DTYPE), jnp.zeros_like(total)
        for weight in weights:
            choice = choice + (target > reached).astype(COUNT_DTYPE)
            reached = reached + weight
        choice = jnp.where((attempts > 0) & (target <= reached), choice, 0)
        return choice, words(stream, index, _PRIORITY) | jnp.asarray(1, BITS_DTYPE)

    # a branch is computed once, where the compiler would compute it anew for each neighbour
    is_tried, nothing = jnp.any(attempts > 0), jnp.zeros(index.shape, COUNT_DTYPE)
    choice, priority = lax.cond(is_tried, claimed, lambda: (nothing, nothing.astype(BITS_DTYPE)))
    faces = list(enumerate(faces_of(grid), 1))
    claims = [shift(jnp.where(choice == k, priority, 0), grid, axis, step) for k, (axis, step) in faces]
    winner = lax.cond(is_tried, _first_of_highest, lambda *_: nothing, *claims)
    return [shift((winner == k).astype(COUNT_DTYPE), grid, axis, -step) for k, (axis, step) in faces]


def _first_of_highest(*claims: Bits) -> Count:
    """Which claim on each voxel has the highest priority, from 1 (the first of equals); 0 without any."""
    best = functools.reduce(jnp.maximum, claims)
    winner = jnp.zeros(best.shape, COUNT_DTYPE)
    for number, claim in reversed(list(enumerate(claims, 1))):
        winner = jnp.where((claim == best) & (claim > 0), number, winner)
    return winner


def departures(flows: Sequence[Number]) -> Number:
    """Cells that leave each voxel."""
    return sum(flows, start=jnp.zeros_like(flows[0]))


def arrivals(flows: Sequence[Number], grid: Grid) -> Number:
    """Cells that enter each voxel."""
    moved = [shift(flow, grid, axis, step) for flow, (axis, step) in zip(flows, faces_of(grid), strict=True)]
    return sum(moved, start=jnp.zeros_like(flows[0]))


def carried(policy: Policy, content: Number, flows: Sequence[Number], of: Number, grid: Grid) -> tuple[Number, Number]:
    """Molecules that (leave, enter) each voxel inside cells.

    Args:
        policy: discrete or mean.
        content: molecules in each voxel that the cells which go take along.
        flows: cells that leave in each direction.
        of: cells that ``content`` is spread over.
        grid: the lattice.

    """
    loads = [policy.share(content, flow, of) for flow in flows]
    return departures(loads), arrivals(loads, grid)


def chance_of_room(empties: Sequence[Number]) -> Real:
    """Probability that at least one neighbour is empty, for independent occupancies."""
    full = jnp.ones((), empties[0].dtype)
    for empty in empties:
        full = full * (1.0 - empty)
    return 1.0 - full
