"""Fits of small models: they find the truth, say what they cannot know, and refuse what is wrong."""

import csv
import json
import re
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff import cli
from exodiff.config.fit import Fit
from exodiff.config.load import config_hash, dump, from_mapping
from exodiff.inference import sbc
from exodiff.inference.command import fit_model
from exodiff.inference.fit import Fitter
from exodiff.inference.prediction import Predictor
from exodiff.inference.read import read_data
from exodiff.inference.unfinished import Unfinished
from exodiff.viz.fits import make_fit_figures

BIRTH_DEATH = {
    "schema": 1,
    "run": {"duration": "100 s", "observe_every": "20 s", "replicates": 3},
    "lattice": {"shape": [1], "spacing": 1.0},
    "parameters": {
        "k": "5 /s",
        "g": {"value": "0.1 /s", "prior": {"lognormal": {"median": "0.1 /s", "sigma": 1.0}}},
        "unused": "1 /s",
    },
    "species": {"A": {}},
    "reactions": [{"equation": "-> A", "rate": "k"}, {"equation": "A ->", "rate": "g"}],
    "observables": {"n": {"value": "total(A)"}, "dose": {"value": "total(A) / 5"}},
}
START = [("k", 5), ("g", 0.1)]
TIMES = np.array([2.0, 5.0, 10.0, 20.0, 40.0, 80.0])
TRUE_K, TRUE_G, TISSUES = 10.0, 0.2, 40
MEAN = TRUE_K / TRUE_G * (1 - np.exp(-TRUE_G * TIMES))


@pytest.fixture(scope="module")
def model():
    return ex.Model.from_dict(BIRTH_DEATH)


@pytest.fixture(scope="module")
def counts():
    """One count a tissue and time from the exact Poisson law, each tissue measured once."""
    values = np.random.default_rng(0).poisson(np.tile(MEAN, TISSUES))
    return ex.Data("n", np.tile(TIMES, TISSUES), values, replicates=np.arange(len(values)))


LATE = 81.0 + 0.5 * np.arange(21)


@pytest.fixture(scope="module")
def fitter(counts):
    """Compiled once for the times of the counts, and for late ones close together."""
    fitted = {**BIRTH_DEATH, "fit": {"parameters": ["k", "g"], "uncertainty": "fisher"}}
    model = ex.Model.from_dict(fitted)
    late = ex.Data("n", LATE, np.full(len(LATE), 50.0), name="late")
    assert model.config.fit is not None
    return Fitter(model, [counts, late], model.config.fit)


def fitted_with(fitter, data, **settings):
    fitter.settings = Fit(parameters=("k", "g"), **settings)
    return fitter.fit(data)


def information_of_the_closed_form():
    """Fisher information about (log k, log g) of the Poisson counts."""
    by_k = MEAN
    by_g = -MEAN + TRUE_K * TIMES * np.exp(-TRUE_G * TIMES)
    jacobian = np.stack([by_k, by_g], axis=1)
    return TISSUES * (jacobian / MEAN[:, None]).T @ jacobian


def test_a_fit_of_poisson_counts_finds_the_truth_with_the_error_of_the_closed_form(model, counts):
    fit = ex.fit(model, counts, ["k", "g"], uncertainty="fisher")
    # the prior of g (sigma 1) and the default one of k (sigma 2) add to the information
    expected = np.linalg.inv(information_of_the_closed_form() + np.diag([0.25, 1.0]))
    # the information is taken at the estimate, a few per cent from the truth; the step of the closure is first a 1e-3
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), np.sqrt(np.diag(expected)), rtol=0.1)
    off = np.log([fit.estimate["k"] / TRUE_K, fit.estimate["g"] / TRUE_G])
    # chi square of two degrees of freedom: above 18.4 once in 10,000
    assert off @ np.linalg.inv(expected) @ off < 18.4
    low, high = fit.interval(0.9)["k"]
    assert low < fit.estimate["k"] < high
    assert np.isclose(np.log(high / low), 2 * 1.6449 * fit.standard_error["k"], rtol=1e-3)
    spread = np.log(fit.samples["k"]).std()
    assert np.isclose(spread, fit.standard_error["k"], rtol=5 / np.sqrt(2 * 4000))


def test_simulations_at_the_estimate_agree_where_the_closure_is_right(fitter):
    """The closure is exact here, so the sandwich must be the Fisher covariance, to the error of 400 simulations.

    A variance from 400 draws has a relative error of sqrt(2 / 400) = 7 %: 30 % is allowed. That the simulations are
    few adds 40 tissues a time / 400 = 10 %, and as much again because their times share a history.
    """
    data = [fitter.data[0]]
    plain = fitted_with(fitter, data, uncertainty="fisher")
    fit = fitted_with(fitter, data, calibrate=400)
    ratio = np.diag(fit.covariance) / np.diag(plain.covariance)
    assert np.all((ratio > 0.8) & (ratio < 1.55))
    moved = np.log([fit.estimate[name] / plain.estimate[name] for name in ("k", "g")])
    assert np.all(np.abs(moved) < 4 * np.sqrt(np.diag(fit.covariance)))
    assert np.all(moved != 0)
    few = fitted_with(fitter, data, calibrate=40)
    assert any("finite number of simulations; raise calibrate" in warning for warning in few.warnings)
    assert np.all(np.diag(few.covariance) > 1.2 * np.diag(plain.covariance))


def test_what_would_be_measured_again_holds_the_uncertainty_of_the_estimate(fitter):
    """One count of mean m, from which m is known to m as well: another one scatters about it by 2 m.

    The quantiles of 400 draws lie at 5 % with an error of 1 %, so their distance has one of 6 %.
    """
    one = fitter.data[0].rows(np.arange(len(fitter.data[0].times_s)) == 5)
    fit = fitted_with(fitter, [one], calibrate=400)
    ((mean,), (low,), (high,)) = (fit.data[0].prediction[0], fit.data[0].low[0], fit.data[0].high[0])
    j = np.array([1.0, -1.0])
    known = mean**2 * j @ fit.covariance @ j
    assert 0.7 * mean < known < 1.1 * mean
    assert (high - low) / (2 * 1.6449) == pytest.approx(np.sqrt(mean + known), rel=0.2)
    assert low < mean < high


def test_one_tissue_measured_many_times_is_not_many_tissues(fitter):
    """Late counts of one tissue 0.5 s apart are nearly the same count: only the sandwich knows it.

    Of k / g, the error is that of a mean of numbers that correlate by exp(-g times their distance), with the prior as
    it is. The other direction is the prior's.
    """
    data = [fitter.data[0].rows(np.zeros(len(fitter.data[0].times_s), bool)), fitter.data[1]]
    plain = fitted_with(fitter, data, uncertainty="fisher")
    fit = fitted_with(fitter, data, calibrate=400)
    correlation = np.exp(-plain.estimate["g"] * np.abs(LATE[:, None] - LATE[None, :]))
    direction = np.array([1.0, -1.0])
    found = direction @ fit.covariance @ direction / (direction @ plain.covariance @ direction)
    assert np.isclose(found, correlation.sum() / len(LATE), rtol=0.3)
    assert found > 10


@pytest.mark.parametrize(
    ("settings", "labels", "warns"),
    [
        ({"uncertainty": "fisher"}, ["0", "0"], True),
        ({"uncertainty": "fisher"}, ["0", "1"], False),
        ({"calibrate": 400}, ["0", "0"], False),
    ],
)
def test_counts_of_one_tissue_are_not_silently_multiplied(fitter, settings, labels, warns):
    times = TIMES[:2]
    data = replace(fitter.data[0].rows(np.arange(2)), times_s=times, replicates=np.array(labels))
    told = [w for w in fitted_with(fitter, [data], **settings).warnings if "of the same replicate" in w]
    assert bool(told) == warns


def test_the_synthetic_likelihood_weighs_counts_that_depend_on_each_other(fitter):
    """Late counts have the covariance m exp(-g times their distance), so k / g has the error of weighted least squares.

    An inverse covariance of 21 values from 400 draws is known to sqrt(2 / 379) = 7 %: four times that is allowed.
    """
    data = [fitter.data[0].rows(np.zeros(len(fitter.data[0].times_s), bool)), fitter.data[1]]
    fit = fitted_with(fitter, data, method="synthetic", calibrate=400)
    k, g = fit.uncorrected
    covariance = k / g * np.exp(-g * np.abs(LATE[:, None] - LATE[None, :]))
    information = (k / g) ** 2 * np.linalg.inv(covariance).sum()
    direction = np.array([1.0, -1.0])
    assert np.isclose(direction @ fit.covariance @ direction, 1 / information, rtol=0.3)
    with pytest.raises(ex.ConfigError, match=r"40 simulations are too few for the covariance of 21 values"):
        fitted_with(fitter, data, method="synthetic", calibrate=40)


def test_the_number_of_simulations_tells_alike_however_tissues_are_gathered(fitter):
    """The same counts, where half of the tissues have a row without a value: all come from the same simulations."""
    times, tissues = fitter.data[0].times_s[:6], np.arange(40)
    values = np.random.default_rng(3).poisson(np.tile(MEAN, (40, 1)))
    labels = np.repeat(tissues, 6).astype(str)
    design = replace(fitter.data[0].rows(np.arange(240)), times_s=np.tile(times, 40), replicates=labels)
    extra = replace(fitter.data[1].rows(np.zeros(20, int)), values=np.full((20, 1), np.nan))
    gathered = [design.with_values(values.reshape(-1, 1).astype(float))]
    apart = [*gathered, replace(extra, replicates=tissues[:20].astype(str))]
    found = [fitted_with(fitter, data, method="synthetic", calibrate=40) for data in (gathered, apart)]
    np.testing.assert_allclose(found[0].covariance, found[1].covariance, rtol=1e-5)
    np.testing.assert_allclose(found[0].u, found[1].u, atol=1e-5)


def test_simulations_take_off_the_bias_of_the_closure():
    """Pairs of few molecules react as n (n - 1), which the closure takes for n^2: its rate is far too low."""
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
    design = ex.Data("pairs", np.full(1000, 2.0), np.ones(1000), replicates=np.arange(1000))
    assert model.config.fit is None
    fitter = Fitter(model, [design], Fit(parameters=("k",), calibrate=1000))
    for method in ("closure", "synthetic"):
        fitter.settings = Fit(parameters=("k",), calibrate=1000, method=method)
        fit = fitter.fit(fitter.simulate_data(np.array([0.1]), seed=7))
        (slope,) = (fit.priors[0].slope(fit.u[:1]) / fit.estimate["k"]).tolist()
        error = fit.standard_error["k"] * slope
        assert np.log(fit.uncorrected[0] / 0.1) < -0.1
        assert error < 0.04
        # what one step leaves of the bias is of its second order, under a fifth of it
        assert abs(np.log(fit.estimate["k"] / 0.1)) < 3 * error + 0.03


def test_a_correction_too_large_for_one_step_is_told(fitter, monkeypatch):
    monkeypatch.setattr("exodiff.inference.cautions.MOST_SHIFT", 0.0)
    data = [fitter.data[0]]
    fit = fitted_with(fitter, data, calibrate=400)
    assert sum("standard errors, which is much for one step" in warning for warning in fit.warnings) == 2


def test_a_search_goes_on_where_rates_outgrow_the_step_of_the_start():
    """The step of the start, a tenth of 1/g, is too long from seven times its g on; the data lie at twenty times.

    A pair of the finer steps, 2 g dt = 0.53, is wrong in g by up to (2 g dt)^2 / 12 = 2.3 %.
    """
    k, g = 100.0, 2.0
    times = np.array([0.2, 0.5, 1.0, 2.0, 4.0])
    model = ex.Model.from_dict(BIRTH_DEATH)
    data = ex.Data("n", times, k / g * (1 - np.exp(-g * times)), {"gaussian": {"sd": 0.1}})
    fit = ex.fit(model, data, ["k", "g"], uncertainty="fisher")
    assert np.allclose([fit.estimate["k"], fit.estimate["g"]], [k, g], rtol=0.023)


@pytest.mark.parametrize("noise", [{"gaussian": {"sd": 2.0}}, {"gaussian": {"sd": "spread"}}, "gaussian"])
def test_gaussian_noise_with_its_sd_given_fitted_or_in_the_data(noise):
    model = ex.Model.from_dict(
        {**BIRTH_DEATH, "parameters": {**BIRTH_DEATH["parameters"], "spread": 1.0}, "run": {"duration": "100 s"}}
    )
    generator = np.random.default_rng(4)
    values = np.tile(MEAN, TISSUES) + 2.0 * generator.standard_normal(6 * TISSUES)
    values[7] = np.nan
    sd = np.full(values.shape, 2.0) if noise == "gaussian" else None
    data = ex.Data("n", np.tile(TIMES, TISSUES), values, noise, sd=sd)
    wanted = ["k", "g", *(["spread"] if noise == {"gaussian": {"sd": "spread"}} else [])]
    fit = ex.fit(model, data, wanted, uncertainty="fisher")
    truth = {"k": TRUE_K, "g": TRUE_G, "spread": 2.0}
    for name in wanted:
        assert abs(np.log(fit.estimate[name] / truth[name])) < 4 * fit.standard_error[name]
        assert fit.standard_error[name] < 0.1
    assert fit.data[0].data.num_missing == 1
    assert "239 values, 1 missing" in fit.summary()


def test_a_profile_of_a_nearly_quadratic_posterior_is_the_interval_of_the_fisher_information(fitter, tmp_path):
    data = [fitter.data[0]]
    plain = fitted_with(fitter, data, uncertainty="fisher")
    fit = fitted_with(fitter, data, uncertainty="profile")
    for name in ("k", "g"):
        np.testing.assert_allclose(np.log(fit.interval()[name]), np.log(plain.interval(0.9)[name]), atol=0.005)
    with pytest.raises(ex.ConfigError, match=r"level: the profiles were made for 0\.9"):
        fit.interval(0.5)
    fit.save(tmp_path / "fit.h5")
    names = {path.name for path in make_fit_figures(tmp_path)}
    assert names == {"data.png", "parameters.png", "profiles.png", "spectrum.png"}


def test_what_the_data_cannot_tell_is_named(model):
    """At the fixed point only k / g is known."""
    data = ex.Data("n", np.full(100, 90.0), np.random.default_rng(2).poisson(50.0, 100), replicates=np.arange(100))
    fit = ex.fit(model, data, ["k", "g"], uncertainty="fisher")
    assert list(fit.identifiability.prior_dominated) == [False, True]
    (warning,) = [w for w in fit.warnings if "determined by the prior" in w]
    assert re.match(r"0\.7\d log [gk] \+ 0\.7\d log [gk] is determined by the prior", warning)
    text = fit.summary()
    assert text.index("Fisher information") < text.index("warning: ") < text.index("90 % interval")
    one = ex.fit(model, ex.Data("n", [90.0], [50.0]), ["k", "g"], uncertainty="fisher")
    assert any(w.startswith("1 values for 2 parameters") for w in one.warnings)
    assert all(len(w) < 250 for w in one.warnings)


WRONG = {
    "a parameter that nothing shows": ({"parameters": ["k", "unused"]}, {}, "unused: no measured observable depends"),
    "an unknown parameter": ({"parameters": ["kk"]}, {}, "there is no parameter 'kk'"),
    "a parameter twice": ({"parameters": ["k", "k"]}, {}, "name one twice"),
    "an unknown observable": ({}, {"observable": "m"}, "'m' is no observable"),
    "a time after the end": ({}, {"times": [200.0]}, "outside the simulated time, 0 to 100 s"),
    "a negative count": ({}, {"values": [-1.0]}, "row 1 (n at 10 s): -1 is not possible with noise poisson"),
    "half a count": (
        {},
        {"values": [2.5]},
        "row 1 (n at 10 s): 2.5 is not possible with noise poisson; needed is a whole count",
    ),
    "a count beyond counting": ({}, {"values": [1e300]}, "1e+300 is not possible with noise poisson"),
    "nothing but gaps": ({}, {"values": [np.nan]}, "every one is missing"),
    "an unknown noise": ({}, {"noise": "poison"}, "did you mean 'poisson'"),
    "counts of what is no number": ({}, {"noise": {"gaussian": {"sd": "1 nM"}}}, "has dimension"),
    "no sd": ({}, {"noise": "gaussian"}, "needs either a column sd"),
    "one class": ({}, {"noise": "multinomial"}, "two or more observables"),
    "too few simulations": ({"calibrate": 5}, {}, "at least 12 simulations"),
    "an estimator for a method": (
        {"method": "leap_st"},
        {},
        "'leap_st' is not allowed; choose one of closure, synthetic",
    ),
    "synthetic of classes": (
        {"method": "synthetic"},
        {"observable": ("n", "dose"), "values": [[3.0, 4.0]], "noise": "multinomial"},
        "for values that are nearly normal",
    ),
    "synthetic with another uncertainty": (
        {"method": "synthetic", "uncertainty": "fisher"},
        {},
        "choose sandwich or nuts",
    ),
    "simulations without use": ({"calibrate": 50, "uncertainty": "fisher"}, {}, "uses no simulations"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_a_line(name, model):
    call, data, says = WRONG[name]
    given = {"observable": "n", "times": [10.0], "values": [40.0], **data}
    with pytest.raises(ex.ConfigError) as refusal:
        ex.fit(model, ex.Data(**given), **{"parameters": ["k"], **call})
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("uncertainty", ["profile", "nuts"])
def test_calibration_is_of_normal_intervals(model, uncertainty):
    with pytest.raises(ex.ConfigError, match=f"{uncertainty} is not what sbc calibrates; choose sandwich or fisher"):
        ex.sbc(model, ex.Data("n", [10.0], [40.0]), ["k"], n=2, uncertainty=uncertainty)


def test_a_prior_that_excludes_the_start_is_refused():
    prior = {"value": "0.1 /s", "prior": {"uniform": {"low": "0.2 /s", "high": "1 /s"}}}
    model = ex.Model.from_dict({**BIRTH_DEATH, "parameters": {**BIRTH_DEATH["parameters"], "g": prior}})
    with pytest.raises(ex.ConfigError, match=r"parameters\.g: the search cannot begin at 0\.1"):
        ex.fit(model, ex.Data("n", [10.0], [40.0]), ["g"])


def test_synthetic_data_are_read_back_and_fitted_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["schema = 1", "[run]", 'duration = "100 s"', 'observe_every = "4 s"', "replicates = 6", "[lattice]"]
    lines += ["shape = [1]", "spacing = 1.0", "[species.A]", "[parameters]"]
    lines += [f'{k} = {{ value = "{v} /s", prior.lognormal = {{ median = "{v} /s", sigma = 0.5 }} }}' for k, v in START]
    lines += ["[[reactions]]", 'equation = "-> A"', 'rate = "k"', "[[reactions]]", 'equation = "A ->"', 'rate = "g"']
    lines += ["[observables.n]", 'value = "total(A)"', "[fit]", 'parameters = ["k", "g"]', 'uncertainty = "fisher"']
    lines += ["[[fit.data]]", 'file = "counts.csv"', 'observable = "n"', 'noise = "poisson"']
    (tmp_path / "model.toml").write_text("\n".join(lines))
    run = CliRunner().invoke
    missing = run(cli.app, ["fit", "model.toml"])
    assert isinstance(missing.exception, ex.ConfigError)
    assert "exodiff synthesise" in str(missing.exception)
    true = ["--set", "parameters.k=10 /s", "--set", "parameters.g=0.2 /s"]
    made = run(cli.app, ["synthesise", "model.toml", "--seed", "3", *true])
    assert made.exit_code == 0, made.output
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25 * 6
    assert set(rows[0]) == {"time_s", "replicate", "n"}
    done = run(cli.app, ["fit", "model.toml"])
    assert done.exit_code == 0, (done.output, done.exception)
    out = tmp_path / "runs" / "model-fit"
    told = json.loads((out / "fit.json").read_text())
    for name, truth in (("k", 10.0), ("g", 0.2)):
        found = told["parameters"][name]
        assert abs(np.log(found["estimate"] / truth)) < 4 * found["standard_error"]
    with h5py.File(out / "fit.h5") as file:
        assert file["samples"].shape == (2, 4000)
        assert list(file.attrs["parameters"]) == ["k", "g"]
    assert {path.name for path in (out / "figures").iterdir()} == {"data.png", "parameters.png", "spectrum.png"}
    again = run(cli.app, ["fit", "model.toml"])
    assert "holds a fit already" in str(again.exception)
    calibrated = run(cli.app, ["sbc", "model.toml", "--fits", "20", "--set", 'fit.uncertainty="sandwich"'])
    assert calibrated.exit_code == 0, (calibrated.output, calibrated.exception)
    assert "20 fits of simulated data, 0 did not converge" in calibrated.output
    told = json.loads((tmp_path / "runs" / "model-sbc" / "sbc.json").read_text())
    # of 20 fits the coverage of 90 % has a standard error of 7 %
    assert min(told["coverage_of_90"].values()) > 0.6
    assert (tmp_path / "runs" / "model-sbc" / "figures" / "ranks.png").stat().st_size > 5000
    again = run(cli.app, ["sbc", "model.toml"])
    assert "holds a calibration already" in str(again.exception)


@pytest.mark.slow
def test_the_classes_of_a_multinomial_tell_a_ratio():
    """Of a molecule that turns into B at k or C at 1 / s, all at the end: a share k / (1 + k) of B."""
    model = ex.Model.from_dict(
        {
            "schema": 1,
            "run": {"duration": "20 s", "time_step": "0.02 s"},  # the order of two reactions in a step must not matter
            "lattice": {"shape": [1], "spacing": 1.0},
            "parameters": {"k": "1 /s"},
            "species": {"A": {"initial": 500}, "B": {}, "C": {}},
            "reactions": [{"equation": "A -> B", "rate": "k"}, {"equation": "A -> C", "rate": "1 /s"}],
            "observables": {"b": {"value": "total(B)"}, "c": {"value": "total(C)"}},
        }
    )
    # the tissues differ in how many were classified
    data = ex.Data(("b", "c"), [20.0, 20.0], [[16, 4], [144, 36]], "multinomial", replicates=[0, 1])
    fit = ex.fit(model, data, ["k"], calibrate=200)
    # d logit(share) / d log k = 1: the information is n p q = 32, and the weak default prior adds 1 / 4
    assert np.isclose(np.log(fit.uncorrected[0]), np.log(4.0) * 32 / 32.25, atol=0.01)
    # 200 of 500 are taken: the whole 500 are a binomial draw, so a sample without putting back is one too
    assert np.isclose(fit.standard_error["k"], np.sqrt(32.0) / 32.25, rtol=5 * np.sqrt(0.5 / 200))


@pytest.mark.slow
def test_calibration_by_simulation_covers_and_sees_what_does_not():
    """The closure is exact for one count a tissue: truths from the prior must be uniform in their posteriors.

    Of 60 fits the coverage of 90 % has a standard error of 4 %: between 0.75 and 1. With errors a third as large
    it would be 0.42, and the ranks would lie in the outer bins.
    """
    prior = {"lognormal": {"median": "5 /s", "sigma": 0.5}}
    parameters = {"k": {"value": "5 /s", "prior": prior}, "g": "0.1 /s"}
    model = ex.Model.from_dict({**BIRTH_DEATH, "parameters": parameters, "run": {"duration": "20 s"}})
    design = ex.Data("n", np.full(10, 20.0), np.ones(10), replicates=np.arange(10))
    found = ex.sbc(model, design, ["k"], n=60, uncertainty="fisher", seed=1)
    assert found.failures == 0
    assert 0.75 < found.coverage(0.9)["k"] <= 1
    assert found.p_values()["k"] > 1e-3
    narrow = replace(found, standard_errors=found.standard_errors / 3)
    assert narrow.coverage(0.9)["k"] < 0.7
    assert narrow.p_values()["k"] < 1e-6
    assert "60 fits of simulated data, 0 did not converge" in found.summary()


@pytest.mark.slow
def test_the_published_half_lives_give_the_constants_of_two_compartments():
    """Half-lives of 8 and 300 min with 90 % in the fast phase: k10, k12, k21 = 0.01863, 0.05958, 0.01074 /min."""
    model = ex.load(Path(__file__).parents[2] / "configs" / "fit_plasma.toml")
    fit = ex.fit(model, read_data(model), ["k10", "k12", "k21"], uncertainty="fisher")
    for name, per_min in (("k10", 0.01863), ("k12", 0.05958), ("k21", 0.01074)):
        # the priors of sigma 1.5 pull by less than 1 % at standard errors of 6 to 12 %
        assert fit.uncorrected[fit.parameters.index(name)] * 60 == pytest.approx(per_min, rel=0.02)


def test_no_convergence_ends_with_code_3_and_says_what_to_try(fitter, monkeypatch):
    monkeypatch.setattr("exodiff.inference.levenberg_marquardt.MOST_STEPS", 1)
    with pytest.raises(ex.FitError, match=r"no convergence after 1 steps.*Try a start nearer") as failure:
        fitted_with(fitter, None, uncertainty="fisher")
    assert failure.value.exit_code == 3


def test_values_out_of_all_reach_are_no_convergence(fitter):
    """The gradient overflows: what a further step promises is minus infinity, which is not little."""
    far = fitter.data[0].with_values(np.where(np.arange(240) == 5, 1e300, fitter.data[0].values.ravel())[:, None])
    with pytest.raises(ex.FitError, match="no convergence"):
        fitted_with(fitter, [far], uncertainty="fisher")


def test_a_stopped_fit_goes_on_where_it_was(tmp_path, monkeypatch):
    """Stopped after its simulations, it makes no step and no simulation again, and finds the same bits."""
    lines = ["time_s,n", *(f"{t:g},{round(m)}" for t, m in zip(TIMES, MEAN, strict=True))]
    (tmp_path / "counts.csv").write_text("\n".join(lines))
    data = [{"file": str(tmp_path / "counts.csv"), "observable": "n", "noise": "poisson"}]
    model = ex.Model.from_dict({**BIRTH_DEATH, "fit": {"parameters": ["k"], "calibrate": 20, "data": data}})
    whole, _ = fit_model(model, tmp_path / "whole", lambda phase, told: None)

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("exodiff.inference.fit.correct", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_model(model, tmp_path / "stopped", lambda phase, told: None)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["unfinished"]
    told = []

    def simulated_again(self, fitted, seed, replicates):
        pytest.fail("simulated again")

    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "_simulation", simulated_again)
        found, _ = fit_model(model, tmp_path / "stopped", lambda phase, what: told.append(phase))
    assert "searching" not in told
    assert np.array_equal(found.u, whole.u)
    assert np.array_equal(found.covariance, whole.covariance)
    assert {path.name for path in (tmp_path / "stopped").iterdir()} == {"fit.h5", "fit.json", "figures"}


def test_a_stopped_calibration_goes_on_where_it_was(fitter, tmp_path, monkeypatch):
    """Stopped in its fourth fit, it makes the first three not again; ranks are those of one that was not stopped."""
    fitter.settings, told = Fit(parameters=("k", "g"), uncertainty="fisher"), []
    unfinished = Unfinished(tmp_path, "sbc", fitter.model, fitter.data)

    def calibrate(fit):
        monkeypatch.setattr(sbc, "_fit_simulated", fit)
        told.clear()
        return sbc.calibration_of(fitter, 20, 1, lambda done, earlier: told.append((done, earlier)), unfinished)

    def second_fails(*given):
        if given[-1] == 1:
            raise ex.FitError("fit", "no convergence")
        return right(*given)

    def second_fails_and_fourth_stops(*given):
        if given[-1] == 3:
            raise KeyboardInterrupt
        return second_fails(*given)

    right = sbc._fit_simulated
    whole = calibrate(second_fails)
    assert told == [(done, 0) for done in range(1, 21)]
    assert (whole.failures, len(whole.truths)) == (1, 19)
    unfinished.remove()
    with pytest.raises(KeyboardInterrupt):
        calibrate(second_fails_and_fourth_stops)
    found = calibrate(right)
    assert told == [(done, 3) for done in range(3, 21)]
    assert found.failures == 1
    assert np.array_equal(found.ranks, whole.ranks)


def test_fits_without_a_finite_error_are_failures(fitter, monkeypatch):
    """One in 20 is told; the second ends the calibration, as two that do not converge would."""
    fitter.settings = Fit(parameters=("k", "g"), uncertainty="fisher")
    right = sbc._fit_simulated

    def without_errors(*wrong):
        return lambda *given: np.full((3, 2), np.inf) if given[-1] in wrong else right(*given)

    monkeypatch.setattr(sbc, "_fit_simulated", without_errors(3))
    found = sbc.calibration_of(fitter, 20, 1)
    assert (found.failures, len(found.truths)) == (1, 19)
    monkeypatch.setattr(sbc, "_fit_simulated", without_errors(3, 5))
    with pytest.raises(ex.FitError, match="2 of 6 fits failed, the last with: its covariance"):
        sbc.calibration_of(fitter, 20, 1)


@pytest.mark.slow
def test_a_calibration_that_is_stopped_and_killed_is_that_of_one_that_was_not(tmp_path):
    prior = {"lognormal": {"median": "5 /s", "sigma": 0.5}}
    (tmp_path / "counts.csv").write_text("time_s,n\n10,1\n20,1\n")
    data = [{"file": "counts.csv", "observable": "n", "noise": "poisson"}]
    tables = {
        **BIRTH_DEATH,
        "run": {"duration": "20 s"},
        "parameters": {"k": {"value": "5 /s", "prior": prior}, "g": "0.1 /s"},
        "fit": {"parameters": ["k"], "calibrate": 20, "data": data},
    }
    config = tmp_path / "model.toml"
    config.write_text(tomli_w.dumps(tables))

    def command(out, *stopped_at):
        start = ["tests.integration.stopped_at", *stopped_at] if stopped_at else ["exodiff.cli"]
        return [sys.executable, "-m", *start, "sbc", str(config), "--fits", "20", "--out", str(tmp_path / out)]

    subprocess.run(command("whole"), check=True)
    at_fit = ("exodiff.inference.sbc", "_fit_simulated")
    with subprocess.Popen(command("cut", "wait", *at_fit, "7"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "a call waits" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        process.wait(timeout=20)
    assert process.returncode == 75
    assert "stopped by SIGTERM with all that is done kept; give the same command again" in told
    killed = subprocess.run(command("cut", "kill", *at_fit, "5"), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "7 of 20 fits are done already" in killed.stderr
    done = subprocess.run(command("cut"), capture_output=True, text=True, check=True)
    assert "12 of 20 fits are done already" in done.stderr
    assert "20 of 20 fits, 0 s left" in done.stderr
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"sbc.json", "figures"}
    assert (tmp_path / "cut" / "sbc.json").read_bytes() == (tmp_path / "whole" / "sbc.json").read_bytes()


def test_a_failed_fit_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "counts.csv").write_text("time_s,n\n2,20\n20,50\n")
    data = [{"file": str(tmp_path / "counts.csv"), "observable": "n", "noise": "poisson"}]
    settings = {"parameters": ["k", "g"], "uncertainty": "fisher", "data": data}
    monkeypatch.setattr("exodiff.inference.levenberg_marquardt.MOST_STEPS", 2)
    with pytest.raises(ex.FitError, match="no convergence"):
        fit_model(ex.Model.from_dict({**BIRTH_DEATH, "fit": settings}), tmp_path / "out", lambda phase, told: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("command", "told"), [("fit", "give the same command again"), ("run", "exodiff resume DIR")])
def test_an_interrupted_command_says_how_to_go_on(command, told, monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    monkeypatch.setattr("sys.argv", ["exodiff", command, "model.toml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert told in capsys.readouterr().err


def test_a_fit_does_not_depend_on_those_before_it(fitter):
    """Of which one may have needed a finer step of the closure."""
    first = fitted_with(fitter, None, uncertainty="fisher")
    fitter.predictor.refine()
    again = fitted_with(fitter, None, uncertainty="fisher")
    assert np.array_equal(first.u, again.u)


def test_a_simulation_that_stops_says_at_which_values(fitter):
    """A truth that a calibration drew from a wide prior, for instance."""
    with pytest.raises(ex.SimulationError, match=r"fit: a simulation at k 10, g 500 stopped; .*lower run.time_step"):
        fitter.simulate_data(np.array([10.0, 500.0]), seed=0)


def test_simulated_data_have_their_error_where_the_closure_has_no_result(model):
    """At a truth whose rates outgrow the closure's step the error is still the one that is given, and not 1."""
    noise = {"gaussian": {"sd": 20.0}}
    fitter = Fitter(model, [ex.Data("n", np.full(100, 10.0), np.ones(100), noise)], Fit(parameters=("g",)))
    truth = np.array([2.0])
    assert fitter.predictor.predict(truth) is None
    (data,) = fitter.simulate_data(truth, seed=0)
    # counts have a mean of 2.5; the spread of 100 values has a standard error of 7 %
    assert 14 < data.values.std() < 26


def test_the_model_is_compiled_once_for_many_fits_and_simulations(fitter):
    compiled = []
    for more in (0.0, 1.0, 2.0):
        fitted_with(fitter, [one.with_values(one.values + more) for one in fitter.data], calibrate=400)
        compiled.append((fitter.predictor._with_derivatives._cache_size(), fitter.predictor._simulated._cache_size()))
    assert compiled[2] == compiled[1] == compiled[0]


def test_the_bits_of_a_run_do_not_depend_on_the_fit_table():
    data = [{"file": "counts.csv", "observable": ["n"], "noise": {"negative_binomial": {"dispersion": "g * 3 / k"}}}]
    fitted = from_mapping({**BIRTH_DEATH, "fit": {"parameters": ["k", "g"], "calibrate": 100, "data": data}})
    assert config_hash(from_mapping(BIRTH_DEATH)) == config_hash(fitted)
    assert from_mapping(tomllib.loads(dump(fitted))) == fitted
