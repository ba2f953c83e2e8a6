"""Derivatives of ``mean_field`` trajectories against central finite differences.

In float64 a central difference with a relative step of 1e-4 has a truncation error of about 1e-8 of the second relative
derivative and a rounding error of 1e-12 / 1e-4 = 1e-8: agreement to 1e-6 is demanded. In float32 rounding gives
1e-6 / 1e-2 = 1e-4 and truncation 1e-4 at a step of 1e-2: agreement to 1e-2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import box_of, make_model, simulate

NAMES = ("D", "k_on", "k_release", "K", "n", "motility", "grow")
TIMES = [0.5, 2.0, 6.0]


def _model(precision):
    return make_model(
        [4, 3],
        run={"engine": "mean_field", "precision": precision},
        parameters={
            "D": "0.8 um^2/s",
            "k_on": "0.05 um^3/s",
            "k_release": "4 /s",
            "K": 3.0,
            "n": 2.5,
            "k_convert": "0.3 /s",
            "motility": "0.05 um^2/s",
            "grow": "0.02 /s",
        },
        cells={"tumour": {"motility": "motility"}, "fibroblast": {}, "CAF": {}},
        place=[
            {"cells": "tumour", "box": box_of(0, 1)},
            {"cells": "fibroblast", "layer": {"axis": "x", "from": 1, "to": 3}},
        ],
        species={
            "EV": {"diffusion": "D", "decay": "0.1 /s"},
            "receptor": {"in": "cell", "initial": {"fibroblast": 12.0}},
            "bound": {"in": "cell"},
        },
        reactions=[
            {"equation": "tumour -> tumour + EV", "rate": "k_release"},
            {"equation": "EV + receptor -> bound", "rate": "k_on"},
            {"equation": "fibroblast -> CAF", "rate": "k_convert * hill(bound, K, n)"},
            {"equation": "tumour -> 2 tumour", "rate": "grow"},
        ],
    )


def _loss(model):
    """A smooth number of all species at all times."""

    def loss(values):
        found = simulate(model, TIMES, parameters=values, time_step=0.125)
        weight = jnp.asarray([0.3, 0.5, 1.0], found["EV"].dtype)
        free = (found["EV"][0] ** 2).mean((1, 2))
        bound = found["bound"][0].sum((1, 2))
        return weight @ (free + bound + 10.0 * found["CAF"][0].sum((1, 2)) + found["tumour"][0, :, 1, 1])

    return loss


def test_rounding_below_nothing_is_no_failure():
    """Cells that leave a full voxel left -5e-9 of one, which stopped the trajectory as an overflow."""
    found = simulate(_model("float32"), TIMES, time_step=0.125)
    assert float(found.counts.min()) == 0.0


@pytest.mark.parametrize(
    ("precision", "step", "agreement"),
    [("float64", 1e-4, 1e-6), pytest.param("float32", 1e-2, 1e-2, marks=pytest.mark.slow)],
)
def test_the_gradient_is_that_of_finite_differences(precision, step, agreement):
    model = _model(precision)
    with jax.enable_x64(precision == "float64"):
        loss = _loss(model)
        values = {name: jnp.asarray(model.parameters[name], precision) for name in NAMES}
        value, gradient = jax.jit(jax.value_and_grad(loss))(values)
        # all shifted parameter sets at once, and the parameters as they are: vmap over parameters changes no value
        shifts = np.concatenate((np.eye(len(NAMES)), -np.eye(len(NAMES)), np.zeros((1, len(NAMES))))) * step
        batch = {
            name: jnp.asarray(model.parameters[name] * (1.0 + shifts[:, i]), precision) for i, name in enumerate(NAMES)
        }
        shifted = np.asarray(jax.jit(jax.vmap(loss))(batch), float)
        assert np.isclose(shifted[-1], float(value), rtol=1e-12 if precision == "float64" else 1e-5)
        for i, name in enumerate(NAMES):
            difference = (shifted[i] - shifted[len(NAMES) + i]) / (2 * step)
            derivative = float(gradient[name]) * model.parameters[name]
            assert np.isfinite(derivative)
            assert abs(difference) > 1e-4 * abs(float(value)), f"{name} does not matter to this loss"
            scale = max(abs(difference), 0.01 * abs(float(value)))
            assert abs(derivative - difference) < agreement * scale, (name, derivative, difference)
