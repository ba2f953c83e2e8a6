"""The observables of several runs over one another."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.io.records import OBSERVABLES
from exodiff.viz.figures import FOLDER, check_formats, pages, read_rows, save_figure
from exodiff.viz.labels import read_labels
from exodiff.viz.series import Table, comparison_figures
from exodiff.viz.style import PALETTE, RC


def compare_runs(runs: Mapping[str, Sequence[Path]], folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draws the observables of several runs over one another, a colour for each name.

    Args:
        runs: by name the directories of one or more runs; of several under one name, all replicates are taken together.
        folder: ``figures/comparison.png`` is written in it, with ``_2``, ``_3`` ... for further pages.
        formats: of the files, out of `exodiff.viz.figures.FORMATS`.

    Returns:
        The files that were written.

    Raises:
        ConfigError: a run has no observables, there are more runs than colours, or a format is not known.
        RunDirectoryError: a record is damaged, or a figure cannot be written.

    """
    check_formats(formats)
    if len(runs) > len(PALETTE):
        raise ConfigError(str(folder), f"{len(runs)} runs to compare are more than {len(PALETTE)} colours; choose some")
    tables = {name: joined(directories) for name, directories in runs.items()}
    labels = read_labels(next(iter(runs.values()))[0])
    written: list[Path] = []
    with mpl.rc_context(RC):
        for stem, figure in pages("comparison", comparison_figures(tables, labels)):
            written += save_figure(figure, folder / FOLDER, stem, formats)
    return written


def named(run_dirs: Sequence[Path]) -> dict[str, list[Path]]:
    """Each run by its path, without what all paths begin with."""
    paths = [path.resolve() for path in run_dirs]
    begin = len(Path(os.path.commonpath([path.parent for path in paths])).parts)
    runs = {"/".join(path.parts[begin:]): [given] for given, path in zip(run_dirs, paths, strict=True)}
    if len(runs) < len(paths):
        raise ConfigError(" ".join(map(str, run_dirs)), "a run is named twice; name different runs")
    return runs


def joined(run_dirs: Sequence[Path]) -> Table:
    """The observables of all, with replicates numbered on; what not all have is left out."""
    tables = []
    for run_dir in run_dirs:
        table = read_rows(run_dir / OBSERVABLES)
        if not table:
            raise ConfigError(
                str(run_dir), f"there are no rows in its {OBSERVABLES} to compare; is it a run directory?"
            )
        first = tables[-1]["replicate"].max() + 1 if tables else 0
        tables.append({**table, "replicate": table["replicate"] + first})
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in shared}
