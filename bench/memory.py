"""Peak resident memory of whole runs, each in a process of its own, and of their steps as XLA plans it.

python -m bench.memory

A run's peak holds Python, JAX and what compiling needs, some 700 MiB; a step's is the state it takes and what it holds
beside that, in times of the state.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

import exodiff as ex
from bench.rows import print_row
from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE
from exodiff.runner.compiled import advance_all, begin_all
from exodiff.start import make_inputs, start_array

_CHILD = """
import json, resource, sys
import exodiff as ex
model = ex.Model.from_dict(json.loads(sys.argv[1])) if sys.argv[1].startswith("{") else ex.load(sys.argv[1])
ex.run(model, sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def of_a_step(model: ex.Model) -> tuple[float, float]:
    """MiB of the state, and how many times that a step needs with its temporary arrays."""
    problem = model.problem
    inputs, seed = make_inputs(model, None, problem.precision), jnp.asarray(0, BITS_DTYPE)
    state = jax.eval_shape(partial(begin_all, problem, replicates=1), inputs, start_array(model, problem), seed)
    real, whole = jax.ShapeDtypeStruct((), problem.precision), jax.ShapeDtypeStruct((), COUNT_DTYPE)
    given = (problem, inputs, seed, state, (real, real), whole, whole)
    planned = advance_all.whole.lower(*given, replicates=1).compile().memory_analysis()
    size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))
    return size / 2**20, 1 + planned.temp_size_in_bytes / size


def ten_species(size: int) -> dict:
    """A dense box: ten species that diffuse, turn into the next, and decay."""
    names = [f"S{i}" for i in range(10)]
    return {
        "schema": 1,
        "run": {"duration": "10 min", "observe_every": "2 min", "snapshot_every": "10 min"},
        "lattice": {"shape": [size] * 3, "spacing": "20 um"},
        "species": {n: {"diffusion": "1 um^2/s", "decay": "0.1 /h", "initial": {"poisson": 5}} for n in names},
        "reactions": [
            {"equation": f"{a} -> {b}", "rate": "1 /h"} for a, b in zip(names, [*names[1:], names[0]], strict=True)
        ],
    }


def main() -> None:
    """Run both and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    quickstart = str(Path(__file__).parents[1] / "configs" / "quickstart.toml")
    large = str(Path(__file__).parents[1] / "configs" / "primary_tumour.toml")
    cases = {"quickstart": quickstart, f"{options.size}^3, 10 species": json.dumps(ten_species(options.size))}
    for name, model in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            command = [sys.executable, "-c", _CHILD, model, f"{folder}/run"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
            peak = int(done.stdout.split()[-1]) / 1024
            print_row(f"peak memory, {name}", peak_rss_mib=round(peak), wall_s=round(time.perf_counter() - began, 1))
    models = {
        "quickstart": ex.load(quickstart),
        f"{options.size}^3, 10 species": ex.Model.from_dict(ten_species(options.size)),
        "primary_tumour": ex.load(large),
    }
    for name, model in models.items():
        state_mib, times_state = of_a_step(model)
        print_row(f"memory of a step, {name}", state_mib=round(state_mib, 1), times_state=round(times_state, 2))


if __name__ == "__main__":
    main()
