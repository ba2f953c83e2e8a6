"""Some minutes of a growing ball of 18,000 cells in 75^3 voxels with two substrates, beside pyphysicell.

taskset -c 0 python -m bench.tissue [--minutes 6] [--step 1.5] [--rounds 3] > bench/results/tissue.jsonl

Voxels of 20 um, substrates with D = 1e5 and 1e4 um^2/min, lost at 0.1 /min, held at 38 and 10 at the walls, taken up at
10 and 1 /min by cells that divide at 7.2e-4 /min. pyphysicell steps as PhysiCell does (substrates by 0.01, forces by
0.1, phenotypes by 6 min); its cells are balls that push each other, ours fill a voxel each and divide into a free
neighbour. Ours takes pairs of steps of 1.5 min, with substrates solved implicitly over both. CPU time, median over the
rounds, without compiling. Errors are those of the substrates at the end against steps of 0.1 min (theirs: 0.0025). The
means by fine steps tell that both solve one problem but for the walls: theirs hold the outer layer of voxels, ours the
walls.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Any, NamedTuple

os.environ.setdefault("PHYSICELL_THREADS", str(len(os.sched_getaffinity(0))))

import jax
import numpy as np

import exodiff as ex
from bench.bandwidth import print_bandwidth
from bench.rows import print_row

SIZE, SPACING, CELLS = 75, 20.0, 18_000
SUBSTRATES = {"oxygen": (1e5, 38.0, 10.0), "drug": (1e4, 10.0, 1.0)}  # um^2/min, at the walls, uptake in 1/min
DECAY, DIVISION = 0.1, 7.2e-4  # 1/min
CELL_UM3 = 2494.0  # PhysiCell's default; it takes up from a voxel in proportion to the cell's volume in it
STEP, FINE = 1.5, 0.1  # min; the second resolves the substrates
PEER_STEP, PEER_FINE = 0.01, 0.0025  # min, likewise


class Reached(NamedTuple):
    """Simulated minutes a second of a core, the substrates (substrates, voxels) and the number of cells at the end."""

    min_per_core_s: float
    fields: np.ndarray
    cells: int


def ball() -> np.ndarray:
    """Voxels of the cells: those next to the middle."""
    places = np.stack(np.unravel_index(np.arange(SIZE**3), (SIZE,) * 3), -1)
    far = ((places - (SIZE - 1) / 2) ** 2).sum(1)
    return places[np.argsort(far, kind="stable")[:CELLS]]


def ours(minutes: float, step_min: float) -> Callable[[int], Reached]:
    """By `leap`."""
    radius = (3 * CELLS / (4 * np.pi)) ** (1 / 3) * SPACING
    substrate = {"kind": "concentration", "unit": "1/um^3", "solve": "implicit", "decay": f"{DECAY} /min"}
    held = {name: f"{value} /um^3" for name, (_, value, _) in SUBSTRATES.items()}
    tables: dict[str, Any] = {
        "schema": 1,
        "run": {"duration": "1 day", "time_step": f"{step_min} min"},
        "lattice": {"shape": [SIZE] * 3, "spacing": f"{SPACING} um", "boundary": {"fixed": held}},
        "cells": {"cell": {}},
        "place": [{"cells": "cell", "sphere": {"radius": f"{radius:.6g} um"}}],
        "species": {
            name: {**substrate, "diffusion": f"{diffusivity} um^2/min", "initial": value}
            for name, (diffusivity, value, _) in SUBSTRATES.items()
        },
        "reactions": [
            {"equation": "cell -> 2 cell", "rate": f"{DIVISION} /min"},
            *(
                {"equation": f"cell + {name} -> cell", "rate": f"{rate * CELL_UM3 / SPACING**3} /min"}
                for name, (_, _, rate) in SUBSTRATES.items()
            ),
        ],
    }
    model = ex.Model.from_dict(tables)
    times = [60.0 * minutes]

    def call(seed: int) -> Reached:
        began = time.process_time()
        found = jax.block_until_ready(ex.simulate(model, times, seed=seed))
        took = time.process_time() - began
        fields = np.stack([np.asarray(found[name], float).ravel() for name in SUBSTRATES])
        return Reached(minutes / took, fields, int(np.asarray(found["cell"]).sum()))

    call(0)
    return call


def pyphysicell(minutes: float, step_min: float) -> Callable[[int], Reached]:
    """Its substrates, forces and phenotypes."""
    import pyphysicell as pc  # noqa: PLC0415

    side = SIZE * SPACING
    walls = ("xmin", "xmax", "ymin", "ymax", "zmin", "zmax")
    substrates = [
        pc.Substrate(name, d, DECAY, value, True, value, dict.fromkeys(walls, (True, value)))
        for name, (d, value, _) in SUBSTRATES.items()
    ]
    uptake = {name: pc.SecretionEntry(uptake_rate=rate) for name, (_, _, rate) in SUBSTRATES.items()}
    cell = pc.CellType("cell", cycle=pc.Cycle(transition_rates={(0, 0): DIVISION}), secretion=uptake)
    centres = (ball() + 0.5) * SPACING
    model = pc.Model(
        time=pc.Time(dt_diffusion=step_min),
        domain=pc.Domain(0, side, 0, side, 0, side, SPACING, SPACING, SPACING, use_2D=False),
        substrates=substrates,
        cell_types=[cell],
        initial_cells=[(*place, "cell") for place in centres.tolist()],
    )

    def call(seed: int) -> Reached:
        simulation = pc.Simulation(model, seed=seed)
        began = time.process_time()
        simulation.run(minutes)
        took = time.process_time() - began
        fields = simulation.microenvironment.density.reshape(-1, len(SUBSTRATES)).T
        return Reached(minutes / took, fields.copy(), simulation.cells.n)

    return call


def off(found: Reached, fine: Reached) -> list[float]:
    """Root mean square error of each substrate over its root mean square, in per cent."""
    wrong = np.sqrt(((found.fields - fine.fields) ** 2).mean(1) / (fine.fields**2).mean(1))
    return [round(100 * value, 2) for value in wrong.tolist()]


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--step", type=float, default=STEP, help="of ours, in minutes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_bandwidth("triad")
    sides = {"ours": ours(options.minutes, options.step), "other": pyphysicell(options.minutes, PEER_STEP)}
    found: dict[str, list[Reached]] = {name: [] for name in sides}
    for seed in range(1, options.rounds + 1):
        for name, call in sides.items():
            found[name].append(call(seed))
    fine, peer_fine = ours(options.minutes, FINE)(1), pyphysicell(options.minutes, PEER_FINE)(1)
    own, theirs = (median(one.min_per_core_s for one in runs) for runs in found.values())
    print_row(
        "minutes of a tissue",
        size=SIZE,
        cells=CELLS,
        simulated_min=options.minutes,
        min_per_core_s=round(own, 3),
        peer=f"pyphysicell {version('pyphysicell')}",
        peer_min_per_core_s=float(f"{theirs:.3g}"),
        times_peer=round(own / theirs, 1),
        error_percent=off(found["ours"][0], fine),
        peer_error_percent=off(found["other"][0], peer_fine),
        means_by_fine_steps=[round(m, 3) for m in fine.fields.mean(1).tolist()],
        peer_means_by_fine_steps=[round(m, 3) for m in peer_fine.fields.mean(1).tolist()],
        cells_at_the_end=[runs[0].cells for runs in found.values()],
    )


if __name__ == "__main__":
    main()
