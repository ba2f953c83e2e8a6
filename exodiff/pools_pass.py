"""One pass over what happens outside the lattice: at the beginning of a pair of steps, and backwards at its end."""

import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Number
from exodiff.kernels import totals
from exodiff.kernels.crossings import arrivals, cross, departure
from exodiff.kernels.pools import Request, changed, request
from exodiff.kernels.random import Stream, fold, site_id
from exodiff.kernels.reactions import deposit
from exodiff.model.network import DrawKind
from exodiff.model.pools import Crossing, PoolReaction
from exodiff.operation_draws import Amounts, Step
from exodiff.passes import count_events


def looped_pools_pass(step: Step, amounts: Amounts, *, backwards: Array) -> Amounts:
    """Visit all reactions and crossings in a loop that compiles their draws once."""
    pools, shape = step.problem.pools, step.problem.grid.shape
    has_sources = any(reaction.kind is DrawKind.POISSON for reaction in pools.reactions)
    visits = (*pools.reactions, *pools.crossings)
    sites = jnp.asarray([site_id(_site(one)) for one in visits], BITS_DTYPE)

    def visit(i: Array, amounts: Amounts) -> Amounts:
        place = jnp.where(backwards, len(visits) - 1 - i, i)
        stream = fold(step.stream, sites[place])

        def ask(amounts: Amounts, one: PoolReaction | Crossing) -> tuple[Request, Array]:
            if isinstance(one, Crossing):
                return _departure(step, amounts, one)
            return _request(step, stream, amounts, one), jnp.zeros(shape, step.problem.precision)

        asked, rates = lax.switch(place, [lambda a, one=one: ask(a, one) for one in visits], amounts)
        events = asked.drawn(stream, poisson=has_sources)
        came = jnp.zeros(shape, amounts.counts.dtype)
        if pools.crossings:
            came = lax.cond(
                place >= len(pools.reactions),
                lambda: arrivals(step.policy, stream, step.voxels(amounts), events, rates),
                lambda: came,
            )

        def apply(amounts: Amounts, events: Array, came: Number, one: PoolReaction | Crossing) -> Amounts:
            if isinstance(one, Crossing):
                return _crossed(step, stream, amounts, one, events, came)
            return _applied(step, amounts, one, events)

        branches = [lambda a, e, c, one=one: apply(a, e, c, one) for one in visits]
        return lax.switch(place, branches, amounts, events, came)

    return lax.fori_loop(0, len(visits), visit, amounts)


def unrolled_pools_pass(step: Step, amounts: Amounts, *, backwards: bool) -> Amounts:
    """Visit all reactions and crossings one by one: differentiable."""
    visits = (*step.problem.pools.reactions, *step.problem.pools.crossings)
    for one in reversed(visits) if backwards else visits:
        if isinstance(one, Crossing):
            asked, rates = _departure(step, amounts, one)
            left = asked.expected()
            came = arrivals(step.policy, step.stream, step.voxels(amounts), left, rates)
            amounts = _crossed(step, step.stream, amounts, one, left, came)
        else:
            amounts = _applied(step, amounts, one, _request(step, step.stream, amounts, one).expected())
    return amounts


def _site(one: PoolReaction | Crossing) -> str:
    return f"reaction:{one.channel.name if isinstance(one, Crossing) else one.name}"


def _request(step: Step, stream: Stream, amounts: Amounts, reaction: PoolReaction) -> Request:
    assert amounts.pools is not None
    return request(step.policy, stream, step.voxels(amounts), amounts.pools, reaction, step.dt_s)


def _applied(step: Step, amounts: Amounts, reaction: PoolReaction, events: Array) -> Amounts:
    """The amounts after some events, which are counted."""
    assert amounts.pools is not None
    counters = amounts.events
    for place, (name, region) in enumerate(step.problem.event_counters):
        if name == reaction.name and not region:
            counters = counters.at[place].set(totals.add(counters[place], events.astype(counters.dtype)))
    return amounts._replace(pools=changed(amounts.pools, reaction.changes, events), events=counters)


def _departure(step: Step, amounts: Amounts, crossing: Crossing) -> tuple[Request, Array]:
    assert amounts.pools is not None
    return departure(step.voxels(amounts), amounts.pools, crossing, step.dt_s)


def _crossed(step: Step, stream: Stream, amounts: Amounts, crossing: Crossing, left: Array, came: Number) -> Amounts:
    assert amounts.pools is not None
    voxels = step.voxels(amounts)
    counts, pools, events = cross(step.policy, stream, step.places, voxels, amounts.pools, crossing, left, came)
    counters = count_events(step, amounts.events, events, {crossing.channel.name: 0}, 0)
    concentrations = amounts.concentrations
    if concentrations is not None and crossing.channel.deposits:
        concentrations = deposit(voxels, crossing.channel, concentrations, events)
    return amounts._replace(counts=counts, pools=pools, events=counters, concentrations=concentrations)
