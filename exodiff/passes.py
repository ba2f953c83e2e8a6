"""One pass over the operations of a step, and the pass that moves cells.

In the discrete engines the list is a loop whose place is known only when it runs: operations of one kind share a
compiled draw. In ``mean_field`` it is unrolled, so that it can be differentiated. Both visit an operation by the same
function; :func:`_choose` and :func:`_only_at` take a place of either sort.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.concentrations import advance_fields
from exodiff.core.arrays import COUNT_DTYPE, Bits, Count, Mask, Number, Real
from exodiff.core.expressions import Expression, names
from exodiff.hop_tables import hops_per_step, per_area
from exodiff.kernels import totals
from exodiff.kernels.alias_tables import Tables
from exodiff.kernels.cell_events import make_cells, move_cells
from exodiff.kernels.crossings import released
from exodiff.kernels.diffusion import (
    Transition,
    entry_rate,
    even_hop_gain,
    even_mean_gain,
    hop_flows,
    hop_rates,
    injection,
    net_gain,
    net_gain_of_words,
    transition,
)
from exodiff.kernels.faces import fluid_velocity
from exodiff.kernels.hopping import LAW, Collect, Flows, Place, even_hop
from exodiff.kernels.policies import DRAWN, Mean, Policy, taken
from exodiff.kernels.pools import with_pools
from exodiff.kernels.random import Stream, fold, site_id
from exodiff.kernels.rates import Voxels, with_concentrations
from exodiff.kernels.reactions import (
    DrawInputs,
    burst_size,
    deposit,
    draw_inputs,
    mass_action_events,
    mass_action_table,
    modulated_events,
    wipe_cells,
)
from exodiff.lattice.grid import Grid
from exodiff.model.network import Channel, DrawKind, NewCell
from exodiff.operations import (
    EVEN_HOP,
    HOP,
    MODULATED,
    TRIAL,
    Operation,
    backward_order,
    even_law,
    even_laws,
    hop_law,
    hop_laws,
    operations,
)
from exodiff.problem import Inputs, Problem

Share = Real | float | np.floating


class Amounts(NamedTuple):
    """What a pass changes: counts (species, x, y, z), event counters (counters, 2), concentrations and pools.

    The latter are None without any; ``is_solved`` says whether the concentrations could be found, ``log_p`` is the
    log-probability of the draws where the policy notes it.
    """

    counts: Array
    events: Array
    concentrations: Array | None = None
    pools: Array | None = None
    is_solved: Mask | None = None
    log_p: Array | None = None


class Step(NamedTuple):
    """What the operations of one step share; tables are those of even hops, and its own begin at a place.

    Diffusivities, by expression, are those that no operation changes.
    """

    problem: Problem
    inputs: Inputs
    policy: Policy
    stream: Stream
    places: Bits
    time_s: Real
    dt_s: Real
    tables: Tables | None = None
    first_table: Count | int = 0
    diffusivities: Mapping[Expression, Real] = MappingProxyType({})

    def voxels(self, amounts: Amounts) -> Voxels:
        """The state as rate laws see it."""
        inputs = with_concentrations(self.problem, self.inputs, amounts.concentrations)
        inputs = with_pools(self.problem, inputs, amounts.pools)
        return Voxels(self.problem, inputs, amounts.counts, self.time_s)


def looped_pass(step: Step, amounts: Amounts, *, backwards: Array) -> Amounts:
    """Visit all operations in a loop that compiles each kind of draw once."""
    listed = operations(step.problem)
    if not listed:
        return amounts
    step = _with_diffusivities(step, amounts)
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


def _kinds(problem: Problem) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """The kinds of draw that occur, and the operations with a draw of their own."""
    listed = operations(problem)
    kinds = sorted({op.kind(problem) for op in listed} - {MODULATED})
    return tuple(kinds), tuple(op for op in listed if op.kind(problem) == MODULATED)


@lru_cache(maxsize=64)
def _tables(problem: Problem) -> _Tables:
    listed = operations(problem)
    kinds, own = _kinds(problem)
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


def _choose(place: Place, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """The result of the branch at a place."""
    return lax.switch(place, branches, *operands) if isinstance(place, Array) else branches[int(place)](*operands)


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
    inputs = _choose(place, [lambda now, op=op: inputs_of(step, now, op) for op in listed], amounts)
    row = tables.law[place], tables.even_law[place], tables.mass_action[place], tables.share[place]
    events, log_p = _choose(tables.branch[place], _draws(step), stream, inputs, amounts, *row)
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


def inputs_of(step: Step, amounts: Amounts, operation: Operation) -> DrawInputs:
    """Inputs of an operation's draw."""
    if operation.channel is not None:
        return draw_inputs(step.voxels(amounts), operation.channel, step.dt_s)
    grid = step.problem.grid
    nothing = jnp.zeros(grid.shape, amounts.counts.dtype)
    if operation.hop is not None:
        species = operation.hop[0]
        diffusivity = jnp.broadcast_to(_diffusivity(step, amounts, species), grid.shape)
        return DrawInputs(amounts.counts[species], nothing, diffusivity)
    wall = operation.wall
    assert wall is not None
    grid = step.problem.grid_of(wall.species)
    diffusivity = _diffusivity(step, amounts, wall.species)
    velocity = fluid_velocity(step.problem, step.inputs, wall.axis)
    rates = hop_rates(diffusivity, grid, wall.axis, velocity)
    entry = entry_rate(rates, diffusivity, grid, wall.axis, wall.side, velocity)
    outside = step.voxels(amounts).evaluate(wall.concentration) * grid.fluid_volume_um3
    entering = injection(rates, entry, outside, step.dt_s * (1.0 / operation.parts), grid, wall.axis, wall.side)
    return DrawInputs(nothing, nothing, jnp.broadcast_to(entering, grid.shape))


def _diffusivity(step: Step, amounts: Amounts, species: int) -> Real:
    """One value, or a field of them."""
    expression = step.problem.network.diffusivity[species]
    assert expression is not None
    field = step.inputs.fields.get(f"diffusion.{step.problem.network.species[species]}")
    if field is not None:
        return field
    known = step.diffusivities.get(expression)
    return step.voxels(amounts).evaluate(expression) if known is None else known


def _with_diffusivities(step: Step, amounts: Amounts) -> Step:
    """The step with diffusivities that read concentrations, but nothing that an operation changes."""
    network = step.problem.network
    deposited = {network.continuous[field] for channel in network.channels for field, _ in channel.deposits}
    changing = {*network.species, *step.problem.pools.names, *deposited}
    found = {
        d: step.voxels(amounts).evaluate(d)
        for d in dict.fromkeys(network.diffusivity)  # in their order, so that the program is always the same
        if d is not None and names(d) & {*network.continuous} and not names(d) & changing
    }
    return step._replace(diffusivities=found)


def _draws(step: Step) -> list[Callable[..., tuple[Number, Array | None]]]:
    """One function a kind of draw that occurs, then one a modulated channel: events, and what the policy noted."""
    policy, places = step.policy, step.places
    kinds, own = _kinds(step.problem)
    shared: dict[str, Callable[..., Number]] = {
        EVEN_HOP: lambda stream, inputs, amounts, law, even, table, share: even_gain(step, stream, inputs, law, even),
        HOP: lambda stream, inputs, amounts, law, even, table, share: uneven_gain(step, stream, inputs, law, share),
        DrawKind.BINOMIAL.value: lambda stream, inputs, amounts, law, even, table, share: policy.binomial(
            stream, places, 0, inputs.first, inputs.real
        ),
        TRIAL: lambda stream, inputs, amounts, law, even, table, share: policy.trial(
            stream, places, 0, inputs.first, inputs.real
        ),
        DrawKind.POISSON.value: lambda stream, inputs, amounts, law, even, table, share: policy.poisson(
            stream, places, 0, inputs.real
        ),
        DrawKind.CHAIN.value: lambda stream, inputs, amounts, law, even, table, share: mass_action_events(
            policy, stream, places, inputs, jnp.asarray(table, COUNT_DTYPE)
        ),
    }

    def modulated(operation: Operation) -> Callable[..., Number]:
        def events(stream: Stream, inputs: DrawInputs, amounts: Amounts, *row: Place | Share | np.ndarray) -> Number:
            del inputs, row
            assert operation.channel is not None
            return modulated_events(policy, stream, places, step.voxels(amounts), operation.channel, step.dt_s)

        return events

    def noting(draw: Callable[..., Number]) -> Callable[..., tuple[Number, Array | None]]:
        return lambda *operands: (draw(*operands), taken(policy))

    return [noting(draw) for draw in (*(shared[kind] for kind in kinds), *map(modulated, own))]


def even_gain(step: Step, stream: Stream, inputs: DrawInputs, law: Place, even: Place) -> Number:
    """Net gain of each voxel by the even hops of a law in ``hop_laws``, which is one of ``even_laws`` too."""
    laws = hop_laws(step.problem)
    hops = hops_per_step(inputs.real[0, 0, 0], step.dt_s, per_area(step.problem)[even])
    if isinstance(step.policy, Mean):
        choices = [lambda n, axis=axis, grid=grid: even_mean_gain(n, hops, grid, axis) for axis, grid in laws]
        return _choose(law, choices, inputs.first)
    drawn = even_hop(hops)._replace(tables=step.tables, start=step.first_table + jnp.asarray(even) * LAW)
    return even_hop_gain(step.policy, stream, step.places, inputs.first, drawn, law, _collect(laws))


def uneven_gain(step: Step, stream: Stream, inputs: DrawInputs, law: Place, share: Share) -> Number:
    """Net gain of each voxel by the hops of a law in ``hop_laws``, for a share of the step.

    All laws share one set of compiled draws.
    """
    laws = hop_laws(step.problem)
    collect = _collect(laws)
    dt_s = step.dt_s * share
    choices = [lambda d, one=one: _transition(step, d, dt_s, *one) for one in laws]
    return collect.of_flows(
        hop_flows(step.policy, stream, step.places, inputs.first, _choose(law, choices, inputs.real)), law
    )


@lru_cache(maxsize=64)
def _collect(laws: tuple[tuple[int, Grid], ...]) -> Collect:
    """Net gain by the flows of one of the laws."""

    def of_flows(flows: Flows, law: Place) -> Number:
        return _choose(law, [lambda f, axis=axis, grid=grid: net_gain(f, grid, axis) for axis, grid in laws], flows)

    def of_words(words: Count, law: Place) -> Number:
        gains = [lambda w, axis=axis, grid=grid: net_gain_of_words(w, grid, axis) for axis, grid in laws]
        return _choose(law, gains, words)

    return Collect(of_flows, of_words)


def _transition(step: Step, diffusivity: Real, dt_s: Real, axis: int, grid: Grid) -> Transition:
    velocity = fluid_velocity(step.problem, step.inputs, axis)
    return transition(hop_rates(diffusivity, grid, axis, velocity), dt_s, grid, axis)


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
