"""Shares of the harnesses that kill, mutate and wear out: `bench.kills`, `bench.fuzz`, `bench.soak`."""

import random
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.fuzz import fuzz_checkpoints, fuzz_configs, fuzz_expressions, fuzz_resealed
from bench.kills import MODELS, measure, opens
from bench.soak import soak
from exodiff.io.results import Master
from exodiff.io.snapshots import FieldArray, write_snapshot
from exodiff.io.vtkhdf import StoredGrid, cell_data


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
    assert (found["with_75"] > 0) == (kind == signal.SIGTERM)


def test_results_that_show_other_values_than_the_snapshots_are_found(tmp_path):
    """The master opens whatever becomes of the files that it joins."""
    grid = StoredGrid((3, 2, 1), (1.0, 1.0, 1.0))

    def write(index: int, value: int) -> Path:
        return write_snapshot(tmp_path, index, 60.0 * index, {"EV": FieldArray(np.full(grid.shape, value))}, grid)

    paths = [write(index, index) for index in range(3)]
    assert not opens(tmp_path)
    Master(tmp_path).write()
    assert opens(tmp_path)
    write(3, 3)  # a kill between a snapshot and the master
    assert opens(tmp_path)
    Master(tmp_path).write()
    kept = paths[1].read_bytes()
    paths[1].unlink()
    assert not opens(tmp_path)
    paths[1].write_bytes(kept)
    assert opens(tmp_path)
    with h5py.File(tmp_path / "results.vtkhdf", "r+") as file:
        del cell_data(file)["EV"]
        cell_data(file)["EV"] = np.zeros((4, 1, 2, 3), int)
    assert not opens(tmp_path)


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
