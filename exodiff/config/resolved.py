"""Write a config with every default and unit spelled out; hash it; say where two differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError


def dump(config: RunConfig) -> str:
    """Write a config as TOML that loads to an equal config.

    Quantities stand in um, s and molecules, file names are absolute.
    """
    return tomli_w.dumps(_resolved(config))


def config_hash(config: RunConfig) -> str:
    """Hash what sets the bits of a run, as hexadecimal text of 32 digits.

    Left out: the title, `run.checkpoint_every`, `fit`, and all observables, which only read the state; so a run may be
    resumed after they change. Parameters count without prior, bounds, evidence and source. Files count by their
    content, so a moved folder keeps its hash and an edited file changes it.
    """
    resolved = _resolved(config)
    for key in ("title", "observables", "fit"):
        resolved.pop(key, None)
    resolved["run"].pop("checkpoint_every", None)
    for key in ("cargo", "tags", "exosomes", "compartments", "vessels"):
        if not resolved[key]:  # as in files from before there were any
            del resolved[key]
    if resolved["lattice"].get("represents") == 1:
        del resolved["lattice"]["represents"]
    for parameter in resolved["parameters"].values():
        for key in ("prior", "bounds", "evidence", "source"):
            parameter.pop(key, None)
    # The order of species, cells, reactions and places numbers them, and so sets the bits; that of these does not.
    for key in ("parameters", "regions"):
        resolved[key] = dict(sorted(resolved[key].items()))
    canonical = json.dumps(_with_contents(resolved), separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def file_hashes(config: RunConfig) -> dict[str, str]:
    """Hash the content of each file that sets the bits of a run, by its absolute name."""
    resolved = _resolved(config)
    resolved.pop("fit", None)
    return {name: _digest(Path(name)) for name in _named_files(resolved)}


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """List the key paths whose resolved values differ, e.g. ``reactions.release.rate``."""
    return _differing(_resolved(old), _resolved(new), "")


def _resolved(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="python", by_alias=True, exclude_none=True)


_FILE_KEYS = ("file", "csv", "labels")


def _with_contents(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_contents(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_contents(item) for item in value]
    return _digest(Path(value)) if _is_file(value, key) else value


def _named_files(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _named_files(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named_files(item)
    elif _is_file(value, key):
        yield value


def _is_file(value: Any, key: str) -> bool:
    return key in _FILE_KEYS and isinstance(value, str) and Path(value).is_absolute()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror}); put the file back") from None


def _differing(old: Any, new: Any, path: str) -> list[str]:
    old, new = _by_name(old), _by_name(new)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [path]
    reordered = path in ("species", "cells", "reactions", "place") and set(old) == set(new) and list(old) != list(new)
    found = [f"the order of {path}"] if reordered else []
    for key in [*old, *(key for key in new if key not in old)]:
        inner = key if not path or key.startswith("[") else f".{key}"
        if key not in old or key not in new:
            found.append(path + inner)
        else:
            found += _differing(old[key], new[key], path + inner)
    return found


def _by_name(value: Any) -> Any:
    """Lists of tables as tables: by the elements' names if they have any, else by index."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        return {str(item.get("name", f"[{index}]")): item for index, item in enumerate(value)}
    return value
