"""Interventions: what they do, when, and that nothing else depends on them."""

import gates
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import box_of, counts, make_model, simulate
from scipy import stats

import exodiff as ex

STILL = {"species": {"X": {"initial": 5}}}


def intervened(*interventions, shape=(1,), **tables):
    return make_model(list(shape), **{**STILL, **tables}, interventions=list(interventions))


def numbers(model, times, engine="leap", **options):
    return counts(simulate(model, times, engine=engine, **options), "X")[0]


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_a_number_is_set_and_added_in_every_voxel_of_the_region_after_the_step_and_before_the_record(engine):
    model = intervened(
        {"at": [2, 4], "add": {"X": 3}, "region": "left"},
        {"at": [3], "set": {"X": "2 * X"}},
        shape=(3,),
        regions={"left": {"box": box_of(0)}},
    )
    found = numbers(model, [1.0, 2.0, 3.0, 4.0, 5.0], engine)
    assert found.tolist() == [[5, 5, 5], [8, 5, 5], [16, 10, 10], [19, 10, 10], [19, 10, 10]]


def test_interventions_of_one_time_act_in_the_order_of_the_file_each_with_the_values_from_before_it():
    both = {"X": {"initial": 5}, "Y": {"initial": 7}}
    model = intervened({"at": 1, "set": {"X": "Y", "Y": "X"}}, {"at": 1, "add": {"X": "10 * Y"}}, species=both)
    trajectory = simulate(model, [1.0])
    assert counts(trajectory, "X").ravel() == 7 + 10 * 5
    assert counts(trajectory, "Y").ravel() == 5


def test_an_intervention_at_time_0_acts_before_the_first_record_and_the_first_step():
    model = intervened({"at": ["0 s"], "set": {"X": 0}}, reactions=[{"equation": "X -> 2 X", "rate": 1.0}])
    assert numbers(model, [0.0, 1.0]).ravel().tolist() == [0, 0]
    assert numbers(model, [1.0]).ravel().tolist() == [0]


def test_a_series_runs_from_its_start_to_its_end():
    model = intervened({"from": "1 s", "every": "2 s", "to": "5 s", "add": {"X": 1}})
    assert numbers(model, [0.0, 1.0, 2.0, 3.0, 5.0, 9.0]).ravel().tolist() == [5, 6, 6, 7, 8, 8]
    endless = make_model(
        [1], **STILL, run={"duration": "7 s"}, interventions=[{"from": 1, "every": 2, "add": {"X": 1}}]
    )
    assert numbers(endless, [7.0]).ravel() == 5 + 4


def test_a_concentration_is_multiplied_by_the_fluid_volume():
    model = intervened({"at": [1], "add": {"X": "0.01 /um^3"}}, spacing=10.0, lattice={"fluid_fraction": 0.5})
    assert numbers(model, [1.0]).ravel() == 5 + 5


def test_parts_of_molecules_are_rounded_at_random_so_that_the_mean_is_exact():
    """0.3 molecules in 20,000 voxels: Binomial(20,000, 0.3), exact tails."""
    model = intervened({"at": [1], "add": {"X": "0.3 /um^3"}}, shape=(200, 100))
    added = numbers(model, [1.0]) - 5
    assert set(np.unique(added)) == {0, 1}
    assert gates.binomial_p(added.sum(), added.size, 0.3) > gates.ALPHA
    assert not np.array_equal(added, numbers(model, [1.0], seed=1) - 5)


def test_more_is_never_taken_than_is_there():
    model = intervened({"at": [1], "add": {"X": -8}})
    assert numbers(model, [1.0]).ravel() == 0


def test_species_in_cells_are_set_in_every_cell_and_cells_are_removed_with_their_content():
    tables = {
        "cells": {"tumour": {}, "CAF": {}},
        "species": {"X": {"in": "cell"}},
        "place": [{"cells": "tumour", "box": box_of(0)}, {"cells": "CAF", "box": box_of(1)}],
    }
    add, remove = {"at": [1], "add": {"X": 4}}, {"at": [2], "remove": ["tumour"]}
    for engine in ("leap", "mean_field"):
        trajectory = simulate(intervened(add, remove, shape=(3,), **tables), [1.0, 2.0], engine=engine)
        assert counts(trajectory, "X")[0].tolist() == [[4, 4, 0], [0, 4, 0]]
        assert counts(trajectory, "tumour")[0].tolist() == [[1, 0, 0], [0, 0, 0]]
        assert counts(trajectory, "CAF")[0].tolist() == [[0, 1, 0], [0, 1, 0]]


def test_a_changed_parameter_changes_rates_and_observables_from_then_on():
    """Deaths from 20,000 at 0.1 /s for 5 s, then 0.5 /s for 2 s: binomial, exact tails."""
    model = intervened(
        {"at": [5], "set": {"k": "5 * k"}},
        species={"X": {"initial": 20_000}},
        parameters={"k": "0.1 /s"},
        reactions=[{"equation": "X ->", "rate": "k"}],
        observables={"k": {"value": "k"}},
    )
    trajectory = simulate(model, [4.0, 5.0, 7.0], seed=3)
    np.testing.assert_allclose(trajectory.observables["k"][0], [0.1, 0.5, 0.5], rtol=1e-6)
    left = counts(trajectory, "X")[0, :, 0]
    assert gates.binomial_p(left, 20_000, np.exp([-0.4, -0.5, -1.5])) > gates.ALPHA


def test_a_fast_rate_that_comes_with_an_intervention_bounds_the_step():
    model = intervened(
        {"at": [50], "set": {"k": "100 /s"}},
        parameters={"k": "0 /s"},
        reactions=[{"equation": "X ->", "rate": "k"}],
    )
    assert model.problem.step_bound_s == pytest.approx(-np.log(0.9) / 100, rel=1e-5)


def test_a_condition_acts_once_or_each_time_it_becomes_true():
    growth = {"reactions": [{"equation": "-> X", "rate": 50.0}], "species": {"X": {}}}
    event = {"when": "total(X) >= 100", "set": {"X": 0}}
    once, again = intervened(event, **growth), intervened({**event, "repeat": True}, **growth)
    times = np.arange(0.0, 20.5, 0.5)
    assert numbers(once, times, time_step=0.05).max() > 300
    found = numbers(again, times, time_step=0.05).ravel()
    # tested every 0.1 s, in which 5 molecules come; P(Poisson(5) > 25) = 1e-10
    assert 50 < found.max() < 125
    assert np.sum(np.diff(found) < 0) >= 7


def test_a_condition_that_holds_at_time_0_acts_then():
    assert numbers(intervened({"when": "total(X) < 6", "set": {"X": 100}}), [0.0]).ravel() == 100


def test_one_intervention_triggers_another_at_the_same_time_whatever_their_order():
    first = {"name": "first", "when": "t >= one", "set": {"X": 50}}
    second = {"name": "second", "when": "total(X) == 50", "add": {"X": 1}}
    scheduled = {"name": "scheduled", "at": [1], "set": {"X": 50}}
    for pair in ([first, second], [second, first], [scheduled, second], [second, scheduled]):
        assert numbers(intervened(*pair, parameters={"one": "1 s"}), [1.0]).ravel() == 51


def test_each_replicate_meets_its_condition_at_its_own_time():
    """Decay of one molecule at 1 /s, seen within 0.02 s: the time of the intervention is exponential."""
    model = intervened(
        {"when": "total(X) == 0", "set": {"when": "t"}},
        species={"X": {"initial": 1}},
        parameters={"when": "0 s"},
        reactions=[{"equation": "X ->", "rate": 1.0}],
        observables={"when": {"value": "when"}},
    )
    trajectory = simulate(model, [20.0], replicates=4000, time_step=0.01, seed=2)
    when = np.asarray(trajectory.observables["when"])[:, 0]
    when = when[when > 0] - 0.01  # seen 0.01 s late on average
    # Kolmogorov-Smirnov; rounding to 0.02 s moves the law by at most 0.01, far below 2.6 / sqrt(4000) = 0.041
    assert stats.kstest(when, "expon").statistic < 2.6 / np.sqrt(len(when)) + 0.01
    assert len(when) == 4000


def test_bits_do_not_depend_on_interventions_of_other_species_or_on_those_that_never_act():
    base = {"species": {"X": {"initial": 100}, "Y": {}}, "reactions": [{"equation": "X ->", "rate": 0.1}]}
    plain = numbers(make_model([1], **base), [1.0, 2.0, 3.0])
    never = {"when": "total(X) > 1000", "set": {"X": 0}}
    other = {"at": [2], "add": {"Y": "0.5 /um^3"}}
    late = {"at": [30], "set": {"X": 0}}
    assert np.array_equal(plain, numbers(intervened(never, other, late, **base), [1.0, 2.0, 3.0]))


def test_the_schedule_does_not_depend_on_whether_the_time_of_an_intervention_is_recorded():
    base = {"species": {"X": {"initial": 1000}}, "reactions": [{"equation": "X ->", "rate": 0.1}]}
    model = intervened({"at": [2], "add": {"X": 100}}, **base)
    assert np.array_equal(numbers(model, [1.0, 2.0, 3.0])[2], numbers(model, [1.0, 3.0])[1])


def test_vmap_over_parameters_gives_what_single_calls_give():
    model = intervened(
        {"at": [1], "add": {"X": 10}, "set": {"k": "2 * k"}},
        {"when": "total(X) < 30", "set": {"X": 60}},
        species={"X": {"initial": 50}},
        parameters={"k": "0.2 /s"},
        reactions=[{"equation": "X ->", "rate": "k"}],
    )

    def last(k):
        return simulate(model, [1.0, 5.0], parameters={"k": k}, seed=4, time_step=0.1)["X"][0, :, 0]

    ks = jnp.asarray([0.1, 0.4])
    assert np.array_equal(jax.vmap(last)(ks), np.stack([last(k) for k in ks]))


def test_derivatives_go_through_scheduled_interventions():
    """dX/dt = s - k X from 5; at t = 1 X += d and k := c k; closed form at t = 3 and its derivatives."""
    model = intervened(
        {"name": "dose", "at": [1], "add": {"X": "d"}, "set": {"k": "c * k"}},
        parameters={"k": "0.3 /s", "c": 2.0, "d": 7.0, "s": "2 /s"},
        reactions=[{"equation": "X ->", "rate": "k"}, {"equation": "-> X", "rate": "s"}],
        run={"precision": "float64"},
    )

    def closed(p):
        flow = lambda x, k, t: x * jnp.exp(-k * t) + p["s"] / k * (1 - jnp.exp(-k * t))  # noqa: E731
        return flow(flow(5.0, p["k"], 1.0) + p["d"], p["c"] * p["k"], 2.0)

    def found(p):
        return simulate(model, [1.0, 3.0], parameters=p, engine="mean_field", time_step=0.002)["X"][0, -1, 0]

    with jax.enable_x64(True):
        point = {name: jnp.asarray(model.parameters[name]) for name in ("k", "c", "d", "s")}
        # second order: the error is of the size of (k dt)^2 / 12, below 1e-6
        for one, other in zip(
            jax.tree.leaves(jax.grad(found)(point)), jax.tree.leaves(jax.grad(closed)(point)), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_number_beyond_what_a_count_holds_stops_the_replicate():
    model = intervened({"at": [1, 2, 3], "set": {"X": "X * 1000"}}, species={"X": {"initial": 10_000}})
    with pytest.raises(ex.SimulationError, match=r"stopped at 2 s: the count of X in voxel \[0\] is out of range"):
        simulate(model, [1.0, 2.0, 3.0, 4.0])


def test_a_constant_species_keeps_its_number_reacts_and_is_never_short():
    model = make_model(
        [1],
        species={"S": {"constant": True, "initial": 3}, "Z": {"constant": True}, "X": {}},
        reactions=[
            {"name": "a", "equation": "S -> X", "rate": 2.0},
            {"name": "b", "equation": "Z -> X", "propensity": 4.0},
            {"name": "c", "equation": "X -> S", "rate": 1.0},
        ],
        interventions=[{"at": [30], "set": {"S": 8}}],
    )
    trajectory = simulate(model, [25.0, 60.0], replicates=4000, seed=1)
    assert np.all(counts(trajectory, "S")[..., 0] == [3, 8])
    assert np.all(counts(trajectory, "Z") == 0)
    # stationary Poisson of mean 3 * 2 + 4, then 8 * 2 + 4, up to e^-25; kurtosis 3 + 1/m
    for place, mean in enumerate((10.0, 20.0)):
        samples = counts(trajectory, "X")[:, place, 0]
        assert gates.mean_p(samples, mean, mean) > gates.ALPHA
        assert gates.variance_p(samples, mean, mean, 3 + 1 / mean) > gates.ALPHA
