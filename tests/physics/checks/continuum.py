"""The truths of truths/continuous.json that the model language can express today, in `mean_field`.

Where the file has the solution on the grid, that is what is compared; else the continuum, with the error of the grid
derived beside the gate.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import special
from scipy.linalg import expm

from tests.physics.checks.check import Check
from tests.physics.models import counts, make_model, simulate

TRUTH = json.loads((Path(__file__).parents[1] / "truths" / "continuous.json").read_text())
EXACT_STEP = {"engine": "mean_field", "precision": "float64"}


def greens_function_lattice() -> float:
    """One point in an octant with mirrors, against exp(-2 s) I_j(2 s) an axis, s = D t / h^2; relative to the peak."""
    truth, h, t, n = TRUTH["green3d_decay"], 0.5, 0.25, 16
    d, k, s = truth["D"], truth["k"], truth["D"] * t / h**2
    model = make_model(
        [n] * 3,
        spacing=h,
        species={"W": {"diffusion": d, "initial": {"voxel": [0, 0, 0], "count": 1e6}}},
        reactions=[{"equation": "W ->", "rate": f"{k} /s"}],
        run={"engine": "mean_field"},
    )
    found = counts(simulate(model, [t], time_step=t / 64), "W")[0, 0] / 1e6
    j = np.arange(n)
    axis = special.ive(j, 2.0 * s) + special.ive(j + 1, 2.0 * s)  # a mirror half a voxel from the point
    exact = np.exp(-k * t) * axis[:, None, None] * axis[:, None] * axis
    return float(np.max(np.abs(found - exact)) / exact.max())


def greens_function_continuum() -> float:
    """Concentration at r = 0, 1, 2 and the total, from an instantaneous point in the middle; relative to the peak.

    The lattice's kernel is higher by 3 h^2 / (16 D t) at the peak: 0.6 % here.
    """
    truth, h, t, n = TRUTH["green3d_decay"], 0.25, 1.0, 61
    d, k = truth["D"], truth["k"]
    model = make_model(
        [n],  # the density factorises: one axis is simulated, and taken to the third power
        spacing=[h, 1.0, 1.0],
        species={"W": {"diffusion": d, "initial": {"voxel": [n // 2], "count": 1e6}}},
        run=EXACT_STEP,
    )
    line = counts(simulate(model, [t], time_step=0.005), "W")[0, 0] / 1e6 / h
    worst, peak = 0.0, truth["points"][4]["C"]
    for point in truth["points"]:
        if point["t"] == t:
            place = n // 2 + round(point["r"] / h)
            value = truth["N"] * np.exp(-k * t) * line[place] * line[n // 2] ** 2
            worst = max(worst, abs(value - point["C"]) / peak)
    return float(worst)


def secreting_plane() -> float:
    """The first four voxels beside a secreting plane, for h = 2, 5, 10, 20, on the grid."""
    truth, worst = TRUTH["secreting_plane"], 0.0
    for case in truth["finite_volume"]:
        h, d, k = case["h"], truth["D"], truth["k"]
        voxels = int(320.0 / h)
        model = make_model(
            [voxels],
            spacing=[h, 1.0, 1.0],
            species={"EV": {"diffusion": d}},
            regions={"source": {"layer": {"axis": "x", "from": 0, "to": h}}},
            reactions=[
                {"equation": "-> EV", "rate": f"{truth['S']} /s", "region": "source"},
                {"equation": "EV ->", "rate": f"{k} /s"},
            ],
            run=EXACT_STEP,
        )
        step = 0.004 * h**2 / d if h < 10 else 0.02
        found = counts(simulate(model, [10.0 / k], time_step=step), "EV")[0, 0, :4] / h
        worst = max(worst, float(np.max(np.abs(found / case["C_first4"] - 1.0))))
    return worst


def absorbing_interval() -> float:
    """Survival between absorbing walls; the grid is off by (pi h)^2 / 12 of the rate: 1e-3 at t = 0.1."""
    n = 48
    model = make_model(
        [n],
        spacing=[1.0 / n, 1.0, 1.0],
        boundary={"x_low": "absorbing", "x_high": "absorbing"},
        species={"W": {"diffusion": 1.0, "initial": 1.0}},
        run=EXACT_STEP,
    )
    values = TRUTH["absorbing_interval"]["values"]
    found = counts(simulate(model, [v["t"] for v in values], time_step=2e-5), "W")[0].mean(1)
    return float(np.max(np.abs(found - [v["S"] for v in values])))


def clamped_wall() -> float:
    """A wall of fixed concentration on the lattice: filling of a line, against the exponential with rate 2 D / h^2."""
    n = 20
    model = make_model(
        [n],
        boundary={"x_low": {"fixed": {"W": 3.0}}},
        species={"W": {"diffusion": 1.0}},
        run=EXACT_STEP,
    )
    found = counts(simulate(model, [4.0, 40.0], time_step=0.02), "W")[0]
    rates = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    rates -= np.diag(rates.sum(0) + 2.0 * (np.arange(n) == 0))
    full = np.full(n, 3.0)
    exact = np.stack([full - expm(rates * t) @ full for t in (4.0, 40.0)])
    return float(np.max(np.abs(found - exact)) / 3.0)


def fisher_front(h: float) -> float:
    """Position of a Fisher front at the tabulated times, relative deviation; the front is that of the same grid."""
    truth = TRUTH["fisher_kpp"]
    case = next(c for c in truth["semi_discrete_front"] if c["h"] == h)
    voxels = int(260.0 / h)
    model = make_model(
        [voxels],
        spacing=[h, 1.0, 1.0],
        species={"u": {"diffusion": truth["D"], "initial": 0}},
        reactions=[
            {"equation": "u -> 2 u", "rate": f"{truth['r']} /s"},
            {"equation": "2 u -> u", "rate": f"{truth['r']} um^3/s"},
        ],
        run=EXACT_STEP,
    )
    start = np.zeros_like(model.start, float)
    start[0, :, 0, 0] = h * ((np.arange(voxels) + 0.5) * h < 10.0)
    found = counts(simulate(replace(model, start=start), case["times"], time_step=0.05), "u")[0].sum(1)
    return float(np.max(np.abs(found / case["mass_integral"] - 1.0)))


CHECKS = (
    Check(
        "Green's function, lattice", "a point spreads as products of Bessel functions", greens_function_lattice, 1e-3
    ),
    Check("Green's function, continuum", "and as a Gaussian that decays", greens_function_continuum, 1e-2),
    Check("secreting plane", "the profile on grids of 2 to 20 um", secreting_plane, 1e-3),
    Check("absorbing interval", "survival between absorbing walls", absorbing_interval, 2e-3),
    Check("clamped wall", "a wall of fixed concentration fills a line", clamped_wall, 1e-4),
    Check("Fisher front, h = 2", "a front is where the same grid has it", lambda: fisher_front(2.0), 1e-3),
    Check("Fisher front, h = 1", "a front is where the same grid has it", lambda: fisher_front(1.0), 1e-3),
)
