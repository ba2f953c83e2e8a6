"""Amounts outside the lattice: rates and events of their reactions, and how rate laws see them."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, Mask, Number, Real
from exodiff.kernels import clocks, large_draws, totals, words
from exodiff.kernels.policies import Policy, is_discrete
from exodiff.kernels.random import Stream
from exodiff.kernels.rates import Voxels
from exodiff.kernels.straight_through import matched
from exodiff.model.network import DrawKind
from exodiff.model.pools import PoolReaction
from exodiff.problem import Inputs, Parameters, Problem

_BINOMIAL = 8  # draw number; clocks take those below
_BEYOND = 1 << 30  # high word of 2^62


def initial_pools(problem: Problem) -> Array | None:
    """First amounts outside the lattice, (pools, 2); None without any."""
    if not problem.pools.names:
        return None
    first = np.asarray(problem.pools.initial, np.float64)
    if problem.engine in ("mean_field", "leap_st"):
        return words.from_one(jnp.asarray(first, problem.precision))
    return jnp.asarray(words.from_host(first))


def is_beyond(problem: Problem, pools: Array | None) -> Mask:
    """Which amounts, of the compartments, are none that whole words hold: below 0 or from 2^62 on; reals never are."""
    if pools is None or not words.is_whole(pools):
        return jnp.zeros((len(problem.pools.names),), bool)
    in_compartment = np.asarray([not name.startswith("elsewhere.") for name in problem.pools.names])
    return jnp.asarray(in_compartment) & (pools[:, 0] >= _BEYOND)


def with_pools(problem: Problem, inputs: Inputs, pools: Array | None) -> Inputs:
    """The inputs as rate laws see them: with what is in compartments among the parameters."""
    if pools is None:
        return inputs
    values = {name: words.to_real(pools[i], problem.precision) for i, name in enumerate(problem.pools.names)}
    return inputs._replace(parameters={**inputs.parameters, **values})


def pool_rate(voxels: Voxels, reaction: PoolReaction) -> Real:
    """Events per second up to the mass action of the reactants."""
    return voxels.evaluate(reaction.rate)


def pool_propensity(voxels: Voxels, reaction: PoolReaction) -> Real:
    """Events per second, from the amounts among the parameters."""
    return _propensity_after(voxels, reaction)(jnp.zeros((), voxels.problem.precision))


def _propensity_after(voxels: Voxels, reaction: PoolReaction) -> Callable[[Number], Real]:
    """The propensity as a function of the reaction's own events so far."""
    names, known = voxels.problem.pools.names, voxels.inputs.parameters

    def after(events: Number) -> Real:
        moved = {names[pool]: known[names[pool]] + change * _as(events, known) for pool, change in reaction.changes}
        then = voxels._replace(inputs=voxels.inputs._replace(parameters={**known, **moved}))
        if not reaction.is_propensity:
            return pool_rate(then, reaction) * _mass_action(then, reaction)
        rate = pool_rate(then, reaction)
        for pool, order in reaction.reactants:
            n = then.inputs.parameters[names[pool]]
            rate = jnp.where(n > 0 if voxels.problem.engine == "mean_field" else n >= order, rate, 0.0)
        return rate

    return after


def _as(events: Number, known: Parameters) -> Real:
    """Events in the dtype of the parameters."""
    return events.astype(next(iter(known.values())).dtype)


def exits_of_pools(voxels: Voxels) -> dict[str, Real]:
    """Rate at which one molecule of each amount is used up by reactions, by name."""
    pools, result = voxels.problem.pools, {}
    for reaction in pools.reactions:
        for pool, change in reaction.changes:
            if change > 0:
                continue
            n = voxels.inputs.parameters[pools.names[pool]]
            rate = -change * pool_propensity(voxels, reaction) / jnp.maximum(n, 1.0)
            if not reaction.is_propensity:
                rate = -change * pool_rate(voxels, reaction) * _mass_action(voxels, reaction, but_one=pool)
            result[pools.names[pool]] = result.get(pools.names[pool], 0.0) + rate
    return result


def _mass_action(voxels: Voxels, reaction: PoolReaction, but_one: int | None = None) -> Real:
    """Product of the amounts of the reactants, as :func:`exodiff.kernels.rates.mass_action`; for one molecule less."""
    is_falling, result = voxels.problem.engine != "mean_field", jnp.ones((), voxels.problem.precision)
    for pool, order in reaction.reactants:
        n = voxels.inputs.parameters[voxels.problem.pools.names[pool]]
        for i in range(1 if pool == but_one else 0, order):
            left = n - i * is_falling
            # not a maximum, whose derivative at 0 is a half
            result = result * jnp.where(left < 0, 0.0, left)
    return result


class Request(NamedTuple):
    """The events of a reaction in one step: ``few`` + Poisson(``mean``) + Binomial(``n``, ``p``); two of them are 0.

    ``n`` and ``few`` are amounts.
    """

    n: Array
    p: Real
    mean: Real
    few: Array

    def drawn(self, stream: Stream, *, poisson: bool, number: int = _BINOMIAL) -> Array:
        """The events of a discrete engine, as an amount; without ``poisson`` the mean is known to be 0.

        Takes draws ``number`` to ``number + 3`` of the stream.
        """
        if not words.is_whole(self.n):
            return self._drawn_with_derivative(stream, poisson=poisson, number=number)
        events = totals.add(self.few, large_draws.binomial(stream, number, self.n, self.p))
        return totals.add(events, large_draws.poisson(stream, number + 2, self.mean)) if poisson else events

    def _drawn_with_derivative(self, stream: Stream, *, poisson: bool, number: int) -> Array:
        """The same numbers as reals, for ``leap_st``."""
        bare = lax.stop_gradient(self)
        whole = bare._replace(n=words.from_whole(bare.n), few=jnp.zeros((2,), BITS_DTYPE))
        drawn = words.to_real(whole.drawn(stream, poisson=poisson, number=number), self.n.dtype)
        mean = self.n[0] * self.p
        drawn = matched(drawn, mean + self.mean, mean * (1.0 - self.p) + self.mean)
        return totals.add(self.few, words.from_one(drawn))

    def expected(self) -> Array:
        """The events of ``mean_field``, as an amount."""
        return self.few + words.from_one(self.n[0] * self.p + self.mean)


def request(
    policy: Policy, stream: Stream, voxels: Voxels, pools: Array, reaction: PoolReaction, dt_s: Real
) -> Request:
    """How many events a reaction alone has in one step."""
    nothing, none = jnp.zeros((2,), pools.dtype), jnp.zeros((), voxels.problem.precision)
    if reaction.kind is DrawKind.POISSON:
        return Request(nothing, none, pool_propensity(voxels, reaction) * dt_s, nothing)
    if reaction.kind is DrawKind.BINOMIAL:
        (pool,) = (pool for pool, _ in reaction.reactants if pool in dict(reaction.changes))
        rate = pool_rate(voxels, reaction) * _mass_action(voxels, reaction, but_one=pool)
        return Request(pools[pool], -jnp.expm1(-rate * dt_s), none, nothing)
    after, names = _propensity_after(voxels, reaction), voxels.problem.pools.names
    capacity = jnp.full((1,), 2.0**62, voxels.problem.precision)
    for pool, change in reaction.changes:
        if change < 0:
            capacity = jnp.minimum(capacity, voxels.inputs.parameters[names[pool]] / -change)
    index = jnp.zeros((1,), BITS_DTYPE)
    few = policy.modulated(stream, index, lambda events: after(events) * dt_s, capacity)[0]
    if not is_discrete(policy):
        return Request(nothing, none, none, words.from_one(few))

    def expected_after(events: Number) -> Real:
        return (after(events) * dt_s).astype(jnp.float32)

    expected = expected_after(jnp.zeros((1,), jnp.float32))
    size, p = clocks.midpoint_binomial(expected_after, jnp.floor(capacity).astype(jnp.float32), expected)
    is_crowd = expected[0] > clocks.CLOCKS_AT_MOST
    size = jnp.where(is_crowd, size[0], 0.0)
    if words.is_whole(pools):
        trials, events = words.from_real(size), words.from_count(few)
    else:
        trials, events = words.from_one(size.astype(pools.dtype)), words.from_one(few.astype(pools.dtype))
    return Request(trials, p[0].astype(none.dtype), none, jnp.where(is_crowd, 0, events))


def changed(pools: Array, changes: tuple[tuple[int, int], ...], events: Array) -> Array:
    """Amounts after some events."""
    for pool, change in changes:
        added = words.times(events, abs(change))
        pools = pools.at[pool].set(totals.add(pools[pool], added if change > 0 else words.negated(added)))
    return pools
