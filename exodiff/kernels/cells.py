"""Cells that appear in another voxel: division, spawning, filling of empty voxels, motility.

Every voxel with an event picks one empty face neighbour. When several pick the same voxel, the one with the highest
addressed priority gets it; the others try again in the next step. So all voxels act at once, no direction is preferred,
and the result does not depend on any order.
"""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Number, Real
from exodiff.kernels.decomposition import is_split
from exodiff.kernels.neighbours import faces_of, seen_from_faces, shift
from exodiff.kernels.policies import Policy, is_discrete
from exodiff.kernels.random import Stream, to_unit_interval, words
from exodiff.lattice.grid import Grid

_CHOICE, _PRIORITY = 8, 10  # draw numbers


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
    choices, priorities = seen_from_faces(choice, grid), seen_from_faces(priority, grid)
    # who goes in direction k comes from the opposite face: they follow one another in pairs, from 1
    came_from = [(k, (k - 1 ^ 1)) for k in range(1, len(weights) + 1)]
    claims = [jnp.where(choices[face] == k, priorities[face], 0) for k, face in came_from]
    winner = lax.cond(is_tried, _first_of_highest, lambda *_: nothing, *claims)
    return [(won == k).astype(COUNT_DTYPE) for k, won in enumerate(seen_from_faces(winner, grid), 1)]


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


def carrier(
    policy: Policy, flows: Sequence[Number], of: Number, grid: Grid
) -> Callable[[Number], tuple[Number, Number]]:
    """From the molecules in each voxel that cells take along, to those that (leave, enter) each voxel.

    Args:
        policy: discrete or mean.
        flows: cells that leave in each direction.
        of: cells that the molecules are spread over.
        grid: the lattice.

    """
    if not is_discrete(policy) or is_split():

        def by_neighbours(content: Number) -> tuple[Number, Number]:
            loads = [policy.share(content, flow, of) for flow in flows]
            return departures(loads), arrivals(loads, grid)

        return by_neighbours

    # a voxel takes in one cell, so one look where that comes from is enough
    leave, enter = departures(flows), arrivals(flows, grid)
    here = jnp.arange(grid.num_voxels, dtype=COUNT_DTYPE).reshape(grid.shape)
    origin = arrivals([flow.astype(COUNT_DTYPE) * here for flow in flows], grid)

    def by_origin(content: Number) -> tuple[Number, Number]:
        taken = content.reshape(-1).at[origin].get(mode="promise_in_bounds")
        return policy.share(content, leave, of), policy.share(taken, enter, of)

    return by_origin


def chance_of_room(empties: Sequence[Number]) -> Real:
    """Probability that at least one neighbour is empty, for independent occupancies."""
    full = jnp.ones((), empties[0].dtype)
    for empty in empties:
        full = full * (1.0 - empty)
    return 1.0 - full
