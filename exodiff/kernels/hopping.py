"""Exact integer hops of one law in all voxels: both ways alike, by one or two voxels.

What leaves a voxel is one multinomial number: of n molecules some move, of these some go far, and a fair half of each
goes up. Where few of them move, these draws are one loop over the lattice whose result is one word a voxel; the voxels
that need more are found and done again, draw by draw, with the same law and the same random words.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels import draws, halving
from exodiff.kernels.decomposition import by_pieces
from exodiff.kernels.lanes import batched, finish_blocks, smallest
from exodiff.kernels.laws import binomial_law
from exodiff.kernels.random import Stream, word_pair

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


MOVES, FAR, UP, FAR_UP = 0, 1, 4, 5  # numbers of the draws; the halves share one pair of words
_MOST = 32  # movers a voxel whose halves take one word
_MOST_IN_BYTE = 127  # so that a word is not negative


class EvenHop(NamedTuple):
    """Probability that a molecule moves, and that a mover goes two voxels."""

    moves: Real
    far: Real


def drawn_gain(stream: Stream, index: Bits, n: Count, law: EvenHop, place: Array, collect: Collect) -> Count:
    """Net gain of each voxel; ``collect`` must be one object for one meaning, as it is compiled."""
    return _compiled(collect)(stream.key0, stream.key1, index, n, law.moves, law.far, place)


@functools.lru_cache(maxsize=64)
def _compiled(collect: Collect) -> Callable[..., Count]:
    @batched
    def gain(key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real, place: Array) -> Count:
        given = (key0, key1, index, n, moves, far)
        words = by_pieces(_words, *given)

        def any_number() -> Count:
            flows = by_pieces(_flows, words, *given)
            return collect.of_flows((flows[0], flows[1], flows[2], flows[3]), place)

        return lax.cond(smallest(words) < 0, any_number, lambda: collect.of_words(words, place))

    return gain


def drawn_word(stream: Stream, index: Bits, n: Count, law: EvenHop) -> Count:
    """What leaves each voxel, in one word; :func:`flows_of` tells what it stands for."""
    return _word(stream.key0, stream.key1, index, n, law.moves, law.far)


def flows_of(word: Count, stream: Stream, index: Bits, n: Count, law: EvenHop) -> Flows:
    """The flows of a word that :func:`drawn_word` gave for the same arguments."""
    return _flows_of_word(word, stream.key0, stream.key1, index, n, law.moves, law.far)


@batched
def _word(*given: Array) -> Count:
    return by_pieces(_words, *given)


@batched
def _flows_of_word(word: Count, *given: Array) -> Flows:
    def any_number() -> Flows:
        flows = by_pieces(_flows, word, *given)
        return flows[0], flows[1], flows[2], flows[3]

    return lax.cond(smallest(word) < 0, any_number, lambda: unpacked(word))


def _common(key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real) -> Count:
    """The four numbers in a word, or -1 where the common case does not suffice."""
    stream = Stream(key0, key1)

    def by(inverted: Callable[..., Count]) -> Count:
        movers = inverted(stream, index, MOVES, binomial_law(n, moves))
        goes_far = draws.inverted_short(stream, index, FAR, binomial_law(movers, far))
        near = movers - goes_far
        bits = word_pair(stream, index, UP // 2)
        up, far_up = halving.first_ones(bits[0], near), halving.first_ones(bits[1], goes_far)
        common = (moves <= 0.5) & (movers >= 0) & (movers <= _MOST) & (goes_far >= 0)
        word = packed((goes_far - far_up, near - up, up, far_up))
        return lax.optimization_barrier(jnp.where(common, word, -1))

    crowded = draws.is_crowded(binomial_law(n, moves))
    return lax.cond(crowded, lambda: by(draws.inverted_long), lambda: by(draws.inverted_short))


def _words(*given: Array) -> Count:
    """The four numbers in the four bytes of a word, or -1 where they do not fit."""
    common = _common(*given)
    return finish_blocks(common, common < 0, _one_word, given)


def _one_word(active: Mask, old: Count, *given: Array) -> Count:
    del old
    flows = _one_by_one(active, *given)
    fits = functools.reduce(jnp.maximum, flows) <= _MOST_IN_BYTE
    return jnp.where(fits, packed(flows), -1)


def _flows(words: Count, *given: Array) -> Count:
    """All numbers, (4, ...), from words or draw by draw."""

    def found(active: Mask, old: Flows, *given: Array) -> Flows:
        del old
        return _one_by_one(active, *given)

    return jnp.stack(finish_blocks(unpacked(words), words < 0, found, given))


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
