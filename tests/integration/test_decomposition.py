"""A lattice split over devices: the same bits as on one, and no device ever gets the whole lattice."""

import math
import os
import subprocess
import sys
from functools import cache

import pytest

PROGRAM = """
import hashlib, re, sys
from functools import partial
import jax, jax.numpy as jnp, numpy as np
import exodiff as ex
from exodiff.devices import divide, mesh_of, on, placed
from exodiff.schedule import make_plan
from exodiff.start import make_inputs, start_array
from exodiff.trajectories import trajectories

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

COMPILED = (
    PROGRAM
    + """
engine = sys.argv[1]
model = ex.Model.from_dict({**TABLES, "run": {**TABLES["run"], "engine": engine}})
problem = model.problem
plan = make_plan([20.0, 60.0], problem)
mesh = mesh_of(divide(problem, 1, jax.device_count()))
arrays = placed(mesh, (make_inputs(model, None, "float32"), start_array(model, problem)), problem.grid.shape)
with on(mesh):
    arrays = (*arrays, jnp.uint32(3))
    run = jax.jit(partial(trajectories, problem, plan, replicates=1, devices=1))
    compiled = run.lower(*arrays).compile()
    found = compiled(*arrays)
assert len(found[0].counts.sharding.device_set) == jax.device_count()
print(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found))).hexdigest())
kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
for shapes, kind in re.findall(rf"= (\\(?[^=]*?) ({kinds})(?:-start)?\\(", compiled.as_text()):
    for shape in re.findall(r"(?:pred|s32|u32|f32)\\[([0-9,]*)\\]", shapes):
        print(kind, shape or 1)
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
def _compiled_on(devices: int, engine: str) -> tuple[str, list[tuple[str, list[int]]]]:
    """The hash of all that was found, and the collective operations of the program with the shape of each."""
    found, *operations = _on_devices(devices, COMPILED, engine)
    return found, [(kind, [int(n) for n in shape.split(",")]) for kind, shape in map(str.split, operations)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["leap", "mean_field"])
@pytest.mark.parametrize("devices", [2, 3, 4, 6, 8])
def test_a_split_lattice_has_the_same_bits(devices, engine):
    assert _compiled_on(devices, engine)[0] == _compiled_on(1, engine)[0]


@pytest.mark.slow
def test_only_faces_of_the_pieces_and_sums_go_between_devices():
    """In 2 x 2 pieces of 4 x 3 x 5 voxels: what still has its z is a face, or distances of a profile along an axis."""
    operations = _compiled_on(4, "leap")[1]
    assert {kind for kind, _ in operations} <= {"collective-permute", "all-reduce", "all-gather"}
    with_z = [shape for _, shape in operations if shape[-1] == 5]
    assert [4, 1, 5] in with_z
    assert [shape for shape in with_z if math.prod(shape) > 8 * 5] == [[8, 3, 5], [4, 6, 5]]


STEADY = """
import jax, jax.numpy as jnp, numpy as np, sys
from exodiff.devices import Division, mesh_of, on, placed
from exodiff.kernels import steady
from exodiff.lattice.grid import Grid

walls = (("reflecting", "absorbing"), ("periodic", "periodic"), ("reflecting", "reflecting"))
grid = Grid((int(sys.argv[1]), 6, 5), (10.0, 10.0, 10.0), walls=walls)
rng = np.random.default_rng(0)
ranges = ((500, 1000), (0, 0.1), (0, 1))
diffusivity, loss, source = (rng.uniform(low, high, grid.shape).astype("f") for low, high in ranges)
is_free = rng.uniform(size=grid.shape) < 0.9

@jax.jit
def solve(diffusivity, loss, source, is_free):
    nothing = jnp.zeros_like(diffusivity)
    outflow = steady.wall_exchange(diffusivity, grid, 0, 1)
    exchange = steady.face_exchange(diffusivity, grid)
    spread = steady.Spread(exchange, outflow, nothing, is_free, jnp.where(is_free, 0.0, 5.0))
    return steady.solve_linear(spread, loss, source, nothing, grid)

for pieces in ((1, 1), (2, 1), (1, 2), (4, 1), (2, 3), (4, 2)):
    mesh = mesh_of(Division(pieces=pieces))
    with on(mesh):
        found = solve(*placed(mesh, (diffusivity, loss, source, is_free), grid.shape))
    assert found.is_solved
    print(np.asarray(found.value).tobytes().hex())
"""


@pytest.mark.parametrize("length", [8, 16])  # by the diagonal, and by the modes of each axis
def test_a_steady_field_has_the_same_bits_in_any_pieces(length):
    assert len(set(_on_devices(8, STEADY, str(length)))) == 1


DIFFUSED = """
import jax, jax.numpy as jnp, numpy as np
from exodiff.devices import Division, mesh_of, on, placed
from exodiff.kernels.diffusion import even_mean_gain
from exodiff.kernels.exponential import diffused, relax, response
from exodiff.lattice.grid import Grid

walls = (("reflecting", "absorbing"), ("periodic", "periodic"), ("reflecting", "reflecting"))
grid = Grid((8, 6, 5), (10.0, 10.0, 10.0), walls=walls)
start, loss, source = np.random.default_rng(0).uniform(size=(3, *grid.shape)).astype("f")
exchange = (jnp.float32(5), jnp.float32(3), jnp.float32(4))

@jax.jit
def steps(start, loss, source):
    dt = jnp.float32(0.3)
    for _ in range(3):
        start = relax(loss, source, diffused(relax(loss, source, start, dt), exchange, dt, grid), dt)
    start = start + response(source, exchange, dt, dt, grid)
    for closed in (Grid(grid.shape, grid.spacing_um), Grid(grid.shape, grid.spacing_um, walls=(walls[1],) * 3)):
        for axis in range(3):
            start = start + even_mean_gain(start, dt, closed, axis)
    return start

for pieces in ((1, 1), (2, 1), (1, 2), (4, 1), (2, 3), (4, 2)):
    mesh = mesh_of(Division(pieces=pieces))
    with on(mesh):
        found = steps(*placed(mesh, (start, loss, source), grid.shape))
    print(np.asarray(found).tobytes().hex())
"""


def test_exact_diffusion_and_mean_hops_have_the_same_bits_in_any_pieces():
    assert len(set(_on_devices(8, DIFFUSED))) == 1


DISTANCES = """
import jax, jax.numpy as jnp, numpy as np
from exodiff.devices import Division, mesh_of, on, placed
from exodiff.lattice.grid import Grid
from exodiff.observe import squared_distance_um2

walls = (("periodic", "periodic"), ("reflecting", "reflecting"), ("reflecting", "reflecting"))
grid = Grid((8, 6, 5), (10.0, 7.0, 3.0), walls=walls)
origin = np.random.default_rng(0).uniform(size=grid.shape) < 0.03
distances = jax.jit(lambda origin: squared_distance_um2(origin, grid))
for pieces in ((1, 1), (4, 1), (1, 3), (2, 3)):
    mesh = mesh_of(Division(pieces=pieces))
    with on(mesh):
        (given,) = placed(mesh, (origin,), grid.shape)
        print(np.asarray(distances(given)).tobytes().hex())
"""


def test_distances_have_the_same_bits_in_any_pieces():
    found = _on_devices(8, DISTANCES)
    assert len(found) == 4
    assert len(set(found)) == 1


MOVES = """
import signal, sys
import jax
from pathlib import Path
import exodiff as ex
from exodiff.runner.entry import resume, run

tables = {
    "schema": 1,
    "run": {"duration": "40 s", "time_step": "1 s", "observe_every": "10 s", "snapshot_every": "20 s", "seed": 2},
    "lattice": {"shape": [12, 8, 3], "spacing": "10 um"},
    "species": {"A": {"diffusion": "20 um^2/s", "decay": "0.01 /s", "initial": {"poisson": 5}}},
    "observables": {"A": {"value": "total(A)"}},
}
out, moves = Path(sys.argv[1]), sys.argv[2] == "moves"

def report(progress):
    if moves and progress.time_s > 0:
        signal.raise_signal(signal.SIGTERM)

if (out / "checkpoints").exists():
    assert resume(out).finished
else:
    assert run(ex.Model.from_dict(tables), out, report=report, figures=False).finished != moves
print(jax.device_count())
"""


def test_a_run_begun_on_eight_devices_goes_on_on_three(tmp_path):
    _on_devices(1, MOVES, str(tmp_path / "still"), "still")
    _on_devices(8, MOVES, str(tmp_path / "moved"), "moves")
    _on_devices(3, MOVES, str(tmp_path / "moved"), "resumes")
    still, moved = (
        {path.name: path.read_bytes() for path in [folder / "observables.csv", *(folder / "snapshots").iterdir()]}
        for folder in (tmp_path / "still", tmp_path / "moved")
    )
    assert still == moved
