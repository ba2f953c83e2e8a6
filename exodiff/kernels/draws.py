"""Exact binomial and Poisson draws, fast for small means.

A draw turns one addressed random word into a count by inversion of the upper tail: X = #{k >= 1: v < P(X >= k)} with v
uniform. The tails P(X >= k) are summed from the far end, so each has full relative precision however small it is, and
v is refined by a second word where the first is small: an event of probability 1e-9 fires 1e-9 of the time although
all arithmetic is float32. The common case (mean at most 5, at most 16 events) is unrolled and branch free. The
few other lanes are found, and finished block by block: means up to 25 by two inversions of 64 terms, larger ones by
transformed rejection (W. Hormann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46, 1993, and
"The transformed rejection method for generating Poisson random variables", Insur. Math. Econ. 12, 1993), with the
log-probability in saddle-point form (C. Loader, "Fast and accurate computation of binomial probabilities", 2000), which
needs no lgamma and keeps float32 precision for any count.

All functions are elementwise; under ``vmap`` the batch becomes one more array axis of the same computation.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels.random import Stream, retry_words, to_unit_interval, words

_TERMS = 16  # unrolled terms of the common case
_TERMS_RARE = 28  # P(X > 28) at mean 5 is 3e-13
_MEAN_PIECE = 5.0  # largest mean drawn by one inversion
_MEAN_INVERSION = 10.0  # above it transformed rejection, below it a sum of pieces
_REFINE_BELOW = 1 << 10  # words below this take a second word: resolution better than 0.1 % of the probability
_CLOCKS_AT_MOST = 64.0  # expected events above which a chain is drawn at its midpoint
_TINY = 1e-30
_BLOCK = 1024
_STIRLING_ERRORS = (
    0.0,
    *(math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k - 0.5 * math.log(2 * math.pi) for k in range(1, 8)),
)


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
    word = words(stream, index, number)
    return _binomial(word, stream.key0, stream.key1, index, jnp.asarray(number, BITS_DTYPE), n, p)


def poisson(stream: Stream, index: Bits, number: int, mean: Real) -> Count:
    """Draw Poisson(mean) for each index, from draw ``number`` of the stream; arguments as in :func:`binomial`."""
    word = words(stream, index, number)
    return _poisson(word, stream.key0, stream.key1, index, jnp.asarray(number, BITS_DTYPE), mean)


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
            for i in range(3):
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
    than 64 events are expected, a binomial out of the events that the reactants allow, with the propensity at half the
    events: second order in the step.
    """
    number = jnp.asarray(0, BITS_DTYPE)
    first, second = words(stream, index, 0), words(stream, index, 1)
    return _mass_action(first, second, stream.key0, stream.key1, index, number, *law[:3], *law.orders, *law.changes)


def uniform(stream: Stream, index: Bits, number: int) -> Real:
    """A float32 in (0, 1] for each index, from draw ``number`` of the stream."""
    return to_unit_interval(words(stream, index, number))


def exponential(stream: Stream, index: Bits, number: Bits) -> Real:
    """Standard exponential waiting time for each index, from retry ``number`` of draw 0 of the stream.

    Short waits decide whether a rare event happens: they come from small uniforms u, at the full resolution of two
    words, as -log1p(-u).
    """
    return _wait(to_unit_interval(*retry_words(stream, index, jnp.asarray(0, BITS_DTYPE), number)))


def _over_batches(function: Callable[..., Count]) -> Callable[..., Count]:
    """Make ``vmap`` of an elementwise function call it once on arrays with one more axis.

    Without this, the loops inside would be batched by selecting over their whole carried state in every iteration.
    """
    wrapped = jax.custom_batching.custom_vmap(function)

    @wrapped.def_vmap
    def _rule(axis_size: int, in_batched: list[bool], *arguments: jax.Array) -> tuple[Count, bool]:  # pyright: ignore[reportUnusedFunction]
        del axis_size
        ndim = max(a.ndim - b for a, b in zip(arguments, in_batched, strict=True))
        aligned = [
            a.reshape(a.shape[:1] + (1,) * (ndim - (a.ndim - 1)) + a.shape[1:]) if b else a
            for a, b in zip(arguments, in_batched, strict=True)
        ]
        return wrapped(*aligned), True

    return wrapped


@_over_batches
def _binomial(word: Bits, key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count, p: Real) -> Count:
    flip = p > 0.5
    rare = jnp.clip(jnp.where(flip, 1.0 - p, p).astype(jnp.float32), 0.0, 0.5)
    n = jnp.maximum(n, 0)
    events, unfinished = _common_case(word, _Law(n.astype(jnp.float32), rare))
    arguments = (key0, key1, index, number, word, n, rare)
    events = _finish_blocks(events, unfinished, _finish_binomial, arguments)
    return jnp.where(flip, n - events, events)


@_over_batches
def _poisson(word: Bits, key0: Bits, key1: Bits, index: Bits, number: Bits, mean: Real) -> Count:
    mean = jnp.maximum(mean, 0.0).astype(jnp.float32)
    events, unfinished = _common_case(word, _Law(mean, None))
    return _finish_blocks(events, unfinished, _finish_poisson, (key0, key1, index, number, word, mean))


@_over_batches
def _mass_action(
    word0: Bits, word1: Bits, key0: Bits, key1: Bits, index: Bits, number: Bits, *arrays: jax.Array
) -> Count:
    law = _unpack(arrays)
    expected = law.propensity(jnp.zeros((), COUNT_DTYPE))
    time0 = _wait(to_unit_interval(word0)) / jnp.maximum(expected, _TINY)
    after = law.propensity(jnp.ones((), COUNT_DTYPE))
    time1 = time0 + _wait(to_unit_interval(word1)) / jnp.maximum(after, _TINY)
    events = (time0 <= 1.0).astype(COUNT_DTYPE)
    coarse = (word0 < _REFINE_BELOW) | ((word1 < _REFINE_BELOW) & (time0 <= 1.0))
    unfinished = (coarse | (time1 <= 1.0) | (expected > _CLOCKS_AT_MOST)) & (expected > 0)
    events, unfinished = lax.optimization_barrier((events, unfinished))
    arguments = (key0, key1, index, number, word0, word1, *arrays)
    return _finish_blocks(events, unfinished, _finish_mass_action, arguments)


def _unpack(arrays: tuple[jax.Array, ...]) -> MassAction:
    factor, first, second, order0, order1, change0, change1 = arrays
    return MassAction(factor, first, second, (order0, order1), (change0, change1))


def _wait(u: Real) -> Real:
    return -jnp.log1p(-jnp.minimum(u, jnp.float32(1.0 - 2.0**-24)))


def _finish_mass_action(
    active: Mask, key0: Bits, key1: Bits, index: Bits, number: Bits, word0: Bits, word1: Bits, *arrays: jax.Array
) -> Count:
    stream, law = Stream(key0, key1), _unpack(arrays)
    expected = law.propensity(jnp.zeros((), COUNT_DTYPE))
    crowd = expected > _CLOCKS_AT_MOST

    def ring(carry: tuple[Mask, Count, Real, Bits]) -> tuple[Mask, Count, Real, Bits]:
        running, events, time, clock = carry
        fresh, fine = retry_words(stream, index, number, clock)
        coarse = jnp.where(clock == 0, word0, jnp.where(clock == 1, word1, fresh))
        rate = law.propensity(events)
        time = time + _wait(to_unit_interval(coarse, fine)) / jnp.maximum(rate, _TINY)
        running, events, time = lax.optimization_barrier((running & (rate > 0) & (time <= 1.0), events, time))
        return running, events + running.astype(COUNT_DTYPE), time, clock + jnp.asarray(1, BITS_DTYPE)

    shape = active.shape
    start = (active & ~crowd, jnp.zeros(shape, COUNT_DTYPE), jnp.zeros(shape, jnp.float32), jnp.asarray(0, BITS_DTYPE))
    few = lax.while_loop(lambda c: jnp.any(c[0]), ring, start)[1]
    size = law.capacity()
    half = 0.5 * size * -jnp.expm1(-expected / jnp.maximum(size, 1.0))
    middle = law.propensity(jnp.floor(half).astype(COUNT_DTYPE))
    p = -jnp.expm1(-middle / jnp.maximum(size - half, 1.0))
    flip = p > 0.5
    binomial_law = _Law(size, jnp.clip(jnp.where(flip, 1.0 - p, p), 1e-12, 0.5))
    many = _finish(active & crowd, stream, index, number + jnp.asarray(1, BITS_DTYPE), word0, binomial_law)
    return jnp.where(crowd, jnp.where(flip, size.astype(COUNT_DTYPE) - many, many), few)


class _Law(NamedTuple):
    """Binomial(size, p), or Poisson(size) with p None: all that the samplers need to know of it."""

    size: Real
    p: Real | None

    def mean(self) -> Real:
        return self.size if self.p is None else self.size * self.p

    def piece(self) -> Real:
        """Size of a part of the law whose mean is at most 5; the law is the sum of its parts."""
        whole = self.size if self.p is None else jnp.floor(_MEAN_PIECE / jnp.maximum(self.p, 1e-30))
        return jnp.minimum(self.size, jnp.maximum(whole, 1.0) if self.p is not None else _MEAN_PIECE)

    def zero(self) -> Real:
        """P(X = 0)."""
        return jnp.exp(-self.size if self.p is None else self.size * jnp.log1p(-self.p))

    def ratio(self, k: int) -> Real:
        """P(X = k) / P(X = k - 1); exactly 0 for k above the size of a binomial."""
        if self.p is None:
            return self.size * jnp.float32(1.0 / k)
        return (self.p / (1.0 - self.p)) * (jnp.maximum(self.size - (k - 1), 0.0) * jnp.float32(1.0 / k))


def _common_case(word: Bits, law: _Law) -> tuple[Count, Mask]:
    """Counts by inversion with the unrolled terms, and the lanes where these do not suffice."""
    v = to_unit_interval(word)
    tails = _upper_tails(law, _TERMS)
    events = sum((v < tail).astype(COUNT_DTYPE) for tail in tails[:-1])
    mean = law.mean()
    unfinished = (word < _REFINE_BELOW) | (v < tails[-1]) | (mean > _MEAN_PIECE)
    return lax.optimization_barrier((events, unfinished & (mean > 0)))


def _upper_tails(law: _Law, num_terms: int) -> list[Real]:
    """[P(X >= 1), ..., P(X >= T + 1)]: terms upwards by their ratio, tails summed downwards from the remainder."""
    terms = [law.zero()]
    for k in range(1, num_terms + 2):
        terms.append(terms[-1] * law.ratio(k))
    remainder = jnp.float32(1.0)
    for k in range(num_terms + 5, num_terms + 1, -1):
        remainder = 1.0 + remainder * law.ratio(k)
    tails = [terms[-1] * remainder]
    for k in range(num_terms, 0, -1):
        tails.append(tails[-1] + terms[k])
    return tails[::-1]


def _finish_blocks(events: Count, unfinished: Mask, finish: Callable[..., Count], arguments: tuple) -> Count:
    """Replace the unfinished lanes, visiting only the blocks of 1024 lanes that have one (all at once on a GPU)."""
    block = _BLOCK if jax.default_backend() == "cpu" else max(events.size, 1)
    size = events.size
    num_blocks = -(-size // block)

    def blocks(a: jax.Array) -> jax.Array:
        flat = jnp.broadcast_to(a, events.shape).reshape(-1)
        return jnp.pad(flat, (0, num_blocks * block - size)).reshape(num_blocks, block)

    def visit() -> Count:
        lanes = tuple(blocks(a) for a in arguments)
        mask = blocks(unfinished)

        def body(carry: tuple[Mask, Count]) -> tuple[Mask, Count]:
            pending, values = carry
            b = jnp.argmax(pending)
            new = finish(mask[b], *(a[b] for a in lanes))
            values = values.at[b].set(jnp.where(mask[b], new, values[b]))
            return pending.at[b].set(False), values

        _, values = lax.while_loop(lambda c: jnp.any(c[0]), body, (jnp.any(mask, axis=1), blocks(events)))
        return values.reshape(-1)[:size].reshape(events.shape)

    return lax.cond(jnp.any(unfinished), visit, lambda: events)


def _finish_binomial(
    active: Mask, key0: Bits, key1: Bits, index: Bits, number: Bits, word: Bits, n: Count, p: Real
) -> Count:
    return _finish(active, Stream(key0, key1), index, number, word, _Law(n.astype(jnp.float32), p))


def _finish_poisson(active: Mask, key0: Bits, key1: Bits, index: Bits, number: Bits, word: Bits, mean: Real) -> Count:
    return _finish(active, Stream(key0, key1), index, number, word, _Law(mean, None))


def _finish(active: Mask, stream: Stream, index: Bits, number: Bits, word: Bits, law: _Law) -> Count:
    """Draw the active lanes: means up to 10 as a sum of pieces by inversion, larger ones by rejection.

    A lane of mean at most 5 is here because of the value of its first word, so this word must be kept; the
    others were not looked at and take fresh words.
    """

    def attempt(carry: tuple[Real, Count, Bits]) -> tuple[Real, Count, Bits]:
        left, events, count = carry
        bits = retry_words(stream, index, number, count)
        # the barrier keeps the compiler from hoisting the terms of the law as thirty arrays
        (first, second), whole = lax.optimization_barrier((bits, law))
        mean = whole.mean()
        by_rejection = mean > _MEAN_INVERSION
        keep_word = mean <= _MEAN_PIECE
        part = whole._replace(size=left)
        part = law._replace(size=part.piece())
        v = jnp.where(keep_word, to_unit_interval(word, first), to_unit_interval(first, second))
        tails = _upper_tails(part, _TERMS_RARE)
        inverted = sum((v < tail).astype(COUNT_DTYPE) for tail in tails)
        accepted, rejection_value = _rejection_attempt(first, second, whole, mean)
        gained = jnp.where(by_rejection, jnp.where(accepted, rejection_value, 0), inverted)
        used = jnp.where(by_rejection, jnp.where(accepted, left, 0.0), part.size)
        events = events + jnp.where(left > 0, gained, 0)
        return left - used, events, count + jnp.asarray(1, BITS_DTYPE)

    start = (
        jnp.where(active, jnp.broadcast_to(law.size, active.shape), 0.0),
        jnp.zeros(active.shape, COUNT_DTYPE),
        jnp.asarray(0, BITS_DTYPE),
    )
    return lax.while_loop(lambda c: jnp.any(c[0] > 0), attempt, start)[1]


class _Hat(NamedTuple):
    a: Real
    b: Real
    squeeze: Real
    log_scale: Real


def _rejection_hat(law: _Law, mean: Real) -> _Hat:
    """Hormann's constants of the hat; the squeeze holds inside |u| <= 0.43."""
    if law.p is None:
        b = 0.931 + 2.53 * jnp.sqrt(mean)
        a = -0.059 + 0.02483 * b
        squeeze = 0.9277 - 3.6224 / (b - 2.0)
        return _Hat(a, b, squeeze, jnp.log(1.1239 + 1.1328 / jnp.maximum(b - 3.4, 1e-3)))
    spread = jnp.sqrt(mean * (1.0 - law.p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * law.p
    mode_offset = jnp.floor((law.size + 1.0) * law.p) - jnp.floor(mean)
    log_scale = jnp.log((2.83 + 5.1 / b) * spread) + _log_probability(mode_offset, law, mean)
    return _Hat(a, b, 0.92 - 4.2 / b, log_scale)


def _rejection_attempt(word_u: Bits, word_v: Bits, law: _Law, mean: Real) -> tuple[Mask, Count]:
    """One attempt of transformed rejection: whether it is accepted, and its value."""
    hat = _rejection_hat(law, mean)
    upper = word_u >= jnp.asarray(1 << 31, BITS_DTYPE)
    edge = to_unit_interval(jnp.where(upper, ~word_u, word_u))  # distance of the uniform to its nearer end, <= 1/2
    u = jnp.where(upper, 0.5 - edge, edge - 0.5)
    mode = jnp.floor(mean)
    offset = jnp.floor((2.0 * hat.a / edge + hat.b) * u + (mean - mode) + 0.43)
    inside = mode + offset >= 0 if law.p is None else (mode + offset >= 0) & (mode + offset <= law.size)
    offset, edge, v = lax.optimization_barrier((jnp.where(inside, offset, 0.0), edge, to_unit_interval(word_v)))
    log_v = jnp.log(v / (hat.a / (edge * edge) + hat.b)) + hat.log_scale
    accepted = ((edge >= 0.07) & (v <= hat.squeeze)) | (log_v <= _log_probability(offset, law, mean))
    return inside & accepted, mode.astype(COUNT_DTYPE) + offset.astype(COUNT_DTYPE)


def _log_probability(offset: Real, law: _Law, mean: Real) -> Real:
    """Log of P(X = floor(mean) + offset), in saddle-point form: no term is much larger than the result."""
    mode = jnp.floor(mean)
    k = mode + offset
    distance = offset - (mean - mode)
    positive = jnp.maximum(k, 0.5)
    root = jnp.where(k < 1, 0.0, -0.5 * jnp.log(2.0 * math.pi * positive) - _stirling_error(positive))
    result = root - mean * _deviance(distance / mean)
    if law.p is None:
        return result
    failures = law.size - k
    mean_failures = law.size * (1.0 - law.p)
    correction = _stirling_error(law.size) - _stirling_error(failures) + 0.5 * jnp.log(law.size / failures)
    return result + correction - mean_failures * _deviance(-distance / mean_failures)


def _stirling_error(k: Real) -> Real:
    """Log k! - log(sqrt(2 pi k) (k / e)^k) for whole k >= 1, to 2e-8."""
    inverse = 1.0 / jnp.maximum(k, 7.0)
    square = inverse * inverse
    series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0)))
    for small in range(1, len(_STIRLING_ERRORS)):
        series = jnp.where(k == small, jnp.float32(_STIRLING_ERRORS[small]), series)
    return series


def _deviance(t: Real) -> Real:
    """(1 + t) log(1 + t) - t without cancellation; 1 at t = -1."""
    near = jnp.abs(t) < 0.1
    s = jnp.where(near, t, 0.0)
    series = jnp.float32(0.0)
    for i in range(9, 1, -1):
        series = series * s + (-1.0) ** i / (i * (i - 1))
    far = jnp.where(near, 1.0, jnp.maximum(1.0 + t, 1e-30))
    return jnp.where(near, s * s * series, far * jnp.log(far) - (far - 1.0))
