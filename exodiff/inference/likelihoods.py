"""Log densities of measured values about a prediction, with their scores and Fisher information.

Arrays are NumPy, float64. ``values`` and ``prediction`` have the shape (..., rows, columns) and broadcast; a missing
value is NaN and counts for nothing. ``scale`` is the sd, the sigma of the logarithm, or the dispersion.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, log_ndtr

from exodiff.inference.densities import DENSITIES, HALF_LOG_2PI, SMALLEST
from exodiff.inference.library import NUMPY


class Terms(NamedTuple):
    """What the values say about a prediction.

    Attributes:
        log_density: of the values; (..., rows, columns), or (..., rows, 1) for classes.
        score: derivative of the log density by the prediction, (..., rows, columns).
        score_of_scale: derivative by the scale, (..., rows, columns) or (..., rows, 1); None without a scale.

    """

    log_density: np.ndarray
    score: np.ndarray
    score_of_scale: np.ndarray | None


class Likelihood(NamedTuple):
    """One kind of noise.

    Attributes:
        terms: of values, prediction, scale and detection limit.
        weigh: rows R with R^T R the Fisher information about parameters, (rows columns, parameters), from the
            derivatives of the prediction by the parameters, (rows, columns, parameters); same other arguments.
        draw: values such as those measured, from what simulations gave; from (generator, simulated (number, rows,
            columns), scale, measured values).
        counts: whether the values are numbers of things: whole, and 0 or more.

    """

    terms: Callable[..., Terms]
    weigh: Callable[..., np.ndarray]
    draw: Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    counts: bool


def _present(values: np.ndarray, *results: np.ndarray) -> list[np.ndarray]:
    """Results where there is a value, 0 elsewhere."""
    known = np.isfinite(values)
    return [np.where(known, result, 0.0) for result in results]


def _filled(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 1.0)


def _rows(values: np.ndarray, root_weight: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    (root,) = _present(values, np.broadcast_to(root_weight, values.shape))
    return (root[..., None] * jacobian).reshape(-1, jacobian.shape[-1])


def _poisson(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    mean, y = np.maximum(prediction, SMALLEST), _filled(values)
    log_density, score = _present(values, DENSITIES["poisson"](y, mean, scale, limit, NUMPY), y / mean - 1)
    return Terms(log_density, score, None)


def _weigh_poisson(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    del scale, limit
    return _rows(values, 1 / np.sqrt(np.maximum(prediction, SMALLEST)), jacobian)


def _negative_binomial(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    mean, y, size = np.maximum(prediction, SMALLEST), _filled(values), 1 / scale
    log_density = DENSITIES["negative_binomial"](y, mean, scale, limit, NUMPY)
    by_size = digamma(y + size) - digamma(size) - np.log1p(scale * mean) + (mean - y) / (size + mean)
    found = _present(values, log_density, (y - mean) / (mean * (1 + scale * mean)), -by_size * size**2)
    return Terms(*found)


def _weigh_negative_binomial(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    del limit
    mean = np.maximum(prediction, SMALLEST)
    return _rows(values, 1 / np.sqrt(mean * (1 + scale * mean)), jacobian)


def _gaussian(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    y = _filled(values)
    off = (y - prediction) / scale
    log_density = DENSITIES["gaussian"](y, prediction, scale, limit, NUMPY)
    found = _present(values, log_density, off / scale, (off**2 - 1) / scale)
    return Terms(*found)


def _weigh_gaussian(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    del prediction, limit
    return _rows(values, 1 / scale, jacobian)


def _lognormal(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    mean, y = np.maximum(prediction, SMALLEST), np.maximum(_filled(values), SMALLEST)
    off = (np.log(y) - np.log(mean)) / scale
    below, depth, hazard = _censored(y, mean, scale, limit)
    log_density = DENSITIES["lognormal"](y, mean, scale, limit, NUMPY)
    score = np.where(below, -hazard, off) / (scale * mean)
    by_scale = np.where(below, -hazard * depth, off**2 - 1) / scale
    return Terms(*_present(values, log_density, score, by_scale))


def _censored(
    values: np.ndarray, mean: np.ndarray, scale: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is below the limit; its distance from the mean in sd; and normal density by distribution function there."""
    if limit <= 0:
        nothing = np.zeros(np.broadcast_shapes(values.shape, mean.shape))
        return nothing > 0, nothing, nothing
    depth = (np.log(limit) - np.log(mean)) / scale
    return values < limit, depth, np.exp(-0.5 * depth**2 - HALF_LOG_2PI - log_ndtr(depth))


def _weigh_lognormal(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    mean = np.maximum(prediction, SMALLEST)
    below, depth, hazard = _censored(_filled(values), mean, scale, limit)
    known = np.where(below, np.sqrt(np.maximum(hazard * (hazard + depth), 0.0)), 1.0)
    return _rows(values, known / (scale * mean), jacobian)


def _shares(values: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts (0 in rows with a missing one), their sum, probabilities of the classes, and the predicted sum."""
    complete = np.isfinite(values).all(axis=-1, keepdims=True)
    counts, mean = np.where(complete, _filled(values), 0.0), np.maximum(prediction, SMALLEST)
    total = mean.sum(axis=-1, keepdims=True)
    return counts, counts.sum(axis=-1, keepdims=True), mean / total, total


def _by_prediction(by_share: np.ndarray, shares: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Chain rule from the probabilities m / sum(m) to the predictions m."""
    return (by_share - (shares * by_share).sum(axis=-1, keepdims=True)) / total


def _multinomial(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    counts, _, shares, total = _shares(values, prediction)
    log_density = DENSITIES["multinomial"](counts, shares, scale, limit, NUMPY)
    return Terms(log_density, _by_prediction(counts / shares, shares, total), None)


def _weigh_shares(jacobian: np.ndarray, shares: np.ndarray, total: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Rows of the information of ``number`` draws of a class, with the classes in columns."""
    of_shares = (jacobian - shares[..., None] * jacobian.sum(axis=-2, keepdims=True)) / total[..., None]
    return (np.sqrt(number / shares)[..., None] * of_shares).reshape(-1, jacobian.shape[-1])


def _weigh_multinomial(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    del scale, limit
    _, number, shares, total = _shares(values, prediction)
    return _weigh_shares(jacobian, shares, total, number)


def _dirichlet_multinomial(values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float) -> Terms:
    counts, number, shares, total = _shares(values, prediction)
    precision = np.broadcast_to(1 / scale, number.shape) if np.ndim(scale) else 1 / scale
    pseudo = precision * shares
    log_density = DENSITIES["dirichlet_multinomial"](counts, shares, scale, limit, NUMPY)
    gain = digamma(counts + pseudo) - digamma(pseudo)
    by_precision = digamma(precision) - digamma(number + precision) + (shares * gain).sum(axis=-1, keepdims=True)
    score = _by_prediction(precision * gain, shares, total)
    return Terms(log_density, score, -by_precision * precision**2)


def _weigh_dirichlet_multinomial(
    jacobian: np.ndarray, values: np.ndarray, prediction: np.ndarray, scale: np.ndarray, limit: float
) -> np.ndarray:
    """As many independent draws as have the variance of these."""
    del limit
    _, number, shares, total = _shares(values, prediction)
    precision = 1 / scale
    return _weigh_shares(jacobian, shares, total, number * (1 + precision) / (np.maximum(number, 1) + precision))


def _as_simulated(
    generator: np.random.Generator, simulated: np.ndarray, scale: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Counts scatter in the simulation itself."""
    del generator, scale, values
    return simulated


def _classed(
    generator: np.random.Generator, simulated: np.ndarray, scale: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """As many as were counted in each row, taken from the simulated ones: without putting back where these suffice."""
    del scale
    number = np.where(np.isfinite(values).all(axis=-1), values.sum(axis=-1), 0)
    result = np.zeros(simulated.shape)
    for place in np.ndindex(simulated.shape[:-1]):
        there, wanted = np.rint(simulated[place]), int(number[place[-1]])
        if there.sum() >= wanted:
            result[place] = generator.multivariate_hypergeometric(there.astype(np.int64), wanted, method="marginals")
        elif there.sum() > 0:
            result[place] = generator.multinomial(wanted, there / there.sum())
    return result


def _with_error(
    generator: np.random.Generator, simulated: np.ndarray, scale: np.ndarray, values: np.ndarray
) -> np.ndarray:
    del values
    return simulated + scale * generator.standard_normal(simulated.shape)


def _with_factor(
    generator: np.random.Generator, simulated: np.ndarray, scale: np.ndarray, values: np.ndarray
) -> np.ndarray:
    del values
    return simulated * np.exp(scale * generator.standard_normal(simulated.shape))


LIKELIHOODS = {
    "poisson": Likelihood(_poisson, _weigh_poisson, _as_simulated, counts=True),
    "negative_binomial": Likelihood(_negative_binomial, _weigh_negative_binomial, _as_simulated, counts=True),
    "gaussian": Likelihood(_gaussian, _weigh_gaussian, _with_error, counts=False),
    "lognormal": Likelihood(_lognormal, _weigh_lognormal, _with_factor, counts=False),
    "multinomial": Likelihood(_multinomial, _weigh_multinomial, _classed, counts=True),
    "dirichlet_multinomial": Likelihood(_dirichlet_multinomial, _weigh_dirichlet_multinomial, _classed, counts=True),
}
CLASSES = ("multinomial", "dirichlet_multinomial")
