"""The derivative of a drawn number, by matching moments.

Of a draw X with mean m and variance v, the straight-through derivative is

    dX = dm + (X - m) dv / (2 v).

Its mean is that of the derivative of E[X], and the mean of 2 X dX that of the derivative of E[X^2]: exact for
quadratics of X. It is the mean of what one trial, molecule or event more and one less would change. For Binomial(n, p),
from dE f(B_n)/dp = n E[f(B_(n-1) + 1) - f(B_(n-1))] put on X from either side, it is
[(n - X) / (1 - p) + X / p] dp / 2 + (p + X / n) dn / 2; for Poisson(a), (1 + X / a) da / 2. Where v = 0 it is dm.

A path at zero has no derivative to carry, so products of counts lose a share of the order of P(n = 0).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import Real

Moments = Callable[..., tuple[Real, Real]]

_SERIES_BELOW = 0.05  # there the terms up to x^4 are exact to 5e-10, and expm1(x) / x loses digits of its slope


def matched(drawn: Real, mean: Real, variance: Real) -> Real:
    """A drawn number, which changes with the parameters as its mean and variance do."""
    return follows(_given, drawn, mean, variance)


def _given(mean: Real, variance: Real) -> tuple[Real, Real]:
    return mean, variance


def follows(moments: Moments, drawn: Real, *numbers: Real, fixed: tuple[Array, ...] = ()) -> Real:
    """A drawn number, which changes with the numbers of its law as its mean and variance do.

    Args:
        moments: mean and variance from ``numbers`` and ``fixed``, element by element; a function of a module.
        drawn: by the law.
        numbers: of the law, to be differentiated by.
        fixed: the rest of what the law needs.

    """
    return _follows(moments, drawn, tuple(jnp.broadcast_to(number, drawn.shape) for number in numbers), fixed)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _follows(moments: Moments, drawn: Real, numbers: tuple[Real, ...], fixed: tuple[Array, ...]) -> Real:
    del moments, numbers, fixed
    return drawn


@_follows.defjvp
def _(  # pyright: ignore[reportUnusedFunction]
    moments: Moments, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Real, Real]:
    drawn, numbers, fixed = primals

    def of(*numbers: Real) -> tuple[Real, Real]:
        return moments(*numbers, *fixed)

    mean, variance = of(*numbers)
    varies = variance > 0
    twice = jnp.where(varies, 2.0 * variance, 1.0)
    off = jnp.where(varies, drawn - mean, 0.0)

    def slope(which: int) -> Real:
        along = tuple(jnp.full_like(number, place == which) for place, number in enumerate(numbers))
        mean_change, variance_change = jax.jvp(of, numbers, along)[1]
        # a division last: what ends with one is not computed again for each direction
        return (mean_change * twice + off * variance_change) / twice

    changes = (slope(which) * change for which, change in enumerate(tangents[1]))
    return drawn, sum(changes, jnp.zeros_like(drawn))


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
