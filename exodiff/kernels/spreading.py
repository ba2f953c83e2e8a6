"""A multinomial number of arrivals in every voxel, exactly, by halving along a tree of their weights."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Number, Real
from exodiff.kernels.decomposition import whole
from exodiff.kernels.policies import Policy
from exodiff.kernels.random import Stream

_LANES = 4096  # nodes of the tree of columns that are halved at once
_LANES_OF_COLUMN = 8


def spread(policy: Policy, stream: Stream, number: int, total: Number, weights: Real) -> Number:
    """How many of ``total`` arrive in each voxel, each there with a probability proportional to the weight.

    A node of the tree holds the weight and the number of the voxels below it, and its number is halved by a binomial;
    the bits are addressed by the node. At first down to columns along z, and then each column by itself. Voxels of
    weight 0 get none. Takes draw ``number`` of the stream.

    Args:
        policy: draws the halves.
        stream: address of the draw.
        number: which draw of this stream.
        total: a whole number below 2^31.
        weights: of each voxel, (x, y, z), not all 0 if there are arrivals.

    """
    weights = weights.astype(jnp.float32)
    of_column = whole(_levels(weights)[-1][..., 0]).reshape(-1)
    root = jnp.asarray(1, BITS_DTYPE)
    in_column = _halved(policy, stream, number, total, of_column, root, _LANES).reshape(*weights.shape[:2], 1)
    columns = jnp.asarray(_num_leaves(of_column.size), BITS_DTYPE) + jnp.arange(of_column.size, dtype=BITS_DTYPE)
    return _halved(policy, stream, number, in_column, weights, columns.reshape(in_column.shape), _LANES_OF_COLUMN)


def _num_leaves(size: int) -> int:
    return max(1 << (size - 1).bit_length(), 2)


def _levels(weights: Real) -> list[Real]:
    """Weights of the leaves of a tree over the last axis, of the nodes above them, ..., of the root."""
    padding = [(0, 0)] * (weights.ndim - 1) + [(0, _num_leaves(weights.shape[-1]) - weights.shape[-1])]
    levels = [jnp.pad(weights, padding)]
    while levels[-1].shape[-1] > 1:
        levels.append(levels[-1][..., ::2] + levels[-1][..., 1::2])
    return levels


def _halved(
    policy: Policy, stream: Stream, number: int, total: Number, weights: Real, root: Bits, lanes: int
) -> Number:
    """How many of a total go to each place of the last axis.

    Args:
        policy: draws the halves.
        stream: address of the draws.
        number: which draw of this stream.
        total: of each tree, with a last axis of length 1 if there are several.
        weights: (..., places).
        root: number of the root of each tree, of the shape of the total; the children of node k are 2 k and 2 k + 1.
        lanes: nodes of a tree that are halved at once.

    """
    levels = _levels(weights)
    trees, leaves, depth = weights.shape[:-1], levels[0].shape[-1], len(levels) - 1
    # places in a tree are those below a root of number 1; there is no place 0
    heap = jnp.concatenate([jnp.zeros((*trees, 1), jnp.float32), *reversed(levels)], -1)
    lanes = min(leaves // 2, lanes)
    parts = [(level, at) for level in range(depth) for at in range(0, 1 << level, lanes)]
    table = jnp.asarray(parts, BITS_DTYPE)
    sizes = jnp.asarray(np.minimum([1 << level for level, _ in parts], lanes), COUNT_DTYPE)
    lane = jnp.arange(lanes, dtype=COUNT_DTYPE)

    def halve(i: Array, numbers: Number) -> Number:
        level, at = table[i]
        start = ((jnp.asarray(1, BITS_DTYPE) << level) + at).astype(COUNT_DTYPE)
        n = jnp.where(lane < sizes[i], lax.dynamic_slice_in_dim(numbers, start, lanes, -1), 0)
        both = lax.dynamic_slice_in_dim(heap, start, lanes, -1)
        first = lax.dynamic_slice_in_dim(heap, 2 * start, 2 * lanes, -1)[..., ::2]
        p = first / jnp.where(both > 0, both, 1.0)
        p = p.astype(n.dtype) if jnp.issubdtype(n.dtype, jnp.floating) else p
        node = (root << level) + at + lane.astype(BITS_DTYPE)
        left = policy.binomial(stream, node, number, n, p)
        children = jnp.stack((left, n - left), -1).reshape(*trees, -1)
        return lax.dynamic_update_slice_in_dim(numbers, children, 2 * start, -1)

    numbers = jnp.zeros((*trees, 2 * leaves), total.dtype).at[..., 1:2].set(total)
    return lax.fori_loop(0, len(parts), halve, numbers)[..., leaves : leaves + weights.shape[-1]]
