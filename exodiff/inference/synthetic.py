"""The synthetic likelihood: a normal law of what was measured, from simulations (S. Wood, Nature 466, 2010).

Its mean is the closure's and as much more as the simulations give at one point, its covariance theirs there. With both
held fixed it is a function of the parameters without noise, which a sampler may take as its target.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import block_diag, solve_triangular

from exodiff.core.errors import ConfigError
from exodiff.inference.calibration import Corrected, corrected_by, patterns
from exodiff.inference.densities import SMALLEST
from exodiff.inference.library import Library
from exodiff.inference.objective import Evaluation, Objective, Part


class Synthetic(NamedTuple):
    """A normal law of averages over tissues that were measured in the same way.

    Attributes:
        times: rows of the closure's means, (values,).
        columns: of the closure's means, (values,).
        is_log: whether the logarithm is normal, (values,).
        closure: what the closure gives at the optimum, (values,).
        jacobian: derivatives of that by u, (values, parameters).
        target: averages of what was measured, less what simulations give above the closure, (values,).
        whitener: W with W' W the inverse of the covariance of ``target``, (values, values).
        of_simulations: the part of that covariance that is due to the finite number of simulations.

    """

    times: np.ndarray
    columns: np.ndarray
    is_log: np.ndarray
    closure: np.ndarray
    jacobian: np.ndarray
    target: np.ndarray
    whitener: np.ndarray
    of_simulations: np.ndarray

    def log_density(self, means: Any, library: Library) -> Any:
        """Up to a constant, where the closure has some means (times, columns)."""
        xp = library.arrays
        seen = means[self.times, self.columns]
        seen = xp.where(self.is_log, xp.log(xp.maximum(seen, SMALLEST)), seen)
        white = self.whitener.astype(seen.dtype) @ (self.target.astype(seen.dtype) - seen)
        return -0.5 * (white**2).sum()

    def correct(self, at: Evaluation) -> Corrected:
        """One step of Gauss-Newton from the optimum of the closure, and the covariance there."""
        weighed = (self.whitener @ self.jacobian).T @ self.whitener
        covariance = np.linalg.inv(weighed @ self.jacobian + np.diag(at.prior_information))
        move = covariance @ (weighed @ (self.target - self.closure) + at.prior_slope)
        by_values = covariance @ weighed
        return corrected_by(at, move, covariance, by_values @ self.of_simulations @ by_values.T)


def make_synthetic(
    objective: Objective, at: Evaluation, simulated: np.ndarray, generator: np.random.Generator
) -> Synthetic:
    """The law from simulations (number, times, columns) at the optimum of the closure.

    Raises:
        ConfigError: when there are too few simulations for the values of a tissue, or values that never vary.

    """
    drawn, scatter, measured, rows = [], [], [], []
    for pattern in patterns(objective, at):
        known = [np.isfinite(part.data.values) for part in pattern.parts]
        drawn.append(_flat(pattern.parts, known, pattern.draw(simulated, objective, generator)))
        scatter.append(estimated_covariance(drawn[-1], len(at.u)) / pattern.number)
        tissues = [_flat(pattern.parts, known, [one[None] for one in values]) for values in pattern.values]
        measured.append(np.concatenate(tissues).mean(axis=0))
        rows += [_closure_of(objective, part, mask) for part, mask in zip(pattern.parts, known, strict=True)]
    times, columns, is_log, closure, jacobian = (np.concatenate(one) for one in zip(*rows, strict=True))
    of_all = np.concatenate(drawn, axis=1)
    of_simulations = np.atleast_2d(np.cov(of_all.T)) / len(simulated)
    root = np.linalg.cholesky(np.asarray(block_diag(*scatter)) + of_simulations)
    return Synthetic(
        times=times,
        columns=columns,
        is_log=is_log,
        closure=closure,
        jacobian=jacobian,
        target=np.concatenate(measured) - of_all.mean(axis=0) + closure,
        whitener=solve_triangular(root, np.eye(len(root)), lower=True),
        of_simulations=of_simulations,
    )


def _flat(parts: Sequence[Part], known: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> np.ndarray:
    """Values (number, rows, columns) of some parts as (number, values), without what is missing."""
    normal = [_as_normal(part, one[:, mask]) for part, mask, one in zip(parts, known, values, strict=True)]
    return np.concatenate(normal, axis=1)


def _as_normal(part: Part, values: np.ndarray) -> np.ndarray:
    """Values whose scatter is nearer to normal: the logarithm under lognormal noise."""
    return np.log(values) if part.data.noise.kind == "lognormal" else values


def _closure_of(objective: Objective, part: Part, known: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first five attributes of the law, for one data set."""
    times, columns = np.broadcast_arrays(*objective.predictor.design.place(part.data))
    is_log, mean, slopes = part.data.noise.kind == "lognormal", part.mean[known], part.jacobian[known]
    by_mean = 1 / mean if is_log else np.ones_like(mean)
    return times[known], columns[known], np.full(len(mean), is_log), _as_normal(part, mean), slopes * by_mean[:, None]


def estimated_covariance(drawn: np.ndarray, num_parameters: int) -> np.ndarray:
    """Of simulations (number, values), made larger since it is estimated and then inverted.

    The inverse of a covariance of d values from N simulations is too large, and p parameters found by it scatter more
    than it tells: together by (N - 1) (1 + B (d - p)) / (N - d + p - 1) with
    B = (N - d - 2) / ((N - d - 1) (N - d - 4)) (W. Percival et al., MNRAS 510, 3207, 2022).
    """
    number, size = drawn.shape
    if number < 2 * size + 10:
        raise ConfigError(
            "fit.calibrate",
            f"{number} simulations are too few for the covariance of {size} values of a tissue; at least "
            f"{2 * size + 10} are needed: raise it, or choose method closure",
        )
    covariance = np.atleast_2d(np.cov(drawn.T))
    deviation = np.sqrt(np.diag(covariance))
    smallest = np.linalg.eigvalsh(covariance / np.outer(deviation, deviation))[0] if np.all(deviation > 0) else 0.0
    if smallest < 1e-10:
        raise ConfigError(
            "fit.method",
            "synthetic needs values that vary and do not determine each other; in the simulations they do not (such as "
            "parts of a conserved sum, or a time before anything happens): leave such values out, or choose closure",
        )
    left = number - size
    found_by_it = 1 + (left - 2) / ((left - 1) * (left - 4)) * (size - num_parameters)
    return covariance * found_by_it * (number - 1) / (left + num_parameters - 1)
