"""What one event does to the counts of its voxel, and of the neighbour that it goes to.

The one-voxel form of ``kernels/reactions.py`` and ``kernels/cell_events.py``: there all voxels draw at once and rivals
for an empty neighbour are settled; here one event happens, so none collide.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Count
from exodiff.exact.events import changes_here, changes_next_door, events_of, is_plain
from exodiff.kernels.cell_events import initial_contents, kept_type
from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import Stream, fold
from exodiff.kernels.rates import Voxels
from exodiff.kernels.reactions import burst_size
from exodiff.model.network import Channel, NewCell
from exodiff.problem import Problem

Columns = tuple[Count, Count]  # counts of the voxel and of the neighbour, each (species,)
_POLICY = Discrete()


def apply_event(problem: Problem, local: Voxels, there: Count, stream: Stream, kind: Count) -> Columns:
    """Counts of a voxel and of its neighbour after an event.

    Args:
        problem: of the whole lattice.
        local: the voxel alone, a lattice of one.
        there: counts of the neighbour; what is done to it has no meaning for events without a face.
        stream: random bits of this event.
        kind: place in the list of events.

    """
    here = local.counts.reshape(-1)
    events = events_of(problem)
    tables = (jnp.asarray(changes_here(problem)), jnp.asarray(changes_next_door(problem)))
    here, there = here + tables[0][kind], there + tables[1][kind]
    special = [event for event in events if not is_plain(event, problem)]
    if not special:
        return here, there
    actors = list(dict.fromkeys(event.channel or event.mover for event in special))
    branch = np.asarray([1 + actors.index(e.channel or e.mover) if e in special else 0 for e in events], np.int32)
    plain: Callable[[Columns], Columns] = lambda columns: columns  # noqa: E731
    branches = [plain, *(_action(local, stream, actor) for actor in actors)]
    return lax.switch(jnp.asarray(branch)[kind], branches, (here, there))


def _action(local: Voxels, stream: Stream, actor: Channel | int | None) -> Callable[[Columns], Columns]:
    """What an event does beyond the fixed changes of molecules, which are done."""

    def act(columns: Columns) -> Columns:
        if not isinstance(actor, Channel):
            return _move(local, columns)
        here, there = columns
        here = _add_bursts(local, stream, actor, here)
        if actor.new_cell is NewCell.NEIGHBOUR:
            return _divide(local, stream, actor, here, there)
        network = local.problem.network
        inside = slice(network.num_free, network.first_type)
        if actor.new_cell is NewCell.HERE:
            assert actor.child is not None
            here = here.at[actor.child].add(1).at[inside].add(initial_contents(local, actor.child))
        if actor.kills:
            here = here.at[inside].set(0)
        return here, there

    return act


def _add_bursts(local: Voxels, stream: Stream, channel: Channel, here: Count) -> Count:
    """Add the products of random number."""
    index, one = jnp.zeros((1, 1, 1), BITS_DTYPE), jnp.ones((1, 1, 1), COUNT_DTYPE)
    for place, product in enumerate(channel.bursts):
        made = burst_size(_POLICY, stream, index, local, channel, place, one)
        here = here.at[product.species].add(made[0, 0, 0])
    return here


def _divide(local: Voxels, stream: Stream, channel: Channel, here: Count, there: Count) -> Columns:
    """The parent becomes the first product; the new cell appears next door.

    A daughter takes Binomial(n, 1/2) of what the cell holds, or both start anew (``on_division = "reset"``). A cell of
    another kind starts from its type's first contents, and the parent keeps everything.
    """
    network = local.problem.network
    assert channel.parent is not None
    assert channel.child is not None
    inside = slice(network.num_free, network.first_type)
    if network.num_in_cell:
        content, fresh = here[inside], initial_contents(local, channel.child)
        if channel.child == channel.parent and channel.change_of.get(channel.parent, 0) == 1:
            half = _POLICY.half(fold(stream, 1), jnp.arange(network.num_in_cell, dtype=BITS_DTYPE), 0, content)
            is_split = jnp.asarray([kind == "split" for kind in network.on_division])
            here = here.at[inside].set(jnp.where(is_split, content - half, fresh))
            there = there.at[inside].set(jnp.where(is_split, half, fresh))
        else:
            there = there.at[inside].set(fresh)
    here = here.at[channel.parent].add(-1).at[kept_type(channel, network.first_type)].add(1)
    return here, there.at[channel.child].add(1)


def _move(local: Voxels, columns: Columns) -> Columns:
    """The cell goes to the empty neighbour with all that it holds."""
    here, there = columns
    first = local.problem.network.num_free
    return here.at[first:].set(0), there.at[first:].set(here[first:])
