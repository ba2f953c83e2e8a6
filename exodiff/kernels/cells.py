"""Cells that appear in another voxel: division, spawning, filling of empty voxels, motility.

Every voxel with an event picks one empty face neighbour. When several pick the same voxel, the one with the highest
addressed priority gets it; the others try again in the next step. So all voxels act at once, no direction is preferred,
and the result does not depend on any order.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Bits, Number, Real
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

    def drawn() -> tuple[Bits, Bits]:
        return words(stream, index, _CHOICE), words(stream, index, _PRIORITY) | jnp.asarray(1, BITS_DTYPE)

    # a branch is computed once, where the compiler would draw anew for each neighbour
    nothing = jnp.ones(index.shape, BITS_DTYPE)
    choice, priority = lax.cond(jnp.any(attempts > 0), drawn, lambda: (nothing, nothing))
    target = to_unit_interval(choice).astype(total.dtype) * total
    reached, chosen = jnp.zeros_like(total), []
    for weight in weights:
        # the choice lies in (0, total], so a weight of zero is never chosen
        chosen.append((attempts > 0) & (reached < target) & (target <= reached + weight))
        reached = reached + weight
    return _settle(chosen, priority, grid)


def _settle(chosen: Sequence[Array], priority: Bits, grid: Grid) -> list[Array]:
    """Of the claims on each voxel, keep the one with the highest priority (the first of equals)."""
    claims = [
        shift(jnp.where(picked, priority, 0), grid, axis, step)
        for picked, (axis, step) in zip(chosen, faces_of(grid), strict=True)
    ]
    best = claims[0]
    for claim in claims[1:]:
        best = jnp.maximum(best, claim)
    taken = jnp.zeros(best.shape, bool)
    flows = []
    for claim, (axis, step) in zip(claims, faces_of(grid), strict=True):
        wins = (claim == best) & (claim > 0) & ~taken
        taken = taken | wins
        flows.append(shift(wins.astype(jnp.int32), grid, axis, -step))
    return flows


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
