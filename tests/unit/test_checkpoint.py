import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from exodiff.core.errors import CheckpointError, RunDirectoryError
from exodiff.io import checkpoint
from exodiff.io.atomic import make_folder, remove_stale_temporaries, replace_file, write_text
from exodiff.io.checkpoint import Checkpoint, list_checkpoints, read_latest, step_of, write_checkpoint
from exodiff.io.hdf5 import open_hdf5, stored_dataset
from exodiff.io.records import read_table
from exodiff.io.results import SnapshotReader
from exodiff.io.sealed import UnreadableFileError, encode_head, read_seal, write_seal
from exodiff.kernels import words
from exodiff.runner.checkpoints import migrated

ROOT = Path(__file__).parents[2]


def arrays_of(step):
    rng = np.random.default_rng(step)
    return {
        "counts": rng.poisson(3.0, (2, 7, 5, 3)).astype(np.int32),
        "field/glucose": rng.normal(size=(7, 5, 3)).astype(np.float32),
        "is_fired": np.array([True, False]),
        "time": np.float64(0.1 * step),
        "none": np.zeros((0, 3), np.int64),
    }


def assert_equal_bits(found, expected):
    assert set(found) == set(expected)
    for name, array in {name: np.asarray(array) for name, array in expected.items()}.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def write_steps(folder, steps, **options):
    return [write_checkpoint(folder, arrays_of(step), {"step_s": 0.5}, step, **options) for step in steps]


def test_a_checkpoint_returns_the_same_bits_types_and_shapes(tmp_path):
    meta = {"seed": 2**80, "time_s": 0.1, "names": ["é", "b"], "nested": {"none": None, "nan": float("inf")}}
    odd = {
        "big_endian": np.arange(5, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.array([1.5, np.nan], np.float16),
        "complex": np.array([1 + 2j], np.complex64),
        "strided": np.arange(10)[::3],
    }
    write_checkpoint(tmp_path / "checkpoints", odd | arrays_of(4), meta, 4)
    found = read_latest(tmp_path / "checkpoints")
    assert_equal_bits(found.arrays, odd | arrays_of(4))
    assert found.meta == meta
    assert found.step == 4
    assert found.skipped == ()


def test_a_manifest_larger_than_an_hdf5_attribute_is_kept(tmp_path):
    meta = {"text": "x" * 300_000}
    write_checkpoint(tmp_path, arrays_of(1), meta, 1)
    assert read_latest(tmp_path).meta == meta


def test_only_the_newest_checkpoints_are_kept_and_the_newest_is_read(tmp_path):
    write_steps(tmp_path, [1, 9, 10, 200, 1_000_000_000_000], keep=3)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [1_000_000_000_000, 200, 10]
    assert read_latest(tmp_path).step == 1_000_000_000_000


def test_pruning_counts_no_later_steps_so_that_going_on_from_an_older_step_keeps_what_it_writes(tmp_path):
    write_steps(tmp_path, [10, 20, 30])
    write_steps(tmp_path, [11, 12], keep=2)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [30, 20, 12, 11]
    checkpoint.set_aside_after(tmp_path, 12)
    assert read_latest(tmp_path).step == 12
    assert {path.name for path in tmp_path.glob("*.damaged")} == {
        f"{checkpoint.stem_of(n)}.h5.damaged" for n in (20, 30)
    }
    write_steps(tmp_path, [13, 14, 15, 16])
    assert len(list(tmp_path.glob("*.damaged"))) == 2


@pytest.mark.parametrize("call", ["open", "is_file"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENFILE])
def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, monkeypatch, call, number):
    write_steps(tmp_path, [1, 2])
    right = getattr(Path, call)

    def failing(path, *given, **named):
        if path.name == "ckpt-000000000002.h5":
            raise OSError(number, os.strerror(number), str(path))
        return right(path, *given, **named)

    monkeypatch.setattr(Path, call, failing)
    with pytest.raises(
        RunDirectoryError, match=rf"02.h5: cannot be read \({os.strerror(number)}\); nothing was changed"
    ):
        read_latest(tmp_path)
    monkeypatch.undo()
    assert read_latest(tmp_path).step == 2


def test_a_disk_that_fails_while_hdf5_reads_is_not_taken_for_damage(tmp_path):
    (path,) = write_steps(tmp_path, [1])

    def read_from_a_descriptor_that_fails():
        with (tmp_path / "write_only").open("wb") as other, open_hdf5(path) as file:
            os.dup2(other.fileno(), file.id.get_vfd_handle())
            file["state/counts"][...]

    with pytest.raises(RunDirectoryError, match="nothing was changed"):
        read_from_a_descriptor_that_fails()


def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(tmp_path):
    write_steps(tmp_path, [1])
    os.mkfifo(tmp_path / "ckpt-000000000002.h5")
    assert read_latest(tmp_path).step == 1


def test_damage_never_returns_wrong_data_and_falls_back_to_the_checkpoint_before(tmp_path):
    good, newest = write_steps(tmp_path, [1, 2])
    whole = newest.read_bytes()
    rng = random.Random(0)
    for trial in range(400):
        damaged = bytearray(whole)
        offset = rng.randrange(len(whole))
        kind = trial % 4
        if kind == 0:
            damaged[offset] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[offset:]
        elif kind == 2:
            damaged[offset : offset + 256] = bytes(len(damaged[offset : offset + 256]))
        else:
            damaged[offset : offset + 64] = rng.randbytes(len(damaged[offset : offset + 64]))
        newest.write_bytes(damaged)
        found = read_latest(tmp_path)
        assert_equal_bits(found.arrays, arrays_of(found.step))
        assert found.meta == {"step_s": 0.5}
        # The seal covers every byte, also those that HDF5 does not use.
        if damaged != whole:
            assert found.path == good
            assert [each.path for each in found.skipped] == [newest]
            assert found.skipped[0].problem


def test_an_array_that_hdf5_returns_otherwise_than_it_was_given_is_refused(tmp_path):
    path = write_checkpoint(tmp_path, arrays_of(1), {}, 1)

    def change(manifest, file):
        file["state/counts"][1, 2, 3, 0] += 1

    rewrite_manifest(path, change)
    with pytest.raises(CheckpointError, match="array 'counts' does not have the recorded hash"):
        read_latest(tmp_path)


def test_hdf5_is_not_called_on_a_damaged_file_because_it_may_loop_for_ever(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path, arrays_of(1), {}, 1)
    whole = path.read_bytes()
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("HDF5 was called"))
    for byte in range(0, len(whole), 7):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1]) + whole[byte + 1 :])
        with pytest.raises(CheckpointError):
            read_latest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"hello", bytes(4096)])
def test_empty_and_foreign_files_are_skipped(tmp_path, content):
    write_steps(tmp_path, [1])
    (tmp_path / "ckpt-000000000007.h5").write_bytes(content)
    assert read_latest(tmp_path).step == 1


def test_a_foreign_hdf5_file_and_a_renamed_one_are_skipped(tmp_path):
    (first,) = write_steps(tmp_path, [1])
    with h5py.File(tmp_path / "ckpt-000000000008.h5", "w") as file:
        file["state/u"] = np.ones(3)
    (tmp_path / "ckpt-000000000009.h5").write_bytes(first.read_bytes())
    (tmp_path / "ckpt-000000000010.h5").mkdir()
    found = read_latest(tmp_path)
    assert found.step == 1
    problems = [each.problem for each in found.skipped]
    assert "content is of step 1" in problems[1]
    assert "not written by exodiff" in problems[2]


def test_no_checkpoint_and_no_good_checkpoint_are_errors_that_say_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint; start the run"):
        read_latest(tmp_path / "absent")
    for path in write_steps(tmp_path, [1, 2]):
        path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match=r"ckpt-000000000002.h5: .*ckpt-000000000001.h5: .*restore one"):
        read_latest(tmp_path)


def rewrite_manifest(path, change):
    """Makes a file whose manifest is changed and sealed anew, as a newer exodiff or an attacker would."""
    head = read_seal(path).head
    with h5py.File(path, "r+") as file:
        change(head, file)
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))


def test_a_newer_format_is_refused_and_not_replaced_by_an_older_checkpoint(tmp_path):
    paths = write_steps(tmp_path, [1, 2])
    rewrite_manifest(paths[1], lambda manifest, _: manifest.update(format_version=99))
    with pytest.raises(CheckpointError, match=r"format 99.*update exodiff"):
        read_latest(tmp_path)


def hostile_shape(manifest, file):
    del file["state/counts"]
    file.create_dataset("state/counts", (10**6, 10**6), np.int32, chunks=(100, 100))
    manifest["arrays"]["counts"]["shape"] = [10**6, 10**6]


def hostile_external(manifest, file):
    del file["state/counts"]
    file.create_dataset("state/counts", (8,), np.uint8, external=[("/etc/passwd", 0, 8)])


def hostile_soft_link(manifest, file):
    del file["state/counts"]
    file["state/counts"] = h5py.SoftLink("/state/time")


def hostile_external_link(manifest, file):
    del file["state/counts"]
    file["state/counts"] = h5py.ExternalLink("/tmp/other.h5", "/x")


def hostile_chunk(manifest, file):
    """What one chunk of zeros unpacks to may be a thousand times the file."""
    values = file["state/counts"][...]
    del file["state/counts"]
    maxshape = (None,) * values.ndim
    file.create_dataset("state/counts", data=values, maxshape=maxshape, chunks=(64,) * 4, compression="gzip")


def hostile_types(manifest, file):
    manifest["arrays"] = [1, 2]


def hostile_step(manifest, file):
    manifest["step"] = "2"


@pytest.mark.parametrize(
    "change",
    [
        hostile_shape,
        hostile_chunk,
        hostile_external,
        hostile_soft_link,
        hostile_external_link,
        hostile_types,
        hostile_step,
    ],
)
def test_a_hostile_file_is_refused_before_anything_is_allocated_or_followed(tmp_path, change):
    paths = write_steps(tmp_path, [1, 2])
    rewrite_manifest(paths[1], change)
    found = read_latest(tmp_path)
    assert found.step == 1
    assert [each.path for each in found.skipped] == [paths[1]]


def test_a_virtual_dataset_is_refused(tmp_path):
    layout = h5py.VirtualLayout((3,), np.int32)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (3,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        with pytest.raises(UnreadableFileError, match="another file"):
            stored_dataset(file, "x")


@pytest.mark.parametrize("name", ["", "a//b", "../x", ".", "a\0b"])
def test_a_name_that_hdf5_would_take_for_a_path_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name of an array"):
        write_checkpoint(tmp_path, {name: np.ones(1)}, {}, 1)


def test_objects_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(TypeError, match="dtype"):
        write_checkpoint(tmp_path, {"a": np.array([{}])}, {}, 1)
    with pytest.raises(TypeError, match="JSON"):
        write_checkpoint(tmp_path, {"a": np.ones(1)}, {"x": object()}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_leaves_older_checkpoints_and_no_temporary(tmp_path):
    write_steps(tmp_path, [1])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = list_checkpoints(tmp_path)[0].stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # From a file that cannot even begin to one that lacks its last byte: HDF5 by itself crashes at some of these.
    for limit in [0, 96, 800, 2048, size // 2, size - 100, size - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(CheckpointError, match=r"could not be written.*older checkpoints are intact"):
                write_checkpoint(tmp_path, arrays_of(2), {"step_s": 0.5}, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in tmp_path.iterdir()] == ["ckpt-000000000001.h5"]
    signal.signal(signal.SIGXFSZ, before)
    write_steps(tmp_path, [2])
    assert read_latest(tmp_path).step == 2


def test_a_failing_body_leaves_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_and_fail():
        with replace_file(target) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_temporary_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("data")
    (tmp_path / f".tmp-{os.getpid()}-a.txt").symlink_to("precious")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious").read_text() == "data"
    assert not (tmp_path / "a.txt").is_symlink()


def test_stale_temporaries_are_removed_and_nothing_else(tmp_path):
    for name in [".tmp-1-a.h5", "a.h5", "tmp-b"]:
        (tmp_path / name).touch()
    assert [path.name for path in remove_stale_temporaries(tmp_path)] == [".tmp-1-a.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "tmp-b"]
    assert remove_stale_temporaries(tmp_path / "absent") == []
    make_folder(tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y").is_dir()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from exodiff.io.atomic import remove_stale_temporaries
from exodiff.io.checkpoint import Checkpoint, list_checkpoints, read_latest, write_checkpoint
from exodiff.io.lock import RunLock
from exodiff.io.records import RecordWriter, truncate_after
from exodiff.io.results import Master, SnapshotReader, discard_after
from exodiff.io.snapshots import FieldArray, write_snapshot
from exodiff.io.vtkhdf import StoredGrid

run_dir = Path(sys.argv[1])
grid = StoredGrid((24, 24, 24), (1.0, 1.0, 1.0))
with RunLock(run_dir):
    for folder in ("", "checkpoints", "snapshots"):
        remove_stale_temporaries(run_dir / folder)
    step = read_latest(run_dir / "checkpoints").step if list_checkpoints(run_dir / "checkpoints") else -1
    discard_after(run_dir, index=step)
    columns = ("time_s", "replicate", "value")
    truncate_after(run_dir / "observables.csv", columns, float(step))
    with RecordWriter(run_dir / "observables.csv", columns) as table:
        master = Master(run_dir)
        print("ready", flush=True)
        while True:
            step += 1
            state = np.random.default_rng(step).integers(0, 9, (24, 24, 24), np.int32)
            table.append((float(step), 0, step / 3))
            path = write_snapshot(run_dir, step, float(step), {"EV": FieldArray(state)}, grid)
            table.flush()
            write_checkpoint(run_dir / "checkpoints", {"state": state}, {}, step)
            master.add(path)
"""


def run_and_kill(run_dir, seconds):
    command = [sys.executable, "-c", WRITER, str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as run:
        assert run.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        run.kill()
    assert run.returncode == -signal.SIGKILL


def test_a_run_killed_again_and_again_can_always_go_on_and_loses_nothing(tmp_path):
    rng = random.Random(3)
    last = -1
    for _ in range(10):
        run_and_kill(tmp_path, rng.uniform(0.02, 0.25))
        if not list_checkpoints(tmp_path / "checkpoints"):  # killed before the first, on a busy machine
            continue
        found = read_latest(tmp_path / "checkpoints")
        assert found.skipped == ()
        assert found.step >= last
        last = found.step
        expected = np.random.default_rng(last).integers(0, 9, (24, 24, 24), np.int32)
        assert np.array_equal(found.arrays["state"], expected)
        assert len(list_checkpoints(tmp_path / "checkpoints")) <= 4
        reader = SnapshotReader(tmp_path)
        assert reader.problems == []
        assert list(reader.times_s[: last + 1]) == list(range(last + 1))
        assert np.array_equal(reader.read(last).fields["EV"].values, expected)
        table = read_table(tmp_path / "observables.csv")
        assert list(table["time_s"][: last + 1]) == list(range(last + 1))
        assert list(table["value"][: last + 1]) == [step / 3 for step in range(last + 1)]
    assert last >= 0


def test_totals_and_amounts_of_the_first_format_are_read():
    """Their low word had 16 bits: 3 x 2^16 + 5 events, and an amount of -7."""
    arrays = {
        "events": np.array([[[3, 5]]], np.uint32),
        "pools": np.array([[[0xFFFFFFFF, 0x10000 - 7]]], np.uint32),
    }
    found = migrated(Checkpoint(arrays, {}, 1, Path("ckpt.h5"), version=1))
    assert [int(words.to_host(found[name])[0, 0]) for name in arrays] == [3 * 65536 + 5, -7]
    assert migrated(Checkpoint(arrays, {}, 1, Path("ckpt.h5"))) is arrays
