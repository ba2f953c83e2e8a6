"""Binomial, Poisson and mass-action draws against their exact laws.

Two kinds of test. Chi-square over many samples sees errors above 1e-3 of likely counts. Rare events need another: the
random words are put in by hand, and the number of the 2^64 words that give the event is counted.

The p-value gate is 1e-6 / 200 for fewer than 200 p-values in the file, so that a correct sampler fails the file with
probability below 1e-6; seeds are fixed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

from exodiff.kernels import clocks, draws, lanes, laws, random, rejection

_GATE = 1e-6 / 200
_N = 1 << 19
_ONE, _ZERO = jnp.int32(1), jnp.int32(0)


def _stream(seed):
    return random.fold(random.make_stream(jnp.uint32(seed), jnp.uint32(3)), 5, random.site_id("test"))


@jax.jit
def _binomials(seed, index, n, p):
    return draws.binomial(_stream(seed), index, 0, jnp.broadcast_to(n, index.shape), jnp.broadcast_to(p, index.shape))


@jax.jit
def _poissons(seed, index, mean):
    return draws.poisson(_stream(seed), index, 0, jnp.broadcast_to(mean, index.shape))


@functools.partial(jax.jit, static_argnames=("size",))
def _events(seed, factor, first, second, orders, changes, size=_N):
    factor, first, second = (jnp.broadcast_to(x, (size,)) for x in (factor, first, second))
    law = clocks.MassAction(factor, first, second, orders, changes)
    return clocks.mass_action_events(_stream(seed), random.voxel_index((size,)), law)


def _p_value(counts, law, num_cells=300):
    """Chi-square of counts (by value) against a scipy law, neighbours pooled to at least 50 expected."""
    total = counts.sum()
    values = np.flatnonzero(counts)
    low, high = int(values[0]), int(values[-1])
    expected = law.pmf(np.arange(low, high + 1)) * total
    expected[0] += law.cdf(low - 1) * total
    expected[-1] += law.sf(high) * total
    cell = np.floor(np.cumsum(expected) / max(50.0, total / num_cells)).astype(int)
    cell = np.unique(cell, return_inverse=True)[1]
    expected = np.bincount(cell, expected)
    observed = np.bincount(cell, counts[low : high + 1])
    if len(expected) > 1 and expected[-1] < 50:  # the last cell holds what was left over
        expected[-2:], observed[-2:] = expected[-2:].sum() / 2, observed[-2:].sum() / 2
        expected, observed = np.append(expected[:-2], 2 * expected[-1]), np.append(observed[:-2], 2 * observed[-1])
    if len(expected) == 1:
        return 1.0
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


def _tally(draw, num_samples):
    """Counts by value of samples drawn in batches of other voxels."""
    tally = np.zeros(0, int)
    for start in range(0, num_samples, _N):
        sample = np.asarray(draw(jnp.arange(start, start + _N, dtype=jnp.uint32)))
        assert sample.dtype == np.int32
        assert sample.min() >= 0
        batch = np.bincount(sample)
        size = max(len(batch), len(tally))
        tally = np.pad(tally, (0, size - len(tally))) + np.pad(batch, (0, size - len(batch)))
    return tally


# n p from 1e-6 to 1e6 - 1: short and long inversion, counts beyond them, sums of parts, rejection, and each flipped.
_BINOMIALS = [
    (1, 1e-6), (1, 0.5), (3, 1 - 1e-6), (10, 1e-6), (10, 1 / 6), (10, 0.9), (17, 0.25), (18, 0.27), (100, 0.01),
    (100, 0.049), (100, 0.051), (11, 0.5), (20, 0.4), (21, 0.5), (12, np.nextafter(np.float32(0.5), np.float32(1))),
    (12, 0.19), (13, 0.1), (12, 0.21), (100, 0.079), (100, 0.081), (49, 0.4999), (51, 0.4999), (60, 0.51), (100, 0.2),
    (100, 0.2501),
    (300, 0.9), (1000, 0.005), (1000, 0.3), (10**6, 1e-6), (10**6, 4.9e-6), (10**6, 5.1e-6), (10**6, 2.4e-5),
    (10**6, 2.6e-5), (10**6, 0.01), (10**6, 0.5), (10**6, 0.7), (10**6, 1 - 1e-6),
]  # fmt: skip
_MEANS = [0.0, 1e-9, 0.01, 0.3, 1.0, 1.24, 1.26, 4.9, 7.9, 8.1, 10.1, 16.1, 23.9, 24.1, 26.5, 30.0, 100.0, 1e4, 1e6]
_SIZES = [pytest.param(_N, id="5e5"), pytest.param(20 * _N, id="1e7", marks=pytest.mark.slow)]


@pytest.mark.parametrize("num_samples", _SIZES)
@pytest.mark.parametrize(("n", "p"), _BINOMIALS)
def test_binomial_draws_have_the_law_of_their_float32_probability(n, p, num_samples):
    p = np.float32(p)
    tally = _tally(lambda index: _binomials(11, index, jnp.int32(n), p), num_samples)
    assert len(tally) <= n + 1
    assert _p_value(tally, stats.binom(n, float(p))) > _GATE


@pytest.mark.parametrize("num_samples", _SIZES)
@pytest.mark.parametrize("mean", _MEANS)
def test_poisson_draws_have_the_law_of_their_float32_mean(mean, num_samples):
    mean = np.float32(mean)
    tally = _tally(lambda index: _poissons(12, index, mean), num_samples)
    assert _p_value(tally, stats.poisson(float(mean))) > _GATE
    if mean < 1e-8:
        assert len(tally) <= 1 + (mean > 0)


@pytest.fixture(scope="module")
def by_words():
    """The three draws, compiled for words that are chosen: the first key and the voxel, in this order.

    These are the words of number 0; later clocks of a chain get the largest word, the longest wait.
    """

    def word_pair(stream, index, number):
        last = jnp.uint32(2**32 - 1)
        return jnp.where(number == 0, stream.key0, last), jnp.where(number == 0, index, last)

    def binomial(high, low, n, p):
        return draws.binomial(random.Stream(high, jnp.uint32(0)), low, 0, jnp.full(high.shape, n), p)

    def poisson(high, low, mean):
        return draws.poisson(random.Stream(high, jnp.uint32(0)), low, 0, jnp.full(high.shape, mean))

    def uptake(high, low, factor):
        full = functools.partial(jnp.full, high.shape)
        law = clocks.MassAction(full(factor), full(2), full(20), (_ONE, _ONE), (-_ONE, -_ONE))
        return clocks.mass_action_events(random.Stream(high, jnp.uint32(0)), low, law)

    zeros = jnp.zeros(_CHUNK, jnp.uint32)
    given = [(binomial, (jnp.int32(1), jnp.float32(0))), (poisson, (jnp.float32(0),)), (uptake, (jnp.float32(0),))]
    with pytest.MonkeyPatch.context() as patch:
        for module in (draws, clocks):
            patch.setattr(module, "word_pair", word_pair)
        jax.clear_caches()
        compiled = {f.__name__: jax.jit(f).lower(zeros, zeros, *arguments).compile() for f, arguments in given}
    jax.clear_caches()
    return compiled


_CHUNK = 1 << 16


def _probability(happens):
    """Share of the 2^64 pairs of words (high, low) with happens(high, low), which are those below a threshold.

    The threshold is found 16 bits at a time; around it every word is tried.
    """
    threshold = 0
    for shift in (48, 32, 16, 0):
        trial = [threshold + (i << shift) for i in range(_CHUNK)]
        fires = np.asarray(happens(*_split(trial)))
        assert (np.diff(fires.astype(int)) <= 0).all(), "not monotonic in the word"
        if not fires.any():  # then the word at the threshold is the first that does not fire
            break
        threshold += (int(fires.sum()) - 1) << shift
    else:
        threshold += 1
    start = min(max(threshold - _CHUNK // 2, 0), 2**64 - _CHUNK)
    near = [start + i for i in range(_CHUNK)]
    assert (np.asarray(happens(*_split(near))) == [x < threshold for x in near]).all()
    return threshold / 2.0**64


def _split(numbers):
    numbers = np.asarray(numbers, dtype=np.uint64)
    return (numbers >> np.uint64(32)).astype(np.uint32), (numbers & np.uint64(2**32 - 1)).astype(np.uint32)


_RARE_BINOMIALS = [
    (1, 1e-9, 1), (1, 3e-7, 1), (1, 1 - 1e-6, 1), (2, 1e-5, 2), (10, 1e-9, 1), (10, 1e-10, 1), (10, 1 / 6, 1),
    (10, 1 / 6, 8), (10, 1 / 6, 9), (25, 0.3, 23), (26, 0.3, 25), (20, 0.0025, 4), (20, 0.0025, 6), (16, 0.3, 16),
    (17, 0.29, 17), (100, 0.0005, 6), (12, 0.1, 9), (100, 0.0125, 8), (100, 0.0125, 9), (10**6, 1e-15, 1),
    (10**6, 5e-8, 6), (10**6, 4.9e-6, 17), (10**6, 7.9e-6, 24), (10**6, 7.9e-6, 25), (5, 0.99999, 1), (3, 0.9999, 2),
]  # fmt: skip


@pytest.mark.parametrize(("n", "p", "k"), _RARE_BINOMIALS)
def test_rare_binomial_events_have_their_probability_over_all_words(n, p, k, by_words):
    """P(k or more of the rarer outcome).

    Float32 sums and products of 28 terms leave about 28 * 6e-8, and n log1p(-p) 3e-7. What follows four terms after the
    last is taken for its value at the largest mean: of the last tail, P(X >= 25), it is 0.7 % at mean 8 and off by
    0.5 % of that there, 4e-5; between, at mean 6, off by 9 %, 2e-4 of the tail. Of P(X >= 9) it is 1.4e-4 at most.
    """
    p = np.float32(p)
    rarer = float(p) if p <= 0.5 else 1.0 - float(p)

    def happens(high, low):
        events = by_words["binomial"](high, low, np.int32(n), p)
        return (events if p <= 0.5 else n - events) >= k

    np.testing.assert_allclose(_probability(happens), stats.binom.sf(k - 1, n, rarer), rtol=_tolerance(k))


def _tolerance(k):
    return 5e-5 if k > 15 else 1e-5


_RARE_MEANS = [(1e-9, 1), (3e-10, 1), (1e-4, 2), (0.01, 4), (0.05, 6), (0.05, 7), (1.0, 9), (4.9, 1)]
_RARE_MEANS += [(1.25, 8), (1.25, 9), (1.3, 9), (4.9, 16), (5.0, 17), (8.0, 24), (8.0, 25)]


@pytest.mark.parametrize(("mean", "k"), _RARE_MEANS)
def test_rare_poisson_events_have_their_probability_over_all_words(mean, k, by_words):
    mean = np.float32(mean)
    expected = stats.poisson.sf(k - 1, float(mean))
    found = _probability(lambda high, low: by_words["poisson"](high, low, mean) >= k)
    np.testing.assert_allclose(found, expected, rtol=_tolerance(k))


@pytest.mark.parametrize("expected", [1e-9, 2.3e-10, 1e-7, 1e-3, 0.2, 3.0])
def test_the_first_clock_of_a_chain_rings_with_its_probability_over_all_words(expected, by_words):
    """log1p and its argument leave some 1e-7 of the time; it is compared with 1."""
    factor = np.float32(expected / 40)
    found = _probability(lambda high, low: by_words["uptake"](high, low, factor) >= 1)
    np.testing.assert_allclose(found, -np.expm1(-float(factor) * 40), rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "p", "start"),
    [
        (10**6, 7.9e-6, 25),
        (60, 0.12, 25),
        (None, 5.0, 25),
        (None, 2.0, 25),
        (None, 1.0, 9),
        (14, 0.085, 9),
        (12, 0.2, 9),
    ],
)
def test_counts_beyond_the_unrolled_terms_follow_the_upper_tail(n, p, start, monkeypatch):
    """Every first word is made so small that the count is cut; then it has the law of X given that it reaches it."""
    right = random.word_pair

    def word_pair(stream, index, number):
        small = (0 * index, 0 * index + 5)
        return [jnp.where(number == 0, *each) for each in zip(small, right(stream, index, number), strict=True)]

    monkeypatch.setattr(draws, "word_pair", word_pair)
    jax.clear_caches()
    try:
        draw = _poissons if n is None else functools.partial(_binomials, n=n)
        p = np.float32(p)
        tally = _tally(lambda index: draw(7, index, mean=p) if n is None else draw(7, index, p=p), _N)
    finally:
        jax.clear_caches()
    law = stats.poisson(float(p)) if n is None else stats.binom(n, float(p))
    assert tally[:start].sum() == 0
    k = np.arange(start, start + 40)
    conditional = stats.rv_discrete(values=(k, law.pmf(k) / law.pmf(k).sum()))
    assert _p_value(tally, conditional) > _GATE


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, None])
def test_the_hat_of_the_rejection_covers_the_law_at_every_mean_above_10(p):
    """With the second uniform at 1, only a proposal whose acceptance probability reaches 1 could be accepted."""
    word_u = jnp.asarray(np.linspace(0, 2**32 - 1, 1 << 17).astype(np.uint32))

    @jax.jit
    def attempt(size, word_v):
        law = laws.Law(size, None if p is None else jnp.float32(p))
        return rejection.attempt(word_u, word_v, law)

    for mean in [10.001, 10.5, 10.9, *np.arange(11, 40, 0.7), 60.0, 99.5, 300.0, 3e3, 3e4, 1e6]:
        size = np.float32(mean if p is None else np.ceil(mean / p))
        assert (np.asarray(attempt(size, jnp.uint32(2**32 - 1))) < 0).all()
        assert (np.asarray(attempt(size, jnp.uint32(1 << 31))) >= 0).mean() > 0.7


@pytest.mark.parametrize(
    ("n", "p"), [(None, 26.0), (None, 1000.5), (None, 1e6), (52, 0.5), (90, 0.3), (10**4, 0.005), (10**6, 0.5)]
)
def test_the_probability_of_the_rejection_is_the_exact_one(n, p):
    """Its logarithms beyond a tenth of the mean leave 6e-8 * 200; a mean of 1e6 with 6e-8 gives 1e-4 at six deviations.

    At counts of 1 and 2 Stirling's error is known to 4e-4 and 2e-5 (_stirling_error); they are far in the tail.
    """
    p = np.float32(p)
    law = stats.poisson(float(p)) if n is None else stats.binom(n, float(p))
    mode = np.floor(p if n is None else np.float32(n) * p)
    reach = np.ceil(6 * law.std())
    k = np.arange(max(mode - reach, 3), min(mode + reach, mode + reach if n is None else n - 3) + 1)

    @jax.jit
    def probability(offset, size):
        given = laws.Law(size, None if n is None else p)
        mean = given.mean()
        density, log_rest = rejection._saddle_point(offset, given, mean, jnp.floor(mean))
        return density * jnp.exp(log_rest) / np.float32(np.sqrt(2 * np.pi))

    found = probability(jnp.asarray(k - mode, jnp.float32), jnp.float32(p if n is None else n))
    np.testing.assert_allclose(found, law.pmf(k), rtol=2e-4 if law.mean() > 1e4 else 4e-5)


def test_edges_give_their_certain_counts():
    index = random.voxel_index((8,))
    n = jnp.asarray([0, 0, 7, 7, -3, 10**6, 2**31 - 1, 1], jnp.int32)
    p = jnp.asarray([0.3, 1.0, 0.0, 1.0, 0.5, 1.0, 0.0, 1.0], jnp.float32)
    assert _binomials(0, index, n, p).tolist() == [0, 0, 0, 7, 0, 10**6, 0, 1]
    odd = jnp.asarray([jnp.nan, -1.0, 2.0, 0.0, 1e-45, jnp.inf, -jnp.inf, 1.0], jnp.float32)
    sample = np.asarray(_binomials(0, index, jnp.full(8, 7), odd))
    assert ((sample >= 0) & (sample <= 7)).all()
    assert sample[[1, 2, 3]].tolist() == [0, 7, 0]
    sample = np.asarray(_poissons(0, index, odd))
    assert sample[[0, 1, 3, 4, 6]].tolist() == [0] * 5
    assert abs(int(sample[5]) - 2**30) < 10 * 2**15  # means are cut at 2^30
    assert _binomials(0, jnp.zeros((0, 3), jnp.uint32), jnp.int32(3), jnp.float32(0.5)).shape == (0, 3)
    assert _binomials(0, jnp.uint32(5), jnp.int32(3), jnp.float32(1.0)).shape == ()


def test_counts_never_exceed_the_trials_and_have_their_mean_at_the_largest_sizes():
    rng = np.random.default_rng(0)
    n = np.exp(rng.uniform(0, np.log(2.0**31 - 1), _N)).astype(np.int32)
    p = np.where(rng.random(_N) < 0.5, rng.random(_N), 10.0 ** rng.uniform(-10, 0, _N)).astype(np.float32)
    sample = np.asarray(_binomials(5, random.voxel_index((_N,)), n, p)).astype(float)
    assert ((sample >= 0) & (sample <= n)).all()
    mean, variance = n * p.astype(float), n * p.astype(float) * (1 - p.astype(float))
    use = (variance > 0.01) & (n < 2**24)
    z = (sample - mean)[use] / np.sqrt(variance[use])
    assert abs(z.mean()) < 6 / np.sqrt(use.sum())  # 2e-9
    assert abs((z**2).mean() - 1) < 0.05  # its standard error: sqrt((2 + 1 / variance) / N) averages below 5e-3


# Lanes of every regime side by side, in a number that is no multiple of the block.
_LANES = 5003


def _mixture(seed=3):
    rng = np.random.default_rng(seed)
    n = rng.choice([0, 1, 5, 30, 100, 1000, 10**6], _LANES).astype(np.int32)
    mean = rng.choice([1e-3, 0.5, 4.0, 5.5, 20.0, 40.0, 3e3], _LANES)
    p = np.minimum(mean / np.maximum(n, 1), 1.0)
    p = np.where(rng.random(_LANES) < 0.3, 1 - p, p).astype(np.float32)
    return jnp.asarray(n), jnp.asarray(p), jnp.asarray(mean, jnp.float32)


def _draw_all(stream, index, n, p, mean):
    def law(change):
        return clocks.MassAction(0.01 * mean, jnp.minimum(n, 200), n, (_ONE, _ONE), (-_ONE, jnp.int32(change)))

    return jnp.stack(
        [
            draws.binomial(stream, index, 0, n, p),
            draws.poisson(stream, index, 1, mean),
            clocks.mass_action_events(stream, index, law(-1)),
        ]
    )


@pytest.fixture(params=[1, 1 << 30], ids=["alone", "together"])
def members(request, monkeypatch):
    """Whether the members of a batch go one after the other, or at once."""
    monkeypatch.setattr(lanes, "_ALONE", request.param)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("members")
def test_a_vmap_over_streams_equals_the_single_calls_bit_for_bit():
    n, p, mean = _mixture()
    index = random.voxel_index((_LANES,))
    streams = jax.vmap(lambda replicate: random.fold(random.make_stream(jnp.uint32(1), replicate), 9))(
        jnp.arange(3, dtype=jnp.uint32)
    )
    many = jax.jit(jax.vmap(_draw_all, in_axes=(0, None, None, None, None)))(streams, index, n, p, mean)
    single = jax.jit(_draw_all)
    for i in range(3):
        assert (many[i] == single(random.Stream(streams.key0[i], streams.key1[i]), index, n, p, mean)).all()
    assert (many[0] != many[1]).any()


@pytest.mark.usefixtures("members")
def test_a_vmap_inside_a_vmap_keeps_every_lane():
    n, p = jnp.asarray([3, 40, 400], jnp.int32), jnp.asarray([0.3, 0.7], jnp.float32)
    keys, index = jnp.arange(4, dtype=jnp.uint32), random.voxel_index((50,))

    def draw(key, n, p):
        return draws.binomial(random.Stream(key, key), index, 0, jnp.broadcast_to(n, index.shape), p)

    inner = jax.vmap(jax.vmap(draw, in_axes=(None, None, 0)), in_axes=(None, 0, None))
    many = jax.jit(jax.vmap(inner, in_axes=(0, None, None)))(keys, n, p)
    single = jax.jit(draw)
    assert all((many[i, j, k] == single(keys[i], n[j], p[k])).all() for i, j, k in np.ndindex(4, 3, 2))


@pytest.mark.parametrize("block", [7, pytest.param(1 << 20, marks=pytest.mark.slow)])
def test_counts_do_not_depend_on_the_block_size(block, monkeypatch):
    arguments = (_stream(2), random.voxel_index((_LANES,)), *_mixture())
    expected = jax.jit(_draw_all)(*arguments)
    monkeypatch.setattr(lanes, "BLOCK", block)
    jax.clear_caches()
    try:
        assert (jax.jit(_draw_all)(*arguments) == expected).all()
    finally:
        jax.clear_caches()


def test_counts_do_not_depend_on_the_place_of_a_lane_in_the_array():
    index, mixture = random.voxel_index((_LANES,)), _mixture()
    expected = np.asarray(jax.jit(_draw_all)(_stream(2), index, *mixture))
    order = np.random.default_rng(1).permutation(_LANES)
    moved = jax.jit(_draw_all)(_stream(2), index[order], *(a[order] for a in mixture))
    assert (np.asarray(moved) == expected[:, order]).all()
    grid = jax.jit(_draw_all)(
        _stream(2), index[:5000].reshape(10, 20, 25), *(a[:5000].reshape(10, 20, 25) for a in mixture)
    )
    assert (np.asarray(grid).reshape(3, -1) == expected[:, :5000]).all()


@pytest.mark.parametrize("mean", [1.0, 8.0, 20.0, 50.0])
def test_draws_of_one_stream_with_different_numbers_are_independent(mean):
    """Also the parts and attempts behind them: sums have the sum of the variances.

    The standard error of a correlation is 1 / sqrt(N); of a variance ratio about sqrt((2 + 1 / mean) / N).
    """
    index = random.voxel_index((_N,))
    draw = jax.jit(lambda number: draws.poisson(_stream(4), index, number, jnp.full((_N,), mean, jnp.float32)))
    sample = np.asarray([draw(jnp.uint32(i)) for i in range(4)], float)
    assert np.abs(np.corrcoef(sample) - np.eye(4)).max() < 6 / np.sqrt(_N)
    assert np.abs(sample.var(axis=1) / mean - 1).max() < 6 * np.sqrt((2 + 1 / mean) / _N)


def _chain(rate, last):
    """Probabilities of 0, 1, ..., ``last`` events after unit time at rate(events), absorbed at the last."""
    generator = np.zeros((last + 1, last + 1))
    for k in range(last):
        generator[k, k], generator[k, k + 1] = -rate(k), rate(k)
    return linalg.expm(generator)[0]


def _channel(factor, counts, orders, changes):
    """The arguments of the draw, and the exact probabilities of the numbers of events."""

    def rate(events):
        result = float(np.float32(factor))
        for n, order, change in zip(counts, orders, changes, strict=True):
            for i in range(order):
                result *= max(n + change * events - i, 0)
        return result

    limits = [n // -change for n, change in zip(counts, changes, strict=True) if change < 0]
    exact = _chain(rate, min([*limits, int(4 * rate(0) + 100)]))
    counts, orders, changes = (tuple(jnp.int32(x) for x in given) for given in (counts, orders, changes))
    return (jnp.float32(factor), *counts, orders, changes), exact


_CHANNELS = {
    "uptake": (3e-5, (3, 10000), (1, 1), (-1, -1)),
    "uptake of many": (2e-3, (60, 80), (1, 1), (-1, -1)),
    "binding that needs both": (0.3, (4, 6), (1, 1), (-1, -1)),
    "until all are used": (50.0, (5, 1), (1, 0), (-1, 0)),
    "pair": (0.01, (30, 0), (2, 0), (-2, 0)),
    "odd pair": (2.0, (5, 0), (2, 0), (-2, 0)),
    "one of a pair": (0.02, (12, 0), (2, 0), (-1, 0)),
    "three": (0.005, (11, 0), (3, 0), (-3, 0)),
    "decay": (0.4, (25, 0), (1, 0), (-1, 0)),
    "growth": (0.3, (6, 0), (1, 0), (1, 0)),
    "birth": (7.0, (4, 9), (0, 0), (1, 0)),
    "catalysis": (0.004, (20, 30), (1, 1), (-1, 0)),
    "autocatalysis": (0.01, (20, 5), (1, 1), (-1, 1)),
    "fifty": (0.5, (110, 0), (1, 0), (-1, 0)),
    "two and one": (0.004, (12, 9), (2, 1), (-2, -1)),
}


@pytest.mark.parametrize("name", _CHANNELS)
def test_a_channel_alone_has_the_law_of_its_master_equation(name):
    arguments, exact = _channel(*_CHANNELS[name])
    tally = np.bincount(np.asarray(_events(21, *arguments)))
    k = np.arange(len(exact))
    exact = np.maximum(exact, 0.0)
    assert _p_value(tally, stats.rv_discrete(values=(k, exact / exact.sum()))) > _GATE


# Expected events over the reactants' capacity, x; the errors of mean and variance that it allows.
_CROWDS = {
    "death": ((0.1, (1000, 0), (1, 0), (-1, 0)), 1e-4, 1e-4),  # exact but for float32
    "catalysis": ((0.003, (300, 100), (1, 1), (-1, 0)), 1e-4, 1e-4),
    "birth": ((100.0, (3, 0), (0, 0), (1, 0)), 1e-4, 1e-4),
    "uptake": ((70 / 120000, (300, 400), (1, 1), (-1, -1)), 0.02, 0.3),  # measured: -0.020, -0.22 of x^2 and x^2
    "uptake of half": ((150 / 120000, (300, 400), (1, 1), (-1, -1)), 0.02, 0.3),
    "pair": ((70 / 249500, (500, 0), (2, 0), (-2, 0)), 0.07, 0.4),
    "few and many": ((70 / 280000, (70, 4000), (1, 1), (-1, -1)), 0.02, 0.05),
}


@pytest.mark.parametrize("name", _CROWDS)
def test_many_events_have_the_mean_and_variance_of_their_master_equation_to_second_order(name):
    channel, mean_error, variance_error = _CROWDS[name]
    arguments, exact = _channel(*channel)
    k = np.arange(len(exact))
    mean = (exact * k).sum()
    variance = (exact * k**2).sum() - mean**2
    limits = [n // -change for n, change in zip(channel[1], channel[3], strict=True) if change < 0]
    expected = float(arguments[0]) * np.prod(
        [float(n) ** order for n, order in zip(channel[1], channel[2], strict=True)]
    )
    assert expected > 64
    x2 = (expected / min(limits)) ** 2 if limits and mean_error > 1e-3 else 1.0
    sample = np.asarray(_events(22, *arguments), float)
    # six standard errors: 2e-9 each
    assert abs(sample.mean() - mean) < 6 * np.sqrt(variance / len(sample)) + mean_error * x2 * mean
    assert abs(sample.var() / variance - 1) < 6 * np.sqrt(2 / len(sample)) + variance_error * x2
    if limits:
        assert sample.max() <= min(limits)


def test_uniform_and_exponential_have_their_laws():
    index = random.voxel_index((_N,))
    assert stats.kstest(np.asarray(draws.uniform(_stream(1), index, 0), float), "uniform").pvalue > _GATE
    waits = np.asarray(draws.exponential(_stream(1), index, jnp.uint32(0)), float)
    assert (waits > 0).all()
    assert stats.kstest(waits, "expon").pvalue > _GATE


@pytest.mark.parametrize("shape", [1, 2, 7, 300, 100_000])
def test_gamma_numbers_are_sums_of_exponential_times(shape):
    index = random.voxel_index((_LANES,))
    found = np.asarray(draws.gamma(_stream(3), index, 0, jnp.full(index.shape, shape)), float)
    assert stats.kstest(found, stats.gamma(shape).cdf).pvalue > _GATE
    assert (draws.gamma(_stream(3), index, 0, jnp.zeros(index.shape, jnp.int32)) == 0).all()
