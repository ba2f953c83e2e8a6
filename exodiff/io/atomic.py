"""Files that are either whole or absent, whatever kills the process or the machine.

The order is that of every careful simulator: write a temporary file in the same folder, flush it to the disk, rename it
over the target, flush the folder. A reader sees the old content or the new one, never a part.
"""

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exodiff.core.errors import RunDirectoryError

TEMPORARY_PREFIX = ".tmp-"
MAX_JSON_BYTES = 64 * 2**20


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; on success it durably becomes ``path``.

    When the body or the flush fails, the temporary is removed, ``path`` is as before, and the error goes on. One
    process must not replace the same path twice at a time.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    temporary.unlink(missing_ok=True)  # as a link it would lead elsewhere
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Flushes a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file atomically."""
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a whole UTF-8 file atomically, with the line ends as given."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it is not there, or cannot be read at present.
        ValueError: it is no ordinary file (a pipe would be waited for), larger than 64 MiB, or no JSON.

    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_JSON_BYTES:
        raise ValueError(f"it is no ordinary file of at most {MAX_JSON_BYTES // 2**20} MiB")
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def make_folder(path: Path) -> None:
    """Makes a folder and its parents, so that they survive a power loss. An existing one is kept."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync(path.parent)


def refuse_links(paths: Iterable[Path]) -> None:
    """Refuse to write where it would go elsewhere: through a link, into a pipe or a device. What is absent is fine.

    Raises:
        RunDirectoryError: names the first of them.

    """
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir() or not path.exists()):
            told = "is a link or no ordinary file, and exodiff writes nothing outside of the directory that was named"
            raise RunDirectoryError(str(path), f"{told}; put the file or folder itself there, or remove it")


def remove_stale_temporaries(folder: Path, *, older_than_s: float = 0.0) -> list[Path]:
    """Removes what killed writers left in a folder, and names it.

    Call it only while holding the run's lock, or for what is older than any writer takes.
    """
    if not folder.is_dir():
        return []
    last_s = time.time() - older_than_s
    stale = [
        path
        for path in folder.glob(f"{TEMPORARY_PREFIX}*")
        if path.is_symlink() or (path.is_file() and (not older_than_s or path.stat().st_mtime <= last_s))
    ]
    for path in stale:
        path.unlink(missing_ok=True)
    return sorted(stale)
