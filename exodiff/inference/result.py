"""The result of a fit: estimate, intervals, samples, and its text and file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from exodiff.build import ConfiguredModel
from exodiff.config import load as config_load
from exodiff.config.fit import Fit as FitSettings
from exodiff.core.errors import ConfigError
from exodiff.inference.arviz_export import export
from exodiff.inference.data import Measured
from exodiff.inference.identifiability import Identifiability
from exodiff.inference.nuts import Draws
from exodiff.inference.priors import Prior
from exodiff.inference.profile import Profile
from exodiff.inference.summary import summary, units_of
from exodiff.io.hdf5 import create_hdf5

NUM_SAMPLES = 4000


@dataclass(frozen=True, eq=False)
class Fitted:
    """Data beside what the model says of them at the estimate.

    Attributes:
        data: what was measured.
        prediction: the mean: the closure, and what simulations give above it; (rows, columns).
        low: 5 % quantile of what would be measured again, the estimate being uncertain; NaN without simulations.
        high: 95 % quantile.

    """

    data: Measured
    prediction: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted parameters and what is known of them.

    Attributes:
        model: what was fitted.
        settings: method, uncertainty, number of simulations, level, seed.
        priors: of each parameter.
        u: the estimate in unconstrained coordinates, (parameters,).
        covariance: of u, (parameters, parameters).
        uncorrected: values at the maximum of the closure's posterior, before simulations corrected them.
        identifiability: what the data determine.
        profiles: of each parameter, with ``uncertainty="profile"``.
        draws: from the posterior, with ``uncertainty="nuts"``.
        data: each data set beside its prediction.
        log_posterior: at the maximum, up to a constant.
        steps: of the search.
        warnings: what to know before using an interval.

    """

    model: ConfiguredModel
    settings: FitSettings
    priors: tuple[Prior, ...]
    u: np.ndarray
    covariance: np.ndarray
    uncorrected: np.ndarray
    identifiability: Identifiability
    profiles: tuple[Profile, ...]
    draws: Draws | None
    data: tuple[Fitted, ...]
    log_posterior: float
    steps: int
    warnings: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the fitted parameters."""
        return self.settings.parameters

    @property
    def estimate(self) -> dict[str, float]:
        """The values found, internal units."""
        return self._named(self.u)

    @property
    def standard_error(self) -> dict[str, float]:
        """Standard errors of the unconstrained coordinates: relative ones for positive parameters."""
        return dict(zip(self.parameters, map(float, np.sqrt(np.diag(self.covariance))), strict=True))

    def interval(self, level: float | None = None) -> dict[str, tuple[float, float]]:
        """Central intervals, by name; from the profile or the draws where there are any.

        Args:
            level: probability; None takes that of the fit, which is the only one that profiles know.

        """
        level = self.settings.level if level is None else level
        if not 0 < level < 1:
            raise ConfigError("level", f"{level} is no probability; give e.g. 0.9")
        if self.profiles:
            if level != self.settings.level:
                raise ConfigError(
                    "level", f"the profiles were made for {self.settings.level}; fit again with level={level}"
                )
            low, high = (np.array([p.ends[side] for p in self.profiles]) for side in (0, 1))
        elif self.draws is not None:
            drawn = self.draws.u.reshape(-1, len(self.u))
            low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        else:
            reach = norm.ppf(0.5 + level / 2) * np.sqrt(np.diag(self.covariance))
            low, high = self.u - reach, self.u + reach
        ends = zip(self._named(low).values(), self._named(high).values(), strict=True)
        return dict(zip(self.parameters, ends, strict=True))

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """4000 draws of each parameter: those of the sampler, else from the normal law in unconstrained coordinates."""
        if self.draws is not None:
            drawn = self.draws.u.reshape(-1, len(self.u))
        else:
            generator = np.random.default_rng([self.settings.seed, 3])
            drawn = generator.multivariate_normal(self.u, self.covariance, NUM_SAMPLES)
        columns = zip(self.parameters, self.priors, drawn.T, strict=True)
        return {name: prior.from_coordinate(column) for name, prior, column in columns}

    def _named(self, u: np.ndarray) -> dict[str, float]:
        found = zip(self.parameters, self.priors, u, strict=True)
        return {name: float(prior.from_coordinate(np.asarray(one))) for name, prior, one in found}

    def as_dict(self) -> dict[str, Any]:
        """What ``fit.json`` holds."""
        interval = self.interval()
        return {
            "method": self.settings.method,
            "uncertainty": self.settings.uncertainty,
            "simulations": self.settings.num_simulations,
            "level": self.settings.level,
            "seed": self.settings.seed,
            "parameters": {
                name: {
                    "estimate": self.estimate[name],
                    "low": _finite(interval[name][0]),
                    "high": _finite(interval[name][1]),
                    "standard_error": self.standard_error[name],
                    "coordinate": coordinate,
                    "before_correction": float(before),
                    "prior": str(prior),
                }
                for name, coordinate, before, prior in zip(
                    self.parameters, self.identifiability.coordinates, self.uncorrected, self.priors, strict=True
                )
            },
            "covariance": self.covariance.tolist(),
            "information": {
                "eigenvalues": self.identifiability.eigenvalues.tolist(),
                "directions": [self.identifiability.describe(i) for i in range(len(self.u))],
                "share_of_data": self.identifiability.share_of_data.tolist(),
            },
            "data": [
                {"name": one.data.name, "values": one.data.num_values, "missing": one.data.num_missing}
                for one in self.data
            ],
            "draws": None if self.draws is None else self._agreement(self.draws),
            "warnings": list(self.warnings),
        }

    def _agreement(self, draws: Draws) -> dict[str, Any]:
        return {
            "chains": draws.u.shape[0],
            "draws_a_chain": draws.u.shape[1],
            "divergences": draws.divergences,
            "r_hat": dict(zip(self.parameters, draws.r_hat.tolist(), strict=True)),
            "effective_draws": dict(zip(self.parameters, draws.effective.tolist(), strict=True)),
        }

    def to_arviz(self) -> Any:
        """The samples and what was measured as ArviZ takes them; needs the extra ``bayes``.

        ``posterior`` holds the parameters by (chain, draw), one chain unless they were drawn by ``nuts``;
        ``observed_data`` the values of each data set by (row, column).
        """
        return export(self)

    def summary(self) -> str:
        """The fit as text: data, spectrum, warnings, then estimates with intervals."""
        return summary(self)

    def __repr__(self) -> str:
        return self.summary()

    def save(self, path: str | Path) -> None:
        """Write everything to an HDF5 file: estimate, covariance, samples, spectrum, profiles, data and predictions."""
        text = config_load.dump(self.model.config)
        with create_hdf5(Path(path)) as file:
            file.attrs["model"] = text
            file.attrs["method"] = self.settings.method
            file.attrs["uncertainty"] = self.settings.uncertainty
            file.attrs["level"] = self.settings.level
            file.attrs["chains"] = 1 if self.draws is None else len(self.draws.u)
            file.attrs["parameters"] = list(self.parameters)
            file.attrs["coordinates"] = list(self.identifiability.coordinates)
            file.attrs["units"] = list(units_of(self).values())
            file.attrs["directions"] = [self.identifiability.describe(i) for i in range(len(self.u))]
            file.attrs["warnings"] = list(self.warnings)
            arrays: Mapping[str, Any] = {
                "u": self.u,
                "covariance": self.covariance,
                "estimate": list(self.estimate.values()),
                "interval": list(self.interval().values()),
                "samples": np.stack(list(self.samples.values())),
                "spectrum/eigenvalues": self.identifiability.eigenvalues,
                "spectrum/directions": self.identifiability.directions,
                "spectrum/share_of_data": self.identifiability.share_of_data,
            }
            for name, array in arrays.items():
                file[name] = np.asarray(array, np.float64)
            # for figures, which know no priors
            grid = self.u[:, None] + np.sqrt(np.diag(self.covariance))[:, None] * np.linspace(-4.0, 4.0, 81)
            file["map/coordinate"] = grid
            file["map/value"] = np.stack([p.from_coordinate(u) for p, u in zip(self.priors, grid, strict=True)])
            for profile in self.profiles:
                file[f"profiles/{profile.parameter}/value"] = profile.values
                file[f"profiles/{profile.parameter}/drop"] = profile.drop
            for number, one in enumerate(self.data):
                group = file.create_group(f"data/{number}")
                group.attrs["name"] = one.data.name
                group.attrs["observables"] = list(one.data.observables)
                group.attrs["noise"] = one.data.noise.kind
                group["times_s"], group["values"] = one.data.times_s, one.data.values
                group["prediction"], group["low"], group["high"] = one.prediction, one.low, one.high


def _finite(end: float) -> float | None:
    """An end of an interval; JSON has no infinity."""
    return end if np.isfinite(end) else None
