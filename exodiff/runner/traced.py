"""Programs of a run that a later process reads in place of tracing its model again.

What XLA compiles JAX keeps in its compilation cache; what it is compiled from, which takes a second and more to trace,
is kept beside that as StableHLO (``jax.export``): arrays and operations, of which nothing is executed when they are
read. A file's name is a digest of all that tracing depends on: the problem, the shapes, exodiff's own code, versions of
what is beneath it, and JAX's settings. What cannot be read is traced anew, and what cannot be written is not kept; nor
is anything once a source has changed since this process loaded it.
"""

import hashlib
import io
import pickle
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax import export

import exodiff
from exodiff.io.atomic import remove_stale_temporaries, write_bytes
from exodiff.problem import Problem
from exodiff.programs import OPTIONS

Program = Callable[..., Any]

_PACKAGE = Path(__file__).parents[1]
_BENEATH = ("jax", "jaxlib", "numpy", "equinox")
_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_PROGRAMS = 8
_WRITTEN_S = 3600.0  # longer than any process writes a file
_programs: dict[Path, Program] = {}  # of this process, so that its next run compiles nothing


def prepare(
    function: Any, problem: Problem, given: tuple[Any, ...], like: Any, *, replicates: int
) -> Callable[[], Program]:
    """A program of one device, for arguments like some; what is returned compiles it, in any thread.

    Args:
        function: of :mod:`exodiff.runner.compiled`, whose third tree of arrays is the state, and taken by the result.
        problem: the model.
        given: trees of arrays, or of their shapes; the second is an array, on the device.
        like: a tree such as the function gives.
        replicates: independent trajectories.

    """
    # bound to a device as what is computed from them will be, or what reads it would be compiled for both
    place = given[1].sharding
    given = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), given)
    leaves, tree = jax.tree.flatten(given)
    found = jax.tree.structure(like)
    folder, sources = kept_in(), _sources()
    if folder is None or sources is None or place.device_set != set(jax.devices()[:1]):
        return function.whole.lower(problem, *given, replicates=replicates).compile
    path = folder / _name(leaves, sources, function.__qualname__, problem, tree, found, replicates)

    def call(compiled: Program) -> Program:
        return lambda *arrays: jax.tree.unflatten(found, compiled(*jax.tree.leaves(arrays)))

    held = _programs.get(path)
    if held is not None:
        return lambda: call(held)

    def flat(*leaves: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(function(problem, *jax.tree.unflatten(tree, leaves), replicates=replicates))

    before, state = (len(jax.tree.leaves(part)) for part in (given[:2], given[2]))
    taken = tuple(range(before, before + state))
    whole = jax.jit(_read_or_trace(path, flat, leaves), donate_argnums=taken, compiler_options=OPTIONS)
    lowered = whole.lower(*leaves)

    def compiled() -> Program:
        made = _programs[path] = lowered.compile()
        if len(_programs) > _MOST_PROGRAMS:
            _programs.pop(next(iter(_programs)))
        return call(made)

    return compiled


def kept_in() -> Path | None:
    """The folder of the files, in that of JAX's compilation cache; None without one."""
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    is_used = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    return Path(folder) / "traced" if folder and is_used and "://" not in folder else None


def _read_or_trace(path: Path, function: Callable[..., Any], leaves: list[Any]) -> Callable[..., Any]:
    """The function as it was written down before, or as it is now."""
    with suppress(OSError, ValueError):
        if path.is_file():  # a pipe would be waited for
            return _checked(path.read_bytes()).call
    try:
        traced = export.export(jax.jit(function))(*leaves)
        content = bytes(traced.serialize())
    except (NotImplementedError, ValueError):  # an operation of the device that cannot be written down
        return function
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
    with suppress(OSError):
        remove_stale_temporaries(path.parent, older_than_s=_WRITTEN_S)
    return traced.call


def _checked(content: bytes) -> export.Exported:
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        raise ValueError("damaged")
    return export.deserialize(bytearray(rest))


def _name(leaves: list[Any], sources: bytes, function: str, problem: Problem, *static: Any) -> str:
    compared = replace(problem, **{field.name: None for field in fields(problem) if not field.compare})
    written = io.BytesIO()
    pickler = pickle.Pickler(written)
    pickler.fast = True  # by value alone, whichever equal parts are one object
    pickler.dump((function, compared, static))
    settings = [
        (name, str(getattr(jax.config, name, None))) for name in sorted(jax.config.values) if "cache" not in name
    ]
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
    versions = [platform.python_version(), *map(metadata.version, _BENEATH)]
    about = repr((shapes, settings, versions, export.default_export_platform(), jax.device_count()))
    return hashlib.sha256(b"\0".join((about.encode(), sources, written.getvalue()))).hexdigest()


def _sources() -> bytes | None:
    """A digest of exodiff's own code; None where that is not known, or may not be what this process has loaded."""
    digest, newest_s = hashlib.sha256(), 0.0
    try:
        for path in sorted(_PACKAGE.rglob("[!.]*.py")):
            digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
            about = path.stat()  # after it was read: a change in between is newer
            newest_s = max(newest_s, about.st_mtime, about.st_ctime)
    except OSError:
        return None
    return digest.digest() if 0.0 < newest_s < exodiff.LOADED_AT_S else None
