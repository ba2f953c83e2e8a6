"""Between pools and the lattice: what comes to each voxel, what happens there, and what the lattice gives back."""

import jax.numpy as jnp
from jax import Array

from exodiff.core.arrays import COUNT_DTYPE, Bits, Number, Real
from exodiff.kernels import totals, words
from exodiff.kernels.cell_events import divide, empty, fill
from exodiff.kernels.neighbours import seen_from_faces
from exodiff.kernels.policies import Policy, is_discrete
from exodiff.kernels.pools import Request
from exodiff.kernels.random import Stream, fold
from exodiff.kernels.rates import Voxels, event_factor, propensity
from exodiff.kernels.reactions import burst_size, wipe_cells
from exodiff.kernels.spreading import spread
from exodiff.model.network import Channel, NewCell
from exodiff.model.pools import Crossing
from exodiff.problem import Inputs, Problem

_ARRIVED, _SPREAD = 12, 14  # draw numbers, beside those of a request
_HAPPENS = 1  # second address of what happens in the voxels


def arrival_rates(voxels: Voxels, crossing: Crossing) -> Real:
    """Rate at which one molecule of the pool comes to each voxel, per second."""
    problem, channel = voxels.problem, crossing.channel
    if channel.new_cell is NewCell.NONE:
        return jnp.broadcast_to(propensity(voxels, channel), problem.grid.shape)
    rate = jnp.broadcast_to(event_factor(voxels, channel), problem.grid.shape)
    room = empty(voxels).astype(problem.precision)
    if channel.new_cell is NewCell.HERE:
        return rate * jnp.maximum(room, 0.0)
    assert channel.parent is not None
    beside = seen_from_faces(room, problem.grid)
    if problem.engine != "mean_field":
        has_room = sum(beside, start=jnp.zeros_like(room)) > 0
        rate = jnp.where(has_room, rate, 0.0)
    return rate * voxels.real(channel.parent)


def represented(problem: Problem, inputs: Inputs, events: Number) -> Array:
    """Events of all copies of the lattice that it stands for, as an amount."""
    first, *others = [
        words.times(totals.total(events * _organ(inputs, organ, events)), copies)
        for organ, copies in problem.pools.represents
    ]
    for amount in others:
        first = totals.add(first, amount)
    return first


def _organ(inputs: Inputs, organ: str, events: Number) -> Array:
    return inputs.fields[f"region.{organ}"].astype(events.dtype) if organ else jnp.ones((), events.dtype)


def leaving_rate(voxels: Voxels, rates: Real) -> Real:
    """Rate at which one molecule of the pool leaves it, for the lattice and the copies of it."""
    return sum(
        (
            copies * totals.ordered_sum(rates * _organ(voxels.inputs, organ, rates))
            for organ, copies in voxels.problem.pools.represents
        ),
        start=jnp.zeros((), rates.dtype),
    )


def departure(voxels: Voxels, pools: Array, crossing: Crossing, dt_s: Real) -> tuple[Request, Real]:
    """How many molecules leave the pool in one step, and the rates at which one comes to each voxel."""
    rates = arrival_rates(voxels, crossing)
    leaving = leaving_rate(voxels, rates)
    nothing, none = jnp.zeros((2,), pools.dtype), jnp.zeros((), rates.dtype)
    return Request(pools[crossing.pool], -jnp.expm1(-leaving * dt_s), none, nothing), rates


def arrivals(policy: Policy, stream: Stream, voxels: Voxels, left: Array, rates: Real) -> Number:
    """Of what left a pool, the numbers that came to the voxels of this lattice; -1 where they are beyond 2^31."""
    here, everywhere = totals.ordered_sum(rates), leaving_rate(voxels, rates)
    share = here / jnp.where(everywhere > 0, everywhere, 1.0)
    if not is_discrete(policy):
        return left[0] * rates / jnp.where(everywhere > 0, everywhere, 1.0)
    came = left
    if any(copies > 1 for _, copies in voxels.problem.pools.represents):
        some = Request(left, jnp.where(share > 1, 1.0, share), jnp.zeros_like(share), jnp.zeros_like(left))
        came = some.drawn(stream, poisson=False, number=_ARRIVED)
    if not words.is_whole(came):
        return spread(policy, stream, _SPREAD, came[0], rates)
    fits = (came[0] == 0) & (came[1] >> 31 == 0)
    total = jnp.where(fits, came[1], 0).astype(COUNT_DTYPE)
    return jnp.where(fits, spread(policy, stream, _SPREAD, total, rates), -1)


def cross(
    policy: Policy,
    stream: Stream,
    index: Bits,
    voxels: Voxels,
    pools: Array,
    crossing: Crossing,
    left: Array,
    came: Number,
) -> tuple[Array, Array, Number]:
    """Counts, pools and events after molecules left a pool; those that find no partner or no room go back.

    Where one goes back, so do as many as the lattice has copies.
    """
    problem, channel = voxels.problem, crossing.channel
    stream = fold(stream, 0, _HAPPENS)
    known = jnp.where(came < 0, 0, came)  # not a maximum, whose derivative at 0 is a half
    counts, events = _happen(policy, stream, index, voxels, channel, known)
    counts = jnp.where(jnp.min(came) < 0, jnp.full_like(counts, -1), counts)
    back = represented(problem, voxels.inputs, known - events)
    gone = totals.add(left, words.negated(back))
    pools = pools.at[crossing.pool].set(totals.add(pools[crossing.pool], words.negated(gone)))
    other = totals.add(gone, words.negated(totals.total(events)))
    return counts, pools.at[crossing.elsewhere].set(totals.add(pools[crossing.elsewhere], other)), events


def _happen(
    policy: Policy, stream: Stream, index: Bits, voxels: Voxels, channel: Channel, came: Number
) -> tuple[Array, Number]:
    network = voxels.problem.network
    if channel.new_cell is NewCell.HERE:
        born = jnp.minimum(came, empty(voxels))
        return fill(policy, stream, index, voxels, channel, born), born
    if channel.new_cell is NewCell.NEIGHBOUR:
        assert channel.parent is not None
        return divide(policy, stream, index, voxels, channel, jnp.minimum(came, voxels.counts[channel.parent]))
    counts, events = voxels.counts, came
    for species, change in channel.changes:
        if change < 0:
            most = counts[species] // -change if is_discrete(policy) else counts[species] / -change
            # not a minimum, whose derivative at a tie is a half
            events = jnp.where(events > most, most, events)
    if channel.kills:
        counts = wipe_cells(policy, counts, network.num_free, network.first_type, events, voxels.occupancy())
    for place, product in enumerate(channel.bursts):
        made = burst_size(policy, stream, index, voxels, channel, place, events)
        counts = counts.at[product.species].add(made)
    for species, change in channel.changes:
        counts = counts.at[species].add(change * events)
    return counts, events


def released(problem: Problem, inputs: Inputs, pools: Array, channel: Channel, events: Number) -> Array:
    """Pools after some events on the lattice made molecules outside it: so many for each of the copies."""
    for pool, elsewhere, count in channel.releases:
        made = words.times(represented(problem, inputs, events), count)
        here = words.times(totals.total(events), count)
        pools = pools.at[pool].set(totals.add(pools[pool], made))
        other = totals.add(here, words.negated(made))
        pools = pools.at[elsewhere].set(totals.add(pools[elsewhere], other))
    return pools


def exits_by_crossing(voxels: Voxels) -> dict[str, Real]:
    """Rate at which one molecule of each pool leaves it for the lattice, by name."""
    found: dict[str, Real] = {}
    for crossing in voxels.problem.pools.crossings:
        name = voxels.problem.pools.names[crossing.pool]
        rate = leaving_rate(voxels, arrival_rates(voxels, crossing))
        found[name] = found.get(name, jnp.zeros_like(rate)) + rate
    return found
