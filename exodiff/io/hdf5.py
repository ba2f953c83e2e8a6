"""HDF5 files written atomically, and read with suspicion."""

import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z  # pyright: ignore[reportAttributeAccessIssue]  (not in the stubs)

from exodiff.io.atomic import replace_file
from exodiff.io.sealed import UnreadableFileError, block_bytes, encode_head, unread, write_seal

# With "latest" of HDF5 2.0, VTK shows the grid without any array and without an error; later superblocks cannot be
# opened after a crash. Always give these bounds.
LIBVER = ("earliest", "v110")

_FILTERS = ([], [h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE])  # others are not ours, and may expand without limit
_TYPE = re.compile(r"[<>|][biufc]\d{1,2}")

# h5py reports a failed write as OSError, but one that it notices on close as RuntimeError.
WRITE_ERRORS = (OSError, RuntimeError)


@contextmanager
def create_hdf5(path: Path, head: Mapping[str, Any] | None = None) -> Iterator[h5py.File]:
    """Yields a new HDF5 file that atomically becomes ``path``, sealed with a head if given, when the body ends well.

    Raises:
        OSError: a write failed, e.g. because the disk is full; ``path`` is untouched and no temporary is left.

    """
    padded_head = None if head is None else encode_head(head)
    userblock = 0 if padded_head is None else block_bytes(padded_head)
    with replace_file(path) as temporary, _PatientFile(temporary, "w+") as patient:
        try:
            with h5py.File(patient, "w", libver=LIBVER, userblock_size=userblock) as file:
                yield file
        finally:
            # It is the cause of whatever HDF5 may make of it.
            patient.raise_error()
        if padded_head is not None:
            write_seal(patient, padded_head)
            patient.raise_error()


class _PatientFile(io.FileIO):
    """Keeps the first write error to itself until HDF5 has closed the file.

    HDF5 2.0 cannot close a file whose writes fail: it leaks the handle or, measured, crashes the process. This costs no
    time: HDF5 writes whole arrays and chunks at once.
    """

    error: OSError | None = None

    def write(self, content: Any, /) -> int:
        rest = memoryview(content)
        size = len(rest)
        try:
            # One write takes at most 2 GiB, and less when the disk is about to be full.
            while self.error is None and len(rest) > 0:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yields an HDF5 file for reading and turns whatever the library throws at damage into UnreadableFileError.

    h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError and more on damaged files, so all are caught.
    Verify a sealed file first.

    Raises:
        UnreadableFileError: it is damaged.
        RunDirectoryError: it cannot be read at present.

    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (UnreadableFileError, MemoryError):
        raise
    except Exception as error:
        if "errno = " in str(error):  # of the system; h5py gives it in errors of several kinds
            raise unread(path, error) from error
        raise UnreadableFileError(f"HDF5 cannot read it ({_first_line(error)})") from error


class Part(NamedTuple):
    """A dataset of another file and its place in a virtual one, which may have more axes in front."""

    file: str
    dataset: str
    start: tuple[int, ...]
    shape: tuple[int, ...]


def write_virtual(
    group: h5py.Group, name: str, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[Part], missing: float
) -> h5py.Dataset:
    """Makes a dataset of parts in files beside this one; where one is gone, it shows ``missing``.

    By the low-level interface: h5py's ``VirtualLayout`` takes eight times as long.
    """
    joined = h5s.create_simple(shape)
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_fill_value(np.array([missing], dtype))
    layout.set_obj_track_times(False)  # the same content, the same bytes
    for part in parts:
        joined.select_hyperslab(part.start, (1,) * (len(shape) - len(part.shape)) + part.shape)
        layout.set_virtual(joined, part.file.encode(), part.dataset.encode(), h5s.create_simple(part.shape))
    joined.select_all()
    return h5py.Dataset(h5d.create(group.id, name.encode(), h5t.py_create(dtype), joined, layout))


def stored_dataset(file: h5py.File, name: str, *, is_compressed: bool = False) -> h5py.Dataset:
    """Looks up a dataset whose bytes lie in this very file: no soft or external link, no virtual or external storage.

    Raises:
        UnreadableFileError: it is missing, would lead to another file, or is stored otherwise than exodiff does.

    """
    node: Any = file
    for part in name.split("/"):
        if not isinstance(node, h5py.Group) or not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise UnreadableFileError(f"there is no dataset {name!r}")
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        raise UnreadableFileError(f"{name!r} is not a dataset")
    if node.is_virtual or node.external:
        raise UnreadableFileError(f"dataset {name!r} points to another file")
    shape, chunks = cast("tuple[int, ...] | None", node.shape), node.chunks
    if shape is None:
        raise UnreadableFileError(f"dataset {name!r} has no shape")
    if chunks is not None:
        plan = node.id.get_create_plist()
        filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
        fit = all(chunk <= length for chunk, length in zip(chunks, shape, strict=True))
        if not is_compressed or not fit or filters not in _FILTERS:
            raise UnreadableFileError(f"dataset {name!r} is not stored as exodiff stores it")
    return node


def check_sizes(datasets: Collection[h5py.Dataset], file_size: int, compression: int = 1) -> None:
    """Refuses arrays that reading would expand further than this many times their file; nothing is allocated.

    What is stored is summed too: many chunks, or many names, could show the same bytes again and again.

    Raises:
        UnreadableFileError: they would.

    """
    claimed = sum(math.prod(cast("tuple[int, ...]", each.shape)) * each.dtype.itemsize for each in datasets)
    if claimed > compression * file_size or sum(each.id.get_storage_size() for each in datasets) > file_size:
        raise UnreadableFileError("its arrays claim to be larger than the file")


def stored_type(text: str) -> np.dtype:
    """The type of numbers that a file names; NumPy alone would also read structures, and raise all kinds of errors.

    Raises:
        UnreadableFileError: it names none.

    """
    if not _TYPE.fullmatch(text):
        raise UnreadableFileError(f"{text[:100]!r} is no type of an array")
    return np.dtype(text)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"[:200]
