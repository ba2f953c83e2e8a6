"""A seal at the head of a file: a description in plain JSON, and hashes that cover every byte.

HDF5 lets a file begin with a user block that it does not touch. There we write one line and a JSON text:

    exodiff-sealed 1 <bytes of the block> <bytes after the block> <hash of the block's rest> <hash after the block>

So damage is found before HDF5 parses anything. That matters: given a file with a few changed bytes, HDF5 2.0 was seen
to loop for ever, where no signal reaches Python. And what a file holds is known without opening HDF5.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from io import FileIO
from pathlib import Path
from typing import Any

from exodiff.core.errors import RunDirectoryError

MAX_BLOCK_BYTES = 64 * 2**20
_SMALLEST_BLOCK = 512
_LINE = re.compile(rb"exodiff-sealed 1 (\d{12}) (\d{18}) ([0-9a-f]{32}) ([0-9a-f]{32})\n")
_LINE_BYTES = len(b"exodiff-sealed 1 ") + 12 + 1 + 18 + 1 + 32 + 1 + 32 + 1


class UnreadableFileError(Exception):
    """The file is damaged, foreign or hostile; the text says in which way."""


@dataclass(frozen=True, eq=False)
class Seal:
    """The verified head of a file; what comes after the block is not verified yet."""

    head: dict[str, Any]
    block_bytes: int
    body_hash: str


def encode_head(head: Mapping[str, Any]) -> bytes:
    """The description as the rest of a block, padded so that the block has a size that HDF5 allows."""
    text = json.dumps(head).encode("ascii")
    size = _SMALLEST_BLOCK
    while size < _LINE_BYTES + len(text):
        size *= 2
    if size > MAX_BLOCK_BYTES:
        raise ValueError(f"a description of {len(text)} bytes is too large for a file; at most {MAX_BLOCK_BYTES}")
    return text.ljust(size - _LINE_BYTES)


def block_bytes(padded_head: bytes) -> int:
    """The size of the user block to reserve."""
    return _LINE_BYTES + len(padded_head)


def write_seal(file: FileIO, padded_head: bytes) -> None:
    """Writes the user block of a file that is otherwise complete."""
    body_bytes = file.seek(0, 2) - block_bytes(padded_head)
    file.seek(block_bytes(padded_head))
    body_hash = file_digest(file, _hasher).hexdigest()
    head_hash = _hasher(padded_head).hexdigest()
    file.seek(0)
    line = f"exodiff-sealed 1 {block_bytes(padded_head):012d} {body_bytes:018d} {head_hash} {body_hash}\n"
    file.write(line.encode() + padded_head)


def read_seal(path: Path) -> Seal:
    """Reads the description of a file, without what it describes; the file has its full length.

    Raises:
        UnreadableFileError: the head is damaged, the length is wrong, or it is another kind of file.
        RunDirectoryError: it cannot be read at present, which tells nothing of what it holds.

    """
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            raise UnreadableFileError("it is no ordinary file")
        with path.open("rb") as file:
            match = _LINE.fullmatch(file.read(_LINE_BYTES))
            size = file.seek(0, 2)
            if match is None:
                raise UnreadableFileError("the file is empty" if size == 0 else "it was not written by exodiff")
            block, body_bytes = int(match[1]), int(match[2])
            if not _LINE_BYTES <= block <= MAX_BLOCK_BYTES or size != block + body_bytes:
                raise UnreadableFileError(f"it has {size} bytes instead of {block + body_bytes}")
            file.seek(_LINE_BYTES)
            padded_head = file.read(block - _LINE_BYTES)
        if _hasher(padded_head).hexdigest().encode() != match[3]:
            raise UnreadableFileError("its head does not have the recorded hash")
        head = json.loads(padded_head)
    except OSError as error:
        raise unread(path, error) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"it cannot be read ({error})") from error
    if not isinstance(head, dict):
        raise UnreadableFileError("its head is no description")
    return Seal(head, block, match[4].decode())


def verify_body(path: Path, seal: Seal) -> None:
    """Compares everything after the block with its hash.

    Raises:
        UnreadableFileError: they differ.
        RunDirectoryError: the file cannot be read at present.

    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(seal.block_bytes)
            is_whole = file_digest(file, _hasher).hexdigest() == seal.body_hash
    except OSError as error:
        raise unread(path, error) from error
    if not is_whole:
        raise UnreadableFileError("its content does not have the recorded hash")


def unread(path: Path, error: Exception) -> RunDirectoryError:
    """A failure of the disk or of permissions, which must not be taken for damage: the file may be whole."""
    advice = "nothing was changed: mend the disk or the permissions, and try again"
    return RunDirectoryError(str(path), f"cannot be read ({getattr(error, 'strerror', None) or error}); {advice}")


def _hasher(content: bytes = b"") -> blake2b:
    return blake2b(content, digest_size=16)
