"""Events of reaction channels in one step, and what they change."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import Bits, Count, Mask, Number, Real
from exodiff.kernels import clocks
from exodiff.kernels.decomposition import rounded
from exodiff.kernels.lanes import elementwise, finish_blocks
from exodiff.kernels.policies import Discrete, Policy
from exodiff.kernels.random import Stream, fold
from exodiff.kernels.rates import Voxels, mass_action, propensity, propensity_after, rate_factor
from exodiff.model.network import Channel, DrawKind

_BLOCK = 8192  # voxels; of smaller blocks the operations cost more to begin than to do
BURST, SPLIT = 1, 2  # second address of what a channel draws besides its events


class DrawInputs(NamedTuple):
    """What a draw needs, as three arrays on the lattice, so that all channels of a kind share one compiled draw.

    Attributes:
        first, second: counts of the reactants that change (zeros if none).
        real: the probability (binomial), mean (Poisson), constant factor (mass action) or diffusivity (hop).

    """

    first: Number
    second: Number
    real: Real


def draw_inputs(voxels: Voxels, channel: Channel, dt_s: Real) -> DrawInputs:
    """Inputs of a channel's draw for one step."""
    problem = voxels.problem
    shape = problem.grid.shape
    changing = channel.changing_reactants
    nothing = jnp.zeros(shape, voxels.counts.dtype)
    if channel.kind is DrawKind.MODULATED:
        return DrawInputs(nothing, nothing, jnp.zeros(shape, problem.precision))
    if channel.kind is DrawKind.POISSON:
        return DrawInputs(nothing, nothing, jnp.broadcast_to(propensity(voxels, channel) * dt_s, shape))
    others = tuple((s, o) for s, o in channel.reactants if s not in changing)
    factor = jnp.broadcast_to(rate_factor(voxels, channel) * mass_action(voxels, others) * dt_s, shape)
    first = voxels.counts[changing[0]]
    if channel.kind is DrawKind.BINOMIAL:
        return DrawInputs(first, nothing, -jnp.expm1(-rounded(factor)))
    second = voxels.counts[changing[1]] if len(changing) > 1 else nothing
    return DrawInputs(first, second, factor)


def mass_action_table(channel: Channel) -> tuple[int, int, int, int]:
    """(order of first, order of second, change of first, change of second) of the changing reactants."""
    order_of, change_of = dict(channel.reactants), channel.change_of
    changing = channel.changing_reactants
    if channel.kind is not DrawKind.CHAIN:
        return 0, 0, 0, 0
    second = changing[1] if len(changing) > 1 else None
    return (
        order_of[changing[0]],
        0 if second is None else order_of[second],
        change_of[changing[0]],
        0 if second is None else change_of[second],
    )


def mass_action_events(policy: Policy, stream: Stream, index: Bits, inputs: DrawInputs, table: Array) -> Number:
    """Events of a channel that changes one or two of its reactants; the table is that of the channel."""
    law = clocks.MassAction(inputs.real, inputs.first, inputs.second, (table[0], table[1]), (table[2], table[3]))
    return policy.mass_action(stream, index, law)


def modulated_events(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, dt_s: Real
) -> Number:
    """Events of a channel whose rate depends on what it changes."""
    after = propensity_after(voxels, channel)
    return policy.modulated(stream, index, lambda events: after(events) * dt_s, _capacity(voxels, channel))


def _capacity(voxels: Voxels, channel: Channel) -> Real:
    """Events after which a reactant is used up; 2^30 where none is."""
    capacity = jnp.full(voxels.problem.grid.shape, 2.0**30, voxels.problem.precision)
    for species, change in channel.changes:
        if change < 0:
            capacity = jnp.minimum(capacity, voxels.real(species) / -change)
    for field, change in channel.deposits:
        if change < 0:
            molecules = voxels.value(voxels.problem.network.continuous[field]) * voxels.problem.grid.fluid_volume_um3
            capacity = jnp.minimum(capacity, molecules / -change)
    return capacity


def deposit(voxels: Voxels, channel: Channel, concentrations: Array, events: Number) -> Array:
    """Concentrations (continuous, x, y, z) after some events of a channel."""
    volume = voxels.problem.grid.fluid_volume_um3
    for field, change in channel.deposits:
        concentrations = concentrations.at[field].add(change / volume * events.astype(concentrations.dtype))
    return concentrations


def burst_size(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, place: int, events: Number
) -> Number:
    """Copies that some events make of the product at a place in ``channel.bursts``: the sum of independent bursts.

    ``poisson(m)``: Poisson(m k). ``geometric(m)`` on 0, 1, 2, ...: Poisson(m G) with G a sum of k unit exponentials.
    ``loaded(f, m)``: Poisson(m Binomial(k, f)).
    """
    product = channel.bursts[place]
    arguments = [voxels.evaluate(argument) for argument in product.burst.arguments]
    own, kind = fold(stream, place, BURST), product.burst.kind
    if isinstance(policy, Discrete):
        return _bursts_where_events_are(kind)(own.key0, own.key1, index, events, *arguments)
    return _bursts(policy, kind, own, index, events, arguments)


def _bursts(
    policy: Policy, kind: str, stream: Stream, index: Bits, events: Number, arguments: Sequence[Real]
) -> Number:
    bursts: Number | Real = events
    if kind == "loaded":
        bursts = policy.binomial(stream, index, 2, events, jnp.broadcast_to(arguments[0], events.shape))
    elif kind == "geometric":
        bursts = policy.waiting_time(stream, index, events)
    return policy.poisson(stream, index, 4, bursts.astype(arguments[-1].dtype) * arguments[-1])


@lru_cache
def _bursts_where_events_are(kind: str) -> Callable[..., Count]:
    """As :func:`_bursts`, only in blocks of voxels with an event."""

    def some(has_events: Mask, _: Count, key0: Bits, key1: Bits, index: Bits, events: Count, *arguments: Real) -> Count:
        del has_events
        return _bursts(Discrete(), kind, Stream(key0, key1), index, events, arguments)

    def found(key0: Bits, key1: Bits, index: Bits, events: Count, *arguments: Real) -> Count:
        # in a batch the events may be alike in all and the burst not
        events = jnp.broadcast_to(events, jnp.broadcast_shapes(*map(jnp.shape, (key0, index, events, *arguments))))
        return finish_blocks(jnp.zeros_like(events), events > 0, some, (key0, key1, index, events, *arguments), _BLOCK)

    return elementwise(found)


def wipe_cells(
    policy: Policy, counts: Array, first: int, last: int | Array, deaths: Number, occupancy: Number
) -> Array:
    """Take away the molecules of cells that die: those of the in-cell species first ... last - 1."""

    def wipe(species: Array, counts: Array) -> Array:
        return counts.at[species].add(-policy.share(counts[species], deaths, occupancy))

    return lax.fori_loop(first, last, wipe, counts)
