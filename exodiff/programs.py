"""How whole programs are compiled: with options for XLA that a function inside another program cannot have."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from exodiff.trajectory import is_traced

Given = ParamSpec("Given")
Found = TypeVar("Found")

ONCE = {"xla_backend_optimization_level": 0}  # for what is called once: LLVM saves more time than it costs
OPTIONS = {
    "xla_cpu_prefer_vector_width": 512,  # XLA takes 256 of itself; without effect where a CPU has no more
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",  # else it holds more at once, for no more speed
}


def program(*, static: tuple[str, ...], donate: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Compile a function: by itself (its attribute ``whole``), or as a part where it is called in another program.

    Args:
        static: names of arguments that are known when compiled.
        donate: names of arguments whose memory the result takes.

    """

    def compiled(function: Callable[Given, Found]) -> Callable[Given, Found]:
        part, whole = (
            jax.jit(function, static_argnames=static, donate_argnames=donate, compiler_options=options)
            for options in (None, OPTIONS)
        )

        @wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Found:
            is_part = any(map(is_traced, (*jax.tree.leaves((args, kwargs)), jnp.zeros(()))))
            return (part if is_part else whole)(*args, **kwargs)

        vars(call)["whole"] = whole
        return call

    return compiled
