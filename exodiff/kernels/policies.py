"""Draw policies: where a kernel asks how many events there are, this file answers.

The engines ``leap`` and ``mean_field`` and the estimators ``leap_st`` and ``score`` are the same kernels with another
policy. Every policy has the methods of :class:`Discrete`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, TINY_OCCUPANCY, Bits, Count, Mask, Number, Real
from exodiff.kernels import clocks, draws, halving, hopping, likelihood
from exodiff.kernels.random import Stream
from exodiff.kernels.straight_through import chain_moments, follows, matched

DRAWN = "drawn"  # what reverse mode keeps

Propensity = Callable[[Number], Real]
"""Events expected in the step as a function of the events that happened in it so far."""


@dataclass(frozen=True)
class Discrete:
    """Integer counts, drawn from the exact law of each channel alone."""

    def binomial(self, stream: Stream, index: Bits, number: int, n: Count, p: Real) -> Count:
        """How many of n do what each does with probability p."""
        return draws.binomial(stream, index, number, n, p)

    def trial(self, stream: Stream, index: Bits, number: int, n: Count, p: Real) -> Count:
        """As ``binomial`` where n is at most 1."""
        return n * draws.happens(stream, index, number, p).astype(n.dtype)

    def half(self, stream: Stream, index: Bits, number: int, n: Count) -> Count:
        """How many of n take one of two equal choices."""
        return halving.half(stream, index, number, n)

    def poisson(self, stream: Stream, index: Bits, number: int, mean: Real) -> Count:
        """How many events of a channel that changes none of its reactants."""
        return draws.poisson(stream, index, number, mean)

    def mass_action(self, stream: Stream, index: Bits, law: clocks.MassAction) -> Count:
        """How many events of a mass-action channel that changes one or two of its reactants."""
        return clocks.mass_action_events(stream, index, law)

    def modulated(self, stream: Stream, index: Bits, propensity: Propensity, capacity: Real) -> Count:
        """How many events of a channel whose rate depends on what it changes.

        Clocks with the rate evaluated anew after each event, and the binomial of the midpoint rule where more than 64
        events are expected, as in :func:`exodiff.kernels.clocks.mass_action_events`. At most ``capacity`` events.
        """

        def rate_after(events: Number) -> Real:
            return propensity(events).astype(jnp.float32)

        expected = rate_after(jnp.zeros(index.shape, COUNT_DTYPE))
        crowd = expected > clocks.CLOCKS_AT_MOST

        def ring(carry: tuple[Mask, Count, Real, Bits]) -> tuple[Mask, Count, Real, Bits]:
            running, events, time, clock = carry
            rate = rate_after(events)
            time = time + draws.exponential(stream, index, clock) / jnp.maximum(rate, 1e-30)
            running = running & (rate > 0) & (time <= 1.0)
            return running, events + running.astype(COUNT_DTYPE), time, clock + jnp.asarray(1, BITS_DTYPE)

        start = (
            ~crowd,
            jnp.zeros(index.shape, COUNT_DTYPE),
            jnp.zeros(index.shape, jnp.float32),
            jnp.asarray(0, BITS_DTYPE),
        )
        few = lax.while_loop(lambda c: jnp.any(c[0]), ring, start)[1]

        def many() -> Count:
            size, p = clocks.midpoint_binomial(rate_after, jnp.floor(capacity).astype(jnp.float32), expected)
            size = jnp.where(crowd, size, 0.0).astype(COUNT_DTYPE)
            return draws.binomial(stream, index, 2, size, p.astype(jnp.float32))

        return jnp.where(crowd, lax.cond(jnp.any(crowd), many, lambda: few), few)

    def waiting_time(self, stream: Stream, index: Bits, events: Count) -> Real:
        """Sum of as many standard exponential waiting times as there were events."""
        return draws.gamma(stream, index, 0, events)

    def share(self, content: Count, cells: Count, occupancy: Number) -> Count:
        """Molecules in some of a voxel's cells: all or none, since a voxel holds one cell."""
        del occupancy
        return content * cells


@dataclass(frozen=True)
class StraightThrough:
    """The numbers of :class:`Discrete`, bit for bit, held as reals so that they can carry a derivative.

    The derivative is moment-matched (:mod:`exodiff.kernels.straight_through`). That of a chain of events is the one of
    the linear propensity through its start and two thirds of its expected events: exact to second order in the step.
    """

    def binomial(self, stream: Stream, index: Bits, number: int, n: Real, p: Real) -> Real:
        """As drawn by ``Discrete``; the derivative is exact for quadratics."""
        drawn = draws.binomial(stream, index, number, _whole(n), lax.stop_gradient(p))
        return follows(_binomial_moments, _kept(drawn, n), n, p)

    def trial(self, stream: Stream, index: Bits, number: int, n: Real, p: Real) -> Real:
        """As drawn by ``Discrete``; the derivative is exact for quadratics."""
        drawn = Discrete().trial(stream, index, number, _whole(n), lax.stop_gradient(p))
        return follows(_binomial_moments, _kept(drawn, n), n, p)

    def half(self, stream: Stream, index: Bits, number: int, n: Real) -> Real:
        """As drawn by ``Discrete``; the derivative is exact for quadratics."""
        drawn = halving.half(stream, index, number, _whole(n))
        return matched(_kept(drawn, n), 0.5 * n, 0.25 * n)

    def poisson(self, stream: Stream, index: Bits, number: int, mean: Real) -> Real:
        """As drawn by ``Discrete``; the derivative is exact for quadratics."""
        drawn = draws.poisson(stream, index, number, lax.stop_gradient(mean))
        return matched(_kept(drawn, mean), mean, mean)

    def mass_action(self, stream: Stream, index: Bits, law: clocks.MassAction) -> Real:
        """As drawn by ``Discrete``."""
        factor = lax.stop_gradient(law.factor)
        whole = law._replace(factor=factor, first=_whole(law.first), second=_whole(law.second))
        drawn = clocks.mass_action_events(stream, index, whole)
        numbers, rest = (law.factor, law.first, law.second), (*law.orders, *law.changes)
        return follows(_mass_action_moments, _kept(drawn, law.factor), *numbers, fixed=rest)

    def modulated(self, stream: Stream, index: Bits, propensity: Propensity, capacity: Real) -> Real:
        """As drawn by ``Discrete``."""
        drawn = _modulated(stream, index, propensity, capacity)
        first = propensity(jnp.zeros(index.shape, COUNT_DTYPE))
        return matched(_kept(drawn, first), *chain_moments(first, _slope(propensity, index.shape, capacity)))

    def even_hops(self, stream: Stream, index: Bits, n: Real, law: hopping.EvenHop) -> hopping.Flows:
        """Numbers that move by -2, -1, +1, +2 voxels: in one loop, and reverse mode keeps one word a voxel."""
        fixed = law._replace(moves=lax.stop_gradient(law.moves), far=lax.stop_gradient(law.far))
        given = (stream, index, _whole(n), fixed)
        word = checkpoint_name(hopping.drawn_word(*given), DRAWN)
        far_down, down, up, far_up = (flow.astype(n.dtype) for flow in hopping.flows_of(word, *given))
        movers = follows(_binomial_moments, far_down + down + up + far_up, n, law.moves)
        far = follows(_binomial_moments, far_down + far_up, movers, law.far)
        near = movers - far
        up, far_up = matched(up, 0.5 * near, 0.25 * near), matched(far_up, 0.5 * far, 0.25 * far)
        return far - far_up, near - up, up, far_up

    def waiting_time(self, stream: Stream, index: Bits, events: Real) -> Real:
        """As drawn by ``Discrete``; the derivative is exact for quadratics."""
        drawn = draws.gamma(stream, index, 0, _whole(events))
        return matched(_kept(drawn, events), events, events)

    def share(self, content: Real, cells: Real, occupancy: Real) -> Real:
        """As of ``Discrete``."""
        del occupancy
        return content * cells


def _kept(drawn: Count, like: Real) -> Real:
    """A drawn number as a real, by a name under which reverse mode keeps it rather than draw it again."""
    return checkpoint_name(drawn, DRAWN).astype(like.dtype)


def _whole(n: Real) -> Count:
    """A whole number held as a real, as a count."""
    return n.astype(COUNT_DTYPE)


def _binomial_moments(n: Real, p: Real) -> tuple[Real, Real]:
    return n * p, n * p * (1.0 - p)


def _mass_action_moments(factor: Real, first: Real, second: Real, *table: Count) -> tuple[Real, Real]:
    law = clocks.MassAction(factor, first, second, (table[0], table[1]), (table[2], table[3]))
    # as a polynomial also where a reactant is short: what the slope would be with one molecule more
    slope = _slope(lambda events: law.propensity(events, floor=False), factor.shape, law.capacity())
    return chain_moments(law.propensity(jnp.zeros(factor.shape, COUNT_DTYPE)), slope)


def _modulated(stream: Stream, index: Bits, propensity: Propensity, capacity: Real) -> Count:
    """As drawn by ``Discrete``, without a derivative."""
    return Discrete().modulated(
        stream, index, lambda events: lax.stop_gradient(propensity(events)), lax.stop_gradient(capacity)
    )


def _slope(propensity: Propensity, shape: tuple[int, ...], capacity: Real) -> Real:
    """Change of a propensity by one event: of the chord to two thirds of the expected events, at least to the first."""
    none = jnp.zeros(shape, COUNT_DTYPE)
    first = propensity(none)
    expected = chain_moments(first, propensity(none + 1) - first)[0]
    most = jnp.maximum(capacity.astype(first.dtype), 1.0)
    reach = lax.stop_gradient(jnp.clip(expected * (2.0 / 3.0), 1.0, most))
    return (propensity(reach) - first) / reach


@dataclass(frozen=True)
class Score:
    """The numbers of :class:`Discrete`; what was drawn is noted with its log-probability, up to a constant.

    Its derivative, at the numbers drawn, is the score of the trajectory (:mod:`exodiff.kernels.likelihood`). A caller
    takes what was noted within the same traced function.
    """

    noted: list[Real] = field(default_factory=list)

    def binomial(self, stream: Stream, index: Bits, number: int, n: Count, p: Real) -> Count:
        """As drawn by ``Discrete``."""
        drawn = draws.binomial(stream, index, number, n, lax.stop_gradient(p))
        self.noted.append(jnp.sum(likelihood.binomial(drawn, n, p)))
        return drawn

    def trial(self, stream: Stream, index: Bits, number: int, n: Count, p: Real) -> Count:
        """As drawn by ``Discrete``."""
        drawn = Discrete().trial(stream, index, number, n, lax.stop_gradient(p))
        self.noted.append(jnp.sum(likelihood.binomial(drawn, n, p)))
        return drawn

    def half(self, stream: Stream, index: Bits, number: int, n: Count) -> Count:
        """As drawn by ``Discrete``; no parameter changes its law."""
        return halving.half(stream, index, number, n)

    def poisson(self, stream: Stream, index: Bits, number: int, mean: Real) -> Count:
        """As drawn by ``Discrete``."""
        drawn = draws.poisson(stream, index, number, lax.stop_gradient(mean))
        self.noted.append(jnp.sum(likelihood.poisson(drawn, mean)))
        return drawn

    def mass_action(self, stream: Stream, index: Bits, law: clocks.MassAction) -> Count:
        """As drawn by ``Discrete``."""
        drawn = clocks.mass_action_events(stream, index, law._replace(factor=lax.stop_gradient(law.factor)))
        slope = _slope(law.propensity, index.shape, law.capacity())
        first = law.propensity(jnp.zeros(index.shape, COUNT_DTYPE))
        # all propensities of the chain have the factor
        self.noted.append(jnp.sum(likelihood.chain(drawn, law.factor, first, slope)))
        return drawn

    def modulated(self, stream: Stream, index: Bits, propensity: Propensity, capacity: Real) -> Count:
        """As drawn by ``Discrete``."""
        drawn = _modulated(stream, index, propensity, capacity)
        first = propensity(jnp.zeros(index.shape, COUNT_DTYPE))
        # the geometric mean of the propensities before each event is about that in their middle
        middle = propensity(0.5 * jnp.maximum(drawn.astype(first.dtype) - 1.0, 0.0))
        self.noted.append(jnp.sum(likelihood.chain(drawn, middle, first, _slope(propensity, index.shape, capacity))))
        return drawn

    def even_hops(self, stream: Stream, index: Bits, n: Count, law: hopping.EvenHop) -> hopping.Flows:
        """Numbers that move by -2, -1, +1, +2 voxels, as drawn by ``Discrete``."""
        given = (stream, index, n, law._replace(moves=lax.stop_gradient(law.moves), far=lax.stop_gradient(law.far)))
        far_down, down, up, far_up = flows = hopping.flows_of(hopping.drawn_word(*given), *given)
        far = far_down + far_up
        movers = far + down + up
        self.noted.append(jnp.sum(likelihood.binomial(movers, n, law.moves)))
        self.noted.append(jnp.sum(likelihood.binomial(far, movers, law.far)))
        return flows

    def waiting_time(self, stream: Stream, index: Bits, events: Count) -> Real:
        """As drawn by ``Discrete``; no parameter changes its law."""
        return draws.gamma(stream, index, 0, events)

    def share(self, content: Count, cells: Count, occupancy: Number) -> Count:
        """As of ``Discrete``."""
        return Discrete().share(content, cells, occupancy)

    def taken(self) -> Real:
        """The log-probability of what was drawn since the last call."""
        total = sum(self.noted[1:], self.noted[0])
        self.noted.clear()
        return total


def taken(policy: "Policy") -> Real | None:
    """The log-probability that a policy noted since the last call; None of all but :class:`Score`."""
    return policy.taken() if isinstance(policy, Score) else None


@dataclass(frozen=True)
class Mean:
    """Real amounts, each channel by its mean: the reaction-diffusion equations, smooth in the parameters."""

    def binomial(self, stream: Stream, index: Bits, number: int, n: Real, p: Real) -> Real:
        """Mean of the binomial."""
        del stream, index, number
        return n * p

    def trial(self, stream: Stream, index: Bits, number: int, n: Real, p: Real) -> Real:
        """Mean of the binomial."""
        del stream, index, number
        return n * p

    def half(self, stream: Stream, index: Bits, number: int, n: Real) -> Real:
        """Mean of a fair half."""
        del stream, index, number
        return 0.5 * n

    def poisson(self, stream: Stream, index: Bits, number: int, mean: Real) -> Real:
        """Mean of the Poisson."""
        del stream, index, number
        return mean

    def mass_action(self, stream: Stream, index: Bits, law: clocks.MassAction) -> Real:
        """The midpoint rule on n^order: second order in the step, positive while at most half is used up in it."""
        del stream
        return _midpoint(lambda events: law.propensity(events, falling=False), index)

    def modulated(self, stream: Stream, index: Bits, propensity: Propensity, capacity: Real) -> Real:
        """The midpoint rule; no more than what is there."""
        del stream
        return jnp.minimum(_midpoint(propensity, index), capacity)

    def waiting_time(self, stream: Stream, index: Bits, events: Real) -> Real:
        """Mean of the sum."""
        del stream, index
        return events

    def share(self, content: Real, cells: Real, occupancy: Real) -> Real:
        """Molecules in some of a voxel's cells, which all hold the same."""
        return content * cells / jnp.where(occupancy > TINY_OCCUPANCY, occupancy, 1.0)


def _midpoint(propensity: Propensity, index: Bits) -> Real:
    return propensity(0.5 * propensity(jnp.zeros(index.shape, jnp.float32)))


Policy = Discrete | StraightThrough | Score | Mean


def policy_of(engine: str) -> Policy:
    """The policy of an engine, or of ``leap`` with an estimator."""
    policies = {"leap_st": StraightThrough, "score": Score, "mean_field": Mean}
    return policies.get(engine, Discrete)()


def is_discrete(policy: Policy) -> bool:
    """Whether amounts are whole molecules."""
    return not isinstance(policy, Mean)
