"""Events per second of the engine `exact`, beside other simulators in the same run, and their cost against the voxels.

python -m bench.exact [--rounds 5] [--size 8 16 32]

Other simulators are measured if they can be imported: gillespy2, rebop. Their pairs react at k n (n - 1), as ours do
(the mean number of dimers at the end agrees). Times are those of whole calls: of rebop one call a trajectory.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import exodiff as ex
from bench.rows import print_row
from exodiff.exact import lattice
from exodiff.exact.clock import split_time
from exodiff.simulation import initial_state, make_inputs, start_array

TRAJECTORIES, END_S, RECORDS = 10_000, 20.0, 21
Reactions = dict[str, tuple[dict[str, int], dict[str, int], float]]
BIRTH_DEATH: Reactions = {"birth": ({}, {"X": 1}, 10.0), "death": ({"X": 1}, {}, 0.1)}
DIMERISATION: Reactions = {"bind": ({"P": 2}, {"P2": 1}, 0.01), "split": ({"P2": 1}, {"P": 2}, 0.1)}
MODELS: dict[str, tuple[dict[str, int], Reactions]] = {
    "birth-death": ({"X": 0}, BIRTH_DEATH),
    "dimerisation": ({"P": 51, "P2": 0}, DIMERISATION),
}


def _side(side: dict[str, int]) -> str:
    return " + ".join(f"{n} {name}" for name, n in side.items())


def _ours(start: dict[str, int], reactions: Reactions) -> tuple[Callable[[int], Any], float]:
    """A run, and its events: counted in a run of its own."""
    observables = {name: {"value": f"events({name})"} for name in reactions}
    tables: dict[str, Any] = {
        "schema": 1,
        "run": {"duration": "100 s", "engine": "exact"},
        "lattice": {"shape": [1], "spacing": "1 um"},
        "species": {name: {"initial": n} for name, n in start.items()},
        "reactions": [
            {"name": name, "equation": f"{_side(a)} -> {_side(b)}".strip(), "rate": f"{k} /s" if not a else k}
            for name, (a, b, k) in reactions.items()
        ],
    }
    counted = ex.simulate(
        ex.Model.from_dict({**tables, "observables": observables}), [END_S], seed=1, replicates=TRAJECTORIES
    )
    events = float(sum(np.asarray(counted.observables[name])[:, -1].sum() for name in reactions))
    model = ex.Model.from_dict(tables)
    times = list(np.linspace(0.0, END_S, RECORDS))
    return lambda seed: jax.block_until_ready(
        ex.simulate(model, times, seed=seed, replicates=TRAJECTORIES).counts
    ), events


def _rebop(start: dict[str, int], reactions: Reactions) -> tuple[Callable[[int], Any], int]:
    import rebop  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    few = TRAJECTORIES // 50
    model = rebop.Gillespie()
    for before, after, k in reactions.values():
        listed = [[name for name, n in side.items() for _ in range(n)] for side in (before, after)]
        model.add_reaction(k, *listed)

    def run(seed: int) -> None:
        for i in range(few):
            model.run(start, tmax=END_S, nb_steps=RECORDS - 1, rng=seed * few + i)

    return run, few


def _gillespy2(start: dict[str, int], reactions: Reactions) -> tuple[Callable[[int], Any], int]:
    import gillespy2  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    few = TRAJECTORIES // 10
    model = gillespy2.Model("model")
    species = {name: gillespy2.Species(name, initial_value=n) for name, n in start.items()}
    model.add_species(list(species.values()))
    for name, (before, after, k) in reactions.items():
        rate = gillespy2.Parameter(f"k_{name}", expression=k)
        model.add_parameter(rate)
        sides = [{species[s]: n for s, n in side.items()} for side in (before, after)]
        model.add_reaction(gillespy2.Reaction(name=name, reactants=sides[0], products=sides[1], rate=rate))
    model.timespan(np.linspace(0.0, END_S, RECORDS))
    solver = gillespy2.SSACSolver(model)
    return lambda seed: model.run(solver=solver, number_of_trajectories=few, seed=seed + 1), few


def ensembles(rounds: int) -> None:
    """All simulators in turn, several rounds: the medians of trajectories per second, and their ratios."""
    for name, (start, reactions) in MODELS.items():
        run, events = _ours(start, reactions)
        runs: dict[str, tuple[Callable[[int], Any], int]] = {"exodiff": (run, TRAJECTORIES)}
        for other, make in (("rebop", _rebop), ("gillespy2", _gillespy2)):
            try:
                runs[other] = make(start, reactions)
            except ImportError:
                continue
        seconds: dict[str, list[float]] = {which: [] for which in runs}
        for which, (call, _) in runs.items():
            call(0)
            seconds[which].clear()
        for seed in range(1, rounds + 1):
            for which, (call, number) in runs.items():
                began = time.perf_counter()
                call(seed)
                seconds[which].append((time.perf_counter() - began) / number)
        each = {which: median(found) for which, found in seconds.items()}
        per_s = {which: events / TRAJECTORIES / found for which, found in each.items()}
        ratios = {f"ratio_to_{which}": round(found / each["exodiff"], 1) for which, found in each.items()}
        ratios.pop("ratio_to_exodiff")
        rates = {f"events_per_s_{which}": round(found) for which, found in per_s.items()}
        print_row(f"ensemble of {TRAJECTORIES}, {name}", **rates, **ratios)


def lattices(sizes: list[int], rounds: int) -> None:
    """Microseconds an event in boxes of different size, 10 molecules a voxel that hop, decay and are made."""
    for size in sizes:
        model = ex.Model.from_dict(
            {
                "schema": 1,
                "run": {"duration": "100 s", "engine": "exact"},
                "lattice": {"shape": [size] * 3, "spacing": "1 um"},
                "species": {"X": {"diffusion": 1.0, "decay": 0.1, "initial": {"poisson": 10}}},
                "reactions": [{"equation": "-> X", "rate": "1 /s"}],
            }
        )
        problem, zero = model.problem, jnp.uint32(0)
        inputs = make_inputs(model, None, problem.precision)
        state = initial_state(problem, inputs, start_array(model, problem), zero, zero)
        end = split_time(1e9, problem.precision)
        advance = jax.jit(
            lambda state, budget, p=problem, i=inputs, t=end: lattice.advance(
                p, i, jnp.uint32(0), jnp.uint32(0), state, t, budget
            )
        )
        seconds: dict[int, list[float]] = {100: [], 20_100: []}
        began = time.perf_counter()
        jax.block_until_ready(advance(state, jnp.uint32(1)))
        compile_s = time.perf_counter() - began
        for _ in range(rounds):
            for events, found in seconds.items():
                began = time.perf_counter()
                jax.block_until_ready(advance(state, jnp.uint32(events)))
                found.append(time.perf_counter() - began)
        us = (median(seconds[20_100]) - median(seconds[100])) / 20_000 * 1e6
        print_row("lattice event", shape=[size] * 3, us_per_event=round(us, 2), compile_s=round(compile_s, 1))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs="*", default=[8, 16, 32])
    options = parser.parse_args()
    ensembles(options.rounds)
    lattices(options.size, options.rounds)


if __name__ == "__main__":
    main()
