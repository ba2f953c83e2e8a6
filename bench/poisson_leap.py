"""Plain Poisson tau-leaping, for comparison only: all events of a step from the propensities at its start.

D. T. Gillespie, "Approximate accelerated stochastic simulation of chemically reacting systems", J. Chem. Phys. 115
(2001): every channel and every hop is a Poisson number, and a count that would fall below zero is set to zero.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.kernels.diffusion import hop_rates
from exodiff.kernels.rates import Voxels, propensity
from exodiff.model.network import Product
from exodiff.problem import Inputs
from exodiff.start import precision_context
from tests.physics.checks.states import Space, burst_pmf


def sample(space: Space, dt_s: float, num_steps: int, replicates: int, seed: int = 0) -> np.ndarray:
    """States after so many steps, (replicates, species, voxels)."""
    random = np.random.default_rng(seed)
    channels = space.problem.network.channels
    propensities = _propensities(space)
    states = np.repeat(space.states[:1], replicates, axis=0)
    for _ in range(num_steps):
        means = propensities(states) * dt_s
        change = np.zeros_like(states)
        for channel, mean in zip(channels, means.swapaxes(0, 1), strict=True):
            events = random.poisson(mean)
            for species, amount in channel.changes:
                change[:, species] += amount * events
            for product in channel.bursts:
                change[:, product.species] += _burst(space, product, events, random)
        change += _hops(space, states, dt_s, random)
        states = np.maximum(states + change, 0)
    return states


def _propensities(space: Space) -> Callable[[np.ndarray], np.ndarray]:
    """(replicates, channels, voxels) of some states."""
    grid, channels = space.problem.grid, space.problem.network.channels

    def of_one(inputs: Inputs, state: Array) -> Array:
        now = jnp.zeros((), space.problem.precision)
        voxels = Voxels(space.problem, inputs, state.reshape(-1, *grid.shape), now)
        return jnp.stack([jnp.broadcast_to(propensity(voxels, c), grid.shape).ravel() for c in channels])

    compiled = jax.jit(jax.vmap(of_one, in_axes=(None, 0)))

    def of_all(states: np.ndarray) -> np.ndarray:
        with precision_context(space.problem.precision):
            return np.asarray(compiled(space.inputs, states))

    return of_all


def _burst(space: Space, product: Product, events: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Copies made by Poisson bursts."""
    size = 200
    mean = burst_pmf(space, product, 1, size) @ np.arange(size)
    return random.poisson(mean * events)


def _hops(space: Space, states: np.ndarray, dt_s: float, random: np.random.Generator) -> np.ndarray:
    grid, network = space.problem.grid, space.problem.network
    places = np.arange(grid.num_voxels).reshape(grid.shape)
    change = np.zeros_like(states)
    for species, expression in enumerate(network.diffusivity):
        for axis in (a for a in range(3) if expression is not None and grid.can_hop(a)):
            with precision_context(space.problem.precision):
                first = space.voxels(space.counts[0])
                both = hop_rates(first.evaluate(expression), grid, axis)
            for rates, step in zip(both, (-1, 1), strict=True):
                rate = np.broadcast_to(np.asarray(rates), grid.shape).ravel()
                neighbour = np.roll(places, -step, axis).ravel()
                moved = random.poisson(rate * dt_s * states[:, species])
                change[:, species] -= moved
                np.add.at(change[:, species], (slice(None), neighbour), moved)
    return change
