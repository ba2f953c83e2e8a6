"""Do 90 % intervals hold the truth in 90 % of the cases? Two rates of receptor uptake from counts of few molecules.

python -m bench.coverage [--replicates 400] [--tissues 100] [--calibrate 200]

Data are simulated at known rates and fitted by the closure alone with its Poisson likelihood (the first thing to try),
with the sandwich and correction from simulations, and by the synthetic likelihood. A tissue is watched three times, so
its counts depend on each other. One row a method; the binomial standard error of a coverage of 0.9 over 400 is 0.015.
"""

import argparse
import time

import numpy as np

import exodiff as ex
from bench.rows import print_row
from exodiff.inference.data import Data
from exodiff.inference.fit import Fitter, make_settings

PARAMETERS = ("k_on", "k_internalise")
TRUTH = np.array([0.1, 0.25])
TIMES_S = (1.0, 2.5, 6.0)
METHODS = {
    "closure, Poisson": {"uncertainty": "fisher"},
    "closure, corrected": {"uncertainty": "sandwich"},
    "synthetic": {"uncertainty": "sandwich", "method": "synthetic"},
}


def make_model() -> ex.Model:
    """Twenty vesicles and five receptors in 5 um^3 of fluid, which fill within seconds."""
    return ex.Model.from_dict(
        {
            "schema": 1,
            "run": {"duration": "6 s", "time_step": "0.25 s"},
            "lattice": {"shape": [1], "spacing": 5.0 ** (1 / 3)},
            "parameters": {"k_on": "0.1 um^3/s", "k_internalise": "0.25 /s"},
            "species": {
                "EV": {"initial": 20},
                "receptor": {"initial": 5},
                "bound": {},
                "inside": {},
            },
            "reactions": [
                {"equation": "EV + receptor -> bound", "rate": "k_on"},
                {"equation": "bound -> receptor + inside", "rate": "k_internalise"},
            ],
            "observables": {"on_cells": {"value": "total(bound)"}, "taken": {"value": "total(inside)"}},
        }
    )  # fmt: skip


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--tissues", type=int, default=100)
    parser.add_argument("--calibrate", type=int, default=200)
    given = parser.parse_args()
    tissues = np.repeat(np.arange(given.tissues), len(TIMES_S))
    design = Data(
        ("on_cells", "taken"), np.tile(TIMES_S, given.tissues), np.ones((len(tissues), 2)), replicates=tissues
    )
    settings = {
        name: make_settings(PARAMETERS, **how, calibrate=given.calibrate if how["uncertainty"] == "sandwich" else 0)
        for name, how in METHODS.items()
    }
    fitter = Fitter(make_model(), [design], next(iter(settings.values())))
    truth = np.array([p.to_coordinate(float(v)) for p, v in zip(fitter.priors, TRUTH, strict=True)])
    found: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for number in range(given.replicates):
        data = fitter.simulate_data(TRUTH, seed=number)
        for name in METHODS:
            fitter.settings, began = settings[name], time.perf_counter()
            fit = fitter.fit(data, seed=10_000 + number)
            seconds[name] += time.perf_counter() - began
            found[name].append(np.stack((fit.u - truth, np.sqrt(np.diag(fit.covariance)))))
    for name, rows in found.items():
        off, error = np.stack(rows).transpose(1, 0, 2)
        covered = (np.abs(off) < 1.6449 * error).mean(axis=0)
        print_row(
            f"coverage of 90 %, {name}",
            replicates=given.replicates,
            tissues=given.tissues,
            calibrate=settings[name].num_simulations,
            coverage=dict(zip(PARAMETERS, covered.round(4).tolist(), strict=True)),
            bias_percent=dict(zip(PARAMETERS, (100 * off.mean(axis=0)).round(2).tolist(), strict=True)),
            spread_percent=dict(zip(PARAMETERS, (100 * off.std(axis=0)).round(2).tolist(), strict=True)),
            error_percent=dict(zip(PARAMETERS, (100 * error.mean(axis=0)).round(2).tolist(), strict=True)),
            seconds_a_fit=round(seconds[name] / given.replicates, 4),
        )


if __name__ == "__main__":
    main()
