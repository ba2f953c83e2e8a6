"""Exact binomial and Poisson draws, fast for small means.

A draw turns one addressed random number v, uniform with 64 bits, into a count by inversion of the upper tail:
X = #{k >= 1: v < P(X >= k)}. The tails P(X >= k) are summed from the far end, so each has full relative precision
however small it is, and so has v: an event of probability 1e-9 fires 1e-9 of the time although all arithmetic is
float32. The common case (mean at most 5, at most 16 events) is unrolled and branch free. The few other lanes are found,
and finished block by block: counts above 16 go on up the tail, means up to 25 are sums of parts of mean 5, larger ones
come from transformed rejection (W. Hormann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46,
1993), with the log-probability in saddle-point form (C. Loader, "Fast and accurate computation of binomial
probabilities", 2000), which needs no lgamma and keeps float32 precision for any count.

All functions are elementwise; under ``vmap`` the batch becomes one more array axis of the same computation.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels.random import Stream, retry_words, to_unit_interval, word_pair, words
from exodiff.model.network import MAX_ORDER

_TERMS = 16  # unrolled terms of the inversion
_MEAN_PART = 5.0  # largest mean drawn by one inversion
_MEAN_PARTS = 25.0  # largest mean drawn as a sum of such parts; above it transformed rejection
_CLOCKS = 5  # unrolled clocks of a chain
_CLOCKS_AT_MOST = 64.0  # expected events above which a chain is drawn at its midpoint
_TINY = 1e-30
_MAX_MEAN = 2.0**30  # counts are int32
_MAX_COUNT = 1.5 * _MAX_MEAN
_BLOCK = 1024


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


class MassAction(NamedTuple):
    """The propensity of a channel alone, times the step, as its events change its one or two reactants.

    Attributes:
        factor: everything that stays constant in the step.
        first, second: counts of the reactants.
        orders: their orders; 0 for an absent second.
        changes: what one event adds to each.

    """

    factor: Real
    first: Number
    second: Number
    orders: tuple[Count, Count]
    changes: tuple[Count, Count]

    def propensity(self, events: Number, *, falling: bool = True) -> Real:
        """Expected events in the step after some events: falling factorials, or plain powers for ``mean_field``."""
        result = self.factor
        for n, order, change in zip((self.first, self.second), self.orders, self.changes, strict=True):
            left = (n + change * events).astype(self.factor.dtype)
            for i in range(MAX_ORDER):
                result = result * jnp.where(i < order, jnp.maximum(left - i * falling, 0.0), 1.0)
        return result

    def capacity(self) -> Real:
        """Events after which a reactant is used up; 2^30 where none is."""
        limits = [
            jnp.where(change < 0, n.astype(jnp.float32) / jnp.maximum(-change, 1), 2.0**30)
            for n, change in zip((self.first, self.second), self.changes, strict=True)
        ]
        return jnp.floor(jnp.minimum(*limits))


def mass_action_events(stream: Stream, index: Bits, law: MassAction) -> Count:
    """Number of events of the channel alone in the step, for each index.

    Exponential clocks, each with the propensity that the events before it left, as long as they fit: exact. Where more
    than 64 events are expected, a binomial with the mean and the variance of the midpoint rule: second order in the
    step, exact for first-order loss; the variance is only first order where events speed the channel up.
    """
    number = jnp.asarray(0, BITS_DTYPE)
    arrays = (jnp.asarray(a) for a in (*law[:3], *law.orders, *law.changes))
    return _mass_action(stream.key0, stream.key1, index, number, *arrays)


def uniform(stream: Stream, index: Bits, number: int) -> Real:
    """A float32 in (0, 1] for each index, from draw ``number`` of the stream."""
    return to_unit_interval(words(stream, index, number))


def exponential(stream: Stream, index: Bits, number: Bits) -> Real:
    """Standard exponential waiting time for each index, from retry ``number`` of draw 0 of the stream.

    Short waits decide whether a rare event happens: they come from small uniforms u, at the full resolution of two
    words, as -log1p(-u).
    """
    return _wait(to_unit_interval(*retry_words(stream, index, jnp.asarray(0, BITS_DTYPE), number)))


def _elementwise(function: Callable[..., Count]) -> Callable[..., Count]:
    """Trace an elementwise function once a shape, and make ``vmap`` call it once on arrays with one more axis.

    Without the first, each of the draws of a step would be traced anew (0.2 s each); without the second, the loops
    inside would be batched by selecting over their whole carried state in every iteration.
    """
    wrapped = jax.custom_batching.custom_vmap(jax.jit(function))

    @wrapped.def_vmap
    def _rule(axis_size: int, in_batched: list[bool], *arguments: jax.Array) -> tuple[Count, bool]:  # pyright: ignore[reportUnusedFunction]
        del axis_size
        ndim = max(a.ndim - b for a, b in zip(arguments, in_batched, strict=True))
        aligned = [
            a.reshape(a.shape[:1] + (1,) * (ndim - (a.ndim - 1)) + a.shape[1:]) if b else a
            for a, b in zip(arguments, in_batched, strict=True)
        ]
        return wrapped(*aligned), True

    return functools.wraps(function)(wrapped)


@_elementwise
def _binomial(key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real) -> Count:
    events = _common_case(Stream(key0, key1), index, number, _binomial_law(n, p))
    events = _finish_blocks(events, _finish_binomial, (key0, key1, index, number, n, p))
    n = jnp.maximum(n, 0)
    events = jnp.minimum(events, n)
    return jnp.where(p > 0.5, n - events, events)


@_elementwise
def _poisson(key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real) -> Count:
    events = _common_case(Stream(key0, key1), index, number, _poisson_law(mean))
    return _finish_blocks(events, _finish_poisson, (key0, key1, index, number, mean))


@_elementwise
def _mass_action(key0: Bits, key1: Bits, index: Bits, number: Bits, *arrays: jax.Array) -> Count:
    """The unrolled clocks give the events or, where all rang, minus the time at which the last one did."""
    stream, law = Stream(key0, key1), _unpack(arrays)
    uniforms = [to_unit_interval(*word_pair(stream, index, number))]
    for i in range(1, 1 + _CLOCKS // 2):
        uniforms += [to_unit_interval(word) for word in word_pair(stream, index, number + i)]
    events, time = 0.0, 0.0
    for clock, u in enumerate(uniforms):
        time = time + _wait(u) / jnp.maximum(law.propensity(jnp.asarray(clock, COUNT_DTYPE)), _TINY)
        events = events + (time <= 1.0).astype(jnp.float32)
    crowd = law.propensity(jnp.zeros((), COUNT_DTYPE)) > _CLOCKS_AT_MOST
    state = lax.optimization_barrier(jnp.where(crowd, -1.0, jnp.where(events < _CLOCKS, events, -time)))
    return _finish_blocks(state, _finish_mass_action, (key0, key1, index, number, *arrays)).astype(COUNT_DTYPE)


def _unpack(arrays: tuple[jax.Array, ...]) -> MassAction:
    factor, first, second, order0, order1, change0, change1 = arrays
    return MassAction(factor, first, second, (order0, order1), (change0, change1))


def _wait(u: Real) -> Real:
    return -jnp.log1p(-jnp.minimum(u, jnp.float32(1.0 - 2.0**-24)))


def _finish_mass_action(
    active: Mask, state: Real, key0: Bits, key1: Bits, index: Bits, number: Bits, *arrays: jax.Array
) -> Real:
    stream, law = Stream(key0, key1), _unpack(arrays)
    expected = law.propensity(jnp.zeros((), COUNT_DTYPE))
    crowd = expected > _CLOCKS_AT_MOST

    def ring(carry: tuple[Real, Bits]) -> tuple[Real, Bits]:
        """Two more clocks; a lane is its number of events, or minus the time of the last one as long as all rang."""
        state, attempt = carry
        bits, chain = lax.optimization_barrier((retry_words(stream, index, number, attempt), law))
        before, time = _CLOCKS + 2.0 * attempt.astype(jnp.float32), -state
        events = before
        for i, word in enumerate(bits):
            time = time + _wait(to_unit_interval(word)) / jnp.maximum(chain.propensity(before + i), _TINY)
            events = events + (time <= 1.0).astype(jnp.float32)
        state = jnp.where(state < 0, jnp.where(time <= 1.0, -time, events), state)
        return state, attempt + jnp.asarray(1, BITS_DTYPE)

    start = (jnp.where(active & ~crowd, state, 0.0), jnp.asarray(0, BITS_DTYPE))
    few = lax.while_loop(lambda c: _first(c[0] < 0)[0], ring, start)[0]
    size, p = _midpoint_binomial(law, expected)
    flip = p > 0.5
    rare = _Law(size, jnp.clip(jnp.where(flip, 1.0 - p, p), 0.0, 0.5))
    many = _finish(active & crowd, jnp.zeros(active.shape, bool), stream, index, number, rare).astype(jnp.float32)
    return jnp.where(crowd, jnp.where(flip, size - many, many), few)


class _Law(NamedTuple):
    """Binomial(size, p), or Poisson(size) with p None: all that the samplers need to know of it."""

    size: Real
    p: Real | None

    def mean(self) -> Real:
        return self.size if self.p is None else self.size * self.p

    def variance(self) -> Real:
        return self.size if self.p is None else self.size * self.p * (1.0 - self.p)

    def whole_part(self) -> Real | float:
        """Size of a part of the law of mean at most 5; the law is the sum of at most 6 parts below mean 25."""
        return _MEAN_PART if self.p is None else jnp.floor(_MEAN_PART / jnp.maximum(self.p, _TINY))

    def zero(self) -> Real:
        """P(X = 0) at means up to 5, to 3e-6: Taylor series of log(1 - p) = -2 artanh(p / (2 - p)) and exp.

        They make a draw a fifth faster than the functions of XLA.
        """
        if self.p is None:
            return _decay(self.size)
        s = 0.5 * self.p * _reciprocal(1.0 - 0.5 * self.p)
        return _decay(2.0 * self.size * s * _polynomial(s * s, [1.0 / k for k in range(1, 15, 2)]))

    def ratio(self, k: int | Real) -> Real:
        """P(X = k) / P(X = k - 1); exactly 0 just above the size of a binomial, which ends every product of ratios."""
        if self.p is None:
            return self.size * (1.0 / k)
        return self.p * _reciprocal(1.0 - self.p) * ((self.size - (k - 1)) * (1.0 / k))


def _binomial_law(n: Count, p: Real) -> _Law:
    """The law of the rarer outcome; certainty of the other where p is not a number."""
    rare = jnp.where(p > 0.5, 1.0 - p, p).astype(jnp.float32)
    return _Law(jnp.maximum(n, 0).astype(jnp.float32), jnp.where(rare > 0, rare, 0.0))


def _poisson_law(mean: Real) -> _Law:
    return _Law(jnp.where(mean > 0, jnp.minimum(mean.astype(jnp.float32), _MAX_MEAN), 0.0), None)


def _reciprocal(x: Real) -> Real:
    """1 / x for 1/2 <= x <= 1 by Newton's method: XLA would store a quotient that is used twice as an array."""
    result = 48.0 / 17.0 - 32.0 / 17.0 * x
    for _ in range(3):
        result = result * (2.0 - x * result)
    return result


def _decay(y: Real) -> Real:
    """exp(-y) for 0 <= y < 8."""
    result = _polynomial(y * jnp.float32(1 / 16), [(-1.0) ** k / math.factorial(k) for k in range(8)])
    for _ in range(4):
        result = result * result
    return result


def _polynomial(x: Real, coefficients: list[float]) -> Real:
    result = jnp.float32(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + jnp.float32(coefficient)
    return result


def _midpoint_binomial(law: MassAction, expected: Real) -> tuple[Real, Real]:
    """Size and probability of the binomial for many events.

    The mean is that of the propensity a at half the events, e; the size e - a / a' gives the variance that the slope
    a' of the propensity leaves (Fano factor 1 - mean / size; exact for a first-order loss).
    """
    capacity = law.capacity()
    half = 0.5 * capacity * -jnp.expm1(-expected / jnp.maximum(capacity, 1.0))
    rate, slope = law.propensity(half), law.propensity(half + 0.5) - law.propensity(half - 0.5)
    mean = capacity * -jnp.expm1(-rate / jnp.maximum(capacity - half, 1.0))
    size = jnp.round(half + rate / jnp.maximum(-slope, _TINY))
    size = jnp.minimum(jnp.maximum(size, jnp.ceil(mean) + 1.0), capacity)
    return size, jnp.minimum(mean / jnp.maximum(size, 1.0), 1.0)


def _common_case(stream: Stream, index: Bits, number: Bits, law: _Law) -> Count:
    """Counts by inversion with the unrolled terms, or -1 - count in the lanes where these do not suffice."""
    events = _invert(to_unit_interval(*word_pair(stream, index, number)), law)
    enough = (events <= _TERMS) & (law.mean() <= _MEAN_PART)
    return lax.optimization_barrier(jnp.where(enough, events, -1 - events))


def _invert(v: Real, law: _Law) -> Count:
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


def _first(mask: Mask) -> tuple[Mask, Count]:
    """Whether any is true, and the first that is: one reduction of a pair, which XLA on CPU compiles to one loop."""

    def earlier(x: tuple[Mask, Count], y: tuple[Mask, Count]) -> tuple[Mask, Count]:
        take_x = x[0] & (~y[0] | (x[1] < y[1]))
        return x[0] | y[0], jnp.where(take_x, x[1], y[1])

    mask = mask.reshape(-1)
    order = jnp.arange(mask.size, dtype=COUNT_DTYPE)
    return lax.reduce((mask, order), (jnp.asarray(False), jnp.asarray(0, COUNT_DTYPE)), earlier, (0,))


def _finish_blocks(values: jax.Array, finish: Callable[..., jax.Array], arguments: tuple) -> jax.Array:
    """Replace the negative values, visiting only the blocks of 1024 lanes that have one (all at once on a GPU).

    The last block overlaps the one before it; as draws are addressed, doing a lane twice changes nothing.
    """
    shape, size = values.shape, values.size
    if size == 0:
        return values
    block = min(_BLOCK, size) if jax.default_backend() == "cpu" else size
    num_blocks = -(-size // block)
    padded = values.reshape(-1) if size == num_blocks * block else jnp.pad(values.reshape(-1), (0, -size % block))
    marked = jnp.min(padded.reshape(num_blocks, block), axis=1) < 0
    marked = lax.optimization_barrier(marked)  # or the compiler reduces twice

    def visit() -> jax.Array:
        lanes = [a.reshape(()) if a.size == 1 else jnp.broadcast_to(a, shape).reshape(-1) for a in arguments]
        given = values.reshape(-1)

        def body(carry: tuple[Mask, jax.Array]) -> tuple[Mask, jax.Array]:
            pending, result = carry
            b = _first(pending)[1]
            start = jnp.minimum(b * block, size - block)
            here, *rest = (a if a.ndim == 0 else lax.dynamic_slice(a, (start,), (block,)) for a in (given, *lanes))
            new = jnp.where(here < 0, finish(here < 0, here, *rest), here)
            pending = lax.dynamic_update_slice(pending, jnp.zeros(1, bool), (b,))
            return pending, lax.dynamic_update_slice(result, new, (start,))

        return lax.while_loop(lambda c: _first(c[0])[0], body, (marked, given))[1].reshape(shape)

    return lax.cond(_first(marked)[0], visit, lambda: values)


def _finish_binomial(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real
) -> Count:
    return _finish(active, events < -1 - _TERMS, Stream(key0, key1), index, number, _binomial_law(n, p))


def _finish_poisson(
    active: Mask, events: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real
) -> Count:
    return _finish(active, events < -1 - _TERMS, Stream(key0, key1), index, number, _poisson_law(mean))


def _finish(active: Mask, overflowed: Mask, stream: Stream, index: Bits, number: Bits, law: _Law) -> Count:
    """Draw the active lanes anew, or only their counts above 16 where a first draw of mean at most 5 overflowed."""
    mean = jnp.broadcast_to(law.mean(), active.shape)
    few = active & (mean <= _MEAN_PARTS)
    by_parts = _draw_by_parts(few, overflowed & (mean <= _MEAN_PART), stream, index, number, law)
    by_rejection = _draw_by_rejection(active & (mean > _MEAN_PARTS), stream, index, number, law)
    return jnp.where(few, by_parts, by_rejection)


def _draw_by_parts(active: Mask, overflowed: Mask, stream: Stream, index: Bits, number: Bits, law: _Law) -> Count:
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
        new = (higher << 20) + ((parts + (higher == 0)) << 16) + events
        return jnp.where(state < 0, state, jnp.where(last, ~events, new)), count + jnp.asarray(1, BITS_DTYPE)

    state = jnp.where(active & (law.size > 0), jnp.where(overflowed, (_TERMS + 1) << 20, 0), -1).astype(COUNT_DTYPE)
    final = lax.while_loop(lambda c: _first(c[0] >= 0)[0], attempt, (state, jnp.asarray(0, BITS_DTYPE)))
    return ~final[0]


def _draw_by_rejection(active: Mask, stream: Stream, index: Bits, number: Bits, law: _Law) -> Count:
    """Transformed rejection, for means above 10."""

    def attempt(carry: tuple[Count, Bits]) -> tuple[Count, Bits]:
        value, count = carry
        (word_u, word_v), whole = lax.optimization_barrier((retry_words(stream, index, number, count), law))  # as above
        return jnp.where(value < 0, _rejection_attempt(word_u, word_v, whole), value), count + jnp.asarray(
            1, BITS_DTYPE
        )

    start = (jnp.where(active, -1, 0).astype(COUNT_DTYPE), jnp.asarray(0, BITS_DTYPE))
    return lax.while_loop(lambda c: _first(c[0] < 0)[0], attempt, start)[0]


def _rejection_attempt(word_u: Bits, word_v: Bits, law: _Law) -> Count:
    """One attempt of Hormann's BTRS: the value, or -1 if it is rejected.

    His scale (2.83 + 5.1 / b) sd P(mode) is used with the limit 1 / sqrt(2 pi) of sd P(mode), and for Poisson with
    p = 0: the hat still covers the law at all means above 10 (by 2.5 % or more; checked in the tests). His squeeze
    saves nothing where all lanes are computed together.
    """
    mean, sd = law.mean(), jnp.sqrt(law.variance())
    b = 1.15 + 2.53 * sd
    a = -0.0873 + 0.0248 * b + (0.0 if law.p is None else 0.01 * law.p)
    upper = word_u >= jnp.asarray(1 << 31, BITS_DTYPE)
    edge = to_unit_interval(jnp.where(upper, ~word_u, word_u))  # distance of the uniform to its nearer end, <= 1/2
    u = jnp.where(upper, 0.5 - edge, edge - 0.5)
    mode = jnp.floor(mean)
    offset = jnp.floor((2.0 * a / edge + b) * u + (mean - mode) + 0.5)
    k = mode + offset
    inside = (k >= 0) & (k <= (_MAX_COUNT if law.p is None else law.size))
    offset = jnp.where(inside, offset, 0.0)
    scale = (2.83 + 5.1 / b) / (a / (edge * edge) + b)
    density, log_rest = _saddle_point(offset, law, mean, mode)
    accepted = inside & (jnp.log(to_unit_interval(word_v) * scale / density) <= log_rest)
    return jnp.where(accepted, k.astype(COUNT_DTYPE), -1)


def _saddle_point(offset: Real, law: _Law, mean: Real, mode: Real) -> tuple[Real, Real]:
    """(d, l) with P(X = mode + offset) = d exp(l) / sqrt(2 pi); no term is much larger than the result."""
    k = mode + offset
    distance = offset - (mean - mode)
    size = jnp.where(k < 1, 0.5 / math.pi, k)
    log_rest = -_stirling_error(k) - mean * _deviance(distance * (1.0 / mean))
    if law.p is None:
        return lax.rsqrt(size), log_rest
    failures, mean_failures = law.size - k, law.size * (1.0 - law.p)
    failures_size = jnp.where(failures < 1, 0.5 / math.pi, failures)
    log_rest = log_rest + _stirling_error(law.size) - _stirling_error(failures)
    log_rest = log_rest - mean_failures * _deviance(-distance * (1.0 / mean_failures))
    return jnp.sqrt(law.size / (size * failures_size)), log_rest


def _stirling_error(k: Real) -> Real:
    """How much log k! exceeds log(sqrt(2 pi k) (k / e)^k), by two terms of Stieltjes' fraction; 0 at 0.

    To 5e-4 at 1, 1e-5 at 2, 2e-7 at 5: only counts far from the mean of at least 10 see the larger errors.
    """
    return k / (12.0 * k * k + 0.4)


def _deviance(t: Real) -> Real:
    """(1 + t) log(1 + t) - t without cancellation; 1 at t = -1."""
    near = jnp.abs(t) < 0.1
    s = jnp.where(near, t, 0.0)
    series = _polynomial(s, [(-1.0) ** i / (i * (i - 1)) for i in range(2, 9)])
    far = jnp.where(near, 1.0, jnp.maximum(1.0 + t, _TINY))
    return jnp.where(near, s * s * series, far * jnp.log(far) - (far - 1.0))
