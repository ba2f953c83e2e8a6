"""Rates of channels in every voxel, from the state and the parameters."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import TINY_OCCUPANCY, Number, Real
from exodiff.core.expressions import Call, Expression, Name, evaluate, names
from exodiff.kernels.decomposition import ROUNDING, rounded
from exodiff.kernels.neighbours import sum_over_faces
from exodiff.model.network import Channel
from exodiff.problem import Inputs, Problem

Counts = Array  # (species, x, y, z)


class Voxels(NamedTuple):
    """What the expressions of a rate can see: the counts of all species, the inputs, and the time.

    In ``mean_field`` a voxel is a mixture of one with a cell and one without; ``empty`` asks for values in the latter.
    ``instead`` has other numbers of some species, without an array of all.
    """

    problem: Problem
    inputs: Inputs
    counts: Counts
    time_s: Real
    empty: bool = False
    instead: Mapping[int, Array] = MappingProxyType({})

    def real(self, species: int) -> Real:
        """Count of a species as a real, of the problem's precision."""
        number = self.instead[species] if species in self.instead else self.counts[species]
        return number.astype(self.problem.precision)

    def occupancy(self) -> Real:
        """Cells in each voxel: 0 or 1, or anything between in ``mean_field``."""
        network, nothing = self.problem.network, jnp.zeros(self.problem.grid.shape, self.problem.precision)
        # not a sum along an axis, which XLA hands to a library for CPUs that takes ten times as long
        return sum((self.real(species) for species in range(network.first_type, len(network.species))), nothing)

    def value(self, name: str) -> Real:
        """Value of a name in every voxel: a species, a cell type, a parameter, or the time."""
        network = self.problem.network
        if name == "t":
            return self.time_s
        if name.startswith("region.") or name in network.continuous:
            return self.inputs.fields[name]
        if name in network.species:
            species = network.index(name)
            inside = network.num_free <= species < network.first_type
            return self._of_cell(self.real(species)) if inside else self.real(species)
        for parameter, cell_types in network.by_cell:
            if parameter == name:
                values = [
                    self.inputs.parameters[f"{name}.{cell}"] * self.real(network.index(cell)) for cell in cell_types
                ]
                return self._of_cell(sum(values, start=jnp.zeros((), self.problem.precision)))
        return self.inputs.parameters[name]

    def _of_cell(self, in_voxel: Real) -> Real:
        """What a cell has, from what its voxel has on average."""
        if self.problem.engine != "mean_field":
            return in_voxel
        if self.empty:
            return jnp.zeros((), self.problem.precision)
        occupancy = self.occupancy()
        return in_voxel / jnp.where(occupancy > TINY_OCCUPANCY, occupancy, 1.0)

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
        return rounded(jnp.asarray(evaluate(expression, self.look_up, ROUNDING), self.problem.precision))


def with_concentrations(problem: Problem, inputs: Inputs, concentrations: Array | None) -> Inputs:
    """The inputs as rate laws see them: with the continuous species among the fields, none below zero.

    The rule of the second order that follows an implicit field can undershoot.
    """
    if concentrations is None:
        return inputs
    seen = jnp.where(concentrations > 0, concentrations, 0.0)
    fields = dict(zip(problem.network.continuous, seen, strict=True))
    return inputs._replace(fields={**inputs.fields, **fields})


def rate_factor(voxels: Voxels, channel: Channel) -> Real:
    """Events per second of a channel, up to the mass action of its molecular reactants and cell type."""
    problem = voxels.problem
    rate = _rate_constant(voxels, channel) * problem.grid.fluid_volume_um3**channel.volume_power
    if channel.region:
        rate = rate * voxels.inputs.fields[f"region.{channel.region}"]
    if channel.needs_cell:
        rate = rate * voxels.occupancy()
    in_cells = sum(
        1 if species >= problem.network.first_type else order
        for species, order in channel.reactants
        if species >= problem.network.num_free
    )
    if problem.engine == "mean_field" and in_cells > 1 and not channel.is_propensity:
        # reactants that share a cell meet there: occupancy times what a cell has of each
        occupancy = voxels.occupancy()
        rate = rate / jnp.where(occupancy > TINY_OCCUPANCY, occupancy, 1.0) ** (in_cells - 1)
    return rate


def _rate_constant(voxels: Voxels, channel: Channel) -> Real:
    """The rate where the reactants are; without one in a cell, ``mean_field`` averages over voxels with and without."""
    problem, network = voxels.problem, voxels.problem.network
    with_cell = voxels.evaluate(channel.rate)
    of_cells = {*network.in_cell, *(name for name, _ in network.by_cell)}
    has_cell = channel.needs_cell or any(species >= network.num_free for species, _ in channel.reactants)
    if problem.engine != "mean_field" or has_cell or not of_cells & names(channel.rate):
        return with_cell
    occupancy = voxels.occupancy()
    without = voxels._replace(empty=True).evaluate(channel.rate)
    return rounded(occupancy * with_cell) + rounded((1.0 - occupancy) * without)


def mass_action(voxels: Voxels, reactants: tuple[tuple[int, int], ...]) -> Real:
    """Product over reactants of n (n - 1) ... (n - order + 1), or of n^order in ``mean_field``."""
    falling = voxels.problem.engine != "mean_field"
    result = jnp.ones((), voxels.problem.precision)
    for species, order in reactants:
        n = voxels.real(species)
        for i in range(order):
            # not a maximum, whose derivative at 0 is a half
            result = result * (jnp.where(n < i, 0.0, n - i) if falling and i else n)
    return result


def propensity(voxels: Voxels, channel: Channel) -> Real:
    """Events per second in every voxel."""
    factor, network = _unless_exhausted(voxels, channel, rate_factor(voxels, channel)), voxels.problem.network
    if not channel.is_propensity:
        return factor * mass_action(voxels, channel.reactants)
    if voxels.problem.engine == "mean_field":
        if channel.parent is not None:
            factor = factor * voxels.real(channel.parent)
        elif any(species >= network.num_free for species, _ in channel.reactants):
            factor = factor * voxels.occupancy()
    return _unless_short(voxels, factor, channel.reactants)


def event_factor(voxels: Voxels, channel: Channel) -> Real:
    """Events per second of one parent cell, or of one empty voxel, of a channel that makes a cell."""
    factor = rate_factor(voxels, channel)
    others = tuple((s, o) for s, o in channel.reactants if s != channel.parent)
    return _unless_short(voxels, factor if channel.is_propensity else factor * mass_action(voxels, others), others)


def _unless_short(voxels: Voxels, rate: Real, reactants: tuple[tuple[int, int], ...]) -> Real:
    """Zero where a reactant is short; in ``mean_field`` where there is none of it."""
    for species, order in reactants:
        n = voxels.real(species)
        rate = jnp.where(n > 0 if voxels.problem.engine == "mean_field" else n >= order, rate, 0.0)
    return rate


def _unless_exhausted(voxels: Voxels, channel: Channel, rate: Real) -> Real:
    """Zero where a concentration does not hold the molecules of one more event; in ``mean_field`` where it is zero."""
    problem = voxels.problem
    for field, change in channel.deposits:
        if change < 0:
            needed = 0.0 if problem.engine == "mean_field" else -change / problem.grid.fluid_volume_um3
            there = voxels.inputs.fields[problem.network.continuous[field]]
            rate = jnp.where((there >= needed) & (there > 0), rate, 0.0)
    return rate


def propensity_after(voxels: Voxels, channel: Channel) -> Callable[[Number], Real]:
    """The channel's propensity as a function of its own events so far."""
    grid = voxels.problem.grid

    def after(events: Number) -> Real:
        precision = voxels.problem.precision
        numbers = {s: voxels.real(s) + (change * events).astype(precision) for s, change in channel.changes}
        fields = dict(voxels.inputs.fields)
        for field, change in channel.deposits:
            added = change / grid.fluid_volume_um3 * events.astype(precision)
            name = voxels.problem.network.continuous[field]
            fields[name] = fields[name] + added
        inputs = voxels.inputs._replace(fields=fields)
        seen = voxels._replace(inputs=inputs, instead=numbers)
        return jnp.broadcast_to(propensity(seen, channel), grid.shape)

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
