"""Commands on many runs: sweep, collect."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from exodiff.commands.shared import STDERR, STDOUT, cache_compilations
from exodiff.core.errors import ConfigError
from exodiff.progress import duration


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
    submitit: Annotated[
        str | None, typer.Option("--submitit", help='Submit jobs by submitit: "timeout_min=240 slurm_partition=gpu".')
    ] = None,
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

        left, script = plan.unfinished(), write_array(plan)
        only_left = [] if len(left) == len(plan.rows) else [f"--array={','.join(map(str, left))}"]
        STDOUT.print(shlex.join(["sbatch", *only_left, str(script)]))
    elif submitit is not None:
        from exodiff.sweep.submitted import submit  # noqa: PLC0415

        numbers = submit(plan, submitit)
        STDOUT.print(
            f"submitted {len(numbers)} jobs: {', '.join(numbers)}; follow them by exodiff sweep {plan.path} --status"
        )
    else:
        _run_sweep(plan, jobs, only)


def _tell_status(plan: Any) -> None:
    from exodiff.sweep.plan import FAILED  # noqa: PLC0415

    STDOUT.print(f"{len(plan.rows)} runs: " + ", ".join(f"{number} {state}" for state, number in plan.counts().items()))
    for run in range(len(plan.rows)):
        if (outcome := plan.outcome(run)).state == FAILED:
            STDOUT.print(f"{plan.name(run)} ({', '.join(plan.overrides(run))}): {outcome.message}")
    if plan.unfinished():
        STDOUT.print(f"do what is left, also what failed or was stopped: exodiff sweep {plan.path}")


def _run_sweep(plan: Any, jobs: int, only: int | None) -> None:
    from exodiff.commands.interrupts import Watch, watching  # noqa: PLC0415
    from exodiff.sweep.execute import STOPPED_CODE, run_all, run_one  # noqa: PLC0415
    from exodiff.sweep.plan import DONE, STOPPED  # noqa: PLC0415

    cache_compilations()
    began, left = time.monotonic(), 1 if only is not None else len(plan.unfinished())
    total, ended = left, []

    def tell(run: int, outcome: Any) -> None:
        ended.append(outcome)
        seconds = (time.monotonic() - began) / len(ended) * (total - len(ended))
        told = outcome.state if outcome.state == DONE else f"{outcome.state}: {outcome.message}"
        STDERR.print(
            f"[{len(ended)}/{total}] {plan.name(run)} {', '.join(plan.overrides(run))}: {told} in "
            f"{duration(outcome.wall_s)}; about {duration(seconds)} left"
        )

    is_stopped = False
    if only is not None:
        with watching(Watch("writing a checkpoint")):
            tell(only, run_one(plan.path, only))
    else:
        with watching(Watch("the runs write their checkpoints", at_second=lambda: None)):  # run_all ends them
            is_stopped = run_all(plan, jobs, tell)
    worst = max((outcome.exit_code for outcome in ended), default=0)
    if is_stopped or any(outcome.state == STOPPED for outcome in ended):
        worst = STOPPED_CODE
    STDOUT.print(f"{plan.path}: " + ", ".join(f"{number} {state}" for state, number in plan.counts().items()))
    if worst:
        raise typer.Exit(worst)


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
        STDOUT.print(str(path))
    if left := len(plan.unfinished()):
        STDERR.print(f"warning: {left} of {len(plan.rows)} runs are not done and left out; exodiff sweep {directory}")
