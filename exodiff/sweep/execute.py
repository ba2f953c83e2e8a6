"""Run what a sweep has planned: one run, or all that are not done, on this machine."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from exodiff.build import build
from exodiff.config import load as config_load
from exodiff.core.errors import ExodiffError
from exodiff.runner.entry import run as start
from exodiff.sweep.plan import DONE, FAILED, STOPPED, Outcome, Plan, read_plan

STOPPED_CODE = 75
_LOST = Outcome(FAILED, 3, "its process was killed, or one beside it (memory?); lower --jobs and run the sweep again")
Report = Callable[[int, Outcome], None]


def run_one(path: Path, run: int) -> Outcome:
    """Begin or continue one run of a sweep, and keep its outcome beside the plan.

    A run that fails is no error of the sweep: the outcome says why.
    """
    plan, began = read_plan(path), time.monotonic()
    plan.refuse_changed_config()
    try:
        model = build(config_load.load(plan.config, plan.overrides(run)))
        result = start(model, plan.directory(run), resume="auto", figures=False)
        state, code, message = (
            (DONE, 0, "") if result.finished else (STOPPED, STOPPED_CODE, f"stopped by {result.stopped_by}")
        )
    except ExodiffError as error:
        state, code, message = FAILED, error.exit_code, str(error)
    outcome = Outcome(state, code, message, round(time.monotonic() - began, 3))
    plan.note(run, outcome)
    return outcome


def run_all(plan: Plan, jobs: int, report: Report) -> None:
    """Run all that is not done, in so many processes; a stopped run stops the sweep, a failed one does not.

    Args:
        plan: of the sweep.
        jobs: processes; each keeps its compiled programs from run to run.
        report: called with each run and its outcome.

    """
    waiting = plan.unfinished()
    while waiting:
        waiting = _until_one_is_killed(plan, waiting, jobs, report)


def _until_one_is_killed(plan: Plan, runs: Sequence[int], jobs: int, report: Report) -> list[int]:
    """Do runs; returns what is left to do where a process was killed, which takes the others with it."""
    waiting, is_broken = iter(runs), False
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        going = {pool.submit(run_one, plan.path, run): run for run in _take(waiting, jobs)}
        while going:
            ended, _ = wait(going, return_when=FIRST_COMPLETED)
            for future in ended:
                run = going.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    is_broken, outcome = True, _LOST
                    plan.note(run, outcome)
                report(run, outcome)
                if outcome.state == STOPPED:
                    waiting = iter(())
                if not is_broken:
                    going |= {pool.submit(run_one, plan.path, new): new for new in _take(waiting, 1)}
    return list(waiting)


def _take(runs: Iterator[int], number: int) -> list[int]:
    return [run for _, run in zip(range(number), runs, strict=False)]
