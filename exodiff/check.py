"""What a model will do before it runs: its network, time scales, step bounds, ranges, and where it would fail."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.audit import Audit, audit
from exodiff.build import ConfiguredModel
from exodiff.core.expressions import to_text
from exodiff.core.health import ADVICE, Health
from exodiff.kernels.diffusion import AUTO_HOPS_PER_STEP, MAX_HOPS_PER_STEP
from exodiff.kernels.rates import Voxels, rate_factor
from exodiff.model.network import NewCell
from exodiff.observe import current_inputs
from exodiff.problem import Inputs, Intervention, Problem
from exodiff.schedule import make_schedule
from exodiff.simulation import begin, make_inputs, moments, precision_context, start_array
from exodiff.state import State
from exodiff.stepsize import (
    MAX_EXIT_PROBABILITY,
    Bound,
    diffusivities,
    exits_by_species,
    step_bounds,
)


@dataclass(frozen=True)
class SpeciesReport:
    """One species at time zero.

    Attributes:
        name: of the species or cell type.
        kind: ``free``, ``in cells`` or ``cell type``.
        initial: number on the whole lattice.
        diffusivity_um2_per_s: largest on the lattice, or None.
        exit_per_s: smallest and largest exit rate that a molecule meets, over the lattice.
        range_um: distance sqrt(D / k) at the largest exit rate, or None.

    """

    name: str
    kind: str
    initial: float
    diffusivity_um2_per_s: float | None
    exit_per_s: tuple[float, float]
    range_um: float | None


@dataclass(frozen=True)
class ReactionReport:
    """One reaction: its equation, rate, and how its events are drawn."""

    name: str
    equation: str
    rate: str
    draw: str
    rate_now: tuple[float, float]


@dataclass(frozen=True)
class InterventionReport:
    """One intervention: its times or condition, and what it does."""

    name: str
    when: str
    what: str


@dataclass(frozen=True)
class CheckReport:
    """All that ``exodiff check`` tells."""

    shape: tuple[int, ...]
    spacing_um: tuple[float, float, float]
    fluid_volume_um3: float
    engine: str
    species: tuple[SpeciesReport, ...]
    reactions: tuple[ReactionReport, ...]
    interventions: tuple[InterventionReport, ...]
    auto_bounds: tuple[Bound, ...]
    fixed_bounds: tuple[Bound, ...]
    step_s: float
    num_steps: int
    state_bytes: int
    warnings: tuple[str, ...]
    audit: Audit | None = None


def check_model(model: ConfiguredModel) -> CheckReport:
    """Look at a model without running it."""
    problem = model.problem
    with precision_context(problem.precision):
        inputs = make_inputs(model, None, problem.precision)
        nothing = jnp.zeros((), jnp.uint32)
        state = begin(problem, inputs, start_array(model, problem), nothing, nothing)
        inputs = current_inputs(problem, inputs, state)
        smooth = state.counts.astype(problem.precision)
        voxels = Voxels(problem, inputs, smooth, jnp.zeros((), problem.precision))
        species = _species(voxels, inputs)
        looked_at = moments(problem, model)
        automatic = step_bounds(problem, looked_at, model.tolerance, AUTO_HOPS_PER_STEP)
        fixed = step_bounds(problem, looked_at, MAX_EXIT_PROBABILITY, MAX_HOPS_PER_STEP)
        reactions = _reactions(voxels)
        expected = audit(model.config, voxels) if model.config.exosomes else None
    run = model.config.run
    schedule = make_schedule(run.duration_s, run.observe_every_s, run.snapshot_every_s, problem)
    return CheckReport(
        shape=problem.grid.user_shape,
        spacing_um=problem.grid.spacing_um,
        fluid_volume_um3=problem.grid.fluid_volume_um3,
        engine=problem.engine,
        species=species,
        reactions=reactions,
        interventions=tuple(_intervention(i) for i in problem.interventions),
        auto_bounds=tuple(automatic),
        fixed_bounds=tuple(fixed),
        step_s=max(interval.dt_s for interval in schedule.intervals),
        num_steps=2 * schedule.num_pairs,
        state_bytes=state.counts.nbytes * run.replicates,
        warnings=(*_warnings(problem, species), *_late(problem, run.duration_s)),
        audit=expected,
    )


def _species(voxels: Voxels, inputs: Inputs) -> tuple[SpeciesReport, ...]:
    problem, network = voxels.problem, voxels.problem.network
    exits = {s: _span(rate, problem) for s, rate in exits_by_species(voxels, anywhere=True).items()}
    spread = {s: float(jnp.max(d)) for s, d in diffusivities(problem, inputs, voxels).items()}
    reports = []
    for place, name in enumerate(network.species):
        kind = "free" if place < network.num_free else "in cells" if place < network.first_type else "cell type"
        exit_rates, diffusivity = exits.get(place, (0.0, 0.0)), spread.get(place)
        reach = np.sqrt(diffusivity / exit_rates[1]) if diffusivity and exit_rates[1] > 0 else None
        total = float(np.sum(np.asarray(voxels.counts[place]), dtype=np.float64))
        reports.append(SpeciesReport(name, kind, total, diffusivity, exit_rates, reach))
    return tuple(reports)


def _span(rate: Array, problem: Problem) -> tuple[float, float]:
    field = np.broadcast_to(np.asarray(rate), problem.grid.shape)
    return float(field.min()), float(field.max())


def _reactions(voxels: Voxels) -> tuple[ReactionReport, ...]:
    reports = []
    for channel in voxels.problem.network.channels:
        draw = channel.kind.value if channel.new_cell is NewCell.NONE else f"new cell {channel.new_cell.value}"
        now = _span(rate_factor(voxels, channel), voxels.problem)
        reports.append(ReactionReport(channel.name, channel.equation, to_text(channel.rate), draw, now))
    return tuple(reports)


def _intervention(intervention: Intervention) -> InterventionReport:
    if intervention.when is not None:
        when = f"{'each time' if intervention.repeat else 'once'} {to_text(intervention.when)}"
    else:
        shown = [f"{at:g} s" for at in intervention.at_s[:3]]
        more = len(intervention.at_s) - len(shown)
        when = "at " + ", ".join(shown) + (f" and {more} more times" if more else "")
    what = [
        f"{a.target} {'+=' if a.adds else '='} {to_text(a.value)}{' * V' if a.per_volume else ''}"
        for a in intervention.assignments
    ]
    what += [f"remove {name}" for name in intervention.removes]
    return InterventionReport(
        intervention.name, when, "; ".join(what) + (f" in {intervention.region}" if intervention.region else "")
    )


def _late(problem: Problem, duration_s: float) -> tuple[str, ...]:
    """Warnings of scheduled times that the run does not reach."""
    return tuple(
        f"interventions.{i.name}: {late} of its times are after the end of the run at {duration_s:g} s"
        for i in problem.scheduled
        if (late := sum(at > duration_s * (1.0 + 1e-9) for at in i.at_s))
    )


def _warnings(problem: Problem, species: tuple[SpeciesReport, ...]) -> tuple[str, ...]:
    """What is allowed but likely not meant."""
    axes = zip(problem.grid.spacing_um, problem.grid.shape, strict=True)
    spacing = min((h for h, n in axes if n > 1), default=0.0)
    warnings = [
        f"species.{report.name}: its range {report.range_um:.3g} um is shorter than a voxel ({spacing:g} um); "
        "its profile is not resolved, lower lattice.spacing"
        for report in species
        if report.range_um is not None and report.range_um < spacing
    ]
    network = problem.network
    warnings += [
        f"species.{report.name}: there is none at first, and no reaction makes any"
        for place, report in enumerate(species)
        if report.initial == 0
        and not any(change > 0 for c in network.channels for s, change in c.changes if s == place)
        and not any(p.species == place for c in network.channels for p in c.bursts)
        and not any(wall.species == place for wall in problem.walls)
        and not any(a.target == report.name for i in problem.interventions for a in i.assignments)
        and report.kind != "cell type"
    ]
    return tuple(warnings)


def explain_failure(problem: Problem, inputs: Inputs, state: State, time_s: float, health: Health) -> str:
    """Say in one line why a state cannot advance: the species or reaction, the voxel, the advice."""
    network, counts = problem.network, state.counts
    inputs = current_inputs(problem, inputs, state)
    voxels = Voxels(problem, inputs, counts, jnp.asarray(time_s, problem.precision))
    if health is Health.OVERFLOW:
        place, *voxel = _first(np.asarray(counts) < 0)
        return (
            f"the count of {network.species[place]} in voxel {_user(problem, voxel)} is out of range; {ADVICE[health]}"
        )
    if health is Health.STEP_TOO_LONG:
        rates = {s: np.broadcast_to(np.asarray(r), problem.grid.shape) for s, r in exits_by_species(voxels).items()}
        species = max(rates, key=lambda s: rates[s].max())
        voxel = _first(rates[species] == rates[species].max())
        return (
            f"the exit rate of {network.species[species]} in voxel {_user(problem, voxel)} has grown to "
            f"{rates[species].max():.3g} /s; {ADVICE[health]}"
        )
    for channel in network.channels:
        rate = np.broadcast_to(np.asarray(rate_factor(voxels, channel)), problem.grid.shape)
        bad = ~np.isfinite(rate) | (rate < 0)
        if bad.any():
            voxel = _first(bad)
            value = rate[tuple(voxel)]
            return f"the rate of {channel.name} in voxel {_user(problem, voxel)} is {value:.3g}; {ADVICE[health]}"
    return ADVICE[health]


def _first(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape)]


def _user(problem: Problem, voxel: list[int]) -> list[int]:
    return voxel[: problem.grid.num_axes]
