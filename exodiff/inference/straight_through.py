"""Estimator ``leap_st``: derivatives along trajectories of whole molecules; ``closure``: of the mean field."""

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from exodiff.core.errors import SimulationError
from exodiff.inference.few_copies import warn_of_few
from exodiff.inference.question import Parameters, Question, Samples, derivatives, raise_if_failed
from exodiff.simulation import simulate_each
from exodiff.trajectory import Record, Trajectory, is_traced

FORWARD_AT_MOST = 8  # numbers up to which forward mode is as cheap as reverse mode, in far less memory


def straight_through(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """Derivatives of each replicate: in forward mode by up to 8 numbers, in reverse mode by more or with fields.

    The estimand is the derivative of the expectation in the engine ``leap`` with its step. Exact for means of networks
    of first order; biased where counts are few and rates or losses curved: ``check_grad`` says by how much.
    """

    def observed(chosen: Parameters) -> tuple[Array, tuple[Array, Trajectory]]:
        trajectory = question.trajectory({**parameters, **chosen}, estimator="leap_st")
        found = question.read(trajectory)
        return found, (found, trajectory)

    has_fields = any(jnp.ndim(value) for value in parameters.values())
    goes_back = bool(names) and (has_fields or num_values(parameters, names) > FORWARD_AT_MOST)
    if goes_back:
        slopes, values, trajectory = _in_reverse(question, parameters, names)
    else:
        slopes, (values, trajectory) = derivatives(observed, {name: parameters[name] for name in names})
    failed = raise_if_failed(trajectory.health)
    if names:
        failed |= refuse_zero(question, trajectory, "leap_st")
        warn_of_few(question, trajectory)
    return Samples(values, slopes, "reverse" if goes_back else "forward").unless(failed)


def num_values(parameters: Parameters, names: tuple[str, ...]) -> int:
    """By how many numbers it is differentiated."""
    return sum(jnp.size(parameters[name]) for name in names)


def _in_reverse(
    question: Question, parameters: Parameters, names: tuple[str, ...]
) -> tuple[dict[str, Array], Array, Trajectory]:
    """Derivatives of the rows, their values, and the trajectory.

    Every replicate has parameters of its own, so that one pull-back of a number gives its derivatives in all of them.
    """
    shared = {name: value for name, value in parameters.items() if name not in names}
    each = {name: jnp.broadcast_to(parameters[name], (question.n, *jnp.shape(parameters[name]))) for name in names}
    trajectory, pull_back = simulate_each(
        question.model, question.times, shared, each, question.seed, question.time_step
    )

    def read(record: Record) -> Array:
        return question.read(replace(trajectory, **record._asdict()))

    record = Record(trajectory.counts, trajectory.observables, trajectory.concentrations, trajectory.pools)
    found, read_back = jax.vjp(read, record)
    shape = found.shape[1:]
    ones = jnp.eye(math.prod(shape), dtype=found.dtype).reshape(-1, *shape)
    rows = [pull_back(*read_back(jnp.broadcast_to(one, found.shape))) for one in ones]

    def arranged(*slopes: Array) -> Array:
        return jnp.stack(slopes, 1).reshape(question.n, *shape, *slopes[0].shape[1:])

    return jax.tree.map(arranged, *rows), found, trajectory


def closure(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """The mean field and its derivative, one deterministic row: exact for means of networks of first order.

    Forward mode for up to 8 parameters; for more, reverse mode with two levels of checkpoints.
    """

    def observed(chosen: Parameters) -> tuple[Array, tuple[Array, Trajectory]]:
        trajectory = question.trajectory({**parameters, **chosen}, engine="mean_field", replicates=1)
        found = question.read(trajectory)
        return found, (found, trajectory)

    is_forward = num_values(parameters, names) <= FORWARD_AT_MOST
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
