"""Estimator ``cfd``: central differences with common random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.errors import ConfigError
from exodiff.inference.question import Parameters, Question, Samples, raise_if_failed, refuse_contents, refuse_fields
from exodiff.trajectory import is_traced

RELATIVE_STEP = 0.05  # in the logarithm of a parameter


def finite_difference(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """Differences between runs with a parameter 5 % up and down, which use the same random bits at the same addresses.

    Most draws are inversions, monotone in their mean, so the two runs stay close. For any function of the trajectory,
    thresholds included; the error is of second order in the 5 %. All runs are done at once.
    """
    if not names:
        return Samples(question.read(question.trajectory(parameters)), {}, "none")
    refuse_contents(question, names, "cfd")
    refuse_fields(parameters, names, "cfd")
    for name in names:
        if not is_traced(parameters[name]) and float(parameters[name]) == 0:
            raise ConfigError(
                f"parameters[{name!r}]", "0 has no relative step up and down; give a small number, or leave it out"
            )
    signs = np.concatenate((np.eye(len(names)), -np.eye(len(names)), np.zeros((1, len(names)))))
    factors = jnp.asarray(np.exp(RELATIVE_STEP * signs), question.model.problem.precision)
    shifted = {name: parameters[name] * factors[:, i] for i, name in enumerate(names)}

    def observed(chosen: Parameters) -> tuple[Array, Array]:
        trajectory = question.trajectory({**parameters, **chosen})
        return question.read(trajectory), trajectory.health

    found, health = jax.vmap(observed)(shifted)
    up, down = found[: len(names)], found[len(names) : -1]
    slopes = {name: (up[i] - down[i]) / (2.0 * RELATIVE_STEP * parameters[name]) for i, name in enumerate(names)}
    return Samples(found[-1], slopes, "differences").unless(raise_if_failed(health))
