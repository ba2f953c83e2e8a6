"""Levenberg-Marquardt with the Fisher information: the maximum of a log posterior.

J. Nocedal, S. Wright, Numerical Optimization (2006), section 10.3, with Marquardt's diagonal scaling.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from exodiff.inference.objective import Evaluation

MOST_STEPS = 100
LONGEST_STEP = 2.0  # in log x: a factor of 7.4
# The expected gain of log posterior by a further step: at 1e-6 the estimate is within 0.0014 standard errors.
CONVERGED = 1e-6
# Where three steps in a row gain nothing, because predictions are rounded: within 0.14 standard errors.
ROUNDED = 1e-2


class Optimum(NamedTuple):
    """Where an optimisation ended.

    Attributes:
        at: the best point.
        converged: whether it is a maximum.
        steps: evaluations of the objective.
        expected_gain: of log posterior, by the next Newton step.

    """

    at: Evaluation
    converged: bool
    steps: int
    expected_gain: float


def maximise(
    evaluate: Callable[[np.ndarray], Evaluation | None],
    start: Evaluation,
    free: np.ndarray | None = None,
    report: Callable[[int, Evaluation], None] = lambda step, at: None,
) -> Optimum:
    """Climb from a point.

    Args:
        evaluate: the log posterior; None where it is not finite.
        start: where to begin.
        free: which coordinates may move; None for all.
        report: is told each step.

    """
    chosen = np.flatnonzero(np.ones(len(start.u), bool) if free is None else free)
    at, damping, gain, refused = start, 1e-3, np.inf, 0
    for step in range(1, MOST_STEPS + 1):
        gradient = at.gradient[chosen]
        curvature = at.curvature[np.ix_(chosen, chosen)]
        with np.errstate(over="ignore", invalid="ignore"):  # of values that are far out of reach
            gain = 0.5 * float(gradient @ np.linalg.pinv(curvature, hermitian=True) @ gradient)
        if 0 <= gain < CONVERGED or (0 <= gain < ROUNDED and refused == 3):
            return Optimum(at, True, step, gain)
        if damping > 1e8 or not np.isfinite(gain):
            return Optimum(at, False, step, gain)
        damped = curvature + damping * np.diag(np.diag(curvature) + 1e-12)
        move = np.linalg.solve(damped, gradient)
        move *= min(1.0, LONGEST_STEP / max(float(np.abs(move).max()), 1e-300))
        u = at.u.copy()
        u[chosen] += move
        found = evaluate(u)
        if found is not None and found.log_posterior > at.log_posterior:
            at, damping, refused = found, max(damping / 10, 1e-12), 0
            report(step, at)
        else:
            damping, refused = damping * 10, refused + 1
    return Optimum(at, False, MOST_STEPS, gain)
