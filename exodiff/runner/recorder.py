"""What a run writes at its scheduled times."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from exodiff.core.errors import RunDirectoryError
from exodiff.io import records, results, snapshots
from exodiff.io.pieces import Block
from exodiff.io.records import OBSERVABLE_KEYS, OBSERVABLES, PROFILE_COLUMNS, PROFILES, RecordWriter, profile_rows
from exodiff.io.snapshots import FieldArray, index_of, list_snapshots, write_snapshot
from exodiff.observe import Measured, scalars
from exodiff.problem import Binned, Problem
from exodiff.runner.pieces import blocks_of, write_together
from exodiff.state import State

CELLS = "cells"


class Recorded(NamedTuple):
    """How much was recorded up to a checkpoint: the sizes of the tables by name, and the number of snapshots."""

    table_bytes: dict[str, int]
    snapshots: int


class Recorder:
    """The tables and snapshots of one run directory; rows are durable after ``flush``.

    Attributes:
        next_snapshot: the index of the next one.

    """

    def __init__(
        self,
        run_dir: Path,
        problem: Problem,
        parameters: dict[str, float],
        replicates: int,
        recorded: Recorded | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.problem = problem
        self.parameters = parameters
        self.replicates = replicates
        self._edges = _edges(problem)
        self._tables = {name: RecordWriter(run_dir / name, columns) for name, columns in _columns(problem).items()}
        self._master = results.Master(run_dir)
        there = max(map(index_of, list_snapshots(run_dir)), default=-1) + 1
        self.next_snapshot = there if recorded is None else recorded.snapshots

    def observe(self, time_s: float, measured: Measured) -> None:
        """Append a row for each replicate; the arithmetic is in float64 on exact totals."""
        values = scalars(self.problem, measured, self.parameters, time_s, np)
        columns = [np.broadcast_to(np.asarray(value, np.float64), (self.replicates,)) for value in values.values()]
        for replicate in range(self.replicates):
            self._tables[OBSERVABLES].append((time_s, replicate, *(float(column[replicate]) for column in columns)))
        for name, edges in self._edges.items():
            for replicate, row in enumerate(np.asarray(measured.arrays[name])):
                self._tables[PROFILES].append_rows(profile_rows(time_s, replicate, name, list(edges), list(row)))

    def snapshot(self, time_s: float, counts: np.ndarray, concentrations: np.ndarray | None) -> None:
        """Write the fields and cells of all replicates, and the master that joins the snapshots."""
        fields = fields_of(self.problem, counts, concentrations, one=self.replicates == 1)
        self._add(write_snapshot(self.run_dir, self.next_snapshot, time_s, fields, self.problem.grid))

    def join_snapshot(self, time_s: float, pieces: Sequence[Path]) -> None:
        """Make a snapshot of what `write_pieces` has written, and add it to the master."""
        self._add(snapshots.join_snapshot(self.run_dir, self.next_snapshot, time_s, self.problem.grid, pieces))

    def _add(self, path: Path) -> None:
        self._master.add(path)
        self.next_snapshot += 1

    def left_out(self) -> list[str]:
        """One line for each snapshot that cannot be used; the master then shows the others alone."""
        if self._master.problems:
            self._master.write()
        return [f"{self.run_dir}/{line}; figures and {results.MASTER} leave it out" for line in self._master.problems]

    def flush(self) -> Recorded:
        """Wait until all rows are on the disk."""
        for table in self._tables.values():
            table.flush()
        return Recorded({name: table.num_bytes for name, table in self._tables.items()}, self.next_snapshot)

    def close(self) -> None:
        """Flush and close the tables."""
        for table in self._tables.values():
            table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _edges(problem: Problem) -> dict[str, tuple[float, ...]]:
    """The observables that are an array of bins, and the edges of these."""
    return {o.name: o.quantity.edges for o in problem.observables if isinstance(o.quantity, Binned)}


def _columns(problem: Problem) -> dict[str, tuple[str, ...]]:
    """The tables of a run and their columns."""
    binned = _edges(problem)
    tables = {OBSERVABLES: (*OBSERVABLE_KEYS, *(o.name for o in problem.observables if o.name not in binned))}
    return tables | ({PROFILES: PROFILE_COLUMNS} if binned else {})


def fields_of(
    problem: Problem, counts: np.ndarray, concentrations: np.ndarray | None, *, one: bool
) -> dict[str, FieldArray]:
    """The arrays of a snapshot from counts (replicates, species, x, y, z) and concentrations, in their own units.

    Without the axis of replicates, if there is ``one``.
    """
    network = problem.network

    def field(values: np.ndarray, unit: str, legend: dict[int, str] | None = None) -> FieldArray:
        return FieldArray(values[0] if one else values, unit, legend=legend)

    fields = {
        name: field(counts[:, place], "molecules") for place, name in enumerate(network.species[: network.first_type])
    }
    if concentrations is not None:
        for place, species in enumerate(network.fields):
            fields[species.name] = field(concentrations[:, place] / species.unit_value, species.unit)
    occupancies = counts[:, network.first_type :]
    if problem.engine == "mean_field":
        return fields | {name: field(occupancies[:, i], "1") for i, name in enumerate(network.cell_types)}
    if network.cell_types:
        index = np.full(occupancies[:, 0].shape, -1, np.int16)
        for place in range(len(network.cell_types)):
            index[occupancies[:, place] > 0] = place
        fields[CELLS] = field(index, "1", {-1: "empty", **dict(enumerate(network.cell_types))})
    return fields


def write_pieces(run_dir: Path, problem: Problem, index: int, state: State) -> list[Path]:
    """Write what lies on the devices of this process of the fields of a snapshot; all processes do so together."""
    concentrations: dict[tuple[int, ...], np.ndarray] = {}
    if state.concentrations is not None:
        blocks = blocks_of("concentrations", state.concentrations)
        concentrations = {(block.start[0], *block.start[2:]): block.values for block in blocks}
    found: list[Block] = []
    about: dict[str, Any] = {}
    for block in blocks_of("counts", state.counts):
        replicate, _, x, y, z = block.start
        with_it = concentrations[replicate, x, y, z] if concentrations else None
        fields = fields_of(problem, block.values, with_it, one=state.counts.shape[0] == 1)
        of_block, told = snapshots.blocks_of_fields(fields, (replicate, x, y, z), block.values.shape[-3:])
        found += of_block
        about |= told
    return write_together(run_dir / snapshots.FOLDER, snapshots.stem_of(index), found, about, snapshots.storage)


def refuse_records(run_dir: Path) -> None:
    """A run that has no checkpoint begins anew, but not over what another one recorded.

    Raises:
        RunDirectoryError: there are records of times after the start, which is the first that has a checkpoint.

    """
    if records.has_rows_after(run_dir / OBSERVABLES, 0.0):
        advice = "restore its checkpoints, or run anew with overwrite=True"
        raise RunDirectoryError(str(run_dir), f"holds records, but no checkpoint to go on from; {advice}")


def discard_after(run_dir: Path, problem: Problem, time_s: float, recorded: Recorded | None = None) -> None:
    """Take back what was recorded after a time, so that a resumed run writes each record once.

    Args:
        run_dir: the run directory.
        problem: of the run.
        time_s: of the checkpoint that it goes on from, or before the start.
        recorded: what that says; checkpoints of earlier versions say nothing.

    """
    for table, columns in _columns(problem).items():
        records.truncate_after(run_dir / table, columns, time_s)
    if recorded is None:
        results.discard_after(run_dir, time_s=time_s)
    else:
        results.discard_after(run_dir, index=recorded.snapshots - 1)


def changed_tables(run_dir: Path, problem: Problem, recorded: Recorded) -> Iterator[str]:
    """One line for each table that is not as it was at a checkpoint; later rows are taken back already."""
    for name in _columns(problem):
        path, wanted = run_dir / name, recorded.table_bytes.get(name, 0)
        found = path.stat().st_size if path.exists() else 0
        if found != wanted:
            yield (
                f"{path}: rows are missing or were changed ({found} bytes up to the checkpoint, {wanted} were written)"
            )


def missing_snapshots(run_dir: Path, recorded: Recorded) -> Iterator[str]:
    """One line if there are fewer than at a checkpoint; later ones are taken back already."""
    there = set(map(index_of, list_snapshots(run_dir)))
    missing = recorded.snapshots - len(there)
    if missing > 0:
        first = next(index for index in count() if index not in there)
        yield (
            f"{run_dir / snapshots.FOLDER}: {missing} of {recorded.snapshots} snapshots are missing, the first is "
            f"{snapshots.stem_of(first)}; figures and {results.MASTER} leave them out until they are put back"
        )
