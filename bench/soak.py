"""Memory of a run over many calls of the device, with a row and a checkpoint after each, and snapshots.

python -m bench.soak [--calls 2000]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import exodiff as ex
from bench.rows import print_row

PERIOD_S = 60
CALLS_A_SNAPSHOT = 50


def model(calls: int) -> ex.Model:
    """A row ends a call of the device, and checkpoints are always due."""
    return ex.Model.from_dict(
        {
            "schema": 1,
            "run": {
                "duration": f"{calls * PERIOD_S} s",
                "time_step": "10 s",
                "observe_every": f"{PERIOD_S} s",
                "snapshot_every": f"{CALLS_A_SNAPSHOT * PERIOD_S} s",
                "checkpoint_every": "1e-3 s",
            },
            "lattice": {"shape": [24, 24, 24], "spacing": "20 um", "fluid_fraction": 0.2},
            "cells": {"tumour": {"motility": "0.05 um^2/s"}},
            "species": {"EV": {"diffusion": "1.3 um^2/s", "decay": "0.5 /h"}, "bound": {"in": "cell"}},
            "reactions": [
                {"equation": "tumour -> tumour + EV", "rate": "60 /h"},
                {"equation": "EV -> bound", "rate": "take"},
            ],
            "parameters": {"take": {"by_cell": {"tumour": "1e-4 /s"}}},
            "place": [{"cells": "tumour", "sphere": {"radius": "150 um"}, "fill": 0.5}],
            "observables": {
                "free": {"value": "total(EV)"},
                "profile": {"profile": {"of": "conc(EV)", "from": "tumour", "bin": "20 um"}},
            },
        }
    )


def resident_mib() -> float:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(calls: int) -> dict[str, Any]:
    """Run: the memory in the second tenth of the calls and in the last one, medians."""
    sizes: list[float] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = lambda progress: sizes.append(resident_mib())  # noqa: E731
        assert ex.run(model(calls), Path(folder) / "run", report=report, figures=False).finished
    tenth = len(sizes) // 10
    early, late = statistics.median(sizes[tenth : 2 * tenth]), statistics.median(sizes[-tenth:])
    return {
        "calls": len(sizes) - 2,
        "early_mib": round(early, 1),
        "late_mib": round(late, 1),
        "growth_percent": round(100 * (late / early - 1), 2),
        "largest_mib": round(max(sizes[tenth:]), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Print a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    print_row("soak", **soak(parser.parse_args().calls))


if __name__ == "__main__":
    main()
