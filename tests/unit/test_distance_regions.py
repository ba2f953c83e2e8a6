"""Regions by distance from placed cells."""

import numpy as np
import pytest

import exodiff as ex


def model(region, **more):
    return ex.Model.from_dict(
        {
            "schema": 1,
            "run": {"duration": "1 s"},
            "lattice": {"shape": [9, 9], "spacing": "10 um"},
            "cells": {"tumour": {}, "stroma": {}},
            "species": {"EV": {}},
            "regions": {"rim": region},
            "place": [
                {"cells": "tumour", "box": {"low": ["40 um", "40 um"], "high": ["50 um", "50 um"]}},
                {"cells": "stroma", "everywhere": True},
            ],
            **more,
        }
    )


@pytest.mark.parametrize(
    ("region", "voxels"),
    [
        ({"of": "tumour", "within": "10 um"}, 5),
        ({"of": "tumour", "within": "20 um"}, 13),
        ({"of": "tumour", "within": "20 um", "beyond": "10 um"}, 8),
        ({"of": "tumour", "beyond": "20 um"}, 81 - 13),
        ({"of": "tumour", "within": "1 um"}, 1),
    ],
)
def test_a_region_by_distance_holds_the_voxels_of_the_disc(region, voxels):
    assert model(region).fields["region.rim"].sum() == voxels


def test_it_crosses_periodic_walls():
    raw = {"lattice": {"shape": [9, 9], "spacing": "10 um", "boundary": "periodic"}}
    raw["place"] = [{"cells": "tumour", "box": {"low": [0, 0], "high": ["10 um", "10 um"]}}]
    mask = model({"of": "tumour", "within": "10 um"}, **raw).fields["region.rim"][..., 0]
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [0, 8], [1, 0], [8, 0]]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"of": "tumour"}, "regions.rim: of needs within, beyond or both"),
        ({"within": "10 um"}, "regions.rim: exactly one of"),
        ({"everywhere": True, "within": "10 um"}, "regions.rim: of needs within"),
        ({"of": "tumour", "within": "10 um", "beyond": "10 um"}, "regions.rim: beyond 10 um is not below within"),
        ({"of": "tumor", "within": "10 um"}, "regions.rim.of: 'tumor' is not defined .*did you mean 'tumour'"),
    ],
)
def test_wrong_regions_are_named(region, message):
    with pytest.raises(ex.ConfigError, match=message):
        model(region)


def test_cells_are_not_placed_by_what_is_measured_from_them():
    with pytest.raises(ex.ConfigError, match=r"place\[0\].region: 'rim' is measured from the cells"):
        model({"of": "tumour", "within": "10 um"}, place=[{"cells": "tumour", "region": "rim"}])
