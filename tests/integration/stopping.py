"""Stops a run, and compares what stopped and whole runs leave."""

from pathlib import Path
from typing import Any

import numpy as np

from exodiff.io import checkpoint, records
from exodiff.io.results import SnapshotReader
from exodiff.io.snapshots import Snapshot


class StopAfter:
    """Stands in for the signals: asks for a stop at the n-th look."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> "StopAfter":
        return self

    def __enter__(self) -> "StopAfter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def received(self) -> str | None:
        self.looks -= 1
        return "SIGTERM" if self.looks < 0 else None


class Killed(BaseException):
    """Ends a run where nothing catches it."""


def final_state(out: Path) -> dict[str, np.ndarray]:
    """The arrays of the newest checkpoint."""
    return checkpoint.read_latest(out / "checkpoints").arrays


def content(out: Path) -> dict[str, Any]:
    """The last state, the tables and the snapshots of a run."""
    tables = [out / name for name in (records.OBSERVABLES, records.PROFILES) if (out / name).exists()]
    reader = SnapshotReader(out)
    shown = {head.path.name: snapshot_content(reader.read(place)) for place, head in enumerate(reader.heads)}
    return {**final_state(out), **{path.name: path.read_bytes() for path in tables}, **shown}


def snapshot_content(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot shows, in whatever files it is."""
    return {"time_s": snapshot.time_s, **{name: vars(field) for name, field in snapshot.fields.items()}}


def assert_same_run(one: Path, other: Path) -> None:
    """Both left the same, bit for bit."""
    np.testing.assert_equal(content(one), content(other))
