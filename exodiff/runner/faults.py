"""What a run meets outside itself, as one clear error: disks that are full or read-only, memory that is too small."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from exodiff.build import ConfiguredModel
from exodiff.core.errors import RunDirectoryError, SimulationError

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
    size = model.start.size // grid.num_voxels * run.replicates * (8 if run.precision == "float64" else 4)
    return (
        f"there is not enough memory for {grid.num_voxels} voxels of {size} bytes in all replicates, of which a run "
        f"needs some {_NEEDED} times as much; about {memory_bytes() // (_NEEDED * size)} voxels fit into "
        f"{memory_bytes() / 2**30:.3g} GiB: lower lattice.shape or run.replicates and run it anew, or resume it on a "
        "larger machine"
    )


def memory_bytes() -> int:
    """Memory of the first device, or of this machine where the device does not tell."""
    told = jax.devices()[0].memory_stats() or {}
    return int(told.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
