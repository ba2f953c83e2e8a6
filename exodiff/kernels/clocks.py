"""How many events of one mass-action channel alone fall into a step, by exponential clocks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.kernels.draws import draw
from exodiff.kernels.lanes import elementwise, finish_blocks, first_true
from exodiff.kernels.laws import TINY, Law
from exodiff.kernels.random import Stream, retry_words, to_unit_interval, word_pair
from exodiff.kernels.waiting import wait
from exodiff.model.network import MAX_ORDER

_CLOCKS = 5  # unrolled clocks of a chain
CLOCKS_AT_MOST = 64.0  # expected events above which a chain is drawn at its midpoint


class MassAction(NamedTuple):
    """The propensity of a channel alone, times the step, as its events change its one or two reactants.

    Attributes:
        factor: everything that stays constant in the step.
        first, second: counts of the reactants.
        orders: their orders; 0 for an absent second.
        changes: what one event adds to each.

    """

    factor: Real
    first: Number
    second: Number
    orders: tuple[Count, Count]
    changes: tuple[Count, Count]

    def propensity(self, events: Number, *, falling: bool = True, floor: bool = True) -> Real:
        """Expected events in the step after some events: falling factorials, or plain powers for ``mean_field``.

        Without ``floor`` they go on as polynomials where a reactant is short.
        """
        result = self.factor
        for n, order, change in zip((self.first, self.second), self.orders, self.changes, strict=True):
            left = n.astype(result.dtype) + jnp.asarray(change, result.dtype) * events.astype(result.dtype)
            for i in range(MAX_ORDER):
                there = left - i * falling
                # not a maximum, whose derivative at 0 is a half
                there = jnp.where(there < 0, 0.0, there) if floor else there
                result = result * jnp.where(i < order, there, 1.0)
        return result

    def capacity(self) -> Real:
        """Events after which a reactant is used up; 2^30 where none is."""
        limits = [
            jnp.where(change < 0, n.astype(jnp.float32) / jnp.maximum(-change, 1).astype(jnp.float32), 2.0**30)
            for n, change in zip((self.first, self.second), self.changes, strict=True)
        ]
        return jnp.floor(jnp.minimum(*limits))


def mass_action_events(stream: Stream, index: Bits, law: MassAction) -> Count:
    """Number of events of the channel alone in the step, for each index.

    Exponential clocks, each with the propensity that the events before it left, as long as they fit: exact. Where more
    than 64 events are expected, a binomial with the mean and the variance of the midpoint rule: second order in the
    step, exact for first-order loss; the variance is only first order where events speed the channel up.
    """
    number = jnp.asarray(0, BITS_DTYPE)
    # draws are float32, whatever the precision of the rates
    law = law._replace(factor=law.factor.astype(jnp.float32))
    arrays = (jnp.asarray(a) for a in (*law[:3], *law.orders, *law.changes))
    return _mass_action(stream.key0, stream.key1, index, number, *arrays)


@elementwise
def _mass_action(key0: Bits, key1: Bits, index: Bits, number: Bits, *arrays: jax.Array) -> Count:
    """The unrolled clocks give the events or, where all rang, minus the time at which the last one did."""
    stream, law = Stream(key0, key1), _unpack(arrays)
    uniforms = [to_unit_interval(*word_pair(stream, index, number))]
    for i in range(1, 1 + _CLOCKS // 2):
        uniforms += [to_unit_interval(word) for word in word_pair(stream, index, number + i)]
    events, time = 0.0, 0.0
    for clock, u in enumerate(uniforms):
        quotient = wait(u) / jnp.maximum(law.propensity(jnp.asarray(clock, COUNT_DTYPE)), TINY)
        time = time + jnp.maximum(quotient, 0.0)  # the first, used twice, XLA would else store as an array
        events = events + (time <= 1.0).astype(jnp.float32)
    crowd = law.propensity(jnp.zeros((), COUNT_DTYPE)) > CLOCKS_AT_MOST
    state = lax.optimization_barrier(jnp.where(crowd, -1.0, jnp.where(events < _CLOCKS, events, -time)))
    return finish_blocks(state, state < 0, _finish_mass_action, (key0, key1, index, number, *arrays)).astype(
        COUNT_DTYPE
    )


def _unpack(arrays: tuple[jax.Array, ...]) -> MassAction:
    factor, first, second, order0, order1, change0, change1 = arrays
    return MassAction(factor, first, second, (order0, order1), (change0, change1))


def _finish_mass_action(
    active: Mask, state: Real, key0: Bits, key1: Bits, index: Bits, number: Bits, *arrays: jax.Array
) -> Real:
    stream, law = Stream(key0, key1), _unpack(arrays)
    expected = law.propensity(jnp.zeros((), COUNT_DTYPE))
    crowd = expected > CLOCKS_AT_MOST

    def ring(carry: tuple[Real, Bits]) -> tuple[Real, Bits]:
        """Two more clocks; a lane is its number of events, or minus the time of the last one as long as all rang."""
        state, attempt = carry
        bits, chain = lax.optimization_barrier((retry_words(stream, index, number, attempt), law))
        before, time = _CLOCKS + 2.0 * attempt.astype(jnp.float32), -state
        events = before
        for i, word in enumerate(bits):
            time = time + wait(to_unit_interval(word)) / jnp.maximum(chain.propensity(before + i), TINY)
            events = events + (time <= 1.0).astype(jnp.float32)
        state = jnp.where(state < 0, jnp.where(time <= 1.0, -time, events), state)
        return state, attempt + jnp.asarray(1, BITS_DTYPE)

    start = (jnp.where(active & ~crowd, state, 0.0), jnp.asarray(0, BITS_DTYPE))
    few = lax.while_loop(lambda c: first_true(c[0] < 0)[0], ring, start)[0]
    size, p = midpoint_binomial(law.propensity, law.capacity(), expected)
    flip = p > 0.5
    rare = Law(size, jnp.clip(jnp.where(flip, 1.0 - p, p), 0.0, 0.5))
    many = draw(active & crowd, stream, index, number, rare).astype(jnp.float32)
    return jnp.where(crowd, jnp.where(flip, size - many, many), few)


def midpoint_binomial(propensity: Callable[[Number], Real], capacity: Real, expected: Real) -> tuple[Real, Real]:
    """Size and probability of the binomial for many events.

    The mean is that of the propensity a at half the events, e; the size e - a / a' gives the variance that the slope
    a' of the propensity leaves (Fano factor 1 - mean / size; exact for a first-order loss).
    """
    half = 0.5 * capacity * -jnp.expm1(-expected / jnp.maximum(capacity, 1.0))
    rate, slope = propensity(half), propensity(half + 0.5) - propensity(half - 0.5)
    mean = capacity * -jnp.expm1(-rate / jnp.maximum(capacity - half, 1.0))
    size = jnp.round(half + rate / jnp.maximum(-slope, TINY))
    size = jnp.minimum(jnp.maximum(size, jnp.ceil(mean) + 1.0), capacity)
    return size, jnp.minimum(mean / jnp.maximum(size, 1.0), 1.0)
