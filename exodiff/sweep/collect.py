"""One tidy table of what the runs of a sweep observed."""

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.atomic import make_folder, replace_file
from exodiff.io.hdf5 import WRITE_ERRORS
from exodiff.io.records import OBSERVABLES, PROFILES
from exodiff.sweep.plan import DONE, SEED, Plan, csv_cell, read_table


def collect(plan: Plan, out: Path | None = None) -> list[Path]:
    """Join the tables of all runs that are done.

    Args:
        plan: of the sweep.
        out: ``.csv`` or ``.h5`` (a dataset for each column); None writes ``observables.csv`` in the sweep's directory,
            and ``profiles.csv`` where runs have one.

    Returns:
        The files: a row for each run, time and replicate (and bin), with the values of the varied keys in front.

    Raises:
        ConfigError: no run is done, or another kind of file is asked for.
        RunDirectoryError: a table is gone or cannot be read, or the result cannot be written.

    """
    done = _done(plan)
    if out is not None:
        writers = {".csv": _write_csv, ".h5": _write_hdf5}
        if out.suffix not in writers:
            raise ConfigError(f"--out {out}", "give a file that ends in .csv or .h5")
        try:
            make_folder(out.parent)
            writers[out.suffix](out, plan, done, OBSERVABLES)
        except WRITE_ERRORS as error:
            raise RunDirectoryError(str(out), f"could not be written ({error}); make room, or another --out") from error
        return [out]
    files = []
    for table in (OBSERVABLES, PROFILES):
        if table == OBSERVABLES or any((plan.directory(run) / table).exists() for run in done):
            _write_csv(plan.path / table, plan, done, table)
            files.append(plan.path / table)
    return files


def done_by_values(plan: Plan) -> dict[str, list[Path]]:
    """Directories of the runs that are done by their values, such as ``k_on = 1e-4 um^3/s``; seeds come together.

    Raises:
        ConfigError: no run is done.

    """
    groups: dict[str, list[Path]] = {}
    for run in _done(plan):
        varied = dict(zip(plan.keys, plan.rows[run], strict=True))
        seed = varied.pop(SEED, "")
        values = ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in varied.items())
        groups.setdefault(values or f"seed {seed}", []).append(plan.directory(run))
    return groups


def _done(plan: Plan) -> list[int]:
    done = [run for run in range(len(plan.rows)) if plan.outcome(run).state == DONE]
    if not done:
        raise ConfigError(str(plan.path), "no run of this sweep is done; run it with `exodiff sweep DIR`")
    return done


def _rows(plan: Plan, runs: list[int], table: str) -> Iterator[list[str]]:
    """The header, then all rows."""
    columns: list[str] | None = None
    for run in runs:
        file = plan.directory(run) / table
        try:
            header, rows = read_table(file)
        except (OSError, ValueError, csv.Error) as error:
            advice = f"restore it, or remove {file.parent} and run the sweep again"
            raise RunDirectoryError(str(file), f"cannot be read ({error}); {advice}") from error
        if columns is None:
            columns = header
            yield ["run", *plan.keys, *header]
        elif header != columns:
            raise ConfigError(str(file), "has other columns than the first run; observables must be those of one model")
        varied = [csv_cell(value) for value in plan.rows[run]]
        yield from ([plan.name(run), *varied, *row] for row in rows)


def _write_csv(path: Path, plan: Plan, runs: list[int], table: str) -> None:
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(",".join(row) + "\n" for row in _rows(plan, runs, table))


def _write_hdf5(path: Path, plan: Plan, runs: list[int], table: str) -> None:
    header, *rows = _rows(plan, runs, table)
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            try:
                file[name] = np.asarray(column, float)
            except ValueError:
                file[name] = np.asarray(column, h5py.string_dtype())
