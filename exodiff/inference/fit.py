"""Fit parameters of a model to measurements."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from exodiff.build import ConfiguredModel
from exodiff.config.fit import Fit as FitSettings
from exodiff.config.fit import Noise
from exodiff.config.fit_checks import check_noise, noise_in_unit
from exodiff.config.messages import from_pydantic
from exodiff.config.names import Namespace
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError, FitError
from exodiff.core.expressions import names
from exodiff.inference.calibration import Corrected, correct
from exodiff.inference.cautions import of_correction, of_independence
from exodiff.inference.data import Data, Measured, checked
from exodiff.inference.declared_priors import prior_of, start_of
from exodiff.inference.design import make_design
from exodiff.inference.identifiability import Identifiability, identify
from exodiff.inference.levenberg_marquardt import Optimum, maximise
from exodiff.inference.likelihoods import CLASSES, LIKELIHOODS
from exodiff.inference.nuts import draw, of_noise, of_simulations, require_sampler
from exodiff.inference.objective import Evaluation, Objective
from exodiff.inference.prediction import FINER, Predictor
from exodiff.inference.profile import profiles
from exodiff.inference.result import Fit, Fitted
from exodiff.inference.synthetic import make_synthetic
from exodiff.inference.unfinished import Unfinished

Report = Callable[[str, str], None]  # of a phase, and what to say of it


def fit(
    model: ConfiguredModel,
    data: Data | Sequence[Data],
    parameters: Sequence[str],
    *,
    method: str = "closure",
    calibrate: int | None = None,
    uncertainty: str = "sandwich",
    level: float = 0.9,
    seed: int = 0,
) -> Fit:
    """Fit parameters to measurements.

    The maximum of the posterior density by the mean-field closure, then, with ``calibrate`` simulations of the
    stochastic model there, a correction of its bias and an honest covariance.

    Args:
        model: its values are where the search begins; priors and bounds are those of its ``[parameters]``. A positive
            parameter without any gets a weak prior: log-normal about its value with sigma 2.
        data: one or several data sets, fitted jointly.
        parameters: names or key paths of ``model.parameters``.
        method: ``closure``, or ``synthetic`` for a last step on a normal likelihood with simulated mean and covariance.
        calibrate: simulations at the estimate; None takes 400 for ``sandwich`` and ``synthetic``, else none.
        uncertainty: ``sandwich`` (from simulations), or from the closure's likelihood: ``fisher``, ``profile``, or
            ``nuts`` (draws from the posterior, of ``synthetic`` too; needs the extra ``bayes``).
        level: of the intervals of profiles, and of those that are printed.
        seed: of the simulations.

    Raises:
        ConfigError: for wrong data, parameters or settings.
        FitError: when the search does not converge.

    """
    settings = make_settings(
        parameters, method=method, calibrate=calibrate, uncertainty=uncertainty, level=level, seed=seed
    )
    return Fitter(model, [data] if isinstance(data, Data) else data, settings).fit()


def make_settings(parameters: Sequence[str], **given: Any) -> FitSettings:
    """The settings of a call, checked as those of [fit]."""
    raw = {"parameters": list(parameters), **given}
    try:
        return FitSettings.model_validate(raw)
    except ValidationError as error:
        raise from_pydantic(error, raw, "") from None


class Fitter:
    """A model and a design of measurements; what it compiles serves all fits and simulations of them.

    Attributes:
        unfinished: where a fit that may be stopped keeps what it has found; None for nowhere.

    """

    unfinished: Unfinished | None = None

    def __init__(self, model: ConfiguredModel, data: Sequence[Data], settings: FitSettings) -> None:
        if not isinstance(model, ConfiguredModel):
            raise ConfigError("model", f"a {type(model).__name__} is no model; give exodiff.load(FILE)")
        if settings.uncertainty == "nuts":
            require_sampler()
        self.model, self.settings = model, settings
        self.parameters = settings.parameters
        self.priors = [prior_of(model, name) for name in self.parameters]
        self.start = np.array([start_of(model, name, p) for name, p in zip(self.parameters, self.priors, strict=True)])
        if not data:
            raise ConfigError("fit.data", "there are no measurements; give at least one data set")
        duration_s = model.config.run.duration_s
        self.data = [checked(one, index, duration_s) for index, one in enumerate(data)]
        design = make_design(model.problem, self.data)
        self.data = [
            replace(one, noise=in_unit(model.config, one.noise, one.observables[0], one.name)) for one in self.data
        ]
        if settings.method == "synthetic":
            _refuse_for_synthetic(self.data, self.parameters)
        self.predictor = Predictor(model, self.parameters, design, [one.noise.scale for one in self.data])

    @property
    def coordinates(self) -> list[str]:
        """Names of the unconstrained coordinates."""
        return [prior.coordinate + name for prior, name in zip(self.priors, self.parameters, strict=True)]

    def simulate_data(self, values: np.ndarray, seed: int) -> list[Measured]:
        """What would be measured if the parameters had some values: other results of the same design."""
        labels = sorted({label for one in self.data for label in one.replicates.tolist()})
        simulated = self.predictor.simulate(values, len(labels), seed)
        scales = self.predictor.scales(values)
        generator = np.random.default_rng([seed, 5])
        found = []
        for one, own in zip(self.data, scales, strict=True):
            times, columns = self.predictor.design.place(one)
            tissues = np.searchsorted(labels, one.replicates)
            seen = simulated[tissues[:, None], times, columns]
            scale = np.asarray(np.nan_to_num(own, nan=1.0)) if one.sd is None else one.sd
            drawn = LIKELIHOODS[one.noise.kind].draw(generator, seen[None], scale, one.values)[0]
            found.append(one.with_values(np.where(np.isfinite(one.values), drawn, np.nan)))
        return found

    def fit(
        self,
        data: Sequence[Measured] | None = None,
        report: Report = lambda phase, told: None,
        seed: int | None = None,
    ) -> Fit:
        """Fit the data, or others of the same design; what was fitted before changes nothing.

        Args:
            data: None for those that were given.
            report: is told how far the fit is.
            seed: of the simulations; None for that of the settings.

        Raises:
            FitError: when the search does not converge.

        """
        self.predictor.start_over()
        objective = Objective(self.predictor, self.priors, self.data if data is None else data)
        report("compiling", "the closure and its derivatives")
        optimum = self._search(objective, report)
        found = self._identify(objective, optimum.at)
        if not optimum.converged:
            raise FitError("fit", self._not_converged(optimum, found))
        return self._with_uncertainty(objective, optimum, found, report, self.settings.seed if seed is None else seed)

    def _search(self, objective: Objective, report: Report) -> Optimum:
        """Climb from the start; on with a finer step of the closure where rates outgrow it on the way."""
        start, end = self.start, np.zeros(0)
        if self.unfinished is not None:
            start, end = self.unfinished.found("search", start), self.unfinished.found("end", end)
        if len(end) and np.isfinite(end[2]):
            self.predictor.time_step_s = float(end[2])
        first = objective.evaluate(start)
        while first is None and self._refined(report):
            first = objective.evaluate(start)
        if first is None:
            raise FitError(
                "fit", "the model has no finite prediction at the start; run `exodiff check`, or start elsewhere"
            )
        self._refuse_silent(first)
        if len(end):
            return Optimum(first, True, int(end[0]), float(end[1]))

        def tell(step: int, at: Evaluation) -> None:
            report("searching", f"step {step}, log posterior {at.log_posterior:.6g}")
            if self.unfinished is not None:
                self.unfinished.keep("search", at.u)

        def climb(at: Evaluation) -> Optimum:
            return maximise(objective.evaluate, at, report=tell)

        optimum = climb(first)
        while not optimum.converged and self._refined(report):
            again = objective.evaluate(optimum.at.u)
            optimum = optimum if again is None else climb(again)
        if optimum.converged and self.unfinished is not None:
            self.unfinished.keep("search", optimum.at.u)
            self.unfinished.keep(
                "end", np.array([optimum.steps, optimum.expected_gain, self.predictor.time_step_s or np.nan])
            )
        return optimum

    def _refined(self, report: Report) -> bool:
        """Refine the step of the closure, if it was too long for what was tried, at most twice."""
        shortest = self.model.problem.step_bound_s / FINER**2
        if not self.predictor.outgrew_step or (self.predictor.time_step_s or np.inf) <= shortest:
            return False
        self.predictor.refine()
        report("compiling", f"the closure with a step of {self.predictor.time_step_s:.3g} s")
        return True

    def _identify(self, objective: Objective, at: Evaluation) -> Identifiability:
        num_values = sum(one.num_values for one in objective.data)
        return identify(at.information, at.prior_information, self.coordinates, num_values)

    def _refuse_silent(self, at: Evaluation) -> None:
        """Refuse a parameter that changes no prediction, at its start."""
        silent = np.diag(at.information) == 0
        if silent.any():
            name = self.parameters[int(silent.argmax())]
            raise ConfigError(
                f"fit.parameters: {name}",
                "no measured observable depends on it at its start; leave it out, or measure what it changes",
            )

    def _not_converged(self, optimum: Optimum, found: Identifiability) -> str:
        values = ", ".join(
            f"{name} {value:.3g}" for name, value in zip(self.parameters, self._values(optimum.at.u), strict=True)
        )
        worst = found.describe(len(found.eigenvalues) - 1)
        return (
            f"no convergence after {optimum.steps} steps (a further one promises {optimum.expected_gain:.2g} of log "
            f"posterior); it was at {values}. Try a start nearer to the data, a narrower prior or bounds on {worst}, "
            'or run.precision = "float64"'
        )

    def _values(self, u: np.ndarray) -> np.ndarray:
        return np.array([float(p.from_coordinate(np.asarray(one))) for p, one in zip(self.priors, u, strict=True)])

    def _with_uncertainty(
        self, objective: Objective, optimum: Optimum, found: Identifiability, report: Report, seed: int
    ) -> Fit:
        at, settings = optimum.at, self.settings
        corrected = Corrected(at.u, np.linalg.inv(at.curvature), np.zeros(len(at.u)), 0.0)
        likelihood = of_noise(objective)
        simulated = np.zeros((0, *at.prediction.means.shape))
        if settings.num_simulations:
            report("calibrating", f"{settings.num_simulations} simulations at the estimate")
            simulated = self.predictor.simulate(self._values(at.u), settings.num_simulations, seed, self.unfinished)
            generator = np.random.default_rng([seed, 1])
            if settings.method == "synthetic":
                law = make_synthetic(objective, at, simulated, generator)
                corrected, likelihood = law.correct(at), of_simulations(law)
            else:
                corrected = correct(objective, at, simulated, generator)
        drawn = None
        if settings.uncertainty == "nuts":
            report("sampling", "the posterior")
            drawn = draw(objective, likelihood, corrected.u, corrected.covariance, seed)
            corrected = corrected._replace(covariance=np.atleast_2d(np.cov(drawn.u.reshape(-1, len(at.u)).T)))
        profiled = ()
        if settings.uncertainty == "profile":
            profiled = profiles(objective, at, settings.level, lambda name: report("profiling", name), self.parameters)
        return Fit(
            model=self.model,
            settings=settings,
            priors=tuple(self.priors),
            u=corrected.u,
            covariance=corrected.covariance,
            uncorrected=self._values(at.u),
            identifiability=found,
            profiles=profiled,
            draws=drawn,
            data=self._fitted(objective, at, corrected, simulated),
            log_posterior=at.log_posterior,
            steps=optimum.steps,
            warnings=(
                *found.warnings,
                *of_correction(corrected, self.parameters),
                *of_independence(settings, objective.data),
                *(drawn.warnings if drawn is not None else ()),
            ),
        )

    def _fitted(
        self, objective: Objective, at: Evaluation, corrected: Corrected, simulated: np.ndarray
    ) -> tuple[Fitted, ...]:
        """Data beside the mean at the corrected estimate and the quantiles of what would be measured again."""
        generator = np.random.default_rng([self.settings.seed, 2])
        means = (self.predictor.predict(self._values(corrected.u)) or at.prediction).means
        if len(simulated):
            means = means + simulated.mean(axis=0) - at.prediction.means
            moves = generator.multivariate_normal(corrected.u - at.u, corrected.covariance, len(simulated))
            moved = simulated + np.einsum("tcp,np->ntc", at.prediction.jacobian * objective.slope(at.u), moves)
            simulated = np.maximum(moved, np.minimum(simulated, 0.0))  # counts do not fall below 0
        found = []
        for part in objective.parts(at.u, at.prediction, objective.data):
            one, (times, columns) = part.data, self.predictor.design.place(part.data)
            band = np.full((2, *one.values.shape), np.nan)
            if len(simulated):
                draw = LIKELIHOODS[one.noise.kind].draw
                seen = draw(generator, simulated[:, times, columns], part.scale, one.values)
                band = np.quantile(seen, [0.05, 0.95], axis=0)
            found.append(Fitted(one, means[times, columns], band[0], band[1]))
        return tuple(found)


def in_unit(config: RunConfig, noise: Noise, observable: str, where: str) -> Noise:
    """Noise with its numbers checked and in the unit of the observable."""
    names_of = Namespace(config)
    for error in names_of.collect():
        raise error
    check_noise(names_of, noise, observable, where)
    return noise_in_unit(names_of, noise, observable, where)


def _refuse_for_synthetic(data: Sequence[Measured], parameters: Sequence[str]) -> None:
    for one in data:
        noise = one.noise
        if noise.detection_limit is not None or noise.kind in CLASSES:
            what = "a detection limit" if noise.detection_limit is not None else f"noise {noise.kind}"
            raise ConfigError(
                one.name, f"method synthetic is for values that are nearly normal, not {what}; take closure"
            )
        fitted = set(parameters) & names(noise.scale) if noise.scale is not None else set()
        if fitted:
            raise ConfigError(one.name, f"method synthetic cannot fit the noise ({min(fitted)}); take method closure")
