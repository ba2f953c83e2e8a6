"""Lattices with names in a model file: how they are read, refused, written back, and filled."""

import tomllib

import numpy as np
import pytest

import exodiff as ex
from exodiff.config.load import config_hash, dump, from_mapping
from exodiff.core.errors import ConfigError

LUNG = {"shape": [3, 2], "spacing": "20 um", "fluid_fraction": 0.2, "represents": 10}
LIVER = {**LUNG, "shape": [4, 2], "represents": 20}


def tables(**changes):
    return {
        "schema": 1,
        "run": {"duration": "1 h"},
        "lattice": {"lung": LUNG, "liver": LIVER},
        "cells": {"wall": {}, "other": {}},
        "species": {"EV": {}},
        **changes,
    }


def mask(region, **changes):
    """x of the voxels of a region called r, by lattice."""
    model = ex.Model.from_dict(tables(regions={"r": region}, **changes))
    found = model.fields["region.r"][:, 0, 0] > 0
    return {name: list(np.flatnonzero(found[places])) for name, places in model.lattices.items()}


def test_lattices_lie_side_by_side_and_are_regions():
    model = ex.Model.from_dict(tables())
    assert model.problem.grid.user_shape == (7, 2)
    assert model.lattices == {"lung": slice(0, 3), "liver": slice(3, 7)}
    assert model.problem.regions == ("lung", "liver")
    assert model.problem.pools.represents == (("lung", 10), ("liver", 20))
    assert "7 x 2 voxels (lung, liver)" in repr(model)
    for name, places in model.lattices.items():
        inside = model.fields[f"region.{name}"] > 0
        assert inside[places].all()
        assert inside.sum() == inside[places].size


def test_a_file_is_written_back_as_it_was():
    config = from_mapping(tables())
    again = from_mapping(tomllib.loads(dump(config)))
    assert again == config
    assert config_hash(again) == config_hash(config)
    other = from_mapping(tables(), overrides=["lattice.liver.represents=21"])
    assert config_hash(other) != config_hash(config)


def test_a_shape_is_laid_in_each_lattice_or_in_the_one_that_is_named():
    layer = {"axis": "x", "from": 0, "to": "40 um"}
    assert mask({"layer": layer}) == {"lung": [0, 1], "liver": [0, 1]}
    assert mask({"layer": layer, "region": "liver"}) == {"lung": [], "liver": [0, 1]}
    # 12 um around the middles: (30, 20) um lies in voxel 1, (40, 20) um between voxels 1 and 2, each off by 10 um in y
    assert mask({"sphere": {"radius": "15 um"}}) == {"lung": [1], "liver": [1, 2]}
    assert mask({"everywhere": True, "region": "lung"}) == {"lung": [0, 1, 2], "liver": []}


def test_distances_do_not_cross_a_border():
    box = {"low": ["40 um", 0], "high": ["60 um", "20 um"]}
    place = [{"cells": "wall", "region": "lung", "box": box}]
    assert mask({"of": "wall", "within": "20 um"}, place=place) == {"lung": [1, 2], "liver": []}
    assert mask({"of": "wall", "beyond": "20 um"}, place=place) == {"lung": [0], "liver": [0, 1, 2, 3]}
    assert mask({"of": "wall", "beyond": "20 um", "region": "lung"}, place=place) == {"lung": [0], "liver": []}


def test_cells_are_placed_by_lattice_region_table_and_image(tmp_path):
    (tmp_path / "cells.csv").write_text("x,y,z,type\n30,10,0,wall\n70,30,0,other\n")
    np.save(tmp_path / "map.npy", np.array([[1, 0], [0, 0], [0, 2]]))
    side = {"layer": {"axis": "x", "from": 0, "to": "20 um"}, "region": "liver"}
    place = [
        {"csv": "cells.csv", "region": "liver"},
        {"cells": {"1": "wall", "2": "other"}, "labels": "map.npy", "region": "lung"},
        {"cells": "other", "region": "side"},
    ]
    model = ex.Model.from_dict(tables(place=place, regions={"side": side}), folder=tmp_path)
    found = {
        name: np.argwhere(model.start[model.problem.network.index(name)])[:, :2].tolist() for name in ("wall", "other")
    }
    assert found == {"wall": [[0, 0], [4, 0]], "other": [[2, 1], [3, 0], [3, 1], [6, 1]]}


def lung(**changes):
    return {"lattice": {"lung": {**LUNG, **changes}}}


def liver(**changes):
    return {"lattice": {"lung": LUNG, "liver": {**LIVER, **changes}}}


def region(name):
    return {"regions": {"r": {"everywhere": True, "region": name}}}


REFUSED = {
    "another spacing": (liver(spacing="10 um"), "lattice.liver.spacing: .*'lung'.*share one"),
    "another fraction": (liver(fluid_fraction=1), "lattice.liver.fluid_fraction: 1.0 differs from 0.2"),
    "another width": (liver(shape=[4, 3]), "lattice.liver.shape: .*beyond x"),
    "another dimension": (liver(shape=[4]), "lattice.liver.shape: .*beyond x"),
    "open wall": (lung(boundary="absorbing"), "lattice.lung.boundary: x_low is absorbing.*reflect"),
    "shared key": ({"lattice": {"spacing": "20 um", "lung": LUNG}}, r"lattice: 'spacing' stands beside .*\(lung\)"),
    "no shape": ({"lattice": {"lung": {"spacing": "20 um"}}}, "lattice.lung.shape: is missing"),
    "unknown key": (lung(spacng=1), "lattice.lung.spacng: .*did you mean 'spacing'"),
    "bad value": (lung(shape=[0]), r"lattice.lung.shape\[0\]: "),
    "no name": ({"lattice": {"lu-ng": LUNG}}, "lattice.lu-ng: .*not a name"),
    "name of a species": ({"lattice": {"EV": LUNG}}, "lattice.EV: 'EV' is already the name of a species"),
    "name of a region": ({"regions": {"lung": {"everywhere": True}}}, "lattice.lung: 'lung' is already the name"),
    "unknown lattice": (region("bone"), "regions.r.region: 'bone' is no lattice; name one of lung, liver"),
    "one without a name": ({"lattice": LUNG, **region("lung")}, "'lung' is no lattice; .* one without a name"),
    "far too many": (liver(shape=[2**31, 2]), "lattice: all lattices have"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_lie_side_by_side_is_refused(case):
    changes, says = REFUSED[case]
    with pytest.raises(ConfigError, match=says):
        from_mapping(tables(**changes))


def test_a_table_of_cells_names_its_lattice(tmp_path):
    (tmp_path / "cells.csv").write_text("x,y,z,type\n70,10,0,wall\n")
    with pytest.raises(ConfigError, match=r"place\[0\].csv: .*name it with region \(lung, liver\)"):
        from_mapping(tables(place=[{"csv": "cells.csv"}]), tmp_path)
    with pytest.raises(ConfigError, match="outside the lattice of 60 x 40"):
        ex.Model.from_dict(tables(place=[{"csv": "cells.csv", "region": "lung"}]), folder=tmp_path)


def test_an_image_has_the_shape_of_its_lattice(tmp_path):
    np.save(tmp_path / "map.npy", np.ones((3, 2), int))
    ex.Model.from_dict(tables(place=[{"cells": "wall", "labels": "map.npy", "region": "lung"}]), folder=tmp_path)
    for place in ({"region": "liver"}, {}):
        with pytest.raises(ConfigError, match=r"shape \(3, 2, 1\)"):
            ex.Model.from_dict(tables(place=[{"cells": "wall", "labels": "map.npy", **place}]), folder=tmp_path)
