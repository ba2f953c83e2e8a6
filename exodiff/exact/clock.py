"""The time and the number of the next event.

Time is a pair of reals, (sum, remainder), so that short waits still count after many events: in float32 the pair holds
48 bits. The number of the event is the address of its random bits. Nothing else is remembered: if the next event lies
beyond the time asked for, it is drawn again from the same address when the simulation goes on, so that chunks, records
and a resume change no bit.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Mask, Precision, Real
from exodiff.kernels.random import Stream, fold, make_stream, site_id

UNLIMITED = 0xFFFF_FFFF  # a budget of events that is not used up
_SHORT = int((1.0 - 0.5**0.5) * 2**32)  # words below it are waits whose 1 - u is above the root of a half
_ROOT = int(np.float32(0.5**0.5).view(np.int32))
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)


class Time(NamedTuple):
    """Seconds as a sum and what rounding took from it."""

    high: Real
    low: Real


def split_time(time_s: float | np.ndarray, precision: Precision) -> Time:
    """A time known in float64 as a pair of reals."""
    high = np.asarray(time_s, precision)
    return Time(jnp.asarray(high), jnp.asarray(np.asarray(time_s, np.float64) - high.astype(np.float64), precision))


def later(time: Time, wait_s: Real) -> Time:
    """The time after a wait, by the error-free sum of D. E. Knuth (The Art of Computer Programming 2, 4.2.2)."""
    total = time.high + wait_s
    back = total - time.high
    error = (time.high - (total - back)) + (wait_s - back)
    low = time.low + error
    high = total + low
    # an endless wait has no remainder, and its error terms are no numbers
    is_endless = ~jnp.isfinite(total)
    return Time(jnp.where(is_endless, total, high), jnp.where(is_endless, 0.0, low - (high - total)))


def is_after(time: Time, other: Time) -> Mask:
    """Whether a time lies beyond another."""
    return jnp.where(time.high == other.high, time.low > other.low, time.high > other.high)


def next_number(number: tuple[Bits, Bits], step: Bits) -> tuple[Bits, Bits]:
    """The number (low, high) of the event after this one; ``step`` is 1, or 0 where nothing happened."""
    low = number[0] + step
    return low, number[1] + (low < step).astype(BITS_DTYPE)


def spend(budget: Bits, used: Bits | int) -> Bits:
    """What is left of a budget of events."""
    return jnp.where(budget == jnp.asarray(UNLIMITED, BITS_DTYPE), budget, budget - jnp.asarray(used, BITS_DTYPE))


def event_stream(seed: Bits, replicate: Bits) -> Stream:
    """Root of the random bits of a replicate's events."""
    return fold(make_stream(seed, replicate), site_id("exact"))


def standard_wait(word: Bits, fine_word: Bits | None = None) -> Real:
    """Standard exponential time from one random word or two, with full relative precision at short and long waits.

    -log(1 - u) with u the uniform in (0, 1). Where 1 - u is above the root of a half, its distance to 1 is -u and loses
    nothing; elsewhere 1 - u comes from the complement of the bits, as m 2^e with m up to the root of 2. The logarithm
    of m is that of Cephes (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989; ``logf``).
    """
    is_short = word < jnp.asarray(_SHORT, BITS_DTYPE)
    bits = lax.bitcast_convert_type(_fraction(~word, None if fine_word is None else ~fine_word), COUNT_DTYPE) - _ROOT
    mantissa = lax.bitcast_convert_type((bits & 0x7F_FFFF) + _ROOT, jnp.float32)
    exponent = jnp.where(is_short, 0.0, (bits >> 23).astype(jnp.float32))
    x = jnp.where(is_short, -_fraction(word, fine_word), mantissa - 1.0)
    series = jnp.full_like(x, _LOG[0])
    for coefficient in _LOG[1:]:
        series = series * x + jnp.float32(coefficient)
    square = x * x
    return (0.5 * square - x * square * series) - x - exponent * jnp.float32(np.log(2.0))


def _fraction(word: Bits, fine_word: Bits | None) -> Array:
    """A float32 in (0, 1) from random bits, which keeps its relative precision near 0."""
    fine = jnp.float32(0.5)
    if fine_word is not None:
        fine = (fine_word.astype(jnp.float32) + fine) * jnp.float32(2.0**-32)
    return (word.astype(jnp.float32) + fine) * jnp.float32(2.0**-32)
