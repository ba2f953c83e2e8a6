"""Cells that go up a gradient, against the master equation of one cell."""

import numpy as np
import pytest
from models import make_model, simulate
from scipy.linalg import expm

LENGTH, STRENGTH, RATE, TIME = 9, 1.5, 0.05, 20.0


def _model(field, engine):
    return make_model(
        [LENGTH],
        run={"engine": engine},
        species={"CCL2": field},
        regions={end: {"layer": {"axis": "x", "from": at, "to": at + 1}} for end, at in (("low", 0), ("high", 8))},
        cells={"CTL": {"motility": RATE, "chemotaxis": {"up": "CCL2", "strength": STRENGTH}}},
        place=[{"cells": "CTL", "layer": {"axis": "x", "from": 4, "to": 5}}],
    )


def _expected(u):
    """Place of one cell after a time: it leaves at the rate for each neighbour, and takes one by its weight."""
    generator = np.zeros((LENGTH, LENGTH))
    for i in range(LENGTH):
        neighbours = [j for j in (i - 1, i + 1) if 0 <= j < LENGTH]
        weights = np.exp([STRENGTH * (u[j] - u[i]) / (u[j] + u[i]) for j in neighbours])
        for j, weight in zip(neighbours, weights, strict=True):
            generator[j, i] += RATE * len(neighbours) * weight / weights.sum()
        generator[i, i] = -RATE * len(neighbours)
    return expm(generator * TIME)[:, LENGTH // 2]


def test_a_cell_climbs_a_fixed_gradient_as_its_master_equation_says():
    # 4000 replicates: each probability p within 4.5 standard errors sqrt(p (1 - p) / 4000), of 9: false alarm 6e-5
    steady = {"kind": "concentration", "unit": "nM", "solve": "steady", "diffusion": 10, "fixed": {"low": 1, "high": 9}}
    found = simulate(_model(steady, "leap"), [TIME], seed=1, replicates=4000, time_step=0.5)
    np.testing.assert_allclose(np.asarray(found["CCL2"])[0, 0], np.arange(1, 10), rtol=1e-4)
    share, expected = np.asarray(found["CTL"])[:, 0].mean(0), _expected(np.arange(1.0, 10.0))
    np.testing.assert_array_less(abs(share - expected), 4.5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3)
    drift = (share - expected) @ np.arange(9)
    assert abs(drift) < 0.1 < share @ np.arange(9) - 4


def test_a_cell_climbs_numbers_of_a_free_species_and_none_where_there_are_none(tmp_path):
    np.save(tmp_path / "u.npy", np.arange(LENGTH))
    model = make_model(
        [LENGTH],
        folder=tmp_path,
        run={"engine": "mean_field"},
        species={"CCL2": {"initial": {"file": "u.npy"}}},
        cells={"CTL": {"motility": RATE, "chemotaxis": {"up": "CCL2", "strength": STRENGTH}}},
        place=[{"cells": "CTL", "layer": {"axis": "x", "from": 4, "to": 5}}],
    )
    place = np.arange(LENGTH)
    found = np.asarray(simulate(model, [0.2], time_step=0.05)["CTL"])[0, 0]
    # one leap from voxel 4: weights exp(1.5 / 9) and exp(-1.5 / 7)
    up, down = np.exp(STRENGTH / 9), np.exp(-STRENGTH / 7)
    drift = 2 * RATE * (up - down) / (up + down) * 0.2
    assert found @ place - 4 == pytest.approx(drift, rel=0.05)
    model.parameters["cells.CTL.chemotaxis.strength"] = 0.0
    still = np.asarray(simulate(model, [0.2], time_step=0.05)["CTL"])[0, 0]
    assert still @ place == pytest.approx(4.0, abs=1e-6)


def test_daughters_lie_up_the_gradient():
    # the first daughter takes voxel 5 with probability w / (1 + w) of weights exp(s (u_j - u_i) / (u_j + u_i))
    steady = {"kind": "concentration", "unit": "nM", "solve": "steady", "diffusion": 10, "fixed": {"low": 1, "high": 9}}
    model = make_model(
        [LENGTH],
        species={"CCL2": steady},
        regions={end: {"layer": {"axis": "x", "from": at, "to": at + 1}} for end, at in (("low", 0), ("high", 8))},
        cells={"CTL": {"chemotaxis": {"up": "CCL2", "strength": STRENGTH}}},
        place=[{"cells": "CTL", "layer": {"axis": "x", "from": 4, "to": 5}}],
        reactions=[{"equation": "CTL -> 2 CTL", "rate": "1e-3 /s"}],
    )
    found = np.asarray(simulate(model, [100.0], seed=2, replicates=10000, time_step=50.0)["CTL"])[:, 0]
    pairs = found[found.sum(1) == 2]
    up = np.exp(STRENGTH / 11) / (np.exp(STRENGTH / 11) + np.exp(-STRENGTH / 9))
    assert len(pairs) > 500
    assert pairs[:, 5].mean() == pytest.approx(up, abs=4 * np.sqrt(0.25 / len(pairs)))
