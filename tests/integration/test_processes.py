"""One run by several processes, found by the variables of SLURM: the same bits, one of them writes, a signal to any."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import exodiff as ex
from bench.device_hashes import start_tasks
from bench.kills import MODELS
from exodiff.devices import Division, divide, mesh_of
from exodiff.io import checkpoint
from exodiff.io.results import SnapshotReader
from exodiff.processes import join
from exodiff.runner import driver
from exodiff.runner.directory import RunDirectory
from tests.integration.stopping import StopAfter, content

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


def _started(config: Path, out: Path, *options: str) -> list[subprocess.Popen[str]]:
    """Two tasks of two devices each."""
    return start_tasks(2, 2, "exodiff.cli", "run", str(config), "--out", str(out), "--resume", "auto", *options)


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
    return folder / "model.toml", content(folder / "run")


@pytest.mark.slow
def test_two_processes_of_two_devices_write_the_run_of_one(given, tmp_path):
    config, whole = given
    codes, told = _ended(_started(config, tmp_path / "run"))
    assert codes == [0, 0], told
    np.testing.assert_equal(content(tmp_path / "run"), whole)
    assert "done" in told[0]
    assert "done" not in told[1]
    assert len(list((tmp_path / "run" / "figures").iterdir())) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given"),
    [("exact", {"replicates": 2, "duration": "2 min"}), ("plasma and oxygen", {"duration": "8 min"})],
)
def test_two_processes_write_replicates_clocks_and_concentrations_as_one_does(tmp_path, name, given):
    config = tmp_path / "model.toml"
    config.write_text(tomli_w.dumps({**MODELS[name], "run": {**MODELS[name]["run"], **given}}))
    assert ex.run(ex.load(config), tmp_path / "one", figures=False).finished
    codes, told = _ended(_started(config, tmp_path / "two"))
    assert codes == [0, 0], told
    assert list((tmp_path / "two").glob("*/*-1.h5"))
    np.testing.assert_equal(content(tmp_path / "two"), content(tmp_path / "one"))


def _begun(config: Path, out: Path) -> list[subprocess.Popen[str]]:
    """Tasks whose first call of the device is being compiled, or goes on."""
    tasks = _started(config, out)
    while not (out / "snapshots" / "snap-00000000.vtkhdf").exists():
        assert all(task.poll() is None for task in tasks)
        time.sleep(0.02)
    return tasks


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_with_a_checkpoint_and_one_goes_on(given, tmp_path):
    config, whole = given
    out = tmp_path / "run"
    tasks = _begun(config, out)
    tasks[1].send_signal(signal.SIGTERM)
    codes, told = _ended(tasks)
    assert codes == [75, 75], told
    assert 0 < checkpoint.read_latest(out / "checkpoints").meta["time_s"] < 240
    assert ex.run(ex.load(config), out, resume="auto", figures=False).finished
    np.testing.assert_equal(content(out), whole)


@pytest.mark.slow
def test_two_processes_go_on_with_an_accepted_change_as_one_does(given, tmp_path, monkeypatch):
    config, _ = given
    monkeypatch.setattr(driver, "StopRequest", StopAfter(3))
    assert not ex.run(ex.load(config), tmp_path / "one").finished
    monkeypatch.undo()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    change = "reactions.r1.rate=2 /s"
    assert ex.run(ex.load(config, [change]), tmp_path / "one", resume="auto", accept_changes=True).finished
    codes, told = _ended(_started(config, tmp_path / "two", "--set", change))
    assert codes[0] == 2
    assert codes[1] != 0
    assert "differs in reactions.r1.rate" in told[0]
    codes, told = _ended(_started(config, tmp_path / "two", "--set", change, "--accept-changes"))
    assert codes == [0, 0], told
    assert "on with other reactions.r1.rate" in told[0]
    np.testing.assert_equal(content(tmp_path / "two"), content(tmp_path / "one"))
    assert RunDirectory(tmp_path / "two").config() == RunDirectory(tmp_path / "one").config()


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_if_a_process_dies_the_other_ends_within_a_minute_and_the_run_goes_on(given, tmp_path, dies):
    config, whole = given
    out = tmp_path / "run"
    tasks = _begun(config, out)
    tasks[dies].kill()
    died = time.monotonic()
    codes, told = _ended(tasks)
    assert time.monotonic() - died < 60
    assert codes[1 - dies] != 0, told
    assert ex.run(ex.load(config), out, resume="auto", figures=False).finished
    np.testing.assert_equal(content(out), whole)


def _joined_and_not(folder: Path) -> tuple[set[str], set[str]]:
    """What the pieces in a folder belong to: that with a master, and that without."""
    pieces = {path.name.split(".")[0] for path in folder.glob("*.*-1.h5")}
    joined = {stem for stem in pieces if any((folder / f"{stem}{end}").exists() for end in (".h5", ".vtkhdf"))}
    return joined, pieces - joined


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "function", "folder", "processes_then"),
    [
        ("exodiff.io.checkpoint", "join_pieces", "checkpoints", 1),
        ("exodiff.io.snapshots", "join_snapshot", "snapshots", 3),
    ],
)
def test_killed_between_pieces_and_master_the_run_goes_on(given, tmp_path, module, function, folder, processes_then):
    config, whole = given
    out = tmp_path / "run"
    run = ("run", str(config), "--out", str(out), "--resume", "auto", "--set", 'run.checkpoint_every="1e-3 s"')
    codes, told = _ended(start_tasks(2, 2, "tests.integration.stopped_at", "kill", module, function, "2", *run))
    assert codes[0] == -signal.SIGKILL, told
    joined, alone = _joined_and_not(out / folder)
    assert (len(joined), len(alone)) == (2, 1)
    codes, told = _ended(start_tasks(processes_then, 1, "exodiff.cli", *run))
    assert set(codes) == {0}, told
    np.testing.assert_equal(content(out), whole)
    assert not _joined_and_not(out / folder)[1]


@pytest.mark.slow
def test_if_the_first_process_fails_the_other_ends_within_a_minute(given, tmp_path):
    config, _ = given
    tasks = _begun(config, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "away")
    failed = time.monotonic()
    codes, told = _ended(tasks)
    assert time.monotonic() - failed < 60
    assert codes[0] == 3
    assert codes[1] != 0
    assert "was removed, moved or replaced while the run went on" in told[0]


@pytest.mark.slow
def test_a_refusal_ends_all_processes(given, tmp_path):
    config, _ = given
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    codes, told = _ended(_started(config, tmp_path / "run"))
    assert codes[0] == 2
    assert codes[1] != 0
    assert "is not empty and holds no run" in told[0]


def test_info_under_srun_joins_nobody_and_shows_the_mesh_of_the_run(given):
    config, _ = given
    tasks = start_tasks(2, 2, "exodiff.cli", "info", str(config))
    shown = [task.communicate(timeout=100) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], shown
    assert "model.toml: lattice in 2 x 2 pieces on 4 of 4 devices of 2 processes" in shown[0][0]
    assert shown[1][0] == ""


@pytest.mark.slow
def test_a_missing_piece_of_an_old_snapshot_is_told_when_the_run_goes_on(given, tmp_path):
    config, _ = given
    out = tmp_path / "run"
    codes, told = _ended(_started(config, out, "--set", 'run.duration="2 min"'))
    assert codes == [0, 0], told
    piece = next((out / "snapshots").glob("snap-00000001.*-1.h5"))
    piece.unlink()
    codes, told = _ended(_started(config, out, "--accept-changes"))
    assert codes == [0, 0], told
    assert f"snapshots/snap-00000001.vtkhdf: its piece {piece.name} is missing; figures and results.vtkhdf" in told[0]
    assert len(SnapshotReader(out)) == 4
    assert list((out / "figures").iterdir())


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
