"""Sweeps: each run is the run it says, failures stay with their run, and a second call does what is left."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff.cli import app
from exodiff.core.errors import RunDirectoryError
from exodiff.io import checkpoint
from exodiff.io.atomic import write_json
from exodiff.sweep import execute
from exodiff.sweep import plan as plan_module
from exodiff.sweep.collect import collect
from exodiff.sweep.design import parse_variation
from exodiff.sweep.execute import run_all, run_one
from exodiff.sweep.plan import DONE, FAILED, STOPPED, Outcome, Plan, make_plan, read_plan

DECAY = {
    "schema": 1,
    "run": {"duration": "10 s", "seed": 5, "observe_every": "5 s", "precision": "float64"},
    "lattice": {"shape": [1], "spacing": "10 um"},
    "parameters": {"k": "0.1 /s"},
    "species": {"A": {"initial": 1000}},
    "reactions": [{"name": "loss", "equation": "A ->", "rate": "k"}],
    "observables": {"a": {"value": "total(A)"}},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "decay.toml"
    file.write_text(tomli_w.dumps(DECAY), encoding="utf-8")
    return file


def told(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["sweep", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_sweep_runs_every_point_in_processes_and_collects_them(config: Path, tmp_path: Path):
    out = tmp_path / "sweep"
    told(config, "--vary", "parameters.k=0.1 /s, 0.2 /s", "--seeds", "2", "--out", out, "--slurm")
    plan = read_plan(out)
    assert plan.rows == (("0.1 /s", "5"), ("0.1 /s", "6"), ("0.2 /s", "5"), ("0.2 /s", "6"))
    seen = []
    run_all(plan, 2, lambda run, outcome: seen.append((run, outcome.state)))
    assert sorted(seen) == [(run, DONE) for run in range(4)]
    (table,) = collect(plan)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3
    model = ex.load(config, ["parameters.k=0.2 /s", "run.seed=6"])
    alone = ex.simulate(model, [0.0, 5.0, 10.0], seed=6).observables["a"][0]
    mine = [float(row["a"]) for row in rows if row["parameters.k"] == "0.2 /s" and row["run.seed"] == "6"]
    np.testing.assert_array_equal(mine, alone)
    (packed,) = collect(plan, tmp_path / "all.h5")
    with h5py.File(packed) as file:
        np.testing.assert_array_equal(file["a"][()], [float(row["a"]) for row in rows])
        assert file["parameters.k"][0] == b"0.1 /s"
    run_all(plan, 1, lambda run, outcome: pytest.fail(f"run {run} was done already"))


def test_a_run_that_fails_says_why_and_is_tried_again(config: Path, tmp_path: Path):
    out = tmp_path / "sweep"
    with pytest.raises(ex.ConfigError, match="negative"):
        told(config, "--vary", "parameters.k=0.1 /s, 0.3 /s, -1 /s", "--out", out)
    assert not out.exists()
    told(config, "--vary", "species.A.initial=1000, 2000", "--out", out, "--slurm")
    plan = read_plan(out)
    (out / plan.name(1)).mkdir()
    (out / plan.name(1) / "foreign.txt").write_text("not a run")
    assert run_one(out, 0).state == DONE
    failed = run_one(out, 1)
    assert (failed.state, failed.exit_code) == (FAILED, 2)
    assert plan.counts() == {DONE: 1, FAILED: 1}
    assert failed.message in told(out, "--status")
    assert f"exodiff sweep {out}" in told(out, "--status")
    assert "1 of 2 runs are not done and left out" in CliRunner().invoke(app, ["collect", str(out)]).output
    (out / plan.name(1) / "foreign.txt").unlink()
    assert plan.unfinished() == (1,)
    assert run_one(out, 1).state == DONE


def planned(config: Path, out: Path, done: int) -> Plan:
    """A sweep of three runs, of which the first ones are done."""
    plan = make_plan(config, out, [parse_variation("species.A.initial=1, 2, 3")], "grid", None, 1)
    for run in range(done):
        plan.directory(run).mkdir()
        (plan.directory(run) / "observables.csv").write_text(f"time_s,replicate,a\n0.0,0,{run}\n")
        plan.note(run, Outcome(DONE))
    return plan


@pytest.mark.parametrize("suffix", [".csv", ".h5"])
def test_profiles_are_collected_beside_the_observables(config: Path, tmp_path: Path, suffix: str):
    plan, asked = planned(config, tmp_path / "sweep", 2), tmp_path / f"all{suffix}"
    for run in range(2):
        (plan.directory(run) / "profiles.csv").write_text(f"time_s,value\n0.0,{run + 5}\n")
    assert collect(plan) == [plan.path / "observables.csv", plan.path / "profiles.csv"]
    assert collect(plan, asked) == [asked, tmp_path / f"all-profiles{suffix}"]
    if suffix == ".csv":
        assert (tmp_path / "all-profiles.csv").read_bytes() == (plan.path / "profiles.csv").read_bytes()
    else:
        with h5py.File(tmp_path / "all-profiles.h5") as file:
            np.testing.assert_array_equal(file["value"], [5, 6])


@pytest.mark.parametrize(
    "vary",
    [
        "run.replicates=1, 3, 200000000000, 4",
        "parameters.k=1 /s, 2 /s, 10 bananas, 3 /s",
        "run.engine=exact, foo, leap",
        "lattice.shape=[2], [3, 3], [0]",
    ],
)
def test_a_value_that_cannot_be_run_is_refused_wherever_it_stands(config: Path, tmp_path: Path, vary: str):
    with pytest.raises(ex.ConfigError, match=vary.partition("=")[0]):
        make_plan(config, tmp_path / "sweep", [parse_variation(vary)], "grid", None, 1)
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_over_lists_keeps_them_whole_in_its_tables(config: Path, tmp_path: Path):
    plan = make_plan(config, tmp_path / "sweep", [parse_variation("lattice.shape=[1], [2, 2]")], "grid", None, 1)
    assert (plan.path / "sweep.csv").read_text() == 'run,lattice.shape\n0,[1]\n1,"[2, 2]"\n'
    plan.directory(1).mkdir()
    (plan.directory(1) / "observables.csv").write_text("time_s,a\n0.0,1\n")
    plan.note(1, Outcome(DONE))
    assert collect(plan)[0].read_text() == 'run,lattice.shape,time_s,a\n1,"[2, 2]",0.0,1\n'
    with h5py.File(*collect(plan, tmp_path / "all.h5")) as file:
        assert file["lattice.shape"][0] == b"[2, 2]"


def test_a_sweep_finds_its_model_file_from_any_folder_and_where_both_are_moved(
    config: Path, tmp_path: Path, monkeypatch
):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to("scratch")
    monkeypatch.chdir(tmp_path)
    for out in ("sweep", "link/sweep"):
        given = (Path(config.name), Path(out), [parse_variation("species.A.initial=1, 2")], "grid", None, 1)
        assert make_plan(*given) == make_plan(*given)
        monkeypatch.chdir("/")
        assert read_plan(tmp_path / out).config == config
        read_plan(tmp_path / out).refuse_changed_config()
        monkeypatch.chdir(tmp_path)
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} moved"))
    read_plan(moved / "link" / "sweep").refuse_changed_config()


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        ("", "begun"),
        ("[]", "begun"),
        ('{"state": "done"}', "begun"),
        ('{"state": 7, "exit_code": 0, "message": "", "wall_s": 1}', "begun"),
        ('{"state": "done", "exit_code": Infinity, "message": "", "wall_s": 1}', "begun"),
        ('{"state": "done", "exit_code": 0, "message": "", "wall_s": 1, "host": "of a later version"}', DONE),
    ],
)
def test_a_damaged_outcome_is_that_of_a_run_to_be_tried_again(config: Path, tmp_path: Path, kept: str, state: str):
    plan = planned(config, tmp_path / "sweep", 2)
    (plan.path / "status" / "0.json").write_text(kept)
    assert plan.outcome(0).state == state
    assert plan.unfinished() == ((2,) if state == DONE else (0, 2))


def test_a_plan_whose_keys_do_not_fit_its_rows_is_refused(config: Path, tmp_path: Path):
    plan = planned(config, tmp_path / "sweep", 0)
    content = json.loads((plan.path / "sweep.json").read_text())
    for odd in ({"keys": ["a", "b"]}, {"rows": 3}, {"config": 7}):
        (plan.path / "sweep.json").write_text(json.dumps(content | odd))
        with pytest.raises(RunDirectoryError, match=r"sweep\.json: cannot be read"):
            read_plan(plan.path)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_done_run_whose_directory_is_gone_is_left_out_and_done_again(config: Path, tmp_path: Path, gone: int):
    plan = planned(config, tmp_path / "sweep", 2)
    shutil.rmtree(plan.directory(gone))
    (table,) = collect(plan)
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["run", str(1 - gone)]
    assert gone in plan.unfinished()


def test_a_done_run_whose_table_is_gone_or_damaged_is_told(config: Path, tmp_path: Path):
    plan = planned(config, tmp_path / "sweep", 2)
    table = plan.directory(0) / "observables.csv"
    for content in (b"", b"a,b\n1\n", b"\xff", None):
        table.unlink() if content is None else table.write_bytes(content)
        with pytest.raises(RunDirectoryError, match=r"0/observables\.csv: cannot be read .* run the sweep again"):
            collect(plan)


def test_collect_makes_the_folder_it_writes_to_or_says_why_not(config: Path, tmp_path: Path):
    plan = planned(config, tmp_path / "sweep", 2)
    for name in ("all.csv", "all.h5"):
        assert collect(plan, tmp_path / "new" / name)[0].exists()
        with pytest.raises(RunDirectoryError, match="could not be written"):
            collect(plan, config / name)


def killed_once(path: Path, run: int) -> Outcome:
    """As `run_one`; the process of the first run is killed, as for want of memory."""
    mark = path / "killed"
    if run == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_one(path, run)


def test_an_unexpected_error_costs_its_run_and_its_processes_and_not_the_sweep(
    config: Path, tmp_path: Path, monkeypatch
):
    """Threads stand for processes: run 0 breaks the device of the first pool, and the disk is full as run 1 ends."""
    plan, pools, ended = planned(config, tmp_path / "sweep", 0), [], {}

    def pool(jobs: int, *_: Any, **__: Any) -> ThreadPoolExecutor:
        pools.append(jobs)
        return ThreadPoolExecutor(jobs)

    def start(_: Any, directory: Path, **__: Any) -> Any:
        if len(pools) == 1:
            raise RuntimeError("INTERNAL: CUDA error\nand where")
        directory.mkdir()
        return SimpleNamespace(finished=True)

    def write(path: Path, value: Any) -> None:
        if path.stem == "1":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, value)

    for name, stand_in in {"ProcessPoolExecutor": pool, "start": start, "build": lambda config: config}.items():
        monkeypatch.setattr(execute, name, stand_in)
    monkeypatch.setattr(plan_module, "write_json", write)
    run_all(plan, 1, lambda run, outcome: ended.update({run: (outcome.state, outcome.exit_code)}))
    assert ended == {0: (FAILED, 1), 1: (FAILED, 3), 2: (DONE, 0)}
    assert plan.outcome(0).message.startswith("RuntimeError: INTERNAL: CUDA error; see all of it by `exodiff run ")
    assert "--set species.A.initial=1 " in plan.outcome(0).message
    assert plan.counts() == {DONE: 1, FAILED: 1, "begun": 1}


def test_a_killed_process_costs_its_runs_and_not_the_sweep(config: Path, tmp_path: Path, monkeypatch):
    out = tmp_path / "sweep"
    told(config, "--vary", "species.A.initial=1, 2, 3", "--out", out, "--slurm")
    monkeypatch.setattr(execute, "run_one", killed_once)
    plan, ended = read_plan(out), {}
    run_all(plan, 1, lambda run, outcome: ended.update({run: outcome.state}))
    assert ended == {0: FAILED, 1: DONE, 2: DONE}
    assert "was killed" in plan.outcome(0).message
    run_all(plan, 1, lambda run, outcome: ended.update({run: outcome.state}))
    assert ended[0] == DONE


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_signal_to_the_sweep_stops_its_runs_with_checkpoints_and_exits_75(config: Path, tmp_path: Path, jobs: int):
    out = tmp_path / "sweep"
    long = {**DECAY["run"], "duration": "900 h", "observe_every": "1 min"}
    config.write_text(tomli_w.dumps({**DECAY, "run": long}), encoding="utf-8")
    told(config, "--vary", "parameters.k=1e-9 /s, 2e-9 /s, 3e-9 /s", "--out", out, "--slurm")
    plan = read_plan(out)
    command = [sys.executable, "-m", "exodiff.cli", "sweep", str(out), "--jobs", str(jobs)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        going = [plan.directory(run) / "observables.csv" for run in range(jobs)]
        while not all(table.exists() and table.stat().st_size > 200 for table in going):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=60)  # until no process holds stderr: the workers have ended too
    assert process.returncode == 75, printed
    assert "interrupted by SIGTERM: the runs write their checkpoints" in printed
    assert [plan.outcome(run).state for run in range(3)] == jobs * [STOPPED] + (3 - jobs) * ["waiting"]
    assert all(checkpoint.read_latest(plan.directory(run) / "checkpoints").step > 0 for run in range(jobs))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nothing waits for the jobs
def test_submitit_does_the_runs_and_queues_a_preempted_one_again(config: Path, tmp_path: Path):
    pytest.importorskip("submitit")
    out, long = tmp_path / "sweep", {**DECAY["run"], "observe_every": "1 min", "checkpoint_every": "1 s"}
    config.write_text(tomli_w.dumps({**DECAY, "run": long}), encoding="utf-8")
    vary = ("--vary", "run.duration=10 s, 900 h", "--out", out)
    with pytest.raises(ex.ConfigError, match="Unknown executor 'slrm'"):
        told(config, *vary, "--submitit", "slrm_partition=gpu")
    assert "submitted 2 jobs" in told(config, *vary, "--submitit", "cluster=local timeout_min=10")
    plan = read_plan(out)
    lock, checkpoints = plan.directory(1) / "run.lock", plan.directory(1) / "checkpoints"
    first = _process_after("", lock, checkpoints)
    os.kill(int(first), signal.SIGUSR1)
    second = _process_after(first, lock, checkpoints)
    assert plan.outcome(1).message == "stopped by SIGUSR1"
    assert plan.outcome(0).state == DONE
    os.kill(int(second), signal.SIGTERM)
    while plan.outcome(1).message != "stopped by SIGTERM":
        time.sleep(0.1)


def _process_after(before: str, lock: Path, checkpoints: Path) -> str:
    """The process that holds a run, once it is another one than before and has written a checkpoint."""
    while not lock.exists() or lock.read_text().strip() in ("", before):
        time.sleep(0.1)
    newest = checkpoint.list_checkpoints(checkpoints)[:1]
    while checkpoint.list_checkpoints(checkpoints)[:1] == newest:
        time.sleep(0.1)
    return lock.read_text().strip()


def test_what_cannot_go_on_is_refused_in_one_line(config: Path, tmp_path: Path):
    out = tmp_path / "sweep"
    told(config, "--vary", "parameters.k=0.1 /s:0.3 /s:2", "--out", out, "--slurm")
    for arguments, message in (
        ((config, "--vary", "parameters.k=0.1 /s", "--out", out), "holds another sweep"),
        ((out, "--vary", "parameters.k=1 /s"), "is planned already"),
        ((out, "--only", "7"), "they go from 0 to 1"),
        ((config, "--vary", "parameters.q=1", "--out", tmp_path / "b"), "no parameter 'q'"),
        ((config, "--vary", "parameters.k=1 /s,2 /s", "--out", tmp_path), "holds no sweep"),
    ):
        with pytest.raises(ex.ConfigError, match=message):
            told(*arguments)
    config.write_text(config.read_text().replace("1000", "1001"), encoding="utf-8")
    with pytest.raises(ex.ConfigError, match="has changed since the sweep was planned"):
        told(out, "--only", "0")


def test_the_job_array_is_a_script_that_bash_reads(config: Path, tmp_path: Path):
    out = tmp_path / "sweep"
    printed = told(config, "--vary", "parameters.k=0.1 /s:0.3 /s:5", "--out", out, "--slurm")
    script = Path(printed.split(maxsplit=1)[1].strip())
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "#SBATCH --array=0-4%5" in text
    assert f"sweep {out} --only" in text
