"""All figures of a run, from its records alone."""

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.atomic import make_folder, refuse_links, replace_file
from exodiff.io.records import OBSERVABLES, PROFILES, read_table
from exodiff.io.results import SnapshotReader
from exodiff.viz.cells import cells_figure
from exodiff.viz.fields import fields_figures
from exodiff.viz.labels import Labels, read_labels
from exodiff.viz.planes import CELLS, choose_plane, read_field
from exodiff.viz.profiles import profile_figures
from exodiff.viz.series import series_figures
from exodiff.viz.style import DPI, RC

FOLDER = "figures"
FORMATS = ("png", "pdf", "svg")
_OURS = re.compile(r"(observables|profiles|cells|fields)(_\d+)?")


def make_figures(run_dir: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draws all that a run directory holds into its ``figures/``, and removes our figures of what it no longer holds.

    These are ``observables`` and ``profiles`` over time, ``cells`` at the first and last snapshot, and ``fields`` at
    the last; each only if there are records of it, with ``_2``, ``_3`` ... for further pages. Maps are of replicate 0.

    Args:
        run_dir: of a run that has ended, was stopped, or is running.
        formats: of the files, out of `FORMATS`.

    Returns:
        The files that were written.

    Raises:
        ConfigError: there are no records, or a format is not one of these.
        RunDirectoryError: a record is damaged, or a figure cannot be written.

    """
    check_formats(formats)
    table, profiles = read_rows(run_dir / OBSERVABLES), read_rows(run_dir / PROFILES)
    reader = SnapshotReader(run_dir)
    if not table and not profiles and not len(reader):
        raise ConfigError(str(run_dir), _nothing(reader))
    folder = run_dir / FOLDER
    written: list[Path] = []
    last_s = max(float(rows["time_s"].max()) for rows in (table, profiles) if rows) if table or profiles else np.inf
    with mpl.rc_context(RC):
        for stem, figure in _figures(table, profiles, reader, read_labels(run_dir).until(last_s)):
            written += save_figure(figure, folder, stem, formats)
    _remove_old(folder, written, formats)
    return written


def check_formats(formats: Sequence[str]) -> None:
    """Raises ConfigError unless all are of `FORMATS`."""
    if not formats or not set(formats) <= set(FORMATS):
        raise ConfigError(
            "--format", f"{' '.join(formats) or 'none'}: figures can be {', '.join(FORMATS)}; choose of these"
        )


def _figures(
    table: dict[str, np.ndarray], profiles: dict[str, np.ndarray], reader: SnapshotReader, labels: Labels
) -> Iterator[tuple[str, Figure]]:
    if table:
        yield from pages("observables", series_figures(table, labels))
    if profiles:
        yield from pages("profiles", profile_figures(profiles, labels))
    if not len(reader):
        return
    cells = read_field(reader, -1, CELLS)
    plane = choose_plane(reader.grid, None if cells is None else cells.values, labels.lattices)
    if plane is None:
        return
    map_of_cells = cells_figure(reader, plane, labels)
    if map_of_cells is not None:
        yield "cells", map_of_cells
    yield from pages("fields", fields_figures(reader, plane, labels))


def pages(stem: str, figures: Iterator[Figure]) -> Iterator[tuple[str, Figure]]:
    """Figures with the stems of their files, numbered from the second."""
    for number, figure in enumerate(figures, start=1):
        yield stem if number == 1 else f"{stem}_{number}", figure


def read_rows(path: Path) -> dict[str, np.ndarray]:
    """A table of records; empty when there is no file or no row."""
    if not path.exists():
        return {}
    table = read_table(path)
    return table if len(table["time_s"]) else {}


def _nothing(reader: SnapshotReader) -> str:
    damaged = f"; {reader.problems[0]}" if reader.problems else ""
    return f"holds nothing to draw: no rows in {OBSERVABLES}, no snapshots{damaged}; run `exodiff run CONFIG` first"


def _remove_old(folder: Path, written: Sequence[Path], formats: Sequence[str]) -> None:
    """Figures of an earlier call that this one has not written, e.g. of pages that are no longer needed."""
    kinds = {f".{each}" for each in formats}
    for path in folder.glob("*.*"):
        if path.suffix in kinds and _OURS.fullmatch(path.stem) and path not in written:
            path.unlink(missing_ok=True)


def save_figure(figure: Figure, folder: Path, stem: str, formats: Sequence[str]) -> list[Path]:
    """Writes ``<stem>.<format>`` for each format, atomically.

    Raises:
        RunDirectoryError: it could not be written.

    """
    refuse_links([folder])
    paths = [folder / f"{stem}.{each}" for each in formats]
    for path, kind in zip(paths, formats, strict=True):
        # Without a date the same run gives the same bytes.
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
        try:
            make_folder(folder)
            with replace_file(path) as temporary, warnings.catch_warnings():
                # A title may hold letters that the font lacks; a box in their place is no reason to fail.
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
        except OSError as error:
            problem = f"could not be written ({error.strerror}); make room or fix the permissions, then `exodiff plot`"
            raise RunDirectoryError(str(path), f"{problem} {folder.parent}") from error
    return paths
