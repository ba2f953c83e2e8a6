"""Derivatives of ``mean_field`` with respect to velocities and diffusivity in a flow, against central differences.

In float64 with a relative step of 1e-4 truncation is about 1e-8 and rounding 1e-8: agreement to 1e-6 is demanded. At
v = 0 and D = 0 the step is absolute.
"""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import make_model, simulate

from exodiff.kernels.faces import bernoulli, crossing_speed

RUN = {"engine": "mean_field", "precision": "float64"}


def _uniform(folder):
    """Between an absorbing and a fixed wall."""
    del folder
    return make_model(
        [5],
        run=RUN,
        boundary={"x_low": "absorbing", "x_high": {"fixed": {"E": 2.0}}},
        parameters={"D": "0.8 um^2/s", "v": "0.5 um/s"},
        flow={"velocity": ["2 * v"]},
        species={"E": {"diffusion": "D", "initial": {"voxel": [2], "count": 10}}},
    )


def _channel(folder):
    """A parabola along a ring."""
    y = (np.arange(3) + 0.5) / 3
    np.save(folder / "v.npy", np.stack([np.broadcast_to(y * (1 - y), (4, 3)), np.zeros((4, 3))]))
    return make_model(
        [4, 3],
        run=RUN,
        boundary={"x": "periodic"},
        parameters={"D": "0.8 um^2/s", "v": 3.0},
        flow={"velocity": {"file": "v.npy", "scale": "v"}},
        species={"E": {"diffusion": "D", "initial": {"voxel": [2, 1], "count": 10}}},
        folder=folder,
    )


@pytest.mark.parametrize(
    ("make", "speeds"), [pytest.param(_uniform, (0.5, 0.0, -2.0), marks=pytest.mark.slow), (_channel, (3.0,))]
)
def test_the_gradient_in_a_flow_is_that_of_finite_differences(tmp_path, make, speeds):
    model = make(tmp_path)
    with jax.enable_x64(True):

        def loss(values):
            found = simulate(model, [1.0], parameters=values, time_step=0.05)["E"][0]
            return (found**2).mean() + found[0, 1].sum()

        compiled, gradient_of = jax.jit(jax.vmap(loss)), jax.jit(jax.grad(loss))
        for v in speeds:
            gradient = gradient_of({"D": jnp.asarray(0.8), "v": jnp.asarray(v)})
            d_shift, v_shift = 1e-4 * np.array([1.0, -1.0, 0.0, 0.0]), 1e-4 * np.array([0.0, 0.0, 1.0, -1.0])
            shifted = np.asarray(compiled({"D": jnp.asarray(0.8 + d_shift), "v": jnp.asarray(v + v_shift)}))
            for name, (high, low) in {"D": shifted[:2], "v": shifted[2:]}.items():
                difference = (high - low) / 2e-4
                assert abs(difference) > 1e-3 * abs(low)
                assert abs(float(gradient[name]) - difference) < 1e-6 * max(abs(difference), abs(low))


def test_the_bernoulli_function_and_its_slope_keep_their_digits():
    """Against 50 digits: 4 units in the last place, its slope 40."""
    grid = np.concatenate((np.logspace(-8, 1.9, 200), [0.2499, 0.2501]))
    for precision in ("float32", "float64"):
        with jax.enable_x64(precision == "float64"), localcontext() as context:
            context.prec = 50
            x = np.concatenate((-grid, [0.0], grid)).astype(precision)
            exact = [(Decimal(float(a)) / (Decimal(float(a)).exp() - 1) if a else Decimal(1)) for a in x]
            slope = [
                (b * (1 - Decimal(float(a))) - b * b) / Decimal(float(a)) if a else Decimal("-0.5")
                for a, b in zip(x, exact, strict=True)
            ]
            value = np.asarray(bernoulli(jnp.asarray(x)))
            derivative = np.asarray(jax.vmap(jax.grad(bernoulli))(jnp.asarray(x)))
        unit = np.finfo(precision).eps
        assert np.allclose(value, np.asarray(exact, float), rtol=4 * unit, atol=0)
        assert np.allclose(derivative, np.asarray(slope, float), rtol=40 * unit, atol=0)


def test_without_diffusion_only_the_flow_crosses_and_derivatives_are_finite():
    slope = jax.grad(crossing_speed, (0, 1))
    for d, v, speed, slopes in [
        (0.0, 0.3, 0.3, (0.0, 1.0)),
        (0.0, -0.3, 0.0, (0.0, 0.0)),
        (0.0, 0.0, 0.0, (0.05, 0.0)),
        (1e-30, 0.1, 0.1, (0.0, 1.0)),
        (1.3, 0.0, 0.065, (0.05, 0.5)),
    ]:
        assert np.isclose(crossing_speed(jnp.asarray(d), jnp.asarray(v), 20.0), speed)
        assert np.allclose(slope(jnp.asarray(d), jnp.asarray(v), 20.0), slopes)
