"""Sums over the voxels in each of some bins."""

import jax
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

    def of_column(place: Count, values: Number) -> Array:
        return jnp.zeros((num_bins,), values.dtype).at[place].add(values, mode="drop")

    place = jnp.where(place < 0, num_bins, place)
    columns = by_pieces(jax.vmap(jax.vmap(of_column)), place, values)
    if jnp.issubdtype(values.dtype, jnp.floating):
        return ordered_sum(jnp.moveaxis(columns, -1, 0)[..., None])
    return jnp.sum(columns, (0, 1), dtype=values.dtype)
