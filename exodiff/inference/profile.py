"""Profile likelihoods: the best that the other parameters can do at each value of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from exodiff.inference.levenberg_marquardt import maximise
from exodiff.inference.objective import Evaluation, Objective

STEP = 0.5  # of a standard error
MOST_POINTS = 40  # to each side


@dataclass(frozen=True, eq=False)
class Profile:
    """One parameter's profile.

    Attributes:
        parameter: its name.
        u: coordinates, rising.
        values: of the parameter.
        drop: of log posterior below its maximum, others refitted.
        ends: coordinates where the drop reaches that of the level; infinite where the profile does not come so far.

    """

    parameter: str
    u: np.ndarray
    values: np.ndarray
    drop: np.ndarray
    ends: tuple[float, float]


def profiles(
    objective: Objective, at: Evaluation, level: float, report: Callable[[str], None], parameters: Sequence[str]
) -> tuple[Profile, ...]:
    """The profile of each parameter about an optimum, out to the drop of a level."""
    errors = np.sqrt(np.diag(np.linalg.inv(at.curvature)))
    found = []
    for index, name in enumerate(parameters):
        report(name)
        found.append(_profile(objective, at, index, name, float(errors[index]), float(chi2.ppf(level, 1)) / 2))
    return tuple(found)


def _profile(objective: Objective, at: Evaluation, index: int, name: str, error: float, deepest: float) -> Profile:
    left, low = _side(objective, at, index, -STEP * error, deepest)
    right, high = _side(objective, at, index, STEP * error, deepest)
    points = [*reversed(left), (float(at.u[index]), 0.0), *right]
    u, drop = (np.array(column) for column in zip(*points, strict=True))
    return Profile(name, u, objective.priors[index].from_coordinate(u), drop, (low, high))


def _side(
    objective: Objective, at: Evaluation, index: int, step: float, deepest: float
) -> tuple[list[tuple[float, float]], float]:
    """Points (u, drop) outwards until the drop is deep enough, and where it crosses."""
    free = np.arange(len(at.u)) != index
    points: list[tuple[float, float]] = []
    here, before = at, (float(at.u[index]), 0.0)
    for _ in range(MOST_POINTS):
        moved = here.u.copy()
        moved[index] += step
        found = objective.evaluate(moved)
        if found is None:
            break
        here = maximise(objective.evaluate, found, free).at if free.any() else found
        point = float(here.u[index]), max(at.log_posterior - here.log_posterior, 0.0)
        points.append(point)
        if point[1] >= deepest:
            # the root of the drop is nearly linear in u
            shares = np.sqrt([before[1], deepest, point[1]])
            share = (shares[1] - shares[0]) / (shares[2] - shares[0])
            return points, before[0] + share * (point[0] - before[0])
        before = point
    return points, float(np.copysign(np.inf, step))
