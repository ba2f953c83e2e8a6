"""The command line, e.g. ``exodiff run``. The only place that prints."""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from exodiff.core.errors import ConfigError, ExodiffError, SimulationError
from exodiff.progress import ProgressBar, duration

STOPPED = 75

app = typer.Typer(
    name="exodiff",
    help="Simulate how cells talk by exosomes in tissue: one TOML file in, tables, figures and ParaView files out.",
    epilog="First run: exodiff run configs/quickstart.toml. Exit codes: 0 done, 2 wrong config or call, 3 failed, "
    "75 stopped by a signal and resumable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
_out = Console(highlight=False, soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 140)

Config = Annotated[Path, typer.Argument(help="Model file (TOML).", show_default=False)]
Directory = Annotated[Path, typer.Argument(help="Run directory, e.g. runs/quickstart.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help='Change a key: --set run.seed=3 --set parameters.k_on="2e-4 um^3/s". Repeatable.'),
]
Accept = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the config was changed, if the state fits it.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="leap (stochastic), exact (every event) or mean_field (no noise).")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415

        _out.print(f"exodiff {metadata.version('exodiff')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command()
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
    from exodiff.config import load as config_load  # noqa: PLC0415

    out = out or Path("runs") / config.stem
    settings = config_load.load(config, _overrides(set_, engine))
    given = config.read_bytes()
    if "SLURM_PROCID" not in os.environ:  # tasks of a step refuse together
        _refuse_early(out, resume, overwrite=overwrite)
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.processes import join  # noqa: PLC0415
    from exodiff.runner.entry import run as start  # noqa: PLC0415

    join()
    _cache_compilations()
    model = build(settings)
    for warning in model.warnings:
        _err.print(f"warning: {warning}")
    how = {"resume": resume, "overwrite": overwrite, "accept_changes": accept_changes}
    _finish(lambda report: start(model, out, **how, given=given, report=report))


@app.command()
def resume(
    directory: Directory,
    from_last_good: Annotated[
        bool, typer.Option("--from-last-good", help="Pass over damaged checkpoints instead of refusing them.")
    ] = False,
    accept_changes: Accept = False,
) -> None:
    """Continue a run that was stopped, from its newest checkpoint; the result is the same, bit for bit."""
    from exodiff.processes import join  # noqa: PLC0415
    from exodiff.runner.entry import resume as go_on  # noqa: PLC0415

    join()
    _cache_compilations()
    _finish(
        lambda report: go_on(directory, from_last_good=from_last_good, accept_changes=accept_changes, report=report)
    )


@app.command()
def check(config: Config, set_: Set = None, engine: Engine = None) -> None:
    """Tell what a model will do before it runs: network, time scales, step bounds, ranges, warnings."""
    from exodiff.config import load as config_load  # noqa: PLC0415

    settings = config_load.load(config, _overrides(set_, engine))
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.check import check_model  # noqa: PLC0415
    from exodiff.report import render  # noqa: PLC0415

    render(check_model(build(settings)), settings, _out)


@app.command(name="import")
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
    _out.print(str(out))


@app.command()
def plot(
    directory: Directory,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="png (default), pdf or svg. Repeatable.", show_default=False)
    ] = None,
) -> None:
    """Draw the figures of a run again.

    Example: exodiff plot runs/quickstart --format pdf --format svg
    """
    from exodiff.viz.figures import make_figures  # noqa: PLC0415

    for path in make_figures(directory, formats or ("png",)):
        _out.print(str(path))


@app.command()
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

    _out.print(str(make_movie(directory, fields or (), speed)))


@app.command()
def sweep(  # noqa: PLR0913, PLR0917  (typer makes an option of each)
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG|DIR", help="Model file, or a sweep's directory.", show_default=False)
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help='A key and its values: KEY="V1, V2" or KEY="LOW:HIGH:NUMBER:log". Repeatable.'),
    ] = None,
    design: Annotated[str, typer.Option("--design", help="grid, latin (hypercube) or sobol.")] = "grid",
    points: Annotated[int | None, typer.Option("--points", help="Points of a latin or sobol design.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each point, run.seed rising.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory; default runs/<config name>-sweep.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes on this machine.")] = 1,
    only: Annotated[int | None, typer.Option("--only", help="Do this one run, as a task of a job array.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write a SLURM job array instead of running.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Tell how far the runs are, and why some failed.")] = False,
) -> None:
    """Run a model file many times with other values; again on the directory: what is not done, and what failed.

    Example: exodiff sweep configs/quickstart.toml --vary parameters.k_on="1e-5:1e-3 um^3/s:4:log" --seeds 3 --jobs 2

    Then: exodiff collect runs/quickstart-sweep
    """
    from exodiff.sweep.design import parse_variation  # noqa: PLC0415
    from exodiff.sweep.plan import make_plan, read_plan  # noqa: PLC0415

    if source.is_dir():
        if vary or points is not None or seeds != 1 or design != "grid" or out is not None:
            raise ConfigError(
                str(source), "is planned already; leave out --vary, --design, --points, --seeds and --out"
            )
        plan = read_plan(source)
    else:
        out = out or Path("runs") / f"{source.stem}-sweep"
        plan = make_plan(source, out, [parse_variation(text) for text in vary or ()], design, points, seeds)
    if only is not None and not 0 <= only < len(plan.rows):
        raise ConfigError(f"--only {only}", f"is no run of {plan.path}; they go from 0 to {len(plan.rows) - 1}")
    if status:
        _tell_status(plan)
    elif slurm:
        from exodiff.sweep.slurm import write_array  # noqa: PLC0415

        _out.print(f"sbatch {write_array(plan)}")
    else:
        _run_sweep(plan, jobs, only)


def _tell_status(plan: Any) -> None:
    from exodiff.sweep.plan import FAILED  # noqa: PLC0415

    _out.print(f"{len(plan.rows)} runs: " + ", ".join(f"{number} {state}" for state, number in plan.counts().items()))
    for run in range(len(plan.rows)):
        if (outcome := plan.outcome(run)).state == FAILED:
            _out.print(f"{plan.name(run)} ({', '.join(plan.overrides(run))}): {outcome.message}")
    if plan.unfinished():
        _out.print(f"do what is left, also what failed or was stopped: exodiff sweep {plan.path}")


def _run_sweep(plan: Any, jobs: int, only: int | None) -> None:
    from exodiff.sweep.execute import STOPPED_CODE, run_all, run_one  # noqa: PLC0415
    from exodiff.sweep.plan import DONE, STOPPED  # noqa: PLC0415

    _cache_compilations()
    began, left = time.monotonic(), 1 if only is not None else len(plan.unfinished())
    total, ended = left, []

    def tell(run: int, outcome: Any) -> None:
        ended.append(outcome)
        seconds = (time.monotonic() - began) / len(ended) * (total - len(ended))
        told = outcome.state if outcome.state == DONE else f"{outcome.state}: {outcome.message}"
        _err.print(
            f"[{len(ended)}/{total}] {plan.name(run)} {', '.join(plan.overrides(run))}: {told} in "
            f"{duration(outcome.wall_s)}; about {duration(seconds)} left"
        )

    if only is not None:
        tell(only, run_one(plan.path, only))
    else:
        run_all(plan, jobs, tell)
    worst = max((outcome.exit_code for outcome in ended), default=0)
    if any(outcome.state == STOPPED for outcome in ended):
        worst = STOPPED_CODE
    _out.print(f"{plan.path}: " + ", ".join(f"{number} {state}" for state, number in plan.counts().items()))
    if worst:
        raise typer.Exit(worst)


@app.command()
def collect(
    directory: Annotated[Path, typer.Argument(help="Directory of a sweep.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="A .csv or .h5 file; default: tables in DIR.", show_default=False)
    ] = None,
) -> None:
    """Join the observables of all runs of a sweep into one tidy table.

    Example: exodiff collect runs/quickstart-sweep --out uptake.csv
    """
    from exodiff.sweep.collect import collect as join  # noqa: PLC0415
    from exodiff.sweep.plan import read_plan  # noqa: PLC0415

    plan = read_plan(directory)
    for path in join(plan, out):
        _out.print(str(path))
    if left := len(plan.unfinished()):
        _err.print(f"warning: {left} of {len(plan.rows)} runs are not done and left out; exodiff sweep {directory}")


def _refuse_second(file: Path, what: str, *, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise ConfigError(str(file.parent), f"holds {what} already; give another --out, or --overwrite")


@app.command()
def fit(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; default runs/<config name>-fit.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the fit in the directory.")] = False,
) -> None:
    """Fit the parameters of [fit] to its data: estimates with intervals, fit.h5, fit.json and figures.

    Example: exodiff fit configs/fit_plasma.toml --set fit.calibrate=1000

    What the data cannot tell is said before any interval. Without data of your own: exodiff synthesise CONFIG.
    """
    from exodiff.config import load as config_load  # noqa: PLC0415

    out = out or Path("runs") / f"{config.stem}-fit"
    settings = config_load.load(config, _overrides(set_, None))
    _refuse_second(out / "fit.h5", "a fit", overwrite=overwrite)
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.inference.command import fit_model  # noqa: PLC0415

    _cache_compilations()
    began = time.monotonic()

    def tell(phase: str, told: str) -> None:
        _err.print(f"[{duration(time.monotonic() - began)}] {phase}: {told}")

    found, written = fit_model(build(settings), out, tell)
    _out.print(found.summary())
    for path in written:
        _out.print(str(path))


@app.command()
def sbc(
    config: Config,
    fits: Annotated[int, typer.Option("--fits", min=20, help="Number of truths drawn from the priors.")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; default runs/<config name>-sbc.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the directory.")] = False,
) -> None:
    """Simulation-based calibration: is the fit of this file right for data like these? Writes sbc.json and a figure.

    Example: exodiff sbc configs/fit_plasma.toml --fits 200 --set fit.uncertainty='"fisher"'

    Draws truths from the priors, simulates data at the times of [fit], fits them, and tells how often the 90 %
    intervals hold the truth and whether it lies uniformly in its posterior.
    """
    from exodiff.config import load as config_load  # noqa: PLC0415

    out = out or Path("runs") / f"{config.stem}-sbc"
    settings = config_load.load(config, _overrides(set_, None))
    _refuse_second(out / "sbc.json", "a calibration", overwrite=overwrite)
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.inference.command import calibrate_model  # noqa: PLC0415

    _cache_compilations()
    began = time.monotonic()

    def tell(done: int) -> None:
        spent = time.monotonic() - began
        if done == 1 or done * 20 // fits > (done - 1) * 20 // fits:
            left = duration(spent / done * (fits - done))
            _err.print(f"[{duration(spent)}] {done} of {fits} fits, {left} left")

    found, written = calibrate_model(build(settings), fits, out, tell)
    _out.print(found.summary())
    for path in written:
        _out.print(str(path))


@app.command()
def synthesise(
    config: Config,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulation and the measurement errors.")] = 0,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the data files.")] = False,
) -> None:
    """Make the data files of [fit] by a simulation with the parameters of the file.

    Example: exodiff synthesise model.toml --seed 1 --set parameters.k_on="2e-4 um^3/s" --set run.replicates=5

    Tables have a row every run.observe_every for each of run.replicates tissues.
    """
    from exodiff.build import load  # noqa: PLC0415
    from exodiff.inference.synthesise import synthesise as make  # noqa: PLC0415

    _cache_compilations()
    for path in make(load(config, _overrides(set_, None)), seed, overwrite=overwrite):
        _out.print(str(path))


@app.command()
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

    _out.print(f"exodiff {metadata.version('exodiff')}, Python {sys.version.split()[0]}")
    for package in ("jax", "jaxlib", "numpy", "h5py", "equinox"):
        _out.print(f"{package} {metadata.version(package)}")
    for device in jax.devices():
        _out.print(f"device {device.id}: {device.device_kind} ({device.platform})")
    if config is None:
        return
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.config.load import load  # noqa: PLC0415
    from exodiff.devices import divide  # noqa: PLC0415

    settings = load(config, _overrides(set_, engine))
    division = divide(build(settings).problem, settings.run.replicates, jax.device_count())
    _out.print(f"{config}: {division} on {division.num_devices} of {jax.device_count()} devices")


def _overrides(set_: list[str] | None, engine: str | None) -> tuple[str, ...]:
    return (*(set_ or ()), *((f'run.engine="{engine}"',) if engine else ()))


def _refuse_early(out: Path, resume: str, *, overwrite: bool) -> None:
    """Refuse a directory that cannot be used before waiting for JAX and the build."""
    from exodiff.runner.directory import RunDirectory  # noqa: PLC0415

    if resume not in ("never", "auto"):
        raise ConfigError(f"resume={resume}", "is not a choice; give auto or never")
    directory = RunDirectory(out)
    if not (directory.holds_run and (overwrite or resume == "auto")):
        directory.refuse_another_run()


def _cache_compilations() -> None:
    """Keep compiled programs between runs, in the user's cache folder (JAX_COMPILATION_CACHE_DIR overrides)."""
    import jax  # noqa: PLC0415

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "exodiff" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _finish(start: Callable[[Callable[[Any], None]], Any]) -> None:
    """Run with a progress bar, say what was written, and leave with the right exit code."""
    from exodiff.processes import failing_at_once, is_first  # noqa: PLC0415

    began = time.monotonic()
    if not is_first():
        with failing_at_once():
            result = start(lambda _: None)
        if not result.finished:
            raise typer.Exit(STOPPED)
        return
    with failing_at_once(), ProgressBar(_err) as bar:
        result = start(bar.show)
    for warning in result.warnings:
        _err.print(f"warning: {warning}")
    if not result.finished:
        _err.print(
            f"stopped by {result.stopped_by} at {duration(result.time_s)} of simulated time; a checkpoint is written. "
            f"Continue with: exodiff resume {result.path}"
        )
        raise typer.Exit(STOPPED)
    _err.print(f"done: {duration(result.time_s)} of simulated time in {duration(time.monotonic() - began)}")
    for path in result.figures:
        _out.print(str(path))
    _out.print(f"{result.path}/observables.csv  {result.path}/results.vtkhdf (open in ParaView)")


def in_options(message: str) -> str:
    """A message that names an argument, as in Python, with its option: ``--out runs/x`` for ``out=runs/x``."""

    def option(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        return f"--{name}" if value == "True" else f"--{name} {value}"

    return re.sub(r"(?<!\S)(out|resume|overwrite|from_last_good|accept_changes)=(True\b|)", option, message)


def main() -> None:
    """Run the command line; errors are one line and an exit code."""
    try:
        app()
    except ExodiffError as error:
        for line in str(error).splitlines():
            _err.print(f"exodiff: {in_options(line)}", style="red")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _err.print(
            "exodiff: not enough memory; lower lattice.shape or run.replicates (`exodiff check` prints the size of the "
            "state), or use a larger machine",
            style="red",
        )
        sys.exit(SimulationError.exit_code)
    except KeyboardInterrupt:
        _err.print("exodiff: interrupted; continue from the last checkpoint with `exodiff resume DIR`")
        sys.exit(130)


if __name__ == "__main__":
    main()
