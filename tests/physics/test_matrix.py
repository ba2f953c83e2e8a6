"""A fibre matrix that hinders vesicles by size, and that reactions build and degrade."""

import jax.numpy as jnp
import numpy as np
import pytest
from models import make_model, simulate

from exodiff.kernels.rates import Voxels
from exodiff.operations import is_even
from exodiff.simulation import moments
from exodiff.stepsize import diffusivities


def _vesicles(diameter_nm, **more):
    return {
        "tEV": {
            "diameter": {
                "median": f"{diameter_nm} nm",
                "gsd": 1.001,
                "min": f"{0.999 * diameter_nm} nm",
                "max": f"{1.001 * diameter_nm} nm",
                "bins": 1,
            },
            "diffusion": {"stokes_einstein": {"viscosity": "0.691 mPa*s", "tortuosity": 1.6}},
            **more,
        }
    }


def _collagen(fraction, radius="20 nm"):
    return {"kind": "concentration", "unit": "1", "solve": "explicit", "initial": fraction, "fibre_radius": radius}


def _diffusivity(model):
    inputs, counts = moments(model.problem, model)[0]
    voxels = Voxels(model.problem, inputs, counts, jnp.zeros(()))
    return float(np.max(diffusivities(model.problem, inputs, voxels)[0]))


@pytest.mark.parametrize(
    ("fraction", "radius", "expected"),
    [
        (0.005, "20 nm", 2.0),
        (0.01, "20 nm", 1.7),
        (0.02, "20 nm", 1.3),
        (0.04, "20 nm", 0.83),
        (0.06, "20 nm", 0.54),
        (0.04, "10 nm", 0.20),
    ],
)
def test_vesicles_of_100_nm_diffuse_as_tabulated_in_collagen(fraction, radius, expected):
    # independent values, to two digits: BIOLOGY table of S F at water's viscosity and tortuosity 1.6
    model = make_model([4], spacing=20.0, species={"collagen": _collagen(fraction, radius)}, exosomes=_vesicles(100))
    assert _diffusivity(model) == pytest.approx(expected, rel=0.03)
    assert not is_even(model.problem, 0, 0)


def test_two_matrices_hinder_by_the_product():
    one = make_model([4], spacing=20.0, species={"collagen": _collagen(0.02)}, exosomes=_vesicles(100))
    two = {"collagen": _collagen(0.02), "fibronectin": _collagen(0.02)}
    both = make_model([4], spacing=20.0, species=two, exosomes=_vesicles(100))
    none = make_model([4], spacing=20.0, exosomes=_vesicles(100))
    ratio = _diffusivity(one) / _diffusivity(none)
    assert _diffusivity(both) == pytest.approx(ratio**2 * _diffusivity(none), rel=1e-5)


def _front(k_mmp):
    """Vesicles from the low wall of a line into a dense matrix that they degrade, after 6 h."""
    model = make_model(
        [24],
        spacing=20.0,
        boundary={"x_low": {"fixed": {"tEV": "1e-2 /um^3"}}},
        run={"engine": "mean_field", "duration": "6 h"},
        species={"collagen": _collagen(0.08)},
        exosomes=_vesicles(100, decay="1e-3 /s"),
        parameters={"k_mmp": f"{k_mmp} um^3/s"},
        reactions=[{"equation": "collagen ->", "rate": "k_mmp * conc(tEV)"}],
    )
    found = simulate(model, [21600.0])
    return np.asarray(found["tEV"])[0, 0], np.asarray(found["collagen"])[0, 0]


def test_vesicles_that_degrade_the_matrix_go_farther_in_it():
    vesicles, whole = _front(0.0)
    np.testing.assert_allclose(whole, 0.08, rtol=1e-6)
    invaders, left = _front(0.1)
    assert left[0] < 0.01
    assert left[-1] > 0.079
    assert (np.diff(left) > -1e-6).all()
    reach, far = (np.argmax(v < 0.1 * v[0]) for v in (vesicles, invaders))
    assert far > 1.5 * reach


def test_fibroblasts_deposit_up_to_the_most_that_there_can_be():
    # de/dt = k (1 - e / e_max): e = e_max (1 - exp(-k t / e_max)) where they are, nothing elsewhere
    model = make_model(
        [4],
        spacing=20.0,
        run={"precision": "float64"},
        cells={"CAF": {}},
        place=[{"cells": "CAF", "layer": {"axis": "x", "from": 0, "to": 40}}],
        species={"collagen": _collagen(0.0)},
        parameters={"k_dep": "0.01 /h", "e_max": 0.1},
        reactions=[{"equation": "CAF -> CAF + collagen", "rate": "k_dep * (1 - collagen / e_max)"}],
    )
    errors = []
    exact = 0.1 * (1 - np.exp(-1.0))
    for step in (3600.0, 1800.0):
        found = np.asarray(simulate(model, [36000.0], time_step=step)["collagen"])[0, 0]
        assert found[2] == 0.0
        errors.append(abs(found[0] - exact))
    assert errors[1] < 2e-3 * exact
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)
