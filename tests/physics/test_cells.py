"""Cells: conversion, death, division, spawning, filling, motility, and what they do to the counters they carry.

A row of voxels is cut into chambers by inert cells, so that one simulation answers many questions; a division alone in
its chamber has an exact law. About 40 families at p < 2e-6: a false-alarm rate below 1e-4 for the file.
"""

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import box_of, counts, make_model, simulate
from scipy import stats

import exodiff as ex

REPLICATES = 5_000
END = 1.0

# one character a voxel: # inert, . empty, others cell types
ROW = "a.#s.#f#gag#a.A#p.#c#d#.#"
DIVISION, SPAWN, FULL, RIVALS, RESET, CONVERT, DIE, FILL = 0, 3, 9, 12, 16, 19, 21, 23
TYPES = {"#": "inert", "a": "splits", "A": "splits", "s": "stem", "f": "inert", "g": "inert", "p": "parent"}
TYPES |= {"c": "young", "d": "mortal"}
SPLIT_START, RESET_START = 40, 7


def _row():
    """Counters: `shared` splits at division, `fixed` is reset to its first number."""
    place = [{"cells": TYPES[mark], "box": box_of(x)} for x, mark in enumerate(ROW) if mark != "."]
    every = ["inert", "splits", "stem", "child", "parent", "young", "old", "mortal", "filler"]
    return make_model(
        [len(ROW)],
        cells={name: {} for name in every},
        place=place,
        regions={"hole": {"box": box_of(FILL)}},
        species={
            "shared": {
                "in": "cell",
                "initial": {"splits": SPLIT_START, "stem": 11, "child": 3, "young": 9, "mortal": 8},
            },
            "fixed": {
                "in": "cell",
                "on_division": "reset",
                "initial": {"parent": RESET_START, "young": 5, "filler": 2},
            },
            "left": {"initial": 0},
            "used": {"in": "cell", "initial": {"parent": 6}},
        },
        reactions=[
            {"name": "divide", "equation": "splits -> 2 splits", "rate": "0.7 /s"},
            {"name": "spawn", "equation": "stem -> stem + child", "rate": "0.7 /s"},
            {"name": "reset", "equation": "parent -> 2 parent", "rate": "0.7 /s"},
            {"name": "convert", "equation": "young -> old", "rate": "0.7 /s"},
            {"name": "die", "equation": "mortal -> left", "rate": "0.7 /s"},
            {"name": "fill", "equation": "-> filler", "rate": "0.7 /s", "region": "hole"},
            {"name": "use", "equation": "fixed + parent -> parent", "rate": "0.8 /s"},
        ],
        observables={name: {"value": f"events({name})"} for name in ("divide", "spawn", "convert", "die", "fill")},
    )


@pytest.fixture(scope="module")
def row():
    model = _row()
    return simulate(model, [0.0, END], seed=31, replicates=REPLICATES, time_step=0.05)


def _at_end(row, name, voxel):
    return counts(row, name)[:, 1, voxel]


HAPPENED = -np.expm1(-0.7 * END)  # one cell, one event: exponential, at any step


@pytest.mark.parametrize(
    ("what", "cell", "voxel"),
    [
        ("division", "splits", DIVISION + 1),
        ("spawning", "child", SPAWN + 1),
        ("division with reset", "parent", RESET + 1),
        ("conversion", "old", CONVERT),
        ("filling", "filler", FILL),
    ],
)
def test_one_event_waits_an_exponential_time(row, what, cell, voxel):
    assert gates.binomial_p(_at_end(row, cell, voxel).sum(), REPLICATES, HAPPENED) > ALPHA, what


def test_death_waits_an_exponential_time_and_leaves_its_product(row):
    alive, left = _at_end(row, "mortal", DIE), _at_end(row, "left", DIE)
    assert gates.binomial_p(alive.sum(), REPLICATES, 1.0 - HAPPENED) > ALPHA
    assert np.array_equal(left, 1 - alive)


def test_no_voxel_ever_holds_two_cells_and_counters_live_in_cells(row):
    cells = sum(counts(row, name) for name in row.problem.network.cell_types)
    assert cells.max() == 1
    for name in row.problem.network.in_cell:
        assert np.all(counts(row, name)[cells == 0] == 0)
        assert counts(row, name).min() >= 0


def test_division_splits_counters_binomially_and_keeps_every_molecule(row):
    here, there = _at_end(row, "shared", DIVISION), _at_end(row, "shared", DIVISION + 1)
    divided = _at_end(row, "splits", DIVISION + 1) == 1
    assert np.all(here + there == SPLIT_START)
    assert np.all(there[~divided] == 0)
    # 2,500 divided cells: Binomial(40, 1/2)
    assert gates.pmf_p(there[divided], stats.binom.pmf(np.arange(SPLIT_START + 1), SPLIT_START, 0.5)) > ALPHA


def test_division_with_reset_gives_both_daughters_their_first_number(row):
    here, there = _at_end(row, "fixed", RESET), _at_end(row, "fixed", RESET + 1)
    divided = _at_end(row, "parent", RESET + 1) == 1
    assert np.all(there[~divided] == 0)
    # until the division, at an age u, 7 molecules decay; from it on each daughter has 7 new ones
    k, hazard = 0.8, 0.7
    u = (np.arange(2000) + 0.5) / 2000 * END
    weight = hazard * np.exp(-hazard * u)
    binom = stats.binom.pmf(np.arange(RESET_START + 1)[:, None], RESET_START, np.exp(-k * (END - u)))
    daughter = (binom * weight).sum(1) / weight.sum()
    # the division comes in the middle of a pair of steps (0.1 s): second order, bias below (0.1 x 0.8)^2 / 24 = 3e-4
    assert gates.pmf_p(there[divided], daughter) > ALPHA
    assert gates.pmf_p(here[divided], daughter) > ALPHA
    undivided = stats.binom.pmf(np.arange(RESET_START + 1), RESET_START, np.exp(-k * END))
    assert gates.pmf_p(here[~divided], undivided) > ALPHA


def test_a_spawned_cell_starts_from_its_own_initial_and_the_parent_keeps_everything(row):
    born = _at_end(row, "child", SPAWN + 1)
    assert np.array_equal(_at_end(row, "shared", SPAWN + 1), 3 * born)
    assert np.all(_at_end(row, "shared", SPAWN) == 11)
    assert np.all(_at_end(row, "stem", SPAWN) == 1)
    assert np.array_equal(_at_end(row, "fixed", FILL), 2 * _at_end(row, "filler", FILL))


def test_conversion_keeps_counters_and_death_removes_them(row):
    assert np.all(_at_end(row, "shared", CONVERT) == 9)
    assert np.all(_at_end(row, "fixed", CONVERT) == 5)
    assert np.all(_at_end(row, "young", CONVERT) + _at_end(row, "old", CONVERT) == 1)
    assert np.array_equal(_at_end(row, "shared", DIE), 8 * _at_end(row, "mortal", DIE))


def test_nothing_happens_without_an_empty_neighbour(row):
    assert np.all(_at_end(row, "shared", FULL) == SPLIT_START)
    for name in ("splits", "inert", "stem"):
        start, end = counts(row, name)[:, 0], counts(row, name)[:, 1]
        untouched = [x for x, mark in enumerate(ROW) if mark in "#fgs"] + [FULL]
        assert np.array_equal(start[:, untouched], end[:, untouched])


def test_two_rivals_win_the_hole_between_them_equally_often(row):
    left, hole, right = (_at_end(row, "shared", RIVALS + i) for i in range(3))
    taken = _at_end(row, "splits", RIVALS + 1) == 1
    assert np.all(left + hole + right == 2 * SPLIT_START)
    from_left = taken & (left < SPLIT_START)
    from_right = taken & (right < SPLIT_START)
    neither = taken & (left == SPLIT_START) & (right == SPLIT_START)  # daughter with none: 2^-40
    assert not neither.any()
    assert not (from_left & from_right).any()
    assert gates.binomial_p(from_left.sum(), int(taken.sum()), 0.5) > ALPHA
    # a collision (both in one pair of steps of 0.1 s) loses one claim, but the hole is filled: the rate is exact
    assert gates.binomial_p(taken.sum(), REPLICATES, -np.expm1(-1.4 * END)) > ALPHA


def test_events_are_counted_as_cells_appear(row):
    born = sum(_at_end(row, "splits", v) for v in (DIVISION + 1, RIVALS + 1))
    assert np.array_equal(np.asarray(row.observables["divide"])[:, 1], born)
    assert np.array_equal(np.asarray(row.observables["spawn"])[:, 1], _at_end(row, "child", SPAWN + 1))
    assert np.array_equal(np.asarray(row.observables["convert"])[:, 1], _at_end(row, "old", CONVERT))
    assert np.array_equal(np.asarray(row.observables["die"])[:, 1], _at_end(row, "left", DIE))
    assert np.array_equal(np.asarray(row.observables["fill"])[:, 1], _at_end(row, "filler", FILL))


# ----- a cell alone in a large box

BOX = (7, 7, 7)
SPACING = (1.0, 1.25, 1.0)
MOTILITY = 0.05
WALKS = 2000


@pytest.fixture(scope="module")
def wanderer():
    """One cell in the middle with 5 counters; 2 s in 10 pairs of steps: the walls are 6.7 sigma away."""
    middle = [n // 2 * h for n, h in zip(BOX, SPACING, strict=True)]
    model = make_model(
        list(BOX),
        spacing=list(SPACING),
        cells={"walker": {"motility": MOTILITY}},
        place=[
            {"cells": "walker", "box": {"low": middle, "high": [m + h for m, h in zip(middle, SPACING, strict=True)]}}
        ],
        species={"counter": {"in": "cell", "initial": 5}, "still": {"initial": 1}},
        reactions=[{"equation": "still ->", "rate": "0.01 /s"}],
    )
    return simulate(model, [0.2, 2.0], seed=17, replicates=WALKS, time_step=0.1)


def test_a_free_cell_walks_with_mean_zero_and_variance_2_d_t(wanderer):
    cell = counts(wanderer, "walker")
    assert np.all(cell.sum((2, 3, 4)) == 1)
    voxel = np.stack(np.unravel_index(cell[:, 1].reshape(WALKS, -1).argmax(1), BOX), -1)
    displacement = (voxel - np.array(BOX) // 2) * np.array(SPACING)
    # a pair of steps of T = 0.2 s moves with p = 1 - exp(-2 sum_a D/h_a^2 T), along a in proportion to D/h_a^2, so the
    # variance of n pairs is n p h_a^2 (D/h_a^2) / (sum D/h^2) = 2 D t (1 - sum_a D/h_a^2 T + ...): first order, 2.6 %
    rates = MOTILITY / np.array(SPACING) ** 2
    p = -np.expm1(-2.0 * rates.sum() * 0.2)
    variance = 10 * p * np.array(SPACING) ** 2 * rates / rates.sum()
    assert np.allclose(variance, 2 * MOTILITY * 2.0, rtol=0.03)
    # fourth moment of a sum of n independent steps of variance v and fourth moment v h^2
    single = variance / 10
    fourth = 10 * single * np.array(SPACING) ** 2 + 3 * 10 * 9 * single**2
    assert gates.mean_p(displacement, np.zeros(3), variance) > ALPHA
    assert gates.variance_p(displacement, 0.0, variance, fourth / variance**2) > ALPHA


def test_a_cell_goes_to_all_neighbours_by_their_rate(wanderer):
    cell = counts(wanderer, "walker")[:, 0]  # after one pair of steps: at most one hop
    voxel = np.stack(np.unravel_index(cell.reshape(WALKS, -1).argmax(1), BOX), -1) - np.array(BOX) // 2
    rates = MOTILITY / np.array(SPACING) ** 2
    p = -np.expm1(-2.0 * rates.sum() * 0.2) * rates / (2.0 * rates.sum())
    seen = [(voxel[:, axis] == step).sum() for axis in range(3) for step in (-1, 1)]
    assert gates.binomial_p(seen, WALKS, np.repeat(p, 2)) > ALPHA
    assert sum(seen) + np.all(voxel == 0, axis=1).sum() == WALKS


def test_counters_move_with_their_cell(wanderer):
    assert np.array_equal(counts(wanderer, "counter"), 5 * counts(wanderer, "walker"))


# ----- crowds

CROWD = (6, 5, 4)


def _crowd(seed, fill):
    return make_model(
        list(CROWD),
        boundary={"y": "periodic"},
        run={"seed": seed},
        cells={"fast": {"motility": 1.0}, "slow": {"motility": 0.2}, "wall": {}},
        place=[
            {"cells": "wall", "everywhere": True, "fill": 0.1},
            {"cells": "fast", "everywhere": True, "fill": fill},
            {"cells": "slow", "everywhere": True, "fill": fill},
        ],
        species={
            "tag": {"in": "cell", "initial": {"fast": 3, "slow": 100}},
            "born": {"in": "cell"},
            "free": {"initial": 1},
        },
        reactions=[
            {"equation": "-> born", "rate": "3 /s"},
            {"equation": "free ->", "rate": "0.01 /s"},
        ],
    )


@pytest.mark.parametrize("fill", [0.05, 0.3, 0.6, 0.95])
def test_a_crowd_loses_no_cell_and_no_counter(fill):
    for seed in range(3):
        found = simulate(_crowd(seed, fill), [0.0, 0.05, 1.0, 10.0], seed=seed, replicates=5, time_step=0.025)
        cells = {name: counts(found, name) for name in ("fast", "slow", "wall")}
        assert sum(cells.values()).max() <= 1
        for number in cells.values():
            assert np.all(number.sum((2, 3, 4)) == number[:, :1].sum((2, 3, 4)))
        assert np.array_equal(cells["wall"], np.broadcast_to(cells["wall"][:, :1], cells["wall"].shape))
        assert np.array_equal(counts(found, "tag"), 3 * cells["fast"] + 100 * cells["slow"])
        born = counts(found, "born")
        assert np.all(born[sum(cells.values()) == 0] == 0)
        # what is born is never lost: Poisson(3 per cell and second)
        number = sum(cells.values())[0, 0].sum()
        assert gates.poisson_p(born.sum((2, 3, 4))[:, 1:], number * 3 * np.array([0.05, 1.0, 10.0])) > ALPHA


@pytest.fixture(scope="module")
def growth():
    """Voxels of 1 um; one founder in the corner."""
    model = make_model(
        [7, 6],
        cells={"tumour": {}},
        place=[{"cells": "tumour", "box": box_of(3, 3)}],
        species={"mark": {"in": "cell", "initial": 1000}, "shed": {}},
        reactions=[
            {"equation": "tumour -> 2 tumour", "rate": "1 /s"},
            {"equation": "mark + tumour -> mark + tumour + shed", "rate": "0.001 /s"},
        ],
    )
    return simulate(model, [0.5, 1.0, 2.0, 4.0, 40.0], seed=9, replicates=200, time_step=0.05)


def test_a_growing_tumour_fills_its_box_and_stops(growth):
    cells = counts(growth, "tumour")
    total = cells.sum((2, 3))
    assert cells.max() == 1
    assert np.all(np.diff(total, axis=1) >= 0)
    assert np.all(total[:, -1] == 42)
    assert np.all(counts(growth, "mark").sum((2, 3)) == 1000)
    assert np.all(counts(growth, "mark")[cells == 0] == 0)
    # early growth is a Yule process, from which space and lost claims can only subtract: mean <= e^t, and at least 95 %
    # of it at 0.5 s (a cell with three of four neighbours free still divides at the full rate)
    yule = np.exp(0.5)
    spread = np.sqrt((yule**2 - yule) / 200)
    assert total[:, 0].mean() < yule + 5 * spread
    assert total[:, 0].mean() > 0.95 * yule - 5 * spread


def test_mean_field_occupancies_stay_between_0_and_1_and_conserve():
    model = make_model(
        [7, 6],
        boundary={"y": "periodic"},
        run={"engine": "mean_field", "precision": "float64"},
        cells={"fast": {"motility": "0.5 um^2/s"}, "slow": {"motility": 0.1}, "grower": {}},
        place=[
            {"cells": "fast", "layer": {"axis": "x", "from": 0, "to": 2}},
            {"cells": "slow", "layer": {"axis": "x", "from": 3, "to": 4}},
            {"cells": "grower", "layer": {"axis": "x", "from": 6, "to": 7}},
        ],
        species={"tag": {"in": "cell", "initial": {"fast": 3.0, "slow": 7.0, "grower": 1.0}}},
        reactions=[{"equation": "grower -> 2 grower", "rate": "0.2 /s"}],
    )
    found = simulate(model, [0.1, 1.0, 5.0, 30.0], time_step=0.05)
    cells = sum(counts(found, name) for name in ("fast", "slow", "grower"))
    for name in ("fast", "slow", "grower"):
        assert counts(found, name).min() >= -1e-12
    assert cells.max() <= 1.0 + 1e-9
    assert np.allclose(found.total("fast"), 12.0, rtol=1e-9)
    assert np.allclose(found.total("slow"), 6.0, rtol=1e-9)
    assert np.all(np.diff(found.total("grower")[0]) > 0)
    assert np.allclose(found.total("tag"), 3 * 12 + 7 * 6 + 6, rtol=1e-9)


# ----- known faults

STILL = {"diffusion": 0.001}  # so that the list of operations holds something


def test_the_automatic_step_resolves_motility():
    model = make_model(
        [31],
        cells={"walker": {"motility": 1.0}},
        place=[{"cells": "walker", "box": box_of(15)}],
        species={"still": STILL},
    )
    found = simulate(model, [5.0], seed=1, replicates=1000)
    x = counts(found, "walker")[:, 0].argmax(1) - 15
    # variance 2 D t = 10; a tolerance of 0.1 a step allows about 10 % of loss; five standard errors of 4.5 %
    assert abs(x.var() / 10.0 - 1.0) < 0.10 + 5 * np.sqrt(2 / 1000)


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_a_model_may_consist_of_moving_cells_alone(engine):
    model = make_model(
        [5],
        run={"engine": engine},
        cells={"a": {}},
        place=[{"cells": "a", "box": box_of(0)}],
        reactions=[{"equation": "a -> 2 a", "rate": "1 /s"}],
    )
    assert np.all(simulate(model, [1.0], time_step=0.25).total("a") >= 1)


def test_a_division_may_use_up_counters():
    model = make_model(
        [2],
        cells={"a": {}},
        place=[{"cells": "a", "box": box_of(0)}],
        species={
            "fuel": {"in": "cell", "initial": 3},
            "clock": {"in": "cell", "initial": 2, "on_division": "reset"},
            "still": STILL,
        },
        reactions=[{"equation": "a + fuel + clock -> 2 a", "rate": 5.0}],
    )
    found = simulate(model, [0.05], seed=1, replicates=2000, time_step=0.01)
    divided = counts(found, "a")[:, 0, 1] == 1
    assert divided.any()
    assert np.array_equal(counts(found, "fuel")[:, 0].sum(1), 3 - divided)
    # of 3 one is used, the other two are split
    assert gates.pmf_p(counts(found, "fuel")[divided, 0, 1], stats.binom.pmf(np.arange(3), 2, 0.5)) > ALPHA
    assert np.all(counts(found, "clock")[divided, 0] == 2)


def test_a_reaction_that_makes_what_lives_in_a_cell_and_kills_it_is_refused():
    reaction = {"equation": "a -> g", "rate": "1 /s"}
    with pytest.raises(ex.ConfigError, match="lets the cell die and makes 'g'"):
        make_model([2], cells={"a": {}}, species={"g": {"in": "cell"}}, reactions=[reaction])


def test_a_death_that_uses_up_a_molecule_of_the_cell_takes_all_of_them():
    model = make_model(
        [50],
        cells={"a": {}},
        place=[{"cells": "a", "everywhere": True}],
        species={"d": {"in": "cell", "initial": {"a": 3}}, "still": STILL},
        reactions=[{"equation": "a + d ->", "rate": "1 /s"}],
    )
    for engine in ("leap", "mean_field"):
        found = simulate(model, [0.5], seed=1, replicates=4 if engine == "leap" else 1, engine=engine)
        np.testing.assert_allclose(counts(found, "d"), 3 * counts(found, "a"), rtol=1e-5)
        # each of the 3 molecules kills at 1 /s: exp(-1.5) survive; 200 cells, 5 standard deviations
        alive = np.exp(-1.5)
        assert abs(np.mean(counts(found, "a")) - alive) < 5 * np.sqrt(alive * (1 - alive) / 200)


def test_mean_field_never_overfills_a_voxel_at_an_allowed_step():
    model = make_model(
        [5, 5],
        run={"engine": "mean_field"},
        cells={"a": {"motility": "0.5 um^2/s"}},
        place=[
            {"cells": "a", "layer": {"axis": "x", "from": 0, "to": 2}},
            {"cells": "a", "layer": {"axis": "x", "from": 3, "to": 5}},
        ],
        species={"still": STILL, "tag": {"in": "cell"}},
        reactions=[{"equation": "a -> 2 a", "rate": "1 /s"}],
    )
    with pytest.raises(ex.ConfigError, match="the exit rate of a"):
        simulate(model, [1.0], time_step=0.25)
    cells = counts(simulate(model, [0.5, 1.0, 2.0, 8.0], time_step=0.125), "a")
    assert np.all(cells >= -1e-6)
    assert np.all(cells <= 1.0 + 1e-5)


@pytest.mark.parametrize("engine", ["leap", "mean_field"])
def test_a_division_sped_up_by_a_factor_bounds_the_step_as_the_division_does(engine):
    """1000 molecules at 1e-3 /s each are a division rate of 1 /s a cell, and a propensity of 1 /s is one too."""
    tables = {
        "cells": {"a": {}},
        "place": [{"cells": "a", "box": box_of(0)}],
        "species": {"f": {"initial": 1000}, "still": STILL},
    }
    steps = []
    for reaction in (
        {"equation": "a -> 2 a", "rate": "1 /s"},
        {"equation": "a + f -> 2 a + f", "rate": "1e-3 /s"},
        {"equation": "a + f -> 2 a + f", "propensity": "1 /s"},
    ):
        model = make_model([8], run={"engine": engine}, reactions=[reaction], **tables)
        steps.append(model.problem.step_bound_s)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)


@pytest.mark.slow
def test_means_over_dying_cells_are_per_cell_in_both_engines():
    """A cell keeps its 1000 receptors until it dies, and a plain or by_cell rate per cell gives the same release."""
    tables = {
        "cells": {"a": {}},
        "place": [{"cells": "a", "everywhere": True}],
        "parameters": {"k": {"by_cell": {"a": "1 /s"}}},
        "species": {"r": {"in": "cell", "initial": {"a": 1000}}, "EV": {}, "still": STILL},
        "reactions": [
            {"equation": "a ->", "rate": "0.1 /s"},
            {"equation": "a -> a + EV", "rate": "k"},
        ],
        "observables": {"per_cell": {"value": "mean(r, a)"}, "released": {"value": "total(EV)"}},
    }
    model = make_model([100], **tables)
    leap = simulate(model, [5.0], seed=1, replicates=20, time_step=0.25).observables
    mean = simulate(model, [5.0], engine="mean_field", time_step=0.25).observables
    np.testing.assert_allclose(leap["per_cell"], 1000)
    np.testing.assert_allclose(mean["per_cell"], 1000, rtol=1e-4)
    # 2000 cells, each releases for min(T, 5) s with T of mean 10 s: mean 10 (1 - e^-1/2) = 3.935, and the release of
    # a cell has the variance var(min(T, 5)) + 3.935 < 3 + 4; 5 standard errors. The step adds (0.025)^2.
    expected = 100 * 10 * -np.expm1(-0.5)
    np.testing.assert_allclose(mean["released"], expected, rtol=0.025**2)
    assert abs(np.mean(leap["released"]) - expected) < 5 * np.sqrt(100 * 7 / 20) + 0.025**2 * expected
