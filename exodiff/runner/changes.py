"""Going on with another config than the one a run began with: which changes the state allows, where it goes on."""

from collections.abc import Iterator
from dataclasses import replace

from exodiff.build import ConfiguredModel
from exodiff.config.load import differences
from exodiff.core.errors import ConfigError
from exodiff.problem import Intervention, Problem


def refuse_changes(where: str, begun: ConfiguredModel, model: ConfiguredModel, time_s: float) -> list[str]:
    """Refuse changes that the state of a run does not fit, or that would silently do nothing.

    Args:
        where: the run directory.
        begun: what the run was computed with so far.
        model: what it is to go on with.
        time_s: simulated time that it has reached.

    Returns:
        The keys that differ.

    Raises:
        ConfigError: says which change cannot be made in the middle of a run.

    """
    keys = differences(begun.config, model.config)
    told = "; choose another folder to run the changed config from its start"
    if begun.problem.engine == "exact":
        raise ConfigError(where, f"the engine exact goes on only with the config that it began with{told}")
    laid_out = dict(_layout(model))
    for part, before in _layout(begun):
        if before != laid_out[part]:
            raise ConfigError(where, f"{part} cannot change in the middle of a run{told}")
    held = [key for name in model.problem.settings for key in keys if key.startswith(f"parameters.{name}.")]
    if held:
        raise ConfigError(where, f"{held[0]} is set by an intervention, so the state holds its value{told}")
    if _done(begun.problem, time_s) != _done(model.problem, time_s):
        raise ConfigError(where, f"what interventions do at {time_s:g} s and before cannot change: it is done{told}")
    if time_s >= model.config.run.duration_s:
        raise ConfigError(
            where, f"is at {time_s:g} s already and run.duration is {model.config.run.duration_s:g} s; give a later end"
        )
    return keys


def _done(problem: Problem, time_s: float) -> list[Intervention]:
    """The scheduled interventions until a time, with those of their times."""
    until_s = time_s * (1.0 + 1e-9)
    done = (replace(each, at_s=tuple(at for at in each.at_s if at <= until_s)) for each in problem.scheduled)
    return [each for each in done if each.at_s]


def _layout(model: ConfiguredModel) -> Iterator[tuple[str, object]]:
    """What the arrays of a state and the columns of the tables stand for, by what the user calls it."""
    problem: Problem = model.problem
    network = problem.network
    yield "the engine", problem.engine
    yield "run.precision", problem.precision
    yield "run.replicates", model.config.run.replicates
    yield "the shape of the lattice", problem.grid.shape
    yield "the list of species", (network.species[: network.first_type], network.num_free, network.continuous)
    yield "the list of cells", network.cell_types
    yield "what is in compartments", problem.pools.names
    yield "the parameters that interventions set", problem.settings
    yield "the conditions of interventions", tuple(i.when for i in problem.triggered)
    yield "the list of observables", [o.name for o in problem.observables]
    yield "the events that observables count", problem.event_counters
