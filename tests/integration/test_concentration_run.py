"""Runs on disk with concentrations: the same bits after a stop, and values in their own unit."""

import pytest

import exodiff as ex
from exodiff.io.snapshots import list_snapshots, read_snapshot
from exodiff.runner import driver
from tests.integration.stopping import StopAfter, assert_same_run, final_state

MODEL = {
    "schema": 1,
    "run": {"duration": "60 s", "time_step": "2 s", "observe_every": "10 s", "snapshot_every": "30 s", "seed": 4},
    "lattice": {"shape": [4, 3], "spacing": "20 um"},
    "cells": {"tumour": {}},
    "place": [{"cells": "tumour", "everywhere": True, "fill": 0.5}],
    "species": {
        "dox": {"kind": "concentration", "unit": "nM", "solve": "implicit", "diffusion": "160 um^2/s", "initial": 2},
        "oxygen": {
            "kind": "concentration",
            "unit": "mmHg",
            "solve": "steady",
            "diffusion": "1667 um^2/s",
            "fixed": {"rim": 40},
        },
        "dox_in": {"in": "cell"},
    },
    "regions": {"rim": {"layer": {"axis": "x", "from": 0, "to": 20}}},
    "reactions": [
        {"equation": "dox -> dox_in", "rate": "1e-3 /s"},
        {"equation": "dox_in ->", "rate": "1e-3 /s"},
        {"equation": "tumour + oxygen -> tumour", "rate": "q / (K + oxygen)"},
    ],
    "parameters": {"q": "2 mmHg/s", "K": "3 mmHg"},
}


@pytest.mark.parametrize("replicates", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_with_concentrations_resumes_bit_for_bit(replicates, tmp_path, monkeypatch):
    model = ex.Model.from_dict({**MODEL, "run": {**MODEL["run"], "replicates": replicates}})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert ex.run(model, whole).finished
    with monkeypatch.context() as patch:
        patch.setattr(driver, "StopRequest", StopAfter(2))
        assert not ex.run(model, parts).finished
    assert ex.resume(parts).finished
    assert_same_run(whole, parts)
    assert final_state(whole)["concentrations"].shape == (replicates, 2, 4, 3, 1)
    oxygen = read_snapshot(list_snapshots(whole)[-1]).fields["oxygen"]
    assert oxygen.unit == "mmHg"
    assert oxygen.values.max() == pytest.approx(40.0, rel=1e-6)
