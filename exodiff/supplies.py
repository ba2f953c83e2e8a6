"""What compartments hold of each amount in the mean over a run: what is given to them over the rate of leaving.

An estimate for `exodiff check`: rates are those of time zero, scheduled doses and infusions are spread over the run,
and what comes back from the lattice or from other compartments is left out.
"""

import numpy as np

from exodiff.kernels.crossings import arrival_rates, exits_by_crossing
from exodiff.kernels.pools import exits_of_pools, pool_propensity
from exodiff.kernels.rates import Voxels
from exodiff.model.network import Channel, DrawKind

_MOMENTS = 64  # at which sources are looked at, since infusions come and go


def mean_amounts(voxels: Voxels, duration_s: float) -> dict[str, float]:
    """Amount of each name in compartments, in molecules; those that nothing takes out are left out.

    Args:
        voxels: the state at time zero.
        duration_s: of the run.

    """
    problem = voxels.problem
    supply = {name: first / duration_s for name, first in zip(problem.pools.names, problem.pools.initial, strict=True)}
    for reaction in problem.pools.reactions:
        if reaction.kind is DrawKind.POISSON:
            times = (np.arange(_MOMENTS) + 0.5) * duration_s / _MOMENTS
            rate = np.mean(
                [pool_propensity(voxels._replace(time_s=np.asarray(t, problem.precision)), reaction) for t in times]
            )
            for pool, change in reaction.changes:
                supply[problem.pools.names[pool]] += change * float(rate)
    for intervention in problem.scheduled:
        for assignment in intervention.assignments:
            if assignment.adds and assignment.target in supply:
                given = float(voxels.evaluate(assignment.value))
                supply[assignment.target] += given * len(intervention.at_s) / duration_s
    exits = exits_of_pools(voxels)
    for name, rate in exits_by_crossing(voxels).items():
        exits[name] = exits.get(name, 0.0) + rate
    return {name: supply[name] / float(rate) for name, rate in exits.items() if name in supply and float(rate) > 0}


def arrivals(voxels: Voxels, duration_s: float) -> list[tuple[Channel, np.ndarray]]:
    """What comes from compartments to the lattice: the channel of each crossing, and its events a second in a voxel."""
    amounts = mean_amounts(voxels, duration_s)
    found = []
    for crossing in voxels.problem.pools.crossings:
        amount = amounts.get(voxels.problem.pools.names[crossing.pool], 0.0)
        events = np.broadcast_to(np.asarray(arrival_rates(voxels, crossing), float), voxels.problem.grid.shape) * amount
        found.append((crossing.channel, events))
    return found
