"""Measurements in files: units, layouts, images, gaps, and what is refused."""

import numpy as np
import pytest
import tifffile

import exodiff as ex
from exodiff.inference.read import read_data
from exodiff.inference.synthesise import synthesise

MODEL = {
    "schema": 1,
    "run": {"duration": "2 h", "observe_every": "30 min", "replicates": 2},
    "lattice": {"shape": [4, 3], "spacing": "10 um"},
    "cells": {"source": {}},
    "species": {
        "EV": {"diffusion": "1 um^2/s", "initial": {"poisson": 5}},
        "drug": {"kind": "concentration", "unit": "nM", "initial": 2.0, "solve": "explicit"},
    },
    "regions": {
        "left": {"layer": {"axis": "x", "from": 0, "to": 20}},
        "right": {"layer": {"axis": "x", "from": 20, "to": 40}},
    },
    "place": [{"cells": "source", "box": {"low": [0, 0], "high": [10, 10]}}],
    "observables": {
        "left_sum": {"value": "total(EV, left)"},
        "right_sum": {"value": "total(EV, right)"},
        "drug_mean": {"value": "mean(drug)"},
        "free": {"profile": {"of": "EV", "from": "source", "bin": "10 um"}},
    },
}


def reading(tmp_path, text, observable="left_sum", noise="poisson", name="data.csv", **more):
    if text is not None:
        (tmp_path / name).write_text(text)
    data = {"file": name, "observable": observable, "noise": noise, **more}
    fit = {"parameters": ["species.EV.diffusion"], "data": [data]}
    return ex.Model.from_dict({**MODEL, "fit": fit}, folder=tmp_path)


def test_times_and_values_come_in_the_units_of_the_header(tmp_path):
    text = "# from a study\nTime [h],drug_mean [uM],sd [nM]\n0.5,0.003,1\n1,,2\n"
    text = text.replace("Time", "time")
    (data,) = read_data(reading(tmp_path, text, "drug_mean", "gaussian"))
    np.testing.assert_allclose(data.times, [1800, 3600])
    np.testing.assert_allclose(data.values, [[3.0], [np.nan]])
    np.testing.assert_allclose(data.sd, [[1.0], [2.0]])
    assert list(data.replicates) == ["0", "0"]


def test_a_unit_may_stand_in_the_model_file(tmp_path):
    model = reading(tmp_path, "time_min,value\n30,4\n", "drug_mean", {"lognormal": {"sigma": 0.1}}, unit="pM")
    (data,) = read_data(model)
    np.testing.assert_allclose(data.values, [[0.004]])
    np.testing.assert_allclose(data.times, [1800])


def test_columns_may_be_several_observables_and_replicates(tmp_path):
    text = "time_s,replicate,right_sum,left_sum\n60,a,7,8\n60,b,5,NA\n"
    (data,) = read_data(reading(tmp_path, text, ["left_sum", "right_sum"], "multinomial"))
    np.testing.assert_array_equal(data.values, [[8, 7], [np.nan, 5]])
    assert list(data.replicates) == ["a", "b"]


def test_a_row_a_region_is_the_same_as_a_column_a_region(tmp_path):
    text = "time_s,replicate,observable,value\n60,0,right_sum,7\n60,0,left_sum,8\n120,0,left_sum,9\n60,0,left_sum,1\n"
    (data,) = read_data(reading(tmp_path, text, ["left_sum", "right_sum"]))
    np.testing.assert_array_equal(data.values, [[8, 7], [9, np.nan], [1, np.nan]])
    np.testing.assert_array_equal(data.times, [60, 120, 60])


def test_bins_are_named_by_number_or_lower_edge(tmp_path):
    (first,) = read_data(reading(tmp_path, "time_s,bin,value\n60,2,4.5\n60,0,6\n", "free", {"gaussian": {"sd": 1}}))
    text = (
        "time_s,replicate,observable,bin_low,bin_high,value\n60,0,free,20,30,4.5\n60,0,free,0,10,6\n60,0,other,0,1,9\n"
    )
    (second,) = read_data(reading(tmp_path, text, "free", {"gaussian": {"sd": 1}}))
    for data in (first, second):
        np.testing.assert_array_equal(data.values, [[6.0, np.nan, 4.5, np.nan]])


@pytest.mark.parametrize("name", ["map.npy", "map.tif"])
def test_an_image_is_summed_over_the_region_of_each_observable(name, tmp_path):
    image = np.arange(12, dtype=np.int32).reshape(4, 3)
    if name.endswith("npy"):
        np.save(tmp_path / name, image)
    else:
        tifffile.imwrite(tmp_path / name, image.T)  # rows of y, pixels of x
    (data,) = read_data(reading(tmp_path, None, ["right_sum", "left_sum"], name=name, at="1 h", replicate=3))
    np.testing.assert_array_equal(data.values, [[image[2:].sum(), image[:2].sum()]])
    np.testing.assert_array_equal(data.times, [3600])
    assert list(data.replicates) == ["3"]


def test_a_region_with_a_missing_voxel_has_no_value(tmp_path):
    image = np.arange(12.0).reshape(4, 3)
    image[3, 1] = np.nan
    np.save(tmp_path / "map.npy", image)
    (data,) = read_data(reading(tmp_path, None, ["left_sum", "right_sum"], name="map.npy", at="1 h"))
    np.testing.assert_array_equal(data.values, [[image[:2].sum(), np.nan]])


def test_a_value_below_the_detection_limit_is_read_as_such(tmp_path):
    noise = {"lognormal": {"sigma": 0.1, "detection_limit": "0.5 nM"}}
    (data,) = read_data(reading(tmp_path, "time_s,value\n60,<0.5\n90,2\n", "drug_mean", noise))
    np.testing.assert_array_equal(data.values, [[0.0], [2.0]])


def test_what_is_synthesised_is_what_is_read(tmp_path):
    model = reading(tmp_path, None, ["left_sum", "right_sum"], name="made.csv")
    assert synthesise(model, 4) == [tmp_path / "made.csv"]
    (data,) = read_data(model)
    times = np.array([1800.0, 3600, 5400, 7200])
    found = ex.simulate(model, times, seed=4, replicates=2)
    np.testing.assert_array_equal(data.times, np.tile(times, 2))
    for column, name in enumerate(("left_sum", "right_sum")):
        np.testing.assert_array_equal(data.values[:, column], np.asarray(found.observables[name]).ravel())
    with pytest.raises(ex.ConfigError, match="is there already"):
        synthesise(model, 4)
    image = reading(tmp_path, None, ["left_sum", "right_sum"], name="made.tif", at="1 h")
    synthesise(image, 4)
    (data,) = read_data(image)
    np.testing.assert_array_equal(data.values[0, 0], np.asarray(found.observables["left_sum"])[0, 1])


WRONG = {
    "no time": ("value\n3\n", {}, "has no column time"),
    "no unit of time": ("time,value\n1,3\n", {}, "column time: has no unit"),
    "a unit of no time": ("time_um,value\n1,3\n", {}, "'um' is no unit of time"),
    "a wrong unit": ("time_s,value [nM]\n1,3\n", {}, "'nM' has dimension"),
    "a missing time": ("time_s,value\n,3\n", {}, "line 2, column time_s: has no time"),
    "a text": ("time_s,value\n1,many\n", {}, "line 2, column value: 'many' is not a finite number"),
    "a short row": ("time_s,value\n1\n", {}, "line 2: has 1 cells, the header 2"),
    "no column": ("time_s,count\n1,3\n", {}, "has no column left_sum among time_s, count"),
    "no rows": ("time_s,value\n", {}, "holds no measurements"),
    "twice a column": ("time_s,value,value\n1,3,4\n", {}, "a column comes twice"),
    "no such file": (None, {}, "exodiff synthesise"),
    "below an unknown limit": ("time_s,value\n1,<3\n", {}, "'<3' is not a finite number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_refused_with_a_line(name, tmp_path):
    text, more, says = WRONG[name]
    with pytest.raises(ex.ConfigError) as refusal:
        read_data(reading(tmp_path, text, **more))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


REFUSED = {
    "an image without its time": ({"name": "a.npy"}, "an image needs the time"),
    "a table with a time": ({"at": "1 h"}, "a table has its own times"),
    "an image of what is no sum": (
        {"name": "a.npy", "at": "1 h", "observable": "drug_mean", "noise": {"gaussian": {"sd": 1}}},
        "form total(X, region)",
    ),
    "an unknown observable": ({"observable": "left_sun"}, "did you mean 'left_sum'?"),
    "unlike observables": ({"observable": ["left_sum", "drug_mean"]}, "have the dimensions"),
    "bins beside another": ({"observable": ["left_sum", "free"]}, "has bins of its own"),
    "counts of a concentration": ({"observable": "drug_mean"}, "is for counts"),
    "an unknown unit": ({"unit": "nMM"}, "unknown unit"),
    "an unknown noise": ({"noise": "poison"}, "did you mean 'poisson'?"),
    "an argument too many": ({"noise": {"poisson": {"sd": 1}}}, "takes no 'sd'"),
    "an argument too few": ({"noise": "lognormal"}, "needs 'sigma'"),
    "a noise of nothing": ({"noise": {"gaussian": {"sd": 0}}}, "is not positive"),
    "another file": ({"name": "a.xlsx"}, "is no table or image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_data_in_the_model_file_are_refused_when_it_is_read(name, tmp_path):
    given, says = REFUSED[name]
    with pytest.raises(ex.ConfigError) as refusal:
        reading(tmp_path, None, **given)
    assert says in str(refusal.value)
    assert str(refusal.value).startswith("fit.data[0]")
