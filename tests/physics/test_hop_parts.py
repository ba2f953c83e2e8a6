"""Steps longer than one hop law allows: the hops of such a step are cut into parts."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from gates import ALPHA, pmf_p
from models import make_model, simulate

import exodiff as ex
from exodiff.operations import operations
from tests.physics.checks.leap_models import BY_NAME
from tests.physics.checks.step_matrix import StepLaw

WALLS = {
    "even": "reflecting",
    "uneven": {"x_low": "absorbing", "x_high": "reflecting"},
    "fixed": {"x_low": {"fixed": {"A": 2.0}}, "x_high": "absorbing"},
}


@pytest.mark.parametrize("walls", WALLS)
def test_a_step_in_parts_is_that_many_steps(walls, tmp_path):
    """On one axis and without reactions the list of a pair of long steps is that of the short ones."""
    np.save(tmp_path / "A.npy", np.arange(12) % 5)
    species = {"A": {"diffusion": 1.2, "initial": {"file": "A.npy"}}, "B": {"diffusion": 0.2, "initial": 5}}
    model = make_model([12], boundary=WALLS[walls], species=species, run={"precision": "float64"}, folder=tmp_path)
    long, short = (simulate(model, [8.0], engine="mean_field", time_step=dt) for dt in (1.0, 0.25))
    np.testing.assert_allclose(long.counts[..., 0, :, 0, 0], short.counts[..., 0, :, 0, 0], rtol=1e-12, atol=1e-12)


def test_only_what_hops_too_far_is_cut():
    species = {"fast": {"diffusion": 1.2}, "slow": {"diffusion": 0.2}}
    problem = make_model([4, 4], run={"time_step": "1 s"}, species=species).problem
    assert problem.hop_parts == (4, 1)
    assert [op.site for op in operations(problem) if op.hop] == [
        "hop:fast:x", "hop:fast:y", "hop:fast:x:1", "hop:fast:y:1", "hop:fast:x:2", "hop:fast:y:2",
        "hop:fast:x:3", "hop:fast:y:3", "hop:slow:x", "hop:slow:y",
    ]  # fmt: skip
    assert make_model([4, 4], run={"time_step": "0.25 s"}, species=species).problem.hop_parts == ()


def test_more_than_eight_parts_are_refused():
    with pytest.raises(ex.ConfigError, match=r"exceeds 2\.67 s, the hop limit of species\.A"):
        make_model([4], run={"time_step": "2.7 s"}, species={"A": {"diffusion": 1.0}})


@pytest.mark.parametrize("boundary", ["periodic", "reflecting"])
def test_the_engine_follows_the_enumerated_matrix_in_parts(boundary):
    tables = deepcopy(BY_NAME["ring_uptake"].tables)
    tables["species"]["E"]["diffusion"] = 3.0
    model = replace(BY_NAME["ring_uptake"], name=f"parts_{boundary}", tables=tables, boundary=boundary)
    dt, replicates = 0.25, 20_000
    space = model.space(dt)
    assert space.problem.hop_parts[0] == 3
    step, law = StepLaw(space, dt), space.start()
    for _ in range(3):
        law = step.pair(law)
    found = simulate(model.model(dt, precision="float32"), [6 * dt], seed=5, replicates=replicates)
    states = np.asarray(found.counts)[:, 0].reshape(replicates, *space.states.shape[1:])
    assert pmf_p(space.find(states), law) > ALPHA
