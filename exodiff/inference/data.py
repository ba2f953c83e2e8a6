"""Measurements, and their order as points of one prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic_core import PydanticCustomError

from exodiff.config.fit import Noise, read_noise
from exodiff.core.errors import ConfigError
from exodiff.inference.likelihoods import CLASSES, LIKELIHOODS

MOST_COUNTED = 2.0**53  # up to which a real holds every whole number


@dataclass(frozen=True, eq=False)
class Data:
    """Measured values of one or several observables.

    Args:
        observable: its name; several are the columns of ``values`` (of regions, or classes).
        times: (rows,) seconds.
        values: (rows,) or (rows, columns), a column for each observable, or for each bin of one with bins; in the unit
            of the observable. NaN where a value is missing.
        noise: as in the model file: "poisson", "multinomial", "gaussian" with ``sd``, or a table such as
            ``{"gaussian": {"sd": 2.0}}``, ``{"lognormal": {"sigma": 0.1, "detection_limit": 0.5}}``,
            ``{"negative_binomial": {"dispersion": "phi"}}``. Numbers may be expressions of parameters.
        sd: standard deviations of gaussian noise, in the shape of ``values``.
        replicates: (rows,) labels; rows with the same label come from one tissue, also in other data. None: all do.
        name: what messages call it.

    """

    observable: str | Sequence[str]
    times: Any
    values: Any
    noise: str | Mapping[str, Any] | Noise = "poisson"
    sd: Any = None
    replicates: Any = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """Checked data: what :class:`Data` says as arrays.

    Attributes:
        name: what messages call it.
        observables: names of its observables.
        times_s: (rows,).
        values: (rows, columns).
        noise: its kind and numbers.
        sd: (rows, columns) or None.
        replicates: (rows,) texts.

    """

    name: str
    observables: tuple[str, ...]
    times_s: np.ndarray
    values: np.ndarray
    noise: Noise
    sd: np.ndarray | None
    replicates: np.ndarray

    @cached_property
    def num_values(self) -> int:
        """Values that are not missing."""
        return int(np.isfinite(self.values).sum())

    @property
    def num_missing(self) -> int:
        """Values that are missing."""
        return self.values.size - self.num_values

    def rows(self, chosen: np.ndarray) -> "Measured":
        """Some of the rows."""
        sd = None if self.sd is None else self.sd[chosen]
        return Measured(
            self.name, self.observables, self.times_s[chosen], self.values[chosen], self.noise, sd,
            self.replicates[chosen],
        )  # fmt: skip

    def with_values(self, values: np.ndarray) -> "Measured":
        """The same measurement with other results."""
        return Measured(self.name, self.observables, self.times_s, values, self.noise, self.sd, self.replicates)


def checked(data: Data, index: int, duration_s: float) -> Measured:
    """Check one data set against what needs no model.

    Raises:
        ConfigError: naming the data set, the row, and what is allowed.

    """
    name = data.name or f"data[{index}]"
    observables = (data.observable,) if isinstance(data.observable, str) else tuple(data.observable)
    times_s, values = _numbers(data.times, f"{name}.times"), _numbers(data.values, f"{name}.values")
    values = values[:, None] if values.ndim == 1 else values
    if times_s.ndim != 1 or values.ndim != 2 or len(times_s) != len(values) or not values.size:
        raise ConfigError(
            name, f"times have the shape {times_s.shape} and values {values.shape}; give a row of values for each time"
        )
    _check_times(times_s, duration_s, name)
    try:
        noise = read_noise(data.noise)
    except PydanticCustomError as error:
        raise ConfigError(f"{name}.noise", error.message()) from None
    sd = _deviations(data.sd, noise, values, name)
    replicates = np.full(len(times_s), "0") if data.replicates is None else np.asarray(data.replicates).astype(str)
    if replicates.shape != times_s.shape:
        raise ConfigError(f"{name}.replicates", f"has the shape {replicates.shape}; give one label for each time")
    found = Measured(name, observables, times_s, values, noise, sd, replicates)
    _check_values(found)
    return found


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(where, "are no numbers; give an array of them, NaN where one is missing") from None


def _check_times(times_s: np.ndarray, duration_s: float, name: str) -> None:
    wrong = ~((times_s >= 0) & (times_s <= duration_s * (1 + 1e-9)))
    if wrong.any():
        raise ConfigError(
            f"{name}, row {int(wrong.argmax()) + 1}",
            f"time {times_s[wrong.argmax()]:g} s is outside the simulated time, 0 to {duration_s:g} s; correct "
            "the time or its unit, or raise run.duration",
        )


def _deviations(given: Any, noise: Noise, values: np.ndarray, name: str) -> np.ndarray | None:
    if noise.kind != "gaussian" and given is not None:
        raise ConfigError(f"{name}.sd", f"noise {noise.kind} takes no standard deviations; leave them out")
    if noise.kind != "gaussian":
        return None
    if (given is None) == (noise.scale is None):
        raise ConfigError(
            f"{name}.noise",
            "gaussian needs either a column sd in the data or { gaussian = { sd = ... } }, and not both",
        )
    if given is None:
        return None
    sd = _numbers(given, f"{name}.sd")
    sd = sd[:, None] if sd.ndim == 1 else sd
    if sd.shape != values.shape:
        raise ConfigError(f"{name}.sd", f"has the shape {sd.shape}, the values {values.shape}; make them equal")
    wrong = np.isfinite(values) & ~(sd > 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ConfigError(
            f"{name}.sd, row {row + 1}", f"{sd[row, column]:g} is no positive number; give a standard deviation"
        )
    return np.where(np.isfinite(values), sd, 1.0)


def _check_values(data: Measured) -> None:
    kind, values = data.noise.kind, data.values
    if np.isinf(values).any():
        row = int(np.isinf(values).any(axis=1).argmax()) + 1
        raise ConfigError(f"{data.name}, row {row}", "holds an infinite value; correct it, or leave it empty")
    known = np.isfinite(values)
    if not known.any():
        raise ConfigError(data.name, "holds no value, every one is missing; fill them in, or leave it out")
    if kind in CLASSES and values.shape[1] < 2:
        raise ConfigError(
            data.name, f"noise {kind} shares counts among classes; give two or more observables, or one with bins"
        )
    limit = 0.0 if LIKELIHOODS[kind].counts or data.noise.detection_limit is not None else None
    wrong = known & (values <= 0) if kind == "lognormal" and limit is None else known & (values < (limit or 0.0))
    if kind == "gaussian":
        return
    if LIKELIHOODS[kind].counts:
        wrong |= known & ((values != np.rint(values)) | (values > MOST_COUNTED))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        what = "a whole count of 0 or more" if LIKELIHOODS[kind].counts else "a positive value, or a detection_limit"
        name = data.observables[column] if len(data.observables) == values.shape[1] else f"bin {column}"
        raise ConfigError(
            f"{data.name}, row {row + 1} ({name} at {data.times_s[row]:g} s)",
            f"{values[row, column]:g} is not possible with noise {kind}; needed is {what}",
        )
