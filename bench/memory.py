"""Peak resident memory of whole runs, each in a process of its own.

python -m bench.memory
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rows import print_row

_CHILD = """
import json, resource, sys
import exodiff as ex
model = ex.Model.from_dict(json.loads(sys.argv[1])) if sys.argv[1].startswith("{") else ex.load(sys.argv[1])
ex.run(model, sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def ten_species(size: int) -> dict:
    """A dense box: ten species that diffuse, turn into the next, and decay."""
    names = [f"S{i}" for i in range(10)]
    return {
        "schema": 1,
        "run": {"duration": "10 min", "observe_every": "2 min", "snapshot_every": "10 min"},
        "lattice": {"shape": [size] * 3, "spacing": "20 um"},
        "species": {n: {"diffusion": "1 um^2/s", "decay": "0.1 /h", "initial": {"poisson": 5}} for n in names},
        "reactions": [
            {"equation": f"{a} -> {b}", "rate": "1 /h"} for a, b in zip(names, [*names[1:], names[0]], strict=True)
        ],
    }


def main() -> None:
    """Run both and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    quickstart = str(Path(__file__).parents[1] / "configs" / "quickstart.toml")
    cases = {"quickstart": quickstart, f"{options.size}^3, 10 species": json.dumps(ten_species(options.size))}
    for name, model in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            command = [sys.executable, "-c", _CHILD, model, f"{folder}/run"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
            peak = int(done.stdout.split()[-1]) / 1024
            print_row(f"peak memory, {name}", peak_rss_mib=round(peak), wall_s=round(time.perf_counter() - began, 1))


if __name__ == "__main__":
    main()
