"""Corrections from simulations at the optimum: bias, honest covariance, and the synthetic likelihood.

The closure is wrong in its means (by 1/copies) and in the scatter that its likelihood assumes. Simulations of the
stochastic model at the estimate tell by how much: the mean of their score is the bias of the estimating equation, its
covariance the true scatter (sandwich; V. Godambe, Ann. Math. Stat. 31, 1960). The synthetic likelihood takes mean and
covariance of the data themselves from the simulations (S. Wood, Nature 466, 2010).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.data import Measured
from exodiff.inference.likelihoods import LIKELIHOODS
from exodiff.inference.objective import Evaluation, Objective, Part


class Corrected(NamedTuple):
    """An estimate after a correction.

    Attributes:
        u: coordinates.
        covariance: of u.
        shift: by how much the correction moved u, in its standard errors, (parameters,).
        simulation_share: share of the variance that is due to the finite number of simulations, the largest.

    """

    u: np.ndarray
    covariance: np.ndarray
    shift: np.ndarray
    simulation_share: float


class Pattern(NamedTuple):
    """Tissues that were measured in the same way.

    Attributes:
        number: of tissues.
        parts: rows of the data sets, of one tissue.
        values: what was measured, for each tissue and data set, (rows, columns).

    """

    number: int
    parts: list[Part]
    values: list[list[np.ndarray]]

    def draw(self, simulated: np.ndarray, objective: Objective, generator: np.random.Generator) -> list[np.ndarray]:
        """What would be measured in simulations (number, times, columns): for each part (number, rows, columns)."""
        found = []
        for part in self.parts:
            times, columns = objective.predictor.design.place(part.data)
            seen = LIKELIHOODS[part.data.noise.kind].draw(
                generator, simulated[:, times, columns], part.scale, part.data.values
            )
            found.append(np.where(np.isfinite(part.data.values), seen, np.nan))
        return found


def patterns(objective: Objective, at: Evaluation) -> list[Pattern]:
    """The tissues, gathered by which rows and values they have."""
    labels = sorted({label for one in objective.data for label in one.replicates})
    kinds: dict[bytes, list[list[Measured]]] = {}
    for label in labels:
        tissue = [one.rows(one.replicates == label) for one in objective.data]
        key = b"|".join(
            b"".join(
                (one.times_s.tobytes(), np.isfinite(one.values).tobytes(), b"" if one.sd is None else one.sd.tobytes())
            )
            for one in tissue
        )
        kinds.setdefault(key, []).append(tissue)
    found = []
    for tissues in kinds.values():
        kept = [i for i, one in enumerate(tissues[0]) if len(one.times_s)]
        parts = [part for i, part in enumerate(objective.parts(at.u, at.prediction, tissues[0])) if i in kept]
        found.append(Pattern(len(tissues), parts, [[tissue[i].values for i in kept] for tissue in tissues]))
    return found


def correct(objective: Objective, at: Evaluation, simulated: np.ndarray, generator: np.random.Generator) -> Corrected:
    """One step against the bias, and the sandwich covariance.

    With the score s of simulated data at the estimate, the information A of data and prior, and P of the prior alone:
    u - A^-1 mean(s) and A^-1 (cov(s) + P) A^-1, where cov(s) holds what the finite number of simulations adds.

    Args:
        objective: of the data.
        at: the optimum of the closure.
        simulated: realisations of the stochastic model there, (number, times, columns).
        generator: of the measurement errors.

    """
    number, size = len(simulated), len(at.u)
    bias, scatter, of_all = np.zeros(size), np.zeros((size, size)), np.zeros((number, size))
    for pattern in patterns(objective, at):
        drawn = pattern.draw(simulated, objective, generator)
        scores = sum(
            (part.score(values) for part, values in zip(pattern.parts, drawn, strict=True)), np.zeros((number, size))
        )
        bias += pattern.number * scores.mean(axis=0)
        scatter += pattern.number * np.atleast_2d(np.cov(scores.T))
        of_all += pattern.number * scores
    of_simulations = np.atleast_2d(np.cov(of_all.T)) / number
    inverse = np.linalg.inv(at.curvature)
    covariance = inverse @ (scatter + of_simulations + np.diag(at.prior_information)) @ inverse
    return _corrected(at, -inverse @ bias, covariance, inverse @ of_simulations @ inverse)


def synthetic(objective: Objective, at: Evaluation, simulated: np.ndarray, generator: np.random.Generator) -> Corrected:
    """One step of Gauss-Newton on a normal likelihood with simulated mean and covariance.

    The inverse of an estimated covariance is too large by (N - 1) / (N - d - 2) for d values (T. Anderson, An
    Introduction to Multivariate Statistical Analysis, 2003, section 7.7), which is taken off.

    Raises:
        ConfigError: when there are too few simulations for the values of a tissue, or values that never vary.

    """
    size = len(at.u)
    information, score, of_simulations = np.zeros((size, size)), at.prior_slope.copy(), np.zeros((size, size))
    number = len(simulated)
    for pattern in patterns(objective, at):
        known = [np.isfinite(part.data.values) for part in pattern.parts]
        seen = [
            _as_normal(part, v)
            for part, v in zip(pattern.parts, pattern.draw(simulated, objective, generator), strict=True)
        ]
        drawn = _flat(seen, known)
        jacobian = np.concatenate([_slopes(part)[mask] for part, mask in zip(pattern.parts, known, strict=True)])
        precision = _precision(drawn)
        weighed = jacobian.T @ precision
        measured = [
            [_as_normal(part, v[None]) for part, v in zip(pattern.parts, values, strict=True)]
            for values in pattern.values
        ]
        tissues = np.concatenate([_flat(values, known) for values in measured])
        score += weighed @ (tissues - drawn.mean(axis=0)).sum(axis=0)
        information += pattern.number * weighed @ jacobian
        of_simulations += pattern.number**2 / number * weighed @ jacobian
    inverse = np.linalg.inv(information + np.diag(at.prior_information))
    extra = inverse @ of_simulations @ inverse
    return _corrected(at, inverse @ score, inverse + extra, extra)


def _as_normal(part: Part, values: np.ndarray) -> np.ndarray:
    """Values whose scatter is nearer to normal: the logarithm under lognormal noise."""
    return np.log(values) if part.data.noise.kind == "lognormal" else values


def _slopes(part: Part) -> np.ndarray:
    return part.jacobian / part.mean[..., None] if part.data.noise.kind == "lognormal" else part.jacobian


def _corrected(at: Evaluation, move: np.ndarray, covariance: np.ndarray, of_simulations: np.ndarray) -> Corrected:
    variance = np.diag(covariance)
    share = float((np.diag(of_simulations) / variance).max())
    return Corrected(at.u + move, covariance, move / np.sqrt(variance), share)


def _flat(values: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> np.ndarray:
    """(number, rows, columns) of some parts as (number, values), without what is missing."""
    return np.concatenate([one[:, mask] for one, mask in zip(values, known, strict=True)], axis=1)


def _precision(drawn: np.ndarray) -> np.ndarray:
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
    return np.linalg.inv(covariance) * (number - size - 2) / (number - 1)
