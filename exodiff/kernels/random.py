"""Random bits by address: a pure function of seed, replicate, step, site, voxel and draw number.

Nothing is carried from one draw to the next, so bits do not depend on devices, chunks, the order of operations or a
resume. The generator is Threefry-2x32 with 20 rounds (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel
random numbers: as easy as 1, 2, 3", SC'11, 2011).
"""

import hashlib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, Bits, Count, Real

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_RETRY_BASE = 0x4000_0000  # draw numbers of retries start here, above all first words


Address = Bits | Count | int | np.integer


class Stream(NamedTuple):
    """A key of two words; every pair (voxel, number) under it addresses two random words."""

    key0: Bits
    key1: Bits


@partial(jax.jit, inline=True)  # written down once, for the forty calls of a step
def threefry2x32(stream: Stream, counter0: Bits, counter1: Bits) -> tuple[Bits, Bits]:
    """Encrypt the counter with the key: two independent uniform 32-bit words, broadcast over the arguments."""
    keys = (stream.key0, stream.key1, stream.key0 ^ stream.key1 ^ jnp.asarray(_PARITY, BITS_DTYPE))
    x0, x1 = counter0 + keys[0], counter1 + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.asarray(group + 1, BITS_DTYPE)
    return x0, x1


def make_stream(seed: Bits | int, replicate: Bits | int) -> Stream:
    """The root stream of one replicate of one seed."""
    return Stream(jnp.asarray(seed, BITS_DTYPE), jnp.asarray(replicate, BITS_DTYPE))


def fold(stream: Stream, address0: Address, address1: Address = 0) -> Stream:
    """The stream below this one at an address, e.g. (step, substep) or (site, 0)."""
    return Stream(*threefry2x32(stream, jnp.asarray(address0, BITS_DTYPE), jnp.asarray(address1, BITS_DTYPE)))


def site_id(name: str) -> int:
    """A 32-bit address from the name of what draws, so that adding a reaction changes no other draw."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def word_pair(stream: Stream, index: Bits, number: Bits | int) -> tuple[Bits, Bits]:
    """The two words of draw ``number`` (0, 1, 2, ...) of each index."""
    return threefry2x32(stream, index, jnp.asarray(number, BITS_DTYPE))


def words(stream: Stream, index: Bits, number: int) -> Bits:
    """The first word of draw ``number`` of each index."""
    return word_pair(stream, index, number)[0]


def retry_words(stream: Stream, index: Bits, number: Bits, attempt: Bits) -> tuple[Bits, Bits]:
    """The two words of a later attempt at draw ``number`` of each index."""
    return threefry2x32(stream, index, retry_number(number, attempt))


def retry_number(number: Bits, attempt: Bits) -> Bits:
    """The number of a later attempt at draw ``number`` (below 3072, attempt below 2^20)."""
    return jnp.asarray(_RETRY_BASE, BITS_DTYPE) + (number << 20) + attempt


def to_unit_interval(word: Bits, fine_word: Bits | None = None) -> Real:
    """A float32 in (0, 1] from one word (steps of 2^-32) or two (steps of 2^-64), with full relative precision at 0."""
    coarse = word.astype(jnp.float32)
    fine = jnp.float32(0.5)
    if fine_word is not None:
        fine = (fine_word.astype(jnp.float32) + fine) * jnp.float32(2.0**-32)
    return (coarse + fine) * jnp.float32(2.0**-32)


def voxel_index(shape: tuple[int, ...]) -> Bits:
    """Address of each voxel, in C order, as unsigned words of the given shape."""
    index = jnp.zeros(shape, BITS_DTYPE)
    for axis, length in enumerate(shape):
        index = index * length + lax.broadcasted_iota(BITS_DTYPE, shape, axis)
    return index
