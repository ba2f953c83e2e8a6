"""Start-up: what the commands take before and until there is a first result, with nothing compiled yet and again.

python -m bench.startup [--names quickstart primary_tumour] [--times 3] > bench/results/startup.jsonl

A run is one pair of steps, from the command to its figures; the second has the compiled programs of the first. The rows
are medians, by the clock and in seconds of a core.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.rows import print_row

FIRST_STEPS = {
    "quickstart": "100 s",
    "primary_tumour": "90 s",
    "premetastatic_niche": "2 min",
    "liquid_biopsy": "2 min",
    "therapy": "2 min",
}


def seconds(command: list[str], cache: Path) -> tuple[float, float]:
    """Seconds of a process that succeeds: by the clock, and of all cores."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONWARNINGS": "ignore"}
    subprocess.run(
        [str(Path(sys.executable).with_name("exodiff")), *command],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(name: str, found: list[tuple[float, float]]) -> None:
    """Print the medians."""
    wall, core = np.median(found, axis=0)
    print_row(name, wall_s=round(float(wall), 2), core_s=round(float(core), 2), times=len(found))


def measure(name: str, times: int) -> None:
    """A row for the first run and one for the second."""
    duration = FIRST_STEPS[name]
    whole = [x for key in ("duration", "observe_every", "snapshot_every") for x in ("--set", f"run.{key}={duration}")]
    first, again = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            for n, found in enumerate((first, again)):
                command = ["run", f"configs/{name}.toml", "--out", f"{folder}/{n}", *whole]
                found.append(seconds(command, Path(folder, "cache")))
    row(f"{name}, nothing compiled", first)
    row(f"{name}, compiled before", again)


def main() -> None:
    """Print all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", choices=FIRST_STEPS, default=["quickstart", "primary_tumour"])
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for command in (["--help"], ["check", "configs/quickstart.toml"]):
            row(f"exodiff {' '.join(command)}", [seconds(command, Path(folder)) for _ in range(given.times)])
    for name in given.names:
        measure(name, given.times)


if __name__ == "__main__":
    main()
