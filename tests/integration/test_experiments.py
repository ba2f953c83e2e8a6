"""``ex.design`` against the Fisher information of closed forms."""

import numpy as np
import pytest

import exodiff as ex

K, G = 10.0, 0.2
TIMES = np.array([2.0, 10.0])


@pytest.fixture(scope="module")
def fit():
    model = ex.Model.from_dict(
        {
            "schema": 1,
            "run": {"duration": "100 s", "time_step": "0.25 s"},
            "lattice": {"shape": [1], "spacing": 1.0},
            "parameters": {"k": f"{K} /s", "g": f"{G} /s", "factor": 1.0},
            "species": {"A": {}},
            "reactions": [{"equation": "-> A", "rate": "factor * k"}, {"equation": "A ->", "rate": "g"}],
            "observables": {"n": {"value": "total(A)"}},
        }
    )
    return ex.fit(model, ex.Data("n", TIMES, np.round(_mean(TIMES))), ["k", "g"], uncertainty="fisher")


def _mean(t, k=K, g=G):
    return k / g * (1 - np.exp(-g * t))


def _expected(fit, times, factor=1.0):
    """Standard error of log g with Poisson counts at more times, from the covariance of the fit."""
    k, g = fit.estimate["k"], fit.estimate["g"]
    mean = factor * _mean(times, k, g)
    by_g = -mean + factor * k * times * np.exp(-g * times)
    jacobian = np.stack([mean, by_g], axis=1)
    information = np.linalg.inv(fit.covariance) + (jacobian / mean[:, None]).T @ jacobian
    return np.sqrt(np.linalg.inv(information)[1, 1])


def test_the_best_time_and_dose_are_those_of_the_closed_form(fit):
    """The step of the mean field leaves 1e-3 of the derivatives."""
    times = {"at once": np.array([1.0]), "later": np.array([20.0]), "much later": np.array([80.0])}
    candidates = {name: ex.Data("n", t, None) for name, t in times.items()}
    candidates["a strong source"] = (ex.Data("n", [20.0], None), {"factor": 10.0})
    found = ex.design(fit, "g", candidates)
    expected = {name: _expected(fit, t) for name, t in times.items()}
    expected["a strong source"] = _expected(fit, np.array([20.0]), 10.0)
    assert found.standard_error == fit.standard_error["g"]
    for row in found.rows:
        assert row.standard_error == pytest.approx(expected[row.name], rel=3e-3), row.name
        assert row.share == pytest.approx(row.standard_error / fit.standard_error["g"])
    assert [row.name for row in found.rows] == sorted(expected, key=expected.__getitem__)
    assert found.rows[0].name == "a strong source"
    assert expected["at once"] > 1.05 * expected["much later"]
    assert repr(found).startswith("standard error of log g: now ")


def test_what_was_not_fitted_or_does_not_exist_is_refused(fit):
    data = ex.Data("n", [1.0], None)
    with pytest.raises(ex.ConfigError, match="'factor' was not fitted; choose one of k, g"):
        ex.design(fit, "factor", {"a": data})
    with pytest.raises(ex.ConfigError, match="candidates: dose: there is no such parameter"):
        ex.design(fit, "g", {"a": (data, {"dose": 1.0})})
    with pytest.raises(ex.ConfigError, match="there are none"):
        ex.design(fit, "g", {})
    with pytest.raises(ex.ConfigError, match="'m' is no observable"):
        ex.design(fit, "g", {"a": ex.Data("m", [1.0], None)})
    with pytest.raises(ex.ConfigError, match="outside the simulated time"):
        ex.design(fit, "g", {"a": ex.Data("n", [1e3], None)})
