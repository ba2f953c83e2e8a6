"""Bandwidth of memory as STREAM counts it (https://www.cs.virginia.edu/stream): GB/s, the best of ten passes.

python -m bench.bandwidth

Three arrays of float64, 256 MiB each, by XLA on all cores that the process may use. As in STREAM, `copy` and `scale`
count two arrays, `add` and `triad` three; what a cache reads before it writes is not counted. Other tables print the
row `triad` of their own run.
"""

import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bench.rows import print_row

VALUES = 1 << 25
PASSES = 10
KERNELS: dict[str, tuple[Callable[[jax.Array, jax.Array], jax.Array], int]] = {
    "copy": (lambda b, c: b, 2),
    "scale": (lambda b, c: 3.0 * b, 2),
    "add": (lambda b, c: b + c, 3),
    "triad": (lambda b, c: b + 3.0 * c, 3),
}


def gb_per_s(kernel: str) -> float:
    """What one kernel reaches; its output is written where an array of the same size was."""
    change, arrays = KERNELS[kernel]
    with jax.enable_x64(True):
        run = jax.jit(lambda a, b, c: change(b, c), donate_argnums=0, keep_unused=True)
        a, b, c = (jnp.full(VALUES, value, jnp.float64) for value in (0.0, 1.0, 2.0))
        seconds = []
        for _ in range(PASSES + 1):
            began = time.perf_counter()
            a = run(a, b, c).block_until_ready()
            seconds.append(time.perf_counter() - began)
    return arrays * 8 * VALUES / min(seconds[1:]) / 1e9


def print_bandwidth(*kernels: str) -> None:
    """A row a kernel; `triad` alone stands beside other tables."""
    for kernel in kernels:
        print_row("bandwidth", kernel=kernel, gb_per_s=round(gb_per_s(kernel), 1), cores=len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    print_bandwidth(*KERNELS)
