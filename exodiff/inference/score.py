"""Estimator ``score``: the likelihood ratio of the draws, with a leave-one-out baseline."""

from jax import Array

from exodiff.core.errors import ConfigError
from exodiff.inference.question import (
    Parameters,
    Question,
    Samples,
    derivatives,
    raise_if_failed,
    refuse_contents,
    refuse_fields,
)
from exodiff.simulation import simulate_scored


def score(question: Question, parameters: Parameters, names: tuple[str, ...]) -> Samples:
    """Derivatives from the log-probability of what was drawn, for any function of the trajectory.

    Of a replicate with the value f and the log-probability l of its draws, up to the last time asked for,

        d E[f] = E[(f - b) dl + df],

    with b the mean of f over the other replicates, and df what f changes by with all draws as they are (a parameter in
    an observable, a concentration). Unbiased for first-order, zero-order and hop draws; a chain of events has the law
    of a linear propensity, of second order in the step. The spread grows with the number of events.
    """
    refuse_contents(question, names, "score")
    refuse_fields(parameters, names, "score")
    if question.n < 2:
        raise ConfigError(
            "n", f"{question.n} is too few: the baseline of a replicate is the mean of the others; give more"
        )

    def observed(chosen: Parameters) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        trajectory, log_p = simulate_scored(
            question.model, question.times, {**parameters, **chosen}, question.seed, question.n, question.time_step
        )
        found = question.read(trajectory)
        return (found, log_p), (found, trajectory.health)

    slopes, (values, health) = derivatives(observed, {name: parameters[name] for name in names})
    if not names:
        return Samples(values, {}, "none").unless(raise_if_failed(health))
    above = (values - values.mean(0)) * (question.n / (question.n - 1))
    rows = (-1,) + (1,) * (values.ndim - 1)
    direct, log_slopes = slopes
    found = {name: direct[name] + above * log_slopes[name].reshape(rows) for name in names}
    return Samples(values, found, "score").unless(raise_if_failed(health))
