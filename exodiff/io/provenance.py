"""What produced a run: versions, command line, seed, devices; one entry for the start and one for each resume."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from exodiff.io.atomic import make_folder, read_json, write_json

FILE = "provenance.json"
_PACKAGES = ("exodiff", "jax", "jaxlib", "numpy", "h5py")
_PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
_GIT_TIMEOUT_S = 10


def provenance(
    *, seed: int, config_hash: str, devices: Sequence[str] = (), command: Sequence[str] | None = None
) -> dict[str, Any]:
    """Describes this process. Neither the host's nor the user's name is asked for.

    Args:
        seed: of the run.
        config_hash: of the resolved config.
        devices: names, as JAX gives them.
        command: the command line, by default that of the process.

    """
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv if command is None else command),
        "seed": seed,
        "config_hash": config_hash,
        "devices": list(devices),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def git_commit() -> str | None:
    """The commit that exodiff runs from, with ``-dirty`` when files differ; None for an installed package."""
    root = _PACKAGE_FOLDER.parent
    git = shutil.which("git")
    # Without this check, a virtual environment inside another project would give that project's commit.
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() or None


def append_provenance(run_dir: Path, entry: dict[str, Any]) -> Path:
    """Appends an entry to ``provenance.json`` atomically; an unreadable file is kept beside it and a new one begun."""
    path = run_dir / FILE
    make_folder(run_dir)
    write_json(path, {"format": "exodiff-provenance", "format_version": 1, "runs": [*_earlier_runs(path), entry]})
    return path


def _earlier_runs(path: Path) -> list[Any]:
    if not path.exists():
        return []
    try:
        return list(read_json(path)["runs"])
    except (ValueError, KeyError, TypeError):
        path.replace(path.with_name("provenance.damaged.json"))
        return []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
