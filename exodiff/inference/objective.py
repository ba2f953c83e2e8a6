"""The log posterior density in unconstrained coordinates, its gradient and its Fisher information."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.data import Measured
from exodiff.inference.likelihoods import LIKELIHOODS, Terms
from exodiff.inference.prediction import Prediction, Predictor
from exodiff.inference.priors import Prior

_EXACT_SCALE = ("gaussian", "lognormal")  # the information about the scale is 2 / scale^2 a value


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The log posterior at one point.

    Attributes:
        u: coordinates, (parameters,).
        prediction: the closure there, with derivatives by the parameters themselves.
        log_likelihood: of all values.
        log_prior: of u.
        score: derivative of the log likelihood by u.
        information: Fisher information of the data about u, (parameters, parameters).
        prior_slope: derivative of the log prior by u.
        prior_information: its curvature with the sign changed, (parameters,).

    """

    u: np.ndarray
    prediction: Prediction
    log_likelihood: float
    log_prior: float
    score: np.ndarray
    information: np.ndarray
    prior_slope: np.ndarray
    prior_information: np.ndarray

    @property
    def log_posterior(self) -> float:
        """Up to a constant."""
        return self.log_likelihood + self.log_prior

    @property
    def gradient(self) -> np.ndarray:
        """Of the log posterior."""
        return self.score + self.prior_slope

    @property
    def curvature(self) -> np.ndarray:
        """Information of the data and of the prior together."""
        return self.information + np.diag(self.prior_information)


@dataclass(frozen=True, eq=False)
class Part:
    """What one data set meets at one point: (rows, columns) and, for the derivatives by u, (rows, columns, parameters).

    Missing values have the prediction 1 and the derivative 0.
    """

    data: Measured
    mean: np.ndarray
    scale: np.ndarray
    jacobian: np.ndarray
    scale_jacobian: np.ndarray

    def terms(self, values: np.ndarray) -> Terms:
        """Log densities and scores of some values, (..., rows, columns)."""
        return LIKELIHOODS[self.data.noise.kind].terms(values, self.mean, self.scale, self.data.noise.limit)

    def score(self, values: np.ndarray) -> np.ndarray:
        """Derivative of their log density by u, (..., parameters)."""
        terms = self.terms(values)
        found = np.einsum("...rc,rcp->...p", terms.score, self.jacobian)
        if terms.score_of_scale is not None and self.scale_jacobian.any():
            found = found + terms.score_of_scale.sum(axis=(-2, -1))[..., None] * self.scale_jacobian
        return found

    def information(self) -> np.ndarray:
        """Fisher information of the data set about u."""
        weigh = LIKELIHOODS[self.data.noise.kind].weigh
        rows = weigh(self.jacobian, self.data.values, self.mean, self.scale, self.data.noise.limit)
        found = rows.T @ rows
        if not self.scale_jacobian.any():
            return found
        if self.data.noise.kind in _EXACT_SCALE:
            of_scale = 2 * self.data.num_values / float(self.scale) ** 2
        else:
            by_scale = self.terms(self.data.values).score_of_scale
            assert by_scale is not None
            of_scale = float(np.sum(by_scale**2))
        return found + of_scale * np.outer(self.scale_jacobian, self.scale_jacobian)


class Objective:
    """The log posterior of some data."""

    def __init__(self, predictor: Predictor, priors: Sequence[Prior], data: Sequence[Measured]) -> None:
        self.predictor, self.priors, self.data = predictor, tuple(priors), tuple(data)

    def values(self, u: np.ndarray) -> np.ndarray:
        """Values of the parameters at some coordinates, (..., parameters)."""
        return np.stack([prior.from_coordinate(u[..., i]) for i, prior in enumerate(self.priors)], axis=-1)

    def evaluate(self, u: np.ndarray) -> Evaluation | None:
        """The log posterior with derivatives; None where the model or the density has no finite value."""
        slopes = np.stack([prior.derivatives(float(one)) for prior, one in zip(self.priors, u, strict=True)])
        log_prior = sum(float(prior.log_density(np.asarray(one))) for prior, one in zip(self.priors, u, strict=True))
        prediction = self.predictor.predict(self.values(u)) if np.isfinite(log_prior) else None
        if prediction is None:
            return None
        parts = self.parts(u, prediction, self.data)
        log_likelihood = float(sum(part.terms(part.data.values).log_density.sum() for part in parts))
        if not np.isfinite(log_likelihood):
            return None
        return Evaluation(
            u=u,
            prediction=prediction,
            log_likelihood=log_likelihood,
            log_prior=log_prior,
            score=sum((part.score(part.data.values) for part in parts), np.zeros(len(u))),
            information=sum((part.information() for part in parts), np.zeros((len(u), len(u)))),
            prior_slope=slopes[:, 0],
            prior_information=slopes[:, 1],
        )

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Derivatives of the parameters by their coordinates, (parameters,)."""
        return np.array([float(prior.slope(np.asarray(one))) for prior, one in zip(self.priors, u, strict=True)])

    def parts(self, u: np.ndarray, prediction: Prediction, data: Sequence[Measured]) -> list[Part]:
        """Each data set (one for each of those of the objective, or some of their rows) with its prediction."""
        slope = self.slope(u)
        found = []
        for number, one in enumerate(data):
            place = self.predictor.design.place(one)
            known = np.isfinite(one.values)
            mean = prediction.means[place]
            if not np.isfinite(mean[known]).all():
                row, column = np.argwhere(known & ~np.isfinite(mean))[0]
                raise ConfigError(
                    f"{one.name}, row {row + 1}",
                    f"the model has no value for column {column + 1} of {', '.join(one.observables)} at this time (an "
                    "empty bin, or a mean over nothing); leave this value empty",
                )
            scale = np.asarray(np.nan_to_num(prediction.scales[number], nan=1.0)) if one.sd is None else one.sd
            found.append(
                Part(
                    one,
                    np.where(known, mean, 1.0),
                    scale,
                    np.where(known[..., None], prediction.jacobian[place] * slope, 0.0),
                    prediction.scale_jacobian[number] * slope if one.sd is None else np.zeros_like(slope),
                )
            )
        return found
