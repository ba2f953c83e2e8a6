"""Rates of channels in every voxel, from the state and the parameters."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import TINY_OCCUPANCY, Number, Real
from exodiff.core.expressions import Call, Expression, Name, evaluate
from exodiff.kernels.neighbours import sum_over_faces
from exodiff.model.network import Channel
from exodiff.problem import Inputs, Problem

Counts = Array  # (species, x, y, z)


class Voxels(NamedTuple):
    """What the expressions of a rate can see: the counts of all species, the inputs, and the time."""

    problem: Problem
    inputs: Inputs
    counts: Counts
    time_s: Real

    def real(self, species: int) -> Real:
        """Count of a species as a real, of the problem's precision."""
        return self.counts[species].astype(self.problem.precision)

    def occupancy(self) -> Real:
        """Cells in each voxel: 0 or 1, or anything between in ``mean_field``."""
        network = self.problem.network
        types = self.counts[network.first_type : len(network.species)]
        return jnp.sum(types.astype(self.problem.precision), axis=0)

    def value(self, name: str) -> Real:
        """Value of a name in every voxel: a species, a cell type, a parameter, or the time."""
        network = self.problem.network
        if name == "t":
            return self.time_s
        if name.startswith("region."):
            return self.inputs.fields[name]
        if name in network.species:
            species = network.index(name)
            inside = network.num_free <= species < network.first_type
            if inside and self.problem.engine == "mean_field":
                occupancy = self.occupancy()
                return self.real(species) / jnp.where(occupancy > TINY_OCCUPANCY, occupancy, 1.0)
            return self.real(species)
        for parameter, cell_types in network.by_cell:
            if parameter == name:
                values = [
                    self.inputs.parameters[f"{name}.{cell}"] * self.real(network.index(cell)) for cell in cell_types
                ]
                return sum(values, start=jnp.zeros((), self.problem.precision))
        return self.inputs.parameters[name]

    def look_up(self, node: Name | Call) -> Real:
        """Value of a name or of a special form."""
        if isinstance(node, Name):
            return self.value(node.name)
        (argument,) = node.arguments
        assert isinstance(argument, Name)
        if node.function == "conc":
            return self.value(argument.name) / self.problem.grid.fluid_volume_um3
        return sum_over_faces(self.real(self.problem.network.index(argument.name)), self.problem.grid)

    def evaluate(self, expression: Expression) -> Real:
        """Value of an expression, broadcastable on the lattice."""
        return jnp.asarray(evaluate(expression, self.look_up, jnp), self.problem.precision)


def rate_factor(voxels: Voxels, channel: Channel) -> Real:
    """Events per second of a channel, up to the mass action of its molecular reactants and cell type."""
    problem = voxels.problem
    rate = voxels.evaluate(channel.rate) * problem.grid.fluid_volume_um3**channel.volume_power
    if channel.region:
        rate = rate * voxels.inputs.fields[f"region.{channel.region}"]
    if channel.needs_cell:
        rate = rate * voxels.occupancy()
    return rate


def mass_action(voxels: Voxels, reactants: tuple[tuple[int, int], ...]) -> Real:
    """Product over reactants of n (n - 1) ... (n - order + 1), or of n^order in ``mean_field``."""
    falling = voxels.problem.engine != "mean_field"
    result = jnp.ones((), voxels.problem.precision)
    for species, order in reactants:
        n = voxels.real(species)
        for i in range(order):
            result = result * (jnp.maximum(n - i, 0.0) if falling and i else n)
    return result


def propensity(voxels: Voxels, channel: Channel) -> Real:
    """Events per second in every voxel."""
    factor = rate_factor(voxels, channel)
    if not channel.is_propensity:
        return factor * mass_action(voxels, channel.reactants)
    for species, order in channel.reactants:
        factor = jnp.where(voxels.real(species) >= order, factor, 0.0)
    return factor


def propensity_after(voxels: Voxels, channel: Channel) -> Callable[[Number], Real]:
    """The channel's propensity as a function of its own events so far."""

    def after(events: Number) -> Real:
        counts = voxels.counts
        for species, change in channel.changes:
            counts = counts.at[species].add((change * events).astype(counts.dtype))
        shape = voxels.problem.grid.shape
        return jnp.broadcast_to(propensity(voxels._replace(counts=counts), channel), shape)

    return after


def exit_rate(voxels: Voxels, channel: Channel, species: int, *, anywhere: bool = False) -> Real:
    """Rate at which one molecule (or cell) of a reactant is used up by a channel.

    Zero where there is none, unless ``anywhere``: then what a first one would meet.
    """
    used = -channel.change_of.get(species, 0)
    n = voxels.real(species)
    present = jnp.ones((), bool) if anywhere else n > 0
    if channel.is_propensity:
        return jnp.where(present, used * propensity(voxels, channel) / jnp.maximum(n, 1.0), 0.0)
    order = dict(channel.reactants)[species]
    others = tuple((s, o) for s, o in channel.reactants if s != species)
    own = jnp.ones((), voxels.problem.precision)
    for i in range(1, order):
        own = own * jnp.maximum(n - i, 0.0)
    return jnp.where(present, used * rate_factor(voxels, channel) * own * mass_action(voxels, others), 0.0)
