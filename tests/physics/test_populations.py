"""Exosome populations against the laws of their linear parts: release, sizes, uptake, fates, loads, balance.

Each voxel is a closed box with one cell, so that a lattice is an ensemble. Tolerances are 4.5 standard errors (a false
alarm in 150,000) and, where a mean is compared, the 0.4 % that the default step may move it.
"""

import copy
from functools import cache

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import chi2

import exodiff as ex

BIAS = 0.004
HOUR = 3600.0
SIZE = {"median": "95 nm", "gsd": 1.35, "min": "30 nm", "max": "150 nm"}


def boxes(cells: dict[str, int], **tables) -> dict:
    """A row of closed boxes of 1600 um^3 of fluid, so many of each cell type."""
    places, at = [], 0
    for cell, number in cells.items():
        places.append({"cells": cell, "box": {"low": [20 * at, 0, 0], "high": [20 * (at + number), 20, 20]}})
        at += number
    return {
        "schema": 1,
        "run": {"duration": "1 h"},
        "lattice": {"shape": [at], "spacing": "20 um", "fluid_fraction": 0.2},
        "cells": {cell: {} for cell in cells},
        "place": places,
        **tables,
    }


def within(found: float, expected: float, error: float) -> bool:
    return abs(found - expected) < 4.5 * error + BIAS * abs(expected)


# Release

SENDERS = 512
RELEASE = boxes(
    {"tumour": SENDERS},
    parameters={"drug": 0.0, "IC50": 1.0, "k_c": "30 /h"},
    exosomes={
        "tEV": {
            "released_by": ["tumour"],
            "diameter": {**SIZE, "bins": 5},
            "decay": "6 /h",
            "biogenesis": {
                "escrt": "30 /h",
                "ceramide": "k_c * hill_down(drug, IC50, 1)",
                "lysosome": "20 /h",
                "fusion": "40 /h",
                "burst": "poisson(20)",
            },
        }
    },
    observables={
        "fused": {"value": "events(tEV.fusion)"},
        "released": {"value": "total(tEV) + events(tEV.decay)"},
        **{f"size{i}": {"value": f"total(tEV.s{i}) + events(tEV.s{i}.decay)"} for i in range(1, 6)},
    },
)


@cache
def release(drug: float = 0.0, lysosome: float = 20.0):
    parameters = {"drug": drug, "exosomes.tEV.biogenesis.lysosome": lysosome / HOUR}
    return ex.simulate(release_model(), times=[0.0, HOUR], parameters=parameters, seed=5, replicates=4)


@cache
def release_model():
    return ex.Model.from_dict(RELEASE)


def mean_release(form: float, lysosome: float, fusion: float = 40.0, hours: float = 1.0) -> tuple[float, float]:
    """Vesicles that a cell releases from an empty start, and the standard error over all cells.

    Fusions of a linear pool are Poisson with mean form fusion / K (t - (1 - e^(-K t)) / K), K = fusion + lysosome; each
    releases Poisson(20), so the variance is fusions times 420.
    """
    total = lysosome + fusion
    fusions = form * fusion / total * (hours - (1 - np.exp(-total * hours)) / total)
    return 20 * fusions, np.sqrt(420 * fusions / (4 * SENDERS))


@pytest.mark.parametrize("lysosome", [0.0, 20.0, 40.0])
def test_release_is_formation_times_the_share_that_fuses(lysosome):
    found = release(lysosome=lysosome).observables["released"][:, -1].mean() / SENDERS
    assert within(found, *mean_release(60.0, lysosome))


def test_a_block_of_the_ceramide_route_leaves_the_escrt_floor():
    found = release(drug=1e9).observables["released"][:, -1].mean() / SENDERS
    assert within(found, *mean_release(30.0, 20.0))


def test_half_a_block_leaves_the_mean_of_floor_and_whole():
    found = release(drug=1.0).observables["released"][:, -1].mean() / SENDERS
    assert within(found, *mean_release(45.0, 20.0))


def test_released_sizes_follow_the_truncated_lognormal():
    """Given their number they are multinomial with equal shares: chi-square with 4 degrees, false alarm 1e-6."""
    sizes = np.array([release().observables[f"size{i}"][:, -1].sum() for i in range(1, 6)])
    expected = sizes.sum() / 5
    assert sizes.sum() > 1e6
    assert np.sum((sizes - expected) ** 2 / expected) < chi2.isf(1e-6, 4)


def test_bursts_make_the_free_number_noisy_as_they_should():
    """Fano 1 + <b (b - 1)> / (2 <b>) = 11 for Poisson(20) at first-order loss; its relative error is sqrt(2 / n)."""
    traj = release()
    free = sum(np.asarray(traj[f"tEV.s{i}"][:, -1], float) for i in range(1, 6)).ravel()
    fano = free.var() / free.mean()
    assert abs(fano / 11 - 1) < 4.5 * np.sqrt(2 / free.size)


def test_bins_are_independent_of_each_other_within_a_burst():
    """The covariance of two bins is that of the shared bursts alone: shares^2 <b (b - 1)> / (2 <b>) mean / share."""
    traj = release()
    first, second = (np.asarray(traj[f"tEV.s{i}"][:, -1], float).ravel() for i in (1, 2))
    covariance = np.cov(first, second)[0, 1]
    expected = first.mean() * 10 * 0.2  # 1 + m_i / 2 is the Fano factor of a bin with Poisson(m_i = 4) a burst
    error = np.sqrt((first.var() * second.var() + expected**2) / first.size)
    assert abs(covariance - expected) < 4.5 * error
    assert abs(first.var() / first.mean() / 3 - 1) < 4.5 * np.sqrt(2 / first.size)


# Uptake and fates

RECEIVERS, SEND = 1024, 64
LIFE = boxes(
    {"tumour": SEND, "fibroblast": RECEIVERS},
    cargo={"TGFb": {"site": "surface"}, "miR21": {"site": "lumen"}},
    exosomes={
        "tEV": {
            "released_by": ["tumour"],
            "initial": {"poisson": 100},
            "decay": "0.2 /h",
            "biogenesis": {"escrt": "3 /h", "ceramide": "3 /h", "lysosome": "2 /h", "fusion": "2 /h", "burst": 20},
            "cargo": {"TGFb": {"fraction": 0.3, "mean": 5}, "miR21": {"fraction": 0.2, "mean": 4}},
            "uptake": {
                "receivers": {"fibroblast": 1.0, "tumour": 0.5},
                "receptors": 10000,
                "k_on": "1e-4 um^3/s",
                "k_off": "1e-3 /s",
                "k_internalise": "1e-3 /s",
                "k_escape": "0.2 /h",
                "k_degrade": "0.4 /h",
            },
        }
    },
    reactions=[{"name": "react", "equation": "fibroblast -> fibroblast", "rate": "k_act * hill(dose.miR21, 5, 2)"}],
    parameters={"k_act": "1e-4 /s"},
    observables={
        "released": {"value": "20 * events(tEV.fusion)"},
        "formed": {"value": "events(tEV.escrt) + events(tEV.ceramide)"},
        "fates": {"value": "events(tEV.lysosome) + events(tEV.fusion)"},
        "free": {"value": "total(tEV)"},
        "in_cells": {"value": "total(tEV.bound) + total(tEV.endosome)"},
        "gone": {"value": "events(tEV.degrade) + events(tEV.escape) + events(tEV.decay)"},
        "inside": {"value": "events(tEV.internalise)"},
        "acted": {"value": "events(react)"},
    },
)
SOURCES = {"exosomes.tEV.biogenesis.escrt": 0.0, "exosomes.tEV.biogenesis.ceramide": 0.0}


@cache
def life_model():
    return ex.Model.from_dict(LIFE)


@cache
def life(*changes: tuple[str, float]):
    return ex.simulate(life_model(), times=[0.0, HOUR], parameters=dict(changes), seed=9)


def last(traj, name: str) -> int:
    return int(np.asarray(traj.observables[name])[0, -1])


def of_fibroblasts(traj, name: str) -> np.ndarray:
    return np.asarray(traj[name])[0, -1, SEND:].astype(float)


def test_every_vesicle_and_receptor_is_accounted_for():
    traj = life()
    assert last(traj, "released") > 1000
    at_first = int(traj.total("tEV")[0, 0])
    assert at_first + last(traj, "released") == last(traj, "free") + last(traj, "in_cells") + last(traj, "gone")
    assert last(traj, "formed") == last(traj, "fates") + traj.total("tEV.mvb")[0, -1]
    assert traj.total("tEV.receptor")[0, -1] + traj.total("tEV.bound")[0, -1] == 10000 * (SEND + RECEIVERS)


def test_uptake_is_poisson_while_receptors_are_in_excess():
    """A Poisson number of vesicles on a linear chain (free, bound, inside or lost) is Poisson in each state.

    100 vesicles take at most 1 % of 10,000 receptors, which lowers the mean by less than half of that.
    """
    capture, k, decay = 1e-4 * 1e4 / 1600, 1e-3, 0.2 / HOUR
    chain = np.array([[-capture - decay, k, 0], [capture, -2 * k, 0], [0, k, 0]])
    inside = 100 * expm(chain * HOUR)[2, 0]
    dose = of_fibroblasts(
        life(("exosomes.tEV.cargo.TGFb.fraction", 1.0), ("exosomes.tEV.cargo.TGFb.mean", 1e4)), "dose.TGFb"
    )
    taken = np.round(dose / 1e4)  # Poisson(10,000) copies a vesicle count the vesicles, up to a relative 0.01 / sqrt(n)
    assert abs(taken.mean() - inside) < 4.5 * np.sqrt(inside / RECEIVERS) + (BIAS + 0.005) * inside
    assert abs(taken.var() / taken.mean() - 1) < 4.5 * np.sqrt(2 / RECEIVERS)


def test_uptake_saturates_at_the_turnover_of_the_receptors():
    """Ten receptors among 10^6 vesicles: each is bound at a, free again at b, and bound a / (a + b) of the time.

    So the cells take up at most k_internalise a receptor, here 97 % (tumour cells of half the weight: 94 %) of it.
    """
    few = {f"species.tEV.receptor.initial.{cell}": 10.0 for cell in ("tumour", "fibroblast")}
    traj = life(*few.items(), ("species.tEV.initial.poisson", 1e6), *SOURCES.items())
    expected = 0.0
    for weight, cells in ((1.0, RECEIVERS), (0.5, SEND)):
        a, b = weight * 1e-4 * 1e6 / 1600, 2e-3
        time_bound = a / (a + b) * (HOUR - (1 - np.exp(-(a + b) * HOUR)) / (a + b))
        expected += 10 * 1e-3 * time_bound * cells
    assert within(last(traj, "inside"), expected, np.sqrt(expected))


def test_without_escape_lumen_cargo_does_nothing_and_surface_cargo_all():
    with_escape, without = life(), life(("exosomes.tEV.uptake.k_escape", 0.0))
    assert with_escape.total("dose.miR21")[0, -1] > 0
    assert last(with_escape, "acted") > 0
    assert without.total("dose.miR21")[0, -1] == 0
    assert last(without, "acted") == 0
    np.testing.assert_array_equal(with_escape["dose.TGFb"], without["dose.TGFb"])


def test_a_knock_out_of_release_removes_every_effect():
    traj = life(*SOURCES.items(), ("species.tEV.initial.poisson", 0.0))
    for name in ("tEV", "tEV.mvb", "tEV.bound", "tEV.endosome", "dose.TGFb", "dose.miR21"):
        assert traj.total(name)[0, -1] == 0
    assert last(traj, "acted") == 0


# Loads and weights

BOXES = 4096
ORGAN = boxes(
    {"fibroblast": BOXES, "kupffer": BOXES},
    cargo={"rare": {"site": "lumen"}, "mark": {"site": "surface"}, "other": {"site": "surface"}},
    tags={"a6b4": {"receivers": {"fibroblast": 10.0}}, "avb5": {"receivers": {"kupffer": 10.0}, "decay": 0.5}},
    exosomes={
        "EVa": {
            "tags": ["a6b4"],
            "initial": {"poisson": 20},
            "cargo": {"rare": {"fraction": 0.1, "mean": 5}, "mark": {"mean": 1}},
            "uptake": {
                "mode": "clearance",
                "receivers": {"fibroblast": 1.0, "kupffer": 1.0},
                "receptors": 1000,
                "k_on": "1e-4 um^3/s",
            },
        },
        "EVb": {"like": "EVa", "tags": ["avb5"], "cargo": {"other": {"mean": 1}}},
    },
)


@cache
def organ():
    return ex.simulate(ex.Model.from_dict(ORGAN), times=[0.0, HOUR], seed=2)


def taken(weight: float) -> float:
    return 20 * (1 - np.exp(-weight * 0.1 / 1600 * HOUR))


@pytest.mark.parametrize(
    ("cell", "dose", "weight"),
    [("fibroblast", "mark", 10), ("kupffer", "mark", 1), ("fibroblast", "other", 1), ("kupffer", "other", 10)],
)
def test_tags_send_populations_to_different_cells(cell, dose, weight):
    """Copies of one a vesicle are compound Poisson: mean m, variance 2 m for Poisson(1) copies."""
    half = slice(0, BOXES) if cell == "fibroblast" else slice(BOXES, None)
    found = np.asarray(organ()[f"dose.{dose}"])[0, -1, half].astype(float)
    assert within(found.mean(), taken(weight), np.sqrt(2 * taken(weight) / BOXES))


def test_loads_are_zero_inflated():
    """Mean m f mu, Fano 1 + mu, and without any copy exp(-m f (1 - e^-mu)), m the mean uptake of EVa."""
    found = np.asarray(organ()["dose.rare"])[0, -1, :BOXES].astype(float)
    m, f, mu = taken(10), 0.1, 5.0
    variance = m * f * (mu + mu**2)
    assert within(found.mean(), m * f * mu, np.sqrt(variance / BOXES))
    # fourth central moment of a compound Poisson law: m f <c^4> + 3 variance^2, c the copies of a loaded vesicle
    fourth = m * f * (mu + 7 * mu**2 + 6 * mu**3 + mu**4) + 3 * variance**2
    assert within(found.var(), variance, np.sqrt((fourth - variance**2) / BOXES))
    none = np.exp(-m * f * (1 - np.exp(-mu)))
    assert within(float(np.mean(found == 0)), none, np.sqrt(none * (1 - none) / BOXES))


# Vesicles filled with a drug

DRUG = boxes(
    {"tumour": 4},
    parameters={"k_load": "2 /h"},
    species={"dox_in": {"in": "cell", "initial": 60_000}},
    exosomes={
        "dEV": {
            "uptake": {
                "receivers": {"tumour": 1.0},
                "receptors": 10000,
                "k_on": "1e-4 um^3/s",
                "k_internalise": "1e-2 /s",
            }
        }
    },
    reactions=[
        {"name": "export", "equation": "5000 dox_in -> dEV", "propensity": "k_load * dox_in / 5000"},
        {"name": "deliver", "equation": "dEV.endosome -> 5000 dox_in", "rate": "1 /h"},
    ],
    observables={"out": {"value": "events(export)"}, "back": {"value": "events(deliver)"}},
)


@pytest.mark.parametrize("engine", ["leap", "exact", "mean_field"])
def test_a_drug_that_leaves_in_vesicles_is_conserved(engine):
    model = ex.Model.from_dict(copy.deepcopy(DRUG), [f"run.engine={engine}"])
    traj = ex.simulate(model, times=[0.0, HOUR / 2, HOUR], seed=4)
    carried = sum(np.asarray(traj.total(name), float) for name in ("dEV", "dEV.bound", "dEV.endosome"))
    total = np.asarray(traj.total("dox_in"), float) + 5000 * carried
    assert float(np.asarray(traj.observables["out"])[0, -1]) > 10
    assert float(np.asarray(traj.observables["back"])[0, -1]) > 1
    np.testing.assert_allclose(total, 240_000.0, rtol=2e-6 if engine == "mean_field" else 0)
