"""Compile other simulators as they would be for speed: GillesPy2 and SpatialPy of themselves call g++ without -O."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def optimised() -> Iterator[None]:
    """Whatever is compiled inside gets -O3, and finds nothing that was compiled before."""
    path, folder_of_temporaries = os.environ["PATH"], tempfile.tempdir
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in ("gcc", "g++"):
            real = shutil.which(name)
            if real is not None:
                wrapper = Path(folder) / name
                wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -O3 "$@"\n', encoding="utf-8")
                wrapper.chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
        tempfile.tempdir = tempfile.mkdtemp()  # stays: what was compiled runs from it
        try:
            yield
        finally:
            os.environ["PATH"], tempfile.tempdir = path, folder_of_temporaries
