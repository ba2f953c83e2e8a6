"""What a row of the table of mechanisms is, and how it is measured: through the public interface only."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

import exodiff as ex

CONFIGS = Path(__file__).parents[2] / "configs" / "mechanisms"
HOUR = 3600.0
NANOMOLAR = 0.602214076  # molecules/um^3
NO_RELEASE = {"exosomes.tEV.biogenesis.fusion": 0.0}  # the control of most rows
SIGNIFICANT = 4.0  # standard errors: a false alarm in 16,000 two-sided checks


@dataclass(frozen=True)
class Finding:
    """One number against what it has to be.

    Args:
        what: in words, with the comparison.
        value: as measured.
        standard_error: of the value over independent replicates.
        wanted: a number to agree with, or a limit.
        sense: ``=`` within 4 standard errors (or ``within``), ``>`` or ``<`` by 4 of them.
        within: a tolerance that the acceptance gives in place of the standard error.

    """

    what: str
    value: float
    standard_error: float
    wanted: float
    sense: str = "="
    within: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether it is as wanted."""
        off = self.value - self.wanted
        room = SIGNIFICANT * self.standard_error
        if self.sense == "=":
            return bool(abs(off) <= max(room, self.within))
        return bool(off > room if self.sense == ">" else -off > room)

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.4g} ± {self.standard_error:.2g} ({self.sense} {self.wanted:.4g})"


Runs = Mapping[str, ex.Trajectory]


def given(cargo: str, copies: int) -> dict[str, float | str]:
    """Changes for a run in which each cell has so many copies from the start and keeps them; nothing is released."""
    return NO_RELEASE | {
        f"cargo.{cargo}.half_life": '"100000 h"',
        "interventions": f'[{{ at = "0 h", add = {{ "dose.{cargo}" = {copies} }} }}]',
    }


@dataclass(frozen=True)
class Row:
    """One mechanism of the seeds.

    Args:
        id: M01 ... M46.
        name: the mechanism.
        seed: where the seeds say so, e.g. ``S3:L52``.
        says: what they say.
        accept: what a simulation must show.
        config: file in ``configs/mechanisms/``; empty if there is none yet.
        control: what is taken away, as an override, in words for the reader.
        treatment: override that gives what the control lacks, where the file itself is the control.
        arms: parameters (internal units) that each run changes, by name of the run; a text is an override of the file.
        hours: times that are recorded.
        replicates: of each run.
        check: findings from the runs.
        contested: what is contested or assumed.
        waits: what the rest of the mechanism, or all of it without ``check``, waits for.

    """

    id: str
    name: str
    seed: str
    says: str
    accept: str
    config: str = ""
    control: str = ""
    arms: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    hours: tuple[float, ...] = ()
    replicates: int = 8
    check: Callable[[Runs], list[Finding]] | None = None
    contested: str = ""
    waits: str = ""
    treatment: str = ""

    def overrides(self) -> tuple[list[str], list[str]]:
        """What ``--set`` says in a run that shows the mechanism, and in its first control."""
        first = re.split(r" \(| or |; ", self.control)[0]
        return [self.treatment] if self.treatment else [], re.findall(r"`([^`]+)`", first)


def measure(row: Row) -> list[Finding]:
    """Run all arms of a row and compare."""
    assert row.check is not None
    runs = {}
    for place, (name, changes) in enumerate(row.arms.items()):
        runs[name] = _run(row.config, tuple(changes.items()), row.hours, 11 + place, row.replicates)
    return row.check(runs)


@lru_cache(maxsize=4)  # rows that look at the same model in other ways follow one another
def _run(
    config: str, changes: tuple[tuple[str, float | str], ...], hours: tuple[float, ...], seed: int, replicates: int
) -> ex.Trajectory:
    model = _model(config, tuple(f"{key}={text}" for key, text in changes if isinstance(text, str)))
    parameters = {key: number for key, number in changes if not isinstance(number, str)}
    times = [hour * HOUR for hour in hours]
    return ex.simulate(model, times, parameters=parameters, seed=seed, replicates=replicates)


@lru_cache(maxsize=4)  # what was compiled for a model serves its other parameters too
def _model(config: str, overrides: tuple[str, ...]) -> ex.Model:
    return ex.load(CONFIGS / config, list(overrides))


def value(run: ex.Trajectory, observable: str, time: int = -1) -> np.ndarray:
    """An observable at one time, (replicates, ...)."""
    return np.asarray(run.observables[observable], float)[:, time]


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean over replicates and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def equals(what: str, values: np.ndarray, wanted: float, within: float = 0.0) -> Finding:
    """A mean over replicates that a formula gives."""
    return Finding(what, *mean_and_error(values), wanted, "=", within)


def differs(what: str, larger: np.ndarray, smaller: np.ndarray, least: float = 0.0) -> Finding:
    """One run above another in the mean, by more than ``least``."""
    (high, high_error), (low, low_error) = mean_and_error(larger), mean_and_error(smaller)
    return Finding(what, high - low, float(np.hypot(high_error, low_error)), least, ">")


def share(what: str, successes: float, trials: float, wanted: float) -> Finding:
    """A share of independent trials that a formula gives, with the standard error that the formula gives it."""
    return Finding(what, successes / trials, float(np.sqrt(wanted * (1 - wanted) / trials)), wanted)


def vanishes(what: str, values: np.ndarray) -> Finding:
    """Something that must be exactly zero."""
    return Finding(what, float(np.max(np.abs(values))), 0.0, 0.0)
