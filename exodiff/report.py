"""The text of ``exodiff check``."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from exodiff.config.schema import RunConfig
from exodiff.core.expressions import Number, to_text

if TYPE_CHECKING:
    from exodiff.audit import Audit
    from exodiff.check import CheckReport
    from exodiff.stepsize import Bound

# Largest errors at this tolerance, of any watched species of any model in tests/physics/test_leap_order.py, rounded up.
_TOLERANCE = 0.1
MEAN_ERROR = 0.004
VARIANCE_ERROR = 0.008
COARSE = 0.25  # (voxel / range)^2, above which the voxel does not resolve the gradient
_PLAIN: dict[str, Any] = {"box": None, "pad_edge": False}


def render(report: "CheckReport", config: RunConfig, console: Console) -> None:
    """Print what was found about a model."""
    shape = " x ".join(map(str, report.shape))
    parts = ", ".join(f"{name} {part.shape[0]}" for name, part in config.lattice.parts.items())
    spacing = " x ".join(f"{h:g}" for h in report.spacing_um)
    console.print(f"{config.title or 'untitled'}: {shape} voxels of {spacing} um, engine {report.engine}")
    if parts:
        console.print(f"lattices along x, with walls between: {parts} voxels")
    if config.parameters:
        console.print(_parameter_table(config))
    console.print(_species_table(report))
    console.print(_reaction_table(report))
    for flow in report.flow:
        console.print(
            f"flow: {flow.species} has Pe = v h / D = {flow.peclet:.3g} a voxel along {flow.axis}; a crowd on its way "
            f"spreads {flow.excess:.3g} times as fast as in the continuum"
        )
    if report.interventions:
        console.print(_intervention_table(report))
    if report.audit is not None:
        _print_audit(report.audit, console)
    if report.engine == "exact":
        console.print(f"this run: every event at its own time, no steps, in {config.run.duration_s:g} s")
    else:
        _print_steps(report, config, console)
    copies = f" ({config.run.replicates} replicates)" if config.run.replicates > 1 else ""
    console.print(f"size of the state: {report.state_bytes / 2**20:.3g} MiB{copies}; a run needs several times that")
    for warning in report.warnings:
        console.print(f"warning: {warning}")


def _print_audit(audit: "Audit", console: Console) -> None:
    console.print(
        "expected of exosome populations (state at time 0, vesicles mixed over a lattice; doses spread over the run):"
    )
    table = Table("vesicles", "supply /h", "taken up", "D um^2/s", "loss /s", "range um", "(voxel/range)^2", **_PLAIN)
    for population in audit.populations:
        for i, one in enumerate(population.bins):
            shared = (
                (f"{3600 * population.release_per_s:.3g}", f"{100 * population.taken_up:.3g} %") if i == 0 else ("", "")
            )
            reach = "-" if one.range_um is None else f"{one.range_um:.3g}"
            damkoehler = "-" if one.damkoehler is None else f"{one.damkoehler:.2g}"
            if one.damkoehler is not None and one.damkoehler > COARSE:
                damkoehler += ", too coarse"
            table.add_row(
                _placed(one.name, population.lattice),
                *shared,
                f"{one.diffusivity_um2_per_s:.3g}",
                f"{one.loss_per_s:.3g}",
                reach,
                damkoehler,
            )
    console.print(table)
    scales = Table(
        "scales of",
        "clearance um^3/s",
        "diffusion-limited",
        "Pe on 100 um",
        "reach into receivers",
        "in a voxel",
        **_PLAIN,
    )
    for one, lattice in ((one, population.lattice) for population in audit.populations for one in population.bins):
        shares = (_or_dash(share and 100 * share, " %") for share in (one.diffusion_limit, one.penetration))
        limited, reached = shares
        clearance, held = f"{one.clearance_um3_per_s:.3g}", _or_dash(one.in_voxel)
        scales.add_row(_placed(one.name, lattice), clearance, limited, _or_dash(one.peclet), reached, held)
    console.print(scales)
    if not audit.doses:
        return
    doses = Table("cargo", "receiver", "uptakes/day", "copies/day", "steady copies", "beside", **_PLAIN)
    for dose in audit.doses:
        steady = "no loss" if dose.steady is None else f"{dose.steady:.3g}"
        numbers = (f"{dose.uptakes_per_day:.3g}", f"{dose.copies_per_day:.3g}", steady)
        doses.add_row(dose.cargo, dose.cell, *numbers, "; ".join(dose.laws) or "-")
    console.print(doses)


def _placed(name: str, lattice: str) -> str:
    return f"{name}, {lattice}" if lattice else name


def _or_dash(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g}{unit}"


def _print_steps(report: "CheckReport", config: RunConfig, console: Console) -> None:
    console.print("longest automatic step by cause (the first binds):")
    _print_bounds(report.auto_bounds, console)
    if report.engine == "leap" and config.run.time_step == "auto":
        console.print(_promise(config))
    console.print("longest step that run.time_step may give:")
    _print_bounds(report.fixed_bounds[:1], console)
    console.print(f"this run: {report.num_steps} steps of at most {report.step_s:.3g} s in {config.run.duration_s:g} s")
    if report.largest_exit is not None:
        probability, name = report.largest_exit
        console.print(f"largest exit probability of such a step: {100 * probability:.3g} %, of {name}")


def _promise(config: RunConfig) -> str:
    """What the automatic step guarantees, from the enumerated laws of small models; the error is of second order."""
    share = (config.run.tolerance / _TOLERANCE) ** 2
    return (
        f'time_step = "auto" at tolerance {config.run.tolerance:g}: the step moves means by at most '
        f"{100 * MEAN_ERROR * share:.2g} % and variances by at most {100 * VARIANCE_ERROR * share:.2g} % "
        "(largest on nine enumerated models; falls with tolerance^2; docs/validation.md)"
    )


def _print_bounds(bounds: "tuple[Bound, ...]", console: Console) -> None:
    for bound in bounds:
        console.print(f"  {bound.step_s:.3g} s  {bound.cause}")
    if not bounds:
        console.print("  nothing bounds it")


def _species_table(report: "CheckReport") -> Table:
    columns = "species", "where", "at first", "D um^2/s", "exit rate /s", "range um"
    table = Table(*columns, **_PLAIN)
    for species in report.species:
        low, high = species.exit_per_s
        table.add_row(
            species.name,
            species.kind,
            f"{species.initial:.6g}",
            "-" if species.diffusivity_um2_per_s is None else f"{species.diffusivity_um2_per_s:.3g}",
            "-" if high == 0 else _span(low, high),
            "-" if species.range_um is None else _span(*species.range_um),
        )
    return table


def _span(low: float, high: float) -> str:
    return f"{high:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} ... {high:.3g}"


def _parameter_table(config: RunConfig) -> Table:
    table = Table("parameter", "value (um, s, molecules)", "known as", **_PLAIN)
    for name, parameter in config.parameters.items():
        rows = [(name, parameter.value)] if parameter.value is not None else []
        rows += [(f"{name} in {cell}", number) for cell, number in (parameter.by_cell or {}).items()]
        for label, number in rows:
            rounded = Number(float(f"{number.value:.4g}"), number.dimension)
            table.add_row(label, to_text(rounded), parameter.evidence or "-")
    return table


def _intervention_table(report: "CheckReport") -> Table:
    table = Table("intervention", "when", "what", **_PLAIN)
    for intervention in report.interventions:
        table.add_row(intervention.name, intervention.when, intervention.what)
    return table


def _reaction_table(report: "CheckReport") -> Table:
    table = Table(**_PLAIN)
    for title in ("reaction", "equation", "rate", "now (per event's reactants) /s", "draw"):
        table.add_column(title, overflow="fold")
    for reaction in report.reactions:
        low, high = reaction.rate_now
        table.add_row(reaction.name, reaction.equation, reaction.rate, _span(low, high), reaction.draw)
    return table
