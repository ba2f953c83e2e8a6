"""What a command that was stopped has found: a search, simulations, fits. The next call goes on from there."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from exodiff.build import ConfiguredModel
from exodiff.config.load import dump
from exodiff.inference.data import Measured
from exodiff.io.atomic import make_folder, replace_file

FOLDER = "unfinished"


class Unfinished:
    """Arrays in a folder ``unfinished``, by what is done and the model, settings and data that they belong to."""

    def __init__(self, out: Path, what: str, model: ConfiguredModel, data: Sequence[Measured]) -> None:
        about = hashlib.blake2b(f"{what}\n{dump(model.config)}".encode(), digest_size=8)
        for one in data:
            for array in (one.times_s, one.values, one.sd, one.replicates):
                about.update(b"" if array is None else array.tobytes())
        self.out, self.folder = out, out / FOLDER / about.hexdigest()

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a name; made and kept, if it is not there."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            self.keep(name, make())
        return np.load(path)

    def keep(self, name: str, array: np.ndarray) -> None:
        """Write an array, in place of an earlier one."""
        make_folder(self.folder)
        with replace_file(self.folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)

    def found(self, name: str, otherwise: np.ndarray) -> np.ndarray:
        """The array of a name, if it is there."""
        path = self.folder / f"{name}.npy"
        return np.load(path) if path.exists() else otherwise

    def remove(self) -> None:
        """Forget everything, once all is done or has failed; then nothing is left of it."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        with suppress(OSError):  # it holds results
            self.out.rmdir()
