"""Log-probabilities of drawn numbers, up to what no parameter changes."""

import jax.numpy as jnp

from exodiff.core.arrays import Count, Real

_SMALL = 1e-2


def poisson(drawn: Count, mean: Real) -> Real:
    """K log(mean) - mean."""
    return _times_log(drawn, mean) - mean


def binomial(drawn: Count, n: Count, p: Real) -> Real:
    """X log p + (n - X) log(1 - p)."""
    rest = n - drawn
    missed = rest > 0
    return _times_log(drawn, p) + jnp.where(missed, rest.astype(p.dtype) * jnp.log1p(-jnp.where(missed, p, 0.0)), 0.0)


def chain(drawn: Count, scale: Real, first: Real, slope: Real) -> Real:
    """Events of a channel alone, whose propensity times the step is about first + slope x (events so far).

    X log(scale) + X log((1 - exp(-slope)) / slope) - first, where scale has the dependence of the propensities before
    each event on the parameters. Exact for a linear propensity, and for 0 and 1 events of any.
    """
    is_small = jnp.abs(slope) < _SMALL
    x, y = jnp.where(is_small, slope, 0.0), jnp.where(is_small, 1.0, slope)
    near = -0.5 * x * (1.0 - x / 12.0)
    far = jnp.log(-jnp.expm1(-y) / y)
    return _times_log(drawn, scale) + drawn.astype(slope.dtype) * jnp.where(is_small, near, far) - first


def _times_log(drawn: Count, x: Real) -> Real:
    happened = drawn > 0
    return jnp.where(happened, drawn.astype(x.dtype) * jnp.log(jnp.where(happened, x, 1.0)), 0.0)
