"""What checkpoints of 2 processes of 2 devices cost on one machine: a piece of each, or all of it gathered in both.

python -m bench.gather [--size 128] [--species 10]
"""

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from bench.device_hashes import start_tasks
from bench.rows import print_row
from bench.soak import resident_mib
from exodiff.devices import Division, mesh_of, on, placed
from exodiff.processes import is_first, join, on_host
from exodiff.runner.pieces import blocks_of, write_together


def peak_mib() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def save(size: int, species: int, folder: Path) -> None:
    """One of the processes: the time, and by how much the memory rises. The first one prints the rows."""
    join()
    shape = (1, species, size, size, size)
    mesh = mesh_of(Division(pieces=(2, 2)))
    with on(mesh):
        counts = placed(mesh, np.arange(math.prod(shape), dtype=np.int32).reshape(shape), shape[-3:])
    jax.block_until_ready(counts)
    with on(mesh):
        for name, way in {
            "pieces": lambda: write_together(folder, "ckpt-1", blocks_of("counts", counts)),
            "gather": lambda: on_host(counts),
        }.items():
            before = resident_mib()
            seconds = []
            for _ in range(3):
                began = time.perf_counter()
                way()
                seconds.append(round(time.perf_counter() - began, 3))
            if is_first():
                rise = round(peak_mib() - before)
                values = {"shape": shape, "state_mib": counts.nbytes / 2**20, "memory_rise_mib": rise}
                print_row(f"{name}, 2 processes of 2 devices", **values, seconds=min(seconds))


def main() -> None:
    """Start the processes and print what the first one says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--species", type=int, default=10)
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        save(given.size, given.species, given.task)
        return
    size, species = str(given.size), str(given.species)
    with tempfile.TemporaryDirectory() as folder:
        tasks = start_tasks(2, 2, "bench.gather", "--task", folder, "--size", size, "--species", species)
        told = [task.communicate() for task in tasks]
    assert not any(task.returncode for task in tasks), told
    print(told[0][0], end="")


if __name__ == "__main__":
    main()
