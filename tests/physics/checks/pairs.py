"""Pairs that meet on periodic lattices (truths/rdme.json, truths/rdme_exact.json), at equal h.

The truths start from places drawn at random; here molecules mix until WAIT and then begin to react. A pair is written
there with a rate k (for 2 A: k / 2), and so it is here. A truth has a standard error of its own, which is added.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tests.physics import gates
from tests.physics.checks.check import Check, smallest
from tests.physics.checks.fsp import folder_of
from tests.physics.models import counts, make_model, simulate

TRUTHS = Path(__file__).parents[1] / "truths"
SAMPLED = json.loads((TRUTHS / "rdme.json").read_text())["many_body"]
EXACT = json.loads((TRUTHS / "rdme_exact.json").read_text())["pair_exact"]
WAIT = 0.6  # the slowest mode is exp(-16 t) at 2 voxels a side, exp(-32 t) at 4: 7e-5 and 5e-9 are left
STEPS = {2: 1 / 128, 4: 1 / 512}  # exit probabilities of 6 % (pair) and 12 % a step at the start


def _lattice(side: int, equation: str, rate: float, species: dict[str, Any], wait: float, **tables: Any) -> Any:
    rate_now = f"{rate} um^3/s"
    later = [{"at": [f"{wait} s"], "set": {"k": rate_now}}] if wait else []
    return make_model(
        [side] * 3,
        spacing=1.0 / side,
        boundary="periodic",
        parameters={"k": "0 um^3/s" if wait else rate_now},
        species={name: {"diffusion": 1.0, **more} for name, more in species.items()},
        reactions=[{"equation": equation, "rate": "k"}, *tables.pop("sources", [])],
        **({"interventions": later} if later else {}),
        **tables,
    )


def _together(number: int) -> dict[str, Any]:
    return {"initial": {"voxel": [0, 0, 0], "count": number}}


def _spread_out(side: int, number: int) -> tuple[Path, dict[str, Any]]:
    """Molecules shared out among all voxels, and the folder with the file: a crowd in one voxel needs short steps."""
    shares = np.diff(np.arange(side**3 + 1) * number // side**3).reshape([side] * 3)
    return folder_of({"even.npy": shares}), {"initial": {"file": "even.npy"}}


def pair_survival(engine: str, side: int, replicates: int) -> float:
    """One A and one B: how many pairs are left, at times up to the mean reaction time."""
    truth = EXACT[f"n{side}"]
    times = [t for t in truth["times"] if t <= 1.0]
    model = _lattice(side, "A + B ->", 1.0, {"A": _together(1), "B": _together(1)}, WAIT)
    schedule = [WAIT + t for t in times]
    found = simulate(model, schedule, seed=51, replicates=replicates, engine=engine, time_step=STEPS[side])
    return gates.binomial_p(found.total("A").sum(0), replicates, truth["survival"][: len(times)])


def many_bodies(engine: str, case: str, side: int, replicates: int) -> float:
    """Mean and variance of the total of A against the sampled truth, standard errors of both added."""
    truth = SAMPLED[case][f"n{side}"]
    wait = WAIT
    if case == "homodimer_A40":
        folder, crowd = _spread_out(side, 40)
        model = _lattice(side, "2 A ->", 0.5, {"A": crowd}, wait, folder=folder)
    elif case == "annihilation_A20_B20":
        folder, crowd = _spread_out(side, 20)
        model = _lattice(side, "A + B ->", 1.0, {"A": crowd, "B": crowd}, wait, folder=folder)
    else:
        wait = 0.0
        sources = [{"equation": f"-> {name}", "rate": "20 /um^3/s"} for name in "AB"]
        model = _lattice(side, "A + B ->", 1.0, {"A": {}, "B": {}}, wait, sources=sources)
    times = [wait + t for t in truth["times"]]
    found = simulate(model, times, seed=52, replicates=replicates, engine=engine, time_step=STEPS[side] / 2)
    left = found.total("A").astype(float)
    variance = np.asarray(truth["var"])
    mean_error = np.hypot(truth["mean_se"], np.sqrt(variance / replicates))
    own = left.var(0)
    fourth = ((left - left.mean(0)) ** 4).mean(0)
    variance_error = np.hypot(truth["var_se"], np.sqrt((fourth - own**2) / replicates))
    z = np.concatenate([(left.mean(0) - truth["mean"]) / mean_error, (own - variance) / variance_error])
    return gates.acceptance.bonf(2.0 * stats.norm.sf(np.abs(z)))


def stationary_lattice(engine: str, mean: float = 4.0) -> float:
    """A + B <-> C with source and loss of A keeps every voxel Poisson, by detailed balance, and the voxels apart."""
    model = make_model(
        [3, 3, 2],
        boundary="periodic",
        species={name: {"diffusion": 1.0, "initial": {"poisson": mean}} for name in "ABC"},
        reactions=[
            {"equation": "A + B -> C", "rate": f"{0.1 / mean} um^3/s"},
            {"equation": "C -> A + B", "rate": "0.1 /s"},
            {"equation": "A ->", "rate": "0.1 /s"},
            {"equation": "-> A", "rate": f"{0.1 * mean} /um^3/s"},
        ],
    )
    found = simulate(model, [10.0], seed=53, replicates=500, engine=engine, time_step=0.1)
    p = []
    for name in "ABC":
        number = counts(found, name)[:, 0]
        p.append(gates.pmf_p(number, stats.poisson.pmf(np.arange(60), mean)))
        p.append(gates.poisson_p(number.sum(0), mean * len(number)))
    return smallest(*p)


def checks(engine: str) -> tuple[Check, ...]:
    """All of them for an engine."""
    alpha = gates.ALPHA
    many = [(case, side) for case in SAMPLED for side in (2, 4)]
    return (
        Check(
            f"pair survival, 2 a side, {engine}",
            "one pair meets as the exact lattice says",
            lambda: pair_survival(engine, 2, 4000),
            alpha,
            "p",
            slow=True,
        ),
        Check(
            f"pair survival, 4 a side, {engine}",
            "one pair meets as the exact lattice says",
            lambda: pair_survival(engine, 4, 2000),
            alpha,
            "p",
            slow=True,
        ),
        Check(
            f"stationary lattice, {engine}",
            "A + B <-> C with turnover stays Poisson",
            lambda: stationary_lattice(engine),
            alpha,
            "p",
            slow=engine == "exact",
        ),
        *(
            Check(
                f"{case}, {side} a side, {engine}",
                "mean and variance of a reacting crowd",
                lambda case=case, side=side: many_bodies(engine, case, side, 4000 if side == 2 else 500),
                alpha,
                "p",
                slow=True,
            )
            for case, side in many
        ),
    )
