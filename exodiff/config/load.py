"""Read a model file: TOML text, overrides, schema, cross checks; a frozen `RunConfig` or one clear error."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exodiff.config.checks import check
from exodiff.config.messages import combined, from_pydantic
from exodiff.config.overrides import apply_overrides
from exodiff.config.resolved import config_hash, differences, dump
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError

__all__ = ["config_hash", "differences", "dump", "from_mapping", "load", "read_toml"]

MAX_BYTES = 10_000_000
MAX_DOTS = 20  # in one key: the time that tomllib takes goes by their square
# What may hold dots besides keys: texts and comments. Nothing is read twice as long as it is, so no file takes long.
_BARE, _TEXT, _LITERAL = r"[A-Za-z0-9_-]++", r'"(?:[^"\\\n]|\\.)*+"?', r"'[^'\n]*+'?"
_TEXTS = r'''"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)|'{3}(?:[^']|'(?!''))*+(?:'{3}|\Z)'''
_DEEP_KEY = rf"(?P<deep>(?:(?:{_BARE}|{_TEXT}|{_LITERAL})[ \t]*+\.[ \t]*+){{{MAX_DOTS + 1}}})"
_TOKEN = re.compile(rf"{_TEXTS}|{_DEEP_KEY}|{_TEXT}|{_LITERAL}|{_BARE}|#[^\n]*+", re.DOTALL)


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a model file.

    Args:
        path: a TOML file; relative file names inside it are looked up beside it.
        overrides: ``key.path=value`` texts, as of ``--set``.

    Raises:
        ConfigError: with the file, the key path, what was given, what is allowed.

    """
    path = Path(path)
    return from_mapping(read_toml(path), path.parent, overrides, file=path.name)


def from_mapping(
    raw: Mapping[str, Any], folder: str | Path = ".", overrides: Sequence[str] = (), *, file: str = ""
) -> RunConfig:
    """Make a config from the same keys as the file's.

    Args:
        raw: nested dicts, lists, numbers and texts.
        folder: where relative file names are looked up.
        overrides: ``key.path=value`` texts.
        file: the name that errors start with.

    """
    if not isinstance(raw, Mapping):
        raise ConfigError(file, f"a table of keys is needed, not {type(raw).__name__}; see docs/model.md")
    tables: dict[str, Any] = {}
    try:
        tables = apply_overrides(dict(raw), overrides)
        config = RunConfig.model_validate(tables, context={"folder": Path(folder)})
    except ValidationError as error:
        raise from_pydantic(error, tables, file) from None
    except RecursionError:
        raise ConfigError(file, "the tables are nested too deeply; see docs/model.md for the allowed keys") from None
    errors = check(config)
    if errors:
        raise combined(errors, file)
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file: an ordinary one of at most 10 MB."""
    where = str(path)
    if "\0" in where:
        raise ConfigError(repr(where), "is not a file name; give the path of a model file")
    if path.is_dir():
        raise ConfigError(where, "is a folder; give the model file in it, e.g. configs/quickstart.toml")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end, a device never does
            raise ConfigError(where, "is no ordinary file; save the model as a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(where, "there is no such file; check the path") from None
    except OSError as error:
        raise ConfigError(where, f"cannot be read ({error.strerror}); check the path and its permissions") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(
            where, f"is larger than {MAX_BYTES // 1_000_000} MB; move tables of numbers to files of their own"
        )
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
        _refuse_deep_keys(text, where)
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{where}:{line}", "is not a UTF-8 text; save the model file as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        problem = str(error) or "nested too deeply"
        raise ConfigError(where, f"is not valid TOML: {problem}; correct the file there") from None


def _refuse_deep_keys(text: str, where: str) -> None:
    for token in _TOKEN.finditer(text):
        if token["deep"]:
            line = text[: token.start()].count("\n") + 1
            problem = f"a key has more than {MAX_DOTS} dots; see docs/model.md for the allowed keys"
            raise ConfigError(f"{where}:{line}", problem)
