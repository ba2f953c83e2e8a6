"""The derivative of a drawn number, by matching moments.

Of a draw X with mean m and variance v, the straight-through derivative is

    dX = dm + (X - m) dv / (2 v).

Its mean is that of the derivative of E[X], and the mean of 2 X dX that of the derivative of E[X^2]: exact for
quadratics of X. It is the mean of what one trial, molecule or event more and one less would change. For Binomial(n, p),
from dE f(B_n)/dp = n E[f(B_(n-1) + 1) - f(B_(n-1))] put on X from either side, it is
[(n - X) / (1 - p) + X / p] dp / 2 + (p + X / n) dn / 2; for Poisson(a), (1 + X / a) da / 2. Where v = 0 it is dm.

A path at zero has no derivative to carry, so products of counts lose a share of the order of P(n = 0).
"""

import jax
import jax.numpy as jnp

from exodiff.core.arrays import Real

_SERIES_BELOW = 0.05  # there the terms up to x^4 are exact to 5e-10, and expm1(x) / x loses digits of its slope


@jax.custom_jvp
def matched(drawn: Real, mean: Real, variance: Real) -> Real:
    """A drawn number, which changes with the parameters as its mean and variance do."""
    del mean, variance
    return drawn


@matched.defjvp
def _(primals: tuple[Real, ...], tangents: tuple[Real, ...]) -> tuple[Real, Real]:  # pyright: ignore[reportUnusedFunction]
    drawn, mean, variance = primals
    _, mean_change, variance_change = tangents
    varies = variance > 0
    per_variance = jnp.where(varies, 0.5 * (drawn - mean) / jnp.where(varies, variance, 1.0), 0.0)
    return drawn, mean_change + per_variance * variance_change


def chain_moments(first: Real, slope: Real) -> tuple[Real, Real]:
    """Mean and variance of the number of events of a channel alone in a step.

    Its propensity times the step is ``first`` + ``slope`` x (events so far). Exact: a binomial number where events slow
    the channel down, a Poisson number where they do not matter, a negative binomial one where they speed it up.
    """
    is_small = jnp.abs(slope) < _SERIES_BELOW
    x = jnp.where(is_small, slope, 0.0)
    near = 1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0)))
    y = jnp.where(is_small, 1.0, slope)
    mean = first * jnp.where(is_small, near, jnp.expm1(y) / y)
    return mean, mean * jnp.exp(slope)
