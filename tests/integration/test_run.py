"""Runs on disk: what they write, and that stopping and resuming changes nothing."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import jax
import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff import cli
from exodiff.io import checkpoint, records
from exodiff.io.results import SnapshotReader
from exodiff.progress import duration
from exodiff.runner import driver, entry
from tests.integration.small_models import MODEL
from tests.integration.stopping import Killed, StopAfter, assert_same_run, final_state


@pytest.fixture(scope="module")
def model():
    return ex.Model.from_dict(MODEL)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
    """The run without a stop."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ex.run(model, out).finished
    return out


def test_a_run_leaves_all_its_files(whole):
    names = {path.name for path in whole.iterdir()}
    assert names >= {
        "config.toml",
        "resolved.toml",
        "observables.csv",
        "profiles.csv",
        "results.vtkhdf",
        "checkpoints",
        "snapshots",
        "figures",
        "provenance.json",
    }
    assert list((whole / "figures").glob("*.png"))
    table = records.read_table(whole / "observables.csv")
    np.testing.assert_allclose(table["time_s"], np.arange(11) * 120.0)
    told = json.loads((whole / "provenance.json").read_text())["runs"][0]
    assert told["seed"] == 5
    assert told["packages"]["jax"]
    assert SnapshotReader(whole).times_s.tolist() == [0.0, 600.0, 1200.0]


def test_plot_draws_in_the_formats_that_are_asked_for(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(out / "figures")
    asked = ["plot", str(out), "--format", "pdf", "--format", "svg"]
    told = CliRunner().invoke(cli.app, asked).output.split()
    assert {path.suffix for path in (out / "figures").iterdir()} == {".pdf", ".svg"}
    assert sorted(map(Path, told)) == sorted((out / "figures").iterdir())
    refused = CliRunner().invoke(cli.app, ["plot", str(out), "--format", "tiff"]).exception
    assert str(refused) == "--format: tiff: figures can be png, pdf, svg; choose of these"


def test_a_run_records_what_simulate_returns(model, whole):
    table = records.read_table(whole / "observables.csv")
    trajectory = ex.simulate(model, table["time_s"], seed=5)
    np.testing.assert_array_equal(table["free"], trajectory.total("EV")[0])
    np.testing.assert_array_equal(table["released"], np.asarray(trajectory.observables["released"])[0])


@pytest.mark.parametrize("looks", [0, 2, 8])  # of at least 10, one after each chunk: a record every 2 of 20 minutes
def test_a_stopped_and_resumed_run_equals_the_whole_run_bit_for_bit(model, whole, tmp_path, monkeypatch, looks):
    out = tmp_path / "run"
    monkeypatch.setattr(driver, "StopRequest", StopAfter(looks))
    stopped = ex.run(model, out)
    assert not stopped.finished
    assert stopped.stopped_by == "SIGTERM"
    assert 0.0 < stopped.time_s < 1200.0
    assert checkpoint.read_latest(out / "checkpoints").meta["time_s"] == stopped.time_s
    monkeypatch.undo()
    assert ex.resume(out).finished
    assert_same_run(whole, out)


def test_a_resumed_run_tells_what_of_it_was_left(model, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "StopRequest", StopAfter(2))
    stopped = ex.run(model, tmp_path / "run")
    monkeypatch.undo()
    done = CliRunner().invoke(cli.app, ["resume", str(tmp_path / "run")])
    assert f"done: 20 min of simulated time, the last {duration(1200.0 - stopped.time_s)} in " in done.stderr


def test_a_run_killed_after_a_checkpoint_resumes_from_it_without_doubling_a_row(model, whole, tmp_path):
    out = tmp_path / "run"

    def kill_late(progress: driver.Progress) -> None:
        if progress.time_s > 700.0:
            raise Killed

    with pytest.raises(Killed):
        ex.run(model, out, report=kill_late)
    assert len(records.read_table(out / "observables.csv")["time_s"]) > 1
    assert ex.run(model, out, resume="auto").finished
    assert_same_run(whole, out)


def test_a_run_killed_before_it_was_marked_as_one_can_begin_again(model, tmp_path, monkeypatch):
    def kill(path: Path, content: str) -> None:
        if path.name == "resolved.toml":
            (path.parent / ".tmp-1-resolved.toml").write_text(content[:10])
            raise Killed
        path.write_text(content)

    monkeypatch.setattr("exodiff.runner.directory.write_text", kill)
    with pytest.raises(Killed):
        ex.run(model, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(driver, "StopRequest", StopAfter(0))
    assert ex.run(model, tmp_path / "run", resume="auto").time_s > 0
    assert not list((tmp_path / "run").glob(".tmp-*"))


@pytest.mark.parametrize("part", ["checkpoints", "snapshots"])
@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": "auto"}])
def test_a_run_killed_while_it_was_cleared_can_be_overwritten_or_begun(model, whole, tmp_path, monkeypatch, part, how):
    out, right = shutil.copytree(whole, tmp_path / "run"), shutil.rmtree

    def kill(path: Path) -> None:
        if path.name == part:
            max(path.iterdir()).unlink()
            raise Killed
        right(path)

    monkeypatch.setattr("exodiff.runner.directory.shutil.rmtree", kill)
    with pytest.raises(Killed):
        ex.run(model, out, overwrite=True)
    monkeypatch.undo()
    assert ex.run(model, out, **how, figures=False).finished
    assert_same_run(whole, out)


def test_a_checkpoint_that_cannot_be_written_in_the_background_stops_the_run(model, tmp_path, monkeypatch):
    right, written = checkpoint.write_checkpoint, []

    def full_disk(folder, arrays, meta, step, keep):
        written.append(step)
        if len(written) > 1:
            raise ex.CheckpointError(str(folder), "could not be written (no space left)")
        return right(folder, arrays, meta, step, keep)

    monkeypatch.setattr(checkpoint, "write_checkpoint", full_disk)
    with pytest.raises(ex.CheckpointError, match="no space left"):
        ex.run(model, tmp_path / "run")
    monkeypatch.undo()
    assert checkpoint.read_latest(tmp_path / "run" / "checkpoints").step == 0
    assert ex.resume(tmp_path / "run").finished


def test_an_error_does_not_wait_for_the_compiler(model, tmp_path, monkeypatch):
    released, waiting = threading.Event(), []

    def compile_for_ever():
        waiting.append(True)
        released.wait(30)
        waiting.clear()

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(driver, "prepare", lambda *_, **__: compile_for_ever)
    monkeypatch.setattr(driver.Driver, "_record", fails)
    with pytest.raises(ex.RunDirectoryError, match="no space left"):
        ex.run(model, tmp_path / "run")
    assert waiting
    released.set()


def test_replicates_are_independent_and_the_first_is_the_single_run(whole, tmp_path):
    many = ex.Model.from_dict(MODEL, ["run.replicates=3"])
    out = tmp_path / "run"
    ex.run(many, out)
    counts, single = final_state(out)["counts"], final_state(whole)["counts"]
    np.testing.assert_array_equal(counts[0], single[0])
    assert not np.array_equal(counts[0], counts[1])
    table = records.read_table(out / "observables.csv")
    assert table["replicate"].tolist() == [0, 1, 2] * 11


def test_mean_field_runs_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    smooth = ex.Model.from_dict(MODEL, ['run.engine="mean_field"'])
    assert ex.run(smooth, tmp_path / "whole").finished
    monkeypatch.setattr(driver, "StopRequest", StopAfter(3))
    assert not ex.run(smooth, tmp_path / "parts").finished
    monkeypatch.undo()
    ex.resume(tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("looks", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_exact_runs_and_resumes_bit_for_bit_also_within_an_interval(tmp_path, monkeypatch, looks):
    settings = ['run.engine="exact"', 'run.duration="2 min"', 'run.observe_every="20 s"', 'run.snapshot_every="1 min"']
    model = ex.Model.from_dict(MODEL, settings)
    assert ex.run(model, tmp_path / "whole").finished
    monkeypatch.setattr(driver, "StopRequest", StopAfter(looks))
    assert not ex.run(model, tmp_path / "parts").finished
    monkeypatch.undo()
    ex.resume(tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    table = records.read_table(tmp_path / "whole" / "observables.csv")
    trajectory = ex.simulate(model, table["time_s"], seed=5)
    np.testing.assert_array_equal(table["free"], trajectory.total("EV")[0])


def test_exact_keeps_several_checkpoints_within_one_interval(tmp_path, monkeypatch):
    settings = [
        'run.engine="exact"',
        'run.duration="20 s"',
        'run.observe_every="20 s"',
        'run.checkpoint_every="1e-3 s"',
    ]
    model = ex.Model.from_dict(MODEL, settings)
    assert ex.run(model, tmp_path / "whole", figures=False).finished
    monkeypatch.setattr(driver, "StopRequest", StopAfter(4))
    assert not ex.run(model, tmp_path / "parts", figures=False).finished
    monkeypatch.undo()
    kept = checkpoint.list_checkpoints(tmp_path / "parts" / "checkpoints")
    assert len(kept) == 3
    kept[0].write_bytes(b"")
    found = checkpoint.read_latest(tmp_path / "parts" / "checkpoints")
    assert (found.path, found.meta["pairs"]) == (kept[1], 0)
    assert found.arrays["clock.number"][0, 0] > 0
    assert ex.resume(tmp_path / "parts", from_last_good=True).finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_run_that_another_process_began_meanwhile_is_not_begun_anew(model, tmp_path, monkeypatch, resume):
    """Between the first look at the directory and its lock."""
    out, lock, reached_s = tmp_path / "run", entry.RunLock, []

    def late(path):
        with monkeypatch.context() as other:
            other.setattr(entry, "RunLock", lock)
            other.setattr(driver, "StopRequest", StopAfter(2))
            reached_s.append(ex.run(model, out).time_s)
        return lock(path)

    monkeypatch.setattr(entry, "RunLock", late)
    if resume == "never":
        with pytest.raises(ex.ConfigError, match="already holds a run"):
            ex.run(model, out)
        return
    times_s = []
    ex.run(model, out, resume=resume, report=lambda p: times_s.append(p.time_s), figures=False)
    assert min(time_s for time_s in times_s if time_s > 0) > reached_s[0] > 0


def test_a_damaged_newest_checkpoint_is_refused_with_the_last_good_one_named(model, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(driver, "StopRequest", StopAfter(2))
    ex.run(model, out)
    monkeypatch.undo()
    newest, *older = checkpoint.list_checkpoints(out / "checkpoints")
    damaged = newest.read_bytes()[:-100]
    newest.write_bytes(damaged)
    with pytest.raises(ex.CheckpointError, match=older[0].name) as refused:
        ex.resume(out)
    assert "from_last_good=True" in str(refused.value)
    result = ex.resume(out, from_last_good=True)
    assert any(newest.name in line for line in result.warnings)
    assert newest.with_name(f"{newest.name}.damaged").read_bytes() == damaged
    assert_same_run(whole, out)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays, _: arrays.pop("events"), "does not hold a state .*events"),
        (lambda arrays, _: arrays.update(odd=arrays["pair"]), "does not hold a state .*odd"),
        (lambda arrays, _: arrays.update(pair=np.array(1)), "does not hold a state|as pair, the model"),
        (lambda arrays, _: arrays.update(counts=arrays["counts"][:, :, 1:]), r"has \(\(1, .* as counts, the model"),
        (lambda arrays, _: arrays.update(counts=arrays["counts"] + 0.5), "float.* as counts, the model"),
        (lambda _, meta: meta.pop("time_s"), "its description makes no sense"),
        (lambda _, meta: meta.update(time_s=float("nan")), "its description makes no sense"),
        (lambda _, meta: meta.update(pairs=-1), "its description makes no sense"),
        (lambda _, meta: meta.update(pairs=10**9), "claims 1000000000 pairs of steps"),
        (lambda _, meta: meta.update(time_s=3.0), "pairs of steps at 3 s, which the config does not give"),
        (lambda _, meta: meta.update(cuts_s=[1e99]), "makes no sense"),
        (lambda _, meta: meta.update(recorded=[3]), "makes no sense"),
        (lambda _, meta: meta.update(recorded={"snapshots": 3}), "makes no sense"),
    ],
)
def test_a_checkpoint_with_right_hashes_and_a_wrong_content_is_refused(whole, tmp_path, change, says):
    out = shutil.copytree(whole, tmp_path / "run")
    found = checkpoint.read_latest(out / "checkpoints")
    arrays, meta = dict(found.arrays), dict(found.meta)
    change(arrays, meta)
    checkpoint.write_checkpoint(out / "checkpoints", arrays, meta, found.step)
    with pytest.raises(ex.CheckpointError, match=says):
        ex.resume(out)


def test_other_versions_than_those_of_the_checkpoint_are_told(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    found = checkpoint.read_latest(out / "checkpoints")
    assert found.meta["versions"]["jax"] == jax.__version__
    meta = {**found.meta, "versions": {**found.meta["versions"], "jax": "0.9.0", "device": "NVIDIA H200"}}
    checkpoint.write_checkpoint(out / "checkpoints", found.arrays, meta, found.step)
    told = [line for line in ex.resume(out).warnings if "bits" in line]
    assert len(told) == 2
    assert f"jax was '0.9.0' and is '{jax.__version__}' now" in told[0]
    assert "device was 'NVIDIA H200'" in told[1]


def test_a_checkpoint_that_says_less_as_in_earlier_versions_goes_on(model, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(driver, "StopRequest", StopAfter(2))
    ex.run(model, out)
    monkeypatch.undo()
    found = checkpoint.read_latest(out / "checkpoints")
    meta = {key: found.meta[key] for key in found.meta.keys() - {"recorded", "versions"}}
    checkpoint.write_checkpoint(out / "checkpoints", found.arrays, meta, found.step)
    assert ex.resume(out).warnings == ()
    assert_same_run(whole, out)


def test_a_foreign_checkpoint_is_refused(model, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(driver, "StopRequest", StopAfter(1))
    ex.run(model, out)
    monkeypatch.undo()
    other = tmp_path / "other"
    ex.run(ex.Model.from_dict(MODEL, ["run.seed=6"]), other)
    foreign = checkpoint.list_checkpoints(other / "checkpoints")[0]
    (out / "checkpoints" / foreign.name).write_bytes(foreign.read_bytes())
    with pytest.raises(ex.CheckpointError, match="another config"):
        ex.resume(out)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGUSR1))]
)
def test_a_signal_writes_a_checkpoint_and_exits_75(tmp_path, number):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    long = [sys.executable, "-m", "exodiff.cli", "run", str(config), "--out", str(out), "--set", "run.duration='900 h'"]
    with subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        _read_until(process.stderr, b"running")
        process.send_signal(number)
        told = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 75, told
    time_s = checkpoint.read_latest(out / "checkpoints").meta["time_s"]
    assert time_s > 0  # the checkpoint of the signal, for that of the start is at 0
    assert told.count(f"interrupted by {number.name}: writing a checkpoint; a second Ctrl-C stops at once") == 1
    assert f"stopped by {number.name} at {duration(time_s)} of simulated time" in told
    assert f"exodiff resume {out}" in told


@pytest.mark.parametrize("place", [("exodiff.build", "build"), ("exodiff.runner.driver", "prepare")])
def test_a_signal_before_anything_is_computed_ends_the_run_at_once(model, whole, tmp_path, place):
    """Also while it compiles: a checkpoint of the start is there, or nothing at all."""
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    waits = [sys.executable, "-m", "tests.integration.stopped_at", "wait", *place, "0"]
    with subprocess.Popen([*waits, "run", str(config), "--out", str(out)], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        _read_until(process.stderr, b"a call waits")
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        process.wait(timeout=20)
    assert process.returncode == 75
    assert b"stopped by SIGTERM before anything was computed" in told
    assert ex.run(ex.load(config), out, resume="auto", figures=False).finished
    assert_same_run(whole, out)


def test_a_run_goes_on_when_nobody_reads_what_it_tells(tmp_path):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    command = [sys.executable, "-m", "exodiff.cli", "run", str(config), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(timeout=120) == 0
    assert (out / "figures").is_dir()


def test_a_second_ctrl_c_waits_for_no_write_and_the_run_goes_on(model, whole, tmp_path):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    often = ("--set", 'run.checkpoint_every="1e-3 s"')
    slow = [
        sys.executable,
        "-m",
        "tests.integration.stopped_at",
        "wait",
        "exodiff.io.checkpoint",
        "write_checkpoint",
        "2",
    ]
    with subprocess.Popen([*slow, "run", str(config), "--out", str(out), *often], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        _read_until(process.stderr, b"a call waits")
        process.send_signal(signal.SIGINT)
        _read_until(process.stderr, b"a second Ctrl-C stops at once")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        process.wait(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert b"stopped at once; continue from the last checkpoint" in told
    assert ex.run(ex.load(config), out, resume="auto", figures=False).finished
    assert_same_run(whole, out)


def _read_until(stream: IO[bytes], text: bytes) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(text)
