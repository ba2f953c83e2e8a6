"""Where blocks of the model file meet: plasma holds concentrations and is sampled, motility reads the matrix."""

import numpy as np
import pytest

import exodiff as ex

PLASMA = {
    "schema": 1,
    "run": {"duration": "1 h", "engine": "leap", "observe_every": "30 min"},
    "lattice": {"shape": [6, 4], "spacing": "20 um", "fluid_fraction": 0.2},
    "compartments": {"plasma": {"volume": "1 mL", "initial": {"mAb": 6_022_000_000_000, "tEV": 100_000}}},
    "cells": {"endothelium": {}, "walker": {"motility": "D * hill_down(matrix, 0.02, 4)"}},
    "parameters": {"D": "0.5 um^2/s"},
    "species": {
        "mAb": {
            "kind": "concentration",
            "unit": "nM",
            "solve": "steady",
            "diffusion": "20 um^2/s",
            "fixed": {"endothelium": "plasma.mAb"},
        },
        "matrix": {"kind": "concentration", "unit": "1", "solve": "explicit", "initial": 0.5, "fibre_radius": "20 nm"},
    },
    "exosomes": {"tEV": {"diameter": {"median": "95 nm", "gsd": 1.35, "min": "30 nm", "max": "150 nm", "bins": 3}}},
    "place": [{"cells": "endothelium", "box": {"low": [0, 0], "high": [20, 80]}}, {"cells": "walker", "fill": 0.5}],
    "observables": {
        "antibody": {"value": "mean(mAb)"},
        "biopsy": {
            "assay": {
                "of": "plasma.tEV",
                "sample": "0.5 mL",
                "yield": 0.8,
                "background": 0,
                "false_positive": 0,
                "detection_limit": 0,
            }
        },
        "sizes": {
            "size_histogram": {
                "of": "plasma.tEV",
                "sample": 2000,
                "track_steps": 30,
                "bin": "10 nm",
                "smallest": "60 nm",
            }
        },
    },
}
PLASMA["place"][1]["everywhere"] = True


def changed(*path: str, value: object) -> dict[str, object]:
    """The model with another value at a path."""
    copy: dict[str, object] = {**PLASMA}
    node = copy
    for key in path[:-1]:
        node[key] = {**node[key]}  # pyright: ignore[reportGeneralTypeIssues]
        node = node[key]  # pyright: ignore[reportAssignmentType]
    node[path[-1]] = value
    return copy


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_plasma_holds_a_concentration_and_is_sampled(engine: str):
    """6.022e12 antibodies in 1 mL are 10 nM; 1e5 vesicles in 1 mL give 40,000 in half of it at a yield of 0.8."""
    traj = ex.simulate(ex.Model.from_dict(PLASMA), [0.0, 3600.0], engine=engine)
    np.testing.assert_allclose(traj.observables["antibody"], 10.0, rtol=1e-3)
    np.testing.assert_allclose(traj["mAb"], 10.0, rtol=1e-3)
    positives = np.asarray(traj.observables["biopsy"])
    assert np.all(np.abs(positives - 40_000) < 5 * np.sqrt(40_000))
    sizes = np.asarray(traj.observables["sizes"])
    assert np.all(sizes.sum(-1) <= 2000 + 1e-3)
    assert np.all(sizes.sum(-1) > 1000)


def test_cells_stand_still_where_the_matrix_is_dense():
    dense, thin = PLASMA, changed("species", "matrix", "initial", value=0.001)
    moved = {}
    for name, tables in (("dense", dense), ("thin", thin)):
        walkers = np.asarray(ex.simulate(ex.Model.from_dict(tables), [0.0, 3600.0])["walker"])[0]
        moved[name] = int(np.abs(walkers[1] - walkers[0]).sum())
    assert moved["dense"] == 0
    assert moved["thin"] > 0


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("species", "matrix", "fixed"), {"endothelium": "plasma.mAb"}, "density"),
        (("observables", "biopsy", "assay", "of"), "plasma.tEV + total(tEV)", "counts in several places"),
        (("observables", "sizes", "size_histogram", "of"), "plasma.mAb", "no number of vesicles"),
    ],
)
def test_what_does_not_fit_together_is_refused(path: tuple[str, ...], value: object, told: str):
    with pytest.raises(ex.ConfigError, match=told):
        ex.Model.from_dict(changed(*path, value=value))


def test_a_sample_of_a_compartment_may_be_of_a_share_by_a_function():
    ex.Model.from_dict(changed("observables", "biopsy", "assay", "of", value="plasma.tEV * (1 - exp(-0.5))"))


def test_motility_that_reads_the_state_is_refused_by_the_exact_engine():
    tables = changed("cells", "walker", "motility", value="D * hill_down(tEV, 20, 2)")
    for key in ("compartments", "species", "observables"):
        del tables[key]
    tables["run"] = {"duration": "1 h", "engine": "exact"}
    tables["cells"] = {"endothelium": {}, "walker": {"motility": "D * hill_down(tEV, 20, 2)"}}
    with pytest.raises(ex.ConfigError, match=r"cells\.walker\.motility: it depends on the state"):
        ex.Model.from_dict(tables)
