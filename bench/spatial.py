"""Reactions and diffusion on a cube: simulated seconds per second of a core against the error, beside other simulators.

taskset -c 0 python -m bench.spatial [--case abc:32:10 ...] [--step 0.1 0.25 ...] [--rounds 5]

h = 1 um, D = 1 um^2/s, reflecting walls, m molecules a voxel; docs/performance.md states both problems. Ours runs with
`leap` at each step; in turn with it those of `bench.spatial_peers`, for a time short enough to wait for. CPU time,
median over the rounds, without compiling.

`abc` starts from its stationary law, each voxel Poisson(m) of A, B and C: the errors, in per cent of m, are those of
the mean and of the variance of A, and the covariance of A and B in a voxel, which is 0, from 45 s on, when an error of
the step has grown to what it stays within a tenth (means relax in 17 s). For `uptake`, whose law is not known, they are
those of E in the fluid and of the load I of a cell against the smallest step of the same run. Each stands with its
standard error over the rounds. Of the others the mean of A at their end is told in per cent of m, and for `uptake` that
of E in per cent of ours at that time.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import numpy as np

import exodiff as ex
from bench.bandwidth import print_bandwidth
from bench.rows import print_row
from bench.spatial_peers import FILL, Reached, peers

FIRST_S, BETWEEN_S, RECORDS = 45.0, 4.0, 4
CASES = [(p, n, m) for p in ("abc", "uptake") for n, m in ((32, 10), (64, 10), (32, 100))]
DIFFUSION = {"diffusion": "1 um^2/s"}
STEPS_TETOPSPLIT = {
    ("abc", 32, 10): 1.52,
    ("abc", 64, 10): 0.117,
    ("abc", 32, 100): 0.38,
    ("uptake", 32, 10): 3.6,
}  # simulated seconds per second and core, measured elsewhere on two cores of such a machine

Found = dict[str, float]


def make_model(problem: str, size: int, m: int) -> ex.Model:
    """The problem as a model file."""
    pairs = f"{0.1 / m:.9g} um^3/s"
    if problem == "abc":
        free = {"initial": {"poisson": m}}
        own: dict[str, Any] = {
            "species": {"A": {**free, **DIFFUSION, "decay": "0.1 /s"}, "B": {**free, **DIFFUSION}, "C": free},
            "reactions": [
                {"equation": "A + B -> C", "rate": pairs},
                {"equation": "C -> A + B", "rate": "0.1 /s"},
                {"equation": "-> A", "rate": f"{0.1 * m:.9g} /um^3/s"},
            ],
        }
    else:
        own = {
            "cells": {"cell": {}},
            "place": [{"cells": "cell", "everywhere": True, "fill": FILL}],
            "species": {
                "E": {**DIFFUSION, "initial": m},
                "R": {"in": "cell", "initial": {"cell": 5}},
                "B": {"in": "cell", "initial": {"cell": 5}},
                "I": {"in": "cell", "initial": {"cell": 10}, "decay": "0.05 /s"},
            },
            "reactions": [
                {"equation": "E + R -> B", "rate": pairs},
                {"equation": "B -> I + R", "rate": "0.1 /s"},
                {"equation": "-> E", "rate": "0.15 /um^3/s"},
            ],
        }
    run = {"duration": "1 h", "time_step": "0.05 s"}
    return ex.Model.from_dict({"schema": 1, "run": run, "lattice": {"shape": [size] * 3, "spacing": "1 um"}, **own})


def ours(problem: str, size: int, m: int, step_s: float) -> Callable[[int], tuple[float, Found]]:
    """From a seed to simulated seconds per CPU second, and what was measured at the records."""
    model = make_model(problem, size, m)
    times = [FIRST_S + BETWEEN_S * i for i in range(RECORDS)]

    def call(seed: int) -> tuple[float, Found]:
        began = time.process_time()
        found = jax.block_until_ready(ex.simulate(model, times, seed=seed, time_step=step_s))
        rate = times[-1] / (time.process_time() - began)
        fields = {
            name: np.asarray(found[name], float)[0].reshape(RECORDS, -1) for name in model.problem.network.species
        }
        return rate, measured(problem, fields)

    call(0)
    return call


def measured(problem: str, fields: dict[str, np.ndarray]) -> Found:
    """Statistics over voxels and records; fields are (records, voxels)."""
    if problem == "abc":
        a, b = fields["A"], fields["B"]
        each = {"mean": a.mean(1), "variance": a.var(1), "covariance": (a * b).mean(1) - a.mean(1) * b.mean(1)}
    else:
        each = {"E": fields["E"].mean(1), "I": fields["I"].sum(1) / fields["cell"].sum(1)}
    return {name: float(values.mean()) for name, values in each.items()}


def errors(problem: str, m: int, found: Found, fine: Found) -> Found:
    """In per cent: of m for `abc`, of the finest step's value for `uptake`."""
    if problem == "abc":
        exact = {"mean": m, "variance": m, "covariance": 0.0}
        return {f"{name}_off": 100 * (found[name] - exact[name]) / m for name in found}
    return {f"{name}_off": 100 * (found[name] / fine[name] - 1) for name in found}


def main() -> None:
    """Print one row a problem and step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    written = [":".join(map(str, case)) for case in CASES]
    parser.add_argument("--case", nargs="+", default=written, help="abc or uptake : size : molecules a voxel")
    parser.add_argument("--step", nargs="+", type=float, default=[0.05, 0.1, 0.25, 0.5, 1.0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print_bandwidth("triad")
    for problem, size, m in (case.split(":") for case in given.case):
        row(problem, int(size), int(m), sorted(given.step), given.rounds)


def mean_at(problem: str, size: int, m: int, time_s: float, step_s: float) -> float:
    """The mean of the first species: exact for `abc`, else by ours with a small step."""
    if problem == "abc":
        return float(m)
    found = ex.simulate(make_model(problem, size, m), [time_s], seed=1, time_step=min(step_s, 0.5 * time_s))
    return float(np.asarray(found["E"]).mean())


def row(problem: str, size: int, m: int, steps: list[float], rounds: int) -> None:
    """Measure one problem at all steps, in turn with the others, and print it."""
    sides = {step: ours(problem, size, m, step) for step in steps}
    others = peers(problem, size, m)
    reached: dict[str, list[Reached]] = {name: [] for name in others}
    all_found: dict[float, list[tuple[float, Found]]] = {step: [] for step in steps}
    for seed in range(1, rounds + 1):
        for step, call in sides.items():
            all_found[step].append(call(seed))
        for name, run in others.items():
            reached[name].append(run(seed))
    fine = all_found[steps[0]]
    expected = {name: mean_at(problem, size, m, found[0].end_s, steps[0]) for name, found in reached.items()}
    for step, runs in all_found.items():
        rate = median(rate for rate, _ in runs)
        each = [errors(problem, m, found, least) for (_, found), (_, least) in zip(runs, fine, strict=True)]
        off = {name: [one[name] for one in each] for name in each[0]}
        values: dict[str, Any] = {"problem": problem, "size": size, "molecules": m, "step_s": step}
        values["rounds"] = rounds
        values["simulated_s_per_core_s"] = round(rate, 3)
        values["ns_per_voxel_step"] = round(1e9 * step / rate / size**3, 1)
        for name, numbers in off.items():
            spread = float(np.std(numbers, ddof=1) / len(numbers) ** 0.5)
            values[name] = [round(float(np.mean(numbers)), 3), round(spread, 3)]
        for name, found in reached.items():
            theirs = median(one.s_per_core_s for one in found)
            values[f"{name}_s_per_core_s"] = float(f"{theirs:.3g}")
            values[f"times_{name}"] = round(rate / theirs, 1)
            mean = float(np.mean([one.mean for one in found]))
            values[f"{name}_mean_off"] = round(100 * (mean / expected[name] - 1), 3)
        known = STEPS_TETOPSPLIT.get((problem, size, m))
        if known:
            values |= {"steps_s_per_core_s": known, "times_steps": round(rate / known, 1)}
        print_row("spatial", **values)


if __name__ == "__main__":
    main()
