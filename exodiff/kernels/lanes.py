"""How an elementwise draw visits its lanes: all at once, then only those blocks that have unfinished ones."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from exodiff.core.arrays import COUNT_DTYPE, Count, Mask
from exodiff.kernels.decomposition import by_pieces

_BLOCK = 1024


def elementwise(function: Callable[..., Count]) -> Callable[..., Count]:
    """Trace an elementwise function once a shape, and make ``vmap`` call it once on arrays with one more axis.

    Without the first, each of the draws of a step would be traced anew (0.2 s each); without the second, the loops
    inside would be batched by selecting over their whole carried state in every iteration.
    """
    wrapped = jax.custom_batching.custom_vmap(jax.jit(functools.partial(by_pieces, function)))

    @wrapped.def_vmap
    def _rule(axis_size: int, in_batched: list[bool], *arguments: jax.Array) -> tuple[Count, bool]:  # pyright: ignore[reportUnusedFunction]
        del axis_size
        ndim = max(a.ndim - b for a, b in zip(arguments, in_batched, strict=True))
        aligned = [
            a.reshape(a.shape[:1] + (1,) * (ndim - (a.ndim - 1)) + a.shape[1:]) if b else a
            for a, b in zip(arguments, in_batched, strict=True)
        ]
        return wrapped(*aligned), True

    return functools.wraps(function)(wrapped)


def first_true(mask: Mask) -> tuple[Mask, Count]:
    """Whether any is true, and the first that is: one reduction of a pair, which XLA on CPU compiles to one loop."""

    def earlier(x: tuple[Mask, Count], y: tuple[Mask, Count]) -> tuple[Mask, Count]:
        take_x = x[0] & (~y[0] | (x[1] < y[1]))
        return x[0] | y[0], jnp.where(take_x, x[1], y[1])

    mask = mask.reshape(-1)
    order = jnp.arange(mask.size, dtype=COUNT_DTYPE)
    return lax.reduce((mask, order), (jnp.asarray(False), jnp.asarray(0, COUNT_DTYPE)), earlier, (0,))


def finish_blocks(values: jax.Array, finish: Callable[..., jax.Array], arguments: tuple) -> jax.Array:
    """Replace the negative values, visiting only the blocks of 1024 lanes that have one (all at once on a GPU).

    The last block overlaps the one before it; as draws are addressed, doing a lane twice changes nothing.
    """
    shape, size = values.shape, values.size
    if size == 0:
        return values
    block = min(_BLOCK, size) if jax.default_backend() == "cpu" else size
    num_blocks = -(-size // block)
    padded = values.reshape(-1) if size == num_blocks * block else jnp.pad(values.reshape(-1), (0, -size % block))
    marked = jnp.min(padded.reshape(num_blocks, block), axis=1) < 0
    marked = lax.optimization_barrier(marked)  # or the compiler reduces twice

    def visit() -> jax.Array:
        lanes = [a.reshape(()) if a.size == 1 else jnp.broadcast_to(a, shape).reshape(-1) for a in arguments]
        given = values.reshape(-1)

        def body(carry: tuple[Mask, jax.Array]) -> tuple[Mask, jax.Array]:
            pending, result = carry
            b = first_true(pending)[1]
            start = jnp.minimum(b * block, size - block)
            here, *rest = (a if a.ndim == 0 else lax.dynamic_slice(a, (start,), (block,)) for a in (given, *lanes))
            new = jnp.where(here < 0, finish(here < 0, here, *rest), here)
            pending = lax.dynamic_update_slice(pending, jnp.zeros(1, bool), (b,))
            return pending, lax.dynamic_update_slice(result, new, (start,))

        return lax.while_loop(lambda c: first_true(c[0])[0], body, (marked, given))[1].reshape(shape)

    return lax.cond(first_true(marked)[0], visit, lambda: values)
