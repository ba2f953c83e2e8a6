"""The development cases of the DSMTS and their twins, through the public interface; see `checks/dsmts.py`."""

import numpy as np
import pytest

import exodiff as ex
from tests.physics.checks import dsmts

REPLICATES = {"leap": 10_000, "exact": 2_000}
SLOW_CASE = "twin_00005_large"  # of the most events
ENGINES = ("leap", "exact")


def _shared() -> list:
    """Every case with one of the engines; the other one is slow."""
    found = []
    for place, name in enumerate(dsmts.CASES):
        quick = "leap" if name == SLOW_CASE else ENGINES[place % 2]
        found += [pytest.param(name, engine, marks=[] if engine == quick else [pytest.mark.slow]) for engine in ENGINES]
    return found


def test_all_cases_are_there():
    assert len(dsmts.CASES) == 25


@pytest.mark.parametrize(("name", "engine"), _shared())
def test_a_case_has_the_right_mean_and_variance(name, engine):
    assert dsmts.worst(name, engine, 1, REPLICATES[engine]) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", dsmts.CASES)
def test_a_case_passes_at_10000_with_another_seed(name, engine):
    assert dsmts.worst(name, engine, 2, 10_000) < 1.0


def test_a_pair_counted_as_x_squared_is_seen():
    """The gate is sharp enough for the mistake that the suite was made for."""
    case = dsmts.CASES["dsmts_00030"]
    raw = dsmts.to_model(case)
    raw["reactions"][0] = {"name": "Dimerisation", "equation": "2 P -> P2", "propensity": "per_s * 0.0005 * P * P"}
    trajectory = ex.simulate(ex.Model.from_dict(raw), case["times"], replicates=REPLICATES["leap"], seed=1)
    assert dsmts.z_scores(case, trajectory)["mean"] > dsmts.gates(case)["mean"]


def test_output_at_the_time_of_an_event_is_taken_after_it():
    case = dsmts.CASES["dsmts_00028"]
    trajectory = ex.simulate(ex.Model.from_dict(dsmts.to_model(case)), [24.0, 25.0], replicates=100)
    assert np.all(np.asarray(trajectory["X"])[:, 1] == 50)
