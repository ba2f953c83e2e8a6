"""Estimator ``leap_st``: derivatives along trajectories of whole molecules; ``closure``: of the mean field."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from exodiff.core.errors import SimulationError
from exodiff.inference.question import Parameters, Question, Samples, derivatives, raise_if_failed
from exodiff.trajectory import Trajectory, is_traced

FORWARD_AT_MOST = 8  # parameters up to which forward mode is as cheap as reverse mode, in far less memory


def straight_through(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """Derivatives of each replicate, in forward mode.

    The estimand is the derivative of the expectation in the engine ``leap`` with its step. Exact for means of networks
    of first order; biased where counts are few and rates or losses curved: ``check_grad`` says by how much.
    """

    def observed(chosen: Parameters) -> tuple[Array, tuple[Array, Trajectory]]:
        trajectory = question.trajectory({**parameters, **chosen}, estimator="leap_st")
        found = question.read(trajectory)
        return found, (found, trajectory)

    slopes, (values, trajectory) = derivatives(observed, {name: parameters[name] for name in names})
    failed = raise_if_failed(trajectory.health)
    if names:
        failed |= refuse_zero(question, trajectory, "leap_st")
    return Samples(values, slopes, "forward").unless(failed)


def closure(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """The mean field and its derivative, one deterministic row: exact for means of networks of first order.

    Forward mode for up to 8 parameters; for more, reverse mode with two levels of checkpoints.
    """

    def observed(chosen: Parameters) -> tuple[Array, tuple[Array, Trajectory]]:
        trajectory = question.trajectory({**parameters, **chosen}, engine="mean_field", replicates=1)
        found = question.read(trajectory)
        return found, (found, trajectory)

    is_forward = len(names) <= FORWARD_AT_MOST
    jacobian = jax.jacfwd if is_forward else jax.jacrev
    slopes, (values, trajectory) = derivatives(observed, {name: parameters[name] for name in names}, jacobian)
    failed = raise_if_failed(trajectory.health)
    if names:
        failed |= refuse_zero(question, trajectory, "closure")
    return Samples(values, slopes, "forward" if is_forward else "reverse").unless(failed)


def refuse_zero(question: Question, trajectory: Trajectory, estimator: str) -> Array:
    """Whether what is observed does not change with any number of the trajectory; raised where it is known."""
    smooth, rest = eqx.partition(trajectory, eqx.is_inexact_array)
    values, pull_back = jax.vjp(lambda part: question.read(eqx.combine(part, rest)), smooth)
    # random, so that outputs with a constant sum do not cancel
    (pulled,) = pull_back(jax.random.normal(jax.random.key(0), values.shape, values.dtype))
    is_zero = jnp.all(jnp.stack([jnp.all(leaf == 0) for leaf in jax.tree.leaves(pulled)]))
    if not is_traced(is_zero) and bool(is_zero):
        raise SimulationError(
            f'estimator = "{estimator}"',
            "what is observed has derivative 0 by every number of the trajectory: it compares them or uses none; "
            'choose estimator = "cfd"',
        )
    return is_zero
