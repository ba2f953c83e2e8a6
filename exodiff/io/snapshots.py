"""Snapshots of the fields: one atomic VTKHDF file each, in ``snapshots/`` of the run directory.

A run that is killed loses none that was written, and ParaView opens each as it is; what several processes wrote lies in
pieces beside it (`exodiff.io.pieces`), which it shows as one. `exodiff.io.results` joins them into
one time series.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import make_folder
from exodiff.io.hdf5 import (
    WRITE_ERRORS,
    Part,
    check_sizes,
    create_hdf5,
    open_hdf5,
    stored_dataset,
    stored_type,
    write_virtual,
)
from exodiff.io.pieces import Block, assemble, describe, missing_pieces
from exodiff.io.sealed import UnreadableFileError, read_seal, verify_body
from exodiff.io.vtkhdf import (
    MAX_VOXELS,
    ImageGrid,
    StoredGrid,
    array_name,
    as_triple,
    cell_data,
    chunk_shape,
    from_vtk_order,
    missing_value,
    to_vtk_order,
    write_image_header,
)

FOLDER = "snapshots"
FORMAT = "exodiff-snapshot"
FORMAT_VERSION = 1
_FILE_NAME = re.compile(r"snap-(\d{1,18})\.vtkhdf")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_KINDS = "biuf"
# Deflate cannot shrink data further than 1032-fold, so a larger claim is not from a real array.
_MAX_COMPRESSION = 1100


@dataclass(frozen=True, eq=False)
class FieldArray:
    """One field on the lattice.

    Attributes:
        values: (x, y, z), or (replicates, x, y, z) for one array a replicate; boolean or real.
        unit: of the values; "1" for counts and pure numbers.
        is_static: the same at all times; it need only be given with the first snapshot.
        legend: names of the values of a categorical field, e.g. the cell types.

    """

    values: np.ndarray
    unit: str = "1"
    is_static: bool = False
    legend: Mapping[int, str] | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The fields at one time, in (x, y, z) or (replicates, x, y, z); booleans come back as bytes."""

    index: int
    time_s: float
    fields: dict[str, FieldArray]
    grid: StoredGrid


@dataclass(frozen=True, eq=False)
class ArrayHead:
    """An array of a snapshot file, without its values: one field, or one replicate of it."""

    name: str
    replicate: int | None
    dtype: np.dtype
    unit: str
    is_static: bool
    legend: dict[int, str] | None


@dataclass(frozen=True, eq=False)
class SnapshotHead:
    """A snapshot file without its arrays; ``arrays`` goes by the names in VTK; ``missing`` are pieces that are gone."""

    path: Path
    index: int
    time_s: float
    grid: StoredGrid
    arrays: dict[str, ArrayHead]
    missing: tuple[str, ...] = ()


def write_snapshot(run_dir: Path, index: int, time_s: float, fields: Mapping[str, FieldArray], grid: ImageGrid) -> Path:
    """Writes ``snapshots/snap-<index>.vtkhdf`` durably. In VTK ``.`` in a name becomes ``__``.

    Raises:
        RunDirectoryError: it could not be written; nothing is left of it.

    """
    arrays = _named_arrays(fields, grid.shape)
    head = _head(run_dir, index, time_s, grid, {vtk_name: array for vtk_name, (array, _) in arrays.items()})
    with _created(head, _encode(head), grid) as file:
        for vtk_name, (array, values) in arrays.items():
            _write_array(cell_data(file), vtk_name, array, values)
    return head.path


def blocks_of_fields(
    fields: Mapping[str, FieldArray], start: tuple[int, int, int, int], shape: tuple[int, ...]
) -> tuple[list[Block], dict[str, Any]]:
    """A part of the lattice, or of the replicates, for a piece of a snapshot.

    Args:
        fields: as for `write_snapshot`, of the part alone.
        start: the first replicate of it, and where it begins in x, y, z.
        shape: of the part, in x, y, z.

    Returns:
        What the piece holds, and a description of its arrays for `join_snapshot`.

    """
    arrays = _named_arrays(fields, shape, first_replicate=start[0])
    blocks = [Block(vtk_name, start[:0:-1], values) for vtk_name, (_, values) in arrays.items()]
    return blocks, {vtk_name: _encode_array(array) for vtk_name, (array, _) in arrays.items()}


def join_snapshot(run_dir: Path, index: int, time_s: float, grid: ImageGrid, pieces: Sequence[Path]) -> Path:
    """Writes a snapshot of pieces that are on the disk already: virtual datasets, as which ParaView reads them.

    Raises:
        RunDirectoryError: it could not be written; nothing is left of it.

    """
    described, about = describe(pieces)
    named = {vtk_name: array for each in about for vtk_name, array in each.items()}
    head = _head(run_dir, index, time_s, grid, {vtk_name: _decode_array(array) for vtk_name, array in named.items()})
    parts: dict[str, list[Part]] = {vtk_name: [] for vtk_name in head.arrays}
    for piece in described:
        for block in piece["blocks"]:
            where = tuple(block["start"]), tuple(block["shape"])
            parts[block["array"]].append(Part(piece["file"], block["dataset"], *where))
    with _created(head, {**_encode(head), "pieces": described}, grid) as file:
        for vtk_name, array in head.arrays.items():
            shape, missing = head.grid.shape[::-1], missing_value(array.dtype)
            dataset = write_virtual(cell_data(file), vtk_name, array.dtype, shape, parts[vtk_name], missing)
            dataset.attrs.update(array_attributes(array))
    return head.path


def stem_of(index: int) -> str:
    """The name of a snapshot, without its ending."""
    return f"snap-{index:08d}"


def _head(run_dir: Path, index: int, time_s: float, grid: ImageGrid, arrays: dict[str, ArrayHead]) -> SnapshotHead:
    stored = StoredGrid(as_triple(int, grid.shape), as_triple(float, grid.spacing_um))
    return SnapshotHead(run_dir / FOLDER / f"{stem_of(index)}.vtkhdf", index, float(time_s), stored, arrays)


@contextmanager
def _created(head: SnapshotHead, encoded: Mapping[str, Any], grid: ImageGrid) -> Iterator[h5py.File]:
    """A new snapshot, for its arrays."""
    try:
        make_folder(head.path.parent)
        with create_hdf5(head.path, encoded) as file:
            write_image_header(file, grid)
            yield file
            about = file.create_group("exodiff").attrs
            about["index"], about["time_s"] = head.index, head.time_s
    except WRITE_ERRORS as error:
        advice = "make room or fix the permissions, then `exodiff resume`"
        where = head.path.parent.parent
        raise RunDirectoryError(str(head.path), f"could not be written ({error}); {advice} {where}") from error


def list_snapshots(run_dir: Path) -> list[Path]:
    """The snapshot files of a run in the order of their index, unverified."""
    folder = run_dir / FOLDER
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)), key=index_of)


def index_of(path: Path) -> int:
    """The index in a snapshot's file name, or -1 when the name is not of that form."""
    match = _FILE_NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def read_snapshot(path: Path, names: Collection[str] | None = None) -> Snapshot:
    """Reads a snapshot, or only the named fields of it; arrays of replicates are stacked again.

    Raises:
        RunDirectoryError: the file is damaged or no snapshot of exodiff.
        KeyError: it has no field of such a name.

    """
    try:
        seal = read_seal(path)
        head = _decode(path, seal.head)
        verify_body(path, seal)
        known = {array.name for array in head.arrays.values()}
        if names is not None and not set(names) <= known:
            raise KeyError(f"{path} has no field {sorted(set(names) - known)}; it has {sorted(known)}")
        with open_hdf5(path) as file:
            wanted = known if names is None else names
            arrays = [vtk_name for vtk_name, array in head.arrays.items() if array.name in wanted]
            if "pieces" in seal.head:
                shapes = dict.fromkeys(arrays, head.grid.shape[::-1])
                loaded = assemble(path.parent, seal.head["pieces"], shapes, compression=_MAX_COMPRESSION)
            else:
                loaded = _read_values(file, head, arrays)
            fields = dict(_fields(head, wanted, loaded))
    except UnreadableFileError as damage:
        raise RunDirectoryError(str(path), f"cannot be read as a snapshot: {damage}; delete it") from damage
    return Snapshot(head.index, head.time_s, fields, head.grid)


def read_head(path: Path) -> SnapshotHead:
    """Reads what a snapshot holds, without the arrays, which are not verified.

    Raises:
        UnreadableFileError: the file is damaged or no snapshot of exodiff.

    """
    head = read_seal(path).head
    return replace(_decode(path, head), missing=missing_pieces(path.parent, head.get("pieces", ())))


def array_attributes(array: ArrayHead) -> dict[str, str | int]:
    """What stands at an array for those who open the file with other programs."""
    attributes: dict[str, str | int] = {"name": array.name, "unit": array.unit}
    if array.replicate is not None:
        attributes["replicate"] = array.replicate
    if array.legend is not None:
        attributes["legend"] = json.dumps(array.legend)
    return attributes


def _named_arrays(
    fields: Mapping[str, FieldArray], shape: tuple[int, ...], first_replicate: int = 0
) -> dict[str, tuple[ArrayHead, np.ndarray]]:
    """The arrays by their names in VTK, in VTK's order."""
    arrays: dict[str, tuple[ArrayHead, np.ndarray]] = {}
    for name, field in fields.items():
        values = np.asarray(field.values)
        fits = values.ndim in {3, 4} and values.shape[-3:] == tuple(shape)
        if not fits or values.dtype.kind not in _KINDS or not _FIELD_NAME.fullmatch(name):
            described = f"{name!r} of type {values.dtype} and shape {values.shape}"
            raise ValueError(f"field {described} cannot be written; the lattice has shape {shape}")
        legend = None if field.legend is None else {int(key): label for key, label in field.legend.items()}
        for replicate, part in {None: values}.items() if values.ndim == 3 else enumerate(values, first_replicate):
            vtk_name = array_name(name, replicate)
            if vtk_name in arrays:
                raise ValueError(f"fields {name!r} and {arrays[vtk_name][0].name!r} would both be {vtk_name!r} in VTK")
            ordered = to_vtk_order(part)
            arrays[vtk_name] = ArrayHead(name, replicate, ordered.dtype, field.unit, field.is_static, legend), ordered
    return arrays


def _write_array(cells: h5py.Group, vtk_name: str, array: ArrayHead, values: np.ndarray) -> None:
    dataset = cells.create_dataset(vtk_name, data=values, **storage(values.shape))
    dataset.attrs.update(array_attributes(array))


def storage(shape: tuple[int, ...]) -> dict[str, Any]:
    """How an array is stored."""
    # Higher levels cost much time for little; VTK reads no other filter.
    return {"chunks": chunk_shape(shape), "compression": "gzip", "compression_opts": 1, "shuffle": True}


def _encode(head: SnapshotHead) -> dict[str, Any]:
    arrays = {name: _encode_array(array) for name, array in head.arrays.items()}
    described = {"index": head.index, "time_s": head.time_s, "grid": asdict(head.grid), "arrays": arrays}
    return {"format": FORMAT, "format_version": FORMAT_VERSION} | described


def _encode_array(array: ArrayHead) -> dict[str, Any]:
    return asdict(array) | {"dtype": array.dtype.str}


def _decode(path: Path, head: dict[str, Any]) -> SnapshotHead:
    if head.get("format") != FORMAT or head.get("format_version") != FORMAT_VERSION:
        raise UnreadableFileError("it is not a snapshot that this exodiff reads")
    try:
        grid = StoredGrid(as_triple(int, head["grid"]["shape"]), as_triple(float, head["grid"]["spacing_um"]))
        arrays = {str(name): _decode_array(array) for name, array in head["arrays"].items()}
        decoded = SnapshotHead(path, int(head["index"]), float(head["time_s"]), grid, arrays)
        replicates: dict[str, list[Any]] = {}
        for array in arrays.values():
            replicates.setdefault(array.name, []).append(array.replicate)
        is_odd = any(each != [None] and sorted(each) != list(range(len(each))) for each in replicates.values())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnreadableFileError(f"its head is incomplete ({error})") from error
    if is_odd or not all(map(math.isfinite, (decoded.time_s, *grid.spacing_um))):
        raise UnreadableFileError("its time, its lattice or the replicates of its arrays make no sense")
    if any(array.dtype.kind not in _KINDS for array in arrays.values()):
        raise UnreadableFileError("an array of it is of a type that a snapshot does not hold")
    if min(grid.shape) < 1 or math.prod(grid.shape) > MAX_VOXELS:
        raise UnreadableFileError(f"its shape {grid.shape} is not that of a lattice of at most 2^32 voxels")
    return decoded


def _decode_array(array: dict[str, Any]) -> ArrayHead:
    legend = array["legend"]
    return ArrayHead(
        str(array["name"]),
        None if array["replicate"] is None else int(array["replicate"]),
        stored_type(str(array["dtype"])),
        str(array["unit"]),
        bool(array["is_static"]),
        None if legend is None else {int(key): str(label) for key, label in legend.items()},
    )


def _fields(
    head: SnapshotHead, wanted: Collection[str], loaded: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, FieldArray]]:
    of_name: dict[str, dict[int | None, str]] = {}
    for vtk_name, array in head.arrays.items():
        of_name.setdefault(array.name, {})[array.replicate] = vtk_name
    for name in sorted(wanted):
        parts = of_name[name]
        array = head.arrays[next(iter(parts.values()))]
        by_replicate = {each: from_vtk_order(loaded[parts[each]]) for each in parts}
        each = by_replicate.get(None)
        values = np.stack([by_replicate[place] for place in range(len(parts))]) if each is None else each
        yield name, FieldArray(values, array.unit, array.is_static, array.legend)


def _read_values(file: h5py.File, head: SnapshotHead, names: Collection[str]) -> dict[str, np.ndarray]:
    datasets = {name: stored_dataset(file, f"VTKHDF/CellData/{name}", is_compressed=True) for name in names}
    for name, dataset in datasets.items():
        if dataset.shape != head.grid.shape[::-1] or dataset.dtype != head.arrays[name].dtype:
            described = f"{name!r} of type {dataset.dtype} and shape {dataset.shape}"
            raise UnreadableFileError(f"array {described} does not fit the lattice or its description")
    check_sizes(datasets.values(), head.path.stat().st_size, _MAX_COMPRESSION)
    return {name: dataset[...] for name, dataset in datasets.items()}
