"""``leap_st`` through compartments, interventions, flow, receptor numbers, loads and first numbers.

In a network of first order the mean field is the mean of `leap` with the same steps, so its derivative (tested against
finite differences in test_mean_field.py) is the truth for the mean. 4 standard errors, some 20 comparisons, fixed
seeds: a right one fails with 6e-5. A standard error must also be small, or the comparison would say nothing.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from models import box_of, make_model, simulate

import exodiff as ex


@functools.cache
def _organ(precision="float32"):
    """A dose in plasma that is lost, goes to a reservoir and through a vessel to a tissue of three copies, and back."""
    return make_model(
        [2],
        run={"precision": precision},
        lattice={"represents": 3},
        parameters={"k10": "0.3 /s", "k12": "0.2 /s", "PS": "0.3 um^3/s", "q": "2 /s"},
        cells={"vessel": {}},
        place=[{"cells": "vessel", "box": box_of(1)}],
        compartments={"plasma": {"volume": "5 um^3", "initial": {"EV": 300}}, "bone": {"volume": "2 um^3"}},
        vessels={"bed": {"cells": "vessel", "compartment": "plasma", "species": ["EV"], "permeability_surface": "PS"}},
        species={"EV": {"diffusion": "0.5 um^2/s"}},
        reactions=[
            {"equation": "plasma.EV ->", "rate": "k10"},
            {"equation": "plasma.EV -> bone.EV", "rate": "k12"},
            {"equation": "-> plasma.EV", "rate": "q"},
        ],
        interventions=[
            {"name": "bolus", "at": ["1 s"], "add": {"plasma.EV": 200}},
            {"name": "less", "at": ["1 s"], "set": {"q": "1 /s"}},
            {"name": "drops", "at": ["1 s"], "add": {"EV": 5}},
        ],
    )


def _of_organ(traj):
    """Every amount with a weight of its own."""
    here = traj["EV"][:, -1].astype(float) @ jnp.asarray([1.0, 2.0])
    return here + 0.1 * traj["plasma.EV"][:, -1] + 0.2 * traj["bone.EV"][:, -1]


@functools.cache
def _tissue():
    """Vesicles in a flow that leave loads in cells."""
    return make_model(
        [4],
        boundary={"x": "periodic"},
        parameters={"D": "0.5 um^2/s", "v": "0.4 um/s", "m": 6.0, "f": 0.4, "catch": "0.3 /s"},
        cells={"eater": {}},
        place=[{"cells": "eater", "box": box_of(3)}],
        flow={"velocity": ["v"]},
        species={
            "EV": {"diffusion": "D", "initial": {"poisson": 3}},
            "load": {"in": "cell"},
            "R": {"in": "cell", "initial": {"eater": 20}},
        },
        reactions=[
            {"name": "eat", "equation": "EV + eater -> eater + loaded(f, m) load", "rate": "catch"},
            {"equation": "R ->", "rate": "0.2 /s"},
        ],
    )


def _of_tissue(traj):
    here = traj["EV"][:, -1].astype(float) @ jnp.asarray([4.0, 1.0, 0.0, 1.0])
    return here + traj.total("load")[:, -1] + 0.3 * traj.total("R")[:, -1]


CASES = {
    "organ": (
        _organ,
        _of_organ,
        (
            "k10",
            "k12",
            "PS",
            "interventions.bolus.add.plasma.EV",
            "interventions.less.set.q",
            "interventions.drops.add.EV",
        ),
    ),
    "tissue": (_tissue, _of_tissue, ("D", "v", "m", "f", "species.EV.initial.poisson", "species.R.initial.eater")),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_amounts_outside_the_lattice_and_interventions_are_those_of_leap(precision):
    calls = {"replicates": 3, "seed": 5, "time_step": 0.1}
    exact = simulate(_organ(precision), [0.5, 2.0], **calls)
    found = simulate(_organ(precision), [0.5, 2.0], estimator="leap_st", **calls)
    assert np.array_equal(found.counts, exact.counts)
    for name in ("plasma.EV", "bone.EV"):
        assert np.array_equal(found[name], exact[name])
    assert exact.total("EV").max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_by_everything_have_the_right_mean(name):
    make, observe, names = CASES[name]
    values = {name: make().parameters[name] for name in names}

    def ask(estimator, n):
        return ex.grad(observe, make(), values, 3, n, estimator, [2.0], 0.1)

    found, truth = ask("leap_st", 4096), ask("closure", 2)
    assert abs(found.loss - truth.loss) < 4 * found.loss_standard_error
    for by, value in truth.value.items():
        assert value != 0, by
        assert found.standard_error[by] < 0.2 * abs(value), by
        assert abs(found.value[by] - value) < 4 * found.standard_error[by] + 1e-5 * abs(value), by


def _wells():
    """Pairs in a compartment: the chain of its events."""
    return make_model(
        [1],
        parameters={"k": "0.02 um^3/s", "dose": 12},
        compartments={"plasma": {"volume": "1 um^3", "initial": {"A": 20}}},
        species={"A": {}},
        reactions=[{"equation": "2 plasma.A ->", "rate": "k"}],
        interventions=[{"name": "dose", "at": ["1 s"], "add": {"plasma.A": "dose"}}],
    )


@pytest.mark.slow
def test_pairs_in_a_compartment_against_coupled_differences():
    """2 % of bias are allowed, as everywhere for means."""
    model = _wells()

    def left(traj):
        return traj["plasma.A"][:, -1].astype(float)

    def ask(estimator, seed):
        return ex.grad(left, model, {"k": 0.02}, seed, 4096, estimator, [2.0], 0.1)

    found, truth = ask("leap_st", 3), ask("cfd", 4)
    both = np.hypot(found.standard_error["k"], truth.standard_error["k"])
    assert abs(found.value["k"] - truth.value["k"]) < 0.02 * abs(truth.value["k"]) + 4 * both
    assert both < 0.05 * abs(truth.value["k"])


def test_what_acts_when_it_becomes_true_is_refused():
    model = make_model(
        [1],
        species={"A": {"initial": 5}},
        parameters={"k": "1 /s"},
        reactions=[{"equation": "A ->", "rate": "k"}],
        interventions=[{"name": "refill", "when": "total(A) < 2", "add": {"A": 5}}],
    )
    with pytest.raises(ex.ConfigError, match=r"interventions.refill.when: .* the time at which it acts"):
        simulate(model, [1.0], estimator="leap_st")


def test_an_amount_that_a_real_cannot_hold_stops():
    model = make_model(
        [1],
        species={"A": {}},
        parameters={"k": "0.1 /s"},
        compartments={"plasma": {"volume": "1 uL", "initial": {"A": 1e9}}},
        reactions=[{"equation": "plasma.A ->", "rate": "k"}],
    )
    with pytest.raises(ex.SimulationError, match=r'run.precision = "float64"'):
        simulate(model, [1.0], estimator="leap_st")
