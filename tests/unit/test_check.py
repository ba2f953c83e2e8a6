"""What ``check`` tells of a model, by hand, and how it is printed."""

import io

import numpy as np
import pytest
from rich.console import Console

from exodiff.check import check_model
from exodiff.report import render
from tests.physics.models import make_model


@pytest.fixture(scope="module")
def model():
    return make_model(
        [10, 4],
        spacing=2.0,
        run={"duration": "60 s", "observe_every": "30 s", "snapshot_every": "60 s", "replicates": 3},
        lattice={"fluid_fraction": 0.5},
        parameters={"k": "0.2 /s", "small": "0.1 /s"},
        cells={"cell": {}},
        species={
            "A": {"initial": 2, "diffusion": 0.8},
            "R": {"in": "cell", "initial": 5},
            "ghost": {},
            "short": {"initial": 1, "diffusion": 0.01},
        },
        regions={"left": {"layer": {"axis": "x", "from": 0.0, "to": 8.0}}},
        reactions=[
            {"name": "loss", "equation": "A ->", "rate": "k"},
            {"name": "more", "equation": "A ->", "rate": "small", "region": "left"},
            {"name": "bind", "equation": "A + R -> A", "rate": "0.4 um^3/s"},
            {"name": "fast", "equation": "short ->", "rate": "0.1 /s"},
        ],
        place=[{"cells": "cell", "box": {"low": [0.0, 0.0], "high": [6.0, 8.0]}}],
        interventions=[
            {"name": "dose", "at": [10, 20, 30, 50, 70], "add": {"A": 3}, "region": "left"},
            {"name": "end", "when": "total(A) < 5", "remove": ["cell"]},
        ],
    )


@pytest.fixture(scope="module")
def report(model):
    return check_model(model)


def test_species_have_their_numbers_exit_rates_and_ranges(report):
    species = {s.name: s for s in report.species}
    assert {name: (s.kind, s.initial) for name, s in species.items()} == {
        "A": ("free", 80.0),
        "ghost": ("free", 0.0),
        "short": ("free", 40.0),
        "R": ("in cells", 60.0),  # five in each of 3 x 4 cells
        "cell": ("cell type", 12.0),
    }
    assert species["A"].exit_per_s == pytest.approx((0.2, 0.3))
    # 0.3 in 4 of 10 columns: 0.24 on average
    assert species["A"].range_um == pytest.approx((np.sqrt(0.8 / 0.3), np.sqrt(0.8 / 0.24)))
    # V = 2 x 2 x 1/2 um^3 x 2 um: 4 um^3 or, after the doses, more A; at first 2 of them: 0.4 x 2 / V
    assert species["R"].exit_per_s[1] == pytest.approx(0.4 * 2 / report.fluid_volume_um3)
    assert report.fluid_volume_um3 == pytest.approx(4.0)


def test_reactions_and_interventions_are_told(report):
    assert {r.name: r.draw for r in report.reactions} == {
        "loss": "binomial",
        "more": "binomial",
        "bind": "binomial",
        "fast": "binomial",
    }
    assert {r.name: r.rate_now for r in report.reactions}["more"] == pytest.approx((0.0, 0.1))
    assert [(i.name, i.when, i.what) for i in report.interventions] == [
        ("dose", "at 10 s, 20 s, 30 s and 2 more times", "A += 3 in left"),
        ("end", "once total(A) < 5", "remove cell"),
    ]


def test_warnings_are_of_what_is_likely_not_meant(report):
    told = sorted(report.warnings)
    assert [line.split(":")[0] for line in told] == [
        "interventions.dose",
        "species.A",
        "species.ghost",
        "species.short",
    ]
    assert "1 of its times are after the end of the run at 60 s" in told[0]
    assert "its range 0.316 um is shorter than a voxel (2 um)" in told[3]  # sqrt(0.01 / 0.1)
    assert "there is none at first, and no reaction makes any" in told[2]


def test_the_printed_report_has_these_numbers(model, report):
    printed = io.StringIO()
    render(report, model.config, Console(file=printed, width=200, highlight=False))
    lines = [" ".join(line.split()) for line in printed.getvalue().splitlines()]
    assert lines[0] == "untitled: 10 x 4 voxels of 2 x 2 x 2 um, engine leap"
    assert "A free 80 0.8 0.2 ... 0.3 1.63 ... 1.83" in lines
    assert "ghost free 0 - - -" in lines
    assert "loss A -> k 0.2 binomial" in lines
    assert f"this run: {report.num_steps} steps of at most {report.step_s:.3g} s in 60 s" in lines
    # R meets 2 A at first and 3 more when the dose, taken once, is given: 0.4 x 5 / V
    exit_of_step = 100 * (1 - np.exp(-0.4 * 5 / report.fluid_volume_um3 * report.step_s))
    assert f"largest exit probability of such a step: {exit_of_step:.3g} %, of R" in lines
    # int32, 5 species, 40 voxels, 3 replicates
    assert report.state_bytes == 4 * 5 * 40 * 3
    assert any(line.startswith("size of the state: 0.00229 MiB (3 replicates)") for line in lines)
    assert sum(line.startswith("warning: ") for line in lines) == 4
