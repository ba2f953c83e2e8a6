"""``[compartments]`` and the reactions in them become amounts outside the lattice."""

from collections.abc import Callable

from exodiff.config.compartments import ELSEWHERE
from exodiff.config.names import Namespace
from exodiff.config.schema import Reaction, RunConfig
from exodiff.core.dimensions import PER_TIME
from exodiff.core.expressions import Binary, Expression, Number, is_zero, names
from exodiff.model.pools import PoolReaction, Pools, make_pool_reaction

Leaf = Callable[[Expression, str], Expression]


def pools_of(config: RunConfig, leaf: Leaf) -> Pools:
    """All amounts outside the lattice that the file names, and the reactions among them.

    Args:
        config: checked, its populations written out.
        leaf: makes a parameter of a literal, with the given name.

    """
    known = _named(config)
    initial = {f"{name}.{x}": n for name, each in config.compartments.items() for x, n in each.initial.items()}
    reactions = tuple(_reaction(config, r, known, leaf) for r in config.reactions if is_outside(config, r))
    return Pools(known, tuple(initial.get(name, 0.0) for name in known), reactions)


def is_outside(config: RunConfig, reaction: Reaction) -> bool:
    """Whether all that reacts, and all that is made, is in compartments."""
    return all(_compartment(config, name) for name in reaction.equation.names)


def _compartment(config: RunConfig, name: str) -> str:
    """The compartment of an amount, or nothing for what is on the lattice."""
    head, dot, _ = name.partition(".")
    return head if dot and head in config.compartments else ""


def _named(config: RunConfig) -> tuple[str, ...]:
    """Amounts in compartments and elsewhere that the file names, in the order of the compartments and the species."""
    used = {f"{name}.{x}" for name, each in config.compartments.items() for x in each.initial}
    for reaction in config.reactions:
        rate = reaction.rate if reaction.rate is not None else reaction.propensity
        assert rate is not None
        used |= reaction.equation.names | names(rate)
    values = [observable.value for observable in config.observables.values()]
    values += [value for i in config.interventions for _, value in i.assignments.values()]
    values += [i.when for i in config.interventions]
    used |= {target for i in config.interventions for target in i.assignments}
    used |= set().union(*(names(value) for value in values if value is not None))
    heads = (*config.compartments, ELSEWHERE) if config.compartments else ()
    return tuple(name for head in heads for x in (*config.species, *config.cells) if (name := f"{head}.{x}") in used)


def _reaction(config: RunConfig, reaction: Reaction, known: tuple[str, ...], leaf: Leaf) -> PoolReaction:
    is_propensity = reaction.propensity is not None
    rate = reaction.propensity if reaction.propensity is not None else reaction.rate
    assert rate is not None
    named = leaf(rate, f"reactions.{reaction.name}.{'propensity' if is_propensity else 'rate'}")
    molecules = reaction.num_molecules(config.cells)
    power = 0 if is_propensity else 1 - molecules
    if not is_propensity and molecules == 0 and not is_zero(rate):
        power = int(Namespace(config).dimension_of(rate, reaction.name) != PER_TIME)
    (*_, last) = (*reaction.equation.products, *reaction.equation.reactants)
    with_volume = per_volume(config, named, _compartment(config, last.name), power, leaf)
    return make_pool_reaction(reaction.name, reaction.equation, with_volume, known, is_propensity=is_propensity)


def per_volume(config: RunConfig, rate: Expression, compartment: str, power: int, leaf: Leaf) -> Expression:
    """A rate times a power of the volume of a compartment, which is a parameter."""
    if power == 0:
        return rate
    volume = leaf(Number(config.compartments[compartment].volume_um3), f"compartments.{compartment}.volume")
    return Binary("*", rate, Binary("**", volume, Number(float(power))))
