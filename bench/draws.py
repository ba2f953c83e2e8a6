"""Time a draw against JAX's own, one JSON line a row.

taskset -c 0 python -m bench.draws [--quick]. The two are timed alternately in one run, each row by the median of its
rounds, so that the ratio holds on a busy machine; the nanoseconds are those of a core of this machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bench.bandwidth import print_bandwidth
from bench.rows import print_row
from exodiff.kernels import clocks, draws
from exodiff.kernels.random import Stream, fold, make_stream, voxel_index
from exodiff.programs import OPTIONS

_BINOMIALS = [(10, 1 / 6), (100, 0.01), (10**6, 1e-6), (10, 0.9), (50, 0.1), (20, 0.4), (100, 0.2), (1000, 0.3)]
_BINOMIALS += [(10**6, 0.5)]
_MEANS = [0.01, 1.0, 4.9, 9.9, 24.0, 100.0, 1e6]
_FACTORS = [1e-9, 3e-6, 3e-5, 3e-4]  # of an uptake with 10,000 receptors and Poisson(2) vesicles a voxel
_SITES = 8
Call = tuple[Callable, tuple]
_jit = partial(jax.jit, compiler_options=OPTIONS)  # as runs are compiled


def _time_alternately(calls: list[Call], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a core for the first call (compilation) and the median of the later ones, of each function."""
    first, times = [], [[] for _ in calls]
    for function, arguments in calls:
        start = time.process_time()
        jax.block_until_ready(function(*arguments))
        first.append(time.process_time() - start)
    for _ in range(rounds):
        for (function, arguments), record in zip(calls, times, strict=True):
            jax.block_until_ready(function(*arguments))  # the other one has emptied the caches
            start = time.process_time()
            jax.block_until_ready(function(*arguments))
            record.append(time.process_time() - start)
    return first, [statistics.median(record) for record in times]


def _rows(lanes: int, rounds: int) -> Iterator[dict]:
    stream = fold(make_stream(jnp.uint32(1), jnp.uint32(0)), 5, 1)
    index = voxel_index((lanes,))
    key = jax.random.key(1)

    def compare(name: str, n: int | None, p: float, ours: Call, theirs: Call | None) -> dict:
        first, seconds = _time_alternately([ours] + ([theirs] if theirs else []), rounds)
        ns = seconds[0] / lanes * 1e9
        row = {"name": name, "n": n, "p": p, "ns_per_sample": round(ns, 2)}
        if theirs:
            row["ratio_to_jax"] = round(seconds[1] / seconds[0], 1)
        return row | {"compile_s": round(first[0] - seconds[0], 3)}

    def full(value: float, dtype: type) -> jax.Array:
        return jnp.full((lanes,), value, dtype)

    for n, p in _BINOMIALS:
        ours = _jit(lambda stream, index, n, p: draws.binomial(stream, index, 0, n, p))
        theirs = _jit(lambda n, p: jax.random.binomial(key, n, p))
        given = (stream, index, full(n, jnp.int32), full(p, jnp.float32))
        reference = (full(n, jnp.float32), full(p, jnp.float32))
        yield compare("binomial", n, p, (ours, given), (theirs, reference))
    for mean in _MEANS:
        ours = _jit(lambda stream, index, m: draws.poisson(stream, index, 0, m))
        theirs = _jit(lambda m: jax.random.poisson(key, m))
        means = full(mean, jnp.float32)
        yield compare("poisson", None, mean, (ours, (stream, index, means)), (theirs, (means,)))
    one = jnp.int32(1)
    vesicles = jnp.asarray(np.random.default_rng(0).poisson(2, lanes), jnp.int32)
    for factor in _FACTORS:

        def uptake(stream: Stream, index: jax.Array, k: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
            law = clocks.MassAction(k, first, second, (one, one), (-one, -one))
            return clocks.mass_action_events(stream, index, law)

        arguments = (stream, index, full(factor, jnp.float32), vesicles, full(10000, jnp.int32))
        yield compare("uptake", 10000, factor, (_jit(uptake), arguments), None)
    yield from _compile_rows(stream)


def _compile_rows(stream: Stream) -> Iterator[dict]:
    """Tracing and compilation of eight dependent draws on 2^17 lanes, per draw."""
    index = voxel_index((1 << 17,))
    one = jnp.int32(1)

    def uptake(k: int, n: jax.Array, p: jax.Array) -> jax.Array:
        law = clocks.MassAction(p, n, n + 10000, (one, one), (-one, -one))
        return clocks.mass_action_events(fold(stream, k), index, law)

    kinds = {
        "binomial": lambda k, n, p: draws.binomial(stream, index, k, n, p),
        "poisson": lambda k, n, p: draws.poisson(stream, index, k, p * n),
        "uptake": uptake,
    }
    for name, draw in kinds.items():

        def sites(n: jax.Array, p: jax.Array, draw: Callable = draw) -> jax.Array:
            for k in range(_SITES):
                n = n - draw(k, n, p)
            return n

        start = time.perf_counter()
        lowered = _jit(sites).lower(jnp.full(index.shape, 10, jnp.int32), jnp.full(index.shape, 0.1, jnp.float32))
        traced = time.perf_counter()
        lowered.compile()
        compiled = time.perf_counter()
        row = {"name": f"{name}, compile per site", "trace_s": round((traced - start) / _SITES, 3)}
        yield row | {"compile_s": round((compiled - traced) / _SITES, 3)}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2^17 lanes and 3 rounds in place of 2^21 and 5")
    options = parser.parse_args()
    print_bandwidth("triad")
    lanes, rounds = (1 << 17, 3) if options.quick else (1 << 21, 5)
    for row in _rows(lanes, rounds):
        print_row(**row, lanes=lanes)


if __name__ == "__main__":
    main()
