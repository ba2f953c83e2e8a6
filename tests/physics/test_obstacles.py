"""Obstacles: voxels where nothing diffuses and a cell stands let nothing in, as a reflecting wall does."""

import numpy as np
import pytest

import exodiff as ex

BONE = {"bone": {"box": {"low": [4.0, 0.0], "high": [6.0, 4.0]}}}
AROUND = {"bone": 0.0, "default": "0.5 um^2/s"}


def model(shape, **tables):
    lattice = {"shape": shape, "spacing": "1 um"}
    return ex.Model.from_dict({"schema": 1, "run": {"duration": "1000 s"}, "lattice": lattice, **tables})


def with_obstacle(engine):
    """Vesicles, a field and moving cells left of a bone that reaches from y = 0 to y = 4 of 5."""
    built = model(
        [9, 5],
        regions=BONE,
        cells={"walker": {"motility": "0.1 um^2/s"}, "rock": {}},
        species={
            "EV": {"diffusion": AROUND},
            "drug": {
                "kind": "concentration", "unit": "nM", "solve": "implicit", "diffusion": AROUND, "decay": "0.01 /s"
            },
        },
        reactions=[
            {"equation": "walker -> walker + EV", "rate": "5 /s"},
            {"equation": "walker -> walker + drug", "rate": "5 /s"},
        ],
        place=[
            {"cells": "rock", "region": "bone"},
            {"cells": "walker", "box": {"low": [0.0, 0.0], "high": [3.0, 4.0]}, "fill": 0.7},
        ],
    )  # fmt: skip
    return ex.simulate(built, [20.0, 400.0], engine=engine, seed=3)


@pytest.mark.parametrize("engine", [pytest.param("leap", marks=pytest.mark.slow), "mean_field"])
def test_nothing_enters_an_obstacle_and_all_go_around_it(engine):
    found = with_obstacle(engine)
    for name in ("EV", "drug", "walker"):
        values = np.asarray(found[name])[0]
        assert not values[:, 4:6, :4].any(), name
        assert values[-1, 6:].sum() > 0, name


def test_a_whole_wall_of_obstacles_is_a_reflecting_wall():
    wall = {"wall": {"layer": {"axis": "x", "from": "4 um", "to": "5 um"}}}
    start = {"voxel": [1, 0], "count": 1000}
    blocked = model(
        [8, 1],
        regions=wall,
        species={"EV": {"diffusion": {"wall": 0.0, "default": "0.5 um^2/s"}, "initial": start}},
    )
    alone = model([4, 1], species={"EV": {"diffusion": {"default": "0.5 um^2/s"}, "initial": start}})
    found, wanted = (
        np.asarray(ex.simulate(m, [1.0, 5.0], engine="mean_field", time_step=0.1)["EV"])[0] for m in (blocked, alone)
    )
    assert not found[:, 4:].any()
    assert np.allclose(found[:, :4], wanted, rtol=1e-5)
