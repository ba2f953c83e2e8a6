"""Draws from the posterior: their law, their diagnosis, and their way to files and to ArviZ."""

import json
import sys
from dataclasses import replace
from functools import partial

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import gamma

import exodiff as ex
from exodiff.inference.fit import Fitter, make_settings
from exodiff.inference.levenberg_marquardt import maximise
from exodiff.inference.nuts import Draws, log_posterior, of_noise, of_simulations
from exodiff.inference.objective import Objective
from exodiff.inference.synthetic import make_synthetic
from exodiff.viz.fits import make_fit_figures

pytest.importorskip("numpyro")

PARAMETERS = {
    "k": {"value": "0.3 /s", "prior": {"gamma": {"shape": 2.0, "scale": "0.2 /s"}}},
    "g": {"value": "0.1 /s", "bounds": ["0.01 /s", "1 /s"]},
    "phi": {"value": 0.2, "prior": {"beta": {"a": 2.0, "b": 5.0}}},
}
MODEL = {
    "schema": 1,
    "run": {"duration": "100 s"},
    "lattice": {"shape": [1], "spacing": 1.0},
    "parameters": PARAMETERS,
    "species": {"A": {}, "B": {}},
    "reactions": [{"equation": "-> A", "rate": "k"}, {"equation": "A -> B", "rate": "g"}],
    "observables": {"a": {"value": "total(A)"}, "b": {"value": "total(B)"}},
}


@pytest.fixture(scope="module")
def fit():
    """Three events in all, so the posterior is far from normal."""
    return ex.fit(ex.Model.from_dict(MODEL), ex.Data("a", [20.0], [3.0]), ["k"], uncertainty="nuts", seed=1)


def test_draws_follow_the_conjugate_posterior(fit):
    """Poisson counts of mean c k with a gamma prior of k: gamma with the sum of shapes and of rates.

    A quantile of n effective draws lies at a probability with the standard error sqrt(p (1 - p) / n): 4.5 of them over
    9 comparisons are a false alarm in 1 of 16 000. The normal law of the estimate is off by 9 of them at 5 %.
    """
    (prediction,) = fit.data[0].prediction[0] / fit.estimate["k"]
    law = gamma(2.0 + 3.0, scale=1 / (1 / 0.2 + prediction))
    assert fit.draws.effective[0] > 400
    for p in np.arange(0.1, 1.0, 0.1):
        error = np.sqrt(p * (1 - p) / fit.draws.effective[0])
        assert abs(np.mean(fit.samples["k"] < law.ppf(p)) - p) < 4.5 * error
    low, high = fit.interval(0.9)["k"]
    assert abs(law.cdf(low) - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / fit.draws.effective[0])
    assert abs(law.cdf(high) - 0.95) < 4.5 * np.sqrt(0.05 * 0.95 / fit.draws.effective[0])


def synthetic_density(fitter, data, number):
    """The log posterior by the synthetic likelihood, from simulations at the closure's optimum; and that."""
    objective = Objective(fitter.predictor, fitter.priors, data)
    at = maximise(objective.evaluate, objective.evaluate(fitter.start)).at
    simulated = fitter.predictor.simulate(objective.values(at.u), number, seed=3)
    law = make_synthetic(objective, at, simulated, np.random.default_rng(3))
    return jax.jit(jax.vmap(partial(log_posterior, objective, of_simulations(law)))), at, law.correct(at)


def mean_and_sd(density, centre, reach):
    """Of one coordinate, by a sum over a grid."""
    u = centre + reach * np.linspace(-5.0, 5.0, 101)
    weights = np.exp(np.asarray(found := density(jnp.asarray(u)[:, None]), float) - np.max(found))
    mean = np.average(u, weights=weights)
    return mean, np.sqrt(np.average((u - mean) ** 2, weights=weights))


LATE = ex.Data("a", 80.0 + 0.5 * np.arange(21), np.full(21, 50.0))
# Counts of mean m and covariance m r^|i - j| with r = exp(-0.5 g): the variance of their best mean, by m^2
OF_LATE = (1 + np.exp(-0.05)) / (21 - 19 * np.exp(-0.05)) / 50.0
MODEL_OF_LATE = {**MODEL, "parameters": {**PARAMETERS, "k": "5 /s"}}


def test_the_synthetic_density_knows_how_counts_depend_on_each_other():
    """Counts of one tissue 0.5 s apart: independent ones would give an interval that is 3.7 times too narrow.

    Of 21 values from 400 simulations a variance is known to sqrt(2 / 379) = 7 %, an sd to 4 %: five of them.
    """
    fitter = Fitter(ex.Model.from_dict(MODEL_OF_LATE), [LATE], make_settings(["k"], method="synthetic"))
    density, at, corrected = synthetic_density(fitter, fitter.data, 400)
    mean, sd = mean_and_sd(density, at.u, 0.15)
    assert sd == pytest.approx(OF_LATE**0.5, rel=0.2)
    assert sd > 3 * np.linalg.inv(at.curvature).item() ** 0.5
    # where the closure is nearly linear, the normal law of the last step
    assert sd == pytest.approx(corrected.covariance.item() ** 0.5, rel=0.05)
    assert mean == pytest.approx(corrected.u.item(), abs=0.2 * sd)


@pytest.mark.slow
def test_the_synthetic_density_lies_where_the_simulations_say():
    """Pairs of few molecules react as n (n - 1), which the closure takes for n^2: its own density misses the truth."""
    model = ex.Model.from_dict(
        {
            "schema": 1,
            "run": {"duration": "2 s"},
            "lattice": {"shape": [1], "spacing": 1.0},
            "parameters": {"k": {"value": "0.1 um^3/s", "bounds": ["0.001 um^3/s", "10 um^3/s"]}},
            "species": {"A": {"initial": 8}, "pairs": {}},
            "reactions": [{"equation": "2 A -> pairs", "rate": "k"}],
            "observables": {"pairs": {"value": "total(pairs)"}},
        }
    )
    design = ex.Data("pairs", np.full(3000, 2.0), np.ones(3000), replicates=np.arange(3000))
    fitter = Fitter(model, [design], make_settings(["k"], method="synthetic"))
    density, at, corrected = synthetic_density(fitter, fitter.simulate_data(np.array([0.1]), seed=7), 3000)
    truth = fitter.priors[0].to_coordinate(0.1)
    mean, sd = mean_and_sd(density, corrected.u, corrected.covariance.item() ** 0.5)
    assert at.u.item() + 5 * sd < truth
    # the offset is that at the closure's optimum, which leaves a tenth of the bias
    assert abs(mean - truth) < 3 * sd + 0.1 * (truth - at.u.item())


@pytest.mark.slow
def test_draws_of_the_synthetic_density_have_its_width():
    fit = ex.fit(
        ex.Model.from_dict(MODEL_OF_LATE), LATE, ["k"], method="synthetic", uncertainty="nuts", calibrate=400, seed=2
    )
    assert np.log(fit.samples["k"]).std() == pytest.approx(OF_LATE**0.5, rel=0.2)
    assert "nuts from 400 simulations" in fit.summary()
    assert not fit.warnings


def test_chains_that_agree_are_told_and_others_warned_of(fit):
    assert "4 chains of 1000 draws, none diverged; R-hat and effective draws: k 1.00" in fit.summary()
    assert not fit.draws.warnings
    apart = Draws(fit.draws.u, np.array([1.2]), np.array([30.0]), divergences=7)
    assert "R-hat 1.200, 30 effective draws" in apart.warnings[0]
    assert apart.warnings[1].startswith("7 draws diverged")


DATA = [
    ex.Data("a", [5.0, 20.0], [2.0, np.nan]),
    ex.Data("a", [5.0], [4.0], {"negative_binomial": {"dispersion": "phi"}}),
    ex.Data("a", [20.0], [2.5], {"gaussian": {"sd": "0.3 + phi"}}),
    ex.Data("a", [5.0, 20.0], [1.5, 2.0], "gaussian", sd=[0.5, 0.6]),
    ex.Data("b", [5.0, 20.0, 20.0], [0.1, 1.5, 2.5], {"lognormal": {"sigma": "phi", "detection_limit": 0.3}}),
    ex.Data(("a", "b"), [5.0, 20.0], [[3.0, 1.0], [4.0, np.nan]], "multinomial"),
    ex.Data(("a", "b"), [20.0], [[3.0, 4.0]], {"dirichlet_multinomial": {"dispersion": "phi"}}),
]


def test_the_density_for_the_sampler_is_that_of_the_search():
    """Every noise and kind of prior at once, in float32: nine values of log density of the order of 1."""
    settings = make_settings(["k", "g", "phi"], uncertainty="fisher")
    fitter = Fitter(ex.Model.from_dict(MODEL), DATA, settings)
    objective = Objective(fitter.predictor, fitter.priors, fitter.data)
    for off in ([0.0, 0.0, 0.0], [0.5, -0.7, 0.3], [-0.4, 0.6, -0.8]):
        at = objective.evaluate(fitter.start + np.array(off))
        assert float(log_posterior(objective, of_noise(objective), jnp.asarray(at.u))) == pytest.approx(
            at.log_posterior, abs=2e-4
        )


def test_where_the_closure_has_no_result_the_density_is_zero():
    settings = make_settings(["g"], uncertainty="fisher")
    fitter = Fitter(ex.Model.from_dict(MODEL), [DATA[0]], settings)
    fitter.predictor.time_step_s = 5.0
    objective = Objective(fitter.predictor, fitter.priors, fitter.data)
    assert (
        float(jax.jit(partial(log_posterior, objective, of_noise(objective)))(jnp.asarray(fitter.start + 5.0)))
        == -np.inf
    )


def test_draws_reach_files_and_figures(fit, tmp_path):
    fit.save(tmp_path / "fit.h5")
    with h5py.File(tmp_path / "fit.h5") as file:
        assert file.attrs["chains"] == 4
        assert np.array_equal(file["samples"][0], fit.samples["k"])
    assert json.loads(json.dumps(fit.as_dict()))["draws"]["divergences"] == 0
    assert {path.name for path in make_fit_figures(tmp_path)} == {"data.png", "spectrum.png"}


def test_a_fit_goes_to_arviz_with_its_chains(fit, monkeypatch):
    pytest.importorskip("xarray")
    told = fit.to_arviz()
    assert dict(told.posterior["k"].sizes) == {"chain": 4, "draw": 1000}
    assert np.array_equal(told.posterior["k"].values.ravel(), fit.samples["k"])
    assert told.observed_data["data_0"].values.tolist() == [[3.0]]
    assert dict(replace(fit, draws=None).to_arviz().posterior["k"].sizes) == {"chain": 1, "draw": 4000}
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ex.ConfigError, match=r"pip install 'exodiff\[bayes\]'"):
        fit.to_arviz()


def test_without_the_sampler_a_fit_says_what_to_install_before_it_begins(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(ex.ConfigError, match=r"nuts needs the package numpyro.*'exodiff\[bayes\]'"):
        ex.fit(ex.Model.from_dict(MODEL), DATA[0], ["k"], uncertainty="nuts")
