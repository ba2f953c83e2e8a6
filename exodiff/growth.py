"""How fast species that make each other can grow: a bound on the step where no molecule leaves.

A channel whose products raise the propensity of channels that make its reactants closes a loop of feedback. The growth
rate of all loops together is at most the spectral radius of the matrix of d(production of i) / d(count of j); only the
entries on a loop are computed. A loop without production (a reversible reaction) gives at most its exit rates, so it
changes no step.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.core.arrays import Real
from exodiff.core.expressions import names
from exodiff.kernels.rates import Voxels, propensity
from exodiff.model.network import Channel, Network, NewCell

_SQUARINGS = 4


class Edge(NamedTuple):
    """A channel that makes ``made`` at a rate that depends on ``maker``."""

    channel: Channel
    maker: int
    made: int


@lru_cache(maxsize=64)
def feedback_edges(network: Network) -> tuple[Edge, ...]:
    """The edges that lie on a loop."""
    edges = [
        Edge(channel, maker, made)
        for channel in network.channels
        if channel.new_cell is NewCell.NONE
        for maker in _makers(channel, network)
        for made in _made(channel)
    ]
    size = len(network.species)
    reach = np.zeros((size, size), bool)
    for edge in edges:
        reach[edge.maker, edge.made] = True
    for middle in range(size):
        reach |= reach[:, middle, None] & reach[None, middle]
    return tuple(edge for edge in edges if reach[edge.made, edge.maker])


def _makers(channel: Channel, network: Network) -> set[int]:
    named = {network.index(name) for name in names(channel.rate) if name in network.species}
    return named | {species for species, _ in channel.reactants}


def _made(channel: Channel) -> set[int]:
    return {s for s, change in channel.changes if change > 0} | {product.species for product in channel.bursts}


def growth_rate(voxels: Voxels) -> Real:
    """Largest rate, per second, at which loops of feedback can grow anywhere on the lattice; 0 without a loop."""
    problem, network = voxels.problem, voxels.problem.network
    edges = feedback_edges(network)
    if not edges:
        return jnp.zeros((), problem.precision)
    matrix = jnp.zeros((len(network.species),) * 2, problem.precision)
    for (made, maker), channels in _grouped(edges).items():
        slope = sum((_production_slope(voxels, channel, maker, made) for channel in channels), jnp.zeros(()))
        matrix = matrix.at[made, maker].set(jnp.max(slope))
    return _spectral_radius(matrix)


def _grouped(edges: tuple[Edge, ...]) -> dict[tuple[int, int], list[Channel]]:
    result: dict[tuple[int, int], list[Channel]] = {}
    for edge in edges:
        result.setdefault((edge.made, edge.maker), []).append(edge.channel)
    return result


def _production_slope(voxels: Voxels, channel: Channel, maker: int, made: int) -> Real:
    """d(copies of ``made`` per second) / d(count of ``maker``) in every voxel, or its size where it is negative."""

    def rate(count: Real) -> Real:
        return jnp.broadcast_to(propensity(voxels._replace(instead={maker: count}), channel), count.shape)

    count = voxels.real(maker)
    slope = jax.jvp(rate, (count,), (jnp.ones_like(count),))[1]
    copies = jnp.asarray(channel.change_of.get(made, 0), count.dtype)
    for product in channel.bursts:
        if product.species == made:
            mean = jnp.ones((), count.dtype)
            for argument in product.burst.arguments:
                mean = mean * voxels.evaluate(argument)
            copies = copies + mean
    return jnp.abs(slope) * copies


def _spectral_radius(matrix: Real) -> Real:
    """Upper bound of the spectral radius of a matrix without negative entries: the norm of a power of it."""
    log_scale = jnp.zeros((), matrix.dtype)
    for _ in range(_SQUARINGS):
        norm = jnp.maximum(jnp.max(jnp.sum(matrix, axis=1)), jnp.finfo(matrix.dtype).tiny)
        matrix = jnp.matmul(matrix / norm, matrix / norm, precision="highest")
        log_scale = 2.0 * (log_scale + jnp.log(norm))
    norm = jnp.max(jnp.sum(matrix, axis=1))
    log_radius = (log_scale + jnp.log(jnp.maximum(norm, jnp.finfo(matrix.dtype).tiny))) / 2**_SQUARINGS
    return jnp.where(norm > 0, jnp.exp(log_radius), 0.0)
