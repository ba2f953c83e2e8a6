"""Continuous species against closed forms, dense matrices and conservation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import make_model, simulate
from scipy.linalg import expm

OXYGEN = {"kind": "concentration", "unit": "mmHg", "solve": "steady", "diffusion": "1667 um^2/s"}


def _model(shape, species, **tables):
    run = {"precision": "float64", "engine": "mean_field", **tables.pop("run", {})}
    return make_model(shape, species=species, run=run, **tables)


def _dense_laplacian(shape, h, d):
    """D times the finite-volume Laplacian of a closed box, as a dense matrix."""
    matrix = np.zeros((np.prod(shape),) * 2)
    at = np.arange(np.prod(shape)).reshape(shape)
    for axis in range(len(shape)):
        low, high = (np.take(at, range(a, shape[axis] - 1 + a), axis).ravel() for a in (0, 1))
        for i, j in itertools.chain(zip(low, high, strict=True), zip(high, low, strict=True)):
            matrix[i, j] += d / h**2
            matrix[i, i] -= d / h**2
    return matrix


def test_a_steady_profile_falls_by_the_decay_length_of_the_lattice():
    # cosh(h / lambda_h) = 1 + k h^2 / (2 D); up to voxel 30 the far wall adds exp(-2 x 130 x 0.109) = 5e-13
    k, d, h = 0.2, 1667.0, 10.0
    model = _model(
        [160],
        {"oxygen": {**OXYGEN, "decay": f"{k} /s", "fixed": {"vessel": "40 mmHg"}}},
        spacing=h,
        regions={"vessel": {"layer": {"axis": "x", "from": 0, "to": h}}},
    )
    profile = np.asarray(simulate(model, [0.0])["oxygen"])[0, 0]
    lattice_length = h / np.arccosh(1 + k * h**2 / (2 * d))
    measured = -h / np.log(profile[1:30] / profile[:29])
    assert profile[0] == pytest.approx(40.0, rel=1e-12)
    np.testing.assert_allclose(measured, lattice_length, rtol=1e-6)


@pytest.mark.parametrize("shape", [[9, 7], [6, 5, 4]])
def test_vessels_among_consuming_cells_agree_with_a_dense_solution(shape):
    h, q = 20.0, 2.5
    model = _model(
        shape,
        {"oxygen": {**OXYGEN, "fixed": {"endothelium": "40 mmHg"}}},
        spacing=h,
        cells={"endothelium": {}, "tumour": {}},
        place=[
            {"cells": "endothelium", "lines": {"axis": "y", "every": "60 um"}},
            {"cells": "tumour", "box": {"low": [0, 0, 0][: len(shape)], "high": [80, 60, 60][: len(shape)]}},
        ],
        reactions=[{"equation": "tumour + oxygen -> tumour", "rate": f"{q} /s"}],
    )
    found = simulate(model, [0.0])
    held = np.asarray(found["endothelium"])[0, 0].ravel() > 0
    loss = q * np.asarray(found["tumour"])[0, 0].ravel()
    assert 0 < held.sum() < held.size / 2
    matrix = _dense_laplacian(shape, h, 1667.0) - np.diag(loss)
    matrix[held] = np.eye(held.size)[held]
    expected = np.linalg.solve(matrix, np.where(held, 40.0, 0.0))
    np.testing.assert_allclose(np.asarray(found["oxygen"])[0, 0].ravel(), expected, rtol=1e-8)


def _saturating(**parameters):
    return _model(
        [12],
        {"oxygen": {**OXYGEN, "fixed": {"vessel": "40 mmHg"}}},
        spacing=20.0,
        regions={"vessel": {"layer": {"axis": "x", "from": 0, "to": 20}}},
        cells={"tumour": {}},
        place=[{"cells": "tumour", "layer": {"axis": "x", "from": 60, "to": 200}}],
        parameters={"V": "20 mmHg/s", "K": "2.5 mmHg", "D": "1667 um^2/s", **parameters},
        reactions=[{"equation": "tumour + oxygen -> tumour", "rate": "V / (K + oxygen)"}],
    )


def test_a_saturating_sink_agrees_with_newtons_method_on_a_dense_matrix():
    # cells in voxels 3 to 9 use V c / (K + c); voxel 0 is held at 40
    found = np.asarray(simulate(_saturating(), [0.0])["oxygen"])[0, 0]
    matrix, cells, c = _dense_laplacian([12], 20.0, 1667.0), np.zeros(12), np.zeros(12)
    cells[3:10] = 20.0
    for _ in range(60):
        excess = matrix @ c - cells * c / (2.5 + c)
        slope = matrix - np.diag(cells * 2.5 / (2.5 + c) ** 2)
        excess[0], slope[0] = c[0] - 40.0, np.eye(12)[0]
        c = c - np.linalg.solve(slope, excess)
    assert c.min() < 2.5  # the sink is saturated in some voxels and not in others
    np.testing.assert_allclose(found, c, rtol=1e-7)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_of_a_saturating_steady_field_are_those_of_its_equation(mode):
    # central differences with a relative step of 1e-4: truncation 1e-8, the tolerance of the solution 1e-10 / 1e-4
    model, names = _saturating(), ("V", "K", "species.oxygen.fixed.vessel")
    values = {name: model.parameters[name] for name in names}

    def loss(scales):
        given = {name: values[name] * scale for name, scale in zip(names, scales, strict=True)}
        return jnp.sum(simulate(model, [0.0], parameters=given)["oxygen"][0] ** 2)

    with jax.enable_x64(True):
        found = np.asarray(mode(loss)(jnp.ones(3)))
        steps = 1e-4 * np.eye(3)
        expected = [(loss(jnp.asarray(1 + e)) - loss(jnp.asarray(1 - e))) / 2e-4 for e in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def _along_a_cosine(folder, solve, *, walls="reflecting", **tables):
    """A cosine on a closed line of 16 voxels, or half of a sine between open walls; D = 40 um^2/s, lost at 0.05 /s."""
    phase = np.pi * (np.arange(16) + 0.5) / 16
    x = np.cos(phase) if walls == "reflecting" else np.sin(phase)
    np.save(folder / "first.npy", 2.0 + x if walls == "reflecting" else x)
    species = {"diffusion": "40 um^2/s", "decay": "0.05 /s", "initial": {"file": "first.npy"}, "solve": solve}
    fields = {"dox": {"kind": "concentration", "unit": "1/um^3", **species, **tables.pop("dox", {})}}
    return _model([16], fields, folder=folder, boundary={"x": walls}, **tables), x


@pytest.mark.parametrize("solve", ["implicit", "explicit"])
@pytest.mark.parametrize("walls", ["reflecting", "absorbing"])
def test_with_one_diffusivity_and_loss_any_step_is_exact(solve, walls, tmp_path):
    # exp(-(mu + k) t) with the lattice's mu = (2 D / h^2) (1 - cos(pi / n)); hops of up to 160 a step
    mu, k, time = 80.0 * (1 - np.cos(np.pi / 16)), 0.05, 4.0
    model, x = _along_a_cosine(tmp_path, solve, walls=walls)
    mean = 2.0 * np.exp(-k * time) * (walls == "reflecting")
    for step in (0.1, 2.0):
        found = np.asarray(simulate(model, [time], time_step=step)["dox"])[0, 0]
        np.testing.assert_allclose(found, mean + x * np.exp(-(mu + k) * time), rtol=1e-11, atol=1e-13)


def test_sources_between_walls_held_at_a_value_are_exact_with_implicit(tmp_path):
    # to the steady line or parabola of the lattice: the matrix of 16 voxels, its exponential in one step and in twenty
    model, _ = _along_a_cosine(
        tmp_path,
        "implicit",
        dox={"initial": 0.5},
        walls={"fixed": {"dox": 3.0}},
        reactions=[{"equation": "-> dox", "rate": "0.7 /um^3/s", "region": "half"}],
        regions={"half": {"layer": {"axis": "x", "from": 3, "to": 9}}},
    )
    matrix = _dense_laplacian([16], 1.0, 40.0) - 0.05 * np.eye(16)
    source = np.zeros(16)
    source[3:9] = 0.7
    for wall in (0, -1):
        matrix[wall, wall] -= 80.0
        source[wall] += 80.0 * 3.0
    rest = -np.linalg.solve(matrix, source)
    for time, step in ((0.8, 0.4), (0.8, 0.02), (200.0, 100.0)):
        found = np.asarray(simulate(model, [time], time_step=step)["dox"])[0, 0]
        np.testing.assert_allclose(found, rest + expm(matrix * time) @ (0.5 - rest), rtol=1e-9)


@pytest.mark.parametrize("solve", ["implicit", "explicit"])
def test_a_field_that_cells_take_up_is_of_second_order_in_the_step(solve, tmp_path):
    model, x = _along_a_cosine(
        tmp_path,
        solve,
        dox={"diffusion": "4 um^2/s"},
        cells={"tumour": {}},
        place=[{"cells": "tumour", "layer": {"axis": "x", "from": 3, "to": 7}}],
        reactions=[
            {"equation": "tumour + dox -> tumour", "rate": "1.5 /s"},
            {"equation": "tumour -> tumour + dox", "rate": "0.4 /s"},
        ],
    )
    is_cell = (np.arange(16) >= 3) & (np.arange(16) < 7)
    matrix = _dense_laplacian([16], 1.0, 4.0) - np.diag(0.05 + 1.5 * is_cell)
    rest = -np.linalg.solve(matrix, 0.4 * is_cell)
    errors = []
    for step in (0.05, 0.025, 0.0125):
        found = np.asarray(simulate(model, [2.0], time_step=step)["dox"])[0, 0]
        errors.append(np.abs(found - rest - expm(matrix * 2.0) @ (2.0 + x - rest)).max())
    assert errors[0] < 0.01
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.15)


DOX = {"kind": "concentration", "unit": "nM", "solve": "implicit"}


def _drug(engine, shape, **tables):
    return _model(
        shape,
        {"dox": {**DOX, "diffusion": "160 um^2/s", "initial": 50, **tables.pop("dox", {})}, "dox_in": {"in": "cell"}},
        spacing=20.0,
        run={"engine": engine},
        lattice={"fluid_fraction": 0.2},
        cells={"tumour": {}},
        place=[{"cells": "tumour", "layer": {"axis": "x", "from": 20, "to": 60}}],
        reactions=[
            {"equation": "dox -> dox_in", "rate": "2e-2 /s", "region": "tissue"},
            {"equation": "dox_in -> dox", "rate": "1e-2 /s"},
        ],
        regions={"tissue": {"layer": {"axis": "x", "from": 20, "to": 60}}},
        **tables,
    )


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_a_drug_that_enters_and_leaves_cells_is_neither_made_nor_lost(engine):
    # 50 nM in 8 voxels of 1600 um^3 are 385,417 molecules; each number drawn is taken from the field
    found = simulate(_drug(engine, [4, 2]), [0.0, 100.0, 400.0], seed=3, replicates=2)
    total = found.total("dox") + found.total("dox_in")
    assert total[0, 0] == pytest.approx(8 * 1600 * 50 * 0.602214076, rel=1e-12)
    assert (found.total("dox_in")[:, 1] > 0.1 * total[:, 0]).all()
    np.testing.assert_allclose(total, total[0, 0], rtol=1e-9)


def test_molecules_that_enter_cells_have_the_law_of_independent_ones():
    # without the way back and diffusion each of n = 96 molecules is in with p = 1 - exp(-k t): a binomial number.
    # 2000 replicates of 4 voxels: standard error of the mean 0.0527, of the variance sqrt(2 / 8000) v; limits 4 of them
    model = _drug("leap", [4], dox={"diffusion": 0, "solve": "explicit", "initial": 0.1}, observables={})
    model.parameters["reactions.r2.rate"] = 0.0
    inside = np.asarray(simulate(model, [40.0], seed=5, replicates=2000, time_step=5.0)["dox_in"])[:, 0, 1:3].ravel()
    n, p = np.floor(0.1 * 0.602214076 * 1600), 1 - np.exp(-0.8)
    variance = n * p * (1 - p)
    assert inside.mean() == pytest.approx(n * p, abs=4 * np.sqrt(variance / 4000) + 0.4 * p)
    assert inside.var() == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / 4000))


def test_a_concentration_is_never_used_beyond_its_last_molecule():
    model = _drug("leap", [4], dox={"diffusion": 0, "solve": "explicit", "initial": 0.005})
    model.parameters["reactions.r2.rate"] = 0.0
    found = simulate(model, [1000.0], seed=1, replicates=50, time_step=20.0)
    assert (np.asarray(found["dox"]) >= 0).all()
    left = np.asarray(found["dox"])[:, 0, 1] * 0.602214076 * 1600
    assert (left < 1).all()
    assert (np.asarray(found["dox_in"])[:, 0, 1] == 4).all()  # of 4.8 molecules


def test_interventions_add_to_and_set_concentrations_in_their_own_unit():
    model = _drug(
        "mean_field",
        [4],
        dox={"diffusion": 0, "solve": "explicit"},
        interventions=[
            {"at": "1 s", "set": {"dox": 7}, "region": "tissue"},
            {"at": "2 s", "add": {"dox": "3 nM"}},
        ],
    )
    model.parameters.update({"reactions.r1.rate": 0.0, "reactions.r2.rate": 0.0})
    found = np.asarray(simulate(model, [0.5, 1.0, 2.0])["dox"])[0]
    np.testing.assert_allclose(found, [[50] * 4, [50, 7, 7, 50], [53, 10, 10, 53]])


def test_antibodies_of_a_steady_field_coat_vesicles_at_the_rate_of_their_concentration():
    # EV + mAb -> EV_ab in a field held at 2 nM: P(coated) = 1 - exp(-k c t); 20,000 vesicles, limit 4 standard errors
    model = _model(
        [1],
        {
            "EV": {"initial": 20000},
            "EV_ab": {},
            "mAb": {**DOX, "solve": "steady", "fixed": {"all": 2}},
        },
        spacing=20.0,
        run={"engine": "leap"},
        regions={"all": {"everywhere": True}},
        reactions=[{"equation": "EV + mAb -> EV_ab", "rate": "1e-3 um^3/s"}],
    )
    coated = simulate(model, [600.0], seed=2).total("EV_ab")[0, 0]
    p = 1 - np.exp(-1e-3 * 2 * 0.602214076 * 600)
    assert coated == pytest.approx(20000 * p, abs=4 * np.sqrt(20000 * p * (1 - p)))
