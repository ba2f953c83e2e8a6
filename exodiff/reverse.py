"""Reverse mode through pairs of steps of ``leap_st``, whose substeps are counted only when they run.

A loop of unknown length has no reverse mode, but a group of pairs has one by hand. Its first state alone is kept.
Going back, its pairs are first gone through forwards once more; each leaves its state, and what was drawn in its first
substep, so that nothing is drawn a third time. Further substeps, which a pair has only where rates have outgrown the
step, are gone through again from the last to the second: of 2^k, at a cost of 4^k / 2 substeps forwards.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import Bits, Real
from exodiff.hop_tables import HopTables, no_tables, with_halvings
from exodiff.kernels.policies import DRAWN
from exodiff.problem import Inputs, Problem
from exodiff.state import State
from exodiff.step import (
    Division,
    advance_pair,
    division,
    ended,
    further_substeps,
    most_of_all,
    substep,
)


class Pairs(NamedTuple):
    """Some pairs of one replicate: its seed and number, the step, and of each its time and whether it is to be done."""

    seed: Bits
    replicate: Bits
    dt_s: Real
    times_s: Real
    are_wanted: Array


_Carry = tuple[State, HopTables | None]


class _Kept(NamedTuple):
    """Of a pair: its state before, its division, and the numbers in the pull-back of its first substep."""

    state: State
    parts: Division
    numbers: list[Array]


class _Pieces(NamedTuple):
    """Of a pull-back: its structure, and where its numbers are among known ones, or None."""

    structure: Any
    places: tuple[int | None, ...]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def reversible_pairs(problem: Problem, inputs: Inputs, state: State, pairs: Pairs) -> State:
    """As :func:`exodiff.step.advance_pair` for one pair after another, differentiable in reverse mode."""

    def pair(carry: _Carry, row: tuple[Real, Array]) -> tuple[_Carry, None]:
        time_s, is_wanted = row

        def go(carry: _Carry) -> _Carry:
            return advance_pair(problem, inputs, pairs.seed, pairs.replicate, carry[0], time_s, pairs.dt_s, carry[1])

        return lax.cond(is_wanted, go, lambda same: same, carry), None

    return lax.scan(pair, (state, no_tables(problem)), (pairs.times_s, pairs.are_wanted))[0][0]


def _forwards(
    problem: Problem, inputs: Inputs, state: State, pairs: Pairs
) -> tuple[State, tuple[Inputs, State, Pairs]]:
    return reversible_pairs(problem, inputs, state, pairs), (inputs, state, pairs)


def _backwards(problem: Problem, kept: tuple[Inputs, State, Pairs], cotangent: State) -> tuple[Inputs, State, None]:
    inputs, first, pairs = kept
    go = partial(substep, problem, address=(pairs.seed, pairs.replicate))
    pull_backs: list[_Pieces] = []

    def more(tables: HopTables | None, state: State, parts: Division) -> HopTables | None:
        most = most_of_all(parts.halvings)
        return with_halvings(tables, problem, inputs, state.counts, pairs.dt_s, most)

    def of_substep(state: State, k: Array | int, parts: Division, time_s: Real, tables: HopTables | None) -> Any:
        """Of a substep the state after it, and its pull-back, which keeps what was drawn."""
        reals, rest = eqx.partition(state, eqx.is_inexact_array)

        @partial(jax.checkpoint, prevent_cse=False, policy=jax.checkpoint_policies.save_only_these_names(DRAWN))
        def after(inputs: Inputs, reals: State) -> tuple[State, State]:
            found = go(inputs, eqx.combine(reals, rest), k, parts=parts, time_s=time_s, tables=tables)
            return eqx.partition(found, eqx.is_inexact_array)

        reals, pull_back, rest = jax.vjp(after, inputs, reals, has_aux=True)
        return eqx.combine(reals, rest), pull_back

    def go_on(carry: _Carry, row: tuple[Real, Array]) -> tuple[_Carry, _Kept]:
        time_s, is_wanted = row

        def pair(carry: _Carry) -> tuple[_Carry, Division, list[Array]]:
            before, tables = carry
            parts = division(problem, inputs, before, time_s, pairs.dt_s)
            tables = more(tables, before, parts)
            known = jax.tree.leaves((inputs, before, tables))
            before = replace(before, health=parts.health)
            after, pull_back = of_substep(before, 0, parts, time_s, tables)
            pieces, own = _take_apart(pull_back, known)
            pull_backs.append(pieces)
            state = jax.tree.map(lambda new, old: jnp.where(parts.number > 0, new, old), after, before)
            address = (pairs.seed, pairs.replicate)
            state = further_substeps(problem, inputs, address, state, parts, time_s, 1, tables)
            return (ended(problem, state), tables), parts, own

        def nothing(same: _Carry) -> tuple[_Carry, Division, list[Array]]:
            _, *rest = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(pair, same))
            return same, *rest

        after, parts, numbers = lax.cond(is_wanted, pair, nothing, carry)
        return after, _Kept(carry[0], parts, numbers)

    rows = pairs.times_s, pairs.are_wanted
    (_, tables), all_kept = lax.scan(go_on, (first, no_tables(problem)), rows)

    def go_back(carry: tuple[Inputs, State], row: tuple[_Kept, Real, Array]) -> tuple[tuple[Inputs, State], None]:
        (state, parts, numbers), time_s, is_wanted = row
        most = most_of_all(parts.number)

        def step_back(pull_back: Any, k: Array | int, carry: tuple[Inputs, State]) -> tuple[Inputs, State]:
            more, by_state = pull_back(carry[1])
            found = jax.tree.map(jnp.add, carry[0], more), by_state
            return jax.tree.map(lambda new, old: jnp.where(k < parts.number, new, old), found, carry)

        def first_of_pair(carry: tuple[Inputs, State]) -> tuple[Inputs, State]:
            known = jax.tree.leaves((inputs, state, tables))
            return step_back(_put_together(pull_backs[-1], known, numbers), 0, carry)

        def pair(i: Array, carry: tuple[Inputs, State]) -> tuple[Inputs, State]:
            k = most - 1 - i

            def further(carry: tuple[Inputs, State]) -> tuple[Inputs, State]:
                begun = replace(state, health=parts.health)
                known = {"parts": parts, "time_s": time_s, "tables": tables}
                before = lax.fori_loop(0, k, lambda j, s: go(inputs, s, j, **known), begun)
                return step_back(of_substep(before, k, **known)[1], k, carry)

            return lax.cond(k == 0, first_of_pair, further, carry)

        # in one loop, so that both share their memory
        return lax.fori_loop(0, jnp.where(is_wanted, most, 0), pair, carry), None

    none = jax.tree.map(jnp.zeros_like, inputs)
    by_reals = jax.tree.map(
        lambda given, c: c if eqx.is_inexact_array(given) else None, first, cotangent, is_leaf=lambda x: x is None
    )
    (by_inputs, by_state), _ = lax.scan(go_back, (none, by_reals), (all_kept, *rows), reverse=True)
    return by_inputs, by_state, None


def _take_apart(pull_back: Any, known: list[Array]) -> tuple[_Pieces, list[Array]]:
    """What a pull-back is made of, and those of its numbers that are not known."""
    numbers, structure = jax.tree.flatten(pull_back)
    places = [next((j for j, other in enumerate(known) if other is number), None) for number in numbers]
    own = [number for number, place in zip(numbers, places, strict=True) if place is None]
    return _Pieces(structure, tuple(places)), own


def _put_together(pieces: _Pieces, known: list[Array], own: list[Array]) -> Any:
    rest = iter(own)
    numbers = [next(rest) if place is None else known[place] for place in pieces.places]
    return jax.tree.unflatten(pieces.structure, numbers)


reversible_pairs.defvjp(_forwards, _backwards)
