"""Apply `--set key.path=value` to what was read from the file, before it is checked."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from exodiff.config.fields import nearest, shown
from exodiff.core.errors import ConfigError

MAX_CHARACTERS = 10_000


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `raw` with each override set.

    Args:
        raw: the tables of the file.
        overrides: such as ``run.seed=3``, ``reactions.release.rate=2 /h`` (a list element by its name, or by its
            index from 0) or ``parameters.k_on=2e-4 um^3/s``. The value is read as TOML, else as a text.

    Raises:
        ConfigError: when a path does not exist in a list, names an unknown parameter, runs through a value, or the text
            has no ``=``.

    """
    copy = _copied(raw)
    if isinstance(overrides, str):
        raise ConfigError("overrides", f'{shown(overrides)} is a text; give a list, e.g. ["run.seed=3"]')
    for override in overrides:
        path, equals, value = override.partition("=")
        where = f"--set {path.strip()}"
        keys = [key.strip().strip("'\"") for key in path.replace("[", ".[").split(".")]
        if not equals or not all(keys) or len(override) > MAX_CHARACTERS:
            raise ConfigError(where, f"{override[:60]!r} is not KEY.PATH=VALUE; write e.g. --set run.seed=3")
        if keys[0] == "parameters" and len(keys) > 1 and keys[1] not in copy.get("parameters", {}):
            known = nearest(keys[1], copy.get("parameters", {}))
            raise ConfigError(where, f"the file has no parameter {keys[1]!r}; {known}")
        _set(copy, keys, _value(value.strip()), where)
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return read["value"] if set(read) == {"value"} else text


def _set(raw: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    node: Any = raw
    for depth, key in enumerate(keys[:-1]):
        child = _child(node, key, where)
        if child is None:
            child = node[key] = {}
        elif depth == 1 and keys[0] == "parameters" and not isinstance(child, dict):
            child = node[key] = {"value": child}
        node = child
    if isinstance(node, list):
        node[_index(node, keys[-1], where)] = value
        return
    if not isinstance(node, dict):
        raise _through_value(node, keys[-1], where)
    old = node.get(keys[-1])
    if keys[0] == "parameters" and len(keys) == 2 and isinstance(old, dict) and not isinstance(value, dict):
        # The prior, bounds and source stay: only the value was meant.
        node[keys[-1]] = {**{key: item for key, item in old.items() if key != "by_cell"}, "value": value}
    else:
        node[keys[-1]] = value


def _child(node: Any, key: str, where: str) -> Any:
    if isinstance(node, dict):
        return node.get(key)
    if isinstance(node, list):
        return node[_index(node, key, where)]
    raise _through_value(node, key, where)


def _through_value(node: Any, key: str, where: str) -> ConfigError:
    return ConfigError(where, f"{key!r} lies below the value {str(node)[:40]!r}, which is no table; shorten the path")


def _index(elements: list[Any], key: str, where: str) -> int:
    named = [item.get("name") if isinstance(item, dict) else None for item in elements]
    if key in named:
        return named.index(key)
    automatic = [None if name else f"r{position}" for position, name in enumerate(named, start=1)]
    if key in automatic and elements and isinstance(elements[0], dict) and "equation" in elements[0]:
        return automatic.index(key)
    key = key.removeprefix("[").removesuffix("]")
    if key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(elements):
        return int(key)
    names = [name for name in named if isinstance(name, str)]
    raise ConfigError(where, f"no element {key!r}; {nearest(key, names)}, or an index from 0 to {len(elements) - 1}")
