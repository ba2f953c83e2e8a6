"""Do 90 % intervals hold the truth in 90 % of the cases? Fits of simulated data, in a voxel and on a lattice.

python -m bench.coverage [--only CASE] [--method METHOD] [--replicates 400] >> bench/results/coverage.jsonl
python -m bench.coverage --ranks CASE [--fits 200] >> bench/results/coverage.jsonl
python -m bench.coverage --table writes the tables of docs/fitting.md.

Data are simulated at known values and fitted by the closure alone with its Poisson likelihood, every count independent
(the first thing to try), and with the correction and sandwich from simulations; in one voxel also by the synthetic
likelihood, and on request by draws from its posterior. A tissue is watched several times, so its counts depend on each
other. One row a case, size and method; the binomial standard error of a coverage of 0.9 over 400 is 0.015. ``--ranks``
draws the truths from priors instead and tests whether they lie uniformly in their posteriors (simulation-based
calibration), at the larger size.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import exodiff as ex
from bench.rows import print_row, put_between
from exodiff.config.fit import Fit as Settings
from exodiff.inference.data import Data
from exodiff.inference.fit import Fitter, make_settings
from exodiff.inference.sbc import calibration_of

RESULTS = Path("bench/results/coverage.jsonl")
PAGE = Path("docs/fitting.md")
NAIVE = "closure, Poisson"
METHODS: dict[str, dict[str, Any]] = {
    NAIVE: {"uncertainty": "fisher"},
    "closure, corrected": {"uncertainty": "sandwich"},
    "synthetic": {"uncertainty": "sandwich", "method": "synthetic"},
    "synthetic, NUTS": {"uncertainty": "nuts", "method": "synthetic"},
}
PRIOR_SIGMA = 0.5  # of log x, of the truths of ``--ranks``


@dataclass(frozen=True)
class Case:
    """A model and how it is measured.

    Attributes:
        tables: of the model file, without parameters.
        parameters: all of its parameters.
        fitted: the truth of those that are fitted, internal units.
        times_s: at which each tissue is looked at.
        observables: that are counted then.
        sizes: numbers of tissues.
        calibrate: simulations at the estimate.
        methods: of `METHODS`, unless told otherwise.

    """

    tables: dict[str, Any]
    parameters: dict[str, str]
    fitted: dict[str, float]
    times_s: tuple[float, ...]
    observables: tuple[str, ...]
    sizes: tuple[int, ...]
    calibrate: int
    methods: tuple[str, ...]

    def model(self, sigma: float | None = None) -> ex.Model:
        """The model, with log-normal priors about the truth if a sigma is given."""
        given: dict[str, Any] = dict(self.parameters)
        if sigma is not None:
            for name in self.fitted:
                prior = {"lognormal": {"median": given[name], "sigma": sigma}}
                given[name] = {"value": given[name], "prior": prior}
        return ex.Model.from_dict({"schema": 1, "parameters": given, **self.tables})

    def design(self, tissues: int) -> Data:
        """Counts of all tissues at all times, without their values."""
        labels = np.repeat(np.arange(tissues), len(self.times_s))
        times_s = np.tile(self.times_s, tissues)
        return Data(self.observables, times_s, np.ones((len(labels), len(self.observables))), replicates=labels)


WELL = {
    "run": {"duration": "6 s", "time_step": "0.25 s"},
    "lattice": {"shape": [1], "spacing": 5.0 ** (1 / 3)},
    "species": {"EV": {"initial": 20}, "receptor": {"initial": 5}, "bound": {}, "inside": {}},
    "reactions": [
        {"equation": "EV + receptor -> bound", "rate": "k_on"},
        {"equation": "bound -> receptor + inside", "rate": "k_internalise"},
    ],
    "observables": {"on_cells": {"value": "total(bound)"}, "taken": {"value": "total(inside)"}},
}
"""Twenty vesicles and five receptors in 5 um^3 of fluid, which fill within seconds."""

ZONES = {"zone_1": (20, 40), "zone_2": (40, 80), "zone_3": (80, 160)}  # um from the end with the source
LINE = {
    "run": {"duration": "1 h"},
    "lattice": {"shape": [8], "spacing": "20 um", "fluid_fraction": 0.2},
    "cells": {"tumour": {}, "fibroblast": {}},
    "species": {
        "EV": {"diffusion": "D"},
        "receptor": {"in": "cell", "initial": {"fibroblast": 5}},
        "bound": {"in": "cell"},
        "inside": {"in": "cell"},
    },
    "place": [
        {"cells": "tumour", "layer": {"axis": "x", "from": "0 um", "to": "20 um"}},
        {"cells": "fibroblast", "everywhere": True},
    ],
    "reactions": [
        {"equation": "tumour -> tumour + EV", "rate": "k_release"},
        {"equation": "EV + receptor -> bound", "rate": "k_on"},
        {"equation": "bound -> receptor + inside", "rate": "k_internalise"},
    ],
    "regions": {
        name: {"layer": {"axis": "x", "from": f"{low} um", "to": f"{high} um"}} for name, (low, high) in ZONES.items()
    },
    "observables": {
        "on_cells": {"value": "total(bound)"},
        **{f"in_{name}": {"value": f"total(inside, {name})"} for name in ZONES},
    },
}
"""Eight voxels with a source at one end and five receptors a cell, which saturate next to it."""

LINE_PARAMETERS = {"D": "1.3 um^2/s", "k_on": "0.4 um^3/s", "k_internalise": "1e-3 /s", "k_release": "2 /min"}
LINE_TRUTH = {"D": 1.3, "k_on": 0.4, "k_internalise": 1e-3}


def _line(*fitted: str) -> Case:
    return Case(
        LINE,
        LINE_PARAMETERS,
        {name: LINE_TRUTH[name] for name in fitted},
        tuple(600.0 * k for k in range(1, 7)),
        tuple(LINE["observables"]),
        (5, 40),
        400,
        (NAIVE, "closure, corrected"),
    )


CASES = {
    "voxel": Case(
        WELL,
        {"k_on": "0.1 um^3/s", "k_internalise": "0.25 /s"},
        {"k_on": 0.1, "k_internalise": 0.25},
        (1.0, 2.5, 6.0),
        ("on_cells", "taken"),
        (20, 100),
        200,
        (NAIVE, "closure, corrected", "synthetic"),
    ),
    "line, 2 parameters": _line("D", "k_on"),
    "line, 3 parameters": _line("D", "k_on", "k_internalise"),
}


def measure(name: str, methods: Sequence[str], replicates: int) -> None:
    """Fit simulated data of each size by each method."""
    case = CASES[name]
    settings = {
        method: make_settings(tuple(case.fitted), **METHODS[method], calibrate=0 if method == NAIVE else case.calibrate)
        for method in methods
    }
    fitter = Fitter(case.model(), [case.design(max(case.sizes))], next(iter(settings.values())))
    everything = fitter.data
    for tissues in case.sizes:
        fitter.data = [one.rows(one.replicates.astype(int) < tissues) for one in everything]
        _measure(case, fitter, settings, f"{name} | {tissues} tissues", replicates)


def _measure(case: Case, fitter: Fitter, settings: dict[str, Settings], name: str, replicates: int) -> None:
    truth = np.array(list(case.fitted.values()))
    goal = np.array([p.to_coordinate(float(v)) for p, v in zip(fitter.priors, truth, strict=True)])
    found: dict[str, list[np.ndarray]] = {method: [] for method in settings}  # off, error, whether it is covered
    seconds = dict.fromkeys(settings, 0.0)
    for number in range(replicates):
        data = fitter.simulate_data(truth, seed=number)
        if number % 20 == 19 and "synthetic, NUTS" in settings:
            jax.clear_caches()  # each sampler is a program of its own: after 90 a process can map no more memory
        for method, setting in settings.items():
            fitter.settings, began = setting, time.process_time()
            fit = fitter.fit(data, seed=10_000 + number)
            seconds[method] += time.process_time() - began
            covered = [low < true < high for (low, high), true in zip(fit.interval(0.9).values(), truth, strict=True)]
            found[method].append(np.stack((fit.u - goal, np.sqrt(np.diag(fit.covariance)), covered)))
    for method, rows in found.items():
        off, error, covered = np.stack(rows).transpose(1, 0, 2)
        percent = {"bias": off.mean(axis=0), "spread": off.std(axis=0), "error": error.mean(axis=0)}
        print_row(
            f"coverage of 90 % | {name} | {method}",
            replicates=replicates,
            calibrate=settings[method].num_simulations,
            coverage=dict(zip(case.fitted, covered.mean(axis=0).round(4).tolist(), strict=True)),
            **{
                f"{what}_percent": dict(zip(case.fitted, (100 * value).round(2).tolist(), strict=True))
                for what, value in percent.items()
            },
            cpu_seconds_a_fit=round(seconds[method] / replicates, 4),
        )


def rank(name: str, fits: int) -> None:
    """Where truths from the prior lie in their posteriors, at the larger size."""
    case = CASES[name]
    settings = make_settings(tuple(case.fitted), uncertainty="sandwich", calibrate=case.calibrate)
    fitter = Fitter(case.model(PRIOR_SIGMA), [case.design(case.sizes[-1])], settings)
    found = calibration_of(fitter, fits, seed=1)
    print_row(
        f"uniform ranks | {name} | {case.sizes[-1]} tissues | closure, corrected",
        fits=fits,
        failures=found.failures,
        prior_sigma=PRIOR_SIGMA,
        calibrate=case.calibrate,
        coverage=found.coverage(0.9),
        p_of_uniform_ranks=found.p_values(),
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Coverage, bias, spread and mean standard error of each fit, then the tests of ranks."""
    lines = [
        "| model | tissues | fit | parameter: coverage, bias, spread, its own error, % | CPU s a fit |",
        "|---|---|---|---|---|",
    ]
    for row in (row for row in rows if row["name"].startswith("coverage")):
        _, name, size, method = row["name"].split(" | ")
        told = "; ".join(
            f"`{p}`: {100 * covered:.1f}, {row['bias_percent'][p]:+.1f}, {row['spread_percent'][p]:.1f}, "
            f"{row['error_percent'][p]:.1f}"
            for p, covered in row["coverage"].items()
        )
        lines.append(f"| {name} | {size.split()[0]} | {method} | {told} | {row['cpu_seconds_a_fit']:.2f} |")
    lines += [
        "",
        "| ranks of truths from the prior | tissues | fits | parameter: coverage, %, p |",
        "|---|---|---|---|",
    ]
    for row in (row for row in rows if row["name"].startswith("uniform")):
        _, name, size, _ = row["name"].split(" | ")
        told = "; ".join(
            f"`{p}`: {100 * covered:.1f}, {row['p_of_uniform_ranks'][p]:.2g}" for p, covered in row["coverage"].items()
        )
        lines.append(f"| {name} | {size.split()[0]} | {row['fits']} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or write the tables of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--method", choices=METHODS, help="this alone; default: those of the case")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--ranks", choices=CASES)
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
        put_between(PAGE, "coverage", table(rows))
    elif given.ranks:
        rank(given.ranks, given.fits)
    else:
        for name in [given.only] if given.only else CASES:
            measure(name, [given.method] if given.method else CASES[name].methods, given.replicates)


if __name__ == "__main__":
    main()
