"""Expectations of a model, differentiable by an estimator that is named."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from exodiff.core.errors import ConfigError
from exodiff.inference.finite_difference import finite_difference
from exodiff.inference.fsp import exact_expectation
from exodiff.inference.question import Observe, Parameters, Question, Samples, times_of
from exodiff.inference.score import score
from exodiff.inference.second_moments import second_moments
from exodiff.inference.straight_through import closure, straight_through
from exodiff.problem import Model
from exodiff.start import precision_context

Estimator = Callable[[Question, Parameters, tuple[str, ...]], Samples]

ESTIMATORS: dict[str, Estimator] = {
    "leap_st": straight_through,
    "score": score,
    "cfd": finite_difference,
    "closure": closure,
    "closure2": second_moments,
    "fsp": exact_expectation,
}


def estimator_of(name: str) -> Estimator:
    """The estimator of a name."""
    if name not in ESTIMATORS:
        raise ConfigError("estimator", f"{name!r} is no estimator; choose {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


def expect(
    model: Model,
    observe: Observe,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    n: int = 256,
    estimator: str = "leap_st",
    times: Sequence[float] | None = None,
    time_step: float | None = None,
) -> Array:
    """Expectation of a function of the trajectory, differentiable with respect to the parameters.

    May be called under ``jax.grad``, ``jax.jvp``, ``jax.jacfwd`` and ``jax.jit``; the derivative is that of the
    estimator (once). Where it would be wrong it raises; inside ``jit``, which cannot raise, it is NaN.

    Args:
        model: from ``exodiff.load`` or ``exodiff.Model.from_dict``.
        observe: function of a :class:`Trajectory` of any number of replicates; its result has an axis of replicates
            first, and each row depends on its replicate alone, e.g. ``lambda traj: traj.total("EV")[:, -1]``.
        parameters: values instead of the model's, by name; internal units (um, s, molecules).
        seed: of all draws.
        n: replicates (``closure``, ``closure2`` and ``fsp`` need none).
        estimator: ``leap_st``: trajectories of ``leap`` with a straight-through derivative, for smooth functions of
            counts. ``score``: the likelihood ratio, for anything with few events. ``cfd``: central differences with
            common random numbers, for anything. ``closure``: the mean field. ``closure2``: means and covariances of
            all numbers, for few of them, at one time. ``fsp``: exact, for one voxel with few states, at one time.
        times: seconds, as of ``simulate``; None takes the times at which a run records its observables.
        time_step: longest step in seconds; None takes the model's.

    Returns:
        The mean over the replicates, of the shape of a row.

    Raises:
        ConfigError: for a wrong argument, or a model that the estimator cannot differentiate.
        SimulationError: when a trajectory cannot go on, or a derivative would be 0 in place of the truth.

    """
    question = Question(model, observe, times_of(model, times), seed, n, time_step)
    sample = estimator_of(estimator)
    precision = model.problem.precision

    def sampled(values: Parameters, names: tuple[str, ...]) -> tuple[Array, dict[str, Array]]:
        found = sample(question, values, names)
        # exact ones are in double precision
        return jax.tree.map(lambda a: jnp.mean(a.astype(precision), 0), (found.values, found.slopes))

    @jax.custom_jvp
    def expectation(values: Parameters) -> Array:
        return sampled(values, ())[0]

    @partial(expectation.defjvp, symbolic_zeros=True)
    def _(primals: tuple[Parameters], tangents: tuple[Parameters]) -> tuple[Array, Array]:  # pyright: ignore[reportUnusedFunction]
        moving = {name: t for name, t in tangents[0].items() if not isinstance(t, SymbolicZero)}
        value, slopes = sampled(primals[0], tuple(moving))
        return value, sum((jnp.tensordot(slopes[name], t, t.ndim) for name, t in moving.items()), jnp.zeros_like(value))

    with precision_context(precision):
        return expectation({name: jnp.asarray(value, precision) for name, value in (parameters or {}).items()})
