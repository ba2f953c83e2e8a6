"""What records and checkpoints cost a run, beside the same run that writes nothing, and the size of a snapshot.

python -m bench.overhead [--repeats 5] [--case NAME]

Both take the same steps in one process, in turn; the differences are medians over the pairs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import exodiff as ex
from bench.rows import print_row
from exodiff.io import checkpoint
from exodiff.io.snapshots import list_snapshots, read_snapshot
from exodiff.runner.driver import Driver

CONFIG = Path("configs/quickstart.toml")
CASES = {
    "quickstart": (),
    "quickstart at 128^3, 2 h": ("lattice.shape=[128, 128, 128]", 'run.duration="2 h"'),
}


@contextmanager
def timed(method: str) -> Iterator[list[float]]:
    """The time that the run waits for a method of its driver, call by call."""
    right: Callable[..., None] = getattr(Driver, method)
    spent: list[float] = []

    def call(*given: Any) -> None:
        began = time.perf_counter()
        right(*given)
        spent.append(time.perf_counter() - began)

    with mock.patch.object(Driver, method, call):
        yield spent


def writes_nothing() -> mock._patch_dict:
    """Inside, a run computes and leaves out records and checkpoints."""
    return mock.patch.multiple(Driver, _record=lambda *_: None, _save=lambda *_: None)


def seconds_of(model: ex.Model, out: Path) -> tuple[float, float]:
    """Wall-clock and processor time of a run."""
    began, began_cpu = time.perf_counter(), time.process_time()
    assert ex.run(model, out, figures=False, overwrite=True).finished
    return time.perf_counter() - began, time.process_time() - began_cpu


def measure(overrides: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """One model: shares of the time, and sizes of files."""
    model = ex.load(CONFIG, overrides)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        seconds_of(model, out)  # compiles
        for _ in range(repeats):
            with timed("_record") as records, timed("_save") as saves:
                whole = seconds_of(model, out)
            snapshots = list_snapshots(out)
            fields = read_snapshot(snapshots[-1]).fields.values()
            sizes = {
                "snapshots": len(snapshots),
                "bytes_a_snapshot": round(statistics.mean(path.stat().st_size for path in snapshots)),
                "bytes_a_snapshot_uncompressed": sum(field.values.nbytes for field in fields),
                "bytes_a_checkpoint": checkpoint.list_checkpoints(out / "checkpoints")[0].stat().st_size,
            }
            with writes_nothing():
                bare = seconds_of(model, out)
            pairs.append((whole, bare, sum(records), sum(saves), len(saves)))

    def median(value: Callable[[Any], float], digits: int = 2) -> float:
        return round(statistics.median(map(value, pairs)), digits)

    return {
        "seconds": median(lambda p: p[0][0], 1),
        "overhead_percent": median(lambda p: 100 * (p[0][0] / p[1][0] - 1)),
        "overhead_cpu_percent": median(lambda p: 100 * (p[0][1] / p[1][1] - 1)),
        "records_percent": median(lambda p: 100 * p[2] / p[0][0]),
        "checkpoints_percent": median(lambda p: 100 * p[3] / p[0][0]),
        "seconds_a_checkpoint": median(lambda p: p[3] / p[4], 4),
        **sizes,
        "repeats": repeats,
    }


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", choices=CASES, action="append", help="all of them if none")
    given = parser.parse_args()
    for name in given.case or CASES:
        print_row(f"overhead, {name}", **measure(CASES[name], given.repeats))


if __name__ == "__main__":
    main()
