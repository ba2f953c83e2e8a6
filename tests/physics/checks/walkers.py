"""Hops against the exact exponential of the lattice generator (truths/diffusion_lattice.npz).

The hop kernel of `leap` is second order: its total variation to the exact law is below 1e-3 at the steps used here
(r = D dt/h^2 <= 0.1; see test_diffusion_lattice.py), which a chi-square with 5e4 walkers sees as a noncentrality of
0.2, its own spread being 20. In `exact` hops are events, and there is no such error.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from exodiff import Trajectory
from tests.physics import gates
from tests.physics.checks.check import Check, smallest
from tests.physics.models import box_of, counts, make_model, simulate

TRUTH = np.load(Path(__file__).parents[1] / "truths" / "diffusion_lattice.npz")
TIMES = [0.05, 0.5, 2.0, 8.0]
SHAPE = (9, 8, 7)
START = (2, 3, 1)
NUM_VOXELS = int(np.prod(SHAPE))
SIZES = {"leap": (500, 100), "exact": (40, 25)}  # walkers a replicate, replicates
CASES = ["hom_reflect", "hom_periodic", "hom_absorb_face", "aniso_reflect"]
CLOSED = ["hom_reflect", "hom_periodic", "aniso_reflect"]
SECRETION_TIMES = [1.0, 5.0]


def model(case: str, num_walkers: int, **run: Any) -> Any:
    """The box of a case, in two of them with a second species: secreted and decaying, or Poisson from the start."""
    walker = {"diffusion": 1.0, "initial": {"voxel": list(START), "count": num_walkers}}
    if case == "hom_reflect":
        return make_model(
            list(SHAPE),
            run=run,
            regions={"centre": {"box": box_of(4, 4, 3)}, "corner": {"box": box_of(0, 0, 0)}},
            species={"W": walker, "S": {"diffusion": 1.0, "decay": 0.1}},
            reactions=[
                {"equation": "-> S", "rate": "5 /s", "region": "centre"},
                {"equation": "-> S", "rate": "2 /s", "region": "corner"},
            ],
        )
    if case == "hom_periodic":
        species = {"W": walker, "P": {"diffusion": 1.0, "initial": {"poisson": 3.0}}}
        return make_model(list(SHAPE), boundary="periodic", run=run, species=species)
    if case == "hom_absorb_face":
        return make_model(list(SHAPE), boundary="absorbing", run=run, species={"W": walker})
    return make_model(list(SHAPE), spacing=[1.0, 1.25, 0.8], run=run, species={"W": {**walker, "diffusion": 0.6}})


@cache
def _run(case: str, engine: str) -> tuple[list[float], Trajectory]:
    num_walkers, replicates = SIZES[engine]
    times = TIMES if engine == "leap" else TIMES[:3]
    if case == "hom_reflect":
        times = sorted({*times, *SECRETION_TIMES})
    found = simulate(model(case, num_walkers), times, seed=11, replicates=replicates, engine=engine, time_step=0.1)
    return times, found


def numbers(case: str, engine: str = "leap", species: str = "W") -> np.ndarray:
    """In each voxel at the times of the truth, (replicates, times, voxels)."""
    times, found = _run(case, engine)
    wanted = SECRETION_TIMES if species == "S" else [t for t in TIMES if t in times]
    seen = counts(found, species)[:, [times.index(t) for t in wanted]]
    return seen.reshape(len(seen), len(wanted), NUM_VOXELS)


def probabilities(case: str) -> np.ndarray:
    """Exact, (times, voxels)."""
    return np.clip(TRUTH[case].reshape(-1, NUM_VOXELS), 0.0, 1.0)


@cache
def sets() -> np.ndarray:
    """Half-spaces, checkerboards, planes and random sets of voxels, (sets, voxels)."""
    x, y, z = np.indices(SHAPE)
    listed = [
        x < 4,
        x < 3,
        y < 4,
        y < 3,
        z < 3,
        z < 2,
        (x + y + z) % 2 == 0,
        (x + y) % 2 == 0,
        z % 2 == 0,
        x == 2,
        y == 3,
    ]
    random = np.random.default_rng(5).random((40, *SHAPE)) < 0.5
    return np.concatenate((np.stack(listed), random)).reshape(-1, NUM_VOXELS)


def places(case: str, engine: str = "leap") -> float:
    """Walkers of all replicates in each voxel, in sets of voxels, and in all voxels and outside at once."""
    found = numbers(case, engine)
    walkers = SIZES[engine][0] * len(found)
    p_values = []
    for at, p in enumerate(probabilities(case)[: found.shape[1]]):
        seen = found[:, at].sum(0)
        p_values += [gates.binomial_p(seen, walkers, p), gates.binomial_p(sets() @ seen, walkers, sets() @ p)]
        all_places = np.repeat(np.arange(p.size + 1), np.append(seen, walkers - seen.sum()))
        p_values.append(gates.acceptance.chi2_pmf(all_places, np.append(p, max(1.0 - p.sum(), 0.0))))
    return smallest(*p_values)


def spread(case: str) -> float:
    """Variance over replicates of the walkers in sets of voxels, where their number is near normal.

    The sum of squares of 100 near normal numbers has chi-square tails, scaled to the binomial kurtosis
    3 + (1 - 6 p q) / (n p q). Its standard error is 14 %; bits shared by voxels inflate it several fold.
    """
    found, (walkers, replicates) = numbers(case), SIZES["leap"]
    p_values = []
    for at, p_voxel in enumerate(probabilities(case)):
        p = sets() @ p_voxel
        wide = walkers * p * (1.0 - p) > 20
        if not wide.any():
            continue
        inside, p = found[:, at] @ sets()[wide].T, p[wide]
        variance = walkers * p * (1.0 - p)
        second = ((inside - walkers * p) ** 2).sum(0) / variance
        scale = (2.0 + (1.0 - 6.0 * p * (1.0 - p)) / variance) / 2.0
        tails = stats.chi2.cdf(second / scale, replicates / scale), stats.chi2.sf(second / scale, replicates / scale)
        p_values.append(gates.acceptance.bonf(2.0 * np.minimum(*tails)))
    return smallest(*p_values)


def halves(case: str) -> float:
    """Covariance over replicates of two slabs, that of a multinomial: -n a b."""
    found, walkers = numbers(case).reshape(-1, len(TIMES), *SHAPE), SIZES["leap"][0]
    p_values = []
    for at in (1, 2):
        p = probabilities(case)[at].reshape(SHAPE)
        near, far = found[:, at, :2].sum((1, 2, 3)), found[:, at, 2:4].sum((1, 2, 3))
        a, b = p[:2].sum(), p[2:4].sum()
        product = (near - walkers * a) * (far - walkers * b)
        covariance = -walkers * a * b
        # near normal counts: Var(X Y) = v_X v_Y + cov^2
        variance = (walkers * a * (1 - a)) * (walkers * b * (1 - b)) + covariance**2
        p_values.append(gates.mean_p(product[:, None], covariance, variance))
    return smallest(*p_values)


def survival() -> float:
    """Walkers left between absorbing walls: binomial in each replicate."""
    left, (walkers, replicates) = numbers("hom_absorb_face").sum(2), SIZES["leap"]
    exact = probabilities("hom_absorb_face").sum(1)
    laws = [stats.binom.pmf(np.arange(walkers + 1), walkers, p) for p in exact]
    whole = gates.binomial_p(left.sum(0), walkers * replicates, exact)
    return smallest(whole, *(gates.pmf_p(left[:, at], law) for at, law in enumerate(laws)))


def secretion() -> float:
    """Secreted and decaying molecules stay Poisson in every voxel and set of voxels.

    The start of a step has every molecule decay or move in turn: a bias below 1e-4 at dt = 0.1, k dt = 0.01.
    """
    found, replicates = numbers("hom_reflect", species="S"), SIZES["leap"][1]
    p_values = []
    for at in range(len(SECRETION_TIMES)):
        mean = TRUTH["secrete_hom_reflect"][at].ravel()
        m, inside = sets() @ mean, found[:, at] @ sets().T
        p_values.append(gates.poisson_p(found[:, at].sum(0), replicates * mean))
        p_values.append(gates.poisson_p(inside.sum(0), replicates * m))
        # sum (x - m)^2 / m over R replicates has mean R and variance R (2 + 1/m)
        dispersion = ((inside - m) ** 2 / m).mean(0)
        z = (dispersion - 1.0) / np.sqrt((2.0 + 1.0 / m) / replicates)
        p_values.append(gates.acceptance.bonf(2.0 * stats.norm.sf(np.abs(z[m > 3]))))
    return smallest(*p_values)


def poisson_start() -> float:
    """Independent Poisson(3) in each voxel stay so: their law, random projections, and neighbours along each axis."""
    mean, found, replicates = 3.0, numbers("hom_periodic", species="P"), SIZES["leap"][1]
    p_values = []
    for at in range(len(TIMES)):
        p_values.append(gates.pmf_p(found[:, at], stats.poisson.pmf(np.arange(40), mean)))
        signs = 2.0 * sets() - 1.0
        projected = (found[:, at] - mean) @ signs.T / np.sqrt(mean * NUM_VOXELS)
        p_values.append(gates.mean_p(projected, 0.0, 1.0))
        second = (projected**2).sum(0)
        tails = np.minimum(stats.chi2.cdf(second, replicates), stats.chi2.sf(second, replicates))
        p_values.append(gates.acceptance.bonf(2.0 * tails))
        field = found[:, at].reshape(replicates, *SHAPE) - mean
        for axis in (1, 2, 3):
            product = field * np.roll(field, 1, axis)
            p_values.append(gates.mean_p(product.reshape(-1, 1), 0.0, mean**2))
    return smallest(*p_values)


def _check(name: str, claim: str, measure: Any, *arguments: str) -> Check:
    return Check(name, claim, lambda: measure(*arguments), gates.ALPHA, "p")


_PLACES = "walkers are where the exponential of the generator has them"
CHECKS = (
    *(_check(f"walkers, {c}, {e}", _PLACES, places, c, e) for e in ("leap", "exact") for c in CASES),
    *(_check(f"spread, {c}", "sets of voxels have binomial variances", spread, c) for c in CASES),
    *(_check(f"slabs, {c}", "two slabs covary as a multinomial", halves, c) for c in CASES),
    _check("survival", "absorbing walls take a binomial number", survival),
    _check("secretion", "secretion with decay stays Poisson", secretion),
    _check("Poisson start", "a product of Poissons stays one", poisson_start),
)
