"""Start-up: what the commands take before and until there is a first result, with nothing compiled yet and again.

python -m bench.startup [--names quickstart primary_tumour] [--times 3] > bench/results/startup.jsonl

A run is one pair of steps: by the clock from the command to the end of its steps and to its figures, and seconds of all
cores. The second has the compiled programs of the first. The rows are medians.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.rows import print_row

FIRST_STEPS = {
    "quickstart": "100 s",
    "primary_tumour": "90 s",
    "premetastatic_niche": "2 min",
    "liquid_biopsy": "2 min",
    "therapy": "2 min",
}


class Spent(NamedTuple):
    """Seconds of a process: until its first steps are done (0 if it takes none), in all, and of all cores."""

    first_steps: float
    wall: float
    core: float


def spent(command: list[str], cache: Path) -> Spent:
    """What a command takes that succeeds."""
    before, began, first_steps = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("exodiff")), *command],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "running" in line and not first_steps:
            first_steps = time.perf_counter() - began
    assert process.wait() == 0, command
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(first_steps, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def row(name: str, found: list[Spent]) -> None:
    """Print the medians."""
    median = Spent(*np.round(np.median(found, axis=0), 2).tolist())
    until = {"first_steps_s": median.first_steps} if median.first_steps else {}
    print_row(name, **until, wall_s=median.wall, core_s=median.core, times=len(found))


def measure(name: str, times: int) -> None:
    """A row for the first run and one for the second."""
    duration = FIRST_STEPS[name]
    whole = [x for key in ("duration", "observe_every", "snapshot_every") for x in ("--set", f"run.{key}={duration}")]
    first, again = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            for n, found in enumerate((first, again)):
                command = ["run", f"configs/{name}.toml", "--out", f"{folder}/{n}", *whole]
                found.append(spent(command, Path(folder, "cache")))
    row(f"{name}, nothing compiled", first)
    row(f"{name}, compiled before", again)


def main() -> None:
    """Print all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", choices=FIRST_STEPS, default=list(FIRST_STEPS))
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for command in (["--help"], ["check", "configs/quickstart.toml"]):
            row(f"exodiff {' '.join(command)}", [spent(command, Path(folder)) for _ in range(given.times)])
    for name in given.names:
        measure(name, given.times)


if __name__ == "__main__":
    main()
