"""What a program computes, by kind and for each value, and how long one value of each kind takes on this core.

Counted in its jaxpr, by the arrays that operations make; what only lays out or moves values is none. Where a program
branches one way is counted; a loop whose end the numbers tell goes so many turns as it is told, without what tells it.
Prices of kinds are rough: a remainder or a logarithm takes several times what an exponential does.
"""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from bench.bandwidth import gb_per_s
from exodiff.kernels.random import Stream, make_stream, voxel_index, word_pair
from exodiff.programs import OPTIONS

_TURNS = 8  # in one call
_LANES = 1 << 16  # arrays of them stay in a cache
_ROTATION, _TIMES = 17, 2  # bits of a rotation of the generator that nothing else has, and how often in a pair of words
_KINDS = {
    **dict.fromkeys(("dot_general",), "products"),
    **dict.fromkeys(("gather",), "looks"),
    **dict.fromkeys(("div", "sqrt", "rsqrt"), "quotients"),
    **dict.fromkeys(
        ("exp", "exp2", "log", "log1p", "expm1", "pow", "logistic", "tanh", "cos", "sin", "erf_inv", "rem"), "functions"
    ),
    **dict.fromkeys(
        ("broadcast_in_dim", "reshape", "squeeze", "slice", "pad", "concatenate", "transpose", "copy", "iota", "rev",
         "bitcast_convert_type", "optimization_barrier", "stop_gradient", "dynamic_slice", "dynamic_update_slice",
         "scatter-add", "scatter"),
        "",
    ),
}  # fmt: skip
Turn = Callable[[Any, jax.Array], Any]
"""From the state and the number of the turn to the next state."""
Work = Counter[str]
"""Values that are computed, by kind."""


def counted(jaxpr: core.Jaxpr, times: float = 1.0, pick: Callable[..., Work] = min, turns: float = 1.0) -> Work:
    """What a program computes, in so many turns of its open loops.

    Of two branches that one which ``pick`` takes by its operations, of more the first, which is the way of most.
    """
    found: Work = Counter()
    for eqn in jaxpr.eqns:
        name, given = eqn.primitive.name, eqn.params
        size = float(np.prod(eqn.outvars[0].aval.shape)) if eqn.outvars else 0.0  # pyright: ignore[reportAttributeAccessIssue]
        inner = next((given[key] for key in ("jaxpr", "call_jaxpr", "call", "fun_jaxpr") if key in given), None)
        if name == "cond":
            branches = [counted(b.jaxpr, times, pick, turns) for b in given["branches"]]
            found.update(branches[0] if len(branches) > 2 else pick(branches, key=lambda work: work.total()))
        elif name == "while":
            found.update(counted(given["body_jaxpr"].jaxpr, times * turns, pick, turns))
        elif inner is not None:
            often = given.get("length", 1) if name == "scan" else size if name == "reduce" else 1
            found.update(counted(getattr(inner, "jaxpr", inner), times * often, pick, turns))
        elif "jaxprs" in given:
            raise NotImplementedError(f"{name}: what it computes is not counted")
        elif name == "dot_general":
            (contracted, _), _ = given["dimension_numbers"]
            lengths = [eqn.invars[0].aval.shape[axis] for axis in contracted]  # pyright: ignore[reportAttributeAccessIssue]
            found["products"] += times * size * float(np.prod(lengths))
        else:
            size = max(size, float(np.prod(eqn.invars[0].aval.shape)) if name.startswith("reduce_") else 0.0)  # pyright: ignore[reportAttributeAccessIssue]
            kind = _KINDS.get(name, "operations")
            found[kind] += times * size
            if name == "shift_left" and getattr(eqn.invars[1], "val", None) == _ROTATION:
                found["pairs"] += times * size / _TIMES
    del found[""]
    return found


def work_of(
    function: Callable[..., Any], *given: Any, items: int, pick: Callable[..., Work] = min, turns: float = 1.0
) -> Work:
    """What a function computes for each of so many items."""
    found = counted(jax.make_jaxpr(function)(*given).jaxpr, 1.0 / items, pick, turns)
    found["operations"] -= found["pairs"] * _operations_of_pair()
    return found


def _operations_of_pair() -> float:
    """Of each lane; the key is the same for all, and so is the number of the draw."""
    index = voxel_index((_LANES,))
    key = jnp.zeros((), jnp.uint32)
    made = jax.make_jaxpr(lambda key, index: word_pair(Stream(key, key), index, 0))(key, index)
    return counted(made.jaxpr, 1.0 / _LANES)["operations"]


def compiled(turn: Turn, state: Any, turns: int = _TURNS) -> Callable[[], float]:
    """A call that tells the processor seconds of one turn."""
    whole = jax.jit(lambda s: lax.fori_loop(0, turns, lambda i, s: turn(s, i), s), compiler_options=OPTIONS)
    run = whole.lower(state).compile()
    jax.block_until_ready(run(state))

    def seconds() -> float:
        began = time.process_time()
        jax.block_until_ready(run(state))
        return (time.process_time() - began) / turns

    return seconds


def rates(rounds: int) -> dict[str, float]:
    """Nanoseconds of one value of each kind of work, and of a byte, on this core, less the operations around it.

    Operations "one after another" are those of 400, each of which needs the one before.
    """
    lanes = _LANES
    x, index = jnp.linspace(0.1, 0.9, lanes, dtype=jnp.float32), voxel_index((lanes,))
    table, matrix = 7919 * voxel_index((1024,)), jnp.ones((1024, 1024), jnp.float32)

    def line(values: int) -> Callable[[int], Turn]:
        """A product and a sum of each of some values, so many times."""

        def several(number: int) -> Turn:
            def turn(x: jax.Array, i: jax.Array) -> jax.Array:
                found = [x + (i + k).astype(x.dtype) for k in range(values)]
                for k in range(number):
                    found = [value * jnp.float32(0.99 + 1e-4 * k) + jnp.float32(0.01 * k) for value in found]
                return sum(found, start=1e-3 * x)

            return turn

        return several

    def sums(function: Callable[[jax.Array], jax.Array]) -> Callable[[int], Turn]:
        def several(number: int) -> Turn:
            return lambda x, i: sum((function(x + (i + k).astype(x.dtype)) for k in range(number)), start=x)

        return several

    def pair(x: jax.Array) -> jax.Array:
        first, second = word_pair(make_stream(1, 0), x, 0)
        return first ^ second

    def slope(several: Callable[[int], Turn], state: jax.Array, few: int, many: int) -> Callable[[], float]:
        short, long = (compiled(several(number), state) for number in (few, many))
        return lambda: (long() - short()) / (many - few) / lanes

    product = compiled(lambda m, _: 1e-3 * jnp.matmul(m, matrix, precision=lax.Precision.HIGHEST), matrix, 1)
    measure: dict[str, Callable[[], float]] = {
        "operations": slope(line(2), x, 4, 24),
        "one after another": slope(line(1), x, 200, 400),
        "quotients": slope(sums(lambda x: 0.3 / x), x, 2, 10),
        "functions": slope(sums(lambda x: jnp.exp(-x)), x, 2, 10),
        "looks": slope(sums(lambda x: table.at[x & 1023].get(mode="promise_in_bounds")), index, 2, 10),
        "pairs": slope(sums(pair), index, 1, 5),
        "products": lambda: product() / 1024**3,
    }
    found = {kind: 1e9 * median(seconds() for _ in range(rounds)) for kind, seconds in measure.items()}
    by_two = {kind: found[kind] / number for kind, number in (("operations", 4), ("one after another", 2))}
    around = {"quotients": 2, "functions": 3, "looks": 3, "pairs": 3}  # two sums each, and what makes the argument
    alone = {kind: found[kind] - number * by_two["operations"] for kind, number in around.items()}
    return {**found, **by_two, **alone, "bytes": 1.0 / gb_per_s("triad")}
