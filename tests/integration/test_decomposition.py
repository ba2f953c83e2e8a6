"""A lattice split over devices: the same bits as on one, and no device ever gets the whole lattice."""

import os
import subprocess
import sys
from functools import cache

import pytest

PROGRAM = """
import hashlib, sys
import jax, numpy as np
import exodiff as ex

TABLES = {
    "schema": 1,
    "run": {"duration": "60 s", "engine": "leap", "tolerance": 0.3},
    "lattice": {
        "shape": [8, 6, 5],
        "spacing": "10 um",
        "boundary": {"y": "periodic", "x_high": "absorbing"},
    },
    "compartments": {"plasma": {"volume": "1e6 um^3", "initial": {"EV": 5000}}},
    "cells": {"tumour": {"motility": "0.5 um^2/s", "chemotaxis": {"up": "oxygen", "strength": 2.0}}, "vessel": {}},
    "species": {
        "EV": {"diffusion": "1 um^2/s", "decay": "0.01 /s", "initial": {"poisson": 40}},
        "slow": {"diffusion": {"core": "0.1 um^2/s", "default": "0.4 um^2/s"}, "initial": {"poisson": 3}},
        "dose": {"in": "cell"},
        "oxygen": {
            "kind": "concentration", "unit": "mM", "solve": "steady", "diffusion": "1000 um^2/s", "decay": "0.1 /s",
            "fixed": {"vessel": "5 mM"},
        },
    },
    "regions": {"core": {"box": {"low": ["20 um", "10 um", "0 um"], "high": ["60 um", "40 um", "50 um"]}}},
    "reactions": [
        {"equation": "tumour -> tumour + poisson(2) EV", "rate": "0.1 /s"},
        {"equation": "EV + tumour -> tumour + dose", "rate": "0.02 /s"},
        {"equation": "EV + slow -> slow", "rate": "1 um^3/s"},
        {"equation": "tumour -> 2 tumour", "rate": "0.02 /s"},
    ],
    "vessels": {
        "wall": {
            "cells": "vessel", "compartment": "plasma", "species": ["EV"], "permeability_surface": "10 um^3/s",
        }
    },
    "place": [
        {"cells": "vessel", "lines": {"axis": "z", "every": "30 um"}},
        {"cells": "tumour", "everywhere": True, "fill": 0.4},
    ],
    "observables": {
        "cells": {"value": "total(tumour)"},
        "oxygen": {"value": "mean(oxygen, tumour)"},
        "profile": {"profile": {"of": "conc(EV)", "from": "vessel", "bin": "10 um"}},
        "doses": {"histogram": {"of": "dose", "over": "tumour", "bins": [0, 1, 4, 1000]}},
    },
}
"""

HASHES = (
    PROGRAM
    + """
engine = sys.argv[1]
model = ex.Model.from_dict({**TABLES, "run": {**TABLES["run"], "engine": engine}})
found = ex.simulate(model, [20.0, 60.0], seed=3)
assert len(found.counts.sharding.device_set) == jax.device_count()
found = [np.asarray(leaf) for leaf in jax.tree.leaves(found)]
print(hashlib.sha256(b"".join(leaf.tobytes() for leaf in found)).hexdigest())
"""
)


def _on_devices(devices: int, program: str, *arguments: str) -> list[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@cache
def _hash_on(devices: int, engine: str) -> list[str]:
    return _on_devices(devices, HASHES, engine)


SLOW = [(n, engine) for n in (2, 3, 4, 6, 8) for engine in ("leap", "mean_field") if (n, engine) != (4, "leap")]


@pytest.mark.parametrize(
    ("devices", "engine"), [(4, "leap"), *(pytest.param(*s, marks=pytest.mark.slow) for s in SLOW)]
)
def test_a_split_lattice_has_the_same_bits(devices, engine):
    assert _hash_on(devices, engine) == _hash_on(1, engine)
