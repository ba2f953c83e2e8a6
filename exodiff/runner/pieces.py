"""What each of several processes writes of a state: the parts of the arrays that lie on its devices."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from exodiff.io.atomic import make_folder
from exodiff.io.pieces import Block, piece_path, write_piece
from exodiff.processes import anywhere, is_first, of_first


def blocks_of(name: str, array: Any) -> list[Block]:
    """The parts of an array that this process writes; what all of them have, the first one writes."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return [Block(name, (0,) * np.ndim(array), np.array(array))] if is_first() else []
    return [
        Block(name, tuple(part.start or 0 for part in shard.index), np.array(shard.data))
        for shard in array.addressable_shards
        if shard.replica_id == 0
    ]


def write_together(
    folder: Path,
    stem: str,
    blocks: Sequence[Block],
    about: Mapping[str, Any] | None = None,
    storage: Callable[[tuple[int, ...]], dict[str, Any]] = lambda _: {},
) -> list[Path]:
    """Write the pieces of all processes; they are on the disk when it returns. Arguments as of `write_piece`."""
    if is_first():
        make_folder(folder)
    (attempt,) = of_first(secrets.randbits(31))
    paths = [piece_path(folder, stem, attempt, process) for process in range(jax.process_count())]
    write_piece(paths[jax.process_index()], blocks, about, storage)
    anywhere(holds=False)  # all have come here
    return paths
