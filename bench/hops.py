"""Exact integer hops: nanoseconds a voxel for one sweep over three axes, and the time to compile it.

python -m bench.hops [--size 128] [--molecules 1 10 100]. Several sweeps are one call, as in a run, so that the buffers
are those of the sweep before. The time of the processor, over all cores, is told beside the wall time; it holds on a
busy machine. Beside it in the same run: the generator alone (a pair of words a voxel) and a copy, which bound it.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.bandwidth import print_bandwidth
from bench.rows import print_row
from exodiff.core.arrays import Number
from exodiff.kernels.diffusion import even_hop_gain, net_gain, net_gain_of_words
from exodiff.kernels.hopping import Collect, Flows, Place, even_hop, hop_tables
from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import fold, make_stream, voxel_index, word_pair
from exodiff.lattice.grid import Grid
from exodiff.programs import OPTIONS

_SWEEPS = 4  # in one call
Change = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def changes(grid: Grid) -> dict[str, Change]:
    """A sweep and its bounds: the counts after it from those before, the number of the step, and r."""
    index, stream = voxel_index(grid.shape), make_stream(1, 0)

    def of_flows(flows: Flows, axis: Place) -> Number:
        return lax.switch(axis, [partial(net_gain, grid=grid, axis=a) for a in range(3)], flows)

    def of_words(words: jax.Array, axis: Place) -> Number:
        return lax.switch(axis, [partial(net_gain_of_words, grid=grid, axis=a) for a in range(3)], words)

    collect = Collect(of_flows, of_words)

    def sweep(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        law = even_hop(hops)._replace(tables=jax.tree.map(lambda a: a.reshape(-1), hop_tables(hops)))

        def along(axis: jax.Array, n: jax.Array) -> jax.Array:
            return n + even_hop_gain(Discrete(), fold(stream, step, axis), index, n, law, axis, collect)

        return lax.fori_loop(0, 3, along, n)

    def words(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        del hops
        first, second = word_pair(fold(stream, step), index, 0)
        return n ^ (first ^ second).astype(n.dtype)

    def copy(n: jax.Array, step: jax.Array, hops: jax.Array) -> jax.Array:
        del hops
        return n + step.astype(n.dtype)

    return {"sweep": sweep, "two_words": words, "copy": copy}


def main() -> None:
    """Measure sweeps and their bounds, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--molecules", type=float, nargs="+", default=[1.0, 10.0, 100.0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print_bandwidth("triad")
    grid = Grid((options.size,) * 3, (1.0, 1.0, 1.0))
    empty = jnp.zeros(grid.shape, jnp.int32)
    compiled, seconds = {}, {}
    for name, change in changes(grid).items():

        def call(n: jax.Array, first: jax.Array, hops: jax.Array, change: Change = change) -> jax.Array:
            return lax.fori_loop(0, _SWEEPS, lambda i, n: change(n, first + i.astype(jnp.uint32), hops), n)

        began = time.perf_counter()
        compiled[name] = jax.jit(call, compiler_options=OPTIONS).lower(empty, jnp.uint32(0), jnp.float32(0.0)).compile()
        seconds[name] = time.perf_counter() - began
    for molecules in options.molecules:
        start = jnp.asarray(np.random.default_rng(0).poisson(molecules, grid.shape), jnp.int32)
        for hops in (0.02, 1 / 6, 1 / 4):
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in compiled}
            for repeat in range(options.repeats):
                for name, function in compiled.items():
                    began = time.perf_counter(), time.process_time()
                    function(start, jnp.uint32(repeat * _SWEEPS), jnp.float32(hops)).block_until_ready()
                    times[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
            scale = 1e9 / (grid.num_voxels * _SWEEPS)
            wall, processor = ({name: np.median(t, 0)[i] * scale for name, t in times.items()} for i in (0, 1))
            print_row(
                "hop sweep, 3 axes",
                shape=grid.shape,
                molecules_per_voxel=molecules,
                hops_per_step=round(hops, 4),
                ns_per_voxel_step=round(wall["sweep"], 2),
                cpu_ns_per_voxel_step=round(processor["sweep"], 2),
                hops_per_second=round(6 * hops * molecules / wall["sweep"] * 1e9),
                cpu_ns_two_words=round(processor["two_words"], 2),
                cpu_ns_copy=round(processor["copy"], 2),
                compile_s=round(seconds["sweep"], 2),
            )


if __name__ == "__main__":
    main()
