"""Between compartments and the lattice: every molecule is counted, and numbers have the law of the rates."""

import numpy as np
import pytest

import exodiff as ex
from tests.physics.models import make_model

COPIES = 2000


def organ(engine: str = "leap", copies: int = COPIES, **tables):
    """A wall of endothelium, a layer of phagocytes, and empty voxels beyond."""
    return make_model(
        [6, 4, 4],
        spacing="20 um",
        run={"engine": engine},
        lattice={"fluid_fraction": 0.2, "represents": copies},
        compartments={
            "plasma": {"volume": "1 uL", "initial": {"EV": 10_000_000, "BMDC": 1_000_000, "tumour": 1_000_000}}
        },
        species={"EV": {"diffusion": "1 um^2/s"}, "dose": {"in": "cell"}},
        cells={"endothelium": {}, "phagocyte": {}, "BMDC": {}, "tumour": {}},
        vessels={
            "wall": {
                "cells": "endothelium",
                "compartment": "plasma",
                "species": ["EV"],
                "permeability_surface": "10 um^3/s",
            }
        },
        reactions=[
            {"name": "home", "equation": "plasma.BMDC -> BMDC", "rate": "3e-9 /s"},
            {"name": "seed", "equation": "endothelium + plasma.tumour -> endothelium + tumour", "rate": "6e-9 /s"},
            {"name": "eat", "equation": "phagocyte + plasma.EV -> phagocyte + poisson(3) dose", "rate": "2e-9 /s"},
            {"name": "go", "equation": "BMDC -> plasma.BMDC", "rate": "1e-4 /s"},
        ],
        place=[
            {"cells": "endothelium", "layer": {"axis": "x", "from": "40 um", "to": "60 um"}},
            {"cells": "phagocyte", "layer": {"axis": "x", "from": "100 um", "to": "120 um"}},
        ],
        observables={"eaten": {"value": "events(eat)"}, "entered": {"value": "events(wall.enter.EV)"}},
        **tables,
    )


@pytest.fixture(scope="module")
def crossed():
    return ex.simulate(organ(), [600.0, 1200.0], replicates=4)


def test_no_molecule_and_no_cell_is_lost_on_the_way(crossed):
    eaten = np.asarray(crossed.observables["eaten"]).astype(int)
    found = crossed["plasma.EV"] + crossed.total("EV") + crossed["elsewhere.EV"] + eaten
    assert np.all(found == 10_000_000)
    for cell in ("BMDC", "tumour"):
        assert np.all(crossed.total(cell)[:, -1] > 0)
        assert np.all(crossed[f"plasma.{cell}"] + crossed.total(cell) + crossed[f"elsewhere.{cell}"] == 1_000_000)
    assert np.all(crossed["elsewhere.EV"][:, 1] > 100_000)


def test_a_voxel_holds_one_cell_and_each_uptake_its_dose(crossed):
    cells = sum(np.asarray(crossed[name]) for name in ("endothelium", "phagocyte", "BMDC", "tumour"))
    assert cells.max() == 1
    eaten, dose = np.asarray(crossed.observables["eaten"])[:, 1].sum(), crossed.total("dose")[:, 1].sum()
    assert abs(dose - 3.0 * eaten) < 4.0 * np.sqrt(3.0 * eaten)


def test_the_lattice_takes_its_share_of_what_leaves_plasma(crossed):
    """16 phagocytes at 2e-9 /s, 16 voxels of endothelium at 10 um^3/s / 1 uL, and as many in each copy."""
    reference = ex.simulate(organ("mean_field"), [600.0, 1200.0])
    for name in ("eaten", "entered"):
        found = np.asarray(crossed.observables[name])[:, 1]
        mean = float(np.asarray(reference.observables[name])[0, 1])
        assert abs(found.mean() - mean) < 4.0 * np.sqrt(mean / len(found)) + 2e-3 * mean
    assert np.asarray(reference.observables["eaten"])[0, 0] == pytest.approx(
        16 * 2e-9 * 600.0 * 0.5 * (1e7 + reference["plasma.EV"][0, 0]), rel=2e-2
    )
    total = reference["plasma.EV"] + reference.total("EV") + reference["elsewhere.EV"]
    np.testing.assert_allclose(total + np.asarray(reference.observables["eaten"]), 1e7, rtol=1e-6)


def test_vessels_reach_the_density_of_plasma():
    """Where nothing is taken up, as many vesicles enter as leave at equal densities in plasma and fluid."""
    model = make_model(
        [4],
        spacing="20 um",
        run={"engine": "mean_field"},
        compartments={"plasma": {"volume": "1 uL", "initial": {"EV": 1e9}}},
        species={"EV": {"diffusion": "5 um^2/s"}},
        lattice={"fluid_fraction": 0.2},
        regions={"side": {"layer": {"axis": "x", "from": 0, "to": 20}}},
        vessels={
            "v": {"region": "side", "compartment": "plasma", "species": ["EV"], "permeability_surface": "50 um^3/s"}
        },
    )
    found = np.asarray(ex.simulate(model, [8000.0], time_step=1.0)["EV"])[0, 0]
    np.testing.assert_allclose(found, 1e9 / 1e9 * 1600.0, rtol=2e-3)


BAD = {
    "several molecules": ({"equation": "2 plasma.EV -> EV", "rate": "1e-9 um^3/s"}, "several molecules"),
    "two compartments": ({"equation": "plasma.EV + urine.EV -> EV", "rate": "1e-9 um^3/s"}, "do not touch"),
    "through": ({"equation": "endothelium + plasma.EV -> endothelium + urine.EV", "rate": "1 /s"}, "write two"),
    "propensity": ({"equation": "plasma.EV -> EV", "propensity": "1 /s"}, "rate of one molecule"),
    "own rate": ({"equation": "plasma.EV -> EV", "rate": "1e-9 * k * plasma.EV"}, "its own events change"),
    "burst": ({"equation": "EV -> poisson(3) plasma.EV", "rate": "1 /s"}, "random number in a compartment"),
    "voxel": ({"equation": "plasma.EV ->", "rate": "k * EV"}, "differs from voxel to voxel"),
    "near": ({"equation": "plasma.EV ->", "rate": "k * near(endothelium)"}, "differs from voxel to voxel"),
    "region": ({"equation": "plasma.EV ->", "rate": "k", "region": "r"}, "outside the lattice"),
    "in cells": ({"equation": "plasma.dose ->", "rate": "k"}, "plasma.dose"),
    "unit": ({"equation": "plasma.EV ->", "rate": "1 um^3/s"}, "1/s is needed"),
    "unknown": ({"equation": "blood.EV ->", "rate": "k"}, "no compartment or population 'blood'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_cross_is_refused(case):
    reaction, says = BAD[case]
    with pytest.raises(ex.ConfigError, match=says):
        make_model(
            [2],
            compartments={"plasma": {"volume": "1 uL"}, "urine": {"volume": "1 uL"}},
            species={"EV": {}, "dose": {"in": "cell"}},
            cells={"endothelium": {}},
            parameters={"k": "1 /s"},
            regions={"r": {"everywhere": True}},
            reactions=[reaction],
        )
