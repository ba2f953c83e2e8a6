"""The runs of a sweep as jobs of submitit, which hands them to SLURM or to processes of this machine."""

import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

from exodiff.core.errors import ConfigError
from exodiff.sweep.execute import run_one, stopped_by
from exodiff.sweep.plan import Plan

_PREEMPTED = signal.SIGUSR1  # which submitit then asks its cluster for; it queues a job again that ends by it
_OFTEN = 1000  # as often as that a job may be queued again because its time was over


class Task:
    """One run, as submitit wants it: with what to do when it goes on."""

    def __call__(self, path: Path, run: int) -> str:
        """Begin or continue the run; returns how far it came."""
        outcome = run_one(path, run)
        if outcome == stopped_by(_PREEMPTED.name, outcome.wall_s):
            signal.raise_signal(_PREEMPTED)  # the run has kept it to itself for its checkpoint; now it is submitit's
        return outcome.state

    def checkpoint(self, path: Path, run: int) -> Any:
        """What is queued after a pre-emption."""
        return import_module("submitit.helpers").DelayedSubmission(self, path, run)


def submit(plan: Plan, parameters: str) -> list[str]:
    """Submit a job for each run that is not done. Nothing waits for them: each keeps its outcome beside the plan.

    Args:
        plan: of the sweep.
        parameters: of submitit's ``AutoExecutor``, e.g. ``timeout_min=240 slurm_partition=gpu``, and ``cluster=local``.

    Returns:
        The numbers of the jobs.

    Raises:
        ConfigError: submitit is missing, or refuses the parameters.

    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _PREEMPTED.name.removeprefix("SIG")
    try:
        submitit = import_module("submitit")
    except ImportError:
        needed = "needs the package submitit; install it with: pip install 'exodiff[cluster]'"
        raise ConfigError("--submitit", needed) from None
    pairs = [word.partition("=") for word in parameters.split()]
    given: dict[str, Any] = {key: int(value) if value.isdigit() else value for key, _, value in pairs}
    try:
        cluster = given.pop("cluster", None)
        executor = submitit.AutoExecutor(plan.path / "jobs", cluster=cluster, slurm_max_num_timeout=_OFTEN)
        executor.update_parameters(name=plan.path.name, **given)
    except (ValueError, NameError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"--submitit {parameters!r}", f"{error}; write KEY=VALUE of submitit's AutoExecutor"
        ) from None
    with executor.batch():
        jobs = [executor.submit(Task(), plan.path, run) for run in plan.unfinished()]
    return [job.job_id for job in jobs]
