"""Arrays that several processes write together: a sealed file of each, its piece, joined by a master file.

The master is written last and names its pieces with the hashes of what they hold: it is the mark that all are there.
Each attempt has names of its own: what a master names is never written again. A piece without a master is nothing, and
is removed.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import fsync
from exodiff.io.hdf5 import WRITE_ERRORS, check_sizes, create_hdf5, open_hdf5, stored_dataset, stored_type
from exodiff.io.sealed import UnreadableFileError, read_seal, verify_body

FORMAT = "exodiff-piece"
KINDS = "biufc"  # of the arrays that are stored
_FILE_NAME = re.compile(r"((?:ckpt|snap)-\d{1,18})\.[0-9a-f]{8}-\d{1,6}\.h5")


class Block(NamedTuple):
    """A part of an array: the array's name, where the part begins in the whole, and its values."""

    name: str
    start: tuple[int, ...]
    values: np.ndarray


def piece_path(folder: Path, stem: str, attempt: int, process: int) -> Path:
    """The piece of a process; ``stem`` is that of the master's name."""
    return folder / f"{stem}.{attempt:08x}-{process}.h5"


def write_piece(
    path: Path,
    blocks: Sequence[Block],
    about: Mapping[str, Any] | None = None,
    storage: Callable[[tuple[int, ...]], dict[str, Any]] = lambda _: {},
) -> None:
    """Writes a piece durably.

    Args:
        path: from `piece_path`; its folder is there.
        blocks: what it holds.
        about: what else the writer of the master must know; anything JSON can hold.
        storage: how an array of some shape is stored; by default as it is.

    Raises:
        RunDirectoryError: it could not be written; nothing is left of it.

    """
    contiguous = [np.asarray(block.values, order="C") for block in blocks]
    entries = [
        {
            "array": block.name,
            "dataset": f"{block.name}/{place}",
            "start": list(block.start),
            "shape": list(values.shape),
            "dtype": values.dtype.str,
            "blake2b": digest(values),
        }
        for place, (block, values) in enumerate(zip(blocks, contiguous, strict=True))
    ]
    try:
        with create_hdf5(path, {"format": FORMAT, "blocks": entries, "about": dict(about or {})}) as file:
            for entry, values in zip(entries, contiguous, strict=True):
                file.create_dataset(entry["dataset"], data=values, **storage(values.shape))
    except WRITE_ERRORS as error:
        advice = "make room or fix the permissions, then `exodiff resume`"
        raise RunDirectoryError(str(path), f"could not be written ({error}); {advice} {path.parent.parent}") from error


def describe(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a master says of its pieces, and what each of them says beside.

    Raises:
        RunDirectoryError: one cannot be read, e.g. because this node does not see what another one has written.

    """
    described, about = [], []
    for path in paths:
        try:
            seal = read_seal(path)
        except UnreadableFileError as damage:
            advice = "put the run on a file system that all nodes share"
            raise RunDirectoryError(str(path), f"was written by another process, but {damage}; {advice}") from damage
        described.append({"file": path.name, "blocks": seal.head["blocks"]})
        about.append(seal.head["about"])
    return described, about


def assemble(
    folder: Path, pieces: Iterable[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]], *, compression: int = 1
) -> dict[str, np.ndarray]:
    """Reads arrays whole, verified byte by byte.

    Args:
        folder: of the master and its pieces.
        pieces: what the master says of them.
        shapes: of the wanted arrays.
        compression: how many times as large as their file arrays may be.

    Raises:
        UnreadableFileError: a piece is missing, damaged or another than the master names, or does not fill its place.

    """
    try:
        return _assembled(folder, list(pieces), shapes, compression)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise UnreadableFileError(f"what it says of its pieces makes no sense ({error})") from error


def _assembled(
    folder: Path, pieces: list[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]], compression: int
) -> dict[str, np.ndarray]:
    paths = [_checked_path(folder, piece) for piece in pieces]
    if len(set(paths)) < len(paths):
        raise UnreadableFileError("one of its pieces is named twice")
    left, claimed = {name: prod(shape) for name, shape in shapes.items()}, 0
    boxes: dict[str, list[tuple[slice, ...]]] = {name: [] for name in shapes}
    for block in (block for piece in pieces for block in piece["blocks"] if block["array"] in shapes):
        box = tuple(slice(at, at + n) for at, n in zip(block["start"], block["shape"], strict=True))
        if any(part.start < 0 or part.stop < part.start for part in box):
            raise UnreadableFileError(f"a block of array {block['array']!r} is none")
        boxes[block["array"]].append(box)
        left[block["array"]] -= prod(block["shape"])
        claimed += prod(block["shape"]) * stored_type(block["dtype"]).itemsize
    for name, of_one in boxes.items():
        if _overlap(of_one):
            raise UnreadableFileError(f"blocks of array {name!r} overlap")
    if any(left.values()):
        raise UnreadableFileError("its pieces do not fill its arrays")
    if claimed > compression * sum(path.stat().st_size for path in paths):
        raise UnreadableFileError("its arrays claim to be larger than its pieces")
    wholes: dict[str, np.ndarray] = {}
    for path, piece in zip(paths, pieces, strict=True):
        for block in _read_blocks(path, piece, shapes, compression):
            if block.name not in wholes:
                wholes[block.name] = np.empty(tuple(shapes[block.name]), block.values.dtype)
            whole = wholes[block.name]
            place = tuple(slice(at, at + n) for at, n in zip(block.start, block.values.shape, strict=True))
            if whole.dtype != block.values.dtype or whole[place].shape != block.values.shape:
                raise UnreadableFileError(f"a block of array {block.name!r} does not fit into it")
            whole[place] = block.values
    return wholes


def _overlap(boxes: list[tuple[slice, ...]]) -> bool:
    """Whether blocks overlap, or are no cells of one grid, as those that devices hold are.

    Compared by pairs, the many blocks that a small file can name would take minutes.
    """
    corners = {tuple(part.start for part in box) for box in boxes}
    for along_axis in zip(*boxes, strict=True):
        following = dict(pairwise(sorted({part.start for part in along_axis})))
        if any(part.stop > following.get(part.start, part.stop) for part in along_axis):
            return True
    return len(corners) < len(boxes)


def remove_orphans(folder: Path, masters: Iterable[Path]) -> None:
    """Removes the pieces that no master names; those of a master that cannot be read are left."""
    found = {path: match[1] for path in _entries(folder) if (match := _FILE_NAME.fullmatch(path.name))}
    if not found:
        return
    named: set[str] = set()
    unread: set[str] = set()
    for master in masters:
        try:
            named |= {str(piece["file"]) for piece in read_seal(master).head.get("pieces", ())}
        except (UnreadableFileError, TypeError, KeyError):
            unread.add(master.stem)
    orphans = [path for path, stem in found.items() if path.name not in named and stem not in unread]
    for path in orphans:
        path.unlink(missing_ok=True)
    if orphans:
        fsync(folder)


def digest(array: np.ndarray) -> str:
    """A hash of the type, the shape and the bytes of a contiguous array."""
    hasher = blake2b(f"{array.dtype.str}|{list(array.shape)}|".encode(), digest_size=16)
    hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def missing_pieces(folder: Path, pieces: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of those that are not there, of what a master says of its pieces.

    Raises:
        UnreadableFileError: it says no names.

    """
    try:
        names = [piece["file"] for piece in pieces]
        return tuple(name for name in names if not _FILE_NAME.fullmatch(name) or not (folder / name).is_file())
    except (TypeError, KeyError) as error:
        raise UnreadableFileError(f"what it says of its pieces makes no sense ({error})") from error


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _checked_path(folder: Path, piece: Mapping[str, Any]) -> Path:
    path = folder / str(piece["file"])
    if not _FILE_NAME.fullmatch(piece["file"]):
        raise UnreadableFileError(f"{piece['file'][:100]!r} is no name of a piece")
    if not path.is_file():
        raise UnreadableFileError(f"its piece {path.name} is missing")
    return path


def _read_blocks(path: Path, piece: Mapping[str, Any], wanted: Collection[str], compression: int) -> Iterator[Block]:
    verify_body(path, read_seal(path))  # before HDF5 sees it; that it is the right one is told by the hashes below
    with open_hdf5(path) as file:
        blocks = [block for block in piece["blocks"] if block["array"] in wanted]
        datasets = [stored_dataset(file, block["dataset"], is_compressed=compression > 1) for block in blocks]
        check_sizes(datasets, path.stat().st_size, compression)
        for block, dataset in zip(blocks, datasets, strict=True):
            if list(cast("tuple[int, ...]", dataset.shape)) != block["shape"] or dataset.dtype.str != block["dtype"]:
                raise UnreadableFileError(
                    f"array {block['array']!r} in {path.name} is not of the recorded size or type"
                )
            values = dataset[...]
            if digest(values) != block["blake2b"]:
                raise UnreadableFileError(f"array {block['array']!r} in {path.name} does not have the recorded hash")
            yield Block(block["array"], tuple(block["start"]), values)
