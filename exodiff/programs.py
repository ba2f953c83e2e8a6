"""How whole programs are compiled: with options for XLA that a function inside another program cannot have."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from exodiff.kernels.decomposition import is_split
from exodiff.trajectory import is_traced

Given = ParamSpec("Given")
Found = TypeVar("Found")

_OPTIONS = {"xla_cpu_prefer_vector_width": 512}  # XLA takes 256 of itself; without effect where a CPU has no more
_ONE_BY_ONE = {"xla_cpu_multi_thread_eigen": False}


def program(*, static: tuple[str, ...], donate: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Compile a function: by itself, or as a part where it is called in another program.

    On pieces of a lattice each device does one operation after the other. With threads of its own, a device on CPU may
    begin what it exchanges in a loop and what it exchanges outside of it in another order than its neighbours: they
    then wait for one another, or take one message for another (seen with JAX 0.10.2).

    Args:
        static: names of arguments that are known when compiled.
        donate: names of arguments whose memory the result takes.

    """

    def compiled(function: Callable[Given, Found]) -> Callable[Given, Found]:
        part, whole, in_pieces = (
            jax.jit(function, static_argnames=static, donate_argnames=donate, compiler_options=options)
            for options in (None, _OPTIONS, _OPTIONS | _ONE_BY_ONE)
        )

        @wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Found:
            if any(map(is_traced, (*jax.tree.leaves((args, kwargs)), jnp.zeros(())))):
                return part(*args, **kwargs)
            return (in_pieces if is_split() else whole)(*args, **kwargs)

        return call

    return compiled
