"""From the file's language to numbers and static structure, by hand."""

import numpy as np
import pytest

import exodiff as ex
from exodiff.core.expressions import Name
from tests.physics.models import make_model


def test_literals_become_parameters_named_by_their_key_path_in_internal_units():
    model = make_model(
        [2],
        spacing="10 um",
        boundary={"x_low": {"fixed": {"A": "1e9 /mL"}}},
        lattice={"fluid_fraction": 0.2},
        parameters={"k": "36 /h", "q": {"by_cell": {"cell": "6 /min"}}},
        cells={"cell": {"motility": "0.01 um^2/s"}},
        species={
            "A": {"diffusion": "1e-8 cm^2/s", "decay": "0.36 /h", "initial": {"density": "2e9 /mL"}},
            "R": {"in": "cell", "initial": {"cell": 7}},
        },
        reactions=[
            {"name": "bind", "equation": "A + R -> R", "rate": "1 /nM/s"},
            {"name": "make", "equation": "cell -> cell + A", "rate": "k"},
        ],
    )
    assert model.parameters == pytest.approx(
        {
            "k": 0.01,
            "q.cell": 0.1,
            "cells.cell.motility": 0.01,
            "species.A.diffusion": 1.0,
            "species.A.decay": 1e-4,
            "species.A.initial.density": 2e-3,
            "species.R.initial.cell": 7.0,
            "reactions.bind.rate": 1 / 0.602214076,
            "lattice.boundary.x_low.fixed.A": 1e-3,
        }
    )
    rates = {channel.name: channel.rate for channel in model.problem.network.channels}
    assert rates["make"] == Name("k")
    assert rates["bind"] == Name("reactions.bind.rate")


def test_powers_of_the_volume_follow_the_number_of_molecules():
    model = make_model(
        [1],
        cells={"cell": {}},
        parameters={"per_s": "1 /s"},
        species={"A": {}, "R": {"in": "cell"}},
        reactions=[
            {"name": "source", "equation": "-> A", "rate": "2 /um^3/s"},
            {"name": "per_voxel", "equation": "-> A", "rate": "2 /s"},
            {"name": "one", "equation": "A ->", "rate": "2 /s"},
            {"name": "two", "equation": "A + R -> R", "rate": "2 um^3/s"},
            {"name": "three", "equation": "3 A ->", "rate": "2 um^6/s"},
            {"name": "of_cell", "equation": "cell + A -> cell", "rate": "2 /s"},
            {"name": "whole", "equation": "2 A ->", "propensity": "per_s"},
        ],
    )
    powers = {c.name: c.volume_power for c in model.problem.network.channels}
    assert powers == {"source": 1, "per_voxel": 0, "one": 0, "two": -1, "three": -2, "of_cell": 0, "whole": 0}


def test_the_first_counts_are_placed_where_the_file_says():
    model = make_model(
        [3, 2],
        cells={"a": {}, "b": {}},
        species={"X": {"initial": {"voxel": [2, 1], "count": 9}}, "Y": {"initial": 4}},
        place=[
            {"cells": "a", "box": {"low": [0.0, 0.0], "high": [2.0, 1.0]}},
            {"cells": "b", "everywhere": True},
            {"cells": "b", "box": {"low": [0.0, 0.0], "high": [1.0, 1.0]}, "replace": True},
        ],
    )
    x, y, a, b = model.start[..., 0]
    assert model.start.dtype == np.int32
    assert np.argwhere(x).tolist() == [[2, 1]]
    assert x[2, 1] == 9
    assert np.all(y == 4)
    assert np.argwhere(a).tolist() == [[1, 0]]
    assert np.array_equal(b, 1 - a)


def test_species_stand_in_the_order_free_in_cells_cell_types():
    model = make_model([1], cells={"c": {}}, species={"R": {"in": "cell"}, "A": {}, "S": {"in": "cell"}, "B": {}})
    network = model.problem.network
    assert network.species == ("A", "B", "R", "S", "c")
    assert (network.free, network.in_cell, network.cell_types) == (("A", "B"), ("R", "S"), ("c",))


def test_totals_are_recorded_when_the_file_names_no_observable():
    model = make_model([1], cells={"c": {}}, species={"A": {"initial": 3}})
    found = ex.simulate(model, [0.0]).observables
    assert {name: float(values[0, 0]) for name, values in found.items()} == {"total_A": 3.0, "total_c": 0.0}


def test_placement_is_drawn_from_the_seed_of_the_file_alone():
    def cells(seed, **tables):
        place = [{"cells": "c", "everywhere": True, "fill": 0.5}]
        return make_model([20, 20], run={"seed": seed}, cells={"c": {}}, place=place, **tables).start[-1]

    assert np.array_equal(cells(1), cells(1, species={"A": {}}))
    assert not np.array_equal(cells(1), cells(2))
    # 400 voxels at 1/2: 5 standard errors are 50
    assert abs(cells(1).sum() - 200) < 50
