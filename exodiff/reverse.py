"""Reverse mode through pairs of steps of ``leap_st``, whose substeps are counted only when they run.

A loop of unknown length has no reverse mode, but a pair has one by hand: from its first state, which alone is kept, its
substeps are gone through again from the last to the first. A pair is done in one substep unless rates have outgrown the
step; in 2^k, going back costs 4^k / 2 substeps forwards.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import Bits, Real
from exodiff.problem import Inputs, Problem
from exodiff.state import State
from exodiff.step import advance_pair, division, substep


class Place(NamedTuple):
    """Which pair of which replicate: its seed and number, the time, the step, and whether it is to be done at all."""

    seed: Bits
    replicate: Bits
    time_s: Real
    dt_s: Real
    is_wanted: Array


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def reversible_pair(problem: Problem, inputs: Inputs, state: State, place: Place) -> State:
    """As :func:`exodiff.step.advance_pair`, differentiable in reverse mode."""

    def go(state: State) -> State:
        return advance_pair(problem, inputs, place.seed, place.replicate, state, place.time_s, place.dt_s)

    return lax.cond(place.is_wanted, go, lambda same: same, state)


def _forwards(
    problem: Problem, inputs: Inputs, state: State, place: Place
) -> tuple[State, tuple[Inputs, State, Place]]:
    return reversible_pair(problem, inputs, state, place), (inputs, state, place)


def _backwards(problem: Problem, kept: tuple[Inputs, State, Place], cotangent: State) -> tuple[Inputs, State, None]:
    inputs, state, place = kept
    parts = division(problem, inputs, state, place.time_s, place.dt_s)
    number = jnp.where(place.is_wanted, parts.number, 0)
    go = partial(substep, problem, address=(place.seed, place.replicate), parts=parts, time_s=place.time_s)

    def step_back(i: Array, carry: tuple[Inputs, State]) -> tuple[Inputs, State]:
        by_inputs, by_state = carry
        at = number - 1 - i
        before = lax.fori_loop(0, at, lambda k, s: go(inputs, s, k), state)
        reals, rest = eqx.partition(before, eqx.is_inexact_array)

        def one(inputs: Inputs, reals: State) -> State:
            return eqx.filter(go(inputs, eqx.combine(reals, rest), at), eqx.is_inexact_array)

        more, by_state = jax.vjp(one, inputs, reals)[1](by_state)
        return jax.tree.map(jnp.add, by_inputs, more), by_state

    nothing = jax.tree.map(jnp.zeros_like, inputs)
    by_reals = jax.tree.map(
        lambda given, c: c if eqx.is_inexact_array(given) else None, state, cotangent, is_leaf=lambda x: x is None
    )
    by_inputs, by_state = lax.fori_loop(0, number, step_back, (nothing, by_reals))
    return by_inputs, by_state, None


reversible_pair.defvjp(_forwards, _backwards)
