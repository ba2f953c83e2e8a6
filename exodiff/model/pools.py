"""Amounts outside the lattice as static data: their names, and the reactions among them."""

from collections.abc import Sequence
from dataclasses import dataclass

from exodiff.core.equations import Equation
from exodiff.core.expressions import Expression, names
from exodiff.model.network import Channel, DrawKind


@dataclass(frozen=True)
class PoolReaction:
    """A reaction inside compartments or between them.

    Args:
        name: its address for random bits, and for ``events(name)``.
        equation: as written, for reports.
        reactants: (pool, order) pairs.
        changes: (pool, change an event) pairs, zero changes left out.
        rate: of one set of reactants, per second, or the whole propensity if ``is_propensity``.
        is_propensity: whether the rate is the whole propensity.
        kind: how its events are drawn.

    """

    name: str
    equation: str
    reactants: tuple[tuple[int, int], ...]
    changes: tuple[tuple[int, int], ...]
    rate: Expression
    is_propensity: bool
    kind: DrawKind


@dataclass(frozen=True)
class Crossing:
    """One molecule or cell of a pool comes to a voxel, where something happens.

    Args:
        pool: where it comes from.
        elsewhere: what did not come to this lattice, but to those that it represents.
        channel: what happens in the voxel; its rate is that of one molecule of the pool.

    """

    pool: int
    elsewhere: int
    channel: Channel


@dataclass(frozen=True)
class Pools:
    """All amounts outside the lattice, in the order of ``State.pools``.

    Args:
        names: such as ``plasma.EV``.
        initial: first amounts, whole in the discrete engines.
        reactions: in the order in which a forward step visits them.
        crossings: into the lattice; a forward step visits them after the reactions.
        represents: (region, number) pairs: for how many copies of it each organ stands; one of no name if they agree.

    """

    names: tuple[str, ...] = ()
    initial: tuple[float, ...] = ()
    reactions: tuple[PoolReaction, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    represents: tuple[tuple[str, int], ...] = (("", 1),)


NO_POOLS = Pools()


def make_pool_reaction(
    name: str, equation: Equation, rate: Expression, pools: Sequence[str], *, is_propensity: bool
) -> PoolReaction:
    """Classify a reaction whose molecules are all in compartments."""
    reactants = tuple((pools.index(term.name), term.count) for term in equation.reactants)
    net: dict[int, int] = {}
    for pool, count in reactants:
        net[pool] = net.get(pool, 0) - count
    for term in equation.products:
        net[pools.index(term.name)] = net.get(pools.index(term.name), 0) + term.count
    changes = tuple((pool, change) for pool, change in net.items() if change)
    changing = [(pool, order) for pool, order in reactants if net[pool]]
    reads_own = bool(names(rate) & {pools[pool] for pool, _ in changes})
    if reads_own or (is_propensity and changing):
        kind = DrawKind.MODULATED
    elif not changing:
        kind = DrawKind.POISSON
    else:
        is_loss = len(changing) == 1 and changing[0][1] == 1 and net[changing[0][0]] == -1
        kind = DrawKind.BINOMIAL if is_loss else DrawKind.MODULATED
    return PoolReaction(name, str(equation), reactants, changes, rate, is_propensity, kind)
