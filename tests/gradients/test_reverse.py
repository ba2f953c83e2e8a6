"""Reverse mode of ``leap_st`` against its forward mode: the same trajectories, so the same numbers up to rounding.

A parameter with one value in all voxels has, as a field, derivatives whose sum is that by the number.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import box_of, make_model, simulate

import exodiff as ex
from exodiff.simulation import _pulled, _with_pull_back

TIMES, STEP = [0.5, 1.5], 0.125


@functools.cache
def _model():
    """Hops, a source with bursts, a chain, and a modulated channel, with a copy or more of each."""
    return make_model(
        [3],
        parameters={"k": "40 /s", "m": 2.0, "k_on": "0.4 um^3/s", "K": 5.0, "D": "0.3 um^2/s", "g": "0.05 /s"},
        cells={"sender": {}},
        place=[{"cells": "sender", "box": box_of(0)}],
        species={"A": {"diffusion": "D"}, "R": {"initial": 12}, "B": {}},
        reactions=[
            {"equation": "sender -> sender + poisson(m) A", "rate": "k"},
            {"equation": "A + R -> R + B", "rate": "k_on"},
            {"equation": "B ->", "propensity": "g * A * B / (1 + B / K)"},
        ],
    )


def _loss(traj):
    return (traj["B"][:, :, 1].astype(float) ** 2).sum(1) + traj["A"][:, -1].astype(float) @ jnp.asarray([1.0, 2, 3])


def _gradient(values, loss=_loss, n=4):
    return ex.grad(loss, _model(), values, seed=3, n=n, times=TIMES, time_step=STEP)


@functools.cache
def _forwards():
    names = ("k", "m", "k_on", "K", "D", "g")
    return _gradient({name: _model().parameters[name] for name in names})


def test_one_voxel_goes_back_as_it_goes_forwards():
    """A source and pairs, whose exits outgrow the step: pairs of steps are divided."""
    model = make_model(
        [1],
        parameters={"k": "60 /s", "d": "0.05 um^3/s"},
        species={"X": {}},
        reactions=[{"equation": "-> X", "rate": "k"}, {"equation": "2 X ->", "rate": "d"}],
    )

    def square(traj):
        return traj["X"][:, -1, 0].astype(float) ** 2

    def ask(k):
        return ex.grad(square, model, {"k": k, "d": 0.05}, seed=3, n=4, times=[1.0], time_step=0.25)

    forwards, backwards = ask(60.0), ask(np.full(1, 60.0))
    compiled = [one.whole._cache_size() for one in (_with_pull_back, _pulled)]
    ask(np.full(1, 61.0))
    assert [one.whole._cache_size() for one in (_with_pull_back, _pulled)] == compiled  # which takes a minute
    most = np.asarray(simulate(model, [0.5], seed=3, replicates=4, time_step=0.25)["X"]).max()
    assert 2 * 0.05 * most * 0.25 > np.log(2) / 2  # of the step that stands for a probability of a half
    assert forwards.value["k"] != 0
    for name, value in forwards.value.items():
        assert float(np.sum(backwards.value[name])) == pytest.approx(value, rel=1e-4), name


@pytest.mark.slow
def test_a_field_has_the_derivative_of_its_number_spread_over_the_voxels():
    k, k_on = _model().parameters["k"], _model().parameters["k_on"]
    found = _gradient({"k": np.full(3, k), "k_on": np.full(3, k_on), "D": 0.3, "m": 2.0, "K": 5.0})
    forwards = _forwards()
    assert forwards.mode == "forward"
    assert found.mode == "reverse"
    assert found.loss == pytest.approx(forwards.loss, rel=1e-6)
    for name, value in found.value.items():
        assert np.sum(value) == pytest.approx(forwards.value[name], rel=1e-4), name
        assert forwards.value[name] != 0
    assert found.value["k"].shape == found.standard_error["k"].shape == (3,)
    assert found.value["k"][0] != 0
    assert np.all(found.value["k"][1:] == 0)  # no sender there
    assert np.all(found.value["k_on"] != 0)


@pytest.mark.slow
def test_jax_grad_of_a_trajectory_goes_through_a_field():
    def loss(k):
        values = {"k": k, "k_on": jnp.float32(0.4)}
        found = simulate(_model(), TIMES, parameters=values, seed=3, replicates=4, estimator="leap_st", time_step=STEP)
        return _loss(found).mean()

    found = jax.jit(jax.grad(loss))(jnp.full(3, 40.0, jnp.float32))
    assert float(found.sum()) == pytest.approx(_forwards().value["k"], rel=1e-4)


@pytest.mark.slow
def test_several_numbers_are_observed_at_once():
    """The Jacobian of two numbers, one pull-back each."""

    def two(values):
        def observe(traj):
            return traj["A"][:, -1, :2].astype(float)

        return ex.expect(_model(), observe, values, seed=3, n=4, times=TIMES, time_step=STEP)

    forwards = jax.jacfwd(two)({"k": 40.0})["k"]
    backwards = jax.jacfwd(two)({"k": jnp.full(3, 40.0)})["k"]
    assert backwards.shape == (2, 3)
    assert np.allclose(backwards.sum(1), forwards, rtol=1e-4)


def test_where_a_field_would_not_do_it_is_refused():
    model = _model()
    with pytest.raises(ex.ConfigError, match=r"parameters\['D'\]: a value a voxel"):
        simulate(model, [1.0], parameters={"D": np.full(3, 0.3)})
    with pytest.raises(ex.ConfigError, match="is not a number"):
        simulate(model, [1.0], parameters={"k": np.full(4, 0.3)})
    for estimator in ("score", "cfd"):
        with pytest.raises(ex.ConfigError, match="not one a voxel"):
            ex.grad(_loss, model, {"k": np.full(3, 0.3)}, n=4, times=[1.0], estimator=estimator)
