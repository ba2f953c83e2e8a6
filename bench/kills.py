"""Kill runs at random moments, resume them, and compare what they leave with a run that nobody stopped.

python -m bench.kills [--kills 500] [--signal SIGKILL] [--model NAME] [--seed 1]

Each run is a process that is sent the signal after a random time, again and again, until it ends by itself: its last
checkpoint, tables and snapshots must then have the bytes of the run without a stop, and after every kill
``results.vtkhdf`` must show what the snapshots hold. Processes are forked from a server that has imported the package,
so that most of their time is spent in the run.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import tomli_w

import exodiff as ex
from bench.rows import print_row
from exodiff.commands.shared import STOPPED
from exodiff.io import checkpoint
from exodiff.io.results import SnapshotReader
from exodiff.io.vtkhdf import cell_data

TABLES = ("observables.csv", "profiles.csv")
SHARED: dict[str, Any] = {
    "schema": 1,
    "run": {"duration": "40 min", "observe_every": "1 min", "snapshot_every": "4 min", "seed": 5, "time_step": "5 s"},
    "lattice": {"shape": [8, 6, 4], "spacing": "20 um", "fluid_fraction": 0.2},
    "cells": {"tumour": {"motility": "0.05 um^2/s"}, "fibroblast": {}},
    "species": {
        "EV": {"diffusion": "1.3 um^2/s", "decay": "0.5 /h", "initial": {"poisson": 3}},
        "bound": {"in": "cell"},
    },
    "reactions": [
        {"name": "release", "equation": "tumour -> tumour + EV", "rate": "600 /h"},
        {"name": "capture", "equation": "EV -> bound", "rate": "take"},
        {"name": "divide", "equation": "tumour -> 2 tumour", "rate": "1 /h"},
    ],
    "parameters": {"take": {"by_cell": {"fibroblast": "1e-3 /s"}}},
    "place": [
        {"cells": "tumour", "sphere": {"radius": "40 um"}, "fill": 0.5},
        {"cells": "fibroblast", "everywhere": True, "fill": 0.4},
    ],
    "interventions": [{"name": "dose", "at": ["10 min"], "add": {"EV": 100}, "region": "left"}],
    "regions": {"left": {"layer": {"axis": "x", "from": "0 um", "to": "80 um"}}},
    "observables": {
        "free": {"value": "total(EV)"},
        "released": {"value": "events(release)"},
        "profile": {"profile": {"of": "conc(EV)", "from": "tumour", "bin": "20 um"}},
    },
}
OXYGEN = {
    "kind": "concentration",
    "unit": "mmHg",
    "solve": "steady",
    "diffusion": "1667 um^2/s",
    "decay": "2e-3 /s",
    "fixed": {"fibroblast": "40 mmHg"},
}
PLASMA: dict[str, Any] = {
    "species": {**SHARED["species"], "oxygen": OXYGEN},
    "compartments": {"plasma": {"volume": "1 mL", "initial": {"EV": 1e9}}},
    "vessels": {
        "wall": {
            "cells": "fibroblast",
            "compartment": "plasma",
            "species": ["EV"],
            "permeability_surface": "50 um^3/s",
        }
    },
    "reactions": [
        *SHARED["reactions"],
        {"equation": "plasma.EV ->", "rate": "0.02 /min"},
        {"equation": "oxygen ->", "rate": "0.1 /s"},
    ],
}
MODELS: dict[str, dict[str, Any]] = {
    "leap": SHARED,
    "exact": {**SHARED, "run": {**SHARED["run"], "engine": "exact", "duration": "8 min"}},
    "plasma and oxygen": {**SHARED, **PLASMA},
    "replicates, float64": {**SHARED, "run": {**SHARED["run"], "replicates": 3, "precision": "float64"}},
}


def write_model(folder: Path, tables: dict[str, Any]) -> Path:
    """Write the model file; it checkpoints after each call of the device."""
    path = folder / "model.toml"
    path.write_text(tomli_w.dumps({**tables, "run": {**tables["run"], "checkpoint_every": "1e-3 s"}}))
    return path


def run_command(model: str, out: str) -> None:
    """``exodiff run --resume auto`` without figures, in this process; what it compiles is kept beside the model."""
    jax.config.update("jax_compilation_cache_dir", str(Path(model).parent / "compiled"))
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with Path(out).with_suffix(".log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        done = ex.run(ex.load(model), out, resume="auto", figures=False)
    sys.exit(0 if done.finished else STOPPED)


def start(model: Path, out: Path) -> BaseProcess:
    """A run in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["exodiff", "exodiff.runner.entry"])
    process = context.Process(target=run_command, args=(str(model), str(out)))
    process.start()
    return process


def is_same(one: Path, other: Path) -> bool:
    """Whether two finished runs have the same state, tables and snapshots, bit for bit."""
    states = [checkpoint.read_latest(path / "checkpoints").arrays for path in (one, other)]
    if states[0].keys() != states[1].keys():
        return False
    if any(not np.array_equal(array, states[1][name]) for name, array in states[0].items()):
        return False
    if any((one / table).read_bytes() != (other / table).read_bytes() for table in TABLES):
        return False
    ones, others = SnapshotReader(one), SnapshotReader(other)
    return np.array_equal(ones.times_s, others.times_s) and all(
        np.array_equal(field.values, others.read(place).fields[name].values)
        for place in range(len(ones))
        for name, field in ones.read(place).fields.items()
    )


def opens(run: Path) -> bool:
    """Whether the results show what the snapshots hold; a run that was killed before it wrote any is fine.

    A virtual dataset also opens without its files, and then shows made-up values.
    """
    path, reader = run / "results.vtkhdf", SnapshotReader(run)
    if not path.exists():
        return len(reader) <= 1  # killed between the first snapshot and the master of it
    with h5py.File(path) as file:
        times_s, cells = np.asarray(file["VTKHDF/Steps/Values"]), cell_data(file)
        shown = {name: np.asarray(cells[name]) for name in cells}
    heads = reader.heads[: len(times_s)]
    if not heads or shown.keys() != heads[0].arrays.keys() or [head.time_s for head in heads] != list(times_s):
        return False
    for place, head in enumerate(heads):
        with h5py.File(head.path) as file:
            held = cell_data(file)
            if any(not np.array_equal(values[place], np.asarray(held[name])) for name, values in shown.items()):
                return False
    return True


def kill_until_done(
    model: Path, out: Path, kind: signal.Signals, random_source: random.Random, longest_s: float, at_most: int
) -> Counter[str]:
    """Start, send the signal, start again, until a run ends by itself: what the signals did.

    Those that hit, those of them that the run ended for with 75, and how often its results were unreadable then.
    """
    found = Counter[str]()
    while True:
        process = start(model, out)
        process.join(random_source.uniform(0.0, longest_s) if found["signals"] < at_most else None)
        if process.exitcode is None:
            assert process.pid is not None
            os.kill(process.pid, kind)
            process.join()
        if process.exitcode == 0:
            return found
        if process.exitcode not in (-signal.SIGKILL, -signal.SIGTERM, STOPPED):
            raise RuntimeError(f"exit code {process.exitcode}:\n{out.with_suffix('.log').read_text()[-3000:]}")
        found.update({"signals": 1, "with_75": process.exitcode == STOPPED, "unreadable": not opens(out)})


def measure(name: str, kills: int, kind: signal.Signals, seed: int) -> dict[str, Any]:
    """Kill runs of one model until so many signals have hit: what was found."""
    random_source = random.Random(seed)
    found: dict[str, Any] = {"model": name, "signal": kind.name, "runs": 0, "unlike": 0}
    found |= {"signals": 0, "with_75": 0, "unreadable": 0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, whole = write_model(folder, MODELS[name]), folder / "whole"
        for _ in range(2):  # the second one is compiled already
            shutil.rmtree(whole, ignore_errors=True)
            began = time.monotonic()
            process = start(model, whole)
            process.join()
            assert process.exitcode == 0, whole.with_suffix(".log").read_text()
            longest_s = time.monotonic() - began
        while found["signals"] < kills:
            out, began = folder / f"run{found['runs']}", time.monotonic()
            left = kills - found["signals"]
            of_run = kill_until_done(model, out, kind, random_source, longest_s, left)
            if not of_run:  # as long as a run takes now, on a machine that others use too
                longest_s = time.monotonic() - began
            found.update({name: found[name] + number for name, number in of_run.items()})
            found["runs"] += 1
            found["unlike"] += not is_same(whole, out)
            shutil.rmtree(out)
    return {**found, "seconds_of_a_run": round(longest_s, 2), "seed": seed}


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM"], default="SIGKILL")
    parser.add_argument("--model", choices=MODELS, action="append", help="of each an equal share; all of them if none")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    names = given.model or list(MODELS)
    for place, name in enumerate(names):
        share = given.kills // len(names) + (place < given.kills % len(names))
        print_row("kills", **measure(name, share, signal.Signals[given.signal], given.seed))


if __name__ == "__main__":
    main()
