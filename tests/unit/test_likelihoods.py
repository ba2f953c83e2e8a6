"""Log densities against scipy's, scores against finite differences, information against the scatter of the score."""

import numpy as np
import pytest
from scipy import stats

from exodiff.inference.likelihoods import LIKELIHOODS

MEAN = np.array([[0.7, 3.0, 12.0], [2.0, 5.0, 40.0]])
SCALES = {"negative_binomial": 0.4, "gaussian": 1.5, "lognormal": 0.3, "dirichlet_multinomial": 0.2}
VALUES = {
    "gaussian": np.array([[1.0, np.nan, 11.0], [-0.4, 5.5, 44.0]]),
    "lognormal": np.array([[0.5, np.nan, 11.0], [0.2, 5.5, 44.0]]),
}
COUNTS = np.array([[1.0, 4.0, 9.0], [0.0, 5.0, 44.0]])
LIMIT = 0.6  # of lognormal: two of its values lie below


def given(kind):
    scale = np.asarray(SCALES.get(kind, 1.0))
    return VALUES.get(kind, COUNTS), scale, LIMIT if kind == "lognormal" else 0.0


def log_density(kind, mean, scale):
    values, _, limit = given(kind)
    return LIKELIHOODS[kind].terms(values, mean, np.asarray(scale), limit).log_density.sum()


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_score_is_the_derivative_of_the_log_density(kind):
    values, scale, limit = given(kind)
    terms = LIKELIHOODS[kind].terms(values, MEAN, scale, limit)
    for place in np.ndindex(MEAN.shape):
        step = np.zeros(MEAN.shape)
        step[place] = 1e-6 * MEAN[place]
        difference = (log_density(kind, MEAN + step, scale) - log_density(kind, MEAN - step, scale)) / (2 * step[place])
        assert np.isclose(terms.score[place], difference, rtol=1e-5, atol=1e-6), place
    if terms.score_of_scale is not None:
        step = 1e-6 * float(scale)
        difference = (log_density(kind, MEAN, scale + step) - log_density(kind, MEAN, scale - step)) / (2 * step)
        assert np.isclose(terms.score_of_scale.sum(), difference, rtol=1e-5, atol=1e-6)


def test_densities_are_those_of_scipy():
    y, mean = COUNTS, MEAN
    poisson = LIKELIHOODS["poisson"].terms(y, mean, np.asarray(1.0), 0.0).log_density
    np.testing.assert_allclose(poisson, stats.poisson(mean).logpmf(y), rtol=1e-10)
    negative = LIKELIHOODS["negative_binomial"].terms(y, mean, np.asarray(0.4), 0.0).log_density
    np.testing.assert_allclose(negative, stats.nbinom(2.5, 1 / (1 + 0.4 * mean)).logpmf(y), rtol=1e-10)
    normal = LIKELIHOODS["gaussian"].terms(y, mean, np.asarray(1.5), 0.0).log_density
    np.testing.assert_allclose(normal, stats.norm(mean, 1.5).logpdf(y), rtol=1e-10)
    shares = mean / mean.sum(axis=1, keepdims=True)
    for row in range(2):
        classes = LIKELIHOODS["multinomial"].terms(y, mean, np.asarray(1.0), 0.0).log_density
        assert np.isclose(classes[row, 0], stats.multinomial(y[row].sum(), shares[row]).logpmf(y[row]))
        spread = LIKELIHOODS["dirichlet_multinomial"].terms(y, mean, np.asarray(0.2), 0.0).log_density
        wanted = stats.dirichlet_multinomial(shares[row] / 0.2, int(y[row].sum())).logpmf(y[row].astype(int))
        assert np.isclose(spread[row, 0], wanted)


def test_a_value_below_the_detection_limit_says_only_that():
    data = [[0.0, 0.59]], [[2.0, 2.0]]
    below = LIKELIHOODS["lognormal"].terms(*map(np.asarray, data), np.asarray(0.5), LIMIT).log_density
    np.testing.assert_allclose(below, stats.norm.logcdf(np.log(LIMIT / 2.0) / 0.5), rtol=1e-12)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_a_missing_value_counts_for_nothing(kind):
    values, scale, limit = given(kind)
    values = np.where([[False, True, False], [True, False, False]], np.nan, values)
    likelihood = LIKELIHOODS[kind]
    terms = likelihood.terms(values, MEAN, scale, limit)
    jacobian = np.random.default_rng(0).normal(size=(2, 3, 2))
    rows = likelihood.weigh(jacobian, values, MEAN, scale, limit).reshape(2, 3, 2)
    assert terms.score[0, 1] == 0
    assert np.all(rows[0, 1] == 0)
    if terms.log_density.shape == values.shape:
        assert terms.log_density[1, 0] == 0
    else:  # classes: without one count the others say nothing
        assert not terms.log_density.any()


SAMPLES = 40_000


def drawn(kind, generator, shape):
    scale = SCALES.get(kind)
    if kind == "poisson":
        return generator.poisson(MEAN, shape)
    if kind == "negative_binomial":
        return generator.negative_binomial(1 / scale, 1 / (1 + scale * MEAN), shape)
    if kind == "gaussian":
        return generator.normal(MEAN, scale, shape)
    if kind == "lognormal":
        return MEAN * np.exp(scale * generator.standard_normal(shape))
    shares = MEAN / MEAN.sum(axis=1, keepdims=True)
    number = COUNTS.sum(axis=1).astype(int)
    if kind == "dirichlet_multinomial":
        shares = np.stack([generator.dirichlet(row / scale, shape[0]) for row in shares], axis=1)
    return generator.multinomial(number, shares, size=shape[:2])


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_score_has_mean_zero_and_the_information_as_covariance(kind):
    """Of 40,000 draws a variance is known to sqrt(2 / 40,000) = 0.7 %, more for skewed scores: 5 % is allowed.

    That of dirichlet_multinomial is the information of as many plain draws as have its variance: never more than the
    true one, here up to a third less.
    """
    generator = np.random.default_rng(5)
    jacobian = generator.normal(size=(2, 3, 2)) * MEAN[..., None] * 0.1
    scale, likelihood = np.asarray(SCALES.get(kind, 1.0)), LIKELIHOODS[kind]
    values = drawn(kind, generator, (SAMPLES, 2, 3)).astype(float)
    scores = np.einsum("nrc,rcp->np", likelihood.terms(values, MEAN, scale, 0.0).score, jacobian)
    rows = likelihood.weigh(jacobian, COUNTS, MEAN, scale, 0.0)
    information = rows.T @ rows
    error = scores.std(axis=0) / np.sqrt(SAMPLES)
    assert np.all(np.abs(scores.mean(axis=0)) < 4 * error)
    ratios = np.linalg.eigvals(np.linalg.solve(information, np.cov(scores.T))).real
    assert np.all(ratios > 0.95)
    assert np.all(ratios < (1.5 if kind == "dirichlet_multinomial" else 1.05))


def test_measurement_error_is_drawn_and_counts_are_left_as_they_are():
    generator, seen = np.random.default_rng(1), np.full((4, 50_000), 3.0)
    assert np.all(LIKELIHOODS["poisson"].draw(generator, seen, np.asarray(1.0), seen) == 3.0)
    error = LIKELIHOODS["gaussian"].draw(generator, seen, np.asarray(0.5), seen) - 3.0
    assert abs(error.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * error.size)
    factor = np.log(LIKELIHOODS["lognormal"].draw(generator, seen, np.asarray(0.2), seen) / 3.0)
    assert abs(factor.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * factor.size)


def test_as_many_are_classed_as_were_counted():
    """All of them if all were counted, a hypergeometric sample of some, and a multinomial one of too few."""
    generator, draw = np.random.default_rng(1), LIKELIHOODS["multinomial"].draw
    simulated = np.broadcast_to([30.0, 50.0, 20.0], (4000, 1, 3))
    np.testing.assert_array_equal(draw(generator, simulated, np.asarray(1.0), np.array([[50.0, 50.0, 0.0]])), simulated)
    shares = np.array([0.3, 0.5, 0.2])
    for number, variance in ((40, 40 * shares * (1 - shares) * 60 / 99), (300, 300 * shares * (1 - shares))):
        seen = draw(generator, simulated, np.asarray(1.0), np.array([[number, 0.0, 0.0]]))[:, 0]
        assert np.all(seen.sum(axis=1) == number)
        assert np.all(np.abs(seen.mean(axis=0) - number * shares) < 4 * np.sqrt(variance / 4000))
        assert np.all(np.abs(seen.var(axis=0) / variance - 1) < 5 * np.sqrt(2 / 4000))
