"""Fair halves: Binomial(n, 1/2) by counting random bits, one bit a trial."""

import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask
from exodiff.kernels.lanes import elementwise, finish_blocks, first_true
from exodiff.kernels.laws import Law
from exodiff.kernels.random import Stream, retry_words, word_pair
from exodiff.kernels.rejection import draw_by_rejection

_BITS = 32
_COUNTED = 1024  # most trials of which each has its bit; above, transformed rejection


def half(stream: Stream, index: Bits, number: Bits | int, n: Count) -> Count:
    """Draw Binomial(n, 1/2) for each index: exact, and several times cheaper than the general binomial up to 32.

    Takes one word of the pair ``number // 2``: an even number the first, an odd one the second.
    """
    return _half(stream.key0, stream.key1, index, jnp.asarray(number, BITS_DTYPE), n)


@elementwise
def _half(key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count) -> Count:
    stream = Stream(key0, key1)
    n = jnp.broadcast_to(n, jnp.broadcast_shapes(key0.shape, index.shape, number.shape, n.shape))
    found = _among_first(stream, index, number, n)

    def finish(unfinished: Mask, _: Count, key0: Bits, key1: Bits, index: Bits, number: Bits, n: Count) -> Count:
        return _many(unfinished, Stream(key0, key1), index, number, n)

    return finish_blocks(found, n > _BITS, finish, (key0, key1, index, number, n))


def _among_first(stream: Stream, index: Bits, number: Bits, n: Count) -> Count:
    """The ones among the first 32 bits."""
    one, two = word_pair(stream, index, number >> 1)
    return first_ones(jnp.where(number & 1 == 0, one, two), n)


def _many(unfinished: Mask, stream: Stream, index: Bits, number: Bits, n: Count) -> Count:
    """As :func:`half` where n is above 32."""

    def count_more(carry: tuple[Count, Count, Bits]) -> tuple[Count, Count, Bits]:
        found, left, attempt = carry
        one, two = retry_words(stream, index, number, attempt)
        found = found + first_ones(one, left) + first_ones(two, left - _BITS)
        return found, left - 2 * _BITS, attempt + jnp.asarray(1, BITS_DTYPE)

    many = n > _COUNTED
    first = _among_first(stream, index, number, n)
    start = (first, jnp.where(unfinished & ~many, n - _BITS, 0), jnp.asarray(0, BITS_DTYPE))
    counted = lax.while_loop(lambda c: first_true(c[1] > 0)[0], count_more, start)[0]
    law = Law(jnp.where(many, n, 0).astype(jnp.float32), jnp.full(n.shape, 0.5, jnp.float32))
    return jnp.where(many, draw_by_rejection(unfinished & many, stream, index, number, law), counted)


def first_ones(word: Bits, n: Count) -> Count:
    """Number of ones among the first n bits of a word, n taken between 0 and 32."""
    used = jnp.clip(n, 0, _BITS).astype(BITS_DTYPE)
    # a shift by 32 is undefined, so the last bit is shifted out in a second step
    mask = (jnp.asarray(1, BITS_DTYPE) << jnp.minimum(used, _BITS - 1)) - jnp.asarray(1, BITS_DTYPE)
    mask = jnp.where(used == _BITS, jnp.asarray(0xFFFFFFFF, BITS_DTYPE), mask)
    return lax.population_count(word & mask).astype(COUNT_DTYPE)
