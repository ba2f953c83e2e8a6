"""What goes between the devices of a split lattice in a pair of steps, counted as the compiled program runs.

JAX_NUM_CPU_DEVICES=8 python -m bench.exchange [NAME] [--pairs 4]

Each collective operation of the program is counted in a trace, and has the bytes of its result on one device, less
what that device gave itself. Operations inside of loops count each time.
"""

import argparse
import math
import re
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

from bench.rows import print_row
from exodiff.build import load
from exodiff.core.arrays import BITS_DTYPE
from exodiff.devices import divide, mesh_of, on, placed
from exodiff.runner.compiled import advance_all, begin_all
from exodiff.schedule import make_schedule
from exodiff.start import make_inputs, start_array

_KINDS = ("collective-permute", "all-reduce", "all-gather", "all-to-all", "reduce-scatter")
_SIZES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "f64": 8, "s64": 8, "u64": 8}


def operations(text: str, devices: int) -> dict[str, tuple[str, int]]:
    """Kind and bytes received by a device, of each collective operation of a compiled program."""
    found = {}
    for name, shapes, kind in re.findall(rf"%(\S+) = (\(?[^=]*?) ({'|'.join(_KINDS)})(?:-start)?\(", text):
        size = sum(
            _SIZES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
            for dtype, shape in re.findall(r"(pred|[sfu]\d+)\[([0-9,]*)\]", shapes)
        )
        found[name] = (kind, size * (devices - 1) // devices if kind == "all-gather" else size)
    return found


def visits(folder: Path) -> Counter[str]:
    """How often each operation ran, over all devices."""
    (path,) = folder.glob("**/*.xplane.pb")
    planes = ProfileData.from_file(str(path)).planes
    return Counter(event.name for plane in planes for line in plane.lines for event in line.events)


def main() -> None:
    """Print a row for each kind of operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="quickstart")
    parser.add_argument("--pairs", type=int, default=4)
    given = parser.parse_args()
    model = load(f"configs/{given.name}.toml")
    problem, times = model.problem, model.config.run
    stretch = make_schedule(times.duration_s, times.observe_every_s, times.snapshot_every_s, problem, ()).intervals[0]
    division = divide(problem, 1, jax.device_count(), 1)
    mesh = mesh_of(division)
    with on(mesh):
        put = partial(placed, mesh, shape=problem.grid.shape)
        inputs, start = put(make_inputs(model, None, problem.precision)), put(start_array(model, problem))
        seed, none = jnp.asarray(times.seed, BITS_DTYPE), jnp.zeros((), jnp.int32)
        state = begin_all(problem, inputs, start, seed, replicates=1)
        interval = tuple(jnp.asarray(t, problem.precision) for t in (stretch.start_s, stretch.dt_s))
        run = jax.jit(partial(advance_all, problem, replicates=1))
        arguments = (inputs, seed, state, interval, none, none + given.pairs)
        compiled = run.lower(*arguments).compile()
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                jax.block_until_ready(compiled(*arguments))
            counts = visits(Path(folder))
    known, share = operations(compiled.as_text(), division.num_devices), given.pairs * division.num_devices
    for kind in _KINDS:
        own = {name: size for name, (of, size) in known.items() if of == kind and counts[name]}
        if own:
            print_row(
                "exchange",
                model=given.name,
                division=str(division),
                kind=kind,
                messages_a_pair=round(sum(counts[name] for name in own) / share, 1),
                bytes_a_pair=round(sum(counts[name] * size for name, size in own.items()) / share),
                largest_bytes=max(own.values()),
                state_bytes=state.counts.nbytes,
            )


if __name__ == "__main__":
    main()
