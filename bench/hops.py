"""Exact integer hops: nanoseconds a voxel for one sweep over three axes, and the time to compile it.

python -m bench.hops [--size 128] [--molecules 10]
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.rows import print_row
from exodiff.core.arrays import Number
from exodiff.kernels.diffusion import even_hop_gain, net_gain
from exodiff.kernels.hopping import Flows, Place
from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import fold, make_stream, voxel_index, words
from exodiff.lattice.grid import Grid


def main() -> None:
    """Measure sweeps and, in the same run, the generator alone and a copy, which bound them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--molecules", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    grid = Grid((options.size,) * 3, (1.0, 1.0, 1.0))
    index = voxel_index(grid.shape)
    start = jnp.asarray(np.random.default_rng(0).poisson(options.molecules, grid.shape), jnp.int32)
    stream = make_stream(1, 0)

    def collect(flows: Flows, axis: Place) -> Number:
        return lax.switch(axis, [partial(net_gain, grid=grid, axis=a) for a in range(3)], flows)

    def sweep(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        for axis in range(3):
            n = n + even_hop_gain(Discrete(), fold(stream, step, axis), index, n, hops, axis, collect)
        return n

    def bits(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        del n, hops
        return words(fold(stream, step), index, 0)

    def copy(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        del hops
        return n + step.astype(jnp.int32)

    measured = {}
    for name, function in (("sweep", sweep), ("two words", bits), ("copy", copy)):
        began = time.perf_counter()
        compiled = jax.jit(function).lower(start, jnp.uint32(0), jnp.float32(0.0)).compile()
        measured[name] = (compiled, time.perf_counter() - began)
    for hops in (0.02, 1 / 6, 1 / 4):
        times: dict[str, list[float]] = {name: [] for name in measured}
        for repeat in range(options.repeats):
            for name, (compiled, _) in measured.items():
                began = time.perf_counter()
                compiled(start, jnp.uint32(repeat), jnp.float32(hops)).block_until_ready()
                times[name].append(time.perf_counter() - began)
        medians = {name: float(np.median(found)) / grid.num_voxels * 1e9 for name, found in times.items()}
        print_row(
            "hop sweep, 3 axes",
            shape=grid.shape,
            molecules_per_voxel=options.molecules,
            hops_per_step=round(hops, 4),
            ns_per_voxel_step=round(medians["sweep"], 2),
            hops_per_second=round(6 * hops * options.molecules / medians["sweep"] * 1e9),
            ns_two_words=round(medians["two words"], 2),
            ns_copy=round(medians["copy"], 2),
            compile_s=round(measured["sweep"][1], 2),
        )


if __name__ == "__main__":
    main()
