"""`exact` against the master equation, the lattice generator and closed forms: there is no step, so no bias is allowed.

About 50 families at p < 2e-6: a false-alarm rate below 1e-4 for the file.
"""

import gates
import jax
import numpy as np
import pytest
import test_cells
from gates import ALPHA
from models import counts, make_model, simulate
from scipy import stats
from scipy.linalg import expm

import exodiff as ex
from tests.physics.checks import fsp

# ----- one voxel, and a few: the direct method


def _rare(num_channels, place):
    """Busy channels that change nothing but a count, and one with a relative rate of 1e-7."""
    busy = [f"busy{i}" for i in range(num_channels)]
    names = [*busy[:place], "rare", *busy[place:]]
    rates = {name: {"equation": f"-> {name}", "rate": "1e4 /s"} for name in busy}
    rates["rare"] = {"equation": "-> rare", "rate": f"{1e-3 * num_channels:g} /s"}
    return make_model([1], species={name: {} for name in names}, reactions=[rates[name] for name in names])


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_channel_of_relative_rate_1e_7_fires_as_often_as_it_should(place):
    # 3 channels of 1e4 /s and one of 3e-3 /s for 0.5 s: 8192 lanes make 1.2e8 events, and Poisson(12.3) rare ones
    found = simulate(_rare(3, place), [0.5], seed=5, replicates=8192, engine="exact")
    assert gates.poisson_p(found.total("rare").sum(), 8192 * 3e-3 * 0.5) > ALPHA
    busy = np.array([found.total(f"busy{i}").sum() for i in range(3)])
    assert gates.poisson_p(busy, 8192 * 5e3) > ALPHA


# ----- the lattice: the tree


@pytest.mark.slow
def test_a_box_between_fixed_walls_keeps_its_poisson_law():
    model = make_model(
        [6, 8],
        boundary={"y": "periodic", "x_low": {"fixed": {"A": 4.0, "B": 1.0}}, "x_high": {"fixed": {"A": 4.0, "B": 7.0}}},
        species={
            "A": {"diffusion": 1.0, "initial": {"poisson": 4.0}},
            "B": {"diffusion": 1.0},
        },
    )
    # the slowest mode of B dies as exp(-(pi/6)^2 t): 5e-4 of 4 molecules after 28 s, 1/30 of the noise of a mean
    found = simulate(model, [28.0], seed=2, replicates=40, engine="exact")
    assert gates.pmf_p(counts(found, "A"), stats.poisson.pmf(np.arange(60), 4.0)) > ALPHA
    profile = 1.0 + np.arange(6) + 0.5
    assert gates.poisson_p(counts(found, "B").sum((0, 1, 3)), 40 * 8 * profile) > ALPHA


# ----- cells, without a step


@pytest.fixture(scope="module")
def row():
    model = test_cells._row()
    return simulate(model, [0.0, test_cells.END], seed=31, replicates=1000, engine="exact")


def test_cells_divide_spawn_convert_die_and_fill_after_exponential_times(row):
    at_end = {
        "splits": test_cells.DIVISION + 1,
        "child": test_cells.SPAWN + 1,
        "parent": test_cells.RESET + 1,
        "old": test_cells.CONVERT,
        "filler": test_cells.FILL,
        "left": test_cells.DIE,
    }
    happened = [counts(row, name)[:, 1, voxel].sum() for name, voxel in at_end.items()]
    assert gates.binomial_p(happened, 1000, test_cells.HAPPENED) > ALPHA
    assert np.array_equal(counts(row, "left")[:, 1, test_cells.DIE], 1 - counts(row, "mortal")[:, 1, test_cells.DIE])
    for name, voxels in {"divide": (1, 13), "spawn": (4,), "convert": (19,), "die": (), "fill": (23,)}.items():
        cell = {"divide": "splits", "spawn": "child", "convert": "old", "fill": "filler"}.get(name)
        if cell:
            born = sum(counts(row, cell)[:, 1, voxel] for voxel in voxels)
            assert np.array_equal(np.asarray(row.observables[name])[:, 1], born)


def test_daughters_share_contents_and_the_dead_keep_none(row):
    start, voxel = test_cells.SPLIT_START, test_cells.DIVISION
    here, there = counts(row, "shared")[:, 1, voxel], counts(row, "shared")[:, 1, voxel + 1]
    divided = counts(row, "splits")[:, 1, voxel + 1] == 1
    assert np.all(here + there == start)
    assert gates.pmf_p(there[divided], stats.binom.pmf(np.arange(start + 1), start, 0.5)) > ALPHA
    cells = sum(counts(row, name) for name in row.problem.network.cell_types)
    assert cells.max() == 1
    for name in row.problem.network.in_cell:
        assert np.all(counts(row, name)[cells == 0] == 0)
    assert np.array_equal(counts(row, "shared")[:, 1, 4], 3 * counts(row, "child")[:, 1, 4])


def test_two_rivals_fill_the_hole_between_them_at_the_exact_rate(row):
    hole = test_cells.RIVALS + 1
    taken = counts(row, "splits")[:, 1, hole] == 1
    assert gates.binomial_p(taken.sum(), 1000, -np.expm1(-1.4 * test_cells.END)) > ALPHA


def test_a_lone_cell_walks_as_a_molecule_does_and_takes_its_counters_along():
    model = make_model(
        [5, 4],
        boundary={"x": "periodic"},
        cells={"walker": {"motility": 0.5}},
        place=[{"cells": "walker", "box": {"low": [1.0, 1.0, 0.0], "high": [2.0, 2.0, 1.0]}}],
        species={"counter": {"in": "cell", "initial": 5}},
    )
    found = simulate(model, [1.5], seed=17, replicates=1000, engine="exact")
    p = 1.0
    for size, start, periodic in ((5, 1, True), (4, 1, False)):
        generator = np.zeros((size, size))
        for i in range(size):
            for j in (i - 1, i + 1):
                if periodic or 0 <= j < size:
                    generator[i, j % size] += 0.5
                    generator[i, i] -= 0.5
        p = np.multiply.outer(p, expm(1.5 * generator)[start])
    assert gates.binomial_p(counts(found, "walker").sum((0, 1)), 1000, p) > ALPHA
    assert np.array_equal(counts(found, "counter"), 5 * counts(found, "walker"))


def test_bursts_have_the_mean_and_variance_of_their_law():
    laws = {"poisson": "poisson(6)", "geometric": "geometric(6)"}
    model = make_model(
        [1],
        species={name: {} for name in laws},
        reactions=[{"equation": f"-> {law} {name}", "rate": "2 /s"} for name, law in laws.items()],
    )
    found = simulate(model, [2.0], seed=8, replicates=1000, engine="exact")
    # compound Poisson with 4 events: variance 4 E[b^2], fourth cumulant 4 E[b^4]; b geometric on 0, 1, ...
    for name, second, fourth in (("poisson", 42.0, 2850.0), ("geometric", 78.0, 39_390.0)):
        numbers = found.total(name)
        assert gates.mean_p(numbers, 24.0, 4 * second) > ALPHA
        assert gates.variance_p(numbers, 24.0, 4 * second, 3.0 + fourth / (4 * second**2)) > ALPHA


def test_loaded_vesicles_carry_the_compound_law_of_their_load():
    model = make_model([1], species={"A": {}}, reactions=[{"equation": "-> loaded(0.3, 5) A", "rate": "2 /s"}])
    numbers = simulate(model, [2.0], seed=9, replicates=2000, engine="exact").total("A")
    # compound Poisson with 4 events: variance 4 f E[b^2], fourth cumulant 4 f E[b^4], b Poisson(5)
    second, fourth = 4 * 0.3 * 30.0, 4 * 0.3 * 1555.0
    assert gates.mean_p(numbers, 6.0, second) > ALPHA
    assert gates.variance_p(numbers, 6.0, second, 3.0 + fourth / second**2) > ALPHA


@pytest.mark.parametrize("shape", [[4], [70]])
def test_events_are_counted_in_their_region(shape):
    # in lock step (4 voxels) and on the tree (70): Poisson numbers of each region, and no event is lost
    model = make_model(
        shape,
        regions={"left": {"box": {"low": [0.0, 0.0, 0.0], "high": [1.0, 1.0, 1.0]}}},
        species={"A": {}},
        reactions=[{"name": "make", "equation": "-> A", "rate": "2 /s"}],
        observables={"all": {"value": "events(make)"}, "left": {"value": "events(make, left)"}},
    )
    found = simulate(model, [3.0], seed=6, replicates=200, engine="exact")
    events, left = (np.asarray(found.observables[name])[:, 0] for name in ("all", "left"))
    assert np.array_equal(events, found.total("A")[:, 0])
    assert np.array_equal(left, counts(found, "A")[:, 0].reshape(200, -1)[:, 0])
    assert gates.poisson_p(np.array([left.sum(), events.sum()]), 200 * 6.0 * np.array([1, shape[0]])) > ALPHA


def test_rates_follow_the_cells_next_door():
    # a source beside voxels 0 and 2 makes there at 3 /s, until it dies at 1 /s; nothing is made elsewhere
    model = make_model(
        [5],
        cells={"source": {}},
        place=[{"cells": "source", "box": {"low": [1.0, 0.0, 0.0], "high": [2.0, 1.0, 1.0]}}],
        species={"A": {}},
        reactions=[
            {"equation": "-> A", "rate": "k * near(source)"},
            {"equation": "source ->", "rate": "1 /s"},
        ],
        parameters={"k": "3 /s"},
    )
    made = counts(simulate(model, [30.0], seed=7, replicates=1000, engine="exact"), "A")[:, 0].reshape(1000, 5)
    assert made[:, [1, 3, 4]].sum() == 0
    # Poisson with an exponential mean is geometric: both voxels together end after n with (1/7) (6/7)^n
    assert gates.pmf_p(made.sum(1), stats.geom.pmf(np.arange(1, 200), 1 / 7)) > ALPHA


@pytest.mark.parametrize("shape", [[1], [70]])
def test_double_precision_gives_the_poisson_law(shape):
    model = make_model(
        shape,
        run={"precision": "float64"},
        species={"A": {}},
        reactions=[{"equation": "-> A", "rate": "4 /s"}, {"equation": "A ->", "rate": "1 /s"}],
    )
    found = simulate(model, [1.0], seed=3, replicates=70, engine="exact")
    assert gates.pmf_p(counts(found, "A"), stats.poisson.pmf(np.arange(60), 4.0 * -np.expm1(-1.0))) > ALPHA


def test_an_event_of_rate_zero_never_happens():
    # on the tree: channels that are off beside one of 1 /s and, at first, one of 1e-20 /s
    model = make_model(
        [70],
        species={"A": {}, "B": {}, "C": {"initial": 1}},
        parameters={"off": "0 /s"},
        reactions=[
            {"equation": "-> B", "rate": "off"},
            {"equation": "C -> A", "rate": "1e-20 /s"},
            {"equation": "A -> B", "rate": "off"},
            {"equation": "-> A", "rate": "1 /s"},
            {"equation": "2 B -> B", "rate": 1.0},
        ],
    )
    found = simulate(model, [10.0], seed=3, replicates=5, engine="exact")
    assert np.all(counts(found, "B") == 0)
    assert np.all(counts(found, "C") == 1)


@pytest.mark.parametrize("shape", [[1], [70]])
def test_uneven_records_are_those_of_even_ones(shape):
    model = make_model(
        shape,
        species={"A": {}},
        reactions=[{"equation": "-> A", "rate": "4 /s"}, {"equation": "A ->", "rate": "1 /s"}],
    )
    few = simulate(model, [0.01, 3.0], seed=3, replicates=7, engine="exact")
    many = simulate(model, [0.0, 0.01, 0.011, 1.0, 2.9, 3.0], seed=3, replicates=7, engine="exact")
    assert np.array_equal(counts(few, "A"), counts(many, "A")[:, [1, 5]])


def test_a_rate_that_names_the_time_is_refused():
    model = make_model(
        [1],
        species={"A": {}},
        run={"time_step": "1 s"},
        reactions=[{"equation": "-> A", "rate": "k * t"}],
        parameters={"k": "1 /s^2"},
    )
    with pytest.raises(ex.ConfigError, match="depends on t"):
        simulate(model, [1.0], engine="exact")


# ----- what bits may depend on


def _busy():
    return make_model(
        [4, 3],
        cells={"source": {"motility": 0.3}},
        place=[{"cells": "source", "everywhere": True, "fill": 0.3}],
        species={"EV": {"diffusion": 1.0, "initial": {"poisson": 2.0}}, "load": {"in": "cell", "initial": 3}},
        reactions=[
            {"name": "release", "equation": "source -> source + EV", "rate": "5 /s"},
            {"name": "loss", "equation": "2 EV ->", "rate": 0.02},
        ],
        observables={"lost": {"value": "events(loss)"}},
    )


@pytest.mark.parametrize("make", [pytest.param(_busy, marks=pytest.mark.slow), fsp.two_voxels])
def test_bits_depend_neither_on_records_nor_on_replicates(make):
    model = make()
    many = simulate(model, [0.5, 1.0, 2.0], seed=4, replicates=3, engine="exact")
    alone = simulate(model, [2.0], seed=4, engine="exact")
    for name in model.problem.network.species:
        assert np.array_equal(counts(many, name)[0, -1], counts(alone, name)[0, -1])
    assert not np.array_equal(np.asarray(many.counts[0]), np.asarray(many.counts[1]))
    vmapped = jax.jit(jax.vmap(lambda seed: simulate(model, [2.0], seed=seed, engine="exact").counts))
    assert np.array_equal(np.asarray(vmapped(np.asarray([9, 4], np.uint32)))[1], np.asarray(alone.counts))


@pytest.mark.parametrize("make", [_busy, fsp.one_voxel])
def test_a_negative_rate_is_an_error(make):
    model = make()
    name = next(n for n in model.parameters if n.startswith("reactions."))
    with pytest.raises(ex.SimulationError, match=r"the rate of .* is -"):
        simulate(model, [1.0], parameters={name: -1.0}, engine="exact")
