"""The time and the number of the next event.

Time is a pair of reals, (sum, remainder), so that short waits still count after many events: in float32 the pair holds
48 bits. The number of the event is the address of its random bits. Nothing else is remembered: if the next event lies
beyond the time asked for, it is drawn again from the same address when the simulation goes on, so that chunks, records
and a resume change no bit.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from exodiff.core.arrays import BITS_DTYPE, Bits, Mask, Precision, Real
from exodiff.kernels.random import Stream, fold, make_stream, site_id

UNLIMITED = 0xFFFF_FFFF  # a budget of events that is not used up


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
