"""Exact binomial and Poisson draws, fast for small means.

A draw turns one addressed random number v, uniform with 64 bits, into a count by inversion of the upper tail:
X = #{k >= 1: v < P(X >= k)}. The tails P(X >= k) are summed from the far end, so each has full relative precision
however small it is, and so has v: an event of probability 1e-9 fires 1e-9 of the time although all arithmetic is
float32. The common case (mean at most 5, at most 16 events) is unrolled and branch free. The few other lanes are found,
and finished block by block: counts above 16 go on up the tail, means up to 25 are sums of parts of mean 5, larger ones
come from transformed rejection.

All functions are elementwise; under ``vmap`` the batch becomes one more array axis of the same computation.
"""

import math

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.kernels.lanes import elementwise, finish_blocks, first_true
from exodiff.kernels.laws import MEAN_PART, Law, binomial_law, poisson_law
from exodiff.kernels.random import Stream, retry_words, to_unit_interval, word_pair, words
from exodiff.kernels.rejection import draw_by_rejection

_TERMS = 16  # unrolled terms of the inversion
_MEAN_PARTS = 25.0  # largest mean drawn as a sum of such parts; above it transformed rejection


def binomial(stream: Stream, index: Bits, number: int, n: Count, p: Real) -> Count:
    """Draw Binomial(n, p) for each index, from draw ``number`` of the stream.

    Args:
        stream: address of the draw.
        index: one address a lane (the voxel), broadcast with n and p.
        number: which draw of this stream, 0, 1, 2, ...
        n: number of trials, int32, >= 0.
        p: probability, float32 in [0, 1]; the draw is exact for this float32 value.

    Returns:
        int32 counts of the broadcast shape.

    """
    return _binomial(stream.key0, stream.key1, index, jnp.asarray(number, BITS_DTYPE), jnp.asarray(n), jnp.asarray(p))


def poisson(stream: Stream, index: Bits, number: int, mean: Real) -> Count:
    """Draw Poisson(mean) for each index, mean at most 2^30; other arguments as in :func:`binomial`."""
    return _poisson(stream.key0, stream.key1, index, jnp.asarray(number, BITS_DTYPE), jnp.asarray(mean))


def uniform(stream: Stream, index: Bits, number: int) -> Real:
    """A float32 in (0, 1] for each index, from draw ``number`` of the stream."""
    return to_unit_interval(words(stream, index, number))


def exponential(stream: Stream, index: Bits, number: Bits) -> Real:
    """Standard exponential waiting time for each index, from retry ``number`` of draw 0 of the stream.

    Short waits decide whether a rare event happens: they have the full resolution of two words.
    """
    return wait(to_unit_interval(*retry_words(stream, index, jnp.asarray(0, BITS_DTYPE), number)))


@elementwise
def _binomial(key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real) -> Count:
    events = _common_case(Stream(key0, key1), index, number, binomial_law(n, p))
    events = finish_blocks(events, _finish_binomial, (key0, key1, index, number, n, p))
    n = jnp.maximum(n, 0)
    events = jnp.minimum(events, n)
    return jnp.where(p > 0.5, n - events, events)


@elementwise
def _poisson(key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real) -> Count:
    events = _common_case(Stream(key0, key1), index, number, poisson_law(mean))
    return finish_blocks(events, _finish_poisson, (key0, key1, index, number, mean))


def _common_case(stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """Counts by inversion with the unrolled terms, or -1 - count in the lanes where these do not suffice."""
    events = _invert(to_unit_interval(*word_pair(stream, index, number)), law)
    enough = (events <= _TERMS) & (law.mean() <= MEAN_PART)
    return lax.optimization_barrier(jnp.where(enough, events, -1 - events))


def _invert(v: Real, law: Law) -> Count:
    """min(X, 17), X = #{k >= 1: v < P(X >= k)}: terms upwards by their ratio, tails downwards from the remainder."""
    terms = [law.zero()]
    for k in range(1, _TERMS + 2):
        terms.append(terms[-1] * law.ratio(k))
    tail = jnp.float32(1.29)  # what follows term 21, over that term, at the largest mean
    for k in range(_TERMS + 5, _TERMS + 1, -1):
        tail = 1.0 + tail * law.ratio(k)
    tail = terms[-1] * tail
    events = (v < tail).astype(COUNT_DTYPE)
    for k in range(_TERMS, 0, -1):
        tail = tail + terms[k]
        events = events + (v < tail).astype(COUNT_DTYPE)
    return events


def _finish_binomial(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real
) -> Count:
    return finish(active, events < -1 - _TERMS, Stream(key0, key1), index, number, binomial_law(n, p))


def _finish_poisson(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real
) -> Count:
    return finish(active, events < -1 - _TERMS, Stream(key0, key1), index, number, poisson_law(mean))


def finish(active: Mask, overflowed: Mask, stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """Draw the active lanes anew, or only their counts above 16 where a first draw of mean at most 5 overflowed."""
    mean = jnp.broadcast_to(law.mean(), active.shape)
    few = active & (mean <= _MEAN_PARTS)
    by_parts = _draw_by_parts(few, overflowed & (mean <= MEAN_PART), stream, index, number, law)
    by_rejection = draw_by_rejection(active & (mean > _MEAN_PARTS), stream, index, number, law)
    return jnp.where(few, by_parts, by_rejection)


def _draw_by_parts(active: Mask, overflowed: Mask, stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """The sum of inversions of mean at most 5.

    A count that overflows 16 climbs in the next rounds from height 17: up by one with the ratio r(height + 1) of the
    terms, back to 17 with r(18) - r(height + 1), else it stops. As ratios fall, that is a geometric proposal with
    r(18), accepted in exact proportion to the terms. A running lane is one word, so that a round is one loop for the
    compiler: its height (or 0), the parts done, the events so far; a finished lane is the complement of its events.
    """

    def attempt(carry: tuple[Count, Bits]) -> tuple[Count, Bits]:
        state, count = carry
        # the barrier keeps the compiler from hoisting the terms of the law as thirty arrays
        bits, whole = lax.optimization_barrier((retry_words(stream, index, number, count), law))
        height, parts, events = state >> 20, (state >> 16) & 15, state & 0xFFFF
        v, left = to_unit_interval(*bits), whole.size - parts.astype(jnp.float32) * whole.whole_part()
        part = whole._replace(size=jnp.minimum(left, whole.whole_part()))
        fresh = _invert(v, part)
        climbs = v < part.ratio(height.astype(jnp.float32) + 1.0)
        climbed = jnp.where(climbs, height + 1, jnp.where(v < part.ratio(_TERMS + 2), _TERMS + 1, 0))
        higher = jnp.where(height > 0, climbed, jnp.where(fresh > _TERMS, _TERMS + 1, 0))
        events = events + jnp.where(higher > 0, 0, jnp.where(height > 0, height, fresh))
        last = (higher == 0) & (left <= whole.whole_part())
        new = (higher << 20) + ((parts + (higher == 0).astype(COUNT_DTYPE)) << 16) + events
        return jnp.where(state < 0, state, jnp.where(last, ~events, new)), count + jnp.asarray(1, BITS_DTYPE)

    state = jnp.where(active & (law.size > 0), jnp.where(overflowed, (_TERMS + 1) << 20, 0), -1).astype(COUNT_DTYPE)
    final = lax.while_loop(lambda c: first_true(c[0] >= 0)[0], attempt, (state, jnp.asarray(0, BITS_DTYPE)))
    return ~final[0]


def gamma(stream: Stream, index: Bits, number: int, shape: Count) -> Real:
    """Sum of ``shape`` standard exponential waiting times, float32; 0 for none. Takes draws ``number``, ``number + 1``.

    G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM Trans. Math. Softw. 26, 2000.
    """
    d = jnp.maximum(shape, 1).astype(jnp.float32) - jnp.float32(1 / 3)
    c = lax.rsqrt(9.0 * d)

    def attempt(carry: tuple[Real, Bits]) -> tuple[Real, Bits]:
        value, count = carry
        normal = retry_words(stream, index, jnp.asarray(number, BITS_DTYPE), count)
        radius, angle = (to_unit_interval(word) for word in normal)
        u = to_unit_interval(retry_words(stream, index, jnp.asarray(number + 1, BITS_DTYPE), count)[0])
        x = jnp.sqrt(-2.0 * jnp.log(radius)) * jnp.cos(jnp.float32(2.0 * math.pi) * angle)
        v = (1.0 + c * x) ** 3
        log_v = jnp.log(jnp.where(v > 0, v, 1.0))
        squeezed = u < 1.0 - 0.0331 * x**4  # nearly always at large d, where the test below loses digits
        accepted = (v > 0) & (squeezed | (jnp.log(u) < 0.5 * x * x + d * (1.0 - v + log_v)))
        return jnp.where((value < 0) & accepted, d * v, value), count + jnp.asarray(1, BITS_DTYPE)

    start = (jnp.where(shape > 0, -1.0, 0.0) + jnp.zeros(index.shape, jnp.float32), jnp.asarray(0, BITS_DTYPE))
    return lax.while_loop(lambda c: first_true(c[0] < 0)[0], attempt, start)[0]


def wait(u: Real) -> Real:
    """Standard exponential waiting time from a uniform in (0, 1]; small ones give short waits, at full resolution."""
    return -jnp.log1p(-jnp.minimum(u, jnp.float32(1.0 - 2.0**-24)))
