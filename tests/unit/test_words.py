"""Whole numbers of two words, and binomial and Poisson numbers among them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels import large_draws, totals, words
from exodiff.kernels.random import fold, make_stream

LIMIT = 1 << 64
RNG = np.random.default_rng(3)


def host(amount) -> np.ndarray:
    amount = np.asarray(amount).astype(object)
    return amount[..., 0] * 2**32 + amount[..., 1]


def device(value: int):
    return jnp.asarray(words.from_host(np.asarray(value, np.uint64).astype(np.int64)))


def random_numbers(count: int) -> list[int]:
    return [int(value) for value in RNG.integers(0, LIMIT - 1, count, dtype=np.uint64)]


@pytest.mark.parametrize("factor", [0, 1, 2000, 65535, 65536, 2**31 - 1])
def test_arithmetic_is_that_of_whole_numbers_modulo_2_to_64(factor):
    for value in (0, 1, 65535, 65536, 2**32 - 1, 2**32, 3 * 10**13, LIMIT - 1, *random_numbers(20)):
        assert host(words.times(device(value), factor)) == value * factor % LIMIT
        assert host(words.negated(device(value))) == -value % LIMIT
        (other,) = random_numbers(1)
        assert bool(words.is_less(device(value), device(other))) == (value < other)


def test_signed_amounts_are_exact_from_minus_2_to_63():
    for value in (0, 1, -1, -65536, 3 * 10**13, -(2**63), 2**63 - 1):
        assert words.to_host(device(value % LIMIT)) == value
        assert float(totals.to_real(words.signed(device(value % LIMIT)), "float32")) == np.float32(value)


def test_the_product_with_a_share_is_exact():
    scale = jax.jit(words.scaled)
    for n in (0, 1, 2**31, 3 * 10**13, LIMIT - 1, *random_numbers(20)):
        for share in (0.0, 1e-13, 2.0**-24, 1e-3, 0.3, 0.5, float(RNG.uniform(0, 1))):
            x = np.float32(share)
            whole, fraction = scale(device(n), jnp.asarray(x))
            numerator, denominator = float(x).as_integer_ratio()
            assert host(whole) == n * numerator // denominator
            rest = n * numerator % denominator / denominator
            assert float(fraction) == pytest.approx(rest, abs=2e-7)


DRAWS = 20_000


@jax.jit
def binomials(streams, n, p):
    return jax.vmap(lambda stream: large_draws.binomial(stream, 0, n, p))(streams)


@jax.jit
def poissons(streams, mean):
    return jax.vmap(lambda stream: large_draws.poisson(stream, 0, mean))(streams)


def streams_of(seed, draws=DRAWS):
    return jax.vmap(lambda i: fold(make_stream(seed, 0), i))(jnp.arange(draws))


@pytest.mark.parametrize("n", [10**18, 3 * 10**13, 2**31 + 1, 10**9])
@pytest.mark.parametrize("p", [1e-9, 1e-3, 0.3, 0.9])
def test_large_binomials_have_the_mean_and_variance_of_the_law(n, p):
    x = jnp.asarray(p, jnp.float32)
    drawn = host(binomials(streams_of(7), device(n), x))
    numerator, denominator = float(x).as_integer_ratio()
    p = numerator / denominator
    variance = n * p * (1.0 - p)
    assert min(drawn) >= 0
    assert max(drawn) <= n
    deviations = (drawn * denominator - n * numerator).astype(float) / denominator
    # three moments of sixteen laws at 4.5 standard errors: a false alarm once in 3000
    kurtosis = 3.0 + (1.0 - 6.0 * p * (1.0 - p)) / variance
    assert abs(deviations.mean()) < 4.5 * np.sqrt(variance / DRAWS)
    assert abs(deviations.var() / variance - 1.0) < 4.5 * np.sqrt((kurtosis - 1.0) / DRAWS)
    skew = (1.0 - 2.0 * p) / np.sqrt(variance)
    found = ((deviations / np.sqrt(variance)) ** 3).mean()
    assert abs(found - skew) < 4.5 * np.sqrt(15.0 / DRAWS) * (1.0 + skew) ** 2


def test_the_third_moment_is_corrected_where_it_shows():
    # at a variance of 2^14 the skewness 1/128 is 3 standard errors of 400,000 draws
    p = jnp.asarray(5e-10, jnp.float32)
    n = int(2**14 * 1.01 / float(p))
    drawn = host(binomials(streams_of(8, 400_000), device(n), p)).astype(float)
    deviations = (drawn - drawn.mean()) / drawn.std()
    assert (deviations**3).mean() == pytest.approx(1.0 / np.sqrt(n * float(p)), abs=4.5 * np.sqrt(6.0 / 400_000))


@pytest.mark.parametrize("mean", [3.0, 1e6, 5e9, 3e13, 1e17])
def test_large_poisson_numbers_have_the_mean_and_variance_of_the_law(mean):
    x = jnp.asarray(mean, jnp.float32)
    drawn = host(poissons(streams_of(9), x))
    deviations = (drawn - int(float(x))).astype(float)
    assert abs(deviations.mean()) < 4.5 * np.sqrt(mean / DRAWS)
    assert abs(deviations.var() / mean - 1.0) < 4.5 * np.sqrt((2.0 + 1.0 / mean) / DRAWS)


def test_what_a_draw_takes_away_is_the_rest():
    n, p = device(3 * 10**13), jnp.asarray(0.7, jnp.float32)
    taken = binomials(streams_of(1), n, p)
    left = totals.add(n, words.negated(taken))
    assert np.all(host(taken) + host(left) == 3 * 10**13)
    assert np.all(words.is_less(left, taken))
