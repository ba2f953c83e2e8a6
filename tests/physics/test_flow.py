"""Advection: `checks/flow.py`, the order of the hop law, conservation, limits, and velocities that change."""

import jax.numpy as jnp
import numpy as np
import pytest
from models import counts, make_model, simulate
from scipy.linalg import expm

import exodiff as ex
from exodiff.check import check_model
from exodiff.kernels.diffusion import MAX_HOPS_PER_STEP, HopRates, hop_flows, net_gain, transition
from exodiff.kernels.policies import Mean
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.lattice.grid import Grid
from exodiff.stepsize import MAX_HOP_PARTS
from tests.physics.checks import flow
from tests.physics.checks.leap_error import error_table, leap, orders
from tests.physics.checks.leap_models import LeapModel

SLOW = (
    *("drift, leap", "Boltzmann, leap", "flow between baths, leap"),
    *(f"flow, {name}, leap" for name in ("vortex", "drain", "channel", "ring")),
)
SLOW_LAWS = ("strait", "box", "channel", "vortex")


@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW else []) for c in flow.CHECKS]
)
def test_flow_agrees_with_its_truth(check):
    value = check.measure()
    assert check.passes(value), f"{check.claim}: {check.statistic} {value:.3g}, gate {check.gate:.3g}"


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW_LAWS else []) for c in flow.CASES]
)
def test_the_law_of_a_walker_is_second_order_in_the_step(case):
    exact = case.law(flow.END_S)
    coarse, fine = (0.5 * np.abs(flow.mean_field(case, flow.END_S / n) - exact).sum() for n in (30, 60))
    assert coarse < flow.TOTAL_VARIATION
    # the next order is about w dt, at most 3 /s x 0.05 s
    assert abs(coarse / fine / 4.0 - 1.0) < 0.15


def test_leap_with_flow_and_uptake_is_second_order():
    """The enumerated law of pairs of steps, reactions and all."""
    ring = LeapModel(
        "ring_in_flow",
        "hops on a ring of 3 in a flow, uptake",
        {
            "flow": {"velocity": [0.9]},
            "species": {"E": {"diffusion": 0.5}, "R": {"initial": 2}, "B": {}},
            "reactions": [{"equation": "E + R -> B", "rate": 0.4}],
        },
        end_s=1.0,
        watched=("E", "B"),
        voxels=3,
        boundary="periodic",
        fields={"E": (3, 0, 0), "R": (0, 2, 0)},
    )
    found = orders(error_table(ring, leap))
    assert np.nanmin(found) > 1.9
    assert np.nanmax(found) < 2.1


@pytest.mark.parametrize("engine", flow.SIZES)
@pytest.mark.parametrize("name", [n for n in flow.SAMPLED if flow.BY_NAME[n].is_closed])
def test_a_flow_in_a_closed_box_keeps_every_walker(name, engine):
    found = flow.numbers(name, engine)
    assert np.all(found.sum(1) == flow.SIZES[engine][0])
    assert found.min() >= 0


def test_at_the_limit_of_hops_no_probability_is_negative():
    """Whatever the rates: a clipped probability would not be that of I + dt A + dt^2 A^2 / 2."""
    random, shape = np.random.default_rng(0), (6, 1, 1)
    for walls in (("reflecting", "reflecting"), ("periodic", "periodic"), ("absorbing", "absorbing")):
        grid = Grid(shape, (1.0, 1.0, 1.0), walls=(walls, Grid.walls[1], Grid.walls[2]))
        for trial in range(50):
            # through each face all up, all down, or any share of each: half the sum is at most r
            share = random.choice([0.0, 1.0], 7) if trial % 2 else random.random(7)
            both = 2.0 * MAX_HOPS_PER_STEP * (np.ones(7) if trial % 4 < 2 else random.random(7))
            if walls[0] == "periodic":
                share[-1], both[-1] = share[0], both[0]
            up, down = (share * both)[1:], ((1.0 - share) * both)[:-1]
            if walls[0] == "absorbing":  # all that a wall may let out
                up[-1], down[0] = both[-1], both[0]
            if walls[0] == "reflecting":
                up[-1] = down[0] = 0.0
            generator = np.zeros((6, 6))
            for i in range(6):
                generator[i, i] -= up[i] + down[i]
                for j, rate in ((i + 1, up[i]), (i - 1, down[i])):
                    if 0 <= j < 6 or walls[0] == "periodic":
                        generator[i, j % 6] += rate
            wanted = np.eye(6) + generator + generator @ generator / 2
            assert wanted.min() > -1e-12
            law = transition(HopRates(*(jnp.asarray(r.reshape(shape), jnp.float32) for r in (down, up))), 1.0, grid, 0)
            for i in range(6):
                unit = jnp.zeros(shape, jnp.float32).at[i, 0, 0].set(1.0)
                flows = hop_flows(Mean(), make_stream(0, 0), voxel_index(shape), unit, law)
                assert np.allclose((unit + net_gain(flows, grid, 0)).ravel(), wanted[i], atol=2e-6)


def test_a_velocity_that_an_intervention_sets_turns_the_flow_round():
    tables = {
        "parameters": {"v": "0.8 um/s"},
        "flow": {"velocity": ["v"]},
        "species": {"W": {"diffusion": 0.6, "initial": {"voxel": [2], "count": 4000}}},
        "interventions": [{"at": [1.0], "set": {"v": "-2 * v"}}],
    }
    there, back = (flow.Case("", (6,), (2,), (v,)).generator() for v in (0.8, -1.6))
    law = (expm(there) @ expm(back))[2]
    model = make_model([6], run={"engine": "mean_field", "precision": "float64"}, **tables)
    found = counts(simulate(model, [2.0], time_step=0.01), "W")[0, 0] / 4000
    # the total variation of second order is 1e-5 at 0.01 s
    assert 0.5 * np.abs(found - law).sum() < 5e-5
    for engine in ("leap", "exact"):
        seen = counts(simulate(make_model([6], **tables), [2.0], engine=engine, seed=1, time_step=0.02), "W")[0, 0]
        assert flow.gates.binomial_p(seen, 4000, law) > flow.gates.ALPHA


def test_a_scale_multiplies_the_velocities_of_a_file(tmp_path):
    speeds = np.full((1, 5), 0.4)
    np.save(tmp_path / "v.npy", speeds)
    species = {"W": {"diffusion": 0.6, "initial": {"voxel": [2], "count": 1}}}
    run = {"engine": "mean_field", "precision": "float64"}
    from_file, uniform = (
        make_model([5], boundary="periodic", run=run, folder=tmp_path, species=species, flow={"velocity": velocity})
        for velocity in ({"file": "v.npy", "scale": -1.5}, [-0.6])
    )
    a, b = (counts(simulate(model, [1.0], time_step=0.1), "W") for model in (from_file, uniform))
    assert np.allclose(a, b, rtol=1e-12, atol=0)


def test_species_without_diffusion_stay_where_they_are():
    model = make_model([5], flow={"velocity": [1.0]}, species={"M": {"initial": {"voxel": [2], "count": 9}}})
    assert counts(simulate(model, [5.0]), "M")[0, 0].tolist() == [0, 0, 9, 0, 0]


def test_the_automatic_step_and_the_limit_look_at_the_flow():
    def bound(v, **run):
        return make_model([8], run=run, flow={"velocity": [v]}, species={"W": {"diffusion": 1.0}}).problem.step_bound_s

    assert bound(1e-6) == pytest.approx(0.25)
    assert bound(3.0) == pytest.approx(0.25 / (1.5 / np.tanh(1.5)), rel=1e-5)
    assert bound(-3.0) == pytest.approx(bound(3.0))
    longest = MAX_HOP_PARTS / 3.0 / (1.5 / np.tanh(1.5))
    assert bound(3.0, time_step=0.99 * longest) == pytest.approx(0.99 * longest)
    with pytest.raises(ex.ConfigError, match=r"exceeds .* the hop limit of species\.W"):
        bound(3.0, time_step=1.01 * longest)


def test_check_tells_the_peclet_number_and_warns_of_what_flow_does_on_this_lattice():
    def report(v, boundary="periodic", diffusion=1.3):
        species = {"E": {"diffusion": diffusion, "initial": 3}}
        side = {"side": {"layer": {"axis": "x", "from": 0, "to": 40}}}
        tables = {"species": species, "regions": side, "flow": {"velocity": [v]}}
        return check_model(make_model([8], spacing=20.0, boundary=boundary, **tables))

    (slow,), (fast,) = report(0.1).flow, report(0.5).flow
    # (Pe / 2) coth(Pe / 2) at Pe = 1.538 and 7.692
    assert (slow.peclet, slow.excess) == (pytest.approx(2.0 / 1.3), pytest.approx(1.18987, rel=1e-5))
    assert (fast.peclet, fast.excess) == (pytest.approx(10.0 / 1.3), pytest.approx(3.84967, rel=1e-5))
    assert report(0.1).warnings == ()
    (warning,) = report(0.5).warnings
    assert "3.85 times" in warning
    assert "4.62 um" in warning
    (warning,) = report(0.1, boundary="reflecting").warnings
    assert "flow.velocity.x: x_low and x_high" in warning
    (warning,) = report(0.1, diffusion={"side": 0, "default": 1.0}).warnings
    assert "does not diffuse" in warning
    assert report(0).flow == ()
