"""One JSON line a row, with what it was measured on."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax


def commit() -> str:
    """The commit that is measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def print_row(name: str, **values: Any) -> None:
    """Print a measurement."""
    device = jax.devices()[0]
    where = {"device": f"{device.platform} {device.device_kind}", "machine": platform.machine(), "jax": jax.__version__}
    print(json.dumps({"name": name, **values, **where, "commit": commit()}), flush=True)


def put_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` of a page."""
    before, _, after = _parts(page, name)
    page.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def between(page: Path, name: str) -> str:
    """What stands there now."""
    return _parts(page, name)[1].strip("\n")


def _parts(page: Path, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    inside, after = rest.split(end)
    return before + begin, inside, end + after


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time; the others wait."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
