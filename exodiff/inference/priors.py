"""Unconstrained coordinates of the parameters, and the density of the prior in them.

A coordinate u is log x for a positive parameter, the logit of its place between its bounds (of its logarithm, if they
are positive), and (x - mean) / sd where the prior is normal without bounds. Densities are of u, so they hold the
derivative of x by u.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from exodiff.inference.library import NUMPY, Library

DEFAULT_SIGMA = 2.0  # of log x, where the file gives neither a prior nor bounds: 95 % within a factor of 50
_STEP = 1e-4


@dataclass(frozen=True)
class Prior:
    """One parameter's prior.

    Attributes:
        kind: a distribution of ``exodiff.config.parameters.PRIORS``, or "flat" between the bounds.
        arguments: its numbers, internal units.
        bounds: of x; None without.
        is_default: whether the file says nothing.

    """

    kind: str
    arguments: Mapping[str, float]
    bounds: tuple[float, float] | None
    is_default: bool = False

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.arguments.items())
        within = f" within {self.bounds[0]:.3g} to {self.bounds[1]:.3g}" if self.bounds else ""
        return f"{self.kind} {numbers}".rstrip() + within + (" (default)" if self.is_default else "")

    @property
    def range(self) -> tuple[float, float]:
        """The bounds, or what the distribution itself allows."""
        if self.bounds is not None:
            return self.bounds
        if self.kind in {"uniform", "loguniform"}:
            return self.arguments["low"], self.arguments["high"]
        if self.kind == "beta":
            return 0.0, 1.0
        return (-np.inf, np.inf) if self.kind == "normal" else (0.0, np.inf)

    @property
    def coordinate(self) -> str:
        """Name of the coordinate, as in ``log k_on``."""
        low, high = self.range
        if np.isfinite(high):
            return "logit log " if low > 0 else "logit "
        return "log " if low == 0 else ""

    def to_coordinate(self, x: float) -> float:
        """The coordinate of a value inside the range."""
        low, high = self.range
        if np.isfinite(high):
            share = np.log(x / low) / np.log(high / low) if low > 0 else (x - low) / (high - low)
            return float(logit(share))
        if low == 0:
            return float(np.log(x))
        return (x - self.arguments["mean"]) / self.arguments["sd"]

    def from_coordinate(self, u: Any, library: Library = NUMPY) -> Any:
        """The values of coordinates."""
        low, high = self.range
        xp = library.arrays
        if np.isfinite(high):
            share = library.special.expit(u)
            return low * (high / low) ** share if low > 0 else low + (high - low) * share
        return xp.exp(u) if low == 0 else self.arguments["mean"] + self.arguments["sd"] * u

    def slope(self, u: np.ndarray) -> np.ndarray:
        """dx/du."""
        low, high = self.range
        if np.isfinite(high):
            share = NUMPY.special.expit(u)
            by_share = self.from_coordinate(u) * np.log(high / low) if low > 0 else high - low
            return by_share * share * (1 - share)
        return np.exp(u) if low == 0 else np.full_like(u, self.arguments["sd"])

    def log_density(self, u: Any, library: Library = NUMPY) -> Any:
        """Logarithm of the density of u, up to a constant."""
        low, high = self.range
        xp, x = library.arrays, self.from_coordinate(u, library)
        if not np.isfinite(high):
            slope = u if low == 0 else xp.zeros_like(u)
            return self._log_density_of_value(x, library) + slope
        slope = -xp.logaddexp(0.0, -u) - xp.logaddexp(0.0, u) + (xp.log(x) if low > 0 else 0.0)
        return self._log_density_of_value(x, library) + slope

    def _log_density_of_value(self, x: Any, library: Library) -> Any:  # noqa: PLR0911  (one return a distribution)
        given, xp = self.arguments, library.arrays
        match self.kind:
            case "lognormal":
                return -0.5 * (xp.log(x / given["median"]) / given["sigma"]) ** 2 - xp.log(x)
            case "normal":
                return -0.5 * ((x - given["mean"]) / given["sd"]) ** 2
            case "half_normal":
                return -0.5 * (x / given["scale"]) ** 2
            case "gamma":
                return library.special.xlogy(given["shape"] - 1, x) - x / given["scale"]
            case "beta":
                return library.special.xlogy(given["a"] - 1, x) + library.special.xlog1py(given["b"] - 1, -x)
            case "loguniform":
                return xp.where((given["low"] <= x) & (x <= given["high"]), -xp.log(x), -np.inf)
            case "uniform":
                return xp.where((given["low"] <= x) & (x <= given["high"]), 0.0, -np.inf)
            case _:  # flat: in the logarithm, if the bounds are positive
                return -xp.log(x) if self.range[0] > 0 else xp.zeros_like(x)

    def derivatives(self, u: float) -> tuple[float, float]:
        """Slope of the log density at u, and its curvature with the sign changed, 0 where it is not concave."""
        below, here, above = self.log_density(u + _STEP * np.array([-1.0, 0.0, 1.0]))
        return (above - below) / (2 * _STEP), max(0.0, -(above - 2 * here + below) / _STEP**2)

    def draw(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Values from the prior, (number,), by inversion on a grid of u."""
        centre = self._centre()
        grid = np.linspace(centre - 40.0, centre + 40.0, 160_001)
        density = self.log_density(grid)
        below = np.cumsum(np.exp(density - np.max(density)))
        return self.from_coordinate(np.interp(generator.random(number) * below[-1], below, grid))

    def _centre(self) -> float:
        known = self.arguments.get("median", self.arguments.get("scale", 1.0))
        return float(np.log(known)) if self.range == (0.0, np.inf) else 0.0


def default_prior(value: float) -> Prior:
    """A weak prior about a positive value."""
    return Prior("lognormal", {"median": value, "sigma": DEFAULT_SIGMA}, None, is_default=True)
