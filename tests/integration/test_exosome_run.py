"""A run with exosome populations: names in files, and a resolved file that gives the same bits."""

import h5py

import exodiff as ex

MODEL = {
    "schema": 1,
    "run": {"duration": "20 min", "observe_every": "5 min", "snapshot_every": "20 min"},
    "lattice": {"shape": [6, 6], "spacing": "20 um", "fluid_fraction": 0.2},
    "cells": {"tumour": {}, "fibroblast": {}},
    "cargo": {"TGFb": {"site": "surface", "half_life": "6 h"}},
    "exosomes": {
        "tEV": {
            "released_by": ["tumour"],
            "diameter": {"median": "95 nm", "gsd": 1.35, "min": "30 nm", "max": "150 nm", "bins": 2},
            "diffusion": {"stokes_einstein": {"viscosity": "0.69 mPa*s", "tortuosity": 1.6}},
            "biogenesis": {"escrt": "60 /h", "fusion": "20 /h", "burst": "poisson(20)"},
            "cargo": {"TGFb": {"fraction": 0.5, "mean": 3, "scale": "area"}},
            "uptake": {
                "receivers": {"fibroblast": 1.0},
                "receptors": 10000,
                "k_on": "1e-4 um^3/s",
                "k_internalise": "1e-3 /s",
            },
        }
    },
    "place": [
        {"cells": "tumour", "layer": {"axis": "x", "from": 0, "to": 40}},
        {"cells": "fibroblast", "everywhere": True},
    ],
    "observables": {
        "free": {"value": "total(tEV)"},
        "dose": {"value": "mean(dose.TGFb, fibroblast)"},
        "inside": {"value": "events(tEV.internalise)"},
        "first": {"profile": {"of": "conc(tEV.s1)", "from": "tumour", "bin": "20 um"}},
    },
}


def test_a_run_names_vesicles_in_its_files_and_its_resolved_file_gives_the_same_bits(tmp_path):
    first = ex.run(ex.Model.from_dict(MODEL), tmp_path / "first")
    again = ex.run(ex.load(first.path / "resolved.toml"), tmp_path / "again")
    tables = [(result.path / "observables.csv").read_text() for result in (first, again)]
    assert tables[0] == tables[1]
    assert float(tables[0].splitlines()[-1].split(",")[2]) > 0
    assert (first.path / "resolved.toml").read_text() == (again.path / "resolved.toml").read_text()
    with h5py.File(first.path / "results.vtkhdf") as file:
        names = set(file["VTKHDF/CellData"])
    assert {"tEV__s1", "tEV__s2__bound", "tEV__receptor", "tEV__mvb", "dose__TGFb"} <= names
    assert not any("." in name for name in names)
