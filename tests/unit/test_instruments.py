"""The noise of instruments: tracked diameters and counted positives against their laws."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, stats

from exodiff.core.size_law import SizeLaw
from exodiff.kernels import instruments
from exodiff.kernels.random import fold, make_stream

LAW = NormalDist(math.log(0.095), math.log(1.35))
QUANTILES = tuple(np.linspace(LAW.cdf(math.log(0.03)), LAW.cdf(math.log(0.15)), 4))
SIZES = SizeLaw(LAW.mean, LAW.stdev, QUANTILES)
NUMBERS = (150_000.0, 60_000.0, 240_000.0)
EDGES = (*(0.01 * i for i in range(30)), math.inf)
STEPS, SMALLEST = 12, 0.06


def exact_shares() -> np.ndarray:
    """Chance of a track to fall into each bin, by adaptive quadrature over the diameter inside each size bin."""
    found = np.zeros(len(EDGES) - 1)
    for number, low, high in zip(NUMBERS, QUANTILES[:-1], QUANTILES[1:], strict=True):

        def above(u: float, x: float, low: float = low, high: float = high) -> float:
            d = math.exp(LAW.inv_cdf(low + u * (high - low)))
            return min(1.0, (d / SMALLEST) ** 6) * stats.gamma.cdf(d / x, STEPS, scale=1 / STEPS) if x > 0 else 0.0

        def seen(u: float, low: float = low, high: float = high) -> float:
            return min(1.0, (math.exp(LAW.inv_cdf(low + u * (high - low))) / SMALLEST) ** 6)

        tails = [integrate.quad(seen, 0, 1)[0]]
        tails += [integrate.quad(above, 0, 1, args=(x,))[0] for x in EDGES[1:-1]]
        found += number / sum(NUMBERS) * -np.diff([*tails, 0.0])
    return found


def test_tracked_sizes_follow_the_law_of_size_track_and_detection():
    num_tracks = 200_000
    diameter, is_seen = instruments.tracked_diameters(
        make_stream(3, 0), jnp.asarray(NUMBERS), SIZES, num_tracks, STEPS, SMALLEST
    )
    counts = np.histogram(np.asarray(diameter)[np.asarray(is_seen)], EDGES)[0]
    expected = num_tracks * exact_shares()
    unseen = num_tracks - expected.sum()
    large = expected > 10
    observed = [*counts[large], counts[~large].sum(), num_tracks - counts.sum()]
    wanted = [*expected[large], expected[~large].sum(), unseen]
    assert stats.chisquare(observed, wanted).pvalue > 1e-4
    assert unseen > 1000  # the detection has something to hide


def test_expected_size_histogram_is_the_integral_over_sizes():
    found = instruments.mean_size_histogram(jnp.asarray(NUMBERS), SIZES, 1000, STEPS, SMALLEST, EDGES)
    # midpoint rule of 256 nodes: second order, the kink of detection included; float32 tails
    np.testing.assert_allclose(found, 1000 * exact_shares(), rtol=1e-3, atol=2e-3)


def test_relative_spread_of_one_size_is_one_over_the_root_of_the_steps():
    one = SizeLaw(math.log(0.1), 1e-4, (0.49, 0.51))
    for steps in (100, 400):
        diameter, _ = instruments.tracked_diameters(
            make_stream(1, 0), jnp.asarray([1e6]), one, 100_000, steps, SMALLEST
        )
        spread = np.std(np.asarray(diameter)) / np.mean(np.asarray(diameter))
        # of an inverse gamma exactly 1/sqrt(n - 2); five standard errors of a standard deviation
        np.testing.assert_allclose(spread, 1 / math.sqrt(steps - 2), rtol=5 / math.sqrt(2 * 100_000) * 1.3)


def test_no_more_vesicles_are_tracked_than_there_are():
    _, is_seen = instruments.tracked_diameters(make_stream(1, 0), jnp.asarray([0.0, 7.0, 0.0]), SIZES, 50, 30, 1e-3)
    assert int(is_seen.sum()) == 7


def test_counts_are_poisson_and_zero_below_the_limit():
    streams = jax.vmap(lambda i: fold(make_stream(5, 0), i))(jnp.arange(20_000, dtype=jnp.uint32))
    counts = np.asarray(jax.vmap(lambda s: instruments.counted(s, jnp.float32(6.0), jnp.float32(4.0)))(streams))
    law = stats.poisson.pmf(np.arange(16), 6.0)
    wanted = [law[:4].sum(), *law[4:15], 1 - law[:15].sum()]
    observed = [np.sum(counts == 0), *(np.sum(counts == k) for k in range(4, 15)), np.sum(counts >= 15)]
    assert sum(observed) == 20_000
    assert stats.chisquare(observed, 20_000 * np.asarray(wanted)).pvalue > 1e-4


def test_huge_counts_have_the_mean_and_variance_of_a_poisson():
    streams = jax.vmap(lambda i: fold(make_stream(6, 0), i))(jnp.arange(20_000, dtype=jnp.uint32))
    mean = 1e10
    counts = np.asarray(jax.vmap(lambda s: instruments.counted(s, jnp.float32(mean), jnp.float32(0.0)))(streams), float)
    assert abs(counts.mean() - mean) < 5 * math.sqrt(mean / 20_000) + 512  # half the spacing of float32
    assert abs(counts.std() / math.sqrt(mean) - 1) < 5 / math.sqrt(2 * 20_000)
