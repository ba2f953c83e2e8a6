"""The list of a step, its way back, and what one visit changes."""

import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.hop_tables import tables_of_substep
from exodiff.kernels.policies import policy_of
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.operation_draws import Amounts, Step
from exodiff.operations import EVEN_HOP, HOP, backward_order, is_even, operations
from exodiff.passes import looped_pass, unrolled_pass
from exodiff.start import make_inputs
from tests.physics.models import make_model


@pytest.fixture(scope="module")
def walled():
    """Two species on two axes, one with a fixed wall, and reactions of several kinds."""
    return make_model(
        [3, 4],
        boundary={"x_low": {"fixed": {"A": 2.0}}},
        parameters={"k": "0.3 /s", "per_s": "1 /s"},
        cells={"cell": {}},
        species={"A": {"diffusion": 0.5}, "B": {"diffusion": 0.1}, "C": {}},
        reactions=[
            {"name": "loss", "equation": "A ->", "rate": "k"},
            {"name": "source", "equation": "-> C", "rate": "k"},
            {"name": "pair", "equation": "2 B -> C", "rate": "1 um^3/s"},
            {"name": "limited", "equation": "C ->", "propensity": "per_s * saturate(C, 2)"},
            {"name": "split", "equation": "cell -> 2 cell", "rate": "k"},
        ],
    ).problem


def test_hops_come_by_species_and_axis_then_reactions_and_what_makes_cells_is_apart(walled):
    assert [op.site for op in operations(walled)] == [
        "hop:A:x",
        "inject:A:x:0",
        "hop:A:y",
        "hop:B:x",
        "hop:B:y",
        "reaction:loss",
        "reaction:source",
        "reaction:pair",
        "reaction:limited",
    ]


def test_the_way_back_is_reversed_but_an_injection_follows_its_hop(walled):
    sites = [operations(walled)[place].site for place in backward_order(walled)]
    assert sites == [
        "reaction:limited",
        "reaction:pair",
        "reaction:source",
        "reaction:loss",
        "hop:B:y",
        "hop:B:x",
        "hop:A:y",
        "hop:A:x",
        "inject:A:x:0",
    ]


def test_kinds_and_changes(walled):
    kinds = {op.site: op.kind(walled) for op in operations(walled)}
    assert kinds["hop:A:x"] == HOP  # a wall is open
    assert kinds["inject:A:x:0"] == "poisson"
    assert [kinds[f"reaction:{name}"] for name in ("loss", "source", "pair", "limited")] == [
        "binomial",
        "poisson",
        "chain",
        "modulated",
    ]
    changes = {op.site: op.changes for op in operations(walled)}
    assert changes["inject:A:x:0"] == ((0, 1),)
    assert changes["reaction:pair"] == ((1, -2), (2, 1))


def test_hops_are_even_where_walls_are_closed_and_the_diffusivity_is_one_number():
    regions = {"left": {"layer": {"axis": "x", "from": 0.0, "to": 2.0}}}
    species = {"A": {"diffusion": 0.5}, "B": {"diffusion": {"default": 0.1, "left": 0.2}}}
    problem = make_model([4], species=species, regions=regions).problem
    assert [is_even(problem, s, 0) for s in (0, 1)] == [True, False]
    assert [op.kind(problem) for op in operations(problem)] == [EVEN_HOP, HOP]


def _step(model, dt_s):
    problem, time = model.problem, jnp.zeros((), model.problem.precision)
    inputs = make_inputs(model, None, problem.precision)
    places, dt_s = voxel_index(problem.grid.shape), jnp.asarray(dt_s, jnp.float32)
    tables = tables_of_substep(None, problem, inputs, jnp.asarray(model.start), dt_s, 0)
    return Step(problem, inputs, policy_of(problem.engine), make_stream(1, 0), places, time, dt_s, *tables)


def test_a_pass_of_means_is_the_flow_of_each_operation_in_turn():
    """Loss, then conversion of what is left; backwards the other way round."""
    model = make_model(
        [1],
        run={"engine": "mean_field"},
        species={"A": {"initial": 100}, "B": {}},
        reactions=[{"equation": "A ->", "rate": "0.5 /s"}, {"equation": "A -> B", "rate": "0.2 /s"}],
    )
    amounts = Amounts(jnp.asarray([100.0, 0.0]).reshape(2, 1, 1, 1), jnp.zeros((0, 2)))
    left, converted = np.exp(-0.5), 1 - np.exp(-0.2)
    found = unrolled_pass(_step(model, 1.0), amounts, backwards=False).counts.ravel()
    np.testing.assert_allclose(found, [100 * left * (1 - converted), 100 * left * converted], rtol=1e-6)
    found = unrolled_pass(_step(model, 1.0), amounts, backwards=True).counts.ravel()
    np.testing.assert_allclose(found, [100 * left * (1 - converted), 100 * converted], rtol=1e-6)


def test_a_looped_pass_conserves_what_reactions_conserve_and_counts_their_events():
    model = make_model(
        [4, 4],
        species={"A": {"diffusion": 0.2, "initial": 50}, "B": {"diffusion": 0.1}},
        reactions=[{"name": "pair", "equation": "2 A -> B", "rate": "0.02 um^3/s"}],
        observables={"pairs": {"value": "events(pair)"}},
    )
    start = Amounts(jnp.asarray(model.start), jnp.zeros((1, 2), jnp.uint32))
    for backwards in (False, True):
        counts, events, *_ = looped_pass(_step(model, 0.5), start, backwards=jnp.asarray(backwards))
        a, b = (int(n) for n in counts.sum((1, 2, 3)))
        assert b > 0
        assert a + 2 * b == 16 * 50
        assert events.tolist() == [[0, b]]
