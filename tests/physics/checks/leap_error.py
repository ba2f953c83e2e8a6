"""Error of a step against the master equation, on enumerated laws: no sampling, so orders can be read off.

An error is relative: that of a mean over the largest mean of the species until the end, that of a variance likewise, so
that a species which has only begun to appear does not divide by nothing. The total variation is that of the joint law.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

from exodiff.operations import operations
from tests.physics.checks.leap_models import LeapModel
from tests.physics.checks.states import Space, generator, reaction_generator
from tests.physics.checks.step_matrix import StepLaw, advance

REFINEMENTS = (1, 2, 4, 8)
EXACT = 1e-7  # relative errors below this are round-off and lost tails, not the step's

Law = np.ndarray
Scheme = Callable[[Space, float, int], Law]


class Errors(NamedTuple):
    """Of the means and variances of each watched species, relative, and the total variation of the joint law."""

    mean: np.ndarray
    variance: np.ndarray
    total_variation: float

    @property
    def all(self) -> np.ndarray:
        """All of them in one row, absolute."""
        return np.abs(np.concatenate([self.mean, self.variance, [self.total_variation]]))


def moments(model: LeapModel, space: Space, laws: np.ndarray) -> np.ndarray:
    """Mean and variance of the total of each watched species, (..., 2, watched)."""
    network = space.problem.network
    totals = np.stack([space.states[:, network.index(name)].sum(1) for name in model.watched], 1).astype(float)
    mean = laws @ totals
    return np.stack([mean, laws @ totals**2 - mean**2], -2)


@cache
def exact_law(model: LeapModel, points: int = 16) -> Law:
    """The law of the master equation at equally spaced times up to the end, (points + 1, states)."""
    space = model.space()
    rates = generator(space).T.tocsr()
    return expm_multiply(rates, space.start(), start=0.0, stop=model.end_s, num=points + 1, endpoint=True)


def errors(model: LeapModel, law: Law) -> Errors:
    """Of a law at the end."""
    space, exact = model.space(), exact_law(model)
    largest = moments(model, space, exact).max(0)
    mean, variance = (moments(model, space, law) - moments(model, space, exact[-1])) / largest
    return Errors(mean, variance, 0.5 * float(np.abs(law - exact[-1]).sum()))


# ----- schemes: (space, dt, number of pairs) -> law at the end


def leap(space: Space, dt_s: float, num_pairs: int) -> Law:
    """The step as it is: forwards, then backwards, in parts where the limits ask for it."""
    return advance(space, space.start(), dt_s, num_pairs, {})


def always_forwards(space: Space, dt_s: float, num_pairs: int) -> Law:
    """The same operations, never in reversed order."""
    step, law = StepLaw(space, dt_s), space.start()
    for _ in range(2 * num_pairs):
        law = step.forwards(law)
    return law


def _hops_and_ssa(space: Space, dt_s: float, num_pairs: int, *, alternating: bool) -> Law:
    step, law = StepLaw(space, dt_s), space.start()
    hops = [m for op, ms in zip(operations(space.problem), step.matrices, strict=True) if op.hop for m in ms]
    react = expm(reaction_generator(space).toarray() * dt_s)
    for half in range(2 * num_pairs):
        first = alternating and half % 2 == 1
        law = law @ react if first else law
        for hop in hops[::-1] if first else hops:
            law = law @ hop
        law = law if first else law @ react
    return law


def voxel_ssa(space: Space, dt_s: float, num_pairs: int) -> Law:
    """Hops, then the exact reactions of each voxel: first-order (Lie) splitting."""
    return _hops_and_ssa(space, dt_s, num_pairs, alternating=False)


def voxel_ssa_alternating(space: Space, dt_s: float, num_pairs: int) -> Law:
    """The same with the order reversed every other step."""
    return _hops_and_ssa(space, dt_s, num_pairs, alternating=True)


SCHEMES: dict[str, Scheme] = {
    "leap": leap,
    "always forwards": always_forwards,
    "hops, then SSA": voxel_ssa,
    "hops and SSA, alternating": voxel_ssa_alternating,
}


def applies(scheme: str, model: LeapModel) -> bool:
    """In one voxel the SSA of the voxel is the exact law."""
    return "SSA" not in scheme or model.voxels > 1


# ----- what is measured


def steps(model: LeapModel) -> list[tuple[float, int]]:
    """(dt, number of pairs) from about twice the automatic step down by halving."""
    automatic = model.space().problem.step_bound_s
    fewest = max(int(np.ceil(model.end_s / (4.0 * automatic))), 1)
    return [(model.end_s / (2 * fewest * r), fewest * r) for r in REFINEMENTS]


def error_table(model: LeapModel, scheme: Scheme) -> list[Errors]:
    """Errors at each of the steps."""
    return [errors(model, scheme(model.space(dt), dt, pairs)) for dt, pairs in steps(model)]


def orders(table: list[Errors]) -> np.ndarray:
    """Observed order of each error in the last halving; nan for those that are exact."""
    coarse, fine = table[-2].all, table[-1].all
    counts = fine > EXACT
    return np.where(counts, np.log2(coarse / np.where(counts, fine, 1.0)), np.nan)


class Guarantee(NamedTuple):
    """Largest errors at the automatic step of a tolerance, at any time up to the end."""

    step_s: float
    mean: float
    variance: float
    total_variation: float


def at_tolerance(model: LeapModel, tolerance: float) -> Guarantee:
    """Errors of the automatic step after each pair, halvings included."""
    space = model.space(tolerance=tolerance)
    pairs = max(int(np.ceil(model.end_s / (2.0 * space.problem.step_bound_s))), 1)
    dt_s, laws = model.end_s / (2 * pairs), {}
    exact = exact_law(model, pairs)
    largest = moments(model, space, exact).max(0)
    law, worst = space.start(), np.zeros(3)
    for at in exact[1:]:
        law = advance(space, law, dt_s, 1, laws)
        off = np.abs(moments(model, space, law) - moments(model, space, at)) / largest
        worst = np.maximum(worst, [*off.max(1), 0.5 * np.abs(law - at).sum()])
    return Guarantee(dt_s, *map(float, worst))
