"""Each kernel beside a bound of its own: what it must compute and move, at the rates of this run on one core.

taskset -c 0 python -m bench.limits [--size 64] [--rounds 7]

A bound is the larger of two. Arithmetic: pairs of random words, operations on whole vectors, quotients, functions,
looks at a table and multiplications of matrix products, each counted in the program of the common path
(:mod:`bench.counted_work`), times what one takes in a loop of little else. Memory: what the kernel takes and
gives, once, at the bandwidth of the triad. Times are those of the processor, medians over rounds that go through all
kernels in turn. That of `exact` is of an event of an ensemble of 10,000.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import exodiff as ex
from bench.counted_work import Turn, Work, compiled, rates, work_of
from bench.exact import TRAJECTORIES, mean_events, ours
from bench.hops import changes
from bench.rows import print_row
from exodiff.exact import direct
from exodiff.kernels import clocks, draws, halving, lanes, rejection, steady
from exodiff.kernels.diffusion import Transition, hop_flows, hop_rates, net_gain, transition
from exodiff.kernels.hopping import Flows
from exodiff.kernels.inversion import LONG
from exodiff.kernels.laws import Law, binomial_law, poisson_law
from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import Stream, fold, make_stream, retry_words, voxel_index
from exodiff.lattice.grid import Grid
from exodiff.operation_draws import Amounts, Step
from exodiff.passes import cell_pass, looped_pass
from exodiff.start import make_inputs, start_array

_LANES = 1 << 18
_HOPS = 0.25  # r = D dt / h^2, where D is largest
_FIRST = jnp.int32(0)  # number of a turn
_MOST_ROUNDS = 16  # of transformed rejection, which accepts five of six


class Kernel(NamedTuple):
    """A kernel as it is measured.

    Attributes:
        name, case: what it is, and on what.
        seconds: processor seconds of one turn.
        items: of a turn: lanes, voxels or events.
        work: what it must compute for an item.
        num_bytes: what it must move for an item.

    """

    name: str
    case: str
    seconds: Callable[[], float]
    items: float
    work: Work
    num_bytes: float


def kernel_of(
    name: str,
    case: str,
    turn: Turn,
    state: Any,
    items: int,
    num_bytes: float,
    path: Any = None,
    rounds: float = 1.0,
) -> Kernel:
    """A kernel by one turn of it, and by the common path where that is not the cheaper one of all branches.

    A path that is a loop takes so many rounds.
    """
    work = work_of(turn if path is None else path, state, _FIRST, items=items, turns=rounds)
    return Kernel(name, case, compiled(turn, state), items, work, num_bytes)


def draw_kernels() -> Iterator[Kernel]:
    """A number in each lane, by each way that there is."""
    index, stream, zeros = voxel_index((_LANES,)), make_stream(1, 0), jnp.zeros(_LANES, jnp.int32)
    address = (stream, index, jnp.uint32(0))

    def kernel(
        name: str, case: str, draw: Any, given: tuple[jax.Array, ...], path: Any = None, rounds: float = 1.0
    ) -> Kernel:
        # what is given is a part of the state, or a compiler would know it
        def turn(state: Any, i: jax.Array) -> Any:
            return draw(fold(stream, i), *state[1]), state[1]

        def common(state: Any, i: jax.Array) -> Any:
            return path(*state[1])

        num_bytes = 4.0 + sum(a.nbytes for a in given) / _LANES
        return kernel_of(name, case, turn, (zeros, given), _LANES, num_bytes, path and common, rounds)

    def binomial(n: int, p: float, path: Any = None, rounds: float = 1.0) -> Kernel:
        given = jnp.full(_LANES, n, jnp.int32), jnp.full(_LANES, p, jnp.float32)
        common = None if path is None else lambda n, p: path(binomial_law(n, p))
        return kernel("binomial", f"{n}, {p}", lambda s, n, p: draws.binomial(s, index, 0, n, p), given, common, rounds)

    def poisson(mean: float, path: Any = None, rounds: float = 1.0) -> Kernel:
        given = (jnp.full(_LANES, mean, jnp.float32),)
        common = None if path is None else lambda m: path(poisson_law(m))
        return kernel("Poisson", f"{mean}", lambda s, m: draws.poisson(s, index, 0, m), given, common, rounds)

    def attempts(law: Law) -> float:
        """Rounds of transformed rejection until all lanes of a block are done, the mean over the blocks."""
        words = [retry_words(stream, index, jnp.uint32(0), jnp.uint32(i)) for i in range(_MOST_ROUNDS)]
        accepted = np.stack([np.asarray(rejection.attempt(*pair, law)) >= 0 for pair in words])
        return float(np.mean((1 + np.argmax(accepted, 0)).reshape(-1, lanes.BLOCK).max(1)))

    long = partial(draws.inverted_long, *address)
    parts, rejected = (partial(f, zeros == 0, *address) for f in (draws.draw_by_parts, rejection.draw_by_rejection))
    yield from (binomial(10, 0.1), binomial(50, 0.1, long))
    yield binomial(100, 0.2, parts, rounds=np.ceil(20.0 / LONG.mean))
    yield binomial(1000, 0.3, rejected, attempts(binomial_law(jnp.int32(1000), jnp.float32(0.3))))
    yield from (poisson(1.0), poisson(4.9, long))
    yield poisson(100.0, rejected, attempts(poisson_law(jnp.float32(100.0))))
    yield kernel("half", "10", lambda s, n: halving.half(s, index, 0, n), (zeros + 10,))
    vesicles = jnp.asarray(np.random.default_rng(0).poisson(2, _LANES), jnp.int32)

    def chain(stream: Stream, factor: jax.Array, first: jax.Array, second: jax.Array, one: jax.Array) -> jax.Array:
        law = clocks.MassAction(factor, first, second, (one, one), (-one, -one))
        return clocks.mass_action_events(stream, index, law)

    given = jnp.full(_LANES, 3e-6, jnp.float32), vesicles, zeros + 10_000, jnp.int32(1)
    yield kernel("chain of events", "2 with 10,000", chain, given)


def hop_kernels(size: int) -> Iterator[Kernel]:
    """Sweeps over three axes: one law everywhere, unlike diffusivities, and flow."""
    grid = Grid((size,) * 3, (1.0, 1.0, 1.0))
    index, stream, items = voxel_index(grid.shape), make_stream(1, 0), grid.num_voxels
    rng, hops = np.random.default_rng(0), jnp.float32(_HOPS)
    n = jnp.asarray(rng.poisson(10, grid.shape), jnp.int32)
    d = jnp.asarray(np.where(rng.random(grid.shape) < 0.3, 0.2, 1.0), jnp.float32)
    v = jnp.asarray(rng.normal(0.0, 0.05, grid.shape), jnp.float32)
    even, case = changes(grid)["sweep"], f"10 a voxel, r = {_HOPS}"
    yield kernel_of("hops, one law", case, lambda n, i: even(n, i.astype(jnp.uint32), hops), n, items, 24.0)

    def drawn(stream: Stream, n: jax.Array, law: Transition) -> Flows:
        return hop_flows(Discrete(), stream, index, n, law)

    def common(stream: Stream, n: jax.Array, law: Transition) -> Flows:
        """The way of most voxels: two numbers by the long inversion, two by the short."""
        movers = draws.inverted_long(stream, index, 0, binomial_law(n, law.moves))
        up = draws.inverted_long(stream, index, 1, binomial_law(movers, law.goes_up))
        far_up = draws.inverted_short(stream, index, 2, binomial_law(up, law.far_up))
        far_down = draws.inverted_short(stream, index, 3, binomial_law(movers - up, law.far_down))
        return far_down, movers - up - far_down, up - far_up, far_up

    def sweep(state: Any, i: jax.Array, flows: Callable[..., Flows]) -> Any:
        n, d, v = state

        def along(axis: jax.Array, n: jax.Array) -> jax.Array:
            laws = [lambda d, a=a: transition(hop_rates(d, grid, a, v), hops, grid, a) for a in range(3)]
            moved = flows(fold(stream, i, axis), n, lax.switch(axis, laws, d))
            return n + lax.switch(axis, [lambda f, a=a: net_gain(f, grid, a) for a in range(3)], moved)

        return lax.fori_loop(0, 3, along, n), d, v

    for name, velocity, num_bytes in (("hops, unlike diffusivities", None, 36.0), ("hops with flow", v, 48.0)):
        turn, path = partial(sweep, flows=drawn), partial(sweep, flows=common)
        yield kernel_of(name, case, turn, (n, d, velocity), items, num_bytes, path)


def pass_kernels(size: int) -> Iterator[Kernel]:
    """A channel of a step with what it does to the counts, and cells that divide and move in a third of the voxels."""

    def kernel(
        name: str, case: str, tables: dict[str, Any], change: Any, pick: Callable[..., Work], rows: int
    ) -> Kernel:
        lattice = {"shape": [size] * 3, "spacing": "10 um"}
        model = ex.Model.from_dict({"schema": 1, "run": {"duration": "1 day"}, "lattice": lattice, **tables})
        problem, zero, step_s = model.problem, jnp.float32(0.0), jnp.float32(60.0)
        inputs, places = make_inputs(model, None, problem.precision), voxel_index(problem.grid.shape)

        def turn(amounts: Amounts, i: jax.Array) -> Amounts:
            return change(Step(problem, inputs, Discrete(), fold(make_stream(1, 0), i), places, zero, step_s), amounts)

        counts, items = start_array(model, problem), problem.grid.num_voxels
        state = Amounts(counts, jnp.zeros((0, 2), jnp.uint32))
        work = work_of(turn, state, _FIRST, items=items, pick=pick)
        # the rows that change, both ways
        return Kernel(name, case, compiled(turn, state), items, work, 8.0 * rows)

    species = {name: {"initial": {"poisson": 10}} for name in "ABC"}
    forwards = partial(looped_pass, backwards=jnp.asarray(False))
    channels = (("A -> B", "1 /h", 2), ("A + B -> C", "1e-4 um^3/s", 3), ("-> A", "1e-6 /um^3/s", 1))
    for equation, rate, rows in channels:
        tables = {"species": species, "reactions": [{"equation": equation, "rate": rate}]}
        yield kernel("channel", equation, tables, forwards, min, rows)
    cells = {"place": [{"cells": "cell", "everywhere": True, "fill": 0.3}], "cells": {"cell": {}}}
    divide = {**cells, "reactions": [{"name": "divide", "equation": "cell -> 2 cell", "rate": "1 /day"}]}
    inside = {f"R{i}": {"in": "cell", "initial": 10} for i in range(4)}
    move = {**cells, "cells": {"cell": {"motility": "0.01 um^2/s"}}, "species": inside}
    # of branches the dearer: where no cell divides or moves there is nothing to do
    yield kernel("cells that divide", "in 30 % of the voxels", divide, cell_pass, max, 1)
    yield kernel("cells that move", "in 30 %, with four species", move, cell_pass, max, 5)


def steady_kernels(size: int) -> Iterator[Kernel]:
    """A steady concentration: by its modes, and an iteration of conjugate gradients, preconditioned by them."""
    grid, rng = Grid((size,) * 3, (20.0,) * 3), np.random.default_rng(0)
    source = jnp.asarray(rng.random(grid.shape), jnp.float32)
    is_cell, nothing = jnp.asarray(rng.random(grid.shape) < 0.3), jnp.zeros(grid.shape, jnp.float32)
    exchange, loss = (jnp.float32(1.0),) * 3, jnp.float32(0.1)
    yield kernel_of(
        "steady, by modes",
        f"{size}^3",
        lambda x, _: source + 1e-3 * steady.solve_even(exchange, loss, x, grid).value,
        source,
        source.size,
        8.0,
    )
    spread = steady.Spread(
        steady.face_exchange(jnp.where(is_cell, 500.0, 1000.0), grid), nothing, nothing, ~(nothing > 0), nothing
    )
    matrix, precondition = steady.system(spread, jnp.where(is_cell, 0.1, 0.001), grid)
    zero = jnp.float32(0.0)
    yield kernel_of(
        "steady, an iteration",
        f"{size}^3, cells in 30 %",
        lambda at, _: steady.iterate(matrix, precondition, at),
        steady.Search(nothing, source, nothing, zero, jnp.int32(0)),
        source.size,
        44.0,  # three arrays of the search both ways, exchange along three axes, loss and diagonal
    )


def event_kernels() -> Iterator[Kernel]:
    """An event of an ensemble by the engine `exact`, with the records of `bench.exact` and with one."""
    event = direct._event  # pyright: ignore[reportPrivateUsage]
    for name, records in itertools.product(("birth-death", "dimerisation", "20 reactions"), (None, 2)):
        found: list[Work] = []

        def noted(block: Any, lanes: Any, found: list[Work] = found) -> Any:
            found.append(work_of(lambda lanes: event(block, lanes), lanes, items=lanes.record.size))
            return event(block, lanes)

        call = ours(name, TRAJECTORIES, records)
        with mock.patch.object(direct, "_event", noted):
            call(0)

        def seconds(call: Callable[[int], Any] = call) -> float:
            began = time.process_time()
            call(1)
            return time.process_time() - began

        case = f"{name}, {'20 records' if records is None else '1 record'}"
        yield Kernel("event of `exact`", case, seconds, mean_events(name) * TRAJECTORIES, found[0], 0.0)


def main() -> None:
    """Measure the rates, then all kernels in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    rate = rates(given.rounds)
    for kind, ns in rate.items():
        print_row("rate", kind=kind, ns=float(f"{ns:.3g}"))
    groups = (draw_kernels(), hop_kernels(given.size), pass_kernels(given.size), steady_kernels(given.size))
    kernels = [kernel for group in (*groups, event_kernels()) for kernel in group]
    rounds = [[kernel.seconds() for kernel in kernels] for _ in range(given.rounds)]
    for kernel, seconds in zip(kernels, np.median(rounds, 0), strict=True):
        ns, arithmetic = 1e9 * seconds / kernel.items, sum(n * rate[kind] for kind, n in kernel.work.items())
        bound = max(arithmetic, kernel.num_bytes * rate["bytes"])
        print_row(
            "limit",
            kernel=kernel.name,
            case=kernel.case,
            cpu_ns=float(f"{ns:.3g}"),
            bound_ns=float(f"{bound:.3g}"),
            times_bound=round(ns / bound, 2),
            bytes=round(kernel.num_bytes, 1),
            **{kind: round(n, 1) for kind, n in kernel.work.items() if n >= 0.1},
        )


if __name__ == "__main__":
    main()
