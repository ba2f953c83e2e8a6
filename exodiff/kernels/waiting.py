"""Standard exponential waiting times, by a logarithm of a few products: that of XLA on CPU takes four times as long."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Mask, Real

_SHORT = 1.0 - 0.5**0.5  # uniforms below it are waits whose 1 - u is above the root of a half
_ROOT = int(np.float32(0.5**0.5).view(np.int32))
_LARGEST = 1.0 - 2.0**-24
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)


def wait(u: Real) -> Real:
    """Standard exponential waiting time from a float32 in (0, 1]; small ones give short waits, at full resolution.

    Of random words only: it has no derivative.
    """
    u = jnp.minimum(u, jnp.float32(_LARGEST))
    return _minus_log(u, 1.0 - u, u < jnp.float32(_SHORT))


def standard_wait(word: Bits, fine_word: Bits | None = None) -> Real:
    """Standard exponential time from one random word or two, with full relative precision at short and long waits."""
    is_short = word < jnp.asarray(int(_SHORT * 2**32), BITS_DTYPE)
    complement = _fraction(~word, None if fine_word is None else ~fine_word)
    return _minus_log(_fraction(word, fine_word), complement, is_short)


def _minus_log(u: Real, complement: Real, is_short: Mask) -> Real:
    """-log(1 - u) for u in (0, 1), from u and its complement 1 - u.

    Where 1 - u is above the root of a half, its distance to 1 is -u and loses nothing; elsewhere it is m 2^e with m up
    to the root of 2. The logarithm of m is that of Cephes (S. L. Moshier, Methods and Programs for Mathematical
    Functions, 1989; ``logf``).
    """
    bits = lax.bitcast_convert_type(complement, COUNT_DTYPE) - _ROOT
    mantissa = lax.bitcast_convert_type((bits & 0x7F_FFFF) + _ROOT, jnp.float32)
    exponent = jnp.where(is_short, 0.0, (bits >> 23).astype(jnp.float32))
    x = jnp.where(is_short, -u, mantissa - 1.0)
    series = jnp.full_like(x, _LOG[0])
    for coefficient in _LOG[1:]:
        series = series * x + jnp.float32(coefficient)
    square = x * x
    return (0.5 * square - x * square * series) - x - exponent * jnp.float32(np.log(2.0))


def _fraction(word: Bits, fine_word: Bits | None) -> Real:
    """A float32 in (0, 1) from random bits, which keeps its relative precision near 0."""
    fine = jnp.float32(0.5)
    if fine_word is not None:
        fine = (fine_word.astype(jnp.float32) + fine) * jnp.float32(2.0**-32)
    return (word.astype(jnp.float32) + fine) * jnp.float32(2.0**-32)
