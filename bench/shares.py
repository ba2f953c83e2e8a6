"""What part of a step each kernel takes: of a trace on one core, by where in the code each operation comes from.

taskset -c 0 python -m bench.shares [NAME] [--set KEY=VALUE ...] [--after 20] [--pairs 10]

Operations are those of the compiled program of a run; each belongs to the innermost file of its stack that is named in
`KERNELS`, so a draw counts with what draws. Loops and branches are not counted, what is inside of them is.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

from bench.rows import print_row
from exodiff.build import load
from exodiff.core.arrays import BITS_DTYPE
from exodiff.programs import OPTIONS
from exodiff.runner.compiled import advance_all, begin_all
from exodiff.schedule import make_schedule
from exodiff.start import make_inputs, start_array

KERNELS = {
    "hops": ("hopping.py", "diffusion.py", "faces.py", "exponential.py"),
    "channels, and adding events": ("reactions.py", "operation_draws.py", "passes.py"),
    "cells that move": ("cells.py", "neighbours.py"),
    "cells that divide, die, convert": ("cell_events.py",),
    "steady and implicit fields": ("steady.py", "modes.py", "concentrations.py"),
    "compartments": ("crossings.py", "pools.py", "pools_pass.py"),
    "bounds on the step": ("stepsize.py", "growth.py"),
}
OTHER = "other"
_OUTER = re.compile(r"while|cond|call|tuple")


def origins(text: str) -> dict[str, str]:
    """The kernel that each operation of a compiled program belongs to."""

    def section(name: str) -> str:
        found = re.search(rf"^{name}\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
        return "" if found is None else found[1]

    files = {int(n): Path(path).name for n, path in re.findall(r'^(\d+) "(.*)"$', section("FileNames"), re.MULTILINE)}
    places = re.findall(r"^(\d+) \{file_name_id=(\d+)", section("FileLocations"), re.MULTILINE)
    file_of = {int(place): files[int(name)] for place, name in places}
    frames = re.findall(
        r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?", section("StackFrames"), re.MULTILINE
    )
    # XLA prints the number of the frame around it, plus one
    frame_of = {int(frame): (file_of[int(place)], int(parent or 1) - 1) for frame, place, parent in frames}
    kernel_of = {name: kernel for kernel, names in KERNELS.items() for name in names}

    def kernel(frame: int) -> str:
        while frame in frame_of:
            name, parent = frame_of[frame]
            if name in kernel_of:
                return kernel_of[name]
            frame = parent
        return OTHER

    told = re.findall(r"^\s*(?:ROOT )?%(\S+) = .*stack_frame_id=(\d+)", text, re.MULTILINE)
    return {name: kernel(int(frame)) for name, frame in told}


def main() -> None:
    """Print a row for each kernel, largest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="primary_tumour")
    parser.add_argument("--set", dest="changes", action="append", default=[])
    parser.add_argument("--after", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=10)
    given = parser.parse_args()
    model = load(f"configs/{given.name}.toml", given.changes)
    problem, times = model.problem, model.config.run
    stretch = make_schedule(times.duration_s, times.duration_s, times.duration_s, problem, ()).intervals[0]
    inputs, seed = make_inputs(model, None, problem.precision), jnp.asarray(times.seed, BITS_DTYPE)
    state = begin_all(problem, inputs, start_array(model, problem), seed, replicates=1)
    interval = tuple(jnp.asarray(t, problem.precision) for t in (stretch.start_s, stretch.dt_s))
    run = jax.jit(partial(advance_all, problem, replicates=1), compiler_options=OPTIONS)
    counts = jnp.asarray(0, jnp.int32), jnp.asarray(given.after, jnp.int32), jnp.asarray(given.pairs, jnp.int32)
    began = time.process_time()
    compiled = run.lower(inputs, seed, state, interval, *counts[:2]).compile()
    compiling_s = time.process_time() - began
    state = jax.block_until_ready(compiled(inputs, seed, state, interval, *counts[:2]))
    began = time.process_time()
    jax.block_until_ready(compiled(inputs, seed, state, interval, *counts[1:]))
    seconds = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(compiled(inputs, seed, state, interval, *counts[1:]))
        (path,) = Path(folder).glob("**/*.xplane.pb")
        known, spent = origins(compiled.as_text()), Counter[str]()
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in known and not _OUTER.match(event.name):
                        spent[known[event.name]] += event.duration_ns
    for kernel, duration_ns in spent.most_common():
        print_row(
            "shares",
            model=given.name,
            shape=list(problem.grid.shape),
            kernel=kernel,
            percent=round(100 * duration_ns / spent.total(), 1),
            core_ms_a_pair=round(1e3 * seconds * duration_ns / spent.total() / given.pairs, 2),
            step_s=round(float(stretch.dt_s), 3),
            compiling_core_s=round(compiling_s, 1),
        )


if __name__ == "__main__":
    main()
