"""Corrections from simulations at the optimum: bias and honest covariance.

The closure is wrong in its means (by 1/copies) and in the scatter that its likelihood assumes. Simulations of the
stochastic model at the estimate tell by how much: the mean of their score is the bias of the estimating equation, its
covariance the true scatter (sandwich; V. Godambe, Ann. Math. Stat. 31, 1960).
"""

from typing import NamedTuple

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.data import Measured
from exodiff.inference.likelihoods import CLASSES, LIKELIHOODS
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
            if part.data.noise.kind == "lognormal" and part.data.noise.limit <= 0 and np.any(found[-1] <= 0):
                raise ConfigError(
                    part.data.name,
                    "simulations at the estimate give 0, which has no logarithm; give the noise a detection_limit, or "
                    "leave out times at which there may be nothing",
                )
        return found


def patterns(objective: Objective, at: Evaluation) -> list[Pattern]:
    """The tissues, gathered by which rows and values they have, and by how many were classified."""
    labels = sorted({label for one in objective.data for label in one.replicates})
    kinds: dict[bytes, list[list[Measured]]] = {}
    for label in labels:
        tissue = [one.rows(one.replicates == label) for one in objective.data]
        key = b"|".join(
            b"".join(
                (
                    one.times_s.tobytes(),
                    np.isfinite(one.values).tobytes(),
                    b"" if one.sd is None else one.sd.tobytes(),
                    one.values.sum(axis=1).tobytes() if one.noise.kind in CLASSES else b"",
                )
            )
            for one in tissue
        )
        kinds.setdefault(key, []).append(tissue)
    found = []
    for tissues in kinds.values():
        kept = [i for i, one in enumerate(tissues[0]) if one.num_values]
        if not kept:
            continue
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
    return corrected_by(at, -inverse @ bias, covariance, inverse @ of_simulations @ inverse)


def corrected_by(at: Evaluation, move: np.ndarray, covariance: np.ndarray, of_simulations: np.ndarray) -> Corrected:
    """The estimate moved, with its covariance and the part of that which is due to the finite number of simulations."""
    variance = np.diag(covariance)
    share = float((np.diag(of_simulations) / variance).max())
    return Corrected(at.u + move, covariance, move / np.sqrt(variance), share)
