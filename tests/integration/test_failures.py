"""A simulation that cannot go on says which reaction or species, in which voxel, when and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exodiff as ex
from exodiff.core.health import Health
from tests.physics.models import make_model, simulate

TO_USE_MAX = "no rate may be negative: use max(0, ...) in its expression if that is meant"


def _fading(engine="leap", **run):
    """A source in voxel (2, 1) whose rate is 3 - t per second: first looked at below 0 at 4 s (pairs of 1 s)."""
    return make_model(
        [3, 2],
        run={"engine": engine, "time_step": "0.5 s", "duration": "20 s", "observe_every": "20 s", **run},
        parameters={"per_s2": "1 /s^2", "last": "3 s"},
        regions={"corner": {"box": {"low": [2.0, 1.0], "high": [3.0, 2.0]}}},
        species={"A": {}},
        reactions=[{"name": "feed", "equation": "-> A", "rate": "per_s2 * (last - t)", "region": "corner"}],
    )


FADED = f"replicate 0 stopped at 4 s: the rate of feed in voxel [2, 1] is -1; {TO_USE_MAX}"


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
@pytest.mark.parametrize("times", [[20.0], [2.0, 3.0, 7.0, 20.0]])
def test_simulate_names_the_reaction_the_voxel_and_the_time(engine, times):
    with pytest.raises(ex.SimulationError) as failed:
        ex.simulate(_fading(engine), times)
    assert str(failed.value) == f"simulate: {FADED}"


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_a_run_says_the_same_whatever_its_chunks(engine, tmp_path):
    with pytest.raises(ex.SimulationError) as failed:
        ex.run(_fading(engine), tmp_path / "run")
    assert str(failed.value) == f"{tmp_path / 'run'}: {FADED}; the last checkpoint is intact"


def test_a_run_of_exact_tells_the_time_and_the_number_that_simulate_tells(tmp_path):
    model = make_model(
        [2],
        run={"engine": "exact", "duration": "100 s", "observe_every": "10 s", "seed": 3},
        parameters={"per_s": "1 /s"},
        species={"A": {"initial": {"voxel": [1], "count": 5}}, "B": {}},
        reactions=[
            {"name": "decay", "equation": "A ->", "rate": "0.1 /s"},
            {"name": "feed", "equation": "-> B", "rate": "per_s * (1 - where(B > 4, 3, 0))"},
        ],
    )
    with pytest.raises(ex.SimulationError, match=r"is -2; no rate") as simulated:
        ex.simulate(model, [100.0], seed=3)
    with pytest.raises(ex.SimulationError) as ran:
        ex.run(model, tmp_path / "run")
    assert str(ran.value).split(": ", 1)[1].startswith(str(simulated.value).split(": ", 1)[1])
    assert float(str(simulated.value).split("stopped at ")[1].split(" s")[0]) < 30  # the fifth of events at 1 /s


def _one_voxel(**tables):
    return make_model([1], run={"observe_every": "1 s"}, **tables)


def test_the_replicate_that_is_named_is_explained_from_its_own_state():
    model = _one_voxel(
        parameters={"per_s": "1 /s"},
        species={"n": {"initial": {"poisson": 0.5}}},
        reactions=[{"name": "feed", "equation": "-> n", "rate": "per_s * (1 - n) * where(n > 1, 1, 0)"}],
    )
    first = ex.simulate(model, [0.0], seed=1, replicates=30).total("n")[:, 0]
    number = int(np.flatnonzero(first > 1)[0])
    assert number > 0
    with pytest.raises(ex.SimulationError, match=rf"replicate {number} .* is {1 - first[number]};"):
        ex.simulate(model, [10.0], seed=1, replicates=30)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"k": 1e6}, r"stopped at 0 s: the exit rate of A in voxel \[1\] has grown to 2e\+06 /s; .* run.time_step"),
        ({"D": 1e6}, r"stopped at 0 s: A diffuses or drifts too fast for the step; .* run.time_step"),
        ({"growth": 1e6}, r"stopped at 0 s: species that make each other grow at 1e\+06 /s; .* run.time_step"),
        ({"source": 4e10}, r"stopped at 0 s: feed makes 8e\+10 a second in voxel \[1\]; counts go up to 2\^31"),
        ({"D": -1.0}, r"stopped at 0 s: the diffusivity of A in voxel \[0\] is -1; no rate may be negative"),
        ({"power": -1.0}, r"stopped at 0 s: the rate of divided in voxel \[0\] is inf; rates must be finite"),
    ],
)
def test_the_cause_is_found(parameters, told):
    model = make_model(
        [2],
        parameters={"k": "1 /s", "D": "0.1 um^2/s", "growth": "0.1 /s", "source": "1 /s", "power": 1.0},
        regions={"right": {"box": {"low": [1.0], "high": [2.0]}}},
        species={"A": {"initial": 5, "diffusion": "D"}, "B": {"initial": 2}, "C": {}, "zero": {}},
        reactions=[
            {"equation": "A ->", "rate": "k", "region": "right"},
            {"equation": "A ->", "rate": "k"},
            {"equation": "B -> 2 B", "rate": "growth"},
            {"name": "feed", "equation": "-> C", "rate": "2 * source", "region": "right"},
            {"name": "divided", "equation": "-> C", "rate": "growth * zero ^ power"},
        ],
    )
    with pytest.raises(ex.SimulationError, match=told):
        ex.simulate(model, [1.0], parameters=parameters, time_step=0.05)


def test_a_parameter_that_an_intervention_broke_is_named():
    model = _one_voxel(
        parameters={"k": 1.0},
        species={"X": {"initial": 3}},
        interventions=[{"name": "switch", "at": [2], "set": {"k": "1 / (total(X) - 3)"}}],
    )
    for engine in ("leap", "exact", "mean_field"):
        with pytest.raises(ex.SimulationError, match="stopped at 2 s: an intervention set k to inf; rates must be fin"):
            simulate(model, [1.0, 5.0], engine=engine)


def test_under_jit_and_vmap_health_says_which_failed_and_when_it_stood_still():
    model = _fading()

    def final(last):
        found = ex.simulate(model, [4.0, 20.0], parameters={"last": last})
        return found.health[0], found["A"][0]

    health, numbers = jax.jit(jax.vmap(final))(jnp.asarray([3.0, 100.0]))
    assert health.tolist() == [Health.NEGATIVE_RATE, Health.GOOD]
    assert np.array_equal(numbers[0, 0], numbers[0, 1])
    assert numbers[1, 1].sum() > numbers[1, 0].sum()
