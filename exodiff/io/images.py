"""Label images and fields in, always returned as (x, y, z).

NumPy files hold (x), (x, y) or (x, y, z) already. A TIFF file holds pages z of rows y of pixels x, so its axes are
reversed. Missing axes become one voxel thick. Whatever a file claims is compared with its size before memory is taken.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from exodiff.core.errors import ConfigError
from exodiff.io.tables import check_regular_file

MAX_BYTES = 2**36
MAX_VOXELS = 2**32
_MAX_TIFF_EXPANSION = 1100
# Y, X are rows and pixels; Z is a stack, Q and I are pages whose meaning the file does not tell.
_TIFF_AXES = {"YX", "ZYX", "QYX", "IYX"}


Check = Callable[[Sequence[int]], None]
"""Refuses a shape before memory is taken for it."""


def _any_shape(shape: Sequence[int]) -> None:
    del shape


def read_labels(path: Path, check: Check = _any_shape) -> np.ndarray:
    """Reads whole-number labels from a ``.npy``, ``.tif`` or ``.tiff`` file as (x, y, z).

    A 2-D image gives one layer. A TIFF image is (y, x) or, as a stack, (z, y, x) in the file.

    Args:
        path: the file.
        check: called with the shape, which may lack axes at its end.

    Raises:
        ConfigError: naming the file and what is allowed.

    """
    suffix = path.suffix.lower()
    if suffix not in {".npy", ".tif", ".tiff"}:
        raise ConfigError(str(path), "is not a label image; allowed are .npy, .tif and .tiff")
    labels = _read_npy(path, "biu", check) if suffix == ".npy" else _read_tiff(path, check)
    if labels.ndim not in {1, 2, 3}:
        raise ConfigError(str(path), f"has shape {labels.shape}; allowed are one to three axes")
    return labels.reshape(labels.shape + (1,) * (3 - labels.ndim))


def read_measured_image(path: Path) -> np.ndarray:
    """Reads measured numbers by voxel as (x, y, z) in float64; NaN in a ``.npy`` file is a missing one.

    Raises:
        ConfigError: naming the file and what is allowed.

    """
    if path.suffix.lower() != ".npy":
        return read_labels(path).astype(np.float64)
    values = _read_npy(path, "biuf").astype(np.float64)
    if values.ndim not in {1, 2, 3}:
        raise ConfigError(str(path), f"has shape {values.shape}; allowed are one to three axes")
    return values.reshape(values.shape + (1,) * (3 - values.ndim))


def read_field(path: Path, shape: Sequence[int], order: str = "x, y, z") -> np.ndarray:
    """Reads a ``.npy`` file of finite numbers and returns it with the given shape; trailing axes of one may be missing.

    Raises:
        ConfigError: naming the file, and both shapes or the first bad index.

    """
    if path.suffix.lower() != ".npy":
        raise ConfigError(str(path), "is not a field; allowed is a .npy file")

    def check(found: Sequence[int]) -> None:
        if _without_trailing_ones(found) != _without_trailing_ones(shape):
            raise ConfigError(str(path), f"has shape {tuple(found)}; needed is {tuple(shape)}, in the order {order}")

    values = _read_npy(path, "biuf", check)
    is_finite = np.isfinite(values)
    if not is_finite.all():
        index = [int(i) for i in np.unravel_index(int(np.argmin(is_finite)), values.shape)]
        raise ConfigError(str(path), f"holds {values[tuple(index)]} at {index}; every value must be finite")
    return values.reshape(tuple(shape))


def _without_trailing_ones(shape: Sequence[int]) -> tuple[int, ...]:
    kept = list(shape)
    while kept and kept[-1] == 1:
        kept.pop()
    return tuple(kept)


def _read_npy(path: Path, kinds: str, check: Check = _any_shape) -> np.ndarray:
    size = check_regular_file(path, MAX_BYTES)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                raise ConfigError(str(path), f"is of .npy version {version}; save it again with np.save")
            shape, _, dtype = readers[version](file)
            _check_header(path, shape, dtype, kinds)
            check(shape)
            if math.prod(shape) * dtype.itemsize != size - file.tell():
                raise ConfigError(str(path), f"is cut off or padded: shape {shape} does not fit its {size} bytes")
            file.seek(0)
            values = np.load(file, allow_pickle=False)
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # NumPy raises many kinds on a damaged header, even tokenize.TokenError
        raise ConfigError(str(path), f"is not a .npy file of numbers ({_first_line(error)})") from error
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def _read_tiff(path: Path, check: Check) -> np.ndarray:
    size = check_regular_file(path, MAX_BYTES)
    try:
        # Not _multifile: an OME header could name other files.
        with _complaints() as complaints, tifffile.TiffFile(path, _multifile=False) as image:
            if len(image.series) != 1:
                raise ConfigError(str(path), f"holds {len(image.series)} images of different kinds; allowed is one")
            series = image.series[0]
            if series.axes not in _TIFF_AXES:
                problem = f"has axes {series.axes} of shape {series.shape}; allowed are YX, or ZYX for a stack"
                raise ConfigError(str(path), f"{problem}, without colours, channels or times")
            _check_header(path, series.shape, series.dtype, "biu")
            check(series.shape[::-1])
            if series.nbytes > _MAX_TIFF_EXPANSION * size:
                raise ConfigError(str(path), f"claims {series.nbytes} bytes of pixels, more than {size} bytes can hold")
            _check_strips(path, series, size)
            labels = series.asarray()
            if complaints:
                raise ConfigError(str(path), f"is damaged ({complaints[0][:200]}); save it again")
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # tifffile raises many kinds on a damaged file
        advice = "save it uncompressed or with zlib compression"
        raise ConfigError(
            str(path), f"is not a TIFF image that can be read ({_first_line(error)}); {advice}"
        ) from error
    return np.ascontiguousarray(labels.T, labels.dtype.newbyteorder("="))


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collects what tifffile only logs, such as a stack that is cut off and read as a shorter one."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _check_strips(path: Path, series: tifffile.TiffPageSeries, size: int) -> None:
    """Missing strips would be read as zeros without an error."""
    if series.dataoffset is not None:
        parts = [(series.dataoffset, series.nbytes)]
    else:
        pages = [page for page in series.pages if page is not None]
        if len(pages) < len(series.pages):
            raise ConfigError(str(path), "lacks a page of its stack")
        parts = [part for page in pages for part in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if any(length < 1 or start < 1 or start + length > size for start, length in parts):
        raise ConfigError(str(path), "is cut off: a part of its pixels lies beyond its end")


def _check_header(path: Path, shape: Sequence[int], dtype: np.dtype | None, kinds: str) -> None:
    if dtype is None or dtype.hasobject or dtype.kind not in kinds:
        allowed = "whole numbers" if "f" not in kinds else "real numbers"
        raise ConfigError(str(path), f"has values of type {dtype}; allowed are {allowed}")
    if not shape or min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise ConfigError(str(path), f"has shape {tuple(shape)}; allowed are 1 to 2^32 values along existing axes")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"[:200]
