"""Exact integer hops of one law in all voxels: both ways alike, by one or two voxels.

What leaves a voxel is one multinomial number: of n molecules some move, of these some go far, and a fair half of each
goes up. Where few of them move, these draws are one loop over the lattice whose result is one word a voxel; the voxels
that need more are found and done again, draw by draw, with the same law and the same random words.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels import draws, halving
from exodiff.kernels.decomposition import by_pieces
from exodiff.kernels.lanes import batched, finish_blocks
from exodiff.kernels.laws import binomial_law
from exodiff.kernels.random import Stream, word_pair

Flows = tuple[Number, ...]
"""Numbers that move by -2, -1, +1, +2 voxels."""

Place = Array | int | np.integer
"""Where in a list: known when compiled, or only when it runs."""

Collect = Callable[[Flows, Place], Number]
"""From flows, and the place of the law among those of the lattice, to the net gain of each voxel."""

MOVES, FAR, UP, FAR_UP = 0, 1, 4, 5  # numbers of the draws; the halves share one pair of words
_MOST = 32  # movers a voxel whose halves take one word, and whose four numbers fit into one


class EvenHop(NamedTuple):
    """Probability that a molecule moves, and that a mover goes two voxels."""

    moves: Real
    far: Real


def drawn_gain(stream: Stream, index: Bits, n: Count, law: EvenHop, place: Array, collect: Collect) -> Count:
    """Net gain of each voxel; ``collect`` must be one object for one meaning, as it is compiled."""
    return _compiled(collect)(stream.key0, stream.key1, index, n, law.moves, law.far, place)


@lru_cache(maxsize=64)
def _compiled(collect: Collect) -> Callable[..., Count]:
    @batched
    def gain(key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real, place: Array) -> Count:
        given = (key0, key1, index, n, moves, far)
        packed = by_pieces(_packed, *given)

        def any_number() -> Count:
            flows = by_pieces(_finished, packed, *given)
            return collect((flows[0], flows[1], flows[2], flows[3]), place)

        return lax.cond(jnp.min(packed) < 0, any_number, lambda: collect(_unpack(packed), place))

    return gain


def drawn_word(stream: Stream, index: Bits, n: Count, law: EvenHop) -> Count:
    """What leaves each voxel, in one word; :func:`flows_of` tells what it stands for."""
    return _word(stream.key0, stream.key1, index, n, law.moves, law.far)


def flows_of(word: Count, stream: Stream, index: Bits, n: Count, law: EvenHop) -> Flows:
    """The flows of a word that :func:`drawn_word` gave for the same arguments."""
    return _flows(word, stream.key0, stream.key1, index, n, law.moves, law.far)


@batched
def _word(*given: Array) -> Count:
    return by_pieces(_packed, *given)


@batched
def _flows(word: Count, *given: Array) -> tuple[Count, ...]:
    def any_number() -> tuple[Count, ...]:
        flows = by_pieces(_finished, word, *given)
        return flows[0], flows[1], flows[2], flows[3]

    return lax.cond(jnp.min(word) < 0, any_number, lambda: _unpack(word))


def _packed(key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real) -> Count:
    """The four numbers in the four bytes of a word, or -1 where the common case does not suffice."""
    stream = Stream(key0, key1)

    def by(inverted: Callable[..., Count]) -> Count:
        movers = inverted(stream, index, MOVES, binomial_law(n, moves))
        goes_far = draws.inverted_short(stream, index, FAR, binomial_law(movers, far))
        near = movers - goes_far
        bits = word_pair(stream, index, UP // 2)
        up, far_up = halving.first_ones(bits[0], near), halving.first_ones(bits[1], goes_far)
        packed = (goes_far - far_up) | ((near - up) << 8) | (up << 16) | (far_up << 24)
        common = (moves <= 0.5) & (movers >= 0) & (movers <= _MOST) & (goes_far >= 0)
        return lax.optimization_barrier(jnp.where(common, packed, -1))

    crowded = draws.is_crowded(binomial_law(n, moves))
    return lax.cond(crowded, lambda: by(draws.inverted_long), lambda: by(draws.inverted_short))


def _finished(packed: Count, *given: Array) -> Count:
    """All numbers, (4, ...): also those of the voxels that need more."""
    return jnp.stack(finish_blocks(_unpack(packed), packed < 0, _one_by_one, given))


def _unpack(packed: Count) -> tuple[Count, ...]:
    return tuple((packed >> shift) & 255 for shift in (0, 8, 16, 24))


def _one_by_one(
    active: Mask, old: Flows, key0: Bits, key1: Bits, index: Bits, n: Count, moves: Real, far: Real
) -> Flows:
    """Two binomials, then two halves, each kind compiled once."""
    del old
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
