"""Write what pydantic found as lines that name the file, the key path, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from exodiff.core.errors import ConfigError

MAX_LINES = 20


def key_path(location: Sequence[str | int], raw: Any) -> str:
    """Write a place in the file: list elements by their name if they have one, else by index.

    Stops at the first value that is neither a table nor a list: what lies below was added in reading.
    """
    path, node = "", raw
    for part in location:
        if not isinstance(node, dict | list | tuple):
            break
        if isinstance(part, int):
            node = node[part] if isinstance(node, list | tuple) and part < len(node) else None
            name = node.get("name") if isinstance(node, dict) else None
            path += f".{name}" if isinstance(name, str) and name else f"[{part}]"
        else:
            node = node.get(part) if isinstance(node, dict) else None
            path += f".{part}" if path else part
    return path


def from_pydantic(error: ValidationError, raw: Any, file: str) -> ConfigError:
    """Turn all errors of one reading into a ConfigError: the first in its place, the others as further lines."""
    items = [(key_path(item["loc"], raw), item["msg"]) for item in error.errors(include_url=False)]
    # "not yet supported" explains what follows from it, such as names that the refused block would have defined.
    items.sort(key=lambda item: "not yet supported" not in item[1])
    return combined([ConfigError(where, message) for where, message in items], file)


def combined(errors: Sequence[ConfigError], file: str) -> ConfigError:
    """Make one error of many, one line each, every line with the file's name."""
    first, others = errors[0], errors[1:MAX_LINES]
    lines = [first.problem, *(f"{_in_file(file, other.where)}: {other.problem}" for other in others)]
    if len(errors) > MAX_LINES:
        lines.append(f"... and {len(errors) - MAX_LINES} more")
    return ConfigError(_in_file(file, first.where), "\n".join(lines))


def _in_file(file: str, where: str) -> str:
    return ": ".join(part for part in (file, where) if part)
