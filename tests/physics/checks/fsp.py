"""The joint law of `leap` at small steps against the eight models of truths/fsp.npz.

The truths write a pair as c x (x - 1) / 2; exodiff's mass action has no 1/2, so its rate is c / 2. Voxels have 1 um^3,
so that rates carry no volume. Times are seconds. The splitting error at STEP is below 2e-3 of a standard deviation
(test_master_equation.py), a fifth of the noise of the mean.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from exodiff.trajectory import Trajectory
from tests.physics import gates
from tests.physics.checks.check import Check
from tests.physics.models import box_of, counts, make_model, simulate

FSP = np.load(Path(__file__).parents[1] / "truths" / "fsp.npz")
REPLICATES = 10_000
STEP = 0.02


def one_voxel() -> Any:
    """Five models in one voxel, with species of their own."""
    species = {"X": {}, "L": {"initial": 12}, "P": {"initial": 51}, "P2": {}, "G_on": {}, "M": {}, "H": {}}
    reactions = [
        ("-> X", {"rate": "10 /s"}),
        ("X ->", {"rate": 0.5}),
        ("L -> 2 L", {"rate": 0.9}),
        ("L ->", {"rate": 1.0}),
        ("2 P -> P2", {"rate": 0.01}),
        ("P2 -> 2 P", {"rate": 0.1}),
        ("-> G_on", {"propensity": "k_on * (1 - G_on)"}),
        ("G_on ->", {"rate": 0.7}),
        ("G_on -> G_on + M", {"rate": 20.0}),
        ("M ->", {"rate": 1.0}),
        ("-> H", {"propensity": "v * hill_down(H, 10, 2)"}),
        ("H ->", {"rate": 1.0}),
    ]
    return make_model(
        [1],
        parameters={"k_on": "0.3 /s", "v": "30 /s"},
        species=species,
        reactions=[{"equation": e, **rate} for e, rate in reactions],
    )


DIMERS = {"diffusion": 0.7, "initial": {"file": "homodimer.npy"}}
DIMERISE = {"equation": "2 D ->", "rate": 0.25}


def two_voxels() -> Any:
    """Both models of two voxels; D starts with 13 in voxel 0 and 2 in voxel 1."""
    return make_model(
        [2],
        species={
            "A": {"diffusion": 1.0, "initial": {"voxel": [0], "count": 8}},
            "B": {"diffusion": 0.5, "initial": {"voxel": [1], "count": 6}},
            "D": DIMERS,
        },
        reactions=[{"equation": "A + B ->", "rate": 0.8}, DIMERISE],
        folder=folder_of({"homodimer.npy": [13, 2]}),
    )


def dimers_alone() -> Any:
    """A and B allow no large step."""
    return make_model([2], species={"D": DIMERS}, reactions=[DIMERISE], folder=folder_of({"homodimer.npy": [13, 2]}))


def ring() -> Any:
    """Vesicles on a ring; the receptors in a cell at voxel 0."""
    return make_model(
        [3],
        boundary="periodic",
        cells={"receiver": {}},
        place=[{"cells": "receiver", "box": box_of(0)}],
        species={
            "E": {"diffusion": 0.7, "initial": {"file": "ring.npy"}},
            "R": {"in": "cell", "initial": {"receiver": 4}},
            "B": {"in": "cell"},
            "I": {"in": "cell"},
        },
        reactions=[{"equation": "E + R -> B", "rate": 0.5}, {"equation": "B -> I", "rate": 0.4}],
        folder=folder_of({"ring.npy": [0, 5, 5]}),
    )


def folder_of(files: Mapping[str, ArrayLike]) -> Path:
    """A folder with fields, which lives as long as the tests."""
    folder = Path(mkdtemp())
    for name, values in files.items():
        np.save(folder / name, np.asarray(values))
    return folder


SOURCES = {
    "birth_death_from0": (one_voxel, [("X", 0)]),
    "linear_birth_death": (one_voxel, [("L", 0)]),
    "dimerisation": (one_voxel, [("P", 0), ("P2", 0)]),
    "telegraph": (one_voxel, [("G_on", 0), ("M", 0)]),
    "hill_repress": (one_voxel, [("H", 0)]),
    "two_voxel_annihilation": (two_voxels, [("A", 0), ("A", 1), ("B", 0), ("B", 1)]),
    "two_voxel_homodimer": (two_voxels, [("D", 0), ("D", 1)]),
    "ring3_uptake": (ring, [("E", 0), ("E", 1), ("E", 2), ("R", 0), ("B", 0), ("I", 0)]),
}
LAST = 10.0  # only the telegraph has a later time, 40 s, where its law is that of 10 s


@cache
def trajectory(make: Callable[[], Any], engine: str = "leap") -> tuple[list[float], Trajectory]:
    """Of a model that serves several truths, at the times of all of them."""
    wanted = {float(t) for name, (m, _) in SOURCES.items() if m is make for t in FSP[f"{name}__times"]}
    times = sorted(t for t in wanted if t <= LAST)
    return times, simulate(make(), times, seed=2, replicates=REPLICATES, engine=engine, time_step=STEP)


def joint_law(name: str, engine: str = "leap") -> float:
    """The smallest p of all families of ``acceptance.py``: support, joint and marginal laws, moments, energy."""
    make, columns = SOURCES[name]
    times, found = trajectory(make, engine)
    truth = FSP[f"{name}__times"]
    rows = np.flatnonzero(truth <= LAST)
    places = [times.index(float(t)) for t in truth[rows]]
    samples = np.stack([counts(found, s)[:, places, voxel] for s, voxel in columns], -1)
    law = (FSP[f"{name}__{key}"] for key in ("states", "pmf", "mean", "cov"))
    states, pmf, mean, covariance = law
    return min(gates.acceptance.fsp_tests(samples, states, pmf[rows], mean[rows], covariance[rows]).values())


CHECKS = tuple(
    Check(
        f"FSP {name}, {engine}",
        "the joint law is that of the master equation",
        lambda name=name, engine=engine: joint_law(name, engine),
        gates.ALPHA,
        "p",
    )
    for engine in ("leap", "exact")
    for name in SOURCES
)
