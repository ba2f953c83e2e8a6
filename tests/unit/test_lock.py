import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exodiff.core.errors import ExodiffError, RunDirectoryError
from exodiff.io import provenance as module
from exodiff.io.atomic import MAX_JSON_BYTES
from exodiff.io.lock import RunLock
from exodiff.io.provenance import append_provenance, provenance

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from exodiff.io.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder_of(run_dir):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path):
    with holder_of(tmp_path) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(RunDirectoryError, match=rf"process {holder.pid} on \S+\).*another folder") as caught,
            RunLock(tmp_path),
        ):
            pass
        assert caught.value.exit_code == 3
        assert isinstance(caught.value, ExodiffError)
        holder.stdin.close()
        assert holder.wait() == 0
    with RunLock(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()} on {socket.gethostname()}\n"


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    with holder_of(tmp_path) as holder:
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    assert (tmp_path / "run.lock").exists()
    with RunLock(tmp_path):
        pass


def test_the_same_folder_is_refused_within_one_process_and_free_afterwards(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunDirectoryError), RunLock(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        _ = 1 / 0
    with RunLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="cannot be used"), RunLock(tmp_path / "file"):
        pass


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("data")
    (tmp_path / "run.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunDirectoryError), RunLock(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "data"


def test_provenance_names_versions_and_gains_an_entry_at_each_resume(tmp_path):
    entry = provenance(seed=7, config_hash="abc", devices=["cpu:0"], command=["exodiff", "run"])
    append_provenance(tmp_path, entry)
    path = append_provenance(tmp_path, provenance(seed=7, config_hash="abc"))
    runs = json.loads(path.read_text())["runs"]
    assert runs[0] == entry
    assert len(runs) == 2
    assert entry["packages"]["numpy"]
    assert entry["packages"]["h5py"]
    assert entry["started_utc"].endswith("+00:00")
    assert os.uname().nodename not in path.read_text()


def test_a_damaged_provenance_is_kept_aside_and_stops_no_run(tmp_path):
    (tmp_path / "provenance.json").write_text('{"runs": [')
    path = append_provenance(tmp_path, provenance(seed=1, config_hash="x"))
    assert len(json.loads(path.read_text())["runs"]) == 1
    assert (tmp_path / "provenance.damaged.json").read_text() == '{"runs": ['


@pytest.mark.parametrize("odd", ["pipe", "device", "folder", "too large"])
def test_a_provenance_that_is_no_small_file_is_put_aside_unread(tmp_path, odd):
    path = tmp_path / "provenance.json"
    if odd == "pipe":
        os.mkfifo(path)
    elif odd == "device":
        path.symlink_to("/dev/zero")
    elif odd == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(MAX_JSON_BYTES + 1)  # nothing but a hole
    append_provenance(tmp_path, provenance(seed=1, config_hash="x"))
    assert len(json.loads(path.read_text())["runs"]) == 1


def test_no_git_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert module.git_commit() is None
    monkeypatch.undo()
    monkeypatch.setattr(module, "_PACKAGE_FOLDER", tmp_path / "exodiff")
    assert module.git_commit() is None
    (tmp_path / ".git").mkdir()
    assert module.git_commit() is None


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_a_folder_that_cannot_be_looked_at_is_not_told_as_gone(tmp_path, monkeypatch, number):
    def fail(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    with RunLock(tmp_path) as lock:
        monkeypatch.setattr(Path, "stat", fail)
        with pytest.raises(RunDirectoryError, match=rf"cannot be read \({os.strerror(number)}\); nothing was changed"):
            lock.confirm()
        monkeypatch.undo()


def test_a_folder_that_is_gone_or_another_is_noticed(tmp_path):
    folder = tmp_path / "run"
    with RunLock(folder) as lock:
        lock.confirm()
        folder.rename(tmp_path / "away")
        with pytest.raises(RunDirectoryError, match="removed, moved or replaced"):
            lock.confirm()
        folder.mkdir()
        (folder / "run.lock").touch()
        with pytest.raises(RunDirectoryError, match="removed, moved or replaced"):
            lock.confirm()
