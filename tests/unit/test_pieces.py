"""Checkpoints and snapshots in pieces of several processes: read whole, or not at all."""

import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from exodiff.core.errors import CheckpointError, RunDirectoryError
from exodiff.io import checkpoint, snapshots
from exodiff.io.pieces import Block, assemble, piece_path, remove_orphans, write_piece
from exodiff.io.results import Master, discard_after
from exodiff.io.sealed import UnreadableFileError
from exodiff.io.snapshots import FieldArray, blocks_of_fields, join_snapshot, read_snapshot, write_snapshot
from exodiff.io.vtkhdf import StoredGrid
from exodiff.runner.directory import RunDirectory

GRID = StoredGrid((6, 4, 3), (1.0, 2.0, 4.0))
COUNTS = np.arange(2 * 72, dtype=np.int32).reshape(1, 2, *GRID.shape)


def write_pieces(folder: Path, step: int, attempt: int = 7, parts: int = 2) -> list[Path]:
    """Pieces of so many processes; the first one writes also what all have."""
    folder.mkdir(exist_ok=True)
    paths = [piece_path(folder, checkpoint.stem_of(step), attempt, process) for process in range(parts)]
    for process, (path, values) in enumerate(zip(paths, np.split(COUNTS + step, parts, axis=2), strict=True)):
        blocks = [Block("counts", (0, 0, process * values.shape[2], 0, 0), values)]
        blocks += [Block("clock.pair", (0,), np.array([step], np.uint32))] if process == 0 else []
        write_piece(path, blocks)
    return paths


def save(folder: Path, step: int, **given: int) -> Path:
    paths = write_pieces(folder, step, **given)
    return checkpoint.join_pieces(folder, paths, {"counts": COUNTS.shape, "clock.pair": (1,)}, {"seed": 7}, step)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_checkpoint_in_pieces_is_read_whole(tmp_path, parts):
    save(tmp_path, 5, parts=parts)
    found = checkpoint.read_latest(tmp_path)
    assert (found.step, found.meta, found.skipped) == (5, {"seed": 7}, ())
    np.testing.assert_equal(found.arrays, {"counts": COUNTS + 5, "clock.pair": np.array([5], np.uint32)})


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def swap(path: Path) -> None:
    """Whole, and of the same process, but of another step."""
    shutil.copy(write_pieces(path.parent / "other", 99)[int(path.stem[-1])], path)


@pytest.mark.parametrize("damage", [remove, cut, flip, swap])
@pytest.mark.parametrize("place", [0, 1])
def test_without_one_good_piece_the_checkpoint_before_is_used(tmp_path, damage, place):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(piece_path(tmp_path, checkpoint.stem_of(2), 7, place))
    found = checkpoint.read_latest(tmp_path)
    assert found.step == 1
    assert len(found.skipped) == 1
    np.testing.assert_equal(found.arrays["counts"], COUNTS + 1)


def test_pieces_without_a_master_are_nothing_and_are_removed(tmp_path):
    """Killed between the pieces and the master, at a new step and at one that there is already."""
    folder = tmp_path / "checkpoints"
    save(folder, 1)
    kept = set(folder.iterdir())
    write_pieces(folder, 2)
    write_pieces(folder, 1, attempt=8, parts=3)
    found = checkpoint.read_latest(folder)
    assert (found.step, found.skipped) == (1, ())
    RunDirectory(tmp_path).tidy()
    assert set(folder.iterdir()) == kept


def test_pieces_go_with_their_checkpoints(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
    left = sorted(path.name.split(".")[0] for path in tmp_path.iterdir())
    assert left == [checkpoint.stem_of(step) for step in (3, 3, 3, 4, 4, 4, 5, 5, 5)]
    checkpoint.set_aside_after(tmp_path, 3)
    assert len(list(tmp_path.glob("*.h5"))) == 3
    remove_orphans(tmp_path, checkpoint.list_checkpoints(tmp_path))
    assert len(list(tmp_path.glob("*.damaged"))) == 6
    np.testing.assert_equal(checkpoint.read_latest(tmp_path).arrays["counts"], COUNTS + 3)


def test_pieces_of_a_master_that_cannot_be_read_are_left(tmp_path):
    master = save(tmp_path, 1)
    whole = master.read_bytes()
    cut(master)
    remove_orphans(tmp_path, checkpoint.list_checkpoints(tmp_path))
    master.write_bytes(whole)
    assert checkpoint.read_latest(tmp_path).step == 1


def test_a_piece_that_does_not_fill_its_place_is_refused(tmp_path):
    paths = write_pieces(tmp_path, 1)
    checkpoint.join_pieces(tmp_path, paths[:1], {"counts": COUNTS.shape, "clock.pair": (1,)}, {}, 1)
    with pytest.raises(CheckpointError, match="its pieces do not fill its arrays"):
        checkpoint.read_latest(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda blocks: blocks[0].update(start=[0, 0, 3, 0, 0]), "overlap"),
        (lambda blocks: blocks[0].update(shape=[1, 2, -3, 4, 3]), "is none"),
        (lambda blocks: blocks[0].update(dtype="|O"), "is no type"),
        (lambda blocks: blocks[0].update(dtype="(,)f4"), "is no type"),
        (lambda blocks: blocks[0].update(start=[0, 0, 1, 0, 0], shape=[1, 2, 5, 4, 3]), "overlap"),
        (lambda blocks: blocks[0].pop("start"), "makes no sense"),
        (lambda blocks: blocks.clear(), "do not fill"),
    ],
)
def test_a_master_that_lies_of_its_pieces_is_refused(tmp_path, monkeypatch, change, says):
    right = checkpoint.describe

    def lie(paths):
        described, about = right(paths)
        change(described[0]["blocks"])
        return described, about

    monkeypatch.setattr(checkpoint, "describe", lie)
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.read_latest(tmp_path)


@pytest.mark.parametrize("length", [1, 2])
def test_a_small_file_of_many_blocks_takes_no_minutes(tmp_path, length):
    """By pairs, 8,000 took a minute."""
    write_pieces(tmp_path, 1)
    starts = range(0, 16_000, length)
    blocks = [{"array": "a", "start": [at], "shape": [2], "dtype": "|i1", "dataset": "a/0"} for at in starts]
    file = piece_path(tmp_path, checkpoint.stem_of(1), 7, 0).name
    began = time.process_time()
    with pytest.raises(UnreadableFileError, match="overlap" if length == 1 else "there is no dataset|larger"):
        assemble(tmp_path, [{"file": file, "blocks": blocks}], {"a": [16_000]}, compression=1100)
    assert time.process_time() - began < 5


def test_a_piece_that_is_named_many_times_is_not_read_each_time(tmp_path):
    write_pieces(tmp_path, 1)
    piece = {"file": piece_path(tmp_path, checkpoint.stem_of(1), 7, 0).name, "blocks": []}
    with pytest.raises(UnreadableFileError, match="named twice"):
        assemble(tmp_path, [piece, piece], {})


@pytest.mark.parametrize("pieces", [5, [{}], ["x"]])
def test_a_master_whose_pieces_are_none_stops_no_tidying(tmp_path, monkeypatch, pieces):
    write_pieces(tmp_path, 2)
    monkeypatch.setattr(checkpoint, "describe", lambda _: (pieces, []))
    save(tmp_path, 1)
    remove_orphans(tmp_path, checkpoint.list_checkpoints(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3  # the pieces without a master are gone
    with pytest.raises(CheckpointError, match="makes no sense"):
        checkpoint.read_latest(tmp_path)


def test_a_piece_that_this_node_does_not_see_is_told(tmp_path):
    paths = write_pieces(tmp_path, 1)
    paths[1].unlink()
    with pytest.raises(RunDirectoryError, match=r"written by another process, but .* all nodes share"):
        checkpoint.join_pieces(tmp_path, paths, {"counts": COUNTS.shape, "clock.pair": (1,)}, {}, 1)
    assert checkpoint.list_checkpoints(tmp_path) == []


def fields(replicates: int) -> dict[str, FieldArray]:
    values = COUNTS[0, 0] + 1000 * np.arange(replicates, dtype=np.int32)[:, None, None, None]
    cells = (values % 3 - 1).astype(np.int16)
    one = replicates == 1
    return {
        "EV": FieldArray(values[0] if one else values, "molecules"),
        "plasma.oxygen": FieldArray((values[0] if one else values) / 3.0, "mM"),
        "cells": FieldArray(cells[0] if one else cells, legend={-1: "empty", 0: "a", 1: "b"}),
    }


def write_in_pieces(run_dir: Path, index: int, time_s: float, replicates: int) -> Path:
    """A lattice in pieces along x and y, or replicates in shares."""
    whole = fields(replicates)
    paths = [piece_path(run_dir / "snapshots", snapshots.stem_of(index), 7, process) for process in range(2)]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for process, path in enumerate(paths):
        blocks: list[Block] = []
        about = {}
        for half in range(2):
            if replicates == 1:
                part, start = (
                    np.s_[3 * process : 3 * process + 3, 2 * half : 2 * half + 2],
                    (0, 3 * process, 2 * half, 0),
                )
            else:
                replicate = 2 * process + half
                part, start = np.s_[replicate : replicate + 1], (replicate, 0, 0, 0)
            given = {name: FieldArray(f.values[part], f.unit, legend=f.legend) for name, f in whole.items()}
            found, told = blocks_of_fields(given, start, given["EV"].values.shape[-3:])
            blocks += found
            about |= told
        write_piece(path, blocks, about, snapshots.storage)
    return join_snapshot(run_dir, index, time_s, GRID, paths)


@pytest.mark.parametrize("replicates", [1, 4])
def test_a_snapshot_in_pieces_is_that_of_one_process(tmp_path, replicates):
    one = read_snapshot(write_snapshot(tmp_path / "one", 0, 60.0, fields(replicates), GRID))
    path = write_in_pieces(tmp_path / "two", 0, 60.0, replicates)
    found = read_snapshot(path)
    assert (found.index, found.time_s, found.grid) == (one.index, one.time_s, one.grid)
    np.testing.assert_equal({n: vars(f) for n, f in found.fields.items()}, {n: vars(f) for n, f in one.fields.items()})
    assert set(read_snapshot(path, ["EV"]).fields) == {"EV"}


@pytest.mark.parametrize("replicates", [1, 4])
def test_other_programs_see_pieces_as_one_array(tmp_path, replicates):
    """From the snapshot, and from the file that joins all of them, wherever the run is moved."""
    paths = [write_in_pieces(tmp_path / "run", 0, 0.0, replicates)]
    paths.append(write_snapshot(tmp_path / "run", 1, 60.0, fields(replicates), GRID))
    assert Master(tmp_path / "run").write().left_out == ()
    (tmp_path / "run").rename(tmp_path / "moved")
    name = "EV" if replicates == 1 else "EV__r3"
    values = COUNTS[0, 0] + 1000 * (replicates - 1)
    for path in paths:
        with h5py.File(tmp_path / "moved" / "snapshots" / path.name) as file:
            np.testing.assert_array_equal(file[f"VTKHDF/CellData/{name}"], values.T)
            assert file[f"VTKHDF/CellData/{name}"].attrs["unit"] == "molecules"
    with h5py.File(tmp_path / "moved" / "results.vtkhdf") as file:
        np.testing.assert_array_equal(file[f"VTKHDF/CellData/{name}"], np.stack([values.T] * 2))


def test_a_snapshot_without_a_piece_is_refused_and_goes_with_its_pieces(tmp_path):
    write_in_pieces(tmp_path, 0, 0.0, 1)
    path = write_in_pieces(tmp_path, 1, 60.0, 1)
    kept = piece_path(path.parent, snapshots.stem_of(0), 7, 0)
    piece = piece_path(path.parent, snapshots.stem_of(1), 7, 1)
    piece.unlink()
    with pytest.raises(RunDirectoryError, match=f"cannot be read as a snapshot: its piece {piece.name} is missing"):
        read_snapshot(path)
    report = Master(tmp_path).write()
    assert (report.num_steps, report.left_out) == (1, (f"snapshots/{path.name}: its piece {piece.name} is missing",))
    discard_after(tmp_path, time_s=0.0)
    assert sorted(found.name.split(".")[0] for found in path.parent.iterdir()) == [snapshots.stem_of(0)] * 3
    assert kept.exists()


def test_a_master_leads_to_no_other_file(tmp_path):
    """Names come from files that anyone may have made."""
    paths = write_pieces(tmp_path, 1)
    (tmp_path / "deep").mkdir()
    for name in ("../secret.h5", "/etc/passwd", "deep/ckpt-1.00000007-0.h5", "ckpt-1.h5"):
        with pytest.MonkeyPatch.context() as patch:
            named = [{"file": name, "blocks": []}]
            patch.setattr(checkpoint, "describe", lambda _, named=named: (named, []))
            checkpoint.join_pieces(tmp_path, paths, {}, {}, 1)
        with pytest.raises(CheckpointError, match="is no name of a piece"):
            checkpoint.read_latest(tmp_path)
