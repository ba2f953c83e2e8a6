"""State: everything that changes in a run."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, UInt32


class State(eqx.Module):
    """What a checkpoint holds; time follows from the step number and the schedule.

    Attributes:
        pair: number of pairs of steps done since the start; the address of random bits.
        counts: molecules in each voxel and occupancies of cell types, (species, x, y, z).
        events: cumulative events of the counted reactions: two words an entry (value = high 2^16 + low), or sum and
            compensation in ``mean_field``.
        settings: values now of the parameters that interventions change, in the order of ``Problem.settings``.
        was_true: for each triggered intervention, whether its condition held when last tested (or ever, if it acts
            only once).
        health: 0, or the code of the first failure.

    """

    pair: UInt32[Array, ""]
    counts: Int[Array, "species x y z"] | Float[Array, "species x y z"]
    events: UInt32[Array, "counters 2"] | Float[Array, "counters 2"]
    settings: Float[Array, " settings"]
    was_true: Bool[Array, " triggered"]
    health: Int[Array, ""]
