"""Statistical gates: exact tails where they exist, else normal ones, each Bonferroni-corrected inside its family.

A family is rejected at p < 2e-6, the gate of ``truths/acceptance.py``: a file of 50 families raises a false alarm with
a probability of at most 1e-4, and seeds are fixed, so a test that passes once passes always.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent / "truths"))

import acceptance

ALPHA = acceptance.ALPHA


def binomial_p(successes, trials, probability) -> float:
    """Two-sided exact tails of binomial counts, the smallest corrected for their number."""
    successes, probability = np.broadcast_arrays(successes, np.clip(probability, 0.0, 1.0))
    return acceptance.bonf(acceptance.binom2(successes.ravel(), trials, probability.ravel()))


def poisson_p(observed, mean) -> float:
    """Two-sided exact tails of Poisson counts."""
    observed, mean = (np.ravel(a) for a in np.broadcast_arrays(observed, mean))
    tails = 2.0 * np.minimum(stats.poisson.cdf(observed, mean), stats.poisson.sf(observed - 1, mean))
    return acceptance.bonf(np.minimum(tails, 1.0))


def pmf_p(samples, pmf) -> float:
    """Chi-square of whole numbers against their law on 0, 1, ...; a value outside its support gives 0."""
    samples = np.rint(np.ravel(samples)).astype(int)
    if samples.min() < 0 or samples.max() >= len(pmf):
        return 0.0
    pmf = np.clip(pmf, 0.0, None)
    pmf = pmf / pmf.sum()
    if pmf.max() > 1.0 - 1e-12:
        return float(np.all(samples == pmf.argmax()))
    return min(acceptance.chi2_pmf(samples, pmf), acceptance.exact_bins(samples, pmf))


def mean_p(samples, mean, variance) -> float:
    """Normal test of sample means (axis 0) with the true variance."""
    samples = np.asarray(samples, float)
    z = (samples.mean(0) - mean) / np.sqrt(np.asarray(variance) / len(samples))
    return acceptance.bonf(2.0 * stats.norm.sf(np.abs(z)))


def variance_p(samples, mean, variance, kurtosis) -> float:
    """Normal test of the second moments about the true mean (axis 0): its variance is v^2 (kurtosis - 1) / n."""
    second = ((np.asarray(samples, float) - mean) ** 2).mean(0)
    kurtosis = np.broadcast_to(kurtosis, np.shape(variance))
    z = (second / variance - 1.0) * np.sqrt(len(samples) / (kurtosis - 1.0))
    return acceptance.bonf(2.0 * stats.norm.sf(np.abs(z)))
