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
from exodiff.sweep.plan import DONE, SEED, Plan, plain, read_table, write_table


def collect(plan: Plan, out: Path | None = None) -> list[Path]:
    """Join the tables of all runs that are done.

    Args:
        plan: of the sweep.
        out: ``x.csv`` or ``x.h5`` (a dataset for each column), and ``x-profiles`` where runs have profiles; None writes
            ``observables.csv`` and ``profiles.csv`` in the sweep's directory.

    Returns:
        The files: a row for each run, time and replicate (and bin), with the values of the varied keys in front.

    Raises:
        ConfigError: no run is done, or another kind of file is asked for.
        RunDirectoryError: a table is gone or cannot be read, or the result cannot be written.

    """
    done = _done(plan)
    first = plan.path / OBSERVABLES if out is None else out
    writers = {".csv": _write_csv, ".h5": _write_hdf5}
    if first.suffix not in writers:
        raise ConfigError(f"--out {out}", "give a file that ends in .csv or .h5")
    files = {OBSERVABLES: first}
    if any((plan.directory(run) / PROFILES).exists() for run in done):
        files[PROFILES] = plan.path / PROFILES if out is None else out.with_stem(f"{out.stem}-profiles")
    for table, file in files.items():
        try:
            make_folder(file.parent)
            writers[file.suffix](file, plan, done, table)
        except WRITE_ERRORS as error:
            told = f"could not be written ({error}); make room, or give another --out"
            raise RunDirectoryError(str(file), told) from error
    return list(files.values())


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
        front = [plan.name(run), *map(plain, plan.rows[run])]
        yield from ([*front, *row] for row in rows)


def _write_csv(path: Path, plan: Plan, runs: list[int], table: str) -> None:
    with replace_file(path) as temporary:
        write_table(temporary, _rows(plan, runs, table))


def _write_hdf5(path: Path, plan: Plan, runs: list[int], table: str) -> None:
    header, *rows = _rows(plan, runs, table)
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            try:
                file[name] = np.asarray(column, float)
            except ValueError:
                file[name] = np.asarray(column, h5py.string_dtype())
