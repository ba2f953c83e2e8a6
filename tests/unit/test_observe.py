"""Observables of a known state against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.random import make_stream
from exodiff.lattice.grid import Grid
from exodiff.observe import current_inputs, measure, num_profile_bins, scalars, squared_distance_um2
from exodiff.start import initial_state, make_inputs, start_array
from tests.physics.models import make_model

SHAPE = (5, 4, 3)


@pytest.fixture(scope="module")
def measured():
    """A model, a state with random counts, and what is measured of it at 7 s."""
    model = make_model(
        list(SHAPE),
        spacing=[1.0, 2.0, 3.0],
        parameters={"k": 2.0, "per_s": "1 /s"},
        cells={"cell": {}, "other": {}},
        species={"A": {}, "R": {"in": "cell"}},
        regions={"low": {"layer": {"axis": "x", "from": 0.0, "to": 2.0}}},
        reactions=[{"name": "feed", "equation": "-> A", "rate": "per_s"}],
        observables={
            "total": {"value": "total(A)"},
            "share": {"value": "k * total(A, low) / total(A)"},
            "inside": {"value": "mean(R, cell)"},
            "nowhere": {"value": "mean(R, other)"},
            "fed": {"value": "events(feed)"},
            "profile": {"profile": {"of": "conc(A)", "from": "cell", "bin": "1.5 um"}},
            "histogram": {"histogram": {"of": "R", "over": "cell", "bins": [0, 2, 3, 6]}},
        },
        interventions=[{"name": "later", "at": [100], "set": {"k": 9}}],
    )
    random = np.random.default_rng(8)
    counts = random.integers(0, 2**29, (4, *SHAPE)).astype(np.int32)
    counts[2] = random.random(SHAPE) < 0.2
    counts[3] = 0
    counts[1] = random.integers(0, 8, SHAPE) * counts[2]
    inputs, nothing = make_inputs(model, None, "float32"), jnp.zeros((), jnp.uint32)
    state = initial_state(model.problem, inputs, start_array(model, model.problem), nothing, nothing)
    state = type(state)(
        state.pair,
        jnp.asarray(counts),
        jnp.asarray([[3, 5]], jnp.uint32),
        jnp.asarray([4.0]),
        state.was_true,
        state.health,
    )
    return (
        model,
        inputs,
        state,
        counts,
        measure(model.problem, inputs, state, jnp.asarray(7.0), make_stream(jnp.uint32(0), jnp.uint32(0))),
    )


def test_scalars_are_exact_arithmetic_on_exact_totals(measured):
    model, _, _, counts, found = measured
    values = scalars(model.problem, jax.tree.map(np.asarray, found), model.parameters, 7.0, np)
    total = int(counts[0].sum(dtype=np.int64))
    assert total > 2**31
    assert values["total"] == total
    assert values["share"] == 4.0 * int(counts[0, :2].sum(dtype=np.int64)) / total  # k as an intervention left it
    assert values["inside"] == counts[1].sum() / counts[2].sum()
    assert np.isnan(values["nowhere"])
    assert values["fed"] == 3 * 2**32 + 5


def test_settings_stand_for_the_parameters_that_interventions_change(measured):
    model, inputs, state, _, _ = measured
    assert float(inputs.parameters["k"]) == 2.0
    assert float(current_inputs(model.problem, inputs, state).parameters["k"]) == 4.0


def test_a_profile_is_the_mean_over_voxels_by_distance_to_the_nearest_cell(measured):
    model, _, _, counts, found = measured
    at = np.stack(np.indices(SHAPE), -1).reshape(-1, 3) * [1.0, 2.0, 3.0]
    cells = at[counts[2].ravel() > 0]
    distance = np.sqrt(((at[:, None] - cells[None]) ** 2).sum(-1)).min(1)
    place = np.floor(distance / 1.5).astype(int)
    volume = 6.0
    expected = [
        (counts[0].ravel()[place == b] / volume).mean() if np.any(place == b) else np.nan
        for b in range(num_profile_bins(model.problem.grid, 1.5))
    ]
    np.testing.assert_allclose(found.arrays["profile"], expected, rtol=1e-5)


def test_a_histogram_counts_cells_between_edges_and_the_last_bin_is_closed(measured):
    _, _, _, counts, found = measured
    inside = counts[1][counts[2] > 0]
    assert np.any(inside == 6)
    np.testing.assert_array_equal(found.arrays["histogram"], np.histogram(inside, [0, 2, 3, 6])[0])


@pytest.mark.parametrize("periodic", [False, True])
def test_the_distance_is_that_to_the_nearest_origin_also_across_periodic_walls(periodic):
    wall = ("periodic",) * 2 if periodic else ("reflecting",) * 2
    shape, places = (23, 6), ((3, 1), (21, 5))
    grid = Grid((*shape, 1), (1.0, 2.0, 1.0), 1.0, (wall, wall, wall))
    origin = np.zeros(grid.shape, bool)
    x, y = np.indices(shape)
    squares = []
    for i, j in places:
        origin[i, j] = True
        dx, dy = abs(x - i), abs(y - j)
        if periodic:
            dx, dy = np.minimum(dx, shape[0] - dx), np.minimum(dy, shape[1] - dy)
        squares.append(dx**2 + (2.0 * dy) ** 2)
    np.testing.assert_array_equal(squared_distance_um2(jnp.asarray(origin), grid)[:, :, 0], np.minimum(*squares))
    assert np.all(np.isinf(squared_distance_um2(jnp.zeros(grid.shape, bool), grid)))
