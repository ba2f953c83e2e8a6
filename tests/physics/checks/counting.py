"""Counting statistics of single voxels and cells against their exact laws (V4 and V10), with `leap`.

All take 10,000 replicates at steps of at most 0.05 relaxation times, where the splitting moves a mean by 2e-4 of
itself: a fortieth of what so many replicates resolve.
"""

from functools import cache

import numpy as np
from scipy import stats

from exodiff.trajectory import Trajectory
from tests.physics import gates
from tests.physics.checks.check import Check, smallest
from tests.physics.models import counts, make_model, simulate

REPLICATES = 10_000
SIZE = 1024  # of the laws: all have less than 1e-12 beyond


def _from_generating_function(log_g: np.ndarray) -> np.ndarray:
    """Law on 0 ... SIZE - 1 from the logarithm of its generating function on the unit circle."""
    return np.clip(np.fft.fft(np.exp(log_g)).real / len(log_g), 0.0, None)


CIRCLE = np.exp(2j * np.pi * np.arange(SIZE) / SIZE)

# ----- bursts into a closed box, with decay at rate 1

BURST_RATE = 2.0
BURSTS = {
    "fixed": ("20 fixed", (np.arange(SIZE) == 20).astype(float), 10.5),
    "poissonian": ("poisson(20) poissonian", stats.poisson.pmf(np.arange(SIZE), 20.0), 11.0),
    "geometric": ("geometric(20) geometric", stats.geom.pmf(np.arange(SIZE) + 1, 1.0 / 21.0), 21.0),
}


@cache
def box_of_bursts() -> Trajectory:
    """All three kinds of burst, each with its own species, after 12 relaxation times."""
    model = make_model(
        [1],
        species={name: {} for name in BURSTS},
        reactions=[
            row
            for name, (made, _, _) in BURSTS.items()
            for row in (
                {"equation": f"-> {made}", "rate": f"{BURST_RATE} /s"},
                {"equation": f"{name} ->", "rate": "1 /s"},
            )
        ],
    )
    return simulate(model, [12.0], seed=41, replicates=REPLICATES, time_step=0.05)


def stationary_law(burst: np.ndarray) -> np.ndarray:
    """Law of the number: log G(z) = (rate / decay) sum over j of P(burst > j) (z^(j+1) - 1) / (j + 1)."""
    more = 1.0 - np.cumsum(burst)
    j = np.flatnonzero(more > 1e-14)
    powers = CIRCLE[None, :] ** (j[:, None] + 1)
    return _from_generating_function(BURST_RATE * (more[j] / (j + 1)) @ (powers - 1.0))


def burst_law(name: str) -> float:
    """V4b: the whole law, its mean and its Fano factor 1 + <b (b - 1)> / (2 <b>)."""
    _, burst, fano = BURSTS[name]
    law, n = stationary_law(burst), np.arange(SIZE)
    mean = law @ n
    assert np.isclose(law @ (n - mean) ** 2 / mean, fano, rtol=1e-6)
    kurtosis = law @ (n - mean) ** 4 / (fano * mean) ** 2
    found = counts(box_of_bursts(), name)[:, 0]
    return smallest(
        gates.pmf_p(found, law),
        gates.mean_p(found, mean, [fano * mean]),
        gates.variance_p(found, mean, np.array([fano * mean]), kurtosis),
    )


# ----- uptake of a cell in a bath that keeps its concentration


@cache
def uptake() -> Trajectory:
    """A cell in a voxel with 50 vesicles: loads, doses, and two receivers that compete for 40 others."""
    model = make_model(
        [1],
        cells={"cell": {}},
        place=[{"cells": "cell", "everywhere": True}],
        species={
            "EV": {"initial": 50},
            "taken": {"in": "cell"},
            "dose": {"in": "cell"},
            "rival": {"initial": 40},
            "first": {},
            "second": {},
        },
        reactions=[
            {"equation": "EV + cell -> EV + cell + taken", "rate": 0.02},
            {"equation": "EV + cell -> EV + cell + loaded(0.3, 5) dose", "rate": 0.01},
            {"equation": "rival -> first", "rate": 1.5},
            {"equation": "rival -> second", "rate": 0.5},
        ],
    )
    return simulate(model, [1.0, 4.0, 10.0], seed=42, replicates=REPLICATES, time_step=0.05)


def linear_uptake() -> float:
    """V4a: Poisson(m), so that exp(-m) of the cells have none."""
    found = counts(uptake(), "taken")[..., 0]
    return smallest(*(gates.pmf_p(found[:, i], stats.poisson.pmf(np.arange(60), m)) for i, m in enumerate((1, 4, 10))))


def load_law(mean: float) -> np.ndarray:
    """Law of the copies from Poisson(mean) vesicles, each loaded with probability 0.3 by Poisson(5)."""
    return _from_generating_function(mean * 0.3 * (np.exp(5.0 * (CIRCLE - 1.0)) - 1.0))


def delivered_copies() -> float:
    """V4c: mean m f mu, Fano 1 + mu, P0 = exp(-m f (1 - exp(-mu)))."""
    found = counts(uptake(), "dose")[..., 0]
    p = []
    for i, m in enumerate((0.5, 2.0, 5.0)):
        law, n = load_law(m), np.arange(SIZE)
        assert np.isclose(law[0], np.exp(-0.3 * m * -np.expm1(-5.0)))
        assert np.isclose(law @ n**2 - (law @ n) ** 2, 6.0 * law @ n)
        p += [gates.pmf_p(found[:, i], law), gates.mean_p(found[:, i], law @ n, [6.0 * law @ n])]
    return smallest(*p)


def hard_threshold(threshold: int = 5) -> float:
    """V4d: a cell passes a threshold of doses by time t with probability P(Poisson(a t) >= threshold)."""
    passed = (counts(uptake(), "taken")[..., 0] >= threshold).sum(0)
    exact = stats.poisson.sf(threshold - 1, np.array([1.0, 4.0, 10.0]))
    return gates.binomial_p(passed, REPLICATES, exact)


def competing_receivers() -> float:
    """V4e: captures split as w1 : w2; the step is symmetric, so the split is exact to (k dt)^2 / 12 = 8e-4."""
    first, second = (counts(uptake(), name)[..., 0] for name in ("first", "second"))
    left = stats.binom.pmf(np.arange(41), 40, np.exp(-2.0 * 1.0))
    together = 40 - first[:, 0] - second[:, 0]
    n = first[:, 2] + second[:, 2]
    return smallest(gates.pmf_p(together, left), gates.binomial_p(first[:, 2].sum(), n.sum(), 0.75))


# ----- one seed that divides and dies

BIRTH, DEATH, UNTIL = 1.0, 0.5, 3.0


def branching_law(time: float) -> np.ndarray:
    """Law of a linear birth and death process from one (D. G. Kendall, 1948)."""
    growth = np.exp(-(BIRTH - DEATH) * time)
    gone = DEATH * (1.0 - growth) / (BIRTH - DEATH * growth)
    ratio = BIRTH * (1.0 - growth) / (BIRTH - DEATH * growth)
    n = np.arange(SIZE)
    return np.where(n == 0, gone, (1.0 - gone) * (1.0 - ratio) * ratio ** np.maximum(n - 1, 0))


@cache
def branching() -> Trajectory:
    """One seed in one voxel, as a molecule."""
    model = make_model(
        [1],
        species={"seed": {"initial": 1}},
        reactions=[{"equation": "seed -> 2 seed", "rate": BIRTH}, {"equation": "seed ->", "rate": DEATH}],
    )
    return simulate(model, [UNTIL], seed=43, replicates=REPLICATES, time_step=0.02)


def well_mixed_branching() -> float:
    """V10 where there is room for all."""
    return gates.pmf_p(counts(branching(), "seed")[:, 0], branching_law(UNTIL))


def crowded_branching() -> float:
    """V10 on a lattice: crowding can only hold back, so no fewer die out and no more are left (one-sided)."""
    replicates = 500
    model = make_model(
        [9, 9],
        cells={"tumour": {}},
        place=[{"cells": "tumour", "box": {"low": [4.0, 4.0, 0.0], "high": [5.0, 5.0, 1.0]}}],
        reactions=[
            {"equation": "tumour -> 2 tumour", "rate": f"{BIRTH} /s"},
            {"equation": "tumour ->", "rate": f"{DEATH} /s"},
        ],
    )
    found = simulate(model, [UNTIL], seed=44, replicates=replicates, time_step=0.02)
    left = found.total("tumour")[:, 0]
    law, n = branching_law(UNTIL), np.arange(SIZE)
    mean, variance = law @ n, law @ n**2 - (law @ n) ** 2
    fewer_extinct = stats.binom.cdf(int((left == 0).sum()), replicates, law[0])
    more_left = stats.norm.sf((left.mean() - mean) / np.sqrt(variance / replicates))
    return smallest(float(fewer_extinct), float(more_left))


P = gates.ALPHA
CHECKS = (
    Check("V4a linear uptake", "vesicles taken up by a cell are Poisson", linear_uptake, P, "p"),
    *(
        Check(f"V4b {name} bursts", f"Fano factor {fano:g} and the whole law", lambda n=name: burst_law(n), P, "p")
        for name, (_, _, fano) in BURSTS.items()
    ),
    Check("V4c delivered copies", "zero-inflated loads have Fano 1 + mu", delivered_copies, P, "p"),
    Check("V4d hard threshold", "times to a threshold are gamma", hard_threshold, P, "p"),
    Check("V4e two receivers", "captures split by their weights", competing_receivers, P, "p"),
    Check("V10 well mixed", "one seed dies out as a branching process", well_mixed_branching, P, "p"),
    Check("V10 lattice", "crowding only holds back", crowded_branching, P, "p"),
)
