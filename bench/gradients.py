"""Estimators of gradients on models of one voxel: bias, error, cost.

`python -m bench.gradients > bench/results/gradients.jsonl`. A row a model, observable, estimator and parameter: the
derivative by the master equation, the bias and its standard error in percent, the standard deviation of one replicate
in percent of the truth, the time of all derivatives over that of the trajectories alone (compiled), and the standard
error in percent that one second of CPU would leave.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import exodiff as ex
from bench.rows import print_row

N = 16384
RUNS = 3

BIRTH_DEATH: dict[str, Any] = {
    "parameters": {"k": "10 /s", "g": "1 /s"},
    "species": {"X": {}},
    "reactions": [{"equation": "-> X", "rate": "k"}, {"equation": "X ->", "rate": "g"}],
}
UPTAKE: dict[str, Any] = {
    "parameters": {"k": "0.05 um^3/s", "off": "0.1 /s"},
    "species": {"E": {"initial": 5}, "R": {"initial": 3}, "X": {}},
    "reactions": [{"equation": "E + R -> X", "rate": "k"}, {"equation": "X -> E + R", "rate": "off"}],
}
OBSERVED: dict[str, Callable[[ex.Trajectory, float], Any]] = {
    "mean": lambda traj, level: traj.total("X")[:, -1],
    "square": lambda traj, level: (traj["X"][:, -1, 0].astype(float) - 0.5 * level) ** 2,
    "threshold": lambda traj, level: (traj["X"][:, -1, 0] >= level).astype(float),
}
SMOOTH = ("mean", "square")


def measure(name: str, tables: dict[str, Any], last_s: float, level: float, values: dict[str, float]) -> None:
    """All rows of a model."""
    lattice = {"shape": [1], "spacing": 1.0}
    model = ex.Model.from_dict({"schema": 1, "run": {"duration": "1000 s"}, "lattice": lattice, **tables})
    forward = _seconds(lambda: ex.simulate(model, [last_s], seed=1, replicates=N, time_step=0.1).counts)
    for observed, observe in OBSERVED.items():

        def gradient(estimator: str, observe: Callable[..., Any] = observe) -> Any:
            def loss(traj: ex.Trajectory) -> Any:
                return observe(traj, level)

            return ex.grad(loss, model, values, seed=1, n=N, estimator=estimator, times=[last_s], time_step=0.1)

        truth = gradient("fsp")
        for estimator in ("leap_st", "score", "cfd", "closure"):
            if observed not in SMOOTH and estimator in ("leap_st", "closure"):
                continue  # refused: they would give zero
            found = gradient(estimator)
            seconds = _seconds(lambda estimator=estimator: gradient(estimator))
            for parameter, true in truth.value.items():
                error = 100.0 * found.standard_error[parameter] / abs(true)
                print_row(
                    f"gradient {name} {observed} {estimator} {parameter}",
                    truth=true,
                    bias_percent=round(100.0 * (found.value[parameter] / true - 1.0), 3),
                    error_percent=round(error, 3),
                    spread_of_one_percent=round(error * np.sqrt(N), 1),
                    replicates=N,
                    cost_over_forward=round(seconds / forward, 2),
                    error_percent_after_one_second=round(error * np.sqrt(seconds), 3),
                )


def _seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of the fastest of some runs, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        jax.block_until_ready(call())
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    measure("birth-death", BIRTH_DEATH, 2.0, 8.0, {"k": 10.0, "g": 1.0})
    measure("uptake of 5 by 3", UPTAKE, 4.0, 2.0, {"k": 0.05, "off": 0.1})
