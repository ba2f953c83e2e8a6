"""Deterministic diffusion: time to an accuracy, and cost of a step, beside pyphysicell and the bandwidth of memory.

python -m bench.fields > bench/results/fields.jsonl

Ours and the other run in turn; times are medians, wall and of the processor, on the cores that the process may use.
The copy is of the same run: it reads and writes each value once, the least that a step can do.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("PHYSICELL_THREADS", str(len(os.sched_getaffinity(0))))

import jax
import jax.numpy as jnp
import numpy as np
import pyphysicell
from jax import lax
from pyphysicell import _kernels as peer_kernels

import exodiff as ex
from bench.bandwidth import print_bandwidth
from bench.rows import print_row
from exodiff.concentrations import advance_fields
from exodiff.kernels.diffusion import even_mean_gain
from exodiff.kernels.rates import Voxels
from exodiff.lattice.grid import Grid
from exodiff.programs import OPTIONS
from exodiff.start import initial_state, make_inputs, start_array

D, SPACING, DECAY, MINUTES = 1000.0, 20.0, 0.1, 10.0  # um^2/min, um, 1/min
LIMIT = 1e-3  # largest error over the largest value
CELLS = 0.3  # share of voxels
UPTAKE, STEP = 10.0, 0.01  # 1/min, min
_STEPS = 4  # in one call, as in a run, so that the buffers are those of the last step


class Cost(NamedTuple):
    """Median seconds of a call."""

    wall_s: float
    cpu_s: float


def costs(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Cost]:
    """Each call in turn with the others."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter(), time.process_time()
            jax.block_until_ready(call())
            times[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return {name: Cost(*np.median(found, axis=0)) for name, found in times.items()}


def starts(size: int) -> dict[str, np.ndarray]:
    """The two problems: a wave of one and a half periods along each axis over a mean, and a Gaussian of 100 um."""
    place = (np.arange(size) + 0.5) / size
    wave = np.cos(3 * np.pi * place)
    bell = np.exp(-0.5 * ((place - 0.5) * size * SPACING / 100.0) ** 2)
    return {
        "cosine": 1.0 + 0.5 * np.einsum("x,y,z->xyz", wave, wave, wave),
        "Gaussian": np.einsum("x,y,z->xyz", bell, bell, bell),
    }


def exact(start: np.ndarray) -> np.ndarray:
    """The equations of the lattice after ten minutes: by the eigenvectors of an axis, found numerically."""
    size = len(start)
    laplacian = np.diag(np.full(size, -2.0)) + np.diag(np.ones(size - 1), 1) + np.diag(np.ones(size - 1), -1)
    laplacian[0, 0] = laplacian[-1, -1] = -1.0
    values, vectors = np.linalg.eigh(D / SPACING**2 * laplacian)
    along = (vectors * np.exp(MINUTES * values)) @ vectors.T
    return np.exp(-DECAY * MINUTES) * np.einsum("xyz,xi,yj,zk->ijk", start, along, along, along, optimize=True)


def peer(size: int, substrates: int, decay: float) -> Any:
    """Fields of pyphysicell; its equations are those of the lattice, no wall is open."""
    side = size * SPACING
    domain = pyphysicell.Domain(0, side, 0, side, 0, side, SPACING, SPACING, SPACING, use_2D=False)
    named = [pyphysicell.Substrate(f"c{i}", D, decay) for i in range(substrates)]
    return pyphysicell.Microenvironment(pyphysicell.Model(domain=domain, substrates=named))


def error(found: Any, expected: np.ndarray) -> float:
    """Largest error over the largest value."""
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())


def fewest_steps(size: int, start: np.ndarray, expected: np.ndarray) -> int:
    """Steps of pyphysicell that reach the limit: doubled from one, then halved towards it by tenths."""

    def is_enough(steps: int) -> bool:
        fields = peer(size, 1, DECAY)
        fields.density[..., 0] = start
        for _ in range(steps):
            fields.step(MINUTES / steps)
        return error(fields.density[..., 0], expected) <= LIMIT

    high = 1
    while not is_enough(high):
        high *= 2
    low = high // 2
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def model_of(size: int, substrates: int, solve: str, precision: str, folder: Path, *, cells: bool = False) -> ex.Model:
    """Concentrations in a closed box, which some cells take up; the first begins with a file."""
    lattice = {"shape": [size] * 3, "spacing": SPACING}
    common = {"kind": "concentration", "unit": "1/um^3", "solve": solve, "diffusion": f"{D} um^2/min"}
    common |= {"decay": f"{DECAY} /min", "initial": {"file": "start.npy"}}
    tables: dict[str, Any] = {"species": {f"c{i}": common for i in range(substrates)}}
    if cells:
        tables["cells"] = {"eater": {}}
        tables["place"] = [{"cells": "eater", "everywhere": True, "fill": CELLS}]
        tables["reactions"] = [
            {"equation": f"eater + c{i} -> eater", "rate": f"{UPTAKE} /min"} for i in range(substrates)
        ]
    run = {"engine": "mean_field", "precision": precision, "duration": f"{MINUTES} min"}
    return ex.Model.from_dict({"schema": 1, "run": run, "lattice": lattice, **tables}, folder=folder)


def accuracy(size: int, repeats: int, folder: Path) -> None:
    """Time to the limit at ten minutes: `exodiff.simulate` as a user calls it, beside the steps of pyphysicell."""
    for name, start in starts(size).items():
        expected = exact(start)
        np.save(folder / "start.npy", start)
        steps = fewest_steps(size, start, expected)
        fields = peer(size, 1, DECAY)

        def other(fields: Any = fields, steps: int = steps, start: np.ndarray = start) -> None:
            fields.density[..., 0] = start
            for _ in range(steps):
                fields.step(MINUTES / steps)

        for precision in ("float32", "float64"):
            model = model_of(size, 1, "implicit", precision, folder)
            ours = partial(ex.simulate, model, [60.0 * MINUTES], time_step=30.0 * MINUTES)
            found = costs({"ours": lambda ours=ours: ours()["c0"], "other": other}, repeats)
            print_row(
                f"{name} to {LIMIT} at 10 min",
                size=size,
                precision=precision,
                wall_s=round(found["ours"].wall_s, 4),
                cpu_s=round(found["ours"].cpu_s, 4),
                error=float(f"{error(ours()['c0'][0, 0], expected):.1e}"),
                steps=1,
                peer=f"pyphysicell {version('pyphysicell')}",
                peer_wall_s=round(found["other"].wall_s, 3),
                peer_cpu_s=round(found["other"].cpu_s, 3),
                peer_error=float(f"{error(fields.density[..., 0], expected):.1e}"),
                peer_steps=steps,
                times_peer=round(found["other"].cpu_s / found["ours"].cpu_s, 1),
                limit="the call: one step is three matrix products",
            )


def again(change: Callable[[Any], Any], start: Any, **options: Any) -> Callable[[], Any]:
    """Calls that go on from what the last one left, in its memory, as in a run."""
    compiled = jax.jit(change, donate_argnums=0, **options)
    held = [jnp.array(start)]

    def call() -> Any:
        held[0] = compiled(held[0])
        return held[0]

    return call


def field_steps(model: ex.Model) -> tuple[Callable[[Any], Any], Any]:
    """Steps of all concentrations of a model, and where they begin."""
    problem, inputs = model.problem, make_inputs(model, None, model.problem.precision)
    state = initial_state(problem, inputs, start_array(model, problem), jnp.uint32(0), jnp.uint32(0))
    dt = jnp.asarray(60.0 * STEP, problem.precision)

    def step(_: Any, concentrations: Any) -> Any:
        voxels = Voxels(problem, inputs, state.counts, jnp.zeros((), problem.precision))
        return advance_fields(voxels, concentrations, dt).concentrations

    return lambda found: lax.fori_loop(0, _STEPS, step, found), state.concentrations


def peer_steps(fields: Any, of_cells: tuple[np.ndarray, ...] | None) -> None:
    """Steps of pyphysicell: its fields, and what cells take up."""
    for _ in range(_STEPS):
        fields.step(STEP)
        if of_cells is not None:
            peer_kernels.secretion_uptake(fields.density, *of_cells, SPACING**3, STEP)


def step_costs(size: int, repeats: int, folder: Path) -> None:
    """Cost of a step, with and without cells, for one and more substrates."""
    random = np.random.default_rng(0)
    np.save(folder / "start.npy", random.uniform(1.0, 2.0, (size,) * 3))
    where = np.flatnonzero(random.random(size**3) < CELLS)
    for substrates in (1, 4, 10):
        fields, threads = peer(size, substrates, DECAY), os.environ["PHYSICELL_THREADS"]
        fields.density[:] = 1.5
        rates, volumes = np.full((len(where), substrates), UPTAKE), np.full(len(where), SPACING**3)
        nothing = np.zeros_like(rates)
        of_cells = (where, volumes, nothing, rates, nothing, nothing)
        for cells in (False, True):
            for precision in ("float32", "float64"):
                solve = "explicit" if cells else "implicit"
                steps, start = field_steps(model_of(size, substrates, solve, precision, folder, cells=cells))
                calls = {
                    "ours": again(steps, start, compiler_options=OPTIONS),
                    "copy": again(lambda found: lax.fori_loop(0, _STEPS, lambda i, c: c + 1, found), start),
                    "other": partial(peer_steps, fields, of_cells if cells else None),
                }
                found, scale = costs(calls, repeats), 1e9 / (_STEPS * substrates * size**3)
                bytes_moved = 2 * _STEPS * start.nbytes
                print_row(
                    "field step",
                    size=size,
                    substrates=substrates,
                    cells=CELLS if cells else 0,
                    precision=precision,
                    solve=solve,
                    ns=round(found["ours"].wall_s * scale, 2),
                    cpu_ns=round(found["ours"].cpu_s * scale, 2),
                    copy_cpu_ns=round(found["copy"].cpu_s * scale, 2),
                    copy_gb_per_s=round(bytes_moved / found["copy"].cpu_s / 1e9, 1),
                    peer=f"pyphysicell {version('pyphysicell')}, {threads} threads, float64",
                    peer_ns=round(found["other"].wall_s * scale, 2),
                    peer_cpu_ns=round(found["other"].cpu_s * scale, 2),
                    times_peer=round(found["other"].cpu_s / found["ours"].cpu_s, 2),
                    limit="arithmetic: a product of matrices along each axis",
                )


def hop_sweeps(size: int, repeats: int) -> None:
    """A sweep over three axes of the hops of ``mean_field``, and of each axis."""
    grid = Grid((size,) * 3, (1.0, 1.0, 1.0))

    def along(axis: int, n: Any) -> Any:
        return n + even_mean_gain(n, jnp.asarray(0.25, n.dtype), grid, axis)

    def sweeps(n: Any, axes: tuple[int, ...]) -> Any:
        def one(_: Any, n: Any) -> Any:
            for axis in axes:
                n = along(axis, n)
            return n

        return lax.fori_loop(0, _STEPS, one, n)

    for precision in ("float32", "float64"):
        n = jnp.asarray(np.random.default_rng(0).uniform(1.0, 2.0, grid.shape), precision)
        axes = {"sweep": (0, 1, 2), "x": (0,), "y": (1,), "z": (2,)}
        calls = {name: again(partial(sweeps, axes=given), n, compiler_options=OPTIONS) for name, given in axes.items()}
        calls["copy"] = again(lambda n: lax.fori_loop(0, _STEPS, lambda i, n: n + 1, n), n)
        found, scale = costs(calls, repeats), 1e9 / (_STEPS * size**3)
        print_row(
            "mean_field hops",
            size=size,
            precision=precision,
            **{f"ns_{name}": round(cost.wall_s * scale, 2) for name, cost in found.items()},
            **{f"cpu_ns_{name}": round(cost.cpu_s * scale, 2) for name, cost in found.items()},
            copy_gb_per_s=round(2 * n.nbytes * _STEPS / found["copy"].cpu_s / 1e9, 1),
            limit="z: layers at walls are chosen value by value",
        )


def main() -> None:
    """All rows, or those of one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--part", choices=("accuracy", "steps", "hops"))
    options = parser.parse_args()
    print_bandwidth("triad")
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as folder:
        if options.part in (None, "accuracy"):
            accuracy(options.size // 2, options.repeats, Path(folder))
        if options.part in (None, "steps"):
            step_costs(options.size, options.repeats, Path(folder))
        if options.part in (None, "hops"):
            hop_sweeps(options.size, options.repeats)


if __name__ == "__main__":
    main()
