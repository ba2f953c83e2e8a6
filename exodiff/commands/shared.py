"""What the commands share: arguments, consoles, overrides, the cache of compiled programs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

STOPPED = 75
INTERRUPTED = 130


class _Console(Console):
    """A console that falls silent when its reader goes away (``| head``): what the command does is not for it alone."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # or Python fails at its end


STDERR = _Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
STDOUT = _Console(highlight=False, soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 140)

Config = Annotated[Path, typer.Argument(help="Model file (TOML).", show_default=False)]
Directory = Annotated[Path, typer.Argument(help="Run directory, e.g. runs/quickstart.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help='Change a key: --set run.seed=3 --set parameters.k_on="2e-4 um^3/s". Repeatable.'),
]
Accept = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the config was changed, if the state fits it.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="leap (stochastic), exact (every event) or mean_field (no noise).")
]


def overrides(set_: list[str] | None, engine: str | None) -> tuple[str, ...]:
    """All of ``--set``, and ``--engine`` as one."""
    return (*(set_ or ()), *((f'run.engine="{engine}"',) if engine else ()))


def cache_compilations() -> None:
    """Keep compiled programs between runs, in the user's cache folder (JAX_COMPILATION_CACHE_DIR overrides)."""
    import jax  # noqa: PLC0415

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "exodiff" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
