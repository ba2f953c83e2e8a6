"""Run what a sweep has planned: one run, or all that are not done, on this machine."""

import multiprocessing
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from exodiff.build import build
from exodiff.config import load as config_load
from exodiff.core.errors import ExodiffError, InUseError, RunDirectoryError
from exodiff.runner.entry import run as start
from exodiff.runner.signals import StopRequest
from exodiff.sweep.plan import DONE, FAILED, STOPPED, Outcome, Plan, read_plan

STOPPED_CODE = 75
UNEXPECTED_CODE = 1
_LOST = Outcome(FAILED, 3, "its process was killed, or one beside it (memory?); lower --jobs and run the sweep again")
_LOOK_S = 0.5  # how long a signal to the sweep may wait
Report = Callable[[int, Outcome], None]


def stopped_by(name: str | None, wall_s: float = 0.0) -> Outcome:
    """The outcome of a run that a signal has stopped."""
    return Outcome(STOPPED, STOPPED_CODE, f"stopped by {name}", wall_s)


def run_one(path: Path, run: int) -> Outcome:
    """Begin or continue one run of a sweep, and keep its outcome beside the plan.

    A run that fails is no error of the sweep, in whatever way: the outcome says why.

    Raises:
        ConfigError: the model file is gone or has changed.
        RunDirectoryError: another process is doing this run, or the outcome could not be kept.

    """
    plan, began = read_plan(path), time.monotonic()
    plan.refuse_changed_config()
    try:
        model = build(config_load.load(plan.config, plan.overrides(run)))
        result = start(model, plan.directory(run), resume="auto", figures=False)
        outcome = Outcome(DONE) if result.finished else stopped_by(result.stopped_by)
    except InUseError:
        raise  # the process that runs it keeps its outcome
    except ExodiffError as error:
        outcome = Outcome(FAILED, error.exit_code, str(error))
    except Exception as error:  # whatever it is, the runs after it go on, and its reason is kept
        first, *_ = str(error).splitlines() or [""]
        advice = (
            f"see all of it by `exodiff run {plan.config} {_set(plan, run)} --resume auto --out {plan.directory(run)}`"
        )
        outcome = Outcome(FAILED, UNEXPECTED_CODE, f"{type(error).__name__}: {first[:500]}; {advice}")
    outcome = replace(outcome, wall_s=round(time.monotonic() - began, 3))
    plan.note(run, outcome)
    return outcome


def _set(plan: Plan, run: int) -> str:
    return " ".join(f"--set {shlex.quote(override)}" for override in plan.overrides(run))


def run_all(plan: Plan, jobs: int, report: Report) -> bool:
    """Run all that is not done, in so many processes; a stopped run stops the sweep, a failed one does not.

    A signal is passed on to the processes: their runs write checkpoints. A second SIGINT ends them.

    Args:
        plan: of the sweep.
        jobs: processes; each keeps its compiled programs from run to run.
        report: called with each run and its outcome.

    Returns:
        Whether a signal stopped it.

    """
    with StopRequest() as stop:
        waiting = plan.unfinished()
        while waiting:
            waiting = _until_one_breaks(plan, waiting, jobs, report, stop)
    return stop.received is not None


def _until_one_breaks(plan: Plan, runs: Sequence[int], jobs: int, report: Report, stop: StopRequest) -> list[int]:
    """Do runs; returns what is left to do with new processes.

    They are needed where one was killed, which takes the others with it, or has met an unexpected error, e.g. of its
    device, which it may meet in every other run.
    """
    waiting, is_broken, is_passed_on = iter(runs), False, False
    # Ctrl-C goes to every process of a terminal; between two runs it would break the pool
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    with pool, _children_killed_with_this():
        going = {pool.submit(run_one, plan.path, run): run for run in _take(waiting, jobs)}
        while going:
            ended, _ = wait(going, _LOOK_S, return_when=FIRST_COMPLETED)
            if stop.received is not None and not is_passed_on:
                waiting, is_passed_on = iter(()), True
                for child in multiprocessing.active_children():
                    child.terminate()
            for future in ended:
                run = going.pop(future)
                try:
                    outcome = future.result()
                    is_broken |= outcome.exit_code == UNEXPECTED_CODE
                except RunDirectoryError as error:
                    outcome = Outcome(FAILED, error.exit_code, str(error))
                except BrokenProcessPool:
                    is_broken = True
                    if stop.received is None:
                        outcome = _LOST
                        with suppress(RunDirectoryError):
                            plan.note(run, outcome)
                    else:  # the signal found the process without a run, and broke the pool
                        outcome = stopped_by(stop.received)
                report(run, outcome)
                if outcome.state == STOPPED:
                    waiting = iter(())
                if not is_broken:
                    going |= {pool.submit(run_one, plan.path, new): new for new in _take(waiting, 1)}
    return list(waiting)


@contextmanager
def _children_killed_with_this() -> Iterator[None]:
    """Where a second SIGINT ends the block, the pool would wait for its processes."""
    try:
        yield
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            child.kill()
        raise


def _take(runs: Iterator[int], number: int) -> list[int]:
    return [run for _, run in zip(range(number), runs, strict=False)]
