"""Programs of a run that a later process reads in place of tracing its model again.

What XLA compiles JAX keeps in its compilation cache; what it is compiled from, which takes a second and more to trace,
is kept beside that as StableHLO (``jax.export``): arrays and operations, of which nothing is executed when they are
read. A file's name is a digest of all that tracing depends on: the problem, the shapes, exodiff's own code, versions of
what is beneath it, and JAX's settings. What cannot be read is traced anew, and what cannot be written is not kept.
"""

import hashlib
import pickle
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jax
from jax import export

from exodiff.io.atomic import write_bytes
from exodiff.io.provenance import package_versions
from exodiff.problem import Problem
from exodiff.programs import OPTIONS

_PACKAGE = Path(__file__).parents[1]
_DIGEST_BYTES = hashlib.sha256().digest_size
_programs: dict[Path, Callable[..., Any]] = {}  # of this process, so that its next run compiles nothing


def prepare(
    function: Any, problem: Problem, given: tuple[Any, ...], like: Any, *, replicates: int
) -> Callable[..., Any]:
    """A program of one device, compiled for arguments like some.

    Args:
        function: of :mod:`exodiff.runner.compiled`, whose third tree of arrays is the state, and taken by the result.
        problem: the model.
        given: trees of arrays, or of their shapes; the second is an array, on the device.
        like: a tree such as the function gives.
        replicates: independent trajectories.

    """
    # bound to a device as what is computed from them will be, or what reads it would be compiled for both
    device = given[1].sharding
    given = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), given)
    folder = kept_in()
    if folder is None:
        return function.whole.lower(problem, *given, replicates=replicates).compile()
    leaves, tree = jax.tree.flatten(given)
    found = jax.tree.structure(like)
    path = folder / _name(leaves, pickle.dumps((function.__qualname__, problem, tree, found, replicates)))
    if path not in _programs:

        def flat(*leaves: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(function(problem, *jax.tree.unflatten(tree, leaves), replicates=replicates))

        before, state = (len(jax.tree.leaves(part)) for part in (given[:2], given[2]))
        taken = tuple(range(before, before + state))
        whole = jax.jit(_read_or_trace(path, flat, leaves), donate_argnums=taken, compiler_options=OPTIONS)
        _programs[path] = whole.lower(*leaves).compile()
    compiled = _programs[path]
    return lambda *given: jax.tree.unflatten(found, compiled(*jax.tree.leaves(given)))


def kept_in() -> Path | None:
    """The folder of the files, in that of JAX's compilation cache; None without one."""
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    is_used = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    return Path(folder) / "traced" if folder and is_used and "://" not in folder else None


def _read_or_trace(path: Path, function: Callable[..., Any], leaves: list[Any]) -> Callable[..., Any]:
    """The function as it was written down before, or as it is now."""
    with suppress(OSError, ValueError):
        return _checked(path.read_bytes()).call
    try:
        traced = export.export(jax.jit(function))(*leaves)
        content = bytes(traced.serialize())
    except (NotImplementedError, ValueError):  # an operation of the device that cannot be written down
        return function
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
    return traced.call


def _checked(content: bytes) -> export.Exported:
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        raise ValueError("damaged")
    return export.deserialize(bytearray(rest))


def _name(leaves: list[Any], static: bytes) -> str:
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
    settings = sorted((name, str(value)) for name, value in jax.config.values.items())
    about = (shapes, settings, jax.default_backend(), jax.device_count(), platform.python_version(), package_versions())
    return hashlib.sha256(b"\0".join((repr(about).encode(), static, _sources()))).hexdigest()


@cache
def _sources() -> bytes:
    """A digest of exodiff's own code."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return digest.digest()
