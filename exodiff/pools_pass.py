"""One pass over the reactions outside the lattice: at the beginning of a pair of steps, and backwards at its end."""

import jax.numpy as jnp
from jax import Array, lax

from exodiff.kernels import totals
from exodiff.kernels.pools import Request, changed, request
from exodiff.kernels.random import Stream, fold, site_id
from exodiff.model.network import DrawKind
from exodiff.model.pools import PoolReaction
from exodiff.passes import Amounts, Step


def looped_pools_pass(step: Step, amounts: Amounts, *, backwards: Array) -> Amounts:
    """Visit all reactions in a loop that compiles their draw once."""
    reactions = step.problem.pools.reactions
    has_sources = any(reaction.kind is DrawKind.POISSON for reaction in reactions)
    sites = jnp.asarray([site_id(f"reaction:{reaction.name}") for reaction in reactions], jnp.uint32)

    def visit(i: Array, amounts: Amounts) -> Amounts:
        place = jnp.where(backwards, len(reactions) - 1 - i, i)
        stream = fold(step.stream, sites[place])
        asked = lax.switch(place, [lambda a, r=r: _request(step, stream, a, r) for r in reactions], amounts)
        events = asked.drawn(stream, poisson=has_sources)
        return lax.switch(place, [lambda a, e, r=r: _applied(step, a, r, e) for r in reactions], amounts, events)

    return lax.fori_loop(0, len(reactions), visit, amounts) if reactions else amounts


def unrolled_pools_pass(step: Step, amounts: Amounts, *, backwards: bool) -> Amounts:
    """Visit all reactions one by one: differentiable."""
    reactions = step.problem.pools.reactions
    for reaction in reversed(reactions) if backwards else reactions:
        asked = _request(step, step.stream, amounts, reaction)
        amounts = _applied(step, amounts, reaction, asked.expected())
    return amounts


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
