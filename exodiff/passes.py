"""One pass over the operations of a step, and the pass that moves cells.

In the discrete engines the list is a loop whose place is known only when it runs: operations of one kind share a
compiled draw (:mod:`exodiff.operation_draws`). In ``mean_field`` it is unrolled, so that it can be differentiated. Both
visit an operation by the same function; :func:`_only_at` takes a place of either sort.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.concentrations import advance_fields
from exodiff.core.arrays import Mask, Number
from exodiff.kernels import totals
from exodiff.kernels.cell_events import make_cells, move_cells
from exodiff.kernels.crossings import released
from exodiff.kernels.hopping import Place
from exodiff.kernels.policies import DRAWN, taken
from exodiff.kernels.random import fold, site_id
from exodiff.kernels.reactions import (
    burst_size,
    deposit,
    mass_action_table,
    wipe_cells,
)
from exodiff.model.network import Channel, NewCell
from exodiff.operation_draws import Amounts, Step, choose, draws, inputs_of, kinds_of_draw, with_diffusivities
from exodiff.operations import (
    EVEN_HOP,
    backward_order,
    even_law,
    even_laws,
    hop_law,
    hop_laws,
    operations,
)
from exodiff.problem import Problem


def looped_pass(step: Step, amounts: Amounts, *, backwards: Array) -> Amounts:
    """Visit all operations in a loop that compiles each kind of draw once."""
    listed = operations(step.problem)
    if not listed:
        return amounts
    step = with_diffusivities(step, amounts)
    tables = jax.tree.map(jnp.asarray, _tables(step.problem))
    order = jnp.asarray(backward_order(step.problem))

    def visit(i: Array, amounts: Amounts) -> Amounts:
        return _visit(step, tables, jnp.where(backwards, order[i], i), amounts)

    return lax.fori_loop(0, len(listed), _checkpointed(step.problem, visit), amounts)


def looped_passes(at: Callable[[Array], Step], problem: Problem, amounts: Amounts) -> Amounts:
    """A pass forwards and one backwards in one loop; ``at`` gives the step of each.

    In reverse mode: of a loop in a loop, ``vmap`` would move the axes of all that is kept.
    """
    listed = operations(problem)
    if not listed:
        return amounts
    tables = jax.tree.map(jnp.asarray, _tables(problem))
    order = jnp.asarray([*range(len(listed)), *backward_order(problem)])

    def visit(i: Array, amounts: Amounts) -> Amounts:
        return _visit(at(i // len(listed)), tables, order[i], amounts)

    return lax.fori_loop(0, 2 * len(listed), _checkpointed(problem, visit), amounts)


def _checkpointed(problem: Problem, visit: Callable[[Array, Amounts], Amounts]) -> Callable[[Array, Amounts], Amounts]:
    """In reverse mode keeps what was drawn, and of all else one state a visit."""
    if not problem.is_reversible:
        return visit
    kept = jax.checkpoint_policies.save_only_these_names(DRAWN)
    return jax.checkpoint(visit, prevent_cse=False, policy=kept)


def unrolled_pass(step: Step, amounts: Amounts, *, backwards: bool) -> Amounts:
    """Visit all operations one by one, each compiled for itself: differentiable, and fast where draws cost nothing."""
    tables = _tables(step.problem)
    for place in backward_order(step.problem) if backwards else range(len(operations(step.problem))):
        amounts = _visit(step, tables, place, amounts)
    return amounts


def field_pass(step: Step, amounts: Amounts) -> Amounts:
    """Concentrations, over both steps of a pair."""
    if amounts.concentrations is None:
        return amounts
    concentrations, is_solved = advance_fields(step.voxels(amounts), amounts.concentrations, 2.0 * step.dt_s)
    return amounts._replace(concentrations=concentrations, is_solved=is_solved)


def cell_pass(step: Step, amounts: Amounts) -> Amounts:
    """Divisions, spawning, filling and motility, over both steps of a pair."""
    network = step.problem.network
    dt_s = 2.0 * step.dt_s
    for channel in network.channels:
        if channel.new_cell is NewCell.NONE:
            continue
        stream = fold(step.stream, site_id(f"reaction:{channel.name}"))
        counts, events = make_cells(step.policy, stream, step.places, step.voxels(amounts), channel, dt_s)
        counters = count_events(step, amounts.events, events, {channel.name: 0}, 0)
        amounts = amounts._replace(counts=counts, events=counters)
        if amounts.pools is not None:
            pools = released(step.problem, step.inputs, amounts.pools, channel, events)
            amounts = amounts._replace(pools=pools)
    if any(motility is not None for motility in network.motility):
        stream = fold(step.stream, site_id("motility"))
        moved = move_cells(step.policy, stream, step.places, step.voxels(amounts), dt_s)
        amounts = amounts._replace(counts=moved)
    return amounts


class _Tables(NamedTuple):
    """The list as arrays, one row an operation: what a visit looks up."""

    site: Any
    branch: Any
    law: Any  # of a hop
    even_law: Any
    mass_action: Any  # (operations, 4)
    changes: Any  # (operations, most changes, 2)
    num_changes: Any
    kills: Any
    share: Any  # of the step


@lru_cache(maxsize=64)
def _tables(problem: Problem) -> _Tables:
    listed = operations(problem)
    kinds, own = kinds_of_draw(problem)
    even = even_laws(problem)
    changes = np.zeros((len(listed), max([1, *(len(op.changes) for op in listed)]), 2), np.int32)
    for row, op in zip(changes, listed, strict=True):
        row[: len(op.changes)] = np.reshape(op.changes, (-1, 2))
    nothing = (0,) * 4
    return _Tables(
        site=np.asarray([site_id(op.site) for op in listed], np.uint32),
        branch=np.asarray(
            [len(kinds) + own.index(op) if op in own else kinds.index(op.kind(problem)) for op in listed]
        ),
        law=np.asarray([0 if op.hop is None else hop_laws(problem).index(hop_law(problem, op)) for op in listed]),
        even_law=np.asarray(
            [even.index(even_law(problem, op)) if op.kind(problem) == EVEN_HOP else 0 for op in listed], np.int32
        ),
        mass_action=np.asarray([nothing if op.channel is None else mass_action_table(op.channel) for op in listed]),
        changes=changes,
        num_changes=np.asarray([len(op.changes) for op in listed]),
        kills=np.asarray([op.channel is not None and op.channel.kills for op in listed]),
        share=np.asarray([1.0 / op.parts for op in listed], problem.precision),
    )


def _repeat(times: Place, change: Callable[[Any, Array], Array], array: Array) -> Array:
    """Change an array so many times."""
    if isinstance(times, Array):
        return lax.fori_loop(0, times, change, array)
    for i in range(times):
        array = change(i, array)
    return array


def _only_at(wanted: int, place: Place, change: Callable[[Any], Any], array: Any) -> Any:
    """An array (or several) changed if the place is the wanted one."""
    if isinstance(place, Array):
        return lax.cond(place == wanted, change, lambda same: same, array)
    return change(array) if place == wanted else array


def _visit(step: Step, tables: _Tables, place: Place, amounts: Amounts) -> Amounts:
    """Draw the events of one operation, and let them happen."""
    listed = operations(step.problem)
    stream = fold(step.stream, tables.site[place])
    inputs = choose(place, [lambda now, op=op: inputs_of(step, now, op) for op in listed], amounts)
    row = tables.law[place], tables.even_law[place], tables.mass_action[place], tables.share[place]
    events, log_p = choose(tables.branch[place], draws(step), stream, inputs, amounts, *row)
    log_p = _sum(amounts.log_p, log_p)
    place_of = {op.channel.name: j for j, op in enumerate(listed) if op.channel is not None}
    counters = count_events(step, amounts.events, events, place_of, place)
    counts = _wipe_cells(step, amounts, events, tables.kills[place])
    for j, op in enumerate(listed):
        for i, product in enumerate(op.channel.bursts if op.channel is not None else ()):

            def burst(
                found: tuple[Array, Array | None],
                channel: Channel | None = op.channel,
                i: int = i,
                to: int = product.species,
            ) -> tuple[Array, Array | None]:
                assert channel is not None
                made = burst_size(step.policy, stream, step.places, step.voxels(amounts), channel, i, events)
                return found[0].at[to].add(made), _sum(found[1], taken(step.policy))

            counts, log_p = _only_at(j, place, burst, (counts, log_p))

    def change(c: Place, counts: Array) -> Array:
        species, amount = tables.changes[place, c, 0], tables.changes[place, c, 1]
        return counts.at[species].add(jnp.asarray(amount, events.dtype) * events)

    concentrations, pools = amounts.concentrations, amounts.pools
    for j, op in enumerate(listed):
        if concentrations is not None and op.channel is not None and op.channel.deposits:

            def put(concentrations: Array, channel: Channel = op.channel) -> Array:
                return deposit(step.voxels(amounts), channel, concentrations, events)

            concentrations = _only_at(j, place, put, concentrations)
        if op.channel is not None and op.channel.releases:
            release = partial(released, step.problem, step.inputs, channel=op.channel, events=events)
            assert pools is not None
            pools = _only_at(j, place, release, pools)
    # rows of the table are filled up with changes by nothing
    times = tables.changes.shape[1] if step.problem.is_reversible else tables.num_changes[place]
    counts = _repeat(times, change, counts)
    return amounts._replace(counts=counts, events=counters, concentrations=concentrations, pools=pools, log_p=log_p)


def _sum(log_p: Array | None, more: Array | None) -> Array | None:
    return log_p if log_p is None or more is None else log_p + more


def _wipe_cells(step: Step, amounts: Amounts, deaths: Number, kills: Mask | bool | np.bool) -> Array:
    """Take away what is in the cells that die, if the operation kills."""
    network = step.problem.network
    if not any(channel.kills for channel in network.channels):
        return amounts.counts
    none, every = network.num_free, network.first_type
    if isinstance(kills, Array):
        kills = lax.cond(kills, lambda: jnp.any(deaths > 0), lambda: jnp.asarray(False))
    last = jnp.where(kills, every, none) if isinstance(kills, Array) else every if kills else none
    return wipe_cells(step.policy, amounts.counts, none, last, deaths, step.voxels(amounts).occupancy())


def count_events(step: Step, counters: Array, events: Number, place_of: dict[str, int], place: Place) -> Array:
    """Add events to the counters that follow the reaction at this place."""
    for c, (reaction, region) in enumerate(step.problem.event_counters):

        def counted(counter: Array, region: str = region) -> Array:
            mask = step.inputs.fields[f"region.{region}"].astype(events.dtype) if region else 1
            return totals.add(counter, totals.total(events * mask).astype(counter.dtype))

        if reaction in place_of:
            counters = counters.at[c].set(_only_at(place_of[reaction], place, counted, counters[c]))
    return counters
