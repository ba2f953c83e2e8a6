"""The times of a run at which something is written, and the steps between them."""

from dataclasses import dataclass

import numpy as np

from exodiff.interventions import scheduled_now
from exodiff.problem import Problem
from exodiff.stepsize import Interval, intervals, merge_times


@dataclass(frozen=True)
class Moment:
    """A scheduled time, what is recorded at it, and which scheduled interventions act before that."""

    time_s: float
    observe: bool
    snapshot: int | None
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

    def time_s(self, pairs_done: int) -> float:
        """Simulated time after some pairs."""
        interval, inside = self.position(pairs_done)
        if interval == len(self.intervals):
            return self.duration_s
        return self.intervals[interval].start_s + 2 * inside * self.intervals[interval].dt_s


def make_schedule(duration_s: float, observe_every_s: float, snapshot_every_s: float, problem: Problem) -> Schedule:
    """Cut a run at multiples of the two periods, at interventions, and at the end, where both are recorded."""
    observed = multiples(observe_every_s, duration_s)
    pictured = multiples(snapshot_every_s, duration_s)
    intervened = [*problem.cuts_s, *(at for intervention in problem.scheduled for at in intervention.at_s)]
    times = merge_times([*observed, *pictured, *intervened], duration_s)
    moments = []
    num_snapshots = 0
    for time in times:
        is_pictured = _is_in(time, pictured, duration_s)
        is_observed = _is_in(time, observed, duration_s)
        fires = scheduled_now(problem, time, 1e-9 * duration_s)
        moments.append(Moment(time, is_observed, num_snapshots if is_pictured else None, fires))
        num_snapshots += is_pictured
    cut = intervals(tuple(times), problem.step_bound_s)
    before = np.concatenate(([0], np.cumsum([i.num_pairs for i in cut], dtype=np.int64)))
    return Schedule(tuple(moments), cut, tuple(int(n) for n in before))


def multiples(every_s: float, duration_s: float) -> list[float]:
    """Multiples of a period from 0, and the end."""
    count = int(np.floor(duration_s / every_s * (1.0 + 1e-9)))
    return [i * every_s for i in range(count + 1) if i * every_s <= duration_s] + [duration_s]


def _is_in(time_s: float, times: list[float], duration_s: float) -> bool:
    place = int(np.searchsorted(times, time_s))
    near = times[max(place - 1, 0) : place + 1]
    return any(abs(other - time_s) <= 1e-9 * duration_s for other in near)
