"""What of a model the estimators of derivatives can see, and what they must refuse."""

from collections.abc import Iterator

from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Compare, Expression, names, walk
from exodiff.model.network import NewCell
from exodiff.observe import expressions_in
from exodiff.problem import Assay, Histogram, Observable, Problem, SizeHistogram

REMEDY = 'choose estimator = "cfd", which takes anything'


def refuse_jumps(problem: Problem) -> None:
    """Refuse a model whose derivative along one trajectory would miss a part: cells that change, and thresholds.

    Raises:
        ConfigError: naming the reaction, species or block.

    """
    network = problem.network
    for channel in (*network.channels, *(crossing.channel for crossing in problem.pools.crossings)):
        if channel.new_cell is not NewCell.NONE or any(species >= network.first_type for species, _ in channel.changes):
            raise ConfigError(
                f"reactions.{channel.name}", f"leap_st has no derivative for cells that change, and gives 0; {REMEDY}"
            )
    for name, motility in zip(network.cell_types, network.motility, strict=True):
        if motility is not None:
            raise ConfigError(
                f"cells.{name}.motility", f"leap_st has no derivative for cells that move, and gives 0; {REMEDY}"
            )
    for where, expression in _rates(problem):
        if has_threshold(expression):
            raise ConfigError(where, f"leap_st has no derivative for `where`, and gives 0 at the threshold; {REMEDY}")
    for intervention in problem.interventions:
        where = f"interventions.{intervention.name}"
        if intervention.when is not None:
            raise ConfigError(f"{where}.when", f"leap_st has no derivative of the time at which it acts; {REMEDY}")
        for assignment in intervention.assignments:
            if assignment.target in network.cell_types:
                raise ConfigError(where, f"leap_st has no derivative for cells that are added, and gives 0; {REMEDY}")


def refuse_unscored(problem: Problem) -> None:
    """Refuse a model with draws whose log-probability is not noted.

    Raises:
        ConfigError: naming the reaction or block.

    """
    network = problem.network
    for channel in network.channels:
        if channel.new_cell is not NewCell.NONE:
            raise ConfigError(f"reactions.{channel.name}", f"score with new cells is not yet supported; {REMEDY}")
    if any(motility is not None for motility in network.motility):
        raise ConfigError("cells", f"score with cells that move is not yet supported; {REMEDY}")
    if problem.pools.names or problem.interventions:
        raise ConfigError("estimator", f"score with compartments or interventions is not yet supported; {REMEDY}")


def refuse_field(problem: Problem, name: str) -> None:
    """Refuse a value a voxel of a parameter that is not read in voxels alone.

    Raises:
        ConfigError: naming the parameter.

    """
    of_cells = {f"{by}.{cell}": by for by, cells in problem.network.by_cell for cell in cells}
    read_as = of_cells.get(name, name)
    elsewhere = [e for key, e in _rates(problem) if not key.startswith("reactions.")]
    elsewhere += [reaction.rate for reaction in problem.pools.reactions]
    elsewhere += [e for observable in problem.observables for e in expressions_in(observable.quantity)]
    elsewhere += [motility for motility in problem.network.motility if motility is not None]
    in_rates = any(read_as in names(channel.rate) for channel in problem.network.channels)
    if problem.engine == "exact" or not in_rates or any(read_as in names(e) for e in elsewhere):
        raise ConfigError(
            f"parameters[{name!r}]",
            "a value a voxel is for parameters of reactions on the lattice that nothing else reads, in the engines "
            "leap and mean_field; give one number",
        )


def _rates(problem: Problem) -> Iterator[tuple[str, Expression]]:
    """Every expression that the state follows, with its key."""
    network = problem.network
    pools = problem.pools
    for channel in (*network.channels, *pools.reactions, *(crossing.channel for crossing in pools.crossings)):
        yield f"reactions.{channel.name}.rate", channel.rate
    for channel in network.channels:
        for product in channel.bursts:
            yield from ((f"reactions.{channel.name}.equation", a) for a in product.burst.arguments)
    for name, diffusivity in zip(network.species, network.diffusivity, strict=False):
        if diffusivity is not None:
            yield f"species.{name}.diffusion", diffusivity
    for species, mean in problem.random_start:
        yield f"species.{network.species[species]}.initial", mean
    for intervention in problem.interventions:
        yield from ((f"interventions.{intervention.name}", a.value) for a in intervention.assignments)
    yield from (("lattice.boundary", wall.concentration) for wall in problem.walls)
    yield from (("flow.velocity", velocity) for velocity in problem.flow)
    for field in network.fields:
        held = [*(value for _, value in field.fixed), *(value for *_, value in field.walls)]
        given = [e for e in (field.diffusivity, field.initial, *held) if e is not None]
        yield from ((f"species.{field.name}", e) for e in (*given, *(term.channel.rate for term in field.terms)))


def has_threshold(expression: Expression) -> bool:
    """Whether it compares anything but the time and regions, so that its value jumps with the parameters."""
    compared = (names(node) for node in walk(expression) if isinstance(node, Compare))
    return any(not (name == "t" or name.startswith("region.")) for found in compared for name in found)


def is_smooth(observable: Observable) -> bool:
    """Whether an observable has a derivative: not a histogram, an assay, or one with a threshold."""
    quantity = observable.quantity
    if isinstance(quantity, Histogram | SizeHistogram | Assay):
        return False
    return not any(map(has_threshold, expressions_in(quantity)))
