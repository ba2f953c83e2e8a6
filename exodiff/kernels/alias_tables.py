"""Binomial draws of few trials from tables: one random word and one look at a table, whatever the mean.

A table holds the law of Binomial(n, p) for one p and each n up to 30 by the alias method (A. J. Walker, "An efficient
method for generating discrete random variables with general distributions", ACM Trans. Math. Softw. 3, 1977): the first
five bits of a word choose a column, the others one of the two outcomes that share it. Probabilities are whole multiples
of 2^-32, rounded down. What that leaves out of all outcomes, at most 31 such units, is an outcome of its own; a lane
that gets it draws again from the remainders, with 64 bits, so that an outcome keeps its probability however rare it is.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Real
from exodiff.kernels.decomposition import rounded

_COLUMN_BITS = 5
_COLUMNS = 1 << _COLUMN_BITS
_CAPACITY = 1 << (32 - _COLUMN_BITS)  # of a column, in units of 2^-32
ROW = _COLUMNS  # entries of one n
TABLE = _COLUMNS * ROW  # entries of one p
MOST_TRIALS = _COLUMNS - 2
REMAINDER = _COLUMNS - 1  # the outcome that stands for what rounding left out


class Tables(NamedTuple):
    """Of some p each: (p, n, column) or, for :func:`look_up`, flat.

    Attributes:
        entries: share of the first outcome of a column, and five bits of its second.
        remainders: of all outcomes from one on, in units of 2^-32; their sum is a whole number.

    """

    entries: Bits
    remainders: Real


def binomial_tables(p: Real) -> Tables:
    """Tables of some probabilities from 0 to 1/2, (..., 32, 32); the law is exact for their float32 values."""
    p = rounded(jnp.clip(p, 0.0, 0.5).astype(jnp.float32))[..., None, None]
    trials, columns = jnp.arange(ROW, dtype=COUNT_DTYPE)[:, None], jnp.arange(_COLUMNS, dtype=COUNT_DTYPE)
    units = _probabilities(trials, p) * jnp.float32(2.0**32)
    # what is left for the most likely outcome is known to the last unit
    is_mode = columns == jnp.floor((trials + 1).astype(jnp.float32) * p).astype(COUNT_DTYPE)
    weights = jnp.where(is_mode, 0.0, jnp.floor(units))
    remainders = jnp.where(is_mode, 0.0, units - weights)
    all_remainders = jnp.ceil(jnp.sum(remainders, -1, keepdims=True))
    remainders = jnp.where(is_mode, all_remainders - jnp.sum(remainders, -1, keepdims=True), remainders)
    weights = jnp.where(columns == REMAINDER, all_remainders, weights).astype(BITS_DTYPE)
    entries = _alias_table(weights, is_mode, columns)
    return Tables(entries, lax.cumsum(remainders, remainders.ndim - 1, reverse=True))


def _probabilities(trials: Count, p: Real) -> Real:
    """P(X = k) for k = 0, 1, ..., (..., n, k): products alone, so that no compiler rounds them in another way."""
    q = 1.0 - p
    first = jnp.ones_like(p)
    for bit in range(_COLUMN_BITS):
        first = first * jnp.where((trials >> bit) & 1 == 1, q, 1.0)
        q = q * q
    odds = p / (1.0 - p)

    def term(k: Count, carry: tuple[Real, Real]) -> tuple[Real, Real]:
        last, found = carry
        left = jnp.maximum(trials - k + 1, 0).astype(jnp.float32)
        new = last * odds * (left / k.astype(jnp.float32))
        return new, lax.dynamic_update_slice_in_dim(found, new, k, -1)

    found = jnp.zeros((*first.shape[:-1], _COLUMNS), jnp.float32).at[..., :1].set(first)
    return lax.fori_loop(1, MOST_TRIALS + 1, term, (first, found))[1]


def _alias_table(weights: Bits, is_mode: Mask, columns: Count) -> Bits:
    """Entries from the weights of all outcomes but the mode, whose weight is the rest of 2^32.

    One column after another is filled up from one that has more than it holds; what that has left may be too little,
    and then it is the next to be filled.
    """
    capacity, zero, one = (jnp.asarray(value, BITS_DTYPE) for value in (_CAPACITY, 0, 1))
    has_more = is_mode | (weights >= capacity)
    others = jnp.sum(jnp.where(is_mode, zero, weights), -1, keepdims=True, dtype=BITS_DTYPE)
    # of a column that has more, what is more: 2^32 would be no word
    amounts = jnp.where(is_mode, zero - others, weights)
    amounts = jnp.where(has_more, amounts - capacity, amounts)
    # sets of columns, a bit each
    givers = jnp.sum(jnp.where(has_more, one << columns.astype(BITS_DTYPE), zero), -1, keepdims=True, dtype=BITS_DTYPE)

    def lowest(some: Bits) -> Count:
        return lax.population_count(~some & (some - one)).astype(COUNT_DTYPE)

    def fill(
        _: Count, carry: tuple[Bits, Bits, Count, Count, Bits, Bits]
    ) -> tuple[Bits, Bits, Count, Count, Bits, Bits]:
        entries, amounts, column, giver, columns_left, givers_left = carry
        both = jnp.stack((column, giver), -2) == columns
        content, spare = jnp.moveaxis(jnp.max(jnp.where(both, amounts[..., None, :], zero), -1, keepdims=True), -2, 0)
        goes_on = column < _COLUMNS
        entries = jnp.where(columns == column, (content << _COLUMN_BITS) | giver.astype(BITS_DTYPE), entries)
        need = capacity - content
        is_short = (spare < need) & goes_on
        left = jnp.where(is_short, spare + capacity, spare) - need
        amounts = jnp.where((columns == giver) & goes_on, left, amounts)
        column = jnp.where(is_short, giver, lowest(columns_left))
        columns_left = jnp.where(is_short, columns_left, columns_left & (columns_left - one))
        giver = jnp.where(is_short, lowest(givers_left), giver)
        givers_left = jnp.where(is_short, givers_left & (givers_left - one), givers_left)
        return entries, amounts, column, giver, columns_left, givers_left

    full = jnp.broadcast_to(columns.astype(BITS_DTYPE), weights.shape)
    sets = ~givers & (~givers - one), givers & (givers - one)
    return lax.fori_loop(0, _COLUMNS, fill, (full, amounts, lowest(~givers), lowest(givers), *sets))[0]


def look_up(entries: Bits, row: Count, word: Bits) -> Count:
    """The outcome that a random word means in the row that begins at a place of flat entries."""
    column = (word >> (32 - _COLUMN_BITS)).astype(COUNT_DTYPE)
    entry = entries.at[row + column].get(mode="promise_in_bounds")
    is_first = (word & jnp.asarray(_CAPACITY - 1, BITS_DTYPE)) < (entry >> _COLUMN_BITS)
    return jnp.where(is_first, column, (entry & jnp.asarray(ROW - 1, BITS_DTYPE)).astype(COUNT_DTYPE))


def draw_remainder(remainders: Real, row: Count, v: Real) -> Count:
    """The outcome of a lane that met the remainder, from a uniform with 64 bits: small ones mean rare outcomes."""

    def at(k: Count | int) -> Real:
        return remainders.at[row + k].get(mode="promise_in_bounds")

    position = v * at(0)
    start = jnp.zeros(jnp.broadcast_shapes(row.shape, v.shape), COUNT_DTYPE)
    return lax.fori_loop(1, MOST_TRIALS + 1, lambda k, found: found + (position < at(k)).astype(COUNT_DTYPE), start)
