"""Tables of binomial laws: what the entries and the remainders say together is the law, to the rarest outcome."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from exodiff.kernels import alias_tables
from exodiff.kernels.alias_tables import MOST_TRIALS, REMAINDER, ROW, binomial_tables, draw_remainder, look_up

CAPACITY = 2**27


def law_of(entries, remainders):
    """Probabilities of all outcomes by a row, exactly, and the share of the remainder."""
    weights = np.zeros(ROW)
    for column, entry in enumerate(entries.astype(np.int64)):
        share = entry >> 5
        weights[column] += share
        weights[entry & 31] += CAPACITY - share
    parts = -np.diff(np.append(remainders.astype(float), 0.0))
    assert weights[REMAINDER] == pytest.approx(remainders[0], rel=1e-6)
    return (weights[:REMAINDER] + parts[:REMAINDER]) / 2**32, weights[REMAINDER]


@pytest.mark.parametrize("p", [0.0, 1e-9, 1e-4, 0.01, 0.2, 0.3125, 0.5])
def test_entries_and_remainders_are_the_binomial_law(p):
    p = np.float32(p)
    tables = jax.tree.map(np.asarray, jax.jit(binomial_tables)(jnp.asarray(p)))
    for n in range(MOST_TRIALS + 1):
        found, remainder = law_of(tables.entries[n], tables.remainders[n])
        expected = stats.binom.pmf(np.arange(REMAINDER), n, float(p))
        seen = expected > 1e-35  # float32 has no smaller terms
        np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-5)
        assert (found[expected == 0] == 0).all()
        assert remainder < 32


def test_words_and_remainders_are_read_as_the_law_says():
    """Every 2^13th word gives each outcome as often as it should, and even uniforms the parts of a remainder."""
    tables = binomial_tables(jnp.asarray(0.3, jnp.float32))
    n = 20
    words = jnp.arange(2**19, dtype=jnp.uint32) << 13
    found = np.bincount(look_up(tables.entries.reshape(-1), jnp.full(words.shape, n * ROW), words), minlength=ROW)
    expected = stats.binom.pmf(np.arange(ROW), n, 0.3) * 2**19
    assert np.abs(found - expected).max() <= 32  # each column is cut at one place
    v = (np.arange(2**16, dtype=np.float32) + 0.5) / 2**16
    drawn = draw_remainder(tables.remainders.reshape(-1), jnp.full(v.shape, n * ROW), jnp.asarray(v))
    found = np.bincount(drawn, minlength=ROW) / 2**16
    parts = -np.diff(np.append(np.asarray(tables.remainders[n]), 0.0)) / tables.remainders[n, 0]
    np.testing.assert_allclose(found, parts, atol=2**-15)


def test_a_table_does_not_depend_on_its_company():
    some = jnp.asarray([0.01, 0.3, 0.125], jnp.float32)
    together = jax.jit(binomial_tables)(some)
    for i, p in enumerate(some):
        alone = jax.jit(binomial_tables)(p)
        np.testing.assert_array_equal(together.entries[i], alone.entries)


def test_a_mistake_in_a_weight_is_seen(monkeypatch):
    right = alias_tables._probabilities
    monkeypatch.setattr(alias_tables, "_probabilities", lambda trials, p: right(trials, p * (1 + 1e-4)))
    tables = jax.tree.map(np.asarray, binomial_tables(jnp.asarray(0.2, jnp.float32)))
    found, _ = law_of(tables.entries[10], tables.remainders[10])
    assert not np.allclose(found, stats.binom.pmf(np.arange(REMAINDER), 10, 0.2), rtol=1e-5)
