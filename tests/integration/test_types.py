"""Types while the package runs: shapes and dtypes as annotated, and no dtype promoted unasked.

Shapes and dtypes are checked in a process of its own, in which ``conftest.py`` hooks the modules that work on arrays.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from exodiff.kernels.random import make_stream, voxel_index, word_pair
from tests.physics.models import make_model, simulate

IS_HOOKED = os.environ.get("EXODIFF_CHECK_TYPES") == "1"
TYPED = [f"tests/unit/test_{name}.py" for name in ("halving", "lattice", "observe", "operations", "totals")]

EVERYTHING = {
    "lattice": {"fluid_fraction": 0.5},
    "boundary": {"x_low": {"fixed": {"A": 3.0}}, "x_high": "absorbing", "y": "periodic"},
    "parameters": {"k": "0.1 /s", "q": {"by_cell": {"tumour": "0.2 /s"}}, "per_s": "1 /s"},
    "cells": {"tumour": {"motility": "0.05 um^2/s"}, "CAF": {}},
    "species": {
        "A": {"diffusion": 0.2, "decay": "0.1 /s", "initial": {"poisson": 3}},
        "B": {"diffusion": {"default": 0.1, "left": 0.2}, "initial": {"density": "2 /um^3"}},
        "R": {"in": "cell", "initial": {"tumour": 20, "CAF": 5}},
        "bound": {"in": "cell"},
    },
    "regions": {"left": {"layer": {"axis": "x", "from": "0 um", "to": "2 um"}}},
    "reactions": [
        {"name": "release", "equation": "tumour -> tumour + poisson(3) A", "rate": "q"},
        {"name": "bind", "equation": "A + R -> bound", "rate": "0.01 um^3/s"},
        {"name": "pair", "equation": "2 B -> A", "rate": "0.01 um^3/s", "region": "left"},
        {"name": "convert", "equation": "tumour -> CAF", "rate": "k * hill(bound, 5, 2)"},
        {"name": "limited", "equation": "B ->", "propensity": "per_s * saturate(B, 4)"},
        {"name": "crowd", "equation": "-> B", "propensity": "per_s * near(tumour)"},
        {"name": "divide", "equation": "tumour -> 2 tumour", "rate": "0.1 /s"},
        {"name": "death", "equation": "CAF ->", "rate": "0.02 /s"},
    ],
    "place": [{"cells": "tumour", "everywhere": True, "fill": 0.3}, {"cells": "CAF", "everywhere": True, "fill": 0.2}],
    "interventions": [
        {"name": "dose", "at": [0.5], "add": {"A": "0.3 * A"}, "set": {"k": "2 * k"}},
        {"name": "cull", "when": "total(A) > 10", "remove": ["CAF"], "region": "left"},
    ],
    "observables": {
        "share": {"value": "mean(bound, tumour)"},
        "bound_left": {"value": "total(A, left) + events(bind, left)"},
        "profile": {"profile": {"of": "conc(A)", "from": "tumour", "bin": "1 um"}},
        "histogram": {"histogram": {"of": "R", "over": "tumour", "bins": 4}},
    },
}


@pytest.mark.parametrize(
    ("engine", "precision"),
    [
        ("leap", "float32"),
        ("mean_field", "float32"),
        ("exact", "float32"),
        ("leap", "float64"),
        pytest.param("mean_field", "float64", marks=pytest.mark.slow),
        pytest.param("exact", "float64", marks=pytest.mark.slow),
    ],
)
def test_every_engine_runs_without_promoting_a_dtype(engine, precision):
    model = make_model([4, 3], run={"engine": engine, "precision": precision}, **EVERYTHING)
    with jax.numpy_dtype_promotion("strict"):
        found = simulate(model, [0.0, 1.0])
    whole = engine != "mean_field"
    assert found.counts.dtype == (np.int32 if whole else precision)
    assert all(values.dtype in (np.dtype(precision), np.int32) for values in found.observables.values())
    assert np.all(np.asarray(found.counts) >= 0)


def test_small_models_of_exact_run_without_promoting_a_dtype():
    model = make_model(
        [1],
        run={"engine": "exact"},
        species={"A": {"initial": 9}, "B": {}},
        reactions=[{"name": "go", "equation": "2 A -> B", "rate": "0.1 um^3/s"}],
        observables={"events": {"value": "events(go)"}},
    )
    with jax.numpy_dtype_promotion("strict"):
        found = simulate(model, [1.0, 1e6], replicates=3)
    assert np.all(found.total("B")[:, 1] == 4)
    assert np.all(found.observables["events"][:, 1] == 4)


@pytest.mark.skipif(not IS_HOOKED, reason="in the process of the next test")
def test_a_wrong_dtype_is_refused():
    index = voxel_index((2, 2, 2))
    word_pair(make_stream(1, 0), index, 3)
    with pytest.raises(TypeCheckError):
        word_pair(make_stream(1, 0), index.astype(np.float32), 3)


@pytest.mark.skipif(IS_HOOKED, reason="it would start itself")
def test_arrays_have_the_shapes_and_dtypes_that_are_annotated():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-k",
        "not float64",
        str(Path("tests/integration/test_types.py")),
        *TYPED,
    ]
    told = subprocess.run(
        command,
        env=os.environ | {"EXODIFF_CHECK_TYPES": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-5000:]
