"""All figures of a run, from its records."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from exodiff.core.errors import RunDirectoryError
from exodiff.io.atomic import make_folder, replace_file
from exodiff.io.records import OBSERVABLES, PROFILES, read_table
from exodiff.io.results import SnapshotReader
from exodiff.viz.maps import draw_cells, draw_fields
from exodiff.viz.profiles import draw_profiles
from exodiff.viz.series import draw_series
from exodiff.viz.style import styled

FOLDER = "figures"
DPI = 200


def make_figures(run_dir: Path) -> list[Path]:
    """Draw ``observables``, ``profiles``, ``cells`` and ``fields`` into ``figures/``, as far as there are records.

    Raises:
        RunDirectoryError: the folder holds no records.

    """
    if not (run_dir / OBSERVABLES).exists():
        raise RunDirectoryError(str(run_dir), "holds no records to draw; run a model first: `exodiff run CONFIG`")
    settings = _settings(run_dir)
    paths = []
    with styled():
        for name, figure in _figures(run_dir, settings):
            if figure is not None:
                paths.append(_save(figure, run_dir / FOLDER / f"{name}.png"))
    return paths


def _figures(run_dir: Path, settings: dict[str, Any]) -> Iterator[tuple[str, Figure | None]]:
    title = settings.get("title", "")
    yield "observables", draw_series(read_table(run_dir / OBSERVABLES), title)
    if (run_dir / PROFILES).exists():
        observables = settings.get("observables", {})
        histograms = {name for name, table in observables.items() if "histogram" in table}
        units = {name: _unit(table) for name, table in observables.items()}
        yield "profiles", draw_profiles(read_table(run_dir / PROFILES), histograms, units, title)
    reader = SnapshotReader(run_dir)
    if len(reader):
        last = reader.read(-1)
        yield "cells", draw_cells([reader.read(0), last] if len(reader) > 1 else [last], title)
        yield "fields", draw_fields(last, title)


def _unit(table: dict[str, Any]) -> str:
    """What the values of a profile or histogram are."""
    of = str((table.get("profile") or table.get("histogram") or {}).get("of", ""))
    return f"{of} (1/um$^3$)" if of.startswith("conc(") else of


def _settings(run_dir: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((run_dir / "resolved.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _save(figure: Figure, path: Path) -> Path:
    make_folder(path.parent)
    with replace_file(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="png", dpi=DPI)
    return path
