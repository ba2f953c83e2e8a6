"""When a run writes, and the pairs of steps between."""

from dataclasses import replace

import pytest

from exodiff.core.errors import ConfigError
from exodiff.schedule import make_schedule
from exodiff.stepsize import intervals, merge_times
from tests.physics.models import make_model

BOUND_S = 1.0


@pytest.fixture(scope="module")
def problem():
    model = make_model(
        [1],
        run={"time_step": "1 s"},
        parameters={"k": 1.0},
        species={"A": {"initial": 1}},
        interventions=[{"name": "first", "at": [3, 6], "set": {"A": 1}}, {"name": "other", "at": [6], "set": {"k": 2}}],
    )
    return replace(model.problem, step_bound_s=BOUND_S)


def test_moments_are_the_multiples_the_interventions_and_the_end(problem):
    schedule = make_schedule(10.0, 4.0, 5.0, problem)
    told = [(m.time_s, m.observe, m.snapshot, m.fires) for m in schedule.moments]
    neither, both, one = (False, False), (True, True), (True, False)
    assert told == [
        (0.0, True, True, neither),
        (3.0, False, False, one),
        (4.0, True, False, neither),
        (5.0, False, True, neither),
        (6.0, False, False, both),
        (8.0, True, False, neither),
        (10.0, True, True, neither),
    ]


def test_positions_and_times_follow_the_pairs(problem):
    schedule = make_schedule(10.0, 4.0, 5.0, problem)
    # stretches of 3, 1, 1, 1, 2, 2 s in pairs of at most 2 s
    assert [i.num_pairs for i in schedule.intervals] == [2, 1, 1, 1, 1, 1]
    assert schedule.num_pairs == 7
    assert [schedule.position(pairs) for pairs in (0, 1, 2, 3, 6, 7)] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (2, 0),
        (5, 0),
        (6, 0),
    ]
    assert [schedule.time_s(pairs) for pairs in range(8)] == [0.0, 1.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
    assert schedule.duration_s == 10.0


def test_a_cut_is_a_moment_at_which_nothing_is_recorded(problem):
    schedule = make_schedule(10.0, 4.0, 5.0, problem, [7.0])
    cut = next(m for m in schedule.moments if m.time_s == 7.0)
    assert (cut.observe, cut.snapshot, cut.fires) == (False, False, (False, False))
    assert schedule.time_s(schedule.pairs_at(7.0)) == 7.0


def test_periods_that_do_not_divide_the_duration_still_record_the_end(problem):
    bare = replace(problem, interventions=())
    schedule = make_schedule(0.7, 0.1, 1.0, bare)  # 7 x 0.1 > 0.7 in float64
    assert len(schedule.moments) == 8
    assert schedule.moments[-1].time_s == 0.7
    assert [m.snapshot for m in schedule.moments] == [True, *[False] * 6, True]


def test_times_that_differ_by_rounding_are_one():
    assert merge_times([0.0, 0.3, 0.1 + 0.2, 1.0, 1.0 + 1e-12, 5.0], 1.0) == [0.0, 0.3, 1.0]


def test_stretches_are_cut_into_equal_pairs_within_the_bound():
    (first, second) = intervals((0.0, 2.0, 9.0), 1.0)
    assert first == (0.0, 1.0, 1)  # one pair fits exactly
    assert second == (2.0, 0.875, 4)  # 7 s in pairs of at most 2 s: four of 1.75 s
    with pytest.raises(ConfigError, match=r"pairs of steps are needed between 0 s and 1 s; at most 2147483647"):
        intervals((0.0, 1.0), 1e-11)
