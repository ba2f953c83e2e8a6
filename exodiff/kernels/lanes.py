"""How an elementwise draw visits its lanes: all at once, then only those blocks that have unfinished ones."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import COUNT_DTYPE, Count, Mask
from exodiff.kernels.decomposition import by_pieces

Tree = TypeVar("Tree")
Values = TypeVar("Values", jax.Array, tuple[jax.Array, ...])

BLOCK = 1024  # lanes
_ALONE = 512  # lanes of a member of a batch from which it goes alone


def elementwise(function: Callable[..., Count]) -> Callable[..., Count]:
    """An elementwise function, traced once a shape and batch by batch (:func:`batched`), on each piece of a lattice."""
    return batched(functools.partial(by_pieces, function))


def batched(function: Callable[..., Values]) -> Callable[..., Values]:
    """Trace a function once a shape, and make ``vmap`` call it once on arrays with one more axis in front.

    Without the first, each of the draws of a step would be traced anew (0.2 s each); without the second, the loops
    inside would be batched by selecting over their whole carried state in every iteration. On CPU members of many lanes
    go one after the other: what depends on the member and on the lane it makes no vectors of.
    """
    wrapped = jax.custom_batching.custom_vmap(jax.jit(function))

    @wrapped.def_vmap
    def _rule(axis_size: int, in_batched: list[bool], *arguments: Any) -> tuple[Values, Any]:  # pyright: ignore[reportUnusedFunction]
        lanes = max(a.size // axis_size if b else a.size for a, b in zip(arguments, in_batched, strict=True))
        if lanes >= _ALONE and jax.default_backend() == "cpu":
            batches = tuple(a for a, b in zip(arguments, in_batched, strict=True) if b)

            def one(given: tuple[jax.Array, ...]) -> Values:
                rest = iter(given)
                return wrapped(*(next(rest) if b else a for a, b in zip(arguments, in_batched, strict=True)))

            found = lax.map(one, batches)
            return found, jax.tree.map(lambda _: True, found)
        ndim = max(a.ndim - b for a, b in zip(arguments, in_batched, strict=True))
        aligned = [
            a.reshape(a.shape[:1] + (1,) * (ndim - (a.ndim - 1)) + a.shape[1:]) if b else a
            for a, b in zip(arguments, in_batched, strict=True)
        ]
        found = wrapped(*aligned)
        return found, jax.tree.map(lambda _: True, found)

    return wrapped


def in_one_loop(function: Callable[[Tree], Tree], arrays: Tree) -> Tree:
    """Apply an elementwise function to a tree of arrays of one shape, for arrays of the same shape and types.

    XLA on CPU makes a loop for each array and computes in each anew what they share. A reduction of many arrays at once
    it compiles to one loop, vectorised over the lanes: here over two copies of each lane, in order, and of the first
    nothing is left.

    Args:
        function: from a tree to a like one; it cannot refer to traced values.
        arrays: the tree.

    """
    if jax.default_backend() != "cpu":
        return function(arrays)
    copies = jax.tree.map(lambda a: jnp.broadcast_to(a, (2, *a.shape)), arrays)
    first = jax.tree.map(lambda a: jnp.zeros((), a.dtype), arrays)
    found = lax.reduce(copies, first, lambda _, lane: function(lane), (0,))
    # for a result that is not used, a pass before XLA (StableHLO's) would visit every path through the function
    return lax.optimization_barrier(found)


def written_down(values: Tree) -> Tree:
    """Values in the function of :func:`in_one_loop` that no result may see otherwise rounded than another.

    Where it is compiled to one loop they are the same in any case.
    """
    return values if jax.default_backend() == "cpu" else lax.optimization_barrier(values)


def first_true(mask: Mask) -> tuple[Mask, Count]:
    """Whether any is true, and the first that is: one reduction of a pair, which XLA on CPU compiles to one loop."""

    def earlier(x: tuple[Mask, Count], y: tuple[Mask, Count]) -> tuple[Mask, Count]:
        take_x = x[0] & (~y[0] | (x[1] < y[1]))
        return x[0] | y[0], jnp.where(take_x, x[1], y[1])

    mask = mask.reshape(-1)
    order = jnp.arange(mask.size, dtype=COUNT_DTYPE)
    return lax.reduce((mask, order), (jnp.asarray(False), jnp.asarray(0, COUNT_DTYPE)), earlier, (0,))


def smallest(values: jax.Array) -> jax.Array:
    """The least value, 0 if none is below.

    Of whole numbers first over the first axis, in rows, where XLA on CPU would go by boxes. Reals it gives to a library
    that takes 0.1 ns a value at once, and 4 where an axis is first.
    """
    if jnp.issubdtype(values.dtype, jnp.floating):
        return jnp.min(values, initial=0)
    return jnp.min(lax.optimization_barrier(jnp.min(values, 0, initial=0)))


def largest(values: jax.Array) -> jax.Array:
    """The largest of whole numbers, 0 if none is above; as :func:`smallest`."""
    return jnp.max(lax.optimization_barrier(jnp.max(values, 0, initial=0)))


def finish_blocks(
    values: Values, unfinished: Mask, finish: Callable[..., Values], arguments: tuple, most: int | None = None
) -> Values:
    """Replace the values of the unfinished lanes, visiting only the blocks of lanes that have one.

    All at once on a GPU. The last block overlaps the one before it; as draws are addressed, doing a lane twice changes
    nothing.

    Args:
        values: an array, or several of one shape.
        unfinished: of that shape.
        finish: from lanes to finish, values and arguments to new values; shapes are those of a block.
        arguments: arrays that broadcast with the values.
        most: lanes of a block, ``BLOCK`` by default.

    """
    shape, size = unfinished.shape, unfinished.size
    if size == 0:
        return values
    block = min(most or BLOCK, size) if jax.default_backend() == "cpu" else size
    num_blocks = -(-size // block)
    mask = unfinished.reshape(-1)
    padded = mask if size == num_blocks * block else jnp.pad(mask, (0, -size % block))
    marked = jnp.any(padded.reshape(num_blocks, block), axis=1)
    marked = lax.optimization_barrier(marked)  # or the compiler reduces twice

    def replaced(active: Mask, old: Values, *rest: jax.Array) -> Values:
        return jax.tree.map(lambda new, old: jnp.where(active, new, old), finish(active, old, *rest), old)

    def at_once() -> Values:
        return replaced(unfinished, values, *arguments)

    def visit() -> Values:
        lanes = [a.reshape(()) if a.size == 1 else jnp.broadcast_to(a, shape).reshape(-1) for a in arguments]

        def body(carry: tuple[Mask, Values]) -> tuple[Mask, Values]:
            pending, result = carry
            b = first_true(pending)[1]
            start = jnp.minimum(b * block, size - block)

            def here(a: jax.Array) -> jax.Array:
                return a if a.ndim == 0 else lax.dynamic_slice(a, (start,), (block,))

            new = replaced(here(mask), jax.tree.map(here, result), *map(here, lanes))
            pending = lax.dynamic_update_slice(pending, jnp.zeros(1, bool), (b,))
            return pending, jax.tree.map(lambda old, new: lax.dynamic_update_slice(old, new, (start,)), result, new)

        flat = jax.tree.map(lambda a: a.reshape(-1), values)
        final = lax.while_loop(lambda c: first_true(c[0])[0], body, (marked, flat))[1]
        return jax.tree.map(lambda a: a.reshape(shape), final)

    if num_blocks == 1:
        return lax.cond(marked[0], at_once, lambda: values)
    return lax.cond(first_true(marked)[0], visit, lambda: values)
