"""What gathering the state costs, for checkpoints and snapshots of 2 processes of 2 devices on one machine.

python -m bench.gather [--size 128] [--species 10]
"""

import argparse
import math
import resource
import time

import jax
import numpy as np

from bench.device_hashes import start_tasks
from bench.rows import print_row
from bench.soak import resident_mib
from exodiff.devices import Division, mesh_of, on, placed
from exodiff.processes import is_first, join, on_host


def peak_mib() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def gather(size: int, species: int) -> None:
    """One of the processes: the time, and by how much the memory rises. The first one prints a row."""
    join()
    shape = (1, species, size, size, size)
    mesh = mesh_of(Division(pieces=(2, 2)))
    with on(mesh):
        counts = placed(mesh, np.arange(math.prod(shape), dtype=np.int32).reshape(shape), shape[-3:])
    jax.block_until_ready(counts)
    before = resident_mib()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        on_host(counts)
        seconds.append(round(time.perf_counter() - began, 3))
    if is_first():
        mib = counts.nbytes / 2**20
        rise = round(peak_mib() - before)
        values = {"shape": shape, "state_mib": mib, "memory_rise_mib": rise, "seconds": min(seconds)}
        print_row("gather, 2 processes of 2 devices", **values)


def main() -> None:
    """Start the processes and print what the first one says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--species", type=int, default=10)
    parser.add_argument("--task", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        gather(given.size, given.species)
        return
    size, species = str(given.size), str(given.species)
    tasks = start_tasks(2, 2, "bench.gather", "--task", "--size", size, "--species", species)
    told = [task.communicate() for task in tasks]
    assert not any(task.returncode for task in tasks), told
    print(told[0][0], end="")


if __name__ == "__main__":
    main()
