"""Amounts outside the lattice: exact numbers, the closed form of two compartments, reactions inside one."""

import numpy as np
import pytest

import exodiff as ex
from tests.physics.models import make_model

RATES_PER_MIN = {"k10": 0.01863, "k12": 0.05958, "k21": 0.01074}  # half-lives of 8 and 300 min, 90 % in the fast one


def two_compartments(engine: str, dose: float, **run):
    return make_model(
        [1],
        run={"engine": engine, **run},
        compartments={"plasma": {"volume": "1 mL", "initial": {"EV": dose}}, "peripheral": {"volume": "1 mL"}},
        species={"EV": {}},
        parameters={name: f"{value} /min" for name, value in RATES_PER_MIN.items()},
        reactions=[
            {"name": "loss", "equation": "plasma.EV ->", "rate": "k10"},
            {"equation": "plasma.EV -> peripheral.EV", "rate": "k12"},
            {"equation": "peripheral.EV -> plasma.EV", "rate": "k21"},
        ],
        observables={"plasma": {"value": "plasma.EV"}, "lost": {"value": "events(loss)"}},
    )


def bi_exponential(times_s: np.ndarray) -> np.ndarray:
    """Share of a dose in plasma."""
    k10, k12, k21 = (value / 60.0 for value in RATES_PER_MIN.values())
    total = k10 + k12 + k21
    root = np.sqrt(total**2 - 4.0 * k10 * k21)
    alpha, beta = 0.5 * (total + root), 0.5 * (total - root)
    return ((alpha - k21) * np.exp(-alpha * times_s) + (k21 - beta) * np.exp(-beta * times_s)) / (alpha - beta)


TIMES = np.array([300.0, 900.0, 3600.0])


def test_plasma_is_bi_exponential_in_mean_field():
    model = two_compartments("mean_field", 1e10, precision="float64", time_step="1 s")
    found = ex.simulate(model, TIMES)["plasma.EV"][0]
    np.testing.assert_allclose(found / 1e10, bi_exponential(TIMES), rtol=1e-6)


def test_plasma_is_bi_exponential_in_leap_and_loses_no_molecule():
    dose, replicates = 3e13, 16
    model = two_compartments("leap", dose, time_step="1 s")
    found = ex.simulate(model, TIMES, replicates=replicates)
    truth = bi_exponential(TIMES)
    error = np.mean(found["plasma.EV"], axis=0) / dose - truth
    # four standard errors of a share of independent molecules, and the step's own error, 4e-7 in mean_field
    assert np.all(np.abs(error) < 4.0 * np.sqrt(truth * (1.0 - truth) / dose / replicates) + 1e-6)
    lost = np.asarray(found.observables["lost"], float)
    total = found["plasma.EV"] + found["peripheral.EV"]
    assert np.all(np.abs(lost + total - dose) < 1e-6 * dose)


def test_without_phagocytes_a_dose_stays_ten_times_as_long():
    k10, k12, k21 = (value / 60.0 for value in RATES_PER_MIN.values())
    model = two_compartments("mean_field", 1e10, precision="float64", time_step="1 min")
    times = np.linspace(0.0, 500 * 3600.0, 7501)
    stay_h = []
    for elimination in (k10, k10 / 10):
        found = ex.simulate(model, times, parameters={"k10": elimination})
        held = (found["plasma.EV"][0] + found["peripheral.EV"][0]) / 1e10
        stay_h.append(np.trapezoid(held, times) / 3600.0)
    whole = (1 + k12 / k21) / k10 / 3600.0
    assert whole == pytest.approx(5.86, abs=0.005)
    # 8e-4 of the step (a quarter of that of 2 min), 4e-4 of the trapezoids, 2e-4 after the end
    np.testing.assert_allclose(stay_h, [whole, 10 * whole], rtol=2e-3)


def test_every_molecule_is_counted():
    closed = make_model(
        [1],
        compartments={"plasma": {"volume": "1 mL", "initial": {"EV": 1e10}}, "bladder": {"volume": "1 mL"}},
        species={"EV": {}, "dimer": {}},
        reactions=[
            {"equation": "plasma.EV -> bladder.EV", "rate": "1e-3 /s"},
            {"equation": "2 plasma.EV -> plasma.dimer", "rate": "1e-1 um^3/s"},
            {"equation": "plasma.dimer -> 2 plasma.EV", "rate": "1e-4 /s"},
        ],
    )
    kept = ex.simulate(closed, TIMES, replicates=2)
    total = kept["plasma.EV"] + kept["bladder.EV"] + 2 * kept["plasma.dimer"]
    assert np.all(total == 10**10)
    assert np.all(kept["plasma.dimer"][:, -1] > 10**6)


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_pairs_meet_in_the_volume_of_their_compartment(engine):
    """dn/dt = -2 k n^2 / V of `2 A -> B`: n = n0 / (1 + 2 k n0 t / V)."""
    n0, volume_um3, k = 1e9, 1e9, 1e-3
    model = make_model(
        [1],
        run={"engine": engine},
        compartments={"plasma": {"volume": "1 uL", "initial": {"A": n0}}},
        species={"A": {}, "B": {}},
        reactions=[{"equation": "2 plasma.A -> plasma.B", "rate": f"{k} um^3/s"}],
    )
    found = ex.simulate(model, [500.0], time_step=5.0)["plasma.A"][0, 0]
    assert found / n0 == pytest.approx(1.0 / (1.0 + 2.0 * k * n0 * 500.0 / volume_um3), rel=2e-4)


def test_a_saturable_loss_has_the_moments_of_the_master_equation():
    """`plasma.A ->` at rate v / (K + n): the chain of 30 molecules, solved by its matrix."""
    n0, v, half, t = 30, 0.2, 10.0, 60.0
    loss = np.array([v * n / (half + n) for n in range(n0 + 1)])
    generator = np.diag(-loss) + np.diag(loss[1:], 1)
    squarings = 24
    law = np.linalg.matrix_power(np.eye(n0 + 1) + generator * t / 2**squarings, 2**squarings)[:, n0]
    n = np.arange(n0 + 1)
    mean, variance = law @ n, law @ n**2 - (law @ n) ** 2
    model = make_model(
        [1],
        compartments={"plasma": {"volume": "1 uL", "initial": {"A": n0}}},
        species={"A": {}},
        parameters={"v": "0.2 /s", "K": 10},
        reactions=[{"equation": "plasma.A ->", "propensity": "v * plasma.A / (K + plasma.A)"}],
    )
    replicates = 4000
    found = ex.simulate(model, [t], replicates=replicates, time_step=5.0)["plasma.A"][:, 0]
    assert abs(found.mean() - mean) < 4.0 * np.sqrt(variance / replicates)
    assert found.var() / variance == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / replicates))


def test_a_rate_on_the_lattice_reads_an_amount_in_a_compartment():
    model = make_model(
        [4],
        compartments={"plasma": {"volume": "1 uL", "initial": {"signal": 500}}},
        species={"signal": {}, "answer": {}},
        parameters={"k": "1e-3 /s"},
        reactions=[{"equation": "-> answer", "rate": "k * plasma.signal"}],
        run={"engine": "mean_field"},
    )
    assert ex.simulate(model, [100.0]).total("answer")[0, 0] == pytest.approx(4 * 1e-3 * 500 * 100.0, rel=1e-5)


def drug_model(engine: str = "leap", **changes):
    """Eight voxels of 1600 um^3 fluid, half of them vessel, and 500 nM of a drug in 1 mL of plasma from 1 min on."""
    return make_model(
        [4, 2],
        run={"engine": engine, "duration": "1 h", **changes.pop("run", {})},
        lattice={"spacing": "20 um", "fluid_fraction": 0.2},
        compartments={"plasma": {"volume": changes.pop("volume", "1 mL")}},
        cells={"wall": {}},
        species={"drug": {"kind": "concentration", "unit": "nM", "solve": "implicit", **changes.pop("species", {})}},
        vessels={
            "all": {
                "cells": "wall",
                "compartment": "plasma",
                "species": ["drug"],
                "permeability_surface": changes.pop("surface", "1 um^3/s"),
            }
        },
        place=[{"cells": "wall", "layer": {"axis": "x", "from": 0, "to": "40 um"}}],
        regions={"rest": {"layer": {"axis": "x", "from": "40 um", "to": "80 um"}}},
        parameters={"dose": changes.pop("dose", "500 nM")},
        interventions=[{"at": "1 min", "add": {"plasma.drug": "dose"}}],
        observables={
            "plasma": {"value": "plasma.drug"},
            "in_walls": {"value": "mean(drug, wall)"},
            "elsewhere": {"value": "total(drug, rest)"},
            "everything": {"value": "plasma.drug + total(drug)"},
        },
        **changes,
    )


@pytest.mark.parametrize("engine", [pytest.param("leap", marks=pytest.mark.slow), "mean_field"])
def test_a_drug_of_which_plasma_holds_more_than_2_to_47_molecules_crosses_the_walls_of_vessels(engine):
    """500 nM in 1 mL are 3.01e14 molecules; in the tissue of a vessel c = 500 nM (1 - exp(-PS t / V))."""
    minutes = np.array([2.0, 11.0, 31.0])
    run = ex.simulate(drug_model(engine, run={"time_step": "2 s"}), 60.0 * minutes, replicates=8)
    given = 500 * 0.602214076 * 1e12
    np.testing.assert_allclose(run["plasma.drug"], given, rtol=1e-6)
    found = np.mean(np.asarray(run.observables["in_walls"], float), axis=0)
    share = 1.0 - np.exp(-60.0 * (minutes - 1.0) / 1600.0)
    # 301 molecules/um^3 x 1600 um^3 a voxel: 4 standard errors of a Poisson number over 4 voxels and 8 replicates
    error = 4.0 * np.sqrt(share / (given * 1e-12 * 1600 * 4 * 8)) + 1e-3
    assert np.all(np.abs(found / 500 - share) < error)
    assert np.all(np.asarray(run.observables["elsewhere"]) == 0)


def test_what_a_drug_in_the_tissue_gains_its_plasma_loses():
    """2e6 molecules in a small plasma, of which thousands cross: float64 keeps each."""
    model = drug_model(dose="2 /um^3", volume="1e6 um^3", run={"precision": "float64"})
    run = ex.simulate(model, [60.0, 600.0, 3600.0], replicates=4)
    everything = np.asarray(run.observables["everything"], float)
    np.testing.assert_allclose(everything, 2e6, rtol=1e-12)
    assert np.all(np.asarray(run.observables["plasma"])[:, -1] < 2e6 - 5000)


def test_the_automatic_step_follows_a_drug_through_leaky_walls():
    """At PS / V of 1/16 a second tissue has the level of plasma, which a step of minutes would overshoot."""
    run = ex.simulate(drug_model(surface="100 um^3/s"), [300.0, 1800.0], replicates=4)
    np.testing.assert_allclose(np.asarray(run.observables["in_walls"], float), 500.0, rtol=5e-3)


def test_an_amount_beyond_what_is_held_stops_the_run():
    with pytest.raises(ex.SimulationError, match=r"the amount of plasma\.drug is out of range"):
        ex.simulate(drug_model(dose="1e19 /mL"), [600.0])


def test_a_steady_concentration_cannot_cross_the_walls_of_vessels():
    with pytest.raises(ex.ConfigError, match=r"vessels\.all\.species: drug is steady.*solve = \"implicit\""):
        drug_model(species={"solve": "steady", "decay": "1 /h", "diffusion": "100 um^2/s"})


def test_an_amount_that_only_a_fixed_value_or_a_profile_names_is_known():
    held = {"kind": "concentration", "unit": "nM", "solve": "steady", "diffusion": "100 um^2/s"}
    model = make_model(
        [4],
        compartments={"plasma": {"volume": "1 mL"}},
        cells={"wall": {}},
        species={"drug": {**held, "fixed": {"wall": "plasma.drug"}}, "EV": {}},
        place=[{"cells": "wall", "everywhere": True}],
        observables={"beside": {"profile": {"of": "plasma.EV + EV", "from": "wall", "bin": "20 um"}}},
    )
    assert np.all(ex.simulate(model, [10.0])["drug"] == 0)
