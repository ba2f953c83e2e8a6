"""A run with compartments on disk: stopped and resumed it is the same to the bit, and amounts in tables are exact."""

import csv

import numpy as np
import pytest

import exodiff as ex
from exodiff.runner import driver
from tests.integration.stopping import StopAfter, assert_same_run, final_state

DOSE = 10_000_000_000
MODEL = {
    "schema": 1,
    "run": {"duration": "1 h", "observe_every": "10 min", "snapshot_every": "30 min", "seed": 4},
    "lattice": {"shape": [6, 5], "spacing": "20 um", "fluid_fraction": 0.2, "represents": 1000},
    "compartments": {"plasma": {"volume": "1 mL", "initial": {"EV": DOSE}}, "urine": {"volume": "1 mL"}},
    "cells": {"endothelium": {}},
    "species": {"EV": {"diffusion": "1.3 um^2/s"}},
    "vessels": {
        "wall": {
            "cells": "endothelium",
            "compartment": "plasma",
            "species": ["EV"],
            "permeability_surface": "50 um^3/s",
        }
    },
    "reactions": [{"name": "clearance", "equation": "plasma.EV -> urine.EV", "rate": "0.02 /min"}],
    "interventions": [{"name": "drip", "from": "20 min", "to": "40 min", "infuse": {"plasma.EV": "1e7 /h"}}],
    "place": [{"cells": "endothelium", "everywhere": True, "fill": 0.5}],
    "observables": {
        "plasma": {"value": "plasma.EV"},
        "everything": {"value": "plasma.EV + urine.EV + total(EV) + elsewhere.EV"},
    },
}


@pytest.mark.parametrize("replicates", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_with_compartments_resumes_bit_for_bit(replicates, tmp_path, monkeypatch):
    model = ex.Model.from_dict({**MODEL, "run": {**MODEL["run"], "replicates": replicates}})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert ex.run(model, whole, figures=False).finished
    with monkeypatch.context() as patch:
        patch.setattr(driver, "StopRequest", StopAfter(2))
        assert not ex.run(model, parts, figures=False).finished
    assert ex.resume(parts).finished
    assert_same_run(whole, parts)
    assert final_state(whole)["pools"].shape[0] == replicates
    with (whole / "observables.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        given = float(row["everything"]) - DOSE
        # nothing before the drip, and after it a Poisson number about 1e7 / 3
        assert given == 0 if float(row["time_s"]) <= 1200 else given > 0
    final = [float(row["everything"]) - DOSE for row in rows if float(row["time_s"]) == 3600]
    assert np.all(np.abs(np.asarray(final) - 1e7 / 3) < 5 * np.sqrt(1e7 / 3))
