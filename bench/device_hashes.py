"""The same run on 1, 2, 4, 8 devices, by 2 processes of 2, and begun on 8 and resumed on 3: a hash of all it leaves.

python -m bench.device_hashes [NAME ...] [--case CASE ...]

Devices are made up on one CPU, and the two processes find each other by the variables of SLURM.
"""

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rows import print_row
from exodiff.build import load
from exodiff.devices import divide
from exodiff.io import checkpoint
from exodiff.io.results import SnapshotReader

DURATIONS = {"quickstart": "2 h", "primary_tumour": "15 min", "premetastatic_niche": "15 min"}
CASES: dict[str, list[tuple[int, int]]] = {  # devices of a process, and processes: one after the other
    **{str(devices): [(devices, 1)] for devices in (1, 2, 4, 8)},
    "2 processes x 2": [(2, 2)],
    "8, then 3": [(8, 1), (3, 1)],
}
PERIODS = ('run.observe_every="5 min"', 'run.snapshot_every="5 min"')


def overrides(name: str) -> tuple[str, ...]:
    """A run that is long enough to have records and snapshots, and short enough to be repeated."""
    return (f'run.duration="{DURATIONS[name]}"', *PERIODS)


def start_tasks(number: int, devices: int, module: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """``python -m MODULE`` by tasks of a step of SLURM on this machine, of so many devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COORDINATOR_PORT": port,
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(number),
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**shared, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in range(number)
    ]


def run(name: str, out: Path, devices: int, processes: int = 1, *, stops: bool = False) -> None:
    """Begin or continue the run; if told, stop it by a signal once it has come to its second snapshot."""
    given = [part for override in overrides(name) for part in ("--set", override)]
    arguments = ("run", f"configs/{name}.toml", "--out", str(out), "--resume", "auto", *given)
    tasks = start_tasks(processes, devices, "exodiff.cli", *arguments)
    second = out / "snapshots" / "snap-00000001.vtkhdf"
    while stops and tasks[0].poll() is None and not second.exists():
        time.sleep(0.1)
    if stops:
        tasks[0].send_signal(signal.SIGTERM)
    told = [task.communicate()[1] for task in tasks]
    assert {task.returncode for task in tasks} == {75 if stops else 0}, told


def hash_of(out: Path) -> str:
    """Of the last state, the tables and the snapshots."""
    digest = hashlib.sha256()
    for name, array in sorted(checkpoint.read_latest(out / "checkpoints").arrays.items()):
        digest.update(name.encode() + array.tobytes())
    for path in sorted(out.glob("*.csv")):
        digest.update(path.read_bytes())
    reader = SnapshotReader(out)
    for place, time_s in enumerate(reader.times_s):
        for name, field in sorted(reader.read(place).fields.items()):
            digest.update(f"{time_s} {name} {field.unit}".encode() + field.values.tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(DURATIONS))
    parser.add_argument("--case", choices=CASES, action="append", help="all of them if none")
    given = parser.parse_args()
    for name in given.names:
        problem = load(f"configs/{name}.toml", overrides(name)).problem
        for case in given.case or CASES:
            parts = CASES[case]
            with tempfile.TemporaryDirectory() as folder:
                out, began = Path(folder) / "run", time.monotonic()
                for place, (devices, processes) in enumerate(parts):
                    run(name, out, devices, processes, stops=place < len(parts) - 1)
                divisions = [str(divide(problem, 1, devices * processes, processes)) for devices, processes in parts]
                seconds = round(time.monotonic() - began, 1)
                values = {"devices": case, "division": ", then ".join(divisions), "hash": hash_of(out)}
                print_row(f"hash, {name}", **values, duration=DURATIONS[name], seconds=seconds)


if __name__ == "__main__":
    main()
