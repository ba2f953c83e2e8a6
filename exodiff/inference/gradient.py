"""Gradients with their standard errors, and what they are worth on a model."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.estimators import estimator_of
from exodiff.inference.question import Observe, Question, Samples, point_of, times_of
from exodiff.kernels.random import fold, make_stream, site_id
from exodiff.problem import Model
from exodiff.start import precision_context


@dataclass(frozen=True)
class Gradient:
    """The gradient of an expected loss.

    Attributes:
        value: by parameter, per internal unit; an array where the parameter has a value a voxel.
        standard_error: by parameter, alike; 0 where the estimator is deterministic.
        loss: the expected loss.
        loss_standard_error: of it.
        estimator: by which it was found.
        mode: ``forward`` or ``reverse`` (automatic differentiation), ``differences`` or ``exact``.

    """

    value: dict[str, Any]
    standard_error: dict[str, Any]
    loss: float
    loss_standard_error: float
    estimator: str
    mode: str


@dataclass(frozen=True)
class Comparison:
    """A derivative by one estimator against that by coupled finite differences.

    Attributes:
        estimator: its name.
        parameter: by which the loss was differentiated.
        value, standard_error: of the estimator.
        reference, reference_error: of the finite differences, from other random numbers.
        bias: (value - reference) / |reference|.
        bias_error: its standard error, reference included.
        z: value - reference over its standard error.
        seconds: that the estimator took for all parameters, compilation included.

    """

    estimator: str
    parameter: str
    value: float
    standard_error: float
    reference: float
    reference_error: float
    bias: float
    bias_error: float
    z: float
    seconds: float


@dataclass(frozen=True)
class Report:
    """What :func:`check_grad` found, one row an estimator and parameter."""

    rows: tuple[Comparison, ...]

    def __repr__(self) -> str:
        head = f"{'estimator':10} {'parameter':24} {'value':>12} {'cfd':>12} {'bias %':>8} {'+-':>6} {'z':>6}"
        lines = [
            f"{r.estimator:10} {r.parameter:24} {r.value:12.5g} {r.reference:12.5g} "
            f"{100 * r.bias:8.2f} {100 * r.bias_error:6.2f} {r.z:6.1f}"
            for r in self.rows
        ]
        return "\n".join([head, *lines])


def grad(
    loss: Observe,
    model: Model,
    parameters: Mapping[str, Any],
    seed: int = 0,
    n: int = 256,
    estimator: str = "leap_st",
    times: Sequence[float] | None = None,
    time_step: float | None = None,
) -> Gradient:
    """Gradient of an expected loss at some parameters, with its standard error.

    The estimand is the gradient of the expectation in the engine ``leap`` with its step (``closure``: of the mean
    field). Arguments and errors as of :func:`exodiff.expect`; ``parameters`` holds those to differentiate by, and
    ``loss`` gives one number a replicate.
    """
    return _summary(_samples(loss, model, parameters, seed, n, estimator, times, time_step), estimator)


def _samples(
    loss: Observe,
    model: Model,
    parameters: Mapping[str, Any],
    seed: int,
    n: int,
    estimator: str,
    times: Sequence[float] | None,
    time_step: float | None,
) -> Samples:
    if n < 2:
        raise ConfigError("n", f"{n} replicates have no standard error; give at least 2")
    precision = model.problem.precision
    question = Question(model, loss, times_of(model, times), seed, n, time_step)
    with precision_context(precision):
        point = {name: jnp.asarray(v, precision) for name, v in point_of(model, parameters).items()}
        found = estimator_of(estimator)(question, point, tuple(point))
    if found.values.ndim != 1:
        raise ConfigError("loss", f"gave shape {found.values.shape}; give one number a replicate, shape (replicates,)")
    return found


def _summary(found: Samples, estimator: str) -> Gradient:
    def number(found: np.ndarray) -> Any:
        return found if found.ndim else float(found)

    def error(rows: jax.Array) -> Any:
        size, known = rows.shape[0], np.asarray(rows, float)
        return number(np.std(known, axis=0, ddof=1) / np.sqrt(size) if size > 1 else np.zeros(known.shape[1:]))

    def mean(rows: jax.Array) -> Any:
        return number(np.mean(np.asarray(rows, float), axis=0))

    return Gradient(
        {name: mean(rows) for name, rows in found.slopes.items()},
        {name: error(rows) for name, rows in found.slopes.items()},
        mean(found.values),
        error(found.values),
        estimator,
        found.mode,
    )


def check_grad(
    loss: Observe,
    model: Model,
    parameters: Mapping[str, Any],
    estimators: Sequence[str] = ("leap_st", "cfd"),
    n: int = 4096,
    seed: int = 0,
    times: Sequence[float] | None = None,
    time_step: float | None = None,
) -> Report:
    """Compare estimators with coupled finite differences on the model and loss at hand.

    A bias is found down to about three times ``bias_error``; raise ``n`` to see smaller ones. The finite differences
    have an error of second order in their step of 5 %. The reference uses random numbers of its own, so that a row
    ``cfd`` shows what noise alone does. Arguments as of :func:`grad`.
    """
    own = int(fold(make_stream(seed, 0), site_id("check_grad")).key0)
    reference = _summary(_samples(loss, model, parameters, own, n, "cfd", times, time_step), "cfd")
    rows: list[Comparison] = []
    for estimator in estimators:
        began = time.perf_counter()
        found = _summary(_samples(loss, model, parameters, seed, n, estimator, times, time_step), estimator)
        seconds = time.perf_counter() - began
        for name, value in found.value.items():
            truth, error, truth_error = (
                reference.value[name],
                found.standard_error[name],
                reference.standard_error[name],
            )
            both = float(np.hypot(error, truth_error))
            off = value - truth
            scale = abs(truth) if truth else np.nan
            z = off / both if both else np.nan
            rows.append(
                Comparison(estimator, name, value, error, truth, truth_error, off / scale, both / scale, z, seconds)
            )
    return Report(tuple(rows))
