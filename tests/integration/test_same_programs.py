"""A model is the same program in every process: else what was compiled is compiled again, and might round otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"

LOWERED = """
import hashlib, sys
from functools import partial
import jax, jax.numpy as jnp
from exodiff.build import load
from exodiff.core.arrays import BITS_DTYPE
from exodiff.runner.compiled import advance_all, begin_all, measure_all
from exodiff.start import make_inputs, start_array

model = load(sys.argv[1], sys.argv[2:])
problem = model.problem
real, whole = jax.ShapeDtypeStruct((), problem.precision), jax.ShapeDtypeStruct((), "int32")
inputs, seed = make_inputs(model, None, problem.precision), jnp.asarray(1, BITS_DTYPE)
start = start_array(model, problem)
state = jax.eval_shape(partial(begin_all, problem, replicates=1), inputs, start, seed)
for function, given in (
    (begin_all, (start, seed)),
    (measure_all, (seed, state, real)),
    (advance_all, (seed, state, (real, real), whole, whole)),
):
    text = jax.jit(partial(function, problem, replicates=1)).lower(inputs, *given).as_text()
    print(hashlib.sha256(text.encode()).hexdigest())
"""


def lowered(seed: str, *arguments: str) -> list[str]:
    """Hashes of the programs of a run, in a process with hashes of strings of its own."""
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", LOWERED, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_the_programs_of_a_study_do_not_depend_on_the_order_of_a_set():
    given = (str(CONFIGS / "primary_tumour.toml"), "lattice.shape=[16,16,16]")
    assert len(found := {tuple(lowered(seed, *given)) for seed in ("1", "2")}) == 1
    assert len(set(*found)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "premetastatic_niche", "liquid_biopsy", "therapy"])
def test_the_programs_of_any_study_do_not_depend_on_the_order_of_a_set(name):
    given = str(CONFIGS / f"{name}.toml")
    assert len({tuple(lowered(seed, given)) for seed in ("1", "2", "3")}) == 1
