"""Log densities of measured values about a prediction, in NumPy or JAX.

``values`` (rows, columns) hold no NaN: where one is missing stands any number, and what is found there is left out.
``mean`` is positive but for gaussian noise. ``scale`` is the sd, the sigma of the logarithm, or the dispersion.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from exodiff.inference.library import Library

SMALLEST = 1e-30  # a prediction of exactly 0 has no logarithm
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

Array = Any  # of NumPy or JAX
Density = Callable[[Array, Array, Array, float, Library], Array]


def _poisson(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    del scale, limit
    special = library.special
    return special.xlogy(values, mean) - mean - special.gammaln(values + 1)


def _negative_binomial(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    """Variance m + dispersion m^2."""
    del limit
    special, size = library.special, 1 / scale
    return (
        special.gammaln(values + size)
        - special.gammaln(size)
        - special.gammaln(values + 1)
        + special.xlogy(values, scale * mean)
        - (values + size) * library.arrays.log1p(scale * mean)
    )


def _gaussian(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    del limit
    return -0.5 * ((values - mean) / scale) ** 2 - library.arrays.log(scale) - HALF_LOG_2PI


def _lognormal(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    """Of the logarithm of the values; one below the limit (0 included) says only that it is below."""
    xp = library.arrays
    off = (xp.log(xp.maximum(values, SMALLEST)) - xp.log(mean)) / scale
    seen = -0.5 * off**2 - xp.log(scale) - HALF_LOG_2PI
    if limit <= 0:
        return seen
    return xp.where(values < limit, library.special.log_ndtr((np.log(limit) - xp.log(mean)) / scale), seen)


def _multinomial(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    """Of the counts of the classes, in columns; (rows, 1)."""
    del scale, limit
    special, shares = library.special, mean / mean.sum(axis=-1, keepdims=True)
    each = special.xlogy(values, shares) - special.gammaln(values + 1)
    return special.gammaln(values.sum(axis=-1, keepdims=True) + 1) + each.sum(axis=-1, keepdims=True)


def _dirichlet_multinomial(values: Array, mean: Array, scale: Array, limit: float, library: Library) -> Array:
    """Class probabilities are Dirichlet with the mean m / sum(m) and the precision 1 / dispersion; (rows, 1)."""
    del limit
    gammaln, precision = library.special.gammaln, 1 / scale
    number, pseudo = values.sum(axis=-1, keepdims=True), precision * mean / mean.sum(axis=-1, keepdims=True)
    each = gammaln(values + pseudo) - gammaln(pseudo) - gammaln(values + 1)
    return gammaln(precision) - gammaln(number + precision) + gammaln(number + 1) + each.sum(axis=-1, keepdims=True)


DENSITIES: dict[str, Density] = {
    "poisson": _poisson,
    "negative_binomial": _negative_binomial,
    "gaussian": _gaussian,
    "lognormal": _lognormal,
    "multinomial": _multinomial,
    "dirichlet_multinomial": _dirichlet_multinomial,
}
