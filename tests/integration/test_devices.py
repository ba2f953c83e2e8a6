"""The same bits on one device and on several, whole or in pieces."""

import os
import subprocess
import sys

import pytest

from bench.device_hashes import hash_of, run

PROGRAM = """
import hashlib
import tempfile
import jax
import numpy as np
import exodiff as ex
from exodiff.io import checkpoint

tables = {
    "schema": 1,
    "run": {"duration": "4 s", "engine": "exact"},
    "lattice": {"shape": [3, 2], "spacing": "1 um"},
    "species": {"A": {"diffusion": 0.5, "initial": {"poisson": 4}}},
    "reactions": [{"equation": "-> A", "rate": "2 /s"}, {"equation": "A ->", "rate": "0.5 /s"}],
}
small = {**tables, "lattice": {"shape": [1], "spacing": "1 um"}, "species": {"A": {"initial": {"poisson": 4}}}}
bursts = {**tables, "reactions": [{"equation": "-> poisson(3) A", "rate": "0.5 /s"}]}
for given, engine in ((small, "exact"), (bursts, "exact"), (tables, "leap")):
    model = ex.Model.from_dict(given)
    time_step = None if engine == "exact" else 0.25
    found = ex.simulate(model, [2.0, 4.0], seed=3, replicates=5, engine=engine, time_step=time_step)
    assert len(found.counts.sharding.device_set) == jax.device_count()
    counts = np.asarray(found.counts)
    assert np.any(counts[0] != counts[1])
    print(hashlib.sha256(counts.tobytes()).hexdigest())

with tempfile.TemporaryDirectory() as out:
    done = ex.run(ex.Model.from_dict({**small, "run": {**small["run"], "replicates": 2}}), out, figures=False)
    counts = checkpoint.read_latest(done.path / "checkpoints").arrays["counts"]
    assert np.any(counts[0] != counts[1])
    print(hashlib.sha256(counts.tobytes()).hexdigest())
"""


def _hashes(devices: int) -> list[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def on_one_device():
    return _hashes(1)


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicates_have_the_same_bits_on_any_number_of_devices(on_one_device, devices):
    assert len(set(on_one_device)) == 4
    assert _hashes(devices) == on_one_device


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_ends_with_the_same_bits_in_two_pieces(tmp_path):
    for devices in (1, 2):
        run("primary_tumour", tmp_path / str(devices), devices)
    assert hash_of(tmp_path / "1") == hash_of(tmp_path / "2")
