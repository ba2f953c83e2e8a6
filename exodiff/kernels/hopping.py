"""Exact integer hops of one law in all voxels: both ways alike, by one or two voxels.

What leaves a voxel is one multinomial number: of n molecules some move, of these some go far, and a fair half of each
goes up. Up to 240 molecules are taken 30 at a time: two numbers from tables of the law, and the halves by counting
bits, in one loop over the lattice whose result is one word a voxel; where few of many move, one inversion gives the
movers. The few voxels that need more are found and done again with the same random words. Where more than 240 molecules
have many movers the numbers may not fit a word: there they are drawn one by one.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels import draws, halving
from exodiff.kernels.alias_tables import (
    MOST_TRIALS,
    REMAINDER,
    ROW,
    TABLE,
    Tables,
    binomial_tables,
    draw_remainder,
    look_up,
)
from exodiff.kernels.decomposition import by_pieces, rounded
from exodiff.kernels.inversion import LONG, invert, is_long
from exodiff.kernels.lanes import batched, finish_blocks, largest, smallest
from exodiff.kernels.laws import binomial_law
from exodiff.kernels.random import Stream, retry_words, to_unit_interval, word_pair

Flows = tuple[Number, ...]
"""Numbers that move by -2, -1, +1, +2 voxels."""

Place = Array | int | np.integer
"""Where in a list: known when compiled, or only when it runs."""


class Collect(NamedTuple):
    """From what moves, and the place of the law among those of the lattice, to the net gain of each voxel.

    ``of_words`` takes the four numbers in the four bytes of a word, lowest first: a fraction of the memory.
    """

    of_flows: Callable[[Flows, Place], Number]
    of_words: Callable[[Count, Place], Number]


MOVES, FAR, UP, FAR_UP = 0, 1, 4, 5  # numbers of the draws one by one; the halves share one pair of words
LAW = 2 * TABLE  # entries of a law: of who moves, then of who goes far
_MOST_PARTS = 8
_MOST_BY_TABLES = _MOST_PARTS * MOST_TRIALS
_MOST_IN_BYTE = 127  # so that a word is not negative
_ABOVE_MOST = -0x7F7F7F80  # the highest bit of each byte


class EvenHop(NamedTuple):
    """Probability that a molecule moves, and that a mover goes two voxels.

    Attributes:
        moves, far: these.
        tables: of several laws, flat: of each a table of ``moves`` and one of ``far``.
        start: where this law begins.

    """

    moves: Real
    far: Real
    tables: Tables | None = None
    start: Count | int = 0


def even_hop(hops_per_step: Real) -> EvenHop:
    """The law for some r = D dt / h^2, without tables."""
    two = rounded(0.5 * hops_per_step**2)
    one = hops_per_step - 4.0 * two
    share = jnp.clip(two / jnp.where(one + two > 0, one + two, 1.0), 0.0, 1.0)
    return EvenHop(jnp.clip(2.0 * (one + two), 0.0, 1.0), share)


def hop_tables(hops_per_step: Real) -> Tables:
    """Tables of the laws for some r, (..., 2, 32, 32)."""
    law = even_hop(hops_per_step)
    return binomial_tables(jnp.stack((law.moves, law.far), -1))


def drawn_gain(stream: Stream, index: Bits, n: Count, law: EvenHop, place: Array, collect: Collect) -> Count:
    """Net gain of each voxel; ``collect`` must be one object for one meaning, as it is compiled."""
    return _compiled(collect)(place, *_given(stream, index, n, law))


@functools.lru_cache(maxsize=64)
def _compiled(collect: Collect) -> Callable[..., Count]:
    @batched
    def gain(place: Array, *given: Array) -> Count:
        words = by_pieces(_words, *given)

        def any_number() -> Count:
            flows = by_pieces(_flows, words, *given)
            return collect.of_flows((flows[0], flows[1], flows[2], flows[3]), place)

        return lax.cond(smallest(words) < 0, any_number, lambda: collect.of_words(words, place))

    return gain


def drawn_word(stream: Stream, index: Bits, n: Count, law: EvenHop) -> Count:
    """What leaves each voxel, in one word; :func:`flows_of` tells what it stands for."""
    return _word(*_given(stream, index, n, law))


def flows_of(word: Count, stream: Stream, index: Bits, n: Count, law: EvenHop) -> Flows:
    """The flows of a word that :func:`drawn_word` gave for the same arguments."""
    return _flows_of_word(word, *_given(stream, index, n, law))


def _given(stream: Stream, index: Bits, n: Count, law: EvenHop) -> tuple[Array, ...]:
    assert law.tables is not None
    return (*stream, index, n, law.moves, law.far, jnp.asarray(law.start, COUNT_DTYPE), *law.tables)


@batched
def _word(*given: Array) -> Count:
    return by_pieces(_words, *given)


@batched
def _flows_of_word(word: Count, *given: Array) -> Flows:
    def any_number() -> Flows:
        flows = by_pieces(_flows, word, *given)
        return flows[0], flows[1], flows[2], flows[3]

    return lax.cond(smallest(word) < 0, any_number, lambda: unpacked(word))


class _Lanes(NamedTuple):
    """What a draw needs of each lane."""

    key0: Bits
    key1: Bits
    place: Bits
    n: Count
    moves: Real
    far: Real
    start: Count

    @property
    def stream(self) -> Stream:
        """Address of the draws."""
        return Stream(self.key0, self.key1)

    def are_inverted(self) -> Mask:
        """Where there are too many molecules for one look at a table, of which few move."""
        return (self.n > MOST_TRIALS) & is_long(binomial_law(self.n, self.moves)) & self._are_held()

    def have_tables(self) -> Mask:
        """Where looks at tables suffice."""
        return (self.n >= 0) & (self.n <= _MOST_BY_TABLES) & self._are_held() & ~self.are_inverted()

    def _are_held(self) -> Mask:
        """Whether tables hold the probabilities."""
        return (self.moves <= 0.5) & (self.far <= 0.5)


_Read = Callable[[Count, Bits, Bits, int], Count]  # the outcome of a row by a word; pair and number of the word


def _taken_apart(*given: Array) -> tuple[_Lanes, Tables]:
    """Lanes and flat tables; of a batch with tables of its own all lie one behind the other."""
    key0, key1, place, n, moves, far, start, entries, remainders = given
    if entries.ndim > 1:
        numbers = jnp.arange(entries.size // entries.shape[-1], dtype=COUNT_DTYPE)
        start = start + entries.shape[-1] * numbers.reshape(*entries.shape[:-1], 1)
    lanes = _Lanes(key0, key1, place, n, moves, far, start)
    return lanes, Tables(entries.reshape(-1), remainders.reshape(-1))


def _movers(lanes: _Lanes, i: Array | int, taken: Count, read: _Read) -> Count:
    """How many of at most 30 molecules move, from pair 2 i of words."""
    pair = jnp.asarray(2 * i, BITS_DTYPE)
    return read(lanes.start + ROW * taken, word_pair(lanes.stream, lanes.place, pair)[0], pair, 0)


def _flows_of_movers(lanes: _Lanes, i: Array | int, movers: Count, read: _Read) -> Flows:
    """Where at most 30 movers go, from pair 2 i + 1 of words; -1 where that is not known."""
    pair = jnp.asarray(2 * i + 1, BITS_DTYPE)
    halves, of_far = word_pair(lanes.stream, lanes.place, pair)
    is_known = (movers >= 0) & (movers <= MOST_TRIALS)
    goes_far = read(lanes.start + TABLE + ROW * jnp.where(is_known, movers, 0), of_far, pair, 1)
    up = halving.first_ones(halves, movers - goes_far)
    far_up = halving.first_ones(halves, movers) - up
    is_known = is_known & (goes_far != REMAINDER)
    return tuple(jnp.where(is_known, f, -1) for f in (goes_far - far_up, movers - goes_far - up, up, far_up))


def _words(*given: Array) -> Count:
    """The four numbers in the four bytes of a word, or -1 where they do not fit."""
    lanes, tables = _taken_apart(*given)

    def read(row: Count, word: Bits, pair: Bits, number: int) -> Count:
        del pair, number
        return look_up(tables.entries, row, word)

    def part(i: Array | int) -> Count:
        taken = jnp.clip(lanes.n - MOST_TRIALS * i, 0, MOST_TRIALS)
        return _movers(lanes, i, taken, read)

    def one() -> Count:
        word = _packed(_flows_of_movers(lanes, 0, part(0), read))
        return jnp.where(lanes.have_tables() & (lanes.n <= MOST_TRIALS), word, -1)

    def several() -> Count:
        v = to_unit_interval(*word_pair(lanes.stream, lanes.place, 0))
        inverted = invert(v, binomial_law(lanes.n, lanes.moves), LONG)
        inverted = jnp.where(inverted <= LONG.terms, inverted, -1)
        movers = jnp.where(lanes.are_inverted(), inverted, part(0))
        word = _packed(_flows_of_movers(lanes, 0, movers, read))
        first = jnp.where(lanes.have_tables() | lanes.are_inverted(), word, -1)

        def add(i: Array, words: Count) -> Count:
            more = _packed(_flows_of_movers(lanes, i, part(i), read))
            fit = (words >= 0) & (more >= 0) & ((words + more) & _ABOVE_MOST == 0)
            return jnp.where(lanes.have_tables(), jnp.where(fit, words + more, -1), words)

        most = largest(jnp.where(lanes.have_tables(), lanes.n, 0))
        return lax.fori_loop(1, -(-most // MOST_TRIALS), add, first)

    is_crowded = lax.cond(
        largest(lanes.n) > MOST_TRIALS,
        lambda: jnp.mean(lanes.n > MOST_TRIALS, dtype=jnp.float32) > draws.CROWDED_SHARE,
        lambda: jnp.asarray(False),
    )
    common = lax.cond(is_crowded, several, one)

    def finished() -> Count:
        unfinished = (common < 0) & (lanes.have_tables() | lanes.are_inverted())
        return finish_blocks(common, unfinished, functools.partial(_finished, tables), lanes)

    return lax.cond(smallest(common) < 0, finished, lambda: common)


def _packed(flows: Flows) -> Count:
    """The numbers in a word, or -1 where they are not known or do not fit."""
    fit = (flows[0] >= 0) & (functools.reduce(jnp.maximum, flows) <= _MOST_IN_BYTE)
    return jnp.where(fit, packed(flows), -1)


def _finished(tables: Tables, active: Mask, old: Count, *given: Array) -> Count:
    """The words of the active lanes whatever their random words mean; -1 where an inversion finds more than 30."""
    del old
    lanes = _Lanes(*given)

    def read(row: Count, word: Bits, pair: Bits, number: int) -> Count:
        outcome = look_up(tables.entries, row, word)
        is_open = outcome == REMAINDER

        def drawn() -> Count:
            more = retry_words(lanes.stream, lanes.place, pair, jnp.asarray(number, BITS_DTYPE))
            return jnp.where(is_open, draw_remainder(tables.remainders, row, to_unit_interval(*more)), outcome)

        return lax.cond(jnp.any(is_open), drawn, lambda: outcome)

    are_inverted = active & lanes.are_inverted()
    law = binomial_law(lanes.n, lanes.moves)
    inverted = draws.draw_by_parts(are_inverted, lanes.stream, lanes.place, jnp.asarray(MOVES, BITS_DTYPE), law)
    of_tables = jnp.where(active & ~are_inverted, lanes.n, 0)

    def add(i: Array, flows: Flows) -> Flows:
        taken = jnp.clip(of_tables - MOST_TRIALS * i, 0, MOST_TRIALS)
        movers = jnp.where(are_inverted & (i == 0), inverted, _movers(lanes, i, taken, read))
        return tuple(f + m for f, m in zip(flows, _flows_of_movers(lanes, i, movers, read), strict=True))

    parts = jnp.maximum(-(-jnp.max(of_tables) // MOST_TRIALS), 1)
    return _packed(lax.fori_loop(0, parts, add, (jnp.zeros(active.shape, COUNT_DTYPE),) * 4))


def _flows(words: Count, *given: Array) -> Count:
    """All numbers, (4, ...), from words, or where there is none draw by draw."""
    lanes, _ = _taken_apart(*given)

    def found(active: Mask, old: Flows, *given: Array) -> Flows:
        del old
        return _one_by_one(active, *_Lanes(*given)[:-1])

    return jnp.stack(finish_blocks(unpacked(words), words < 0, found, lanes))


def packed(flows: Flows) -> Count:
    """Four numbers below 128 in the bytes of a word."""
    return flows[0] | (flows[1] << 8) | (flows[2] << 16) | (flows[3] << 24)


def unpacked(words: Count) -> Flows:
    """The four numbers in the bytes of a word, which is not negative."""
    return byte_of(words, 0), byte_of(words, 1), byte_of(words, 2), byte_of(words, 3)


def byte_of(words: Count, place: int) -> Count:
    """One of the four numbers."""
    return (words >> (8 * place)) & 255


def _one_by_one(active: Mask, key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real) -> Flows:
    """Two binomials, then two halves, each kind compiled once."""
    stream = Stream(key0, key1)

    def leave(i: Array, carry: tuple[Count, Count]) -> tuple[Count, Count]:
        p = jnp.broadcast_to(jnp.where(i == 0, moves, far), active.shape)
        law = binomial_law(carry[0], p)
        number = (i + MOVES).astype(BITS_DTYPE)
        left = draws.draw(active, stream, index, number, law)
        return jnp.where(p > 0.5, carry[0] - left, left), carry[0]

    def split(i: Array, carry: tuple[Count, Count]) -> tuple[Count, Count]:
        return carry[1], halving.half(stream, index, (i + UP).astype(BITS_DTYPE), carry[0])

    start = jnp.where(active, n, 0)
    far_movers, movers = lax.fori_loop(0, 2, leave, (start, start))
    near = movers - far_movers
    up, far_up = lax.fori_loop(0, 2, split, (near, far_movers))
    return far_movers - far_up, near - up, up, far_up
