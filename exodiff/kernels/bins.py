"""Sums over the voxels in each of some bins."""

import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import Count, Number
from exodiff.kernels.decomposition import by_pieces
from exodiff.kernels.totals import ordered_sum


def bin_sums(place: Count, values: Number, num_bins: int) -> Array:
    """Sum of the values of the voxels in each bin, (bins,); the same bits however the lattice is split.

    Args:
        place: bin of each voxel, (x, y, z); voxels outside of 0 ... bins - 1 are left out.
        values: (x, y, z).
        num_bins: how many bins there are.

    """

    def by_column(place: Count, values: Number) -> Array:
        columns = place.shape[0] * place.shape[1]
        first = (num_bins + 1) * jnp.arange(columns, dtype=place.dtype).reshape(*place.shape[:2], 1)
        where = (first + place).reshape(-1)
        sums = jnp.zeros((columns * (num_bins + 1),), values.dtype)
        sums = sums.at[where].add(values.reshape(-1), mode="promise_in_bounds", wrap_negative_indices=False)
        return sums.reshape(*place.shape[:2], num_bins + 1)[..., :num_bins]

    place = jnp.where((place < 0) | (place > num_bins), num_bins, place)
    columns = by_pieces(by_column, place, values)
    if jnp.issubdtype(values.dtype, jnp.floating):
        return ordered_sum(jnp.moveaxis(columns, -1, 0)[..., None])
    return jnp.sum(columns, (0, 1), dtype=values.dtype)
