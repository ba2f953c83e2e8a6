"""Commands on one model file and its run: check, run, resume, plot, movie, import, info."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from exodiff.commands.interrupts import Watch, watching
from exodiff.commands.shared import (
    STDERR,
    STDOUT,
    STOPPED,
    Accept,
    Config,
    Directory,
    Engine,
    Set,
    cache_compilations,
    overrides,
)
from exodiff.core.errors import ConfigError
from exodiff.progress import ProgressBar, duration

Report = Callable[[Any], None]


def run(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Run directory; default runs/<config name>.")] = None,
    resume: Annotated[
        str, typer.Option("--resume", help="auto: continue if the directory holds a run of this config, else begin.")
    ] = "never",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the directory.")] = False,
    accept_changes: Accept = False,
    set_: Set = None,
    engine: Engine = None,
) -> None:
    """Run a model: observables, snapshots, checkpoints and figures in a directory.

    Example: exodiff run configs/quickstart.toml --set run.duration="6 h" --out runs/short

    Stop it with Ctrl-C: it writes a checkpoint, and `exodiff resume DIR` continues it bit for bit.
    """
    watch = Watch("writing a checkpoint", computes=False)
    with watching(watch):
        from exodiff.config import load as config_load  # noqa: PLC0415

        out = out or Path("runs") / config.stem
        settings = config_load.load(config, overrides(set_, engine))
        given = config.read_bytes()
        if "SLURM_PROCID" not in os.environ:  # tasks of a step refuse together
            _refuse_early(out, resume, overwrite=overwrite)
        how = {"resume": resume, "overwrite": overwrite, "accept_changes": accept_changes}

        def start(report: Report) -> Any:
            from exodiff.build import build  # noqa: PLC0415
            from exodiff.runner.entry import run as begin  # noqa: PLC0415

            model = build(settings)
            for warning in model.warnings:
                STDERR.print(f"warning: {warning}")
            return begin(model, out, **how, given=given, report=report)

        _finish(start, watch)


def resume(
    directory: Directory,
    from_last_good: Annotated[
        bool,
        typer.Option("--from-last-good", help="Pass over damaged checkpoints and lost rows instead of refusing them."),
    ] = False,
    accept_changes: Accept = False,
) -> None:
    """Continue a run that was stopped, from its newest checkpoint; the result is the same, bit for bit."""
    watch = Watch("writing a checkpoint", computes=False)
    with watching(watch):

        def start(report: Report) -> Any:
            from exodiff.runner.entry import resume as go_on  # noqa: PLC0415

            return go_on(directory, from_last_good=from_last_good, accept_changes=accept_changes, report=report)

        _finish(start, watch)


def check(config: Config, set_: Set = None, engine: Engine = None) -> None:
    """Tell what a model will do before it runs: network, time scales, step bounds, ranges, warnings."""
    from exodiff.config import load as config_load  # noqa: PLC0415

    settings = config_load.load(config, overrides(set_, engine))
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.check import check_model  # noqa: PLC0415
    from exodiff.report import render  # noqa: PLC0415

    cache_compilations()
    render(check_model(build(settings)), settings, STDOUT)


def import_(
    source: Annotated[Path, typer.Argument(help="SBML file of a stochastic model.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Model file; default: the same name with .toml.")] = None,
    duration: Annotated[str, typer.Option("--duration", help="How long a run is; SBML does not say.")] = "100 s",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model file.")] = False,
) -> None:
    """Make a model file of an SBML file: one well-mixed voxel.

    Example: exodiff import model.xml --out model.toml
    """
    import tomli_w  # noqa: PLC0415

    from exodiff.sbml.convert import import_sbml  # noqa: PLC0415

    out = out or source.with_suffix(".toml")
    if out.exists() and not overwrite:
        raise ConfigError(str(out), "is there already; give another --out, or --overwrite")
    tables = import_sbml(source, duration)
    try:
        out.write_text(f"# Imported from {source.name!r}\n{tomli_w.dumps(tables)}", encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(out), f"cannot be written ({error.strerror}); give another --out") from None
    STDOUT.print(str(out))


def plot(
    directories: Annotated[
        list[Path],
        typer.Argument(metavar="directory", help="Run directory; several of them, or that of a sweep, are compared."),
    ],
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="png (default), pdf or svg. Repeatable.", show_default=False)
    ] = None,
) -> None:
    """Draw the figures of a run again, or compare several runs.

    Example: exodiff plot runs/quickstart --format pdf --format svg

    Compare: exodiff plot runs/treated runs/control; exodiff plot runs/my-sweep
    """
    from exodiff.sweep.collect import done_by_values  # noqa: PLC0415
    from exodiff.sweep.plan import PLAN, read_plan  # noqa: PLC0415
    from exodiff.viz.comparison import compare_runs, named  # noqa: PLC0415
    from exodiff.viz.figures import make_figures  # noqa: PLC0415

    kinds, first = formats or ("png",), directories[0]
    if len(directories) > 1:
        paths = compare_runs(named(directories), first, kinds)
    elif (first / PLAN).exists():
        paths = compare_runs(done_by_values(read_plan(first)), first, kinds)
    else:
        paths = make_figures(first, kinds)
    for path in paths:
        STDOUT.print(str(path))


def movie(
    directory: Directory,
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="Species beside the cells. Repeatable.", show_default=False)
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="Snapshots a second.")] = 5.0,
) -> None:
    """Draw figures/movie.gif: the cells and some species at every snapshot.

    Example: exodiff movie runs/quickstart --field EV --field dose_TGFb
    """
    from exodiff.viz.movie import make_movie  # noqa: PLC0415

    STDOUT.print(str(make_movie(directory, fields or (), speed)))


def info(
    config: Annotated[Path | None, typer.Argument(help="Model file: also tell how its run is divided.")] = None,
    set_: Set = None,
    engine: Engine = None,
) -> None:
    """Versions and devices, and how a run is divided over them.

    Example: exodiff info configs/quickstart.toml
    """
    from importlib import metadata  # noqa: PLC0415

    import jax  # noqa: PLC0415

    from exodiff.processes import num_tasks  # noqa: PLC0415

    tasks = num_tasks()  # counted and not joined: nothing is computed
    if tasks > 1 and os.environ["SLURM_PROCID"] != "0":
        return
    STDOUT.print(f"exodiff {metadata.version('exodiff')}, Python {sys.version.split()[0]}")
    for package in ("jax", "jaxlib", "numpy", "h5py", "equinox"):
        STDOUT.print(f"{package} {metadata.version(package)}")
    for device in jax.devices():
        STDOUT.print(f"device {device.id}: {device.device_kind} ({device.platform})")
    if config is None:
        return
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.config.load import load  # noqa: PLC0415
    from exodiff.devices import divide  # noqa: PLC0415

    settings = load(config, overrides(set_, engine))
    # of several tasks each takes the GPU of its number, or all that its CPU makes up
    available = tasks * (1 if tasks > 1 and jax.default_backend() != "cpu" else jax.device_count())
    division = divide(build(settings).problem, settings.run.replicates, available, tasks)
    of = f" of {tasks} processes" if tasks > 1 else ""
    STDOUT.print(f"{config}: {division} on {division.num_devices} of {available} devices{of}")


def _refuse_early(out: Path, resume: str, *, overwrite: bool) -> None:
    """Refuse a directory that cannot be used before waiting for JAX and the build."""
    from exodiff.runner.directory import RunDirectory  # noqa: PLC0415

    if resume not in ("never", "auto"):
        raise ConfigError(f"resume={resume}", "is not a choice; give auto or never")
    directory = RunDirectory(out)
    if not (directory.holds_run and (overwrite or resume == "auto")):
        directory.refuse_another_run()


def _finish(start: Callable[[Report], Any], watch: Watch) -> None:
    """Run with a progress bar, say what was written, and leave with the right exit code."""
    from exodiff.processes import failing_at_once, is_first, join, num_tasks  # noqa: PLC0415

    began = time.monotonic()
    join()
    cache_compilations()
    watch.computes = num_tasks() > 1  # they stop together
    watch.quiet = not is_first()
    if watch.quiet:
        with failing_at_once():
            result = start(lambda _: None)
        if not result.finished:
            raise typer.Exit(STOPPED)
        return
    with failing_at_once(), ProgressBar(STDERR) as bar:

        def report(progress: Any) -> None:
            watch.computes |= progress.phase == "running"
            with suppress(OSError):  # of a log on a full disk
                bar.show(progress)

        result = start(report)
    for warning in result.warnings:
        STDERR.print(f"warning: {warning}")
    if not result.finished:
        STDERR.print(
            f"stopped by {result.stopped_by} at {duration(result.time_s)} of simulated time; a checkpoint is written. "
            f"Continue with: exodiff resume {result.path}"
        )
        raise typer.Exit(STOPPED)
    part = f", the last {duration(result.time_s - result.from_s)}" if 0.0 < result.from_s < result.time_s else ""
    STDERR.print(f"done: {duration(result.time_s)} of simulated time{part} in {duration(time.monotonic() - began)}")
    for path in result.figures:
        STDOUT.print(str(path))
    STDOUT.print(f"{result.path}/observables.csv  {result.path}/results.vtkhdf (open in ParaView)")
