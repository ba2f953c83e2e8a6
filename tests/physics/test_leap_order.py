"""The error of `leap` against the step, from enumerated transition matrices: deterministic, orders to two digits.

The matrices are products of the laws of exodiff's own operations (`checks/step_matrix.py`); that they are what the
engine does is tested by sampling the engine.
"""

import numpy as np
import pytest
from gates import ALPHA, Path, pmf_p
from models import simulate

from exodiff.report import MEAN_ERROR, VARIANCE_ERROR
from tests.physics.checks.leap_error import (
    always_forwards,
    at_tolerance,
    error_table,
    exact_law,
    leap,
    orders,
    voxel_ssa,
)
from tests.physics.checks.leap_models import BY_NAME, MODELS
from tests.physics.checks.step_matrix import StepLaw

FSP = np.load(Path(__file__).parent / "truths" / "fsp.npz")
NAMES = [model.name for model in MODELS]


@pytest.mark.parametrize("name", NAMES)
def test_leap_is_second_order_in_means_variances_and_laws(name):
    found = orders(error_table(BY_NAME[name], leap))
    # 1.976 to 2.046 were measured; the rest is the next order, which a halving divides by 4
    assert np.nanmin(found) > 1.9
    assert np.nanmax(found) < 2.1
    assert np.sum(~np.isnan(found)) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_without_the_backward_half_the_order_is_one(name):
    found = orders(error_table(BY_NAME[name], always_forwards))
    assert np.nanmin(found) < 1.2
    assert abs(found[-1] - 1.0) < 0.05  # of the total variation


def test_exact_reactions_after_the_hops_are_first_order():
    assert abs(orders(error_table(BY_NAME["ring_uptake"], voxel_ssa))[-1] - 1.0) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_the_default_tolerance_keeps_what_check_promises(name):
    found = at_tolerance(BY_NAME[name], 0.1)
    assert found.mean <= MEAN_ERROR
    assert found.variance <= VARIANCE_ERROR


def test_the_promise_scales_with_the_square_of_the_tolerance():
    for name in NAMES:
        found = at_tolerance(BY_NAME[name], 0.2)
        assert found.mean <= 4 * MEAN_ERROR
        assert found.variance <= 4 * VARIANCE_ERROR


@pytest.mark.parametrize(("name", "truth"), [("ring_uptake", "ring3_uptake"), ("dimerisation", "dimerisation")])
def test_the_generator_is_that_of_the_independent_truth(name, truth):
    model = BY_NAME[name]
    at = list(FSP[f"{truth}__times"]).index(model.end_s)
    space, states = model.space(), FSP[f"{truth}__states"]
    network = space.problem.network
    if name == "ring_uptake":
        e, *others = (space.states[:, network.index(s)] for s in "ERBI")
        ours = np.column_stack([e, *(o[:, 0] for o in others)])
    else:
        ours = space.states[:, :, 0]
    order, theirs = np.lexsort(ours.T), np.lexsort(states.T)
    assert np.array_equal(ours[order], states[theirs])
    assert np.allclose(exact_law(model)[-1][order], FSP[f"{truth}__pmf"][at][theirs], atol=1e-10)


@pytest.mark.parametrize("name", ["ring_uptake", "burst", "hill_switch"])
def test_the_engine_follows_the_enumerated_matrix(name):
    """Three pairs at one and a half times the automatic step, all states at once."""
    model, replicates = BY_NAME[name], 20_000
    dt = 1.5 * model.space().problem.step_bound_s
    space = model.space(dt)
    step, law = StepLaw(space, dt), space.start()
    for _ in range(3):
        law = step.pair(law)
    found = simulate(model.model(dt, precision="float32"), [6 * dt], seed=12, replicates=replicates)
    states = np.asarray(found.counts)[:, 0].reshape(replicates, *space.states.shape[1:])
    assert np.all(space.find(states) >= 0)
    assert pmf_p(space.find(states), law) > ALPHA
