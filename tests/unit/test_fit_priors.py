"""Priors in unconstrained coordinates: the density integrates to the prior's own distribution, draws follow it."""

import numpy as np
import pytest
from scipy import stats

from exodiff.inference.priors import Prior, default_prior

PRIORS = [
    (Prior("lognormal", {"median": 2e-4, "sigma": 0.7}, None), stats.lognorm(0.7, scale=2e-4)),
    (Prior("normal", {"mean": -3.0, "sd": 0.5}, None), stats.norm(-3.0, 0.5)),
    (Prior("half_normal", {"scale": 4.0}, None), stats.halfnorm(scale=4.0)),
    (Prior("gamma", {"shape": 2.5, "scale": 3.0}, None), stats.gamma(2.5, scale=3.0)),
    (Prior("beta", {"a": 2.0, "b": 5.0}, None), stats.beta(2.0, 5.0)),
    (Prior("uniform", {"low": -1.0, "high": 3.0}, None), stats.uniform(-1.0, 4.0)),
    (Prior("loguniform", {"low": 1e-3, "high": 10.0}, None), stats.loguniform(1e-3, 10.0)),
    (Prior("flat", {}, (1e-3, 10.0)), stats.loguniform(1e-3, 10.0)),
    (Prior("flat", {}, (0.0, 2.0)), stats.uniform(0.0, 2.0)),
]


@pytest.mark.parametrize(("prior", "law"), PRIORS, ids=lambda item: getattr(item, "kind", ""))
def test_the_density_of_the_coordinate_is_that_of_the_value(prior, law):
    shares = np.linspace(0.05, 0.95, 19)
    values = law.ppf(shares)
    u = np.array([prior.to_coordinate(value) for value in values])
    np.testing.assert_allclose(prior.from_coordinate(u), values, rtol=1e-9)
    slope = (prior.from_coordinate(u + 1e-5) - prior.from_coordinate(u - 1e-5)) / 2e-5
    np.testing.assert_allclose(prior.slope(u), slope, rtol=1e-6)
    off = prior.log_density(u) - (law.logpdf(values) + np.log(prior.slope(u)))
    np.testing.assert_allclose(off, off[0], atol=1e-7)
    first, curvature = prior.derivatives(float(u[4]))
    assert np.isclose(first, np.gradient(prior.log_density(u[4] + np.array([-1e-3, 0, 1e-3])), 1e-3)[1], atol=1e-4)
    assert curvature >= 0


@pytest.mark.parametrize(("prior", "law"), PRIORS, ids=lambda item: getattr(item, "kind", ""))
def test_draws_follow_the_prior(prior, law):
    """Kolmogorov's distance of 20,000 draws is below 1.95 / sqrt(20,000) but once in a thousand."""
    drawn = prior.draw(np.random.default_rng(3), 20_000)
    assert stats.kstest(drawn, law.cdf).statistic < 1.95 / np.sqrt(20_000)


def test_bounds_cut_a_prior_off():
    prior = Prior("lognormal", {"median": 1.0, "sigma": 1.0}, (0.5, 3.0))
    drawn = prior.draw(np.random.default_rng(3), 5000)
    assert 0.5 < drawn.min() < 0.51
    assert 2.9 < drawn.max() < 3.0
    law = stats.truncnorm(np.log(0.5), np.log(3.0))
    assert stats.kstest(np.log(drawn), law.cdf).statistic < 1.95 / np.sqrt(5000)


def test_a_parameter_of_which_nothing_is_said_gets_a_weak_prior_about_its_value():
    prior = default_prior(3.0)
    assert str(prior) == "lognormal median 3, sigma 2 (default)"
    assert prior.coordinate == "log "
    assert prior.derivatives(np.log(3.0)) == pytest.approx((0.0, 0.25), abs=1e-6)
