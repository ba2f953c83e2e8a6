"""What a step costs when the work doubles: voxels, species, channels, molecules a voxel, cells, replicates.

python -m bench.scaling [--of voxels ...] [--rounds 3]

From one base model (32^3 voxels of 10 um; four species that diffuse, with four molecules of each a voxel; four
conversions; a tenth of the voxels holds cells that move) one quantity at a time grows. Processor time of a step of
`leap`, the median over the rounds: a long call less a short one of the same compiled program, so that neither
compiling nor the start counts.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax

import exodiff as ex
from bench.bandwidth import print_bandwidth
from bench.rows import print_row

BASE: dict[str, Any] = {
    "shape": (32, 32, 32),
    "species": 4,
    "channels": 4,
    "molecules": 4,
    "cells": 0.1,
    "replicates": 1,
}
GROWING: dict[str, tuple[Any, ...]] = {
    "shape": ((32, 32, 32), (64, 32, 32), (64, 64, 32), (64, 64, 64), (128, 64, 64)),
    "species": (2, 4, 8, 16),
    "channels": (4, 8, 16, 32, 64),
    "molecules": (1, 4, 16, 64, 256),
    "cells": (0.0, 0.05, 0.1, 0.2, 0.4),
    "replicates": (1, 2, 4, 8),
}
STEP_S = 10.0
SHORT, LONG = 2, 22  # steps


def make_model(given: dict[str, Any]) -> ex.Model:
    """The base model, or one with more of something."""
    names = [f"S{i}" for i in range(given["species"])]
    number = len(names)
    steps = [1 + i // number % (number - 1) for i in range(given["channels"])]  # never round to the same species
    pairs = [(names[i % number], names[(i + step) % number]) for i, step in enumerate(steps)]
    tables: dict[str, Any] = {
        "schema": 1,
        "run": {"duration": "1 day", "time_step": f"{STEP_S} s"},
        "lattice": {"shape": list(given["shape"]), "spacing": "10 um"},
        "species": {n: {"diffusion": "1 um^2/s", "initial": {"poisson": given["molecules"]}} for n in names},
        "reactions": [{"equation": f"{a} -> {b}", "rate": "1 /h"} for a, b in pairs],
    }
    if given["cells"]:
        tables["cells"] = {"cell": {"motility": "0.01 um^2/s"}}
        tables["place"] = [{"cells": "cell", "everywhere": True, "fill": given["cells"]}]
    return ex.Model.from_dict(tables)


def cost(given: dict[str, Any]) -> Callable[[int], float]:
    """From a seed to processor seconds a step, over all replicates."""
    model = make_model(given)

    def seconds(steps: int, seed: int) -> float:
        times = [STEP_S * SHORT, STEP_S * steps]
        began = time.process_time()
        jax.block_until_ready(ex.simulate(model, times, seed=seed, replicates=given["replicates"]).counts)
        return time.process_time() - began

    few, many = 2 * SHORT, SHORT + LONG
    seconds(few, 0), seconds(many, 0)
    return lambda seed: (seconds(many, seed) - seconds(few, seed)) / (many - few)


def main() -> None:
    """Print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", nargs="+", choices=GROWING, default=list(GROWING))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_bandwidth("triad")
    for name in options.of:
        first: float | None = None
        for value in GROWING[name]:
            measure = cost({**BASE, name: value})
            found = 1e3 * median(measure(seed) for seed in range(1, options.rounds + 1))
            first = found if first is None else first
            print_row(
                "scaling", of=name, value=value, cpu_ms_per_step=round(found, 3), times_first=round(found / first, 2)
            )


if __name__ == "__main__":
    main()
