"""The times at which something is recorded or done, and the steps between them: of a run, and of ``simulate``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.interventions import scheduled_now
from exodiff.problem import Problem
from exodiff.stepsize import SAME_TIME, Interval, intervals, merge_times
from exodiff.trajectory import is_traced


@dataclass(frozen=True)
class Moment:
    """A scheduled time, what is recorded at it, and which scheduled interventions act before that."""

    time_s: float
    observe: bool
    snapshot: bool
    fires: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """Moments from 0 to the end, and the interval that leads to each but the first.

    Bits depend on this schedule and on nothing else: not on the chunks in which an interval is run, nor on a resume.
    """

    moments: tuple[Moment, ...]
    intervals: tuple[Interval, ...]
    pairs_before: tuple[int, ...]

    @property
    def duration_s(self) -> float:
        """The end of the run."""
        return self.moments[-1].time_s

    @property
    def num_pairs(self) -> int:
        """Pairs of steps in the whole run."""
        return self.pairs_before[-1]

    def position(self, pairs_done: int) -> tuple[int, int]:
        """The interval that the next pair belongs to (their number at the end), and the pairs of it that are done."""
        interval = int(np.searchsorted(self.pairs_before, pairs_done, side="right")) - 1
        return interval, pairs_done - self.pairs_before[interval]

    def pairs_at(self, time_s: float) -> int:
        """Pairs that are done at the time of a moment."""
        return self.pairs_before[int(np.argmin([abs(moment.time_s - time_s) for moment in self.moments]))]

    def time_s(self, pairs_done: int) -> float:
        """Simulated time after some pairs."""
        interval, inside = self.position(pairs_done)
        if interval == len(self.intervals):
            return self.duration_s
        return self.intervals[interval].start_s + 2 * inside * self.intervals[interval].dt_s


def make_schedule(
    duration_s: float,
    observe_every_s: float,
    snapshot_every_s: float,
    problem: Problem,
    cuts_s: Sequence[float] = (),
) -> Schedule:
    """Cut a run at multiples of the two periods, at the end, where both are recorded, at interventions, where told."""
    observed, pictured = (np.asarray(multiples(every_s, duration_s)) for every_s in (observe_every_s, snapshot_every_s))
    intervened = [*problem.cuts_s, *(at for intervention in problem.scheduled for at in intervention.at_s)]
    times = merge_times([*observed, *pictured, *intervened, *cuts_s], duration_s)
    moments = []
    for time in times:
        is_pictured = _is_in(time, pictured, duration_s)
        is_observed = _is_in(time, observed, duration_s)
        moments.append(Moment(time, is_observed, is_pictured, scheduled_now(problem, time, SAME_TIME * duration_s)))
    cut = intervals(tuple(times), problem.step_bound_s)
    before = np.concatenate(([0], np.cumsum([i.num_pairs for i in cut], dtype=np.int64)))
    return Schedule(tuple(moments), cut, tuple(int(n) for n in before))


def multiples(every_s: float, duration_s: float) -> list[float]:
    """Multiples of a period from 0, and the end."""
    count = int(np.floor(duration_s / every_s * (1.0 + 1e-9)))
    return [i * every_s for i in range(count + 1) if i * every_s <= duration_s] + [duration_s]


def _is_in(time_s: float, times: np.ndarray, duration_s: float) -> bool:
    place = int(np.searchsorted(times, time_s))
    near = times[max(place - 1, 0) : place + 1]
    return any(abs(other - time_s) <= SAME_TIME * duration_s for other in near)


class Plan(NamedTuple):
    """When what happens.

    Attributes:
        intervals: stretches up to each requested time or intervention.
        ends_s: when the stretches end.
        fires: for each stretch, which of the scheduled interventions act at its end.
        rows: the requested times among the start (0) and the ends of the stretches.

    """

    intervals: tuple[Interval, ...]
    ends_s: tuple[float, ...]
    fires: tuple[tuple[bool, ...], ...]
    rows: tuple[int, ...]

    def time_s(self, pairs_done: int) -> float:
        """Simulated time after some pairs."""
        end_s = 0.0
        for start_s, dt_s, num_pairs in self.intervals:
            if pairs_done < num_pairs:
                return start_s + 2 * pairs_done * dt_s
            pairs_done -= num_pairs
            end_s = start_s + 2 * num_pairs * dt_s
        return end_s


def make_plan(times: Sequence[float], problem: Problem) -> Plan:
    """Intervals up to each of the times and interventions."""
    if any(map(is_traced, times)):
        raise ConfigError("times", "are static: they have no derivative, and jit and vmap cannot change them")
    try:
        given = np.asarray(times, float)
    except (TypeError, ValueError):
        raise ConfigError("times", f"{times!r} are no numbers; give seconds, e.g. [0.0, 3600.0]") from None
    if given.ndim != 1 or given.size == 0 or not np.all(np.isfinite(given)):
        raise ConfigError("times", "a non-empty list of finite numbers (seconds) is needed")
    if given[0] < 0 or np.any(np.diff(given) <= 0):
        raise ConfigError("times", "must rise, from 0 or later")
    last = float(given[-1])
    at = (*problem.cuts_s, *(at for intervention in problem.scheduled for at in intervention.at_s))
    cuts = merge_times((0.0, *map(float, given), *at), last)
    fires = tuple(scheduled_now(problem, cut, SAME_TIME * last) for cut in cuts[1:])
    rows = tuple(int(np.abs(np.asarray(cuts) - time).argmin()) for time in given)
    return Plan(intervals(tuple(cuts), problem.step_bound_s), tuple(map(float, cuts[1:])), fires, rows)
