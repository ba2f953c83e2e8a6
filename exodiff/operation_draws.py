"""What an operation of a step draws: its inputs, and one function a kind of draw.

A place in the list is a number, or one that is known only when the program runs; :func:`choose` takes either.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.core.expressions import Expression, names
from exodiff.hop_tables import hops_per_step, per_area
from exodiff.kernels.alias_tables import Tables
from exodiff.kernels.diffusion import (
    Transition,
    entry_rate,
    even_hop_gain,
    even_mean_gain,
    hop_flows,
    hop_rates,
    injection,
    net_gain,
    net_gain_of_words,
    transition,
)
from exodiff.kernels.faces import fluid_velocity
from exodiff.kernels.hopping import LAW, Collect, Flows, Place, even_hop
from exodiff.kernels.policies import Mean, Policy, taken
from exodiff.kernels.pools import with_pools
from exodiff.kernels.random import Stream
from exodiff.kernels.rates import Voxels, with_concentrations
from exodiff.kernels.reactions import (
    DrawInputs,
    draw_inputs,
    mass_action_events,
    modulated_events,
)
from exodiff.lattice.grid import Grid
from exodiff.model.network import DrawKind
from exodiff.operations import (
    EVEN_HOP,
    HOP,
    MODULATED,
    TRIAL,
    Operation,
    hop_laws,
    operations,
)
from exodiff.problem import Inputs, Problem

Share = Real | float | np.floating


class Amounts(NamedTuple):
    """What a pass changes: counts (species, x, y, z), event counters (counters, 2), concentrations and pools.

    The latter are None without any; ``is_solved`` says whether the concentrations could be found, ``log_p`` is the
    log-probability of the draws where the policy notes it.
    """

    counts: Array
    events: Array
    concentrations: Array | None = None
    pools: Array | None = None
    is_solved: Mask | None = None
    log_p: Array | None = None


class Step(NamedTuple):
    """What the operations of one step share; tables are those of even hops, and its own begin at a place.

    Diffusivities, by expression, are those that no operation changes.
    """

    problem: Problem
    inputs: Inputs
    policy: Policy
    stream: Stream
    places: Bits
    time_s: Real
    dt_s: Real
    tables: Tables | None = None
    first_table: Count | int = 0
    diffusivities: Mapping[Expression, Real] = MappingProxyType({})

    def voxels(self, amounts: Amounts) -> Voxels:
        """The state as rate laws see it."""
        inputs = with_concentrations(self.problem, self.inputs, amounts.concentrations)
        inputs = with_pools(self.problem, inputs, amounts.pools)
        return Voxels(self.problem, inputs, amounts.counts, self.time_s)


def kinds_of_draw(problem: Problem) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """The kinds of draw that occur, and the operations with a draw of their own."""
    listed = operations(problem)
    kinds = sorted({op.kind(problem) for op in listed} - {MODULATED})
    return tuple(kinds), tuple(op for op in listed if op.kind(problem) == MODULATED)


def inputs_of(step: Step, amounts: Amounts, operation: Operation) -> DrawInputs:
    """Inputs of an operation's draw."""
    if operation.channel is not None:
        return draw_inputs(step.voxels(amounts), operation.channel, step.dt_s)
    grid = step.problem.grid
    nothing = jnp.zeros(grid.shape, amounts.counts.dtype)
    if operation.hop is not None:
        species = operation.hop[0]
        diffusivity = jnp.broadcast_to(_diffusivity(step, amounts, species), grid.shape)
        return DrawInputs(amounts.counts[species], nothing, diffusivity)
    wall = operation.wall
    assert wall is not None
    grid = step.problem.grid_of(wall.species)
    diffusivity = _diffusivity(step, amounts, wall.species)
    velocity = fluid_velocity(step.problem, step.inputs, wall.axis)
    rates = hop_rates(diffusivity, grid, wall.axis, velocity)
    entry = entry_rate(rates, diffusivity, grid, wall.axis, wall.side, velocity)
    outside = step.voxels(amounts).evaluate(wall.concentration) * grid.fluid_volume_um3
    entering = injection(rates, entry, outside, step.dt_s * (1.0 / operation.parts), grid, wall.axis, wall.side)
    return DrawInputs(nothing, nothing, jnp.broadcast_to(entering, grid.shape))


def _diffusivity(step: Step, amounts: Amounts, species: int) -> Real:
    """One value, or a field of them."""
    expression = step.problem.network.diffusivity[species]
    assert expression is not None
    field = step.inputs.fields.get(f"diffusion.{step.problem.network.species[species]}")
    if field is not None:
        return field
    known = step.diffusivities.get(expression)
    return step.voxels(amounts).evaluate(expression) if known is None else known


def with_diffusivities(step: Step, amounts: Amounts) -> Step:
    """The step with diffusivities that read concentrations, but nothing that an operation changes."""
    network = step.problem.network
    deposited = {network.continuous[field] for channel in network.channels for field, _ in channel.deposits}
    changing = {*network.species, *step.problem.pools.names, *deposited}
    found = {
        d: step.voxels(amounts).evaluate(d)
        for d in dict.fromkeys(network.diffusivity)  # in their order, so that the program is always the same
        if d is not None and names(d) & {*network.continuous} and not names(d) & changing
    }
    return step._replace(diffusivities=found)


def draws(step: Step) -> list[Callable[..., tuple[Number, Array | None]]]:
    """One function a kind of draw that occurs, then one a modulated channel: events, and what the policy noted."""
    policy, places = step.policy, step.places
    kinds, own = kinds_of_draw(step.problem)
    shared: dict[str, Callable[..., Number]] = {
        EVEN_HOP: lambda stream, inputs, amounts, law, even, table, share: even_gain(step, stream, inputs, law, even),
        HOP: lambda stream, inputs, amounts, law, even, table, share: uneven_gain(step, stream, inputs, law, share),
        DrawKind.BINOMIAL.value: lambda stream, inputs, amounts, law, even, table, share: policy.binomial(
            stream, places, 0, inputs.first, inputs.real
        ),
        TRIAL: lambda stream, inputs, amounts, law, even, table, share: policy.trial(
            stream, places, 0, inputs.first, inputs.real
        ),
        DrawKind.POISSON.value: lambda stream, inputs, amounts, law, even, table, share: policy.poisson(
            stream, places, 0, inputs.real
        ),
        DrawKind.CHAIN.value: lambda stream, inputs, amounts, law, even, table, share: mass_action_events(
            policy, stream, places, inputs, jnp.asarray(table, COUNT_DTYPE)
        ),
    }

    def modulated(operation: Operation) -> Callable[..., Number]:
        def events(stream: Stream, inputs: DrawInputs, amounts: Amounts, *row: Place | Share | np.ndarray) -> Number:
            del inputs, row
            assert operation.channel is not None
            return modulated_events(policy, stream, places, step.voxels(amounts), operation.channel, step.dt_s)

        return events

    def noting(draw: Callable[..., Number]) -> Callable[..., tuple[Number, Array | None]]:
        return lambda *operands: (draw(*operands), taken(policy))

    return [noting(draw) for draw in (*(shared[kind] for kind in kinds), *map(modulated, own))]


def even_gain(step: Step, stream: Stream, inputs: DrawInputs, law: Place, even: Place) -> Number:
    """Net gain of each voxel by the even hops of a law in ``hop_laws``, which is one of ``even_laws`` too."""
    laws = hop_laws(step.problem)
    hops = hops_per_step(inputs.real[0, 0, 0], step.dt_s, per_area(step.problem)[even])
    if isinstance(step.policy, Mean):
        choices = [lambda n, axis=axis, grid=grid: even_mean_gain(n, hops, grid, axis) for axis, grid in laws]
        return choose(law, choices, inputs.first)
    drawn = even_hop(hops)._replace(tables=step.tables, start=step.first_table + jnp.asarray(even) * LAW)
    return even_hop_gain(step.policy, stream, step.places, inputs.first, drawn, law, _collect(laws))


def uneven_gain(step: Step, stream: Stream, inputs: DrawInputs, law: Place, share: Share) -> Number:
    """Net gain of each voxel by the hops of a law in ``hop_laws``, for a share of the step.

    All laws share one set of compiled draws.
    """
    laws = hop_laws(step.problem)
    collect = _collect(laws)
    dt_s = step.dt_s * share
    choices = [lambda d, one=one: _transition(step, d, dt_s, *one) for one in laws]
    return collect.of_flows(
        hop_flows(step.policy, stream, step.places, inputs.first, choose(law, choices, inputs.real)), law
    )


@lru_cache(maxsize=64)
def _collect(laws: tuple[tuple[int, Grid], ...]) -> Collect:
    """Net gain by the flows of one of the laws."""

    def of_flows(flows: Flows, law: Place) -> Number:
        return choose(law, [lambda f, axis=axis, grid=grid: net_gain(f, grid, axis) for axis, grid in laws], flows)

    def of_words(words: Count, law: Place) -> Number:
        gains = [lambda w, axis=axis, grid=grid: net_gain_of_words(w, grid, axis) for axis, grid in laws]
        return choose(law, gains, words)

    return Collect(of_flows, of_words)


def _transition(step: Step, diffusivity: Real, dt_s: Real, axis: int, grid: Grid) -> Transition:
    velocity = fluid_velocity(step.problem, step.inputs, axis)
    return transition(hop_rates(diffusivity, grid, axis, velocity), dt_s, grid, axis)


def choose(place: Place, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """The result of the branch at a place."""
    return lax.switch(place, branches, *operands) if isinstance(place, Array) else branches[int(place)](*operands)
