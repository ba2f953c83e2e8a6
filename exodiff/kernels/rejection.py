"""Binomial and Poisson numbers of mean above 10 by transformed rejection.

W. Hormann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46, 1993, with the log-probability in
saddle-point form (C. Loader, "Fast and accurate computation of binomial probabilities", 2000), which needs no lgamma
and keeps float32 precision for any count.
"""

import math

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.kernels.lanes import first_true
from exodiff.kernels.laws import MAX_MEAN, TINY, Law, polynomial
from exodiff.kernels.random import Stream, retry_words, to_unit_interval

_MAX_COUNT = 1.5 * MAX_MEAN


def draw_by_rejection(active: Mask, stream: Stream, index: Bits, number: Bits, law: Law) -> Count:
    """Transformed rejection, for means above 10."""

    def try_again(carry: tuple[Count, Bits]) -> tuple[Count, Bits]:
        value, count = carry
        # the barrier keeps the compiler from hoisting parts of the law as arrays
        (word_u, word_v), whole = lax.optimization_barrier((retry_words(stream, index, number, count), law))
        return jnp.where(value < 0, attempt(word_u, word_v, whole), value), count + jnp.asarray(1, BITS_DTYPE)

    start = (jnp.where(active, -1, 0).astype(COUNT_DTYPE), jnp.asarray(0, BITS_DTYPE))
    return lax.while_loop(lambda c: first_true(c[0] < 0)[0], try_again, start)[0]


def attempt(word_u: Bits, word_v: Bits, law: Law) -> Count:
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


def _saddle_point(offset: Real, law: Law, mean: Real, mode: Real) -> tuple[Real, Real]:
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
    series = polynomial(s, [(-1.0) ** i / (i * (i - 1)) for i in range(2, 9)])
    far = jnp.where(near, 1.0, jnp.maximum(1.0 + t, TINY))
    return jnp.where(near, s * s * series, far * jnp.log(far) - (far - 1.0))
