"""State: everything that changes in a run."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, UInt32


class Clock(eqx.Module):
    """What the engine ``exact`` carries beside the counts.

    Attributes:
        time_s: time of the last event, as a sum and its remainder.
        number: events done, (low, high) words; the address of the next event's random bits.
        rates: tree of the total rates of the voxels, per second; empty where rates are computed anew for each event.

    """

    time_s: Float[Array, "*replicates 2"]
    number: UInt32[Array, "*replicates 2"]
    rates: Float[Array, "*replicates nodes"]


class State(eqx.Module):
    """What a checkpoint holds, of one replicate or of all; time follows from the pair and the schedule.

    Attributes:
        pair: number of pairs of steps done since the start; the address of random bits.
        counts: molecules in each voxel and occupancies of cell types, (species, x, y, z).
        events: cumulative events of the counted reactions: two words an entry (value = high 2^16 + low), or sum and
            compensation in ``mean_field``.
        settings: values now of the parameters that interventions change, in the order of ``Problem.settings``.
        was_true: for each triggered intervention, whether its condition held when last tested (or ever, if it acts
            only once).
        health: 0, or the code of the first failure.
        clock: of the engine ``exact``, which has no steps.
        concentrations: of the continuous species, (continuous, x, y, z), in internal units; None without any.
        pools: amounts outside the lattice in the order of ``Problem.pools``, as ``events`` are; None without any.
        log_p: log-probability of all draws so far, up to what no parameter changes; None unless the policy notes it.

    """

    pair: UInt32[Array, "*replicates"]
    counts: Int[Array, "*replicates species x y z"] | Float[Array, "*replicates species x y z"]
    events: UInt32[Array, "*replicates counters 2"] | Float[Array, "*replicates counters 2"]
    settings: Float[Array, "*replicates settings"]
    was_true: Bool[Array, "*replicates triggered"]
    health: Int[Array, "*replicates"]
    clock: Clock | None = None
    concentrations: Float[Array, "*replicates continuous x y z"] | None = None
    pools: UInt32[Array, "*replicates pools 2"] | Float[Array, "*replicates pools 2"] | None = None
    log_p: Float[Array, "*replicates"] | None = None
