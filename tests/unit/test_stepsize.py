"""Bounds on the step, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import exodiff as ex
from exodiff.core.health import Health
from exodiff.simulation import moments
from exodiff.start import make_inputs
from exodiff.stepsize import exit_and_hop_rates, largest_exit, step_bounds
from tests.physics.models import make_model


@pytest.fixture(scope="module")
def model():
    return make_model(
        [3],
        spacing=[2.0, 1.0, 1.0],
        parameters={"k": "0.3 /s"},
        cells={"cell": {"motility": "0.05 um^2/s"}},
        species={"A": {"initial": 4, "diffusion": 0.8}, "B": {"initial": 3}, "C": {}},
        reactions=[
            {"equation": "A ->", "rate": "k"},
            {"equation": "A -> C", "rate": "0.2 /s"},
            {"equation": "2 B -> C", "rate": "0.1 um^3/s"},
            {"name": "feed", "equation": "-> C", "rate": "7 /s"},
        ],
    )


def test_each_cause_allows_the_step_of_its_rate(model):
    bounds = {b.cause: b.step_s for b in step_bounds(model.problem, moments(model.problem, model), 0.1, 0.25)}
    longest = -np.log(0.9)  # exit probability 0.1
    assert bounds == pytest.approx(
        {
            "the exit rate of A": longest / 0.5,  # both ways out together
            "the exit rate of B": longest / (2 * 0.1 / 2 * (3 - 1)),  # 2 k (n - 1) / V, V = 2 um^3
            "the exit rate of cell": longest / (2 * 2 * 0.05 / 2.0**2),  # 2 faces of 2 um, over a pair of steps
            "the hop limit of species.A": 0.25 * 2.0**2 / 0.8,
        },
        rel=1e-6,
    )


def test_the_largest_exit_of_a_step_is_that_of_the_shortest_lived(model):
    found = largest_exit(model.problem, moments(model.problem, model), 0.2)
    assert found == (pytest.approx(1 - np.exp(-0.5 * 0.2), rel=1e-6), "A")
    still = make_model([3], species={"A": {"initial": 4, "diffusion": 0.8}})
    assert largest_exit(still.problem, moments(still.problem, still), 0.2) is None


def test_the_shortest_bound_comes_first_and_is_the_automatic_step(model):
    bounds = step_bounds(model.problem, moments(model.problem, model), 0.1, 0.25)
    assert [b.step_s for b in bounds] == sorted(b.step_s for b in bounds)
    assert model.problem.step_bound_s == bounds[0].step_s == pytest.approx(-np.log(0.9) / 0.5)


def test_a_fixed_step_is_refused_above_half_of_a_molecule_leaving(model):
    limit = np.log(2.0) / 0.5
    assert ex.simulate(model, [4.0], time_step=0.999 * limit).times.tolist() == [4.0]
    with pytest.raises(ex.ConfigError, match=rf"exceeds {limit:.3g} s, the exit rate of A"):
        ex.simulate(model, [4.0], time_step=1.001 * limit)


def test_limits_of_a_state_are_maxima_over_what_is_there(model):
    inputs, zero = make_inputs(model, None, "float32"), jnp.zeros((), jnp.float32)

    def limits(a, b, cell):
        counts = jnp.zeros((4, 3, 1, 1), jnp.int32)
        return exit_and_hop_rates(model.problem, inputs, counts.at[:, 1, 0, 0].set(jnp.asarray([a, b, 0, cell])), zero)

    assert limits(0, 0, 0).exit_per_s == 0
    assert limits(1, 0, 0).exit_per_s == pytest.approx(0.5)
    assert limits(1, 9, 0).exit_per_s == pytest.approx(2 * 0.1 / 2 * 8)
    assert limits(0, 0, 1).exit_per_s == pytest.approx(2 * 2 * 0.05 / 4)
    assert limits(0, 0, 0).hop_excess_per_s == pytest.approx(0.8 / 4 / 0.25)
    assert limits(0, 0, 0).source_per_s == pytest.approx(7.0)
    assert limits(0, 0, 0).health == Health.GOOD
    assert limits(-1, 0, 0).health == Health.OVERFLOW


@pytest.mark.parametrize(
    ("k", "health"), [(-1.0, Health.NEGATIVE_RATE), (np.nan, Health.NOT_A_NUMBER), (np.inf, Health.NOT_A_NUMBER)]
)
def test_wrong_rates_are_seen(model, k, health):
    inputs = make_inputs(model, None, "float32")
    inputs = inputs._replace(parameters={**inputs.parameters, "k": jnp.asarray(k, jnp.float32)})
    counts = jnp.ones((4, 3, 1, 1), jnp.int32)
    assert exit_and_hop_rates(model.problem, inputs, counts, jnp.zeros((), jnp.float32)).health == health
