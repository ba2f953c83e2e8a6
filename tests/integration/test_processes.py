"""One run by several processes, found by the variables of SLURM: the same bits, one of them writes, a signal to any."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import exodiff as ex
from exodiff.devices import Division, divide, mesh_of
from exodiff.io import checkpoint
from exodiff.processes import join

MODEL: dict[str, Any] = {
    "schema": 1,
    "run": {"duration": "4 min", "time_step": "1 s", "observe_every": "20 s", "snapshot_every": "1 min", "seed": 2},
    "lattice": {"shape": [8, 6, 3], "spacing": "10 um"},
    "cells": {"tumour": {}},
    "species": {"A": {"diffusion": "20 um^2/s", "decay": "0.01 /s", "initial": {"poisson": 5}}},
    "reactions": [{"equation": "tumour -> tumour + A", "rate": "0.5 /s"}],
    "place": [{"cells": "tumour", "everywhere": True, "fill": 0.3}],
    "observables": {
        "A": {"value": "total(A)"},
        "near": {"profile": {"of": "A", "from": "tumour", "bin": "10 um"}},
    },
}


def _content(out: Path) -> dict[str, Any]:
    """The last state, the tables and the snapshots."""
    content: dict[str, Any] = dict(checkpoint.read_latest(out / "checkpoints").arrays)
    files = [out / "observables.csv", out / "profiles.csv", *(out / "snapshots").iterdir()]
    return content | {path.name: path.read_bytes() for path in files}


def _started(number: int, config: Path, out: Path, *options: str) -> list[subprocess.Popen[str]]:
    """Tasks of a step of SLURM on this machine, of two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_COORDINATOR_PORT": port,
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(number),
    }
    command = [sys.executable, "-m", "exodiff.cli", "run", str(config), "--out", str(out), "--resume", "auto", *options]
    return [
        subprocess.Popen(
            command,
            env={**shared, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(number)
    ]


def _ended(tasks: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes and what was told."""
    told = [task.communicate(timeout=200)[1] for task in tasks]
    return [task.returncode for task in tasks], told


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The model file, and the content of the run by one process on one device."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "model.toml").write_text(tomli_w.dumps(MODEL))
    assert ex.run(ex.load(folder / "model.toml"), folder / "run", figures=False).finished
    return folder / "model.toml", _content(folder / "run")


@pytest.mark.slow
def test_two_processes_of_two_devices_write_the_run_of_one(given, tmp_path):
    config, whole = given
    codes, told = _ended(_started(2, config, tmp_path / "run"))
    assert codes == [0, 0], told
    np.testing.assert_equal(_content(tmp_path / "run"), whole)
    assert "done" in told[0]
    assert "done" not in told[1]
    assert len(list((tmp_path / "run" / "figures").iterdir())) > 0


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_with_a_checkpoint_and_one_goes_on(given, tmp_path):
    config, whole = given
    out = tmp_path / "run"
    tasks = _started(2, config, out)
    # the first call of the device is being compiled then
    while not (out / "snapshots" / "snap-00000000.vtkhdf").exists():
        assert all(task.poll() is None for task in tasks)
        time.sleep(0.02)
    tasks[1].send_signal(signal.SIGTERM)
    codes, told = _ended(tasks)
    assert codes == [75, 75], told
    assert 0 < checkpoint.read_latest(out / "checkpoints").meta["time_s"] < 240
    assert ex.run(ex.load(config), out, resume="auto", figures=False).finished
    np.testing.assert_equal(_content(out), whole)


@pytest.mark.slow
def test_a_refusal_ends_all_processes(given, tmp_path):
    config, _ = given
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    codes, told = _ended(_started(2, config, tmp_path / "run"))
    assert codes[0] == 2
    assert codes[1] != 0
    assert "is not empty and holds no run" in told[0]


def test_what_does_not_divide_over_processes_is_refused():
    problem = ex.Model.from_dict(MODEL).problem
    assert divide(problem, 1, 4, processes=2) == Division(pieces=(2, 2))  # the least surface
    assert divide(problem, 6, 4, processes=2) == Division(shares=2)
    with pytest.raises(ex.ConfigError, match=r"run\.replicates: cannot be divided equally over 2 processes"):
        divide(problem, 3, 4, processes=2)
    with pytest.raises(ex.ConfigError, match=r"lattice\.shape: cannot be divided equally over 5 processes"):
        divide(problem, 1, 5, processes=5)
    assert mesh_of(Division()) is None


def test_a_step_of_one_task_or_a_script_joins_nobody_and_half_a_step_is_told():
    join({})
    join({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"})
    join({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"})  # the job's script, outside of srun
    with pytest.raises(ex.ConfigError, match=r"SLURM_STEP_NODELIST, SLURM_LOCALID is not set; start .* with srun"):
        join({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"})
