"""Shares of the harnesses that kill, mutate and wear out: `bench.kills`, `bench.fuzz`, `bench.soak`."""

import random
import signal

import pytest

from bench.fuzz import fuzz_checkpoints, fuzz_configs, fuzz_expressions, fuzz_resealed
from bench.kills import MODELS, measure
from bench.soak import soak


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [
        ("leap", signal.SIGKILL, 6),
        pytest.param("plasma and oxygen", signal.SIGTERM, 20, marks=pytest.mark.slow),
        *(pytest.param(name, signal.SIGKILL, 20, marks=pytest.mark.slow) for name in MODELS),
    ],
)
def test_runs_that_are_killed_end_like_the_one_that_was_not(name, kind, number):
    found = measure(name, number, kind, seed=3)
    assert found["signals"] >= number
    assert (found["unlike"], found["unreadable"]) == (0, 0)


@pytest.mark.parametrize(
    ("fuzz", "number", "usual"),
    [
        (fuzz_configs, 60, "refused"),
        (fuzz_expressions, 2000, "refused"),
        (fuzz_checkpoints, 200, "passed over"),
        pytest.param(fuzz_resealed, 40, "passed over", marks=pytest.mark.slow),
    ],
)
def test_mutated_input_is_read_or_refused_in_a_clear_line(fuzz, number, usual):
    problems: list[str] = []
    outcomes = fuzz(number, random.Random(4), problems)
    assert not problems, problems[0]
    assert outcomes[usual] > number / 2


@pytest.mark.slow
def test_memory_stays_flat_over_many_calls_of_the_device():
    found = soak(300)
    assert found["calls"] >= 300
    assert abs(found["growth_percent"]) < 2
