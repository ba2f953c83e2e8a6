"""How long does a fit of three parameters on a lattice of 32^3 take, and how far is it off?

python -m bench.large_fit [--side 32] [--simulations 100] [--fits 1] >> bench/results/large_fit.jsonl

A source in the middle, vesicles that spread, bind and go in; what is bound, and what was taken up in three shells, at
six times in three tissues, simulated at known values. The search begins at half or twice these. Wall and CPU seconds
from the model's tables to the intervals, with all compilation, without the simulation of the data; how far the
estimates are off, in their standard errors z, and together, z' C^-1 z with their correlations C (chi square of as many
degrees of freedom as parameters). With more ``--fits`` of other data: mean and spread of z, and the mean of that.
"""

import argparse
import time

import numpy as np
from scipy.stats import chi2

import exodiff as ex
from bench.coverage import LINE
from bench.rows import print_row
from exodiff.inference.data import Data, Measured
from exodiff.inference.fit import Fitter, make_settings
from exodiff.inference.result import Fit

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


def make_data(fitter: Fitter, seed: int) -> list[Measured]:
    """Three tissues at the truth."""
    return fitter.simulate_data(np.array(list(TRUTH.values())), seed)


def off(fit: Fit) -> tuple[np.ndarray, float]:
    """How far an estimate is off: by parameter in standard errors, and all together in chi square."""
    goal = [prior.to_coordinate(TRUTH[name]) for prior, name in zip(fit.priors, fit.parameters, strict=True)]
    away = fit.u - np.array(goal)
    return away / np.sqrt(np.diag(fit.covariance)), float(away @ np.linalg.solve(fit.covariance, away))


def by_parameter(values: np.ndarray) -> dict[str, float]:
    """For a row."""
    return dict(zip(TRUTH, values.round(2).tolist(), strict=True))


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--fits", type=int, default=1)
    given = parser.parse_args()
    settings = make_settings(tuple(TRUTH), calibrate=given.simulations)
    model = make_model(given.side)
    observables = tuple(model.config.observables)
    labels = np.repeat(np.arange(TISSUES), len(TIMES_S))
    blank = Data(observables, np.tile(TIMES_S, TISSUES), np.ones((len(labels), len(observables))), replicates=labels)
    fitter = Fitter(model, [blank], settings)
    if given.fits > 1:
        found = [off(fitter.fit(make_data(fitter, seed), seed=10_000 + seed)) for seed in range(1, given.fits + 1)]
        z, together = np.array([z for z, _ in found]), np.array([chi for _, chi in found])
        print_row(
            f"{given.fits} fits of 3 parameters on {given.side}^3",
            simulations=given.simulations,
            mean_z=by_parameter(z.mean(axis=0)),
            spread_of_z=by_parameter(z.std(axis=0, ddof=1)),
            correlations_of_z=np.corrcoef(z.T)[np.triu_indices(3, 1)].round(2).tolist(),
            mean_chi_square=round(float(together.mean()), 2),
            above_90_percent=round(float((together > chi2.ppf(0.9, 3)).mean()), 3),
        )
        return
    (measured,) = make_data(fitter, seed=1)
    data = Data(observables, blank.times, measured.values, replicates=labels)

    wall, cpu = time.perf_counter(), time.process_time()
    fit = ex.fit(make_model(given.side), data, tuple(TRUTH), calibrate=given.simulations)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    z, together = off(fit)
    print_row(
        f"fit of 3 parameters on {given.side}^3",
        wall_seconds=round(wall, 1),
        cpu_seconds=round(cpu, 1),
        simulations=given.simulations,
        steps=fit.steps,
        estimate={name: float(f"{value:.4g}") for name, value in fit.estimate.items()},
        off_in_standard_errors=by_parameter(z),
        chi_square=round(together, 2),
    )


if __name__ == "__main__":
    main()
