"""Several processes that compute one run together, e.g. the tasks of ``srun``: joining them, and what they agree on.

Each calls the same functions in the same order. The first one decides, and writes all but the pieces of the others.
"""

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from exodiff.core.errors import ConfigError, RunDirectoryError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
_LOST_S = 30  # without a sign of life from a process; JAX then ends the others


def join(environment: Mapping[str, str] = os.environ) -> None:
    """Join the other tasks of a step of SLURM, if there are any. Before any computation; see `jax.distributed`.

    Raises:
        ConfigError: SLURM's variables are not all there, or the others cannot be reached.

    """
    if num_tasks(environment) == 1:
        return
    missing = [name for name in _SLURM if name not in environment]
    if missing:
        raise ConfigError("SLURM", f"{', '.join(missing)} is not set; start the processes with srun")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(cluster_detection_method="slurm", heartbeat_timeout_seconds=_LOST_S)
    except (RuntimeError, ValueError) as error:
        advice = "start all tasks with one srun, and set JAX_COORDINATOR_PORT if another job took the port"
        raise ConfigError("SLURM", f"the processes do not find each other ({error}); {advice}") from error


def num_tasks(environment: Mapping[str, str] = os.environ) -> int:
    """Tasks of the step of SLURM that this process is one of; 1 also in the job's script, which is in no step."""
    if "SLURM_PROCID" not in environment:
        return 1
    return int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")))


def is_first() -> bool:
    """Whether this process is the one that decides and writes."""
    return jax.process_index() == 0


def on_host(tree: Any) -> Any:
    """Copies of arrays in the memory of each process, whole, however they are split over devices."""
    return jax.tree.map(_whole, tree)


def _whole(array: Any) -> np.ndarray:
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.array(array)
    if array.ndim <= 3:
        return np.array(multihost_utils.process_allgather(array, tiled=True))
    found = np.empty(array.shape, array.dtype)
    for index in range(len(array)):  # one field at a time, since each device gets the whole of what is gathered
        found[index] = _whole(array[index])
    return found


def of_first(*numbers: int) -> tuple[int, ...]:
    """The numbers that the first process gives here."""
    return tuple(int(number) for number in _gathered(numbers)[0])


def anywhere(holds: bool) -> bool:
    """Whether something holds in any of the processes."""
    return bool(np.any(_gathered((int(holds),))))


def _gathered(numbers: tuple[int, ...]) -> np.ndarray:
    """The numbers of all processes, a row each."""
    if jax.process_count() == 1:
        return np.asarray([numbers])
    return np.asarray(multihost_utils.process_allgather(np.asarray(numbers, np.int32))).reshape(-1, len(numbers))


@contextmanager
def together(what: str) -> Iterator[None]:
    """Where only the first process does something: the others stop with it if it fails.

    Raises:
        RunDirectoryError: in the others, when the first one failed.

    """
    try:
        yield
    except BaseException:
        anywhere(holds=True)
        raise
    if anywhere(holds=False):
        raise RunDirectoryError(what, "could not be used by the first process, which tells why")


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Where this process fails, it ends without the others: at its end JAX would wait for them, and they wait for it.

    They end as soon as they miss it.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() > 1:
            code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
            atexit.register(os._exit, code)  # called before what JAX has registered
        raise
