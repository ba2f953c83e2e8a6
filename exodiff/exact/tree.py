"""A tree of rates: which voxel has the next event, and when, at a cost that grows with the logarithm of their number.

The leaves are the total rates of the voxels; every node above is the sum of a segment of 32 nodes. Inside a segment
each node gets an exponential clock of its own and the first to ring is chosen (D. T. Gillespie, J. Comput. Phys. 22,
403, 1976, the first-reaction method), so no partial sums are compared and a node is chosen with the right probability
however small its rate is beside the others. The first clock of the top segment is the waiting time. Choosing a
subvolume before a reaction is the idea of J. Elf and M. Ehrenberg (Systems Biology 1, 230, 2004).
"""

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import Bits, Count, Real
from exodiff.kernels.waiting import standard_wait

SEGMENT = 32


@dataclass(frozen=True)
class Level:
    """Where the nodes of one level are in the array of all nodes."""

    offset: int
    size: int


@lru_cache(maxsize=64)
def levels_of(num_voxels: int) -> tuple[Level, ...]:
    """Levels from the leaves to the top segment."""
    levels, offset, nodes = [], 0, num_voxels
    while True:
        size = -(-nodes // SEGMENT) * SEGMENT
        levels.append(Level(offset, size))
        if size == SEGMENT:
            return tuple(levels)
        offset, nodes = offset + size, size // SEGMENT


def build(leaves: Real) -> Array:
    """The nodes over the rates of all voxels, (nodes,)."""
    parts, values = [], leaves
    for level in levels_of(leaves.size):
        parts.append(jnp.pad(values, (0, level.size - values.size)))
        values = jnp.sum(parts[-1].reshape(-1, SEGMENT), -1)
    return jnp.concatenate(parts)


def update(nodes: Array, num_voxels: int, voxel: Count, rate: Real) -> Array:
    """The nodes with another rate of one voxel; the sums above it are taken anew, so no error adds up."""
    levels = levels_of(num_voxels)
    for height, level in enumerate(levels):
        nodes = lax.dynamic_update_index_in_dim(nodes, rate, level.offset + voxel, 0)
        if height + 1 < len(levels):
            voxel = voxel // SEGMENT
            rate = jnp.sum(_segment(nodes, level, voxel))
    return nodes


def num_words(num_voxels: int) -> int:
    """Pairs of random words that :func:`descend` needs."""
    return SEGMENT * len(levels_of(num_voxels))


def descend(nodes: Array, num_voxels: int, words: tuple[Bits, Bits]) -> tuple[Real, Count]:
    """The waiting time to the next event (infinite if there is none), and its voxel."""
    levels = levels_of(num_voxels)
    wait, place = jnp.zeros((), nodes.dtype), jnp.zeros((), jnp.int32)
    clocks = standard_wait(*words).astype(nodes.dtype).reshape(-1, SEGMENT)
    for height in reversed(range(len(levels))):
        rings = clocks[height] / _segment(nodes, levels[height], place)
        if height == len(levels) - 1:
            wait = jnp.min(rings)
        place = place * SEGMENT + first(rings)
    return wait, place


def first(rings: Real) -> Count:
    """Place of the clock that rings first."""
    return jnp.argmin(rings).astype(jnp.int32)


def _segment(nodes: Array, level: Level, segment: Count) -> Real:
    return lax.dynamic_slice_in_dim(nodes, level.offset + segment * SEGMENT, SEGMENT)
