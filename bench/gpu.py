"""One accelerator: hops and steps against its memory bandwidth and integer rate, from small lattices to the largest.

python -m bench.gpu [--sizes 64 128 256 512] [--rounds 5] >> bench/results/gpu.jsonl, then python -m bench.performance

By the clock, the median over the rounds, of calls that wait for the device. Rows:

- limits: a copy (bytes read and written a second) and chains of multiply-adds of 32-bit words (operations a second);
- hop sweep: three axes of 10 molecules a voxel at r = 1/6. Its bounds are 8 bytes an axis and voxel, each count read
  and written once, and six pairs of random words a voxel, whose operations are counted in what JAX hands to XLA;
- step: the base model of `bench.scaling` (four species, four conversions, cells that move), as the lattice grows until
  memory is full, as small lattices are replicated by `vmap`, and on a lattice so small that only launches are left.

On a CPU it runs too, to be tried out: there a chain waits for itself, and its rate is no bound.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.hops import changes
from bench.rows import print_row
from bench.scaling import BASE, LONG, SHORT, STEP_S, make_model
from exodiff import simulate
from exodiff.lattice.grid import Grid
from exodiff.programs import OPTIONS

BYTES_AN_AXIS = 8  # a count read and written
PAIRS_A_SWEEP = 6
MOLECULES, HOPS = 10.0, 1 / 6
CALLS = 8  # of a change in one program
CHAIN = 128  # multiply-adds of a word in one pass
REPLICATED = (16, 16, 16)
SMALL = (8, 8, 8)
Compiled = Callable[..., jax.Array]


def seconds(call: Callable[[], Any], rounds: int) -> float:
    """Median time by the clock, after one call that is not counted."""
    jax.block_until_ready(call())

    def once() -> float:
        began = time.perf_counter()
        jax.block_until_ready(call())
        return time.perf_counter() - began

    return median(once() for _ in range(rounds))


def repeated(change: Callable[[jax.Array, jax.Array], jax.Array], start: jax.Array) -> Any:
    """A compiled program that does a change several times, so that its launch does not count."""

    def call(n: jax.Array) -> jax.Array:
        return lax.fori_loop(0, CALLS, lambda i, n: change(n, i.astype(jnp.uint32)), n)

    return jax.jit(call, compiler_options=OPTIONS).lower(start).compile()


def limits(size: int, rounds: int) -> tuple[float, float]:
    """Bytes and integer operations a second."""
    words = jnp.arange(size**3, dtype=jnp.uint32)

    def copy(n: jax.Array, i: jax.Array) -> jax.Array:
        return n + i

    def chain(n: jax.Array, i: jax.Array) -> jax.Array:
        for _ in range(CHAIN):
            n = n * jnp.uint32(1664525) + i
        return n

    per_call = size**3 * CALLS
    by_name = {name: repeated(change, words) for name, change in (("copy", copy), ("chain", chain))}
    found = {name: seconds(lambda program=program: program(words), rounds) for name, program in by_name.items()}
    return 8 * per_call / found["copy"], 2 * CHAIN * per_call / found["chain"]


def operations_of_a_pair() -> int:
    """Operations on words of 32 bits that a pair of random words takes."""
    grid = Grid((16,) * 3, (1.0, 1.0, 1.0))
    words = changes(grid)["two_words"]
    start = jnp.zeros(grid.shape, jnp.int32)
    text = jax.jit(lambda n: words(n, jnp.uint32(1), jnp.float32(0.0))).lower(start).as_text()
    names = "add|subtract|multiply|and|or|xor|not|shift_left|shift_right_logical|compare|select|minimum|maximum"
    return len(re.findall(rf"stablehlo\.(?:{names})\b.*tensor<16x16x16x(?:u?i32|u?i64)>", text))


def hop_sweep(size: int, rounds: int, bandwidth: float, integer_rate: float) -> None:
    """Print the row of a size."""
    grid = Grid((size,) * 3, (1.0, 1.0, 1.0))
    start = jnp.asarray(np.random.default_rng(0).poisson(MOLECULES, grid.shape), jnp.int32)
    r, known = jnp.float32(HOPS), changes(grid)
    programs = {name: repeated(lambda n, i, name=name: known[name](n, i, r), start) for name in ("sweep", "two_words")}
    took = {name: seconds(lambda program=program: program(start), rounds) for name, program in programs.items()}
    ns = {name: 1e9 * t / (grid.num_voxels * CALLS) for name, t in took.items()}
    operations = PAIRS_A_SWEEP * operations_of_a_pair()
    print_row(
        "hop sweep, 3 axes",
        shape=grid.shape,
        ns_per_voxel=round(ns["sweep"], 4),
        share_of_bandwidth=round(3 * BYTES_AN_AXIS / (1e-9 * ns["sweep"] * bandwidth), 3),
        share_of_integer_rate=round(operations / (1e-9 * ns["sweep"] * integer_rate), 3),
        share_of_random_words=round(PAIRS_A_SWEEP * ns["two_words"] / ns["sweep"], 3),
        kernels=len(re.findall(r" = .* (?:fusion|custom-call)\(", programs["sweep"].as_text())),
        bandwidth_gb_per_s=round(bandwidth / 1e9, 1),
        integer_gop_per_s=round(integer_rate / 1e9, 1),
    )


def step(what: str, changed: dict[str, Any], rounds: int) -> None:
    """Print the row of a step of the base model with something changed."""
    given = {**BASE, **changed}
    model, replicates = make_model(given), given["replicates"]

    def run(steps: int) -> float:
        times = [STEP_S * SHORT, STEP_S * steps]
        return seconds(lambda: simulate(model, times, replicates=replicates).counts, rounds)

    few, many = 2 * SHORT, SHORT + LONG
    found = (run(many) - run(few)) / (many - few)
    voxels = int(np.prod(given["shape"]))
    print_row(
        what,
        shape=given["shape"],
        replicates=replicates,
        us_per_step=round(1e6 * found, 2),
        ns_per_voxel_step=round(1e9 * found / (voxels * replicates), 4),
    )


def until_full(sizes: list[int]) -> Iterator[int]:
    """The sizes, and after the last twice as many voxels each time; the caller stops when memory is full."""
    yield from sizes
    size = sizes[-1]
    while True:
        size = 16 * round(size * 2 ** (1 / 3) / 16)
        yield size


def is_full(error: Exception) -> bool:
    """Whether the device had no memory left."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replicates", type=int, nargs="+", default=[1, 16, 256, 4096])
    parser.add_argument("--stop", action="store_true", help="at the last size, not where memory is full")
    given = parser.parse_args()
    bandwidth, integer_rate = limits(max(given.sizes), given.rounds)
    step("step, launches alone", {"shape": SMALL}, given.rounds)
    try:
        for replicates in given.replicates:
            step("step, replicated", {"shape": REPLICATED, "replicates": replicates}, given.rounds)
        for size in given.sizes if given.stop else until_full(given.sizes):
            hop_sweep(size, given.rounds, bandwidth, integer_rate)
            step("step", {"shape": (size,) * 3}, given.rounds)
    except (RuntimeError, MemoryError) as error:
        if not is_full(error):
            raise


if __name__ == "__main__":
    main()
