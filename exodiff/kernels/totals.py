"""Sums over the lattice that do not depend on how it is split over devices: exact for counts, ordered for reals."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from exodiff.core.arrays import Number, Real
from exodiff.kernels.decomposition import rounded, whole_along_last

_LOW = 0xFFFF
_PARTS = 8  # added at once in a sum of reals
_GROUP = 1 << 15  # sums of this many 16-bit words fit into 32 bits


def _fold(high: Array, low: Array) -> tuple[Array, Array]:
    """Sum of words over the last axis, value = high 2^16 + low with low < 2^16."""
    while low.shape[-1] > 1:
        padding = -low.shape[-1] % _GROUP if low.shape[-1] > _GROUP else 0
        group = min(low.shape[-1] + padding, _GROUP)
        if padding:
            pad = [(0, 0)] * (low.ndim - 1) + [(0, padding)]
            high, low = jnp.pad(high, pad), jnp.pad(low, pad)
        high, low = (a.reshape(*a.shape[:-1], -1, group) for a in (high, low))
        high, low = _sums(high, low)
        high, low = high + (low >> 16), low & _LOW
    return high[..., 0], low[..., 0]


def _sums(high: Array, low: Array) -> tuple[Array, Array]:
    """Sums of both over the last axis, in one pass: XLA on CPU writes down what two reductions read alike."""

    def added(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        return x[0] + y[0], x[1] + y[1]

    zero = jnp.zeros((), jnp.uint32)
    return lax.reduce((high, low), (zero, zero), added, (high.ndim - 1,))


def total(values: Number) -> Array:
    """Sum over the lattice (the last three axes), shape (..., 2).

    Counts (int32, none negative): two words of 32 bits (high, low), value = high 2^32 + low. Reals: (sum, 0).
    """
    if jnp.issubdtype(values.dtype, jnp.floating):
        summed = ordered_sum(values)
        return jnp.stack((summed, jnp.zeros_like(summed)), -1)
    words = values.astype(jnp.uint32)
    high, low = words >> 16, words & _LOW
    for _ in range(3):
        high, low = _fold(high, low)
    return jnp.stack((high >> 16, (high << 16) | low), -1)


def ordered_sum(values: Real) -> Real:
    """Sum over x, y, z, one axis after the other from the last: the same bits however the lattice is split.

    Where it is split each device gets the sums over z of its own x, and then those over y and z of all x.
    """
    values = rounded(values)
    for axes in (3, 2, 1):
        values = _sum_along_last(whole_along_last(values, axes))
    return values


def _sum_along_last(values: Real) -> Real:
    """Sum over the last axis in an order that is written down: that of the compiler depends on what is around it."""
    while (length := values.shape[-1]) > 1:
        num_parts = min(length, _PARTS)
        size = -(-length // num_parts)
        padding = [(0, 0)] * (values.ndim - 1) + [(0, num_parts * size - length)]
        parts = jnp.split(jnp.pad(values, padding), num_parts, -1)
        while len(parts) > 1:
            parts = [sum(parts[i + 1 : i + 2], start=parts[i]) for i in range(0, len(parts), 2)]
        values = lax.optimization_barrier(parts[0])
    return values[..., 0]


def add(accumulator: Array, increment: Array) -> Array:
    """Add two totals: with carry for words, with compensation (W. Kahan, 1965) for reals."""
    if jnp.issubdtype(accumulator.dtype, jnp.floating):
        corrected = increment[..., 0] - accumulator[..., 1]
        summed = accumulator[..., 0] + corrected
        return jnp.stack((summed, (summed - accumulator[..., 0]) - corrected), -1)
    low = accumulator[..., 1] + increment[..., 1]
    carry = (low < increment[..., 1]).astype(low.dtype)
    return jnp.stack((accumulator[..., 0] + increment[..., 0] + carry, low), -1)


def to_real(words: Array, dtype: DTypeLike) -> Array:
    """A total as one real of the given precision; the high word of ``int32`` has a sign."""
    if jnp.issubdtype(words.dtype, jnp.floating):
        return words[..., 0].astype(dtype)
    high, low = words[..., 0].astype(jnp.uint32), words[..., 1].astype(jnp.uint32)
    is_negative = words[..., 0] < 0
    # by its size, so that a small negative number is exact
    high, low = (jnp.where(is_negative, ~word, word) for word in (high, low))
    size = high.astype(dtype) * 2.0**32 + low.astype(dtype)
    return jnp.where(is_negative, -1.0 - size, size)
