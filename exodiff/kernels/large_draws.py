"""Binomial and Poisson numbers beyond 2^31, as two words.

Below, the exact draws of :mod:`exodiff.kernels.draws`. Above, at means up to 2^14, a binomial of the same mean with
2^30 trials: its variance is off by less than 2^-16 of itself. At larger means a normal number with the third moment of
the law (E. A. Cornish, R. A. Fisher, Rev. Inst. Int. Stat. 5, 1938) around the mean in whole arithmetic: quantiles are
off by less than 1e-4 standard deviations (128 or more molecules) up to three of these, the variance by 1/12.
"""

import math

import jax.numpy as jnp

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Real
from exodiff.kernels import draws, totals, words
from exodiff.kernels.laws import MAX_MEAN
from exodiff.kernels.random import Stream, to_unit_interval, word_pair

_TRIALS = 2.0**30
_FEW = 2.0**14
_SHARE = 2.0**-63  # Poisson means are shares of 2^63 molecules


def binomial(stream: Stream, number: int, n: Bits, p: Real) -> Bits:
    """Draw Binomial(n, p) for one n of two words; takes draws ``number`` and ``number + 1`` of the stream at index 0.

    Never below 0 or above n: at means above 2^14 both ends are over 100 standard deviations away, and the normal number
    stays within 7.
    """
    flip = p > 0.5
    rare = jnp.where(flip, 1.0 - p, jnp.maximum(p, 0.0)).astype(jnp.float32)
    mean = words.to_real(n, "float32") * rare
    is_small = (n[0] == 0) & (n[1] >> 31 == 0)
    trials = jnp.where(is_small, n[1], jnp.asarray(1 << 30, BITS_DTYPE)).astype(COUNT_DTYPE)
    chance = jnp.where(is_small, rare, jnp.minimum(mean, _FEW) / _TRIALS)
    few = draws.binomial(stream, _index(), number, trials[None], chance[None])[0]
    many = _normal(stream, number + 1, n, rare, mean * (1.0 - rare), 1.0 - 2.0 * rare)
    found = jnp.where(is_small | (mean <= _FEW), words.from_count(few), many)
    return jnp.where(flip, totals.add(n, words.negated(found)), found)


def poisson(stream: Stream, number: int, mean: Real) -> Bits:
    """Draw one Poisson number of mean below 2^62, as two words; addresses as of :func:`binomial`."""
    mean = mean.astype(jnp.float32)
    few = draws.poisson(stream, _index(), number, jnp.minimum(mean, MAX_MEAN)[None])[0]
    whole = jnp.asarray((1 << 31, 0), BITS_DTYPE)
    many = _normal(stream, number + 1, whole, mean * _SHARE, mean, jnp.ones_like(mean))
    return jnp.where(mean <= MAX_MEAN, words.from_count(few), many)


def _index() -> Bits:
    return jnp.zeros((1,), BITS_DTYPE)


def _normal(stream: Stream, number: int, n: Bits, share: Real, variance: Real, skew: Real) -> Bits:
    """A whole number of mean n times the share, with a variance and a third central moment variance times skew."""
    whole, fraction = words.scaled(n, share)
    radius, angle = (to_unit_interval(word[0]) for word in word_pair(stream, _index(), number))
    z = jnp.sqrt(-2.0 * jnp.log(radius)) * jnp.cos(jnp.float32(2.0 * math.pi) * angle)
    deviation = jnp.sqrt(variance) * z + skew * (z * z - 1.0) / 6.0 + fraction
    offset = jnp.round(deviation)
    above, below = words.from_real(jnp.maximum(offset, 0.0)), words.from_real(jnp.maximum(-offset, 0.0))
    return totals.add(totals.add(whole, above), words.negated(below))
