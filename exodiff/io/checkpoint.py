"""Checkpoints: whole or absent, verified byte by byte, the newest good one wins.

A file ``ckpt-<step>.h5`` holds each array as a contiguous dataset ``state/<name>``. Its seal (`exodiff.io.sealed`)
covers every byte and holds the manifest: format, version, step, meta, and for each array its dtype, shape and BLAKE2b
hash over both and its bytes, so what HDF5 returns is compared with what was given to it. What several processes wrote
lies in pieces beside it (`exodiff.io.pieces`), which the manifest names with the shapes of the arrays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from exodiff.core.errors import CheckpointError
from exodiff.io.atomic import fsync, make_folder
from exodiff.io.hdf5 import WRITE_ERRORS, check_sizes, create_hdf5, open_hdf5, stored_dataset
from exodiff.io.pieces import KINDS, assemble, describe, digest, remove_orphans
from exodiff.io.sealed import UnreadableFileError, read_seal, verify_body

FORMAT = "exodiff-checkpoint"
FORMAT_VERSION = 3
DAMAGED = ".damaged"
_FILE_NAME = re.compile(r"ckpt-(\d{1,18})\.h5")


@dataclass(frozen=True, eq=False)
class SkippedCheckpoint:
    """A checkpoint that was newer than the one used, and why it was not used."""

    path: Path
    problem: str


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds; every array has been verified."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    step: int
    path: Path
    version: int = FORMAT_VERSION
    skipped: tuple[SkippedCheckpoint, ...] = field(default=())


def write_checkpoint(
    folder: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], step: int, keep: int = 3
) -> Path:
    """Writes ``ckpt-<step>.h5`` durably, then removes all but the newest ``keep`` up to this step.

    Whatever output belongs to the time before this step must be on the disk already. Checkpoints of later steps are
    left alone (see `set_aside_after`).

    Args:
        folder: made when it does not exist.
        arrays: boolean or numeric; a ``/`` in a name makes a group.
        meta: anything JSON can hold.
        step: number of the step, not negative.
        keep: at least 1.

    Raises:
        CheckpointError: the file could not be written; older checkpoints are untouched and no temporary is left.

    """
    if step < 0 or keep < 1:
        raise ValueError(f"step {step} must not be negative and keep {keep} must be at least 1")
    contiguous = {name: _checked(name, array) for name, array in arrays.items()}
    entries = {
        name: {"dtype": array.dtype.str, "shape": list(array.shape), "blake2b": digest(array)}
        for name, array in contiguous.items()
    }
    return _write(folder, contiguous, {"step": step, "meta": meta, "arrays": entries}, step, keep)


def join_pieces(
    folder: Path,
    pieces: Sequence[Path],
    shapes: Mapping[str, Sequence[int]],
    meta: Mapping[str, Any],
    step: int,
    keep: int = 3,
) -> Path:
    """Writes a checkpoint of pieces that are on the disk already; the rest as of `write_checkpoint`."""
    entries = {name: {"shape": list(shape)} for name, shape in shapes.items()}
    described, _ = describe(pieces)
    return _write(folder, {}, {"step": step, "meta": meta, "arrays": entries, "pieces": described}, step, keep)


def stem_of(step: int) -> str:
    """The name of a checkpoint, without its ending."""
    return f"ckpt-{step:012d}"


def _write(folder: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any], step: int, keep: int) -> Path:
    path = folder / f"{stem_of(step)}.h5"
    try:
        make_folder(folder)
        with create_hdf5(path, {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest}) as file:
            for name, array in arrays.items():
                file.create_dataset(f"state/{name}", data=array)
    except WRITE_ERRORS as error:
        advice = "older checkpoints are intact: make room or fix the permissions, then `exodiff resume`"
        raise CheckpointError(str(path), f"could not be written ({error}); {advice} {_run_folder(folder)}") from error
    _remove(folder, [old for old in list_checkpoints(folder) if step_of(old) <= step][keep:])
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files in a folder, newest step first, unverified. No folder, no files."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step in a checkpoint's file name, or -1 when the name is not of that form."""
    match = _FILE_NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def read_latest(folder: Path) -> Checkpoint:
    """Reads the newest checkpoint that is whole; `Checkpoint.skipped` names newer ones that are not.

    Raises:
        CheckpointError: there is none, none is good, or one is of a newer format than this exodiff reads.
        RunDirectoryError: one cannot be read at present; it may be whole, so none before it is used.

    """
    skipped: list[SkippedCheckpoint] = []
    for path in list_checkpoints(folder):
        try:
            return replace(_read_verified(path), skipped=tuple(skipped))
        except UnreadableFileError as damage:
            skipped.append(SkippedCheckpoint(path, str(damage)))
    if not skipped:
        raise CheckpointError(str(folder), "holds no checkpoint; start the run with `exodiff run CONFIG`")
    found = "; ".join(f"{each.path.name}: {each.problem}" for each in skipped)
    advice = "restore one from a backup, or start again in a new folder"
    raise CheckpointError(str(folder), f"no checkpoint is good ({found}); {advice}")


def set_aside_after(folder: Path, step: int) -> None:
    """Renames checkpoints of later steps, and their pieces, to ``*.damaged``, for a run that goes on from an older one.

    They count as checkpoints no more, and nothing removes them.
    """
    later = [path for path in list_checkpoints(folder) if step_of(path) > step]
    for path in later:
        for part in sorted(folder.glob(f"{path.stem}.*h5")):  # pieces come before their master
            part.rename(part.with_name(part.name + DAMAGED))
    if later:
        fsync(folder)


def discard_all_but(folder: Path, step: int) -> None:
    """Removes the checkpoints of all other steps, for a run that counts its steps anew."""
    _remove(folder, [path for path in list_checkpoints(folder) if step_of(path) != step])


def _run_folder(folder: Path) -> Path:
    return folder.parent if folder.name == "checkpoints" else folder


def _remove(folder: Path, paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        fsync(folder)
    remove_orphans(folder, list_checkpoints(folder))


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    # np.ascontiguousarray would turn a scalar into a vector
    contiguous = np.asarray(array, order="C")
    if contiguous.dtype.kind not in KINDS:
        raise TypeError(f"array {name!r} has dtype {contiguous.dtype}; a checkpoint takes boolean and numeric ones")
    if any(part in {"", ".", ".."} or "\0" in part for part in name.split("/")):
        raise ValueError(f"{name!r} cannot be the name of an array in a checkpoint")
    return contiguous


def _read_verified(path: Path) -> Checkpoint:
    seal = read_seal(path)
    version, step, meta = (seal.head.get(key) for key in ("format_version", "step", "meta"))
    if seal.head.get("format") != FORMAT or not isinstance(version, int):
        raise UnreadableFileError("it is not a checkpoint of exodiff")
    # A newer format is no damage: using an older checkpoint instead would silently lose what was computed since.
    if version > FORMAT_VERSION:
        problem = f"has format {version}, this exodiff reads up to {FORMAT_VERSION}; update exodiff to resume it"
        raise CheckpointError(str(path), problem)
    if not isinstance(step, int) or not isinstance(meta, dict):
        raise UnreadableFileError("its manifest lacks the step or the meta data")
    if step_of(path) != step:
        raise UnreadableFileError(f"its content is of step {step}")
    verify_body(path, seal)
    with open_hdf5(path) as file:
        entries = seal.head["arrays"]
        if "pieces" in seal.head:
            shapes = {name: entry["shape"] for name, entry in entries.items()}
            arrays = assemble(path.parent, seal.head["pieces"], shapes)
        else:
            arrays = dict(_read_arrays(file, entries, path.stat().st_size))
    return Checkpoint(arrays, meta, step, path, version)


def _read_arrays(
    file: h5py.File, entries: Mapping[str, Mapping[str, Any]], file_size: int
) -> Iterator[tuple[str, np.ndarray]]:
    datasets = {name: stored_dataset(file, f"state/{name}") for name in entries}
    check_sizes(datasets.values(), file_size)
    for name, dataset in datasets.items():
        entry = entries[name]
        if dataset.dtype.kind not in KINDS or dataset.dtype.str != entry["dtype"]:
            raise UnreadableFileError(f"array {name!r} is not of the recorded type")
        array = dataset[...]
        if list(array.shape) != entry["shape"] or digest(array) != entry["blake2b"]:
            raise UnreadableFileError(f"array {name!r} does not have the recorded hash")
        yield name, array
