"""Exact binomial and Poisson draws, fast for small means.

A draw turns one addressed random number v, uniform with 64 bits, into a count by inversion of the upper tail:
X = #{k >= 1: v < P(X >= k)}. The tails P(X >= k) are summed from the far end, so each has full relative precision
however small it is, and so has v: an event of probability 1e-9 fires 1e-9 of the time although all arithmetic is
float32. How many are summed depends on the lane's own law alone: 8 terms up to mean 5/4 and for
few trials, 24 up to mean 8. These inversions are unrolled and branch free, and done for all lanes at once, the longer
one only where it pays. The few other lanes are found, and finished block by block: counts beyond the terms go on up the
tail, means up to 24 are sums of parts of mean 8, larger ones come from transformed rejection.

All functions are elementwise; under ``vmap`` the batch becomes one more array axis of the same computation.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.kernels.inversion import LONG, SHORT, invert, is_long, is_short
from exodiff.kernels.lanes import elementwise, finish_blocks, first_true
from exodiff.kernels.laws import Law, binomial_law, poisson_law
from exodiff.kernels.random import Stream, retry_number, retry_words, to_unit_interval, word_pair, words
from exodiff.kernels.rejection import draw_by_rejection
from exodiff.kernels.waiting import wait

_MEAN_PARTS = 24.0  # largest mean drawn as a sum of inversions; above it transformed rejection
CROWDED_SHARE = 1.0 / 8192  # of lanes beyond the short inversion, above which all lanes do the longer one too


def binomial(stream: Stream, index: Bits, number: Bits | Count | int, n: Count, p: Real) -> Count:
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


def happens(stream: Stream, index: Bits, number: int, p: Real) -> Mask:
    """Whether what has probability p happens, for each index; exact for the float32 value of p, however near 0 or 1."""
    v, p = to_unit_interval(*word_pair(stream, index, number)), p.astype(jnp.float32)
    return jnp.where(p > 0.5, ~(v < 1.0 - p), v < p)


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
    events = finish_blocks(events, events < 0, _finish_binomial, (key0, key1, index, number, n, p))
    n = jnp.maximum(n, 0)
    events = jnp.minimum(events, n)
    return jnp.where(p > 0.5, n - events, events)


@elementwise
def _poisson(key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real) -> Count:
    events = _common_case(Stream(key0, key1), index, number, poisson_law(mean))
    return finish_blocks(events, events < 0, _finish_poisson, (key0, key1, index, number, mean))


def _common_case(stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """Counts by inversion, or -1 in the lanes where that does not suffice."""

    def crowded_way() -> Count:
        """The longer one, unless it would find nothing."""
        return jnp.where(jnp.any(is_long(law)), 1, 2)

    way = lax.cond(is_crowded(law), crowded_way, lambda: jnp.asarray(0))
    shape = jnp.broadcast_shapes(*map(jnp.shape, jax.tree.leaves((stream, index, number, law))))
    return lax.switch(
        way,
        [
            lambda: inverted_short(stream, index, number, law),
            lambda: inverted_long(stream, index, number, law),
            lambda: jnp.full(shape, -1, COUNT_DTYPE),
        ],
    )


def is_crowded(law: Law) -> Mask:
    """Whether so many lanes are beyond the short inversion that all had better do the longer one too."""
    return jnp.mean(~is_short(law), dtype=jnp.float32) > CROWDED_SHARE


def inverted_short(stream: Stream, index: Bits, number: Bits | int, law: Law) -> Count:
    """Counts up to 8, or -1 where the law or the count is beyond."""
    events = invert(to_unit_interval(*word_pair(stream, index, number)), law, SHORT)
    return jnp.where((events <= SHORT.terms) & is_short(law), events, -1)


def inverted_long(stream: Stream, index: Bits, number: Bits | int, law: Law) -> Count:
    """Counts up to 24, or -1 where the law or the count is beyond; those of the short inversion where it suits."""
    v, few = to_unit_interval(*word_pair(stream, index, number)), is_short(law)
    events = jnp.where(few, invert(v, law, SHORT), invert(v, law, LONG))
    done = jnp.where(few, events <= SHORT.terms, (events <= LONG.terms) & is_long(law))
    return jnp.where(done, events, -1)


def _finish_binomial(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real
) -> Count:
    del events
    return draw(active, Stream(key0, key1), index, number, binomial_law(n, p))


def _finish_poisson(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real
) -> Count:
    del events
    return draw(active, Stream(key0, key1), index, number, poisson_law(mean))


def draw(active: Mask, stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """Counts of the active lanes, of any mean."""
    few = law.mean() <= _MEAN_PARTS
    by_parts = draw_by_parts(active & few, stream, index, number, law)
    by_rejection = draw_by_rejection(active & ~few, stream, index, number, law)
    return jnp.where(few, by_parts, by_rejection)


def draw_by_parts(active: Mask, stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """One inversion, or above mean 8 the sum of several of at most that mean each.

    A count beyond the terms climbs in the next rounds from the first one there, the limit: up by one with the ratio
    r(height + 1) of the terms, back to the limit with r(limit + 1) - r(height + 1), else it stops. As ratios fall, that
    is a geometric proposal with r(limit + 1), accepted in exact proportion to the terms. A running lane is one word, so
    that a round is one loop for the compiler: its height (or 0), the parts done, the events so far; a finished lane is
    the complement of its events.
    """
    state = jnp.where(active & (law.size > 0), 0, -1).astype(COUNT_DTYPE)

    def attempt(carry: tuple[Count, Bits]) -> tuple[Count, Bits]:
        state, count = carry
        address = jnp.where(count == 0, number, retry_number(number, count))
        # the barrier keeps the compiler from hoisting the terms of the law as thirty arrays
        words, whole = lax.optimization_barrier((word_pair(stream, index, address), law))
        height, parts, events = state >> 20, (state >> 16) & 15, state & 0xFFFF
        v, most = to_unit_interval(*words), whole.whole_part(LONG.mean)
        left = whole.size - parts.astype(jnp.float32) * most
        part = whole._replace(size=jnp.minimum(left, most))
        fresh, limit = invert(v, part, LONG), LONG.terms + 1
        ratio = part.ratio()
        climbs = v < ratio(height.astype(jnp.float32) + 1.0)
        climbed = jnp.where(climbs, height + 1, jnp.where(v < ratio(limit + 1), limit, 0))
        higher = jnp.where(height > 0, climbed, jnp.where(fresh == limit, limit, 0))
        events = events + jnp.where(higher > 0, 0, jnp.where(height > 0, height, fresh))
        last = (higher == 0) & (left <= most)
        new = (higher << 20) + ((parts + (higher == 0).astype(COUNT_DTYPE)) << 16) + events
        return jnp.where(state < 0, state, jnp.where(last, ~events, new)), count + jnp.asarray(1, BITS_DTYPE)

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
