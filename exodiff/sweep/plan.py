"""The plan of a sweep on disk: its model file, the table of runs, and how far each run is."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exodiff.config import load as config_load
from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.atomic import make_folder, read_json, write_json, write_text
from exodiff.io.sealed import unread
from exodiff.sweep.design import Variation, design_rows

PLAN, TABLE, STATUS = "sweep.json", "sweep.csv", "status"
SEED = "run.seed"
WAITING, BEGUN, DONE, FAILED, STOPPED = "waiting", "begun", "done", "failed", "stopped"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its state, the exit code of ``exodiff run``, the message, and the wall-clock time."""

    state: str
    exit_code: int = 0
    message: str = ""
    wall_s: float = 0.0


def _outcome(kept: Mapping[str, Any]) -> Outcome:
    """What was kept; a later version may have kept more."""
    if kept["state"] not in (DONE, FAILED, STOPPED):
        raise ValueError(f"{kept['state']!r} is no state")
    return Outcome(kept["state"], int(kept["exit_code"]), str(kept["message"]), float(kept["wall_s"]))


@dataclass(frozen=True)
class Plan:
    """A sweep in its directory.

    Attributes:
        path: the directory.
        config: the model file.
        digest: SHA-256 of the model file when the sweep was planned.
        keys: the varied keys.
        rows: for each run, the values of the keys as texts for ``--set``.

    """

    path: Path
    config: Path
    digest: str
    keys: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def name(self, run: int) -> str:
        """Name of a run's directory: its number, with zeros in front."""
        return f"{run:0{len(str(len(self.rows) - 1))}d}"

    def directory(self, run: int) -> Path:
        """The directory of a run."""
        return self.path / self.name(run)

    def overrides(self, run: int) -> tuple[str, ...]:
        """What ``--set`` would say for a run."""
        return tuple(f"{key}={value}" for key, value in zip(self.keys, self.rows[run], strict=True))

    def outcome(self, run: int) -> Outcome:
        """How far a run is."""
        is_there = self.directory(run).exists()
        try:
            kept = _outcome(read_json(self.path / STATUS / f"{self.name(run)}.json"))
        except FileNotFoundError:
            kept = None
        except OSError as error:
            raise unread(self.path / STATUS, error) from error
        except (
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
        ):  # damaged: the run is tried again, and goes on where it is
            kept = None
        if kept is None or (kept.state == DONE and not is_there):
            return Outcome(BEGUN if is_there else WAITING)
        return kept

    def note(self, run: int, outcome: Outcome) -> None:
        """Keep the outcome of a run."""
        make_folder(self.path / STATUS)
        write_json(self.path / STATUS / f"{self.name(run)}.json", asdict(outcome))

    def unfinished(self) -> tuple[int, ...]:
        """Runs that are not done: waiting, killed, stopped or failed."""
        return tuple(run for run in range(len(self.rows)) if self.outcome(run).state != DONE)

    def counts(self) -> dict[str, int]:
        """Number of runs by state."""
        states = [self.outcome(run).state for run in range(len(self.rows))]
        return {state: states.count(state) for state in (DONE, STOPPED, FAILED, BEGUN, WAITING) if state in states}

    def refuse_changed_config(self) -> None:
        """Refuse to go on with another model file than the one that was planned with."""
        if not self.config.is_file():
            raise ConfigError(str(self.path), f"its model file {self.config} is gone; put it back")
        if digest_of(self.config) != self.digest:
            raise ConfigError(
                str(self.path),
                f"{self.config} has changed since the sweep was planned; restore it, or use another --out",
            )


def digest_of(config: Path) -> str:
    """SHA-256 of a model file."""
    return hashlib.sha256(config.read_bytes()).hexdigest()


def make_plan(
    config: Path, out: Path, variations: Sequence[Variation], design: str, points: int | None, seeds: int
) -> Plan:
    """Plan a sweep, or find the same one in the directory.

    Args:
        config: the model file.
        out: directory of the sweep.
        variations: keys and their values.
        design: ``grid``, ``latin`` or ``sobol``.
        points: runs of a ``latin`` or ``sobol`` design.
        seeds: how often each point is run, with ``run.seed`` rising from the file's.

    Raises:
        ConfigError: a key or value that the model file does not take, or a directory that holds something else.

    """
    settings = config_load.load(config)
    first_seed = settings.run.seed
    if seeds < 1 or first_seed + seeds > 2**32:
        raise ConfigError("--seeds", f"{seeds} is not possible; give 1 or more, with run.seed below 2^32")
    if seeds > 1 and any(variation.key == SEED for variation in variations):
        raise ConfigError("--seeds", "run.seed is varied already; give one of the two")
    rows = design_rows(variations, design, points, first_seed)
    keys = tuple(variation.key for variation in variations)
    if seeds > 1:
        keys = (*keys, SEED)
        rows = [(*row, str(first_seed + i)) for row in rows for i in range(seeds)]
    plan = Plan(out, config, digest_of(config), keys, tuple(rows))
    _check_extremes(plan)
    if (out / PLAN).exists():
        if (found := read_plan(out)) != plan:
            raise ConfigError(
                f"--out {out}", "holds another sweep; go on with `exodiff sweep DIR`, or choose another --out"
            )
        return found
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}", "is not empty and holds no sweep; choose another --out")
    make_folder(out)
    _write_table(plan)
    # the plan is last: with it the directory is a sweep
    write_json(out / PLAN, {"config": str(config), "digest": plan.digest, "keys": keys, "rows": rows})
    return plan


def _check_extremes(plan: Plan) -> None:
    """Read the model file with the first, and each smallest and largest value, so that a wrong key shows early."""
    wanted = {0}
    for column in range(len(plan.keys)):
        values = [row[column] for row in plan.rows]
        wanted |= {values.index(min(values)), values.index(max(values))}
    for run in sorted(wanted):
        config_load.load(plan.config, plan.overrides(run))


def _write_table(plan: Plan) -> None:
    lines = [",".join(("run", *plan.keys))]
    lines += [",".join((plan.name(run), *map(csv_cell, row))) for run, row in enumerate(plan.rows)]
    write_text(plan.path / TABLE, "\n".join(lines) + "\n")


def csv_cell(text: str) -> str:
    """A value as a cell of a table: without the quotes of TOML."""
    plain = text.strip("\"'")
    return f'"{plain}"' if "," in plain else plain


def read_plan(path: Path) -> Plan:
    """The plan of a sweep's directory.

    Raises:
        ConfigError: when it holds none.
        RunDirectoryError: when its plan cannot be read.

    """
    file = path / PLAN
    if not file.exists():
        raise ConfigError(
            str(path), f"holds no sweep ({PLAN} is missing); plan one with `exodiff sweep CONFIG --vary ...`"
        )
    try:
        found = read_json(file)
        keys, rows = tuple(map(str, found["keys"])), tuple(tuple(map(str, row)) for row in found["rows"])
        if any(len(row) != len(keys) for row in rows):
            raise ValueError("a row has not a value for each key")
        return Plan(path, Path(found["config"]), found["digest"], keys, rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(str(file), f"cannot be read ({error}); restore it, or plan the sweep anew") from error


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file.

    Raises:
        OSError, ValueError, csv.Error: it is not there, or no such table.

    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row has not a value for each column")
    return header, rows
