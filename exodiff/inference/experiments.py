"""Which further measurement narrows a parameter most: expected Fisher information, through the closure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.data import Data
from exodiff.inference.design import num_columns
from exodiff.inference.fit import Fitter
from exodiff.inference.likelihoods import CLASSES
from exodiff.inference.objective import Objective, Part
from exodiff.inference.result import Fit
from exodiff.problem import Problem


@dataclass(frozen=True)
class Prospect:
    """What a further measurement would do.

    Attributes:
        name: of the measurement.
        standard_error: of the parameter's unconstrained coordinate with it: relative for a positive parameter.
        share: of the standard error without it.

    """

    name: str
    standard_error: float
    share: float


@dataclass(frozen=True)
class Prospects:
    """Further measurements, the one that narrows the parameter most first.

    Attributes:
        parameter: that is to be narrowed.
        coordinate: its unconstrained coordinate.
        standard_error: of the coordinate now.
        rows: one a measurement.

    """

    parameter: str
    coordinate: str
    standard_error: float
    rows: tuple[Prospect, ...]

    def __repr__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"standard error of {self.coordinate}: now {self.standard_error:.3g}"]
        lines += [f"{row.name:{width}}  {row.standard_error:.3g}  ({100 * row.share:.0f} %)" for row in self.rows]
        return "\n".join(lines)


def design(fit: Fit, parameter: str, candidates: Mapping[str, Data | tuple[Data, Mapping[str, float]]]) -> Prospects:
    """Compare further measurements by how much they would narrow a parameter.

    The Fisher information of each at the estimate, by the closure and the likelihood of its noise, is added to the
    inverse of the fit's covariance. Values of one tissue are counted as independent, as the likelihood has them: where
    they are not, the gain is smaller.

    Args:
        fit: of what was measured so far.
        parameter: one of the fitted ones.
        candidates: by name, measurements; or pairs of a measurement and parameters that are other than in the model
            when it is made (a dose), by name in internal units. Values are not read and may be None, but for classes,
            where a row's sum is how many are classified.

    Raises:
        ConfigError: for an unknown parameter, or a candidate that cannot be measured.

    """
    if parameter not in fit.parameters:
        raise ConfigError("parameter", f"{parameter!r} was not fitted; choose one of {', '.join(fit.parameters)}")
    if not candidates:
        raise ConfigError("candidates", "there are none; give at least one measurement by its name")
    place = fit.parameters.index(parameter)
    known = np.linalg.inv(fit.covariance)
    now = float(np.sqrt(fit.covariance[place, place]))
    by_condition: dict[tuple[tuple[str, float], ...], dict[str, Data]] = {}
    for name, candidate in candidates.items():
        data, changed = (candidate, {}) if isinstance(candidate, Data) else candidate
        by_condition.setdefault(tuple(changed.items()), {})[name] = data
    rows = [
        Prospect(name, error, error / now)
        for changed, group in by_condition.items()
        for name, information in _information(fit, dict(changed), group).items()
        for error in [float(np.sqrt(np.linalg.inv(known + information)[place, place]))]
    ]
    rows.sort(key=lambda row: row.standard_error)
    return Prospects(parameter, fit.priors[place].coordinate + parameter, now, tuple(rows))


def _information(fit: Fit, changed: dict[str, float], group: dict[str, Data]) -> dict[str, np.ndarray]:
    """Fisher information about the fitted coordinates of each measurement, all made under one condition."""
    unknown = set(changed) - set(fit.model.parameters)
    if unknown:
        raise ConfigError(f"candidates: {min(unknown)}", "there is no such parameter; see model.parameters")
    model = replace(fit.model, parameters={**fit.model.parameters, **changed})
    settings = fit.settings.model_copy(update={"method": "closure"})
    filled = [_filled(data, name, model.problem) for name, data in group.items()]
    fitter = Fitter(model, filled, settings)
    objective = Objective(fitter.predictor, fit.priors, fitter.data)
    prediction = fitter.predictor.predict(objective.values(fit.u))
    if prediction is None:
        raise ConfigError("candidates", "the model has no finite prediction for them; run `exodiff check`")
    parts = objective.parts(fit.u, prediction, fitter.data)
    return {name: _expected(part).information() for name, part in zip(group, parts, strict=True)}


def _filled(data: Data, name: str, problem: Problem) -> Data:
    """A measurement whose values are still unknown, with ones in their place."""
    if data.values is not None:
        return replace(data, name=name)
    sizes = num_columns(problem)
    observables = [data.observable] if isinstance(data.observable, str) else list(data.observable)
    columns = sum(sizes.get(one, 1) for one in observables)
    return replace(data, name=name, values=np.ones((len(data.times), columns)))


def _expected(part: Part) -> Part:
    """A measurement that found what is predicted; of classes, as many as were to be classified."""
    values: Any = part.data.values
    if part.data.noise.kind not in CLASSES:
        values = np.where(np.isfinite(values), part.mean, np.nan)
    return replace(part, data=part.data.with_values(values))
