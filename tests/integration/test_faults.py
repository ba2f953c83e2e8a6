"""What can go wrong around a run: each fault ends in one clear message, and the run goes on where that is possible."""

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import jax
import numpy as np
import pytest

import exodiff as ex
from exodiff.core.errors import ExodiffError
from exodiff.io import atomic
from exodiff.runner import driver, faults
from exodiff.viz.figures import make_figures
from tests.integration.stopping import Killed, content

MODEL = {
    "schema": 1,
    "run": {
        "duration": "20 min",
        "observe_every": "1 min",
        "snapshot_every": "2 min",
        "checkpoint_every": "1e-3 s",
        "seed": 5,
    },
    "lattice": {"shape": [16, 16, 8], "spacing": "20 um"},
    "species": {"EV": {"initial": {"poisson": 300}, "decay": "1 /h"}},
    "observables": {"free": {"value": "total(EV)"}},
}


@pytest.fixture(scope="module")
def model():
    return ex.Model.from_dict(MODEL)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ex.run(model, out, figures=False).finished
    return content(out)


class At:
    """Does something once a run has come to a time."""

    def __init__(self, time_s: float, act: Any) -> None:
        self.time_s = time_s
        self.act = act
        self.is_done = False

    def __call__(self, progress: driver.Progress) -> None:
        if progress.time_s >= self.time_s and not self.is_done:
            self.is_done = True
            self.act()


def _refused(model: ex.Model, out: Path, report: driver.Report = lambda _: None) -> str:
    """The one line that a run ends with."""
    with pytest.raises(ExodiffError) as failed:
        ex.run(model, out, resume="auto", report=report, figures=False)
    assert failed.value.exit_code == 3
    told = str(failed.value)
    assert "\n" not in told
    return told


@pytest.fixture
def disk(tmp_path):
    """Mounts a small disk on a folder, or mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        known = ["-o", f"remount,{options}"] if os.path.ismount(folder) else ["-t", "tmpfs", "-o", options, "none"]
        done = subprocess.run(["mount", *known, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 20, 60, 100, 140, 180])
def test_a_full_disk_is_told_and_with_room_the_run_goes_on(model, whole, disk, kilobytes):
    """Full at its very beginning, at a checkpoint, at a table, at a snapshot or at the master of them."""
    out = disk(f"size={kilobytes}k") / "run"
    told = _refused(model, out)
    assert "No space left on device" in told
    assert "exodiff r" in told
    disk("size=50m")
    assert ex.run(model, out, resume="auto", figures=False).finished
    np.testing.assert_equal(content(out), whole)


def test_a_read_only_folder_is_told_and_the_run_goes_on_afterwards(model, whole, disk):
    out = disk("size=50m") / "run"

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        ex.run(model, out, report=At(600.0, kill))
    disk("ro,size=50m")
    assert "Read-only" in _refused(model, out)
    assert "Read-only" in _refused(model, out.parent / "other")
    disk("rw,size=50m")
    assert ex.run(model, out, resume="auto", figures=False).finished
    np.testing.assert_equal(content(out), whole)


def test_a_write_that_fails_anywhere_leaves_a_run_that_goes_on(model, whole, tmp_path, monkeypatch):
    """The n-th file that is put in its place is not: of the config, checkpoints, snapshots and their master."""
    for number in (1, 2, 3, 4, 9, 10, 11):
        out, right, seen = tmp_path / f"run{number}", atomic.fsync, []

        def full(path: Path, number: int = number, right: Any = right, seen: list[Path] = seen) -> None:
            if path.name.startswith(atomic.TEMPORARY_PREFIX):
                seen.append(path)
                if len(seen) == number:
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))
            right(path)

        monkeypatch.setattr(atomic, "fsync", full)
        told = _refused(model, out)
        monkeypatch.undo()
        assert "No space left on device" in told
        assert ex.run(model, out, resume="auto", figures=False).finished
        np.testing.assert_equal(content(out), whole)


@pytest.mark.parametrize("is_back", [False, True])
def test_a_folder_that_is_removed_is_not_written_anew(model, whole, tmp_path, is_back):
    out, kept = tmp_path / "run", tmp_path / "kept"

    def remove() -> None:
        # a checkpoint may be written at this moment: its temporary file goes away
        shutil.copytree(out, kept, ignore=shutil.ignore_patterns(f"{atomic.TEMPORARY_PREFIX}*"))
        while out.exists():
            shutil.rmtree(out, ignore_errors=True)
        if is_back:
            out.mkdir()

    told = _refused(model, out, At(600.0, remove))
    assert "was removed, moved or replaced while the run went on" in told
    assert not out.exists() or not list(out.iterdir())
    if out.exists():
        out.rmdir()
    kept.rename(out)
    assert ex.resume(out).finished
    np.testing.assert_equal(content(out), whole)


def test_records_without_a_checkpoint_are_not_begun_anew(model, tmp_path):
    out = tmp_path / "run"
    assert ex.run(model, out, figures=False).finished
    shutil.rmtree(out / "checkpoints")
    kept = {path: path.read_bytes() for path in out.rglob("*.*") if path.suffix in (".csv", ".vtkhdf")}
    assert "holds records, but no checkpoint to go on from" in _refused(model, out)
    assert kept == {path: path.read_bytes() for path in kept}


def _half(model: ex.Model, out: Path) -> Path:
    assert not ex.run(model, out, report=At(600.0, lambda: signal.raise_signal(signal.SIGTERM)), figures=False).finished
    return out


@pytest.mark.parametrize("lost", [slice(2, 4), slice(-1, None), slice(0, None)])
def test_lost_rows_are_told_and_can_be_put_back(model, whole, tmp_path, lost):
    out = _half(model, tmp_path / "run")
    table = out / "observables.csv"
    kept = table.read_bytes()
    lines = kept.splitlines(keepends=True)
    del lines[lost]
    table.write_bytes(b"".join(lines)) if lines else table.unlink()
    with pytest.raises(ex.RunDirectoryError, match=r"observables.csv: rows are missing .*from_last_good=True"):
        ex.resume(out)
    unattended = ex.run(model, shutil.copytree(out, tmp_path / "copy"), resume="auto", figures=False)
    assert unattended.finished
    assert any("observables.csv: rows are missing" in line for line in unattended.warnings)
    table.write_bytes(kept)
    assert ex.resume(out).warnings == ()
    np.testing.assert_equal(content(out), whole)


@pytest.mark.parametrize("lost", [2, -1])
def test_lost_snapshots_are_told_and_can_be_put_back(model, whole, tmp_path, lost):
    out = _half(model, tmp_path / "run")
    gone = sorted((out / "snapshots").iterdir())[lost]
    gone.rename(tmp_path / gone.name)
    assert any(f"1 of 6 snapshots are missing, the first is {gone.stem}" in told for told in ex.resume(out).warnings)
    shutil.copy(tmp_path / gone.name, gone)
    assert ex.resume(out).warnings == ("the run was at its end already; only its figures were drawn again",)
    np.testing.assert_equal(content(out), whole)


@pytest.mark.parametrize(
    "name", ["observables.csv", "checkpoints", "snapshots", "figures", "results.vtkhdf", "provenance.json"]
)
def test_nothing_is_written_through_a_link(model, tmp_path, name):
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    assert ex.run(model, out, figures=False).finished
    if (out / name).exists():
        (out / name).rename(elsewhere)
    else:
        elsewhere.mkdir()
    if elsewhere.is_dir():
        (elsewhere / ".tmp-1-foreign").touch()
    (out / name).symlink_to(elsewhere)
    before = {path: path.is_file() and path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")]}
    assert f"{name}: is a link or no ordinary file" in _refused(model, out)
    assert before == {path: path.is_file() and path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")]}


def test_figures_are_not_drawn_through_a_link(model, tmp_path):
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    assert ex.run(model, out, figures=False).finished
    elsewhere.mkdir()
    (elsewhere / "observables_7.png").touch()
    (out / "figures").symlink_to(elsewhere)
    with pytest.raises(ex.RunDirectoryError, match="figures: is a link"):
        make_figures(out)
    assert [path.name for path in elsewhere.iterdir()] == ["observables_7.png"]


def test_files_that_a_reader_holds_are_no_obstacle(model, whole, tmp_path):
    out, held = tmp_path / "run", []

    def hold() -> None:
        paths = [out / "results.vtkhdf", *out.glob("checkpoints/*"), *out.glob("snapshots/*")]
        held.extend(h5py.File(path, locking=True) for path in paths)

    assert ex.run(model, out, report=At(600.0, hold), figures=False).finished
    for file in held:
        file.close()
    np.testing.assert_equal(content(out), whole)


@pytest.mark.parametrize("jump_s", [1e9, -1e9])
def test_a_clock_that_jumps_changes_nothing(model, whole, tmp_path, monkeypatch, jump_s):
    started, readings = time.monotonic(), []

    def jumping() -> float:
        readings.append(None)
        return started + (jump_s if len(readings) % 7 > 3 else 0.0)

    monkeypatch.setattr(driver.time, "monotonic", jumping)
    assert ex.run(model, tmp_path / "run", figures=False).finished
    np.testing.assert_equal(content(tmp_path / "run"), whole)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")])
def test_too_little_memory_tells_what_fits_and_the_run_goes_on_elsewhere(model, whole, tmp_path, monkeypatch, error):
    right, calls = driver.prepare, []

    def exhausted(*given: Any, **named: Any) -> Any:
        program = right(*given, **named)()

        def call(*given: Any) -> Any:
            calls.append(None)
            if len(calls) == 3:
                raise error
            return program(*given)

        return lambda: call

    monkeypatch.setattr(driver, "prepare", exhausted)
    monkeypatch.setattr(faults, "memory_bytes", lambda _: 2**17)
    told = _refused(model, tmp_path / "run")
    assert "not enough memory for 2048 voxels of 4 bytes" in told
    assert "about 1638 voxels fit into 0.000122 GiB of 1 device:" in told
    monkeypatch.undo()
    assert ex.resume(tmp_path / "run").finished
    np.testing.assert_equal(content(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({}, "214748364 voxels fit into 16 GiB of 8 devices:"),
        ({"replicates": 6}, "26843545 voxels fit into 12 GiB of 6 devices:"),
        ({"engine": "exact"}, "26843545 voxels fit into 2 GiB of 1 device:"),
    ],
)
def test_what_fits_is_told_of_all_devices_that_a_run_is_divided_over(monkeypatch, run, told):
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 2**31})
    monkeypatch.setattr(jax, "local_devices", lambda: [device] * 8)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    model = ex.Model.from_dict({**MODEL, "run": {**MODEL["run"], **run}})
    with pytest.raises(ExodiffError, match=told), faults.told_clearly(Path("run"), model):
        raise MemoryError


def test_another_error_of_the_device_stays_what_it_is(model, tmp_path, monkeypatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("INTERNAL: something else")

    monkeypatch.setattr(driver, "prepare", lambda *_, **__: broken)
    with pytest.raises(RuntimeError, match="INTERNAL"):
        ex.run(model, tmp_path / "run")
