"""``[compartments]`` and the reactions in them become amounts outside the lattice."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from exodiff.config.compartments import ELSEWHERE
from exodiff.config.interventions import Intervention
from exodiff.config.names import Namespace
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.vessels import volume_key
from exodiff.core.dimensions import PER_TIME
from exodiff.core.equations import Equation, Term
from exodiff.core.expressions import Binary, Call, Compare, Expression, Name, Number, is_zero, names
from exodiff.expand.concentrations import split
from exodiff.model.channels import SpeciesTable
from exodiff.model.pools import Crossing, PoolReaction, Pools, make_pool_reaction

Leaf = Callable[[Expression, str], Expression]


def pools_of(config: RunConfig, table: SpeciesTable, leaf: Leaf) -> Pools:
    """All amounts outside the lattice that the file names, the reactions among them, and what comes to the lattice.

    Args:
        config: checked, its populations written out.
        table: the species of the lattice.
        leaf: makes a parameter of a literal, with the given name.

    """
    known = pool_names(config)
    initial = {f"{name}.{x}": n for name, each in config.compartments.items() for x, n in each.initial.items()}
    reactions = tuple(_reaction(config, r, known, leaf) for r in config.reactions if is_outside(config, r))
    reactions += tuple(_infusion(*each, known, leaf) for each in _infusions(config))
    crossings = tuple(_crossing(config, r, known, table, leaf) for r in config.reactions if comes_in(config, r))
    first = tuple(initial.get(name, 0.0) for name in known)
    return Pools(known, first, reactions, crossings, config.lattice.copies)


def infusion_times(config: RunConfig) -> tuple[float, ...]:
    """Times at which infusions begin and end."""
    times = {time for given, _, _ in _infusions(config) for time in (given.from_, given.to)}
    return tuple(sorted(time for time in times if time is not None and time < config.run.duration_s))


def _infusions(config: RunConfig) -> Iterator[tuple[Intervention, str, Expression]]:
    for given in config.interventions:
        yield from ((given, target, rate) for target, rate in given.infuse.items())


def _infusion(given: Intervention, target: str, rate: Expression, known: tuple[str, ...], leaf: Leaf) -> PoolReaction:
    """A source that flows between two times, at which steps are cut."""
    name = f"interventions.{given.name}.infuse.{target}"
    now: Expression = leaf(rate, name)
    if given.to is not None:
        now = Call("where", (Compare("<", Name("t"), Number(given.to)), now, Number(0.0)))
    now = Call("where", (Compare(">", Name("t"), Number(given.from_ or 0.0)), now, Number(0.0)))
    return make_pool_reaction(name, Equation((), (Term(target),)), now, known, is_propensity=False)


def is_outside(config: RunConfig, reaction: Reaction) -> bool:
    """Whether all that reacts, and all that is made, is in compartments, and no cell takes part by its parameters."""
    known = (config.parameters.get(name) for name in names(_speed(reaction)))
    by_cell = any(parameter is not None and parameter.by_cell is not None for parameter in known)
    return all(_compartment(config, name) for name in reaction.equation.names) and not by_cell


def _speed(reaction: Reaction) -> Expression:
    speed = reaction.rate if reaction.rate is not None else reaction.propensity
    assert speed is not None
    return speed


def comes_in(config: RunConfig, reaction: Reaction) -> bool:
    """Whether a molecule of a compartment comes to a voxel."""
    taken = any(_compartment(config, term.name) for term in reaction.equation.reactants)
    return taken and not is_outside(config, reaction)


def on_lattice(config: RunConfig, equation: Equation) -> Equation:
    """The part of an equation that happens in a voxel."""
    sides = (equation.reactants, equation.products)
    return Equation(*(tuple(term for term in side if not _compartment(config, term.name)) for side in sides))


def releases(config: RunConfig, equation: Equation, known: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """(pool, elsewhere, count) of what an event in a voxel makes in compartments."""
    made = [term for term in equation.products if _compartment(config, term.name)]
    return tuple((known.index(term.name), known.index(_elsewhere(term.name)), term.count) for term in made)


def _elsewhere(pool: str) -> str:
    return f"{ELSEWHERE}.{pool.partition('.')[2]}"


def _compartment(config: RunConfig, name: str) -> str:
    """The compartment of an amount, or nothing for what is on the lattice."""
    head, dot, _ = name.partition(".")
    return head if dot and head in config.compartments else ""


def pool_names(config: RunConfig) -> tuple[str, ...]:
    """Amounts in compartments and elsewhere that the file names, in the order of the compartments and the species."""
    used = {f"{name}.{x}" for name, each in config.compartments.items() for x in each.initial}
    for reaction in config.reactions:
        used |= reaction.equation.names | names(_speed(reaction))
        if not is_outside(config, reaction):
            used |= {_elsewhere(name) for name in reaction.equation.names if _compartment(config, name)}
    values = [
        part if part is None or isinstance(part, Expression) else part.of
        for observable in config.observables.values()
        for part in (observable.value, observable.profile, observable.histogram)
    ]
    values += [value for i in config.interventions for _, value in i.assignments.values()]
    values += [i.when for i in config.interventions]
    values += [value for species in config.species.values() for value in (species.fixed or {}).values()]
    used |= {target for i in config.interventions for target in (*i.assignments, *i.infuse)}
    used |= set().union(*(names(value) for value in values if value is not None))
    heads = (*config.compartments, ELSEWHERE) if config.compartments else ()
    return tuple(name for head in heads for x in (*config.species, *config.cells) if (name := f"{head}.{x}") in used)


def _reaction(config: RunConfig, reaction: Reaction, known: tuple[str, ...], leaf: Leaf) -> PoolReaction:
    is_propensity, rate = reaction.propensity is not None, _speed(reaction)
    named = leaf(rate, f"reactions.{reaction.name}.{'propensity' if is_propensity else 'rate'}")
    molecules = reaction.num_molecules(config.cells)
    power = 0 if is_propensity else 1 - molecules
    if not is_propensity and molecules == 0 and not is_zero(rate):
        power = int(Namespace(config).dimension_of(rate, reaction.name) != PER_TIME)
    (*_, last) = (*reaction.equation.products, *reaction.equation.reactants)
    with_volume = _per_volume(config, named, _compartment(config, last.name), power, leaf)
    return make_pool_reaction(reaction.name, reaction.equation, with_volume, known, is_propensity=is_propensity)


def _crossing(
    config: RunConfig, reaction: Reaction, known: tuple[str, ...], table: SpeciesTable, leaf: Leaf
) -> Crossing:
    assert reaction.rate is not None
    (pool,) = (term.name for term in reaction.equation.reactants if _compartment(config, term.name))
    rate = leaf(reaction.rate, f"reactions.{reaction.name}.rate")
    power = 1 - reaction.num_molecules(config.cells)
    of_one = _per_volume(config, rate, _compartment(config, pool), power, leaf)
    here = reaction.model_copy(update={"equation": on_lattice(config, reaction.equation)})
    channel = split(Namespace(config), here, of_one, table, per_volume=False, crosses=True).channel
    assert channel is not None
    channel = replace(channel, equation=str(reaction.equation), volume_power=0)
    return Crossing(known.index(pool), known.index(_elsewhere(pool)), channel)


def _per_volume(config: RunConfig, rate: Expression, compartment: str, power: int, leaf: Leaf) -> Expression:
    """A rate times a power of the volume of a compartment, which is a parameter."""
    if power == 0:
        return rate
    volume = leaf(Number(config.compartments[compartment].volume_um3), volume_key(compartment))
    return Binary("*", rate, Binary("**", volume, Number(float(power))))
