"""How long does a fit of three parameters on a lattice of 32^3 take, from the model's tables to the intervals?

python -m bench.large_fit [--side 32] [--simulations 100] >> bench/results/large_fit.jsonl

A source in the middle, vesicles that spread, bind and go in; what is bound, and what was taken up in three shells, at
six times in three tissues, simulated at known values. The search begins at half or twice these. Wall and CPU seconds
with all compilation, without the simulation of the data; how far the estimates are off, in their standard errors.
"""

import argparse
import time

import numpy as np

import exodiff as ex
from bench.coverage import LINE
from bench.rows import print_row
from exodiff.inference.data import Data
from exodiff.inference.fit import Fitter, make_settings

TRUTH = {"D": 1.3, "k_on": 0.4, "k_internalise": 1e-3}
START = {"D": "0.65 um^2/s", "k_on": "0.8 um^3/s", "k_internalise": "2e-3 /s"}
TIMES_S = tuple(600.0 * k for k in range(1, 7))
TISSUES = 3


def make_model(side: int) -> ex.Model:
    """A sphere of cells that release, in tissue that takes up."""
    shells = {
        "inner": {"of": "tumour", "within": "50 um"},
        "middle": {"of": "tumour", "beyond": "50 um", "within": "80 um"},
        "outer": {"of": "tumour", "beyond": "80 um", "within": "120 um"},
    }
    return ex.Model.from_dict(
        {
            **LINE,
            "schema": 1,
            "lattice": {"shape": [side] * 3, "spacing": "20 um", "fluid_fraction": 0.2},
            "parameters": {**START, "k_release": "10 /min"},
            "place": [
                {"cells": "tumour", "sphere": {"radius": "60 um"}},
                {"cells": "fibroblast", "everywhere": True},
            ],
            "regions": shells,
            "observables": {
                "on_cells": {"value": "total(bound)"},
                **{f"in_{name}": {"value": f"total(inside, {name})"} for name in shells},
            },
        }
    )


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--simulations", type=int, default=100)
    given = parser.parse_args()
    settings = make_settings(tuple(TRUTH), calibrate=given.simulations)
    model = make_model(given.side)
    observables = tuple(model.config.observables)
    labels = np.repeat(np.arange(TISSUES), len(TIMES_S))
    blank = Data(observables, np.tile(TIMES_S, TISSUES), np.ones((len(labels), len(observables))), replicates=labels)
    (measured,) = Fitter(model, [blank], settings).simulate_data(np.array(list(TRUTH.values())), seed=1)
    data = Data(observables, blank.times, measured.values, replicates=labels)

    wall, cpu = time.perf_counter(), time.process_time()
    fit = ex.fit(make_model(given.side), data, tuple(TRUTH), calibrate=given.simulations)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print_row(
        f"fit of 3 parameters on {given.side}^3",
        wall_seconds=round(wall, 1),
        cpu_seconds=round(cpu, 1),
        simulations=given.simulations,
        steps=fit.steps,
        estimate={name: float(f"{value:.4g}") for name, value in fit.estimate.items()},
        off_in_standard_errors={
            name: round(float(np.log(value / TRUTH[name]) / fit.standard_error[name]), 2)
            for name, value in fit.estimate.items()
        },
    )


if __name__ == "__main__":
    main()
