"""What a model will do before it runs: its network, time scales, step bounds, ranges."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.audit import Audit, audit
from exodiff.build import ConfiguredModel
from exodiff.concentrations import diffusivity_of, loss_coefficient
from exodiff.config.schema import RunConfig
from exodiff.core.axes import AXES
from exodiff.core.expressions import Expression, Name, Number, names, to_text
from exodiff.core.syntax import replaced
from exodiff.kernels.crossings import arrival_rates
from exodiff.kernels.diffusion import AUTO_HOPS_PER_STEP, MAX_HOPS_PER_STEP
from exodiff.kernels.faces import fluid_velocity, largest_peclet, spreading_excess
from exodiff.kernels.pools import pool_rate
from exodiff.kernels.rates import Voxels, rate_factor
from exodiff.model.network import NewCell
from exodiff.observe import current_inputs, expressions_in
from exodiff.problem import Inputs, Intervention, Problem
from exodiff.programs import ONCE
from exodiff.schedule import make_schedule
from exodiff.simulation import moments
from exodiff.start import begin, make_inputs, precision_context, start_array
from exodiff.stepsize import (
    MAX_EXIT_PROBABILITY,
    MAX_HOP_PARTS,
    Bound,
    diffusivities,
    exits_by_species,
    largest_exit,
    step_bounds,
)

_MAX_EXCESS = 1.25  # of transient spreading, from which check warns
_PECLET_OF_MAX_EXCESS = 1.776
_NAME = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class SpeciesReport:
    """One species at time zero.

    Attributes:
        name: of the species or cell type.
        kind: ``free``, ``in cells``, ``cell type``, or how a concentration follows, and its unit.
        initial: number on the whole lattice; the mean of a concentration.
        diffusivity_um2_per_s: largest on the lattice, or None.
        exit_per_s: smallest and largest exit rate that a molecule meets, over the lattice.
        range_um: distance sqrt(D / k) at the largest exit rate and at its mean over the lattice (of a concentration,
            at its smallest), or None.

    """

    name: str
    kind: str
    initial: float
    diffusivity_um2_per_s: float | None
    exit_per_s: tuple[float, float]
    range_um: tuple[float, float] | None


@dataclass(frozen=True)
class ReactionReport:
    """One reaction: its equation, its rate with the numbers (um, s, molecules), and how its events are drawn."""

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
class FlowReport:
    """How a flow carries one species at time zero.

    Attributes:
        species: its name.
        axis: along which the flow is strongest against diffusion.
        peclet: largest |v| h / D at a face.
        excess: spread of a crowd over that of the continuum, (Pe / 2) coth(Pe / 2).

    """

    species: str
    axis: str
    peclet: float
    excess: float


@dataclass(frozen=True)
class CheckReport:
    """All that ``exodiff check`` tells; ``largest_exit`` is the probability in the longest step, and of what."""

    shape: tuple[int, ...]
    spacing_um: tuple[float, float, float]
    fluid_volume_um3: float
    engine: str
    species: tuple[SpeciesReport, ...]
    reactions: tuple[ReactionReport, ...]
    flow: tuple[FlowReport, ...]
    interventions: tuple[InterventionReport, ...]
    auto_bounds: tuple[Bound, ...]
    fixed_bounds: tuple[Bound, ...]
    step_s: float
    num_steps: int
    largest_exit: tuple[float, str] | None
    state_bytes: int
    warnings: tuple[str, ...]
    audit: Audit | None = None


def check_model(model: ConfiguredModel) -> CheckReport:
    """Look at a model without running it."""
    problem = model.problem
    with precision_context(problem.precision):
        inputs = make_inputs(model, None, problem.precision)
        nothing = jnp.zeros((), jnp.uint32)
        state = _begun(problem, inputs, start_array(model, problem), nothing, nothing)
        inputs = current_inputs(problem, inputs, state)
        smooth = state.counts.astype(problem.precision)
        voxels = Voxels(problem, inputs, smooth, jnp.zeros((), problem.precision))
        species = _species(voxels, inputs)
        looked_at = moments(problem, model)
        automatic = step_bounds(problem, looked_at, model.tolerance, AUTO_HOPS_PER_STEP)
        fixed = step_bounds(problem, looked_at, MAX_EXIT_PROBABILITY, MAX_HOP_PARTS * MAX_HOPS_PER_STEP)
        text = _Text(model)
        reactions = _reactions(voxels, text)
        flow = _flow(voxels, inputs)
        blocked = _blocked(problem, inputs)
        expected = audit(model.config, voxels) if model.config.exosomes else None
        run = model.config.run
        schedule = make_schedule(run.duration_s, run.observe_every_s, run.snapshot_every_s, problem)
        step_s = max(interval.dt_s for interval in schedule.intervals)
        exit_of_step = largest_exit(problem, looked_at, step_s)
    return CheckReport(
        shape=problem.grid.user_shape,
        spacing_um=problem.grid.spacing_um,
        fluid_volume_um3=problem.grid.fluid_volume_um3,
        engine=problem.engine,
        species=species,
        reactions=reactions,
        flow=flow,
        interventions=tuple(_intervention(i, text) for i in problem.interventions),
        auto_bounds=tuple(automatic),
        fixed_bounds=tuple(fixed),
        step_s=step_s,
        num_steps=2 * schedule.num_pairs,
        largest_exit=exit_of_step,
        state_bytes=sum(a.nbytes for a in (state.counts, state.concentrations) if a is not None) * run.replicates,
        warnings=(
            *model.warnings,
            *_warnings(problem, species),
            *_killers(problem),
            *_smeared(problem, flow),
            *blocked,
            *_unused_parameters(problem, model.config),
            *_late(problem, run.duration_s),
        ),
        audit=expected,
    )


class _Text:
    """Writes expressions and equations with numbers in the places of parameters that the file gives no name."""

    def __init__(self, model: ConfiguredModel) -> None:
        written = model.config.parameters
        self._numbers = {
            name: Number(float(f"{value:.4g}")) for name, value in model.parameters.items() if name not in written
        }

    def __call__(self, expression: Expression) -> str:
        return to_text(replaced(expression, lambda n: self._numbers.get(n.name) if isinstance(n, Name) else None))

    def equation(self, text: str) -> str:
        return _NAME.sub(lambda m: to_text(self._numbers.get(m.group(), Name(m.group()))), text)


_begun = jax.jit(begin, static_argnames="problem", compiler_options=ONCE)


@partial(jax.jit, static_argnames="problem", compiler_options=ONCE)
def _exits_and_diffusivities(problem: Problem, inputs: Inputs, counts: Array) -> tuple[dict[int, Any], dict[int, Any]]:
    """Exit rates that a molecule or cell would meet in each voxel, and diffusivities, by species."""
    voxels = Voxels(problem, inputs, counts, jnp.zeros((), problem.precision))
    return exits_by_species(voxels, anywhere=True), dict(diffusivities(problem, inputs, voxels))


def _species(voxels: Voxels, inputs: Inputs) -> tuple[SpeciesReport, ...]:
    problem, network = voxels.problem, voxels.problem.network
    found, diffusing = _exits_and_diffusivities(problem, inputs, voxels.counts)
    exits = {s: _span(rate, problem) for s, rate in found.items()}
    mean_exits = {s: float(np.mean(np.asarray(rate, np.float64))) for s, rate in found.items()}
    spread = {s: float(jnp.max(d)) for s, d in diffusing.items()}
    reports = []
    for place, name in enumerate(network.species):
        kind = "free" if place < network.num_free else "in cells" if place < network.first_type else "cell type"
        exit_rates, diffusivity = exits.get(place, (0.0, 0.0)), spread.get(place)
        reach = None
        if diffusivity and exit_rates[1] > 0:
            reach = float(np.sqrt(diffusivity / exit_rates[1])), float(np.sqrt(diffusivity / mean_exits[place]))
        total = float(np.sum(np.asarray(voxels.counts[place]), dtype=np.float64))
        reports.append(SpeciesReport(name, kind, total, diffusivity, exit_rates, reach))
    return (*reports, *(_concentration(voxels, place) for place in range(len(network.fields))))


def _concentration(voxels: Voxels, place: int) -> SpeciesReport:
    """A continuous species; its first number is the mean, in its unit."""
    field = voxels.problem.network.fields[place]
    low, high = _span(loss_coefficient(voxels, place), voxels.problem)
    largest = float(jnp.max(diffusivity_of(voxels, field)))
    mean = float(np.mean(np.asarray(voxels.inputs.fields[field.name], np.float64))) / field.unit_value
    reach = (float(np.sqrt(largest / high)), float(np.sqrt(largest / low)) if low else np.inf) if high else None
    spread = largest if field.diffusivity is not None else None
    kind = f"{field.solve.value}, {field.unit}"
    return SpeciesReport(field.name, kind, mean, spread, (low, high), reach if spread else None)


def _span(rate: Array, problem: Problem) -> tuple[float, float]:
    field = np.broadcast_to(np.asarray(rate), problem.grid.shape)
    return float(field.min()), float(field.max())


def _reactions(voxels: Voxels, text: _Text) -> tuple[ReactionReport, ...]:
    reports = []
    for channel in voxels.problem.network.channels:
        draw = channel.kind.value if channel.new_cell is NewCell.NONE else f"new cell {channel.new_cell.value}"
        now = _span(rate_factor(voxels, channel), voxels.problem)
        reports.append(ReactionReport(channel.name, text.equation(channel.equation), text(channel.rate), draw, now))
    for crossing in voxels.problem.pools.crossings:
        channel, now = crossing.channel, _span(arrival_rates(voxels, crossing), voxels.problem)
        reports.append(
            ReactionReport(channel.name, text.equation(channel.equation), text(channel.rate), "crossing", now)
        )
    for reaction in voxels.problem.pools.reactions:
        now = _span(pool_rate(voxels, reaction), voxels.problem)
        reports.append(
            ReactionReport(
                reaction.name, text.equation(reaction.equation), text(reaction.rate), reaction.kind.value, now
            )
        )
    return tuple(reports)


def _flow(voxels: Voxels, inputs: Inputs) -> tuple[FlowReport, ...]:
    problem, found = voxels.problem, []
    for place, diffusivity in diffusivities(problem, inputs, voxels).items():
        numbers = [
            (float(largest_peclet(diffusivity, v, problem.grid, axis)), AXES[axis])
            for axis in range(3)
            if problem.grid.can_hop(axis) and (v := fluid_velocity(problem, inputs, axis)) is not None
        ]
        if numbers:
            peclet, axis = max(numbers)
            excess = float(spreading_excess(jnp.asarray(peclet)))
            found.append(FlowReport(problem.network.species[place], axis, peclet, excess))
    return tuple(found)


def _smeared(problem: Problem, flow: tuple[FlowReport, ...]) -> list[str]:
    """Warnings of flows that spread a crowd much faster than diffusion does."""
    warnings = []
    for report in flow:
        if np.isinf(report.peclet):
            warnings.append(
                f"species.{report.species}: it does not diffuse where the fluid flows along {report.axis}, so that a "
                "crowd on its way spreads as if D were |v| h / 2; give it a diffusion, or lower lattice.spacing"
            )
        elif report.excess > _MAX_EXCESS:
            spacing = problem.grid.spacing_um[AXES.index(report.axis)] * _PECLET_OF_MAX_EXCESS / report.peclet
            warnings.append(
                f"species.{report.species}: with Pe = v h / D = {report.peclet:.3g} a voxel a crowd on its way spreads "
                f"{report.excess:.3g} times as fast as in the continuum (steady profiles keep their shape); "
                f"a lattice.spacing of {spacing:.3g} um brings that to {_MAX_EXCESS:g}"
            )
    return warnings


def _blocked(problem: Problem, inputs: Inputs) -> list[str]:
    """Warnings of walls that a uniform flow runs into; a flow from a file has been refused there."""
    warnings = []
    for axis, name in enumerate(AXES):
        v = fluid_velocity(problem, inputs, axis)
        walls = [
            f"{name}_{side}"
            for side, wall in zip(("low", "high"), problem.grid.walls[axis], strict=True)
            if wall == "reflecting"
        ]
        if v is not None and jnp.ndim(v) == 0 and float(v) != 0 and walls:
            warnings.append(
                f"flow.velocity.{name}: {' and '.join(walls)} let no molecule through, so that what the fluid carries "
                "gathers there, or is not renewed; make the axis periodic, absorbing or fixed if that is not meant"
            )
    return warnings


def _intervention(intervention: Intervention, text: _Text) -> InterventionReport:
    if intervention.when is not None:
        when = f"{'each time' if intervention.repeat else 'once'} {text(intervention.when)}"
    else:
        shown = [_clock(at) for at in intervention.at_s[:3]]
        more = len(intervention.at_s) - len(shown)
        when = "at " + ", ".join(shown) + (f" and {more} more times" if more else "")
    what = [
        f"{a.target} {'+=' if a.adds else '='} {text(a.value)}{' * V' if a.per_volume else ''}"
        for a in intervention.assignments
    ]
    what += [f"remove {name}" for name in intervention.removes]
    return InterventionReport(
        intervention.name, when, "; ".join(what) + (f" in {intervention.region}" if intervention.region else "")
    )


def _clock(time_s: float) -> str:
    """A time in the largest unit that it has one of."""
    unit, seconds = next((u for u in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)) if time_s >= u[1]), ("s", 1.0))
    return f"{time_s / seconds:g} {unit}"


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
        f"species.{report.name}: its range {report.range_um[0]:.3g} um is shorter than a voxel ({spacing:g} um); "
        "its profile is not resolved, lower lattice.spacing"
        for report in species
        if report.range_um is not None and report.range_um[0] < spacing
    ]
    network = problem.network
    outside = {name.partition(".")[2] for name in problem.pools.names}
    warnings += [
        f"{'cells' if report.kind == 'cell type' else 'species'}.{report.name}: "
        "there is none at first, and no reaction makes any"
        for place, report in enumerate(species[: len(network.species)])
        if report.initial == 0
        and report.name not in outside
        and not any(change > 0 for c in network.channels for s, change in c.changes if s == place)
        and not any(p.species == place for c in network.channels for p in c.bursts)
        and not any(wall.species == place for wall in problem.walls)
        and not any(a.target == report.name for i in problem.interventions for a in i.assignments)
        and not any(c.child == place for c in network.channels)
    ]
    return tuple(warnings)


def _killers(problem: Problem) -> tuple[str, ...]:
    """Warnings of reactions that make something and take the cell away, as if it had been forgotten on the right."""
    network = problem.network
    return tuple(
        f"reactions.{c.name}: the {network.species[c.parent]} dies of it; write it on the right too if it should live"
        for c in network.channels
        if c.kills and c.parent is not None and (c.bursts or any(change > 0 for _, change in c.changes))
    )


def _unused_parameters(problem: Problem, config: RunConfig) -> tuple[str, ...]:
    """Warnings of parameters that nothing names."""
    network = problem.network
    quantities = [o.quantity for o in problem.observables]
    expressions = [
        *(d for d in (*network.diffusivity, *network.motility) if d is not None),
        *(channel.rate for channel in network.channels),
        *(reaction.rate for reaction in problem.pools.reactions),
        *(crossing.channel.rate for crossing in problem.pools.crossings),
        *(a for c in problem.pools.crossings for product in c.channel.bursts for a in product.burst.arguments),
        *(a for c in network.channels for product in c.bursts for a in product.burst.arguments),
        *(wall.concentration for wall in problem.walls),
        *(mean for _, mean in problem.random_start),
        *problem.flow,
        *(e for field in network.fields for e in (field.diffusivity, field.initial) if e is not None),
        *(value for field in network.fields for _, value in field.fixed),
        *(chemotaxis.strength for chemotaxis in network.chemotaxis if chemotaxis is not None),
        *(value for field in network.fields for *_, value in field.walls),
        *(term.channel.rate for field in network.fields for term in field.terms),
        *(one for quantity in quantities for one in expressions_in(quantity)),
        *(a.value for i in problem.interventions for a in i.assignments),
        *(i.when for i in problem.interventions if i.when is not None),
    ]
    used = set().union(*map(names, expressions))
    unused = [name for name in config.parameters if name not in used]
    return tuple(f"parameters.{name}: nothing in the file names it" for name in unused)
