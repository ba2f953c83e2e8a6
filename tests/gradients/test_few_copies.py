"""``leap_st`` says where a curved loss reads too few copies, and is as wrong there as it says."""

import warnings

import pytest
from models import make_model

import exodiff as ex

N = 4096


def _births(voxels, mean):
    """Births and deaths at balance after a while: Poisson numbers."""
    return make_model(
        [voxels],
        parameters={"k": f"{mean} /s", "g": "1 /s"},
        species={"X": {}},
        reactions=[{"equation": "-> X", "rate": "k"}, {"equation": "X ->", "rate": "g"}],
        observables={"all": {"value": "total(X)"}},
    )


def _ask(loss, model, estimator="leap_st", n=N):
    k = model.parameters["k"]
    return ex.grad(loss, model, {"k": k}, seed=3, n=n, estimator=estimator, times=[3.0], time_step=0.25)


def _square(traj):
    return (traj["X"][:, -1].astype(float) ** 2).sum(1)


def _square_of_all(traj):
    return traj.total("X")[:, -1].astype(float) ** 2


def _square_of_observable(traj):
    return traj.observables["all"][:, -1] ** 2


def test_a_squared_loss_of_few_copies_warns_and_loses_a_part():
    """At 0.16 copies 17 % of the derivative are lost; the master equation says how much it should be."""
    model = _births(1, 0.16)
    with pytest.warns(UserWarning, match=r"curved and reads about 0\.1\d copies"):
        found = _ask(_square, model, n=4 * N)
    truth = _ask(_square, model, "fsp")
    lost = 1 - found.value["k"] / truth.value["k"]
    assert 0.05 < lost < 0.3
    assert found.value["k"] + 4 * found.standard_error["k"] < truth.value["k"]


@pytest.mark.parametrize("loss", [_square_of_all, _square_of_observable])
def test_the_sum_over_voxels_counts(loss):
    """64 voxels of 0.1 copies: their sum has 6."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ask(loss, _births(64, 0.1), n=64)


def test_each_voxel_alone_warns():
    with pytest.warns(UserWarning, match=r"reads about 0\.\d+ copies"):
        _ask(_square, _births(64, 0.1), n=64)


def test_a_mean_of_few_copies_is_right_and_does_not_warn():
    found = _ask(lambda traj: traj.total("X")[:, -1], _births(1, 0.16))
    truth = _ask(lambda traj: traj.total("X")[:, -1], _births(1, 0.16), "fsp")
    assert abs(found.value["k"] - truth.value["k"]) < 0.02 * truth.value["k"] + 4 * found.standard_error["k"]
