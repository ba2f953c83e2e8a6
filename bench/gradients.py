"""Estimators of gradients: bias, error and cost, on three models of one voxel and on two lattices.

python -m bench.gradients [--only NAME] [--of threshold] [--replicates 16384] > bench/results/gradients.jsonl, then
python -m bench.gradients --table writes the tables of docs/gradients.md.

A row an estimator and parameter of a model and observation: the bias against the truth with the standard error of the
difference, the standard deviation of one replicate, the CPU time of all derivatives over that of the trajectories
alone (compiled), and the standard error that one second of CPU would leave; in per cent of the truth. The truth is the
master equation for one voxel, coupled finite differences of 8192 other replicates for a lattice. `mean alone` is the
negative control: `leap_st` without the term that follows the variance, dX = dm.

--costs gives rows of what all derivatives cost beside trajectories of the same engine (`closure`: of the mean field),
medians of 5 in turn, and the memory of reverse mode in states of all replicates (temporaries of a gradient with a value
a voxel), against 20 + 2.2 sqrt(steps).
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

import exodiff as ex
from bench.rows import print_row, put_between
from exodiff.kernels.straight_through import follows, matched

RESULTS = Path("bench/results/gradients.jsonl")
PAGE = Path("docs/gradients.md")

REFERENCE_SEED = 77
REFERENCE_REPLICATES = 8192
AT_ONCE = 2**21  # voxels of all replicates and shifted parameters in one call

Observe = Callable[[ex.Trajectory], Any]


@dataclass(frozen=True)
class Case:
    """A model with what is asked of it.

    Attributes:
        shape: of the lattice, voxels of 1 um.
        tables: of the model file.
        time_s: at which it is observed.
        step_s: of the trajectories.
        level: that squares and thresholds compare with.
        values: of the parameters to differentiate by.
        read: what is observed, one number a replicate.

    """

    shape: list[int]
    tables: dict[str, Any]
    time_s: float
    step_s: float
    level: float
    values: dict[str, float]
    read: Observe

    @property
    def is_lattice(self) -> bool:
        """Whether the master equation is out of reach."""
        return self.shape != [1]


def _tissue(shape: list[int], read: Observe, level: float) -> Case:
    """A source at one end or in the middle, vesicles that spread, and receptors everywhere that fill."""
    middle = [0.0] * 3 if len(shape) == 1 else [float(n // 2) for n in shape]
    return Case(
        shape,
        {
            "parameters": {"s": "20 /s", "D": "2 um^2/s", "k": "0.1 um^3/s"},
            "cells": {"source": {}},
            "place": [{"cells": "source", "box": {"low": middle, "high": [x + 1 for x in middle]}}],
            "species": {"E": {"diffusion": "D"}, "R": {"initial": 5}, "X": {}},
            "reactions": [
                {"equation": "source -> source + E", "rate": "s"},
                {"equation": "E + R -> X", "rate": "k"},
            ],
        },
        5.0,
        0.05,
        level,
        {"s": 20.0, "D": 2.0, "k": 0.1},
        read,
    )


def _of_x(traj: ex.Trajectory) -> Any:
    return traj["X"][:, -1, 0]


CASES: dict[str, Case] = {
    "birth-death": Case(
        [1],
        {
            "parameters": {"k": "10 /s", "g": "1 /s"},
            "species": {"X": {}},
            "reactions": [{"equation": "-> X", "rate": "k"}, {"equation": "X ->", "rate": "g"}],
        },
        2.0, 0.1, 4.0, {"k": 10.0, "g": 1.0}, _of_x,
    ),
    "uptake of 5 by 3": Case(
        [1],
        {
            "parameters": {"k": "0.05 um^3/s", "off": "0.1 /s"},
            "species": {"E": {"initial": 5}, "R": {"initial": 3}, "X": {}},
            "reactions": [{"equation": "E + R -> X", "rate": "k"}, {"equation": "X -> E + R", "rate": "off"}],
        },
        4.0, 0.1, 1.0, {"k": 0.05, "off": 0.1}, _of_x,
    ),
    "repression": Case(
        [1],
        {
            "parameters": {"k": "20 /s", "K": 8.0, "d": "0.02 um^3/s"},
            "species": {"X": {}},
            "reactions": [
                {"equation": "-> X", "propensity": "k * hill_down(X, K, 2)"},
                {"equation": "2 X ->", "rate": "d"},
            ],
        },
        2.0, 0.1, 4.0, {"k": 20.0, "K": 8.0, "d": 0.02}, _of_x,
    ),
    "line of 32": _tissue([32], lambda traj: traj["X"][:, -1, 3:8].sum(1), 4.0),
    "lattice of 8^3": _tissue([8, 8, 8], lambda traj: traj["X"][:, -1, 2:7, 2:7, 2:7].sum((1, 2, 3)), 20.0),
    "lattice of 32^3": _tissue([32, 32, 32], lambda traj: traj["X"][:, -1, 14:19, 14:19, 14:19].sum((1, 2, 3)), 20.0),
}  # fmt: skip
MODES = (("leap_st", "forward"), ("leap_st", "reverse"))
SAMPLED = (("score", "-"), ("cfd", "-"))
OF_MEANS = (("closure", "forward"), ("closure", "reverse"))  # on few voxels a run of 3 ms is less than a call
COSTS = (
    *(("line of 32", 1024, 5.0, *way) for way in (*MODES, *SAMPLED)),
    ("line of 32", 1024, 20.0, "leap_st", "reverse"),
    *(("lattice of 8^3", 64, 5.0, *way) for way in (*MODES, *SAMPLED)),
    *(("lattice of 32^3", 2, 5.0, *way) for way in (*MODES, *OF_MEANS)),
)
THRESHOLD = {"birth-death": 8, "uptake of 5 by 3": 2, "repression": 7, "line of 32": 8, "lattice of 8^3": 40}


LOSSES = ("mean", "square", "threshold")


def losses(name: str) -> dict[str, Observe]:
    """What is differentiated: the number observed, its squared distance from a level, and whether it reaches one."""
    case, least = CASES[name], THRESHOLD.get(name, 0)
    return {
        "mean": lambda traj: case.read(traj).astype(float),
        "square": lambda traj: (case.read(traj).astype(float) - case.level) ** 2,
        "threshold": lambda traj: (case.read(traj) >= least).astype(float),
    }


@contextmanager
def mean_alone() -> Iterator[None]:
    """The straight-through derivative without the term of the variance."""

    @functools.cache
    def alone(moments: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
        def mean_and_held_variance(*numbers: Any) -> tuple[Any, Any]:
            mean, variance = moments(*numbers)
            return mean, jax.lax.stop_gradient(variance)

        return mean_and_held_variance

    def follows_mean(moments: Callable[..., tuple[Any, Any]], drawn: Any, *numbers: Any, fixed: Any = ()) -> Any:
        return follows(alone(moments), drawn, *numbers, fixed=fixed)

    with mock.patch.multiple(
        "exodiff.kernels.policies",
        follows=follows_mean,
        matched=lambda x, m, v: matched(x, m, jax.lax.stop_gradient(v)),
    ):
        jax.clear_caches()
        try:
            yield
        finally:
            jax.clear_caches()


def at_once(case: Case, estimator: str) -> int:
    """Replicates in one call, a power of two."""
    copies = 2 * len(case.values) + 1 if estimator == "cfd" else len(case.values)
    return 2 ** int(np.log2(max(AT_ONCE // (copies * int(np.prod(case.shape))), 256)))


def gradient(name: str, loss: Observe, estimator: str, n: int, seed: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
    """Derivatives and their standard errors from n replicates, as many at once as the memory takes."""
    case, model = CASES[name], _model(name)
    batch = min(n, at_once(case, estimator))
    parts = [
        ex.grad(loss, model, case.values, seed + 1000 * i, batch, estimator, [case.time_s], case.step_s)
        for i in range(-(-n // batch))
    ]
    value = {p: float(np.mean([part.value[p] for part in parts])) for p in case.values}
    error = {
        p: float(np.sqrt(np.mean([part.standard_error[p] ** 2 for part in parts]) / len(parts))) for p in case.values
    }
    return value, error


_MODELS: dict[str, ex.Model] = {}


def _model(name: str) -> ex.Model:
    if name not in _MODELS:
        lattice = {"shape": CASES[name].shape, "spacing": 1.0}
        raw = {"schema": 1, "run": {"duration": "1000 s"}, "lattice": lattice, **CASES[name].tables}
        _MODELS[name] = ex.Model.from_dict(raw)
    return _MODELS[name]


def measure(name: str, n: int, wanted: Sequence[str]) -> None:
    """All rows of a model, of some of its losses."""
    case = CASES[name]
    forward = _seconds(
        lambda: ex.simulate(_model(name), [case.time_s], seed=1, replicates=n, time_step=case.step_s).counts
    )
    truths = {}
    for observed in wanted:
        loss = losses(name)[observed]
        truths[observed] = (
            gradient(name, loss, "cfd", REFERENCE_REPLICATES, REFERENCE_SEED)
            if case.is_lattice
            else gradient(name, loss, "fsp", 2)
        )
        for estimator in ("leap_st", "score", "cfd", "closure", "closure2"):
            if observed == "threshold" and estimator in ("leap_st", "closure", "closure2"):
                continue  # refused: they would give zero
            if estimator == "closure2" and np.prod(case.shape) > 32:
                continue  # refused: too many pairs
            gradient(name, loss, estimator, min(n, at_once(case, estimator)))  # compiles
            began = time.process_time()
            found = gradient(name, loss, estimator, n)
            seconds = time.process_time() - began
            _print((name, observed, estimator), found, truths[observed], n, seconds / forward, seconds)
    if "square" in wanted:
        with mean_alone():
            found = gradient(name, losses(name)["square"], "leap_st", n)
        _print((name, "square", "mean alone"), found, truths["square"], n)


def _print(
    names: tuple[str, str, str],
    found: tuple[dict[str, Any], dict[str, Any]],
    reference: tuple[dict[str, Any], dict[str, Any]],
    n: int,
    cost: float = 0.0,
    seconds: float = 0.0,
) -> None:
    (value, error), (truth, unsure) = found, reference
    for parameter, true in truth.items():
        own = 100.0 * error[parameter] / abs(true)
        print_row(
            f"gradient | {' | '.join(names)} | {parameter}",
            truth=true,
            bias_percent=round(100.0 * (value[parameter] / true - 1.0), 3),
            error_percent=round(100.0 * float(np.hypot(error[parameter], unsure[parameter])) / abs(true), 3),
            spread_of_one_percent=round(own * np.sqrt(n), 1),
            replicates=n,
            cost_over_forward=round(cost, 2),
            error_percent_after_one_second=round(own * np.sqrt(seconds), 3),
        )


def _seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of a call that is compiled."""
    jax.block_until_ready(call())
    return _seconds_again(call)


def _seconds_again(call: Callable[[], Any]) -> float:
    began = time.process_time()
    jax.block_until_ready(call())
    return time.process_time() - began


def measure_cost(name: str, n: int, time_s: float, estimator: str, mode: str) -> None:
    """Cost of a gradient by all parameters of a model, and the memory of reverse mode."""
    case, model, loss = CASES[name], _model(name), losses(name)["mean"]
    num_steps = round(time_s / case.step_s)
    forward = {"engine": "mean_field"} if estimator == "closure" else {}
    given = {"seed": 1, "replicates": 1 if forward else n, "time_step": case.step_s}

    def there() -> Any:
        return ex.simulate(model, [time_s], **given, **forward).counts

    def and_back() -> Any:
        return ex.grad(loss, model, case.values, 1, n, estimator, [time_s], case.step_s)

    most = 0 if mode == "reverse" else len(case.values)
    with mock.patch("exodiff.inference.straight_through.FORWARD_AT_MOST", most):
        jax.block_until_ready((there(), and_back()))
        seconds = np.median([[_seconds_again(there), _seconds_again(and_back)] for _ in range(5)], axis=0)

    def total(k: jax.Array) -> jax.Array:
        derived = forward or {"estimator": "leap_st"}
        return loss(ex.simulate(model, [time_s], parameters={"k": k}, **given, **derived)).sum()

    states = None
    if mode == "reverse":
        compiled = jax.jit(jax.grad(total)).lower(np.full(case.shape, case.values["k"], np.float32)).compile()
        states = round(compiled.memory_analysis().temp_size_in_bytes / there().nbytes, 1)
    print_row(
        f"cost | {name} | {num_steps} | {estimator} | {mode}",
        replicates=given["replicates"],
        parameters=len(case.values),
        forward_core_s=round(float(seconds[0]), 3),
        cost_over_forward=round(float(seconds[1] / seconds[0]), 2),
        states=states,
    )


def table_of_costs(rows: list[dict[str, Any]]) -> str:
    """Cost of gradients, and memory of reverse mode."""
    lines = ["| model | steps | replicates | estimator | mode | cost | wanted | states | 20 + 2.2 sqrt(steps) |"]
    lines.append("|---" * 9 + "|")
    for row in rows:
        _, model, steps, estimator, mode = row["name"].split(" | ")
        wanted = {"forward": f"{1 + 0.8 * row['parameters']:.1f}", "reverse": "4.5"}.get(mode, "")
        memory = (row["states"], f"{20.0 + 2.2 * int(steps) ** 0.5:.0f}") if row["states"] else ("", "")
        shown = [model, steps, row["replicates"], f"`{estimator}`", mode, row["cost_over_forward"], wanted, *memory]
        lines.append(f"| {' | '.join(map(str, shown))} |")
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table: an estimator a line, bias and its error by parameter."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        _, model, observed, estimator, parameter = row["name"].split(" | ")
        found.setdefault((model, observed, estimator), []).append({**row, "parameter": parameter})
    lines = [
        "| model | of | estimator | bias ± its error, % | spread of one replicate, % | cost | error after 1 CPU s, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for (model, observed, estimator), parts in found.items():
        biases = ", ".join(f"{p['parameter']} {p['bias_percent']:+.1f} ± {p['error_percent']:.1f}" for p in parts)
        spreads = ", ".join(f"{p['spread_of_one_percent']:.0f}" for p in parts)
        after = ", ".join(f"{p.get('error_percent_after_one_second', 0.0):.2f}" for p in parts)
        cost = parts[0].get("cost_over_forward")
        shown = [
            model,
            observed,
            f"`{estimator}`",
            biases,
            spreads,
            f"{cost:.1f}" if cost else "",
            after if cost else "",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or write the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--of", choices=LOSSES)
    parser.add_argument("--replicates", type=int, default=16384)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--costs", action="store_true")
    given = parser.parse_args()
    if given.table:
        rows = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
        costs = [row for row in rows if row["name"].startswith("cost")]
        put_between(PAGE, "gradients", table([row for row in rows if row not in costs]))
        put_between(PAGE, "costs", table_of_costs(costs))
        return
    if given.costs:
        for case in COSTS:
            measure_cost(*case)
        return
    for name in [given.only] if given.only else [name for name in CASES if name in THRESHOLD]:
        measure(name, given.replicates, [given.of] if given.of else LOSSES)


if __name__ == "__main__":
    main()
