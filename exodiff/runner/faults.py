"""What a run meets outside itself, as one clear error: disks that are full or read-only, memory that is too small."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from exodiff.build import ConfiguredModel
from exodiff.core.errors import RunDirectoryError, SimulationError
from exodiff.devices import divide

_NEEDED = 20
"""Memory that a run takes as a multiple of its state: 18 with ten species at 128^3 in ``leap`` (bench/memory.py)."""


@contextmanager
def told_clearly(run_dir: Path, model: ConfiguredModel) -> Iterator[None]:
    """Turn errors of files and of memory that nothing below has explained into errors of exodiff.

    Raises:
        RunDirectoryError: a file could not be read or written.
        SimulationError: there is not enough memory; says what would fit.

    """
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            str(error.filename or run_dir),
            f"could not be read or written ({error.strerror or error}); make room or fix the permissions, then "
            f"`exodiff run CONFIG --resume auto --out {run_dir}`",
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise SimulationError(str(run_dir), _too_little(model)) from error


def _too_little(model: ConfiguredModel) -> str:
    run, grid = model.config.run, model.problem.grid
    devices = divide(model.problem, run.replicates, jax.device_count(), jax.process_count()).num_devices
    memory = memory_bytes(devices)
    size = model.start.size // grid.num_voxels * run.replicates * (8 if run.precision == "float64" else 4)
    of_what = "1 device" if devices == 1 else f"{devices} devices"
    return (
        f"there is not enough memory for {grid.num_voxels} voxels of {size} bytes in all replicates, of which a run "
        f"needs some {_NEEDED} times as much; about {memory // (_NEEDED * size)} voxels fit into "
        f"{memory / 2**30:.3g} GiB of {of_what}: lower lattice.shape or run.replicates and run it anew, or resume it "
        "on a larger machine"
    )


def memory_bytes(devices: int) -> int:
    """Memory of so many devices, which are all alike, or of this machine, where they tell of none of their own."""
    told = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in told:
        return devices * int(told["bytes_limit"])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
