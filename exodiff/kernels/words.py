"""Amounts outside the lattice: whole numbers of two words, value = high 2^32 + low modulo 2^64, or compensated reals.

Both have the shape (..., 2), as totals have (:mod:`exodiff.kernels.totals`): words are ``uint32``; reals are a sum and
its compensation. Whole numbers are exact from -2^63 to 2^63 - 1; those that ``leap_st`` holds as reals, up to 2^24 in
float32.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.kernels import totals

_LOW = 0xFFFF
_BITS = 16  # of a limb
_LIMBS = 6  # of a product of 64 and 24 bits
_WORD = 2.0**32


def is_whole(amount: Array) -> bool:
    """Whether an amount is of words."""
    return not jnp.issubdtype(amount.dtype, jnp.floating)


def from_host(values: np.ndarray) -> np.ndarray:
    """Words of whole numbers, shape (..., 2)."""
    whole = np.asarray(values, np.int64)
    return np.stack((whole >> 32 & 0xFFFFFFFF, whole & 0xFFFFFFFF), -1).astype(np.uint32)


def from_count(count: Count) -> Bits:
    """Words of counts, none negative."""
    bits = count.astype(BITS_DTYPE)
    return jnp.stack((jnp.zeros_like(bits), bits), -1)


def signed(amount: Array) -> Array:
    """An amount with its sign: words as ``int32``, of which the high one counts with its sign."""
    return amount.astype(COUNT_DTYPE) if is_whole(amount) else amount


def negated(amount: Array) -> Array:
    """Minus an amount."""
    if not is_whole(amount):
        return -amount
    low = jnp.zeros((), BITS_DTYPE) - amount[..., 1]
    return jnp.stack((jnp.zeros((), BITS_DTYPE) - amount[..., 0] - (low > 0).astype(BITS_DTYPE), low), -1)


def times(amount: Array, factor: int) -> Array:
    """An amount so many times; the factor is from 0 to 2^31 - 1."""
    if not is_whole(amount):
        return amount * factor
    high, low = amount[..., 0] * jnp.asarray(factor, BITS_DTYPE), amount[..., 1]
    above, below = jnp.asarray(factor >> _BITS, BITS_DTYPE), jnp.asarray(factor & _LOW, BITS_DTYPE)
    first, second = (low & _LOW) * below, (low >> _BITS) * below
    third = (low & _LOW) * above
    middle = (first >> _BITS) + (second & _LOW) + (third & _LOW)
    high += (low >> _BITS) * above + (second >> _BITS) + (third >> _BITS) + (middle >> _BITS)
    return jnp.stack((high, (first & _LOW) | (middle << _BITS)), -1)


def from_one(value: Real) -> Array:
    """A real as an amount of reals."""
    return jnp.stack((value, jnp.zeros_like(value)), -1)


def from_whole(amount: Real) -> Bits:
    """Words of an amount of reals that are whole."""
    value = amount[..., 0]
    high = jnp.floor(value / _WORD)
    low = value - high * _WORD
    return jnp.stack((high.astype(COUNT_DTYPE).astype(BITS_DTYPE), low.astype(BITS_DTYPE)), -1)


def is_less(a: Bits, b: Bits) -> Mask:
    """Whether one whole number of at least 0 is below another."""
    return (a[..., 0] < b[..., 0]) | ((a[..., 0] == b[..., 0]) & (a[..., 1] < b[..., 1]))


def scaled(n: Bits, factor: Real) -> tuple[Bits, Real]:
    """Whole part and fraction of n x, exactly, for one n of two words and a float32 0 <= x < 1.

    The fraction is cut to 32 bits.
    """
    mantissa, exponent = jnp.frexp(factor.astype(jnp.float32))
    m = (mantissa * 2.0**24).astype(BITS_DTYPE)
    m0, m1 = m & _LOW, m >> _BITS
    carry, limbs, part = jnp.zeros((), BITS_DTYPE), [], jnp.zeros((), BITS_DTYPE)
    for limb in (n[1] & _LOW, n[1] >> _BITS, n[0] & _LOW, n[0] >> _BITS, jnp.zeros((), BITS_DTYPE)):
        product = limb * m0 + carry
        found = (product & _LOW) + part
        limbs.append(found & _LOW)
        carry, part = (product >> _BITS) + (found >> _BITS), limb * m1
    limbs.append(carry + part)
    shift = 24 - exponent
    zeros = [jnp.zeros((), BITS_DTYPE)] * 3
    table = jnp.stack([*zeros, *limbs, *zeros])
    first, bits = shift // _BITS, (shift % _BITS).astype(BITS_DTYPE)

    def limb_at(place: int) -> Bits:
        """A limb of the shifted product; the fraction has the places below 0."""
        at = jnp.clip(first + place + 3, 0, 3 + _LIMBS)
        return ((table[at] >> bits) | (table[at + 1] << (_BITS - bits))) & _LOW

    fraction = limb_at(-1).astype(jnp.float32) * 2.0**-16 + limb_at(-2).astype(jnp.float32) * 2.0**-32
    high, low = limb_at(2) | (limb_at(3) << _BITS), limb_at(0) | (limb_at(1) << _BITS)
    return jnp.stack((high, low)), fraction


def to_real(amount: Array, dtype: DTypeLike) -> Real:
    """An amount as one real."""
    return totals.to_real(signed(amount), dtype)


def to_host(amount: Array | np.ndarray) -> np.ndarray:
    """Amounts as int64, or reals as float64, on the host."""
    known = np.asarray(amount)
    if known.dtype.kind == "f":
        return known[..., 0].astype(np.float64)
    return known[..., 0].astype(np.int32).astype(np.int64) * (1 << 32) + known[..., 1].astype(np.int64)


def from_real(value: Real) -> Bits:
    """Words of the whole part of a float32 from 0 up to 2^63."""
    return scaled(jnp.asarray((1 << 31, 0), BITS_DTYPE), value * 2.0**-63)[0]
