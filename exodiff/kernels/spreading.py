"""A multinomial number of arrivals in every voxel, exactly, by halving along a tree of their weights."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Number, Real
from exodiff.kernels.policies import Policy
from exodiff.kernels.random import Stream

_LANES = 4096  # nodes of the tree that are halved at once


def spread(policy: Policy, stream: Stream, number: int, total: Number, weights: Real) -> Number:
    """How many of ``total`` arrive in each voxel, each there with a probability proportional to the weight.

    A node of the tree holds the weight and the number of the voxels below it, and its number is halved by a binomial;
    the bits are addressed by the node. Voxels of weight 0 get none. Takes draw ``number`` of the stream.

    Args:
        policy: draws the halves.
        stream: address of the draw.
        number: which draw of this stream.
        total: a whole number below 2^31.
        weights: of each voxel, of any shape, not all 0 if there are arrivals.

    """
    leaves = max(1 << (weights.size - 1).bit_length(), 2)
    held = jnp.zeros((leaves,), jnp.float32).at[: weights.size].set(weights.reshape(-1).astype(jnp.float32))
    levels = [held]
    while held.size > 1:
        held = held.reshape(-1, 2).sum(1)
        levels.append(held)
    # node k has the children 2 k and 2 k + 1; there is no node 0
    heap = jnp.concatenate([jnp.zeros((1,), jnp.float32), *reversed(levels)])
    lanes = min(leaves // 2, _LANES)
    depth = leaves.bit_length() - 1
    parts = [(1 << level) + at for level in range(depth) for at in range(0, 1 << level, lanes)]
    starts = jnp.asarray(parts, COUNT_DTYPE)
    sizes = jnp.asarray(np.minimum([1 << int(part).bit_length() - 1 for part in parts], lanes), COUNT_DTYPE)
    lane = jnp.arange(lanes, dtype=COUNT_DTYPE)

    def halve(i: Array, numbers: Number) -> Number:
        start = starts[i]
        n = jnp.where(lane < sizes[i], lax.dynamic_slice_in_dim(numbers, start, lanes), 0)
        whole = lax.dynamic_slice_in_dim(heap, start, lanes)
        first = lax.dynamic_slice_in_dim(heap, 2 * start, 2 * lanes)[::2]
        p = first / jnp.where(whole > 0, whole, 1.0)
        p = p.astype(n.dtype) if jnp.issubdtype(n.dtype, jnp.floating) else p
        left = policy.binomial(stream, (start + lane).astype(BITS_DTYPE), number, n, p)
        children = jnp.stack((left, n - left), -1).reshape(-1)
        return lax.dynamic_update_slice_in_dim(numbers, children, 2 * start, 0)

    numbers = jnp.zeros((2 * leaves,), total.dtype).at[1].set(total)
    found = lax.fori_loop(0, len(parts), halve, numbers)[leaves : leaves + weights.size]
    return found.reshape(weights.shape)
