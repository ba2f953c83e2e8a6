"""Exact totals of counts: sums that do not fit into 32 bits, as two words."""

import jax.numpy as jnp
from jax import Array

_LOW = 0xFFFF
_GROUP = 1 << 15  # sums of this many 16-bit words fit into 32 bits


def _fold(words: Array) -> tuple[Array, Array]:
    """Sum of uint32 words over the last axis as (high, low), value = high 2^16 + low with low < 2^16."""
    high, low = jnp.zeros_like(words), words
    while low.shape[-1] > 1:
        padding = -low.shape[-1] % _GROUP if low.shape[-1] > _GROUP else 0
        pad = [(0, 0)] * (low.ndim - 1) + [(0, padding)]
        group = min(low.shape[-1] + padding, _GROUP)
        high, low = (jnp.pad(a, pad).reshape(*a.shape[:-1], -1, group) for a in (high + (low >> 16), low & _LOW))
        high, low = jnp.sum(high, -1, dtype=jnp.uint32), jnp.sum(low, -1, dtype=jnp.uint32)
    high, low = high[..., 0], low[..., 0]
    return high + (low >> 16), low & _LOW


def total(values: Array) -> Array:
    """Sum over the lattice (the last three axes), shape (..., 2).

    Counts (int32, none negative): (high, low), value = high 2^16 + low, exact below 2^48. Reals: (sum, 0).
    """
    flat = values.reshape(*values.shape[:-3], -1)
    if jnp.issubdtype(values.dtype, jnp.floating):
        summed = jnp.sum(flat, -1)
        return jnp.stack((summed, jnp.zeros_like(summed)), -1)
    return jnp.stack(_fold(flat.astype(jnp.uint32)), -1)


def add(accumulator: Array, increment: Array) -> Array:
    """Add two totals: with carry for words, with compensation (W. Kahan, 1965) for reals."""
    if jnp.issubdtype(accumulator.dtype, jnp.floating):
        corrected = increment[..., 0] - accumulator[..., 1]
        summed = accumulator[..., 0] + corrected
        return jnp.stack((summed, (summed - accumulator[..., 0]) - corrected), -1)
    low = accumulator[..., 1] + increment[..., 1]
    return jnp.stack((accumulator[..., 0] + increment[..., 0] + (low >> 16), low & _LOW), -1)


def to_real(words: Array, dtype: str) -> Array:
    """A total as one real of the given precision."""
    if jnp.issubdtype(words.dtype, jnp.floating):
        return words[..., 0].astype(dtype)
    return words[..., 0].astype(dtype) * 65536.0 + words[..., 1].astype(dtype)
