"""Single mechanisms of `leap` against exact laws, small enough to be run again with a mistake planted.

Reactions alone are exact at any step, so steps are large; hops are second order and their steps small: at r = 0.05 the
total variation of a walker's law is 3e-5 a relaxation.
"""

from functools import cache

import numpy as np
from scipy import stats
from scipy.linalg import expm

from exodiff.trajectory import Trajectory
from tests.physics import gates
from tests.physics.checks.check import Check, smallest
from tests.physics.checks.leap_error import error_table, leap, orders
from tests.physics.checks.leap_models import BY_NAME
from tests.physics.models import counts, make_model, simulate

REPLICATES = 10_000
TIMES = (0.4, 1.2)
V = 2.0


@cache
def chemistry() -> Trajectory:
    """Reactions that do not touch each other, in 2.5 um^3 with a fluid fraction of 0.8."""
    model = make_model(
        [1],
        spacing=[2.5, 1.0, 1.0],
        lattice={"fluid_fraction": 0.8},
        parameters={"per_s": "1 /s"},
        species={"f": {"initial": 20}, "g": {"initial": 20}, "h": {"initial": 11}, "a": {"initial": 9}}
        | {"b": {"initial": 6}, "c": {}, "s": {"initial": 9}},
        reactions=[
            {"equation": "f ->", "rate": "0.7 /s"},
            {"equation": "g ->", "rate": "0.7 /s"},
            {"equation": "2 h ->", "rate": "0.08 um^3/s"},
            {"equation": "a + b -> c", "rate": "0.25 um^3/s"},
            {"equation": "s ->", "propensity": "per_s * hill(s, 4, 3)"},
        ],
    )
    return simulate(model, list(TIMES), seed=31, replicates=REPLICATES, time_step=0.2)


def _number(name: str) -> np.ndarray:
    return counts(chemistry(), name)[..., 0]


def _law(rates: np.ndarray, change: int, time: float) -> np.ndarray:
    """Law of a count that starts at the last place and falls by ``change`` at the given rates."""
    generator = np.diag(-rates)
    generator[np.arange(change, len(rates)), np.arange(len(rates) - change)] += rates[change:]
    return expm(generator * time)[-1]


def first_order_loss() -> float:
    """Two species with the same law: binomial, at the right times, and nothing to do with each other."""
    p = []
    for i, t in enumerate(TIMES):
        law = stats.binom.pmf(np.arange(21), 20, np.exp(-0.7 * t))
        f, g = _number("f")[:, i], _number("g")[:, i]
        mean = 20.0 * np.exp(-0.7 * t)
        product = (f - mean) * (g - mean)
        p += [gates.pmf_p(f, law), gates.pmf_p(g, law)]
        p.append(gates.mean_p(product[:, None], 0.0, [(mean * (1 - np.exp(-0.7 * t))) ** 2]))
    return smallest(*p)


def pairs_alone() -> float:
    """2 h -> with n (n - 1), and a + b -> c with 1 / V."""
    n = np.arange(12)
    rates = 0.08 / V * n * (n - 1)
    made = 0.25 / V * np.arange(7) * np.arange(3, 10)
    p = []
    for i, t in enumerate(TIMES):
        p.append(gates.pmf_p(_number("h")[:, i], _law(rates, 2, t)))
        p.append(gates.pmf_p(6 - _number("c")[:, i], _law(made, 1, t)))
    return smallest(*p)


def hill_loss() -> float:
    """A propensity with the cube of the count over that of K."""
    n = np.arange(10.0)
    rates = n**3 / (4.0**3 + n**3)
    return smallest(*(gates.pmf_p(_number("s")[:, i], _law(rates, 1, t)) for i, t in enumerate(TIMES)))


SHAPE, WALKERS, BOXES = (6, 4), 100, 200


def closed_box() -> float:
    """Walkers from one voxel between reflecting walls: none is lost, each voxel and each half is binomial."""
    model = make_model(list(SHAPE), species={"W": {"diffusion": 1.0, "initial": {"voxel": [1, 1], "count": WALKERS}}})
    times = [0.4, 2.0]
    found = counts(simulate(model, times, seed=32, replicates=BOXES, time_step=0.05), "W")
    if np.any(found.sum((2, 3)) != WALKERS):
        return 0.0
    p = []
    for i, t in enumerate(times):
        axes = []
        for n in SHAPE:
            rates = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
            axes.append(expm(t * (rates - np.diag(rates.sum(0))))[1])
        law = np.outer(*axes)
        seen = found[:, i].reshape(BOXES, -1)
        p.append(gates.binomial_p(seen.sum(0), WALKERS * BOXES, law.ravel()))
        signs = (np.random.default_rng(3).random((16, law.size)) < 0.5).astype(float)
        q = signs @ law.ravel()
        variance = WALKERS * q * (1 - q)
        kurtosis = 3.0 + (1.0 - 6.0 * q * (1 - q)) / variance
        p.append(gates.variance_p(seen @ signs.T, WALKERS * q, variance, kurtosis))
    return smallest(*p)


def division_keeps_molecules() -> float:
    """1 if the contents of dividing cells sum to what they were in every replicate, else 0."""
    model = make_model(
        [5, 5],
        cells={"tumour": {}},
        place=[{"cells": "tumour", "box": {"low": [2.0, 2.0, 0.0], "high": [3.0, 3.0, 1.0]}}],
        species={"load": {"in": "cell", "initial": {"tumour": 40}}},
        reactions=[{"equation": "tumour -> 2 tumour", "rate": "1 /s"}],
    )
    found = simulate(model, [1.0, 3.0], seed=33, replicates=50, time_step=0.1)
    divided = found.total("tumour")[:, -1].max() > 4
    return float(divided and np.all(found.total("load") == 40))


def order_deficit(name: str) -> float:
    """2 less the lowest observed order of the enumerated step."""
    return 2.0 - float(np.nanmin(orders(error_table(BY_NAME[name], leap))))


P = gates.ALPHA
CHECKS = (
    Check("first-order loss", "binomial, two species independent", first_order_loss, P, "p"),
    Check("pairs alone", "n (n - 1) and 1 / V", pairs_alone, P, "p"),
    Check("Hill loss", "a propensity with n = 3", hill_loss, P, "p"),
    Check("closed box", "walkers are multinomial and none is lost", closed_box, P, "p"),
    Check("division", "contents are shared out exactly", division_keeps_molecules, 0.5, "p"),
    Check("order, uptake", "second order in the step, enumerated", lambda: order_deficit("uptake_3"), 0.1),
    Check("order, ring", "second order in the step, enumerated", lambda: order_deficit("ring_uptake"), 0.1),
)
