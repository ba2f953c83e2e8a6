"""Figures are made from records alone: what is on them, and that nothing in the records makes them fail."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import tomli_w
from matplotlib.image import imread

from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.records import (
    OBSERVABLE_KEYS,
    OBSERVABLES,
    PROFILE_COLUMNS,
    PROFILES,
    RecordWriter,
    profile_rows,
    read_table,
)
from exodiff.io.results import SnapshotReader
from exodiff.io.snapshots import FieldArray, write_snapshot
from exodiff.io.vtkhdf import StoredGrid
from exodiff.viz.cells import cells_figure
from exodiff.viz.comparison import compare_runs, joined, named
from exodiff.viz.fields import fields_figures
from exodiff.viz.figures import make_figures
from exodiff.viz.holders import possible_holders
from exodiff.viz.labels import Labels, ObservableLabel, read_labels, unit_text, volume_text
from exodiff.viz.panels import new_figure, plain, short_name
from exodiff.viz.planes import choose_plane
from exodiff.viz.profiles import profile_figures, read_profile
from exodiff.viz.scales import Multiples, round_length, time_locator, time_unit, value_scale
from exodiff.viz.series import comparison_figures, mean_and_deviation, series_figures
from exodiff.viz.style import RC, time_colours

HOUR = 3600.0


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context(RC):
        yield


LEGEND = {-1: "empty", 0: "tumour", 1: "fibroblast"}
MODEL = """
title = "Vesicles at $5 a litre and $6, {title}"
[parameters.k]
value = "0.01 1/s"
[parameters.q.by_cell]
tumour = "2 um^3/s"
[cells.tumour]
[cells.fibroblast]
[species.EV]
diffusion = "1 um^2/s"
[species.dose]
in = "cell"
[observables.tumours]
value = "total(tumour)"
[observables.uptake]
value = "0.5 * (mean(dose, fibroblast) + mean(dose, fibroblast))"
[observables.rate]
value = "k * total(EV)"
[observables.free.profile]
of = "conc(EV)"
from = "tumour"
bin = "20 um"
[observables.doses.histogram]
of = "dose"
over = "fibroblast"
bins = 4
"""


def write_model(run_dir, title="a study"):
    run_dir.mkdir(exist_ok=True)
    (run_dir / "resolved.toml").write_text(MODEL.format(title=title), encoding="utf-8")


def write_observables(run_dir, columns, times_s=None, replicates=1):
    """Each column is a function of time in h and replicate."""
    with RecordWriter(run_dir / OBSERVABLES, (*OBSERVABLE_KEYS, *columns)) as table:
        for time_s in np.linspace(0, 24 * HOUR, 13) if times_s is None else times_s:
            for replicate in range(replicates):
                row = [value(time_s / HOUR, replicate) for value in columns.values()]
                table.append((time_s, replicate, *row))


def write_profiles(run_dir, times_s=(0.0, 12 * HOUR, 24 * HOUR), replicates=1):
    with RecordWriter(run_dir / PROFILES, PROFILE_COLUMNS) as table:
        for time_s in times_s:
            for replicate in range(replicates):
                decay = time_s * np.exp(-np.arange(10.0)) * (1 + replicate)
                free = np.where(np.arange(10) < 8, decay, np.nan)
                table.append_rows(profile_rows(time_s, replicate, "free", 20.0 * np.arange(11), free))
                table.append_rows(profile_rows(time_s, replicate, "doses", [0, 1, 2, 3, 4], [5, 3, 1, 0]))


def write_fields(run_dir, shape=(6, 5, 4), num_snapshots=2, replicates=1, more=0, spacing=(20.0, 20.0, 20.0)):
    rng = np.random.default_rng(3)
    for index in range(num_snapshots):
        cells = rng.integers(-1, 2, shape).astype(np.int16)
        fields = {
            "EV": (rng.poisson(5 * index, shape).astype(np.int32), "molecules", None),
            "dose": (np.where(cells == 1, rng.poisson(3, shape), 0).astype(np.int32), "molecules", None),
            "cells": (cells, "1", LEGEND),
        }
        fields |= {f"extra{i}": (np.full(shape, float(i)), "mM", None) for i in range(more)}
        arrays = {
            name: FieldArray(np.stack([values] * replicates) if replicates > 1 else values, unit, legend=legend)
            for name, (values, unit, legend) in fields.items()
        }
        write_snapshot(run_dir, index, index * 24 * HOUR, arrays, StoredGrid(shape, spacing))


def write_run(run_dir, **fields):
    write_model(run_dir)
    columns = {"tumours": lambda t, r: 100 - t + r, "uptake": lambda t, r: t**2, "rate": lambda t, r: 1e7 * t}
    write_observables(run_dir, columns, replicates=fields.get("replicates", 1))
    write_profiles(run_dir, replicates=fields.get("replicates", 1))
    write_fields(run_dir, **fields)


def names_of(paths):
    return [path.name for path in paths]


def plane_and_reader(run_dir):
    reader = SnapshotReader(run_dir)
    plane = choose_plane(reader.grid, reader.read(-1, ["cells"]).fields["cells"].values)
    assert plane is not None
    return plane, reader


def text_of(figure):
    texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return " ".join(" ".join(texts).split())


# --- what is on the figures


@pytest.mark.parametrize("replicates", [1, 3])
def test_a_run_has_four_figures_of_two_columns(tmp_path, replicates):
    write_run(tmp_path, replicates=replicates)
    paths = make_figures(tmp_path)
    assert names_of(paths) == ["observables.png", "profiles.png", "cells.png", "fields.png"]
    for path in paths:
        image = imread(path)
        assert image.shape[1] == round(180 / 25.4 * 200)
        assert image[..., :3].std() > 0.05
    assert {path.name for path in (tmp_path / "figures").iterdir()} == set(names_of(paths))


def test_each_observable_has_its_panel_with_name_expression_and_unit(tmp_path):
    write_run(tmp_path)
    (figure,) = series_figures(read_table(tmp_path / OBSERVABLES), read_labels(tmp_path))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tumours", "uptake", "rate"]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "cells",
        "molecules per cell",
        "$10^{6}$ \N{MULTIPLICATION SIGN} 1/s",
    ]
    assert [axes.get_xlabel() for axes in figure.axes] == ["time (h)"] * 3
    assert "k * total(EV)" in text_of(figure)


def test_replicates_are_thin_lines_with_their_mean_and_band(tmp_path):
    write_observables(tmp_path, {"n": lambda t, r: t + r}, replicates=3)
    (figure,) = series_figures(read_table(tmp_path / OBSERVABLES), read_labels(tmp_path))
    (axes,) = figure.axes
    *thin, mean = axes.get_lines()
    assert len(thin) == 3
    assert np.allclose(mean.get_ydata(), np.asarray(mean.get_xdata()) + 1)
    assert all(line.get_linewidth() < mean.get_linewidth() for line in thin)
    (band,) = axes.collections
    assert band.get_datalim(axes.transData).height == pytest.approx(24 + 2)
    assert "3 replicates" in text_of(figure)


def test_runs_are_compared_by_name_and_runs_of_one_name_are_replicates_of_it(tmp_path):
    for place, run in enumerate(("a/treated", "a/control", "a/again")):
        (tmp_path / run).mkdir(parents=True)
        write_observables(tmp_path / run, {"n": lambda t, r, at=place: at + t, f"only_{place}": lambda t, r: t})
    treated, control, again = (tmp_path / "a" / run for run in ("treated", "control", "again"))
    assert named([treated, control]) == {"treated": [treated], "control": [control]}
    runs = {"both": [treated, again], "one": [control]}
    tables = {name: joined(directories) for name, directories in runs.items()}
    (figure,) = comparison_figures(tables, read_labels(treated))
    both, one = figure.axes[0].get_lines()
    assert np.allclose(both.get_ydata() - np.asarray(both.get_xdata()), 1)  # mean of 0 and 2
    assert np.allclose(one.get_ydata() - np.asarray(one.get_xdata()), 1)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["n", "only_1"]  # what all of a name have

    assert names_of(compare_runs(named([treated, control]), treated)) == ["comparison.png"]


def test_a_comparison_of_nothing_or_of_a_run_with_itself_is_refused(tmp_path):
    write_observables(tmp_path, {"n": lambda t, r: t})
    with pytest.raises(ConfigError, match="named twice"):
        named([tmp_path, tmp_path / "."])
    with pytest.raises(ConfigError, match="no rows in its observables"):
        compare_runs({"": [tmp_path], "other": [tmp_path / "no"]}, tmp_path)
    with pytest.raises(ConfigError, match="17 runs to compare are more than 16 colours"):
        compare_runs({str(i): [tmp_path] for i in range(17)}, tmp_path)


def test_the_title_of_a_run_that_is_not_at_its_end_tells_how_far_it_is():
    labels = Labels(title="Model", duration_s=24 * HOUR)
    assert labels.until(6 * HOUR).title == "Model (until 6 of 24 h)"
    assert labels.until(24 * HOUR).title == "Model"
    assert Labels(duration_s=24 * HOUR).until(6 * HOUR).title == "until 6 of 24 h"
    assert Labels(title="Model").until(6 * HOUR).title == "Model"


def test_a_value_between_unknown_ones_is_a_point(tmp_path):
    write_observables(tmp_path, {"n": lambda t, r: np.nan if t in {2, 6, 10} else t})
    (figure,) = series_figures(read_table(tmp_path / OBSERVABLES), read_labels(tmp_path))
    _, points = figure.axes[0].get_lines()
    assert points.get_xdata().tolist() == [0.0, 4.0, 8.0]


def test_the_deviation_over_replicates_leaves_out_what_is_not_known():
    mean, deviation = mean_and_deviation(
        np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, np.nan], [4, np.nan, np.nan]]), 1
    )
    assert np.array_equal(mean, [2.0, np.nan, 4.0], equal_nan=True)
    assert np.array_equal(deviation, [np.sqrt(2.0), np.nan, 0.0], equal_nan=True)


def test_profiles_are_lines_over_distance_and_histograms_are_steps(tmp_path):
    write_model(tmp_path)
    write_profiles(tmp_path)
    (figure,) = profile_figures(read_table(tmp_path / PROFILES), read_labels(tmp_path))
    free, doses = figure.axes
    assert (free.get_xlabel(), free.get_ylabel()) == ("distance (µm)", "molecules/µm³")
    assert (doses.get_xlabel(), doses.get_ylabel()) == ("molecules per cell", "cells per bin")
    assert (len(free.get_lines()), len(free.patches)) == (2, 0)
    assert (len(doses.get_lines()), len(doses.patches)) == (0, 3)
    assert free.get_xlim() == (0.0, 160.0)
    assert doses.get_xlim() == (0.0, 3.0)
    assert free.get_yscale() == "log"
    assert doses.get_yscale() == "linear"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0 h", "12 h", "24 h"]
    assert "Profiles that are 0 everywhere are left out." in text_of(figure)


def histogram_panel(run_dir, edges, values, num_times=1):
    write_model(run_dir)
    with RecordWriter(run_dir / PROFILES, PROFILE_COLUMNS) as table:
        for index in range(num_times):
            table.append_rows(profile_rows(index * HOUR, 0, "doses", edges, values))
    (figure,) = profile_figures(read_table(run_dir / PROFILES), read_labels(run_dir))
    return figure, figure.axes[0]


def test_a_histogram_of_unequal_bins_shows_cells_per_width(tmp_path):
    _, axes = histogram_panel(tmp_path, [0, 10, 20, 60], [30, 20, 40])
    assert axes.get_ylabel() == "cells / width of bin"
    assert axes.patches[0].get_data().values.tolist() == [3.0, 2.0, 1.0]
    assert axes.get_yscale() == "linear"


def test_a_histogram_is_linear_unless_most_bins_would_not_be_seen(tmp_path):
    _, axes = histogram_panel(tmp_path, [0, 1, 2, 3], [1000, 900, 1])
    assert axes.get_yscale() == "linear"
    (tmp_path / PROFILES).unlink()
    _, axes = histogram_panel(tmp_path, [0, 1, 2, 3], [1000, 2, 1])
    assert axes.get_yscale() == "log"


def test_a_histogram_is_drawn_at_three_times_at_most(tmp_path):
    figure, axes = histogram_panel(tmp_path, [0, 1, 2], [3, 1], num_times=10)
    assert len(axes.patches) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["3 h", "6 h", "9 h"]
    assert "Histograms: not at the first time." in text_of(figure)


def test_a_profile_is_read_by_time_replicate_and_bin(tmp_path):
    write_profiles(tmp_path, replicates=2)
    profile = read_profile(read_table(tmp_path / PROFILES), "free")
    assert profile.values.shape == (3, 2, 10)
    assert np.array_equal(profile.edges, 20.0 * np.arange(11))
    assert np.allclose(profile.values[2, 1, 1], 2 * 24 * HOUR * np.exp(-1))
    assert np.isnan(profile.values[:, :, 8:]).all()


def test_an_open_last_bin_is_drawn_as_wide_as_the_one_before(tmp_path):
    with RecordWriter(tmp_path / PROFILES, PROFILE_COLUMNS) as table:
        table.append_rows(profile_rows(0.0, 0, "h", [0, 2, 4, np.inf], [1, 2, 3]))
    assert read_profile(read_table(tmp_path / PROFILES), "h").edges.tolist() == [0, 2, 4, 6]
    assert names_of(make_figures(tmp_path)) == ["profiles.png"]


def test_the_map_of_cells_has_a_legend_with_their_numbers_on_the_whole_lattice(tmp_path):
    write_run(tmp_path)
    plane, reader = plane_and_reader(tmp_path)
    figure = cells_figure(reader, plane, read_labels(tmp_path))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["0 h", "24 h"]
    numbers = [reader.read(i, ["cells"]).fields["cells"].values for i in (0, 1)]
    expected = [
        f"{name}: {(numbers[0] == i).sum()} → {(numbers[1] == i).sum()}"
        for i, name in enumerate(["tumour", "fibroblast"])
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == expected
    assert "whole lattice" in text_of(figure)
    assert all("20 µm" in [text.get_text() for text in axes.texts] for axes in figure.axes)


def test_the_maps_show_x_to_the_right_and_y_upwards(tmp_path):
    write_run(tmp_path, shape=(6, 5, 1))
    plane, reader = plane_and_reader(tmp_path)
    figure = cells_figure(reader, plane, read_labels(tmp_path))
    (image,) = figure.axes[1].get_images()
    assert image.origin == "lower"
    assert image.get_extent() == [0, 120, 0, 100]
    assert np.array_equal(image.get_array(), reader.read(-1, ["cells"]).fields["cells"].values[:, :, 0].T)


def test_fields_are_the_cells_then_free_species_then_those_in_cells(tmp_path):
    write_run(tmp_path, more=1)
    plane, reader = plane_and_reader(tmp_path)
    (figure,) = fields_figures(reader, plane, read_labels(tmp_path))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cells", "EV", "dose", "extra0"]
    bars = [axes.child_axes[0].get_ylabel() for axes in figure.axes[1:]]
    assert bars == ["molecules per voxel", "molecules per cell", "mM"]
    assert "At 24 h. Plane z = " in text_of(figure)


def test_a_species_in_cells_is_blank_where_there_is_no_cell_and_grey_where_the_cell_has_none(tmp_path):
    write_run(tmp_path, shape=(6, 5, 1))
    plane, reader = plane_and_reader(tmp_path)
    (figure,) = fields_figures(reader, plane, read_labels(tmp_path))
    has_cell, amount = (np.ma.masked_invalid(image.get_array()) for image in figure.axes[2].get_images())
    fields = reader.read(-1).fields
    cells, dose = fields["cells"].values[:, :, 0].T, fields["dose"].values[:, :, 0].T
    assert np.array_equal(~np.ma.getmaskarray(has_cell), cells >= 0)
    assert np.array_equal(~np.ma.getmaskarray(amount), (cells >= 0) & (dose > 0))


def test_only_replicate_0_is_on_the_maps(tmp_path):
    values = np.stack([np.full((3, 3, 1), i, np.int32) for i in range(4)])
    write_snapshot(tmp_path, 0, 0.0, {"EV": FieldArray(values, "molecules")}, StoredGrid((3, 3, 1), (1.0, 1.0, 1.0)))
    reader = SnapshotReader(tmp_path)
    (figure,) = fields_figures(reader, choose_plane(reader.grid, None), read_labels(tmp_path))
    assert np.all(figure.axes[0].get_images()[0].get_array() == 0)


@pytest.mark.parametrize("replicates", [1, 3])
def test_maps_say_which_replicate_they_show(tmp_path, replicates):
    write_run(tmp_path, replicates=replicates)
    plane, reader = plane_and_reader(tmp_path)
    labels = read_labels(tmp_path)
    for figure in (cells_figure(reader, plane, labels), *fields_figures(reader, plane, labels)):
        assert ("Replicate 0 of 3 (numbered from 0)." in text_of(figure)) == (replicates == 3)


def test_cells_that_never_hold_a_species_are_striped(tmp_path):
    write_run(tmp_path, shape=(6, 5, 1))
    with (tmp_path / "resolved.toml").open("a") as file:
        file.write("[species.dose.initial]\nfibroblast = 2\n")
    plane, reader = plane_and_reader(tmp_path)
    (figure,) = fields_figures(reader, plane, read_labels(tmp_path))
    *_, stripes = figure.axes[2].get_images()
    covered = ~np.ma.getmaskarray(stripes.get_array())
    cells = reader.read(-1, ["cells"]).fields["cells"].values
    # sampled at the middles of the voxels, (up, right)
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip((5, 6), covered.shape, strict=True))
    assert np.array_equal(covered[np.ix_(rows, columns)], cells[:, :, 0].T == 0)
    assert "striped where a cell of this type never can" in text_of(figure)


@pytest.mark.parametrize(
    ("reactions", "holders"),
    [
        ([], set()),
        (["tumour -> tumour + dose"], {"tumour"}),
        (["EV + receptor -> receptor + dose"], {"fibroblast"}),
        (["EV + receptor -> dose", "fibroblast -> CAF"], {"fibroblast", "CAF"}),
        (["EV + receptor -> receptor + dose", "fibroblast -> fibroblast + CAF"], {"fibroblast"}),
        (["EV -> dose"], {"tumour", "fibroblast", "CAF"}),
        ([("EV -> dose", "2 * q")], {"tumour", "CAF"}),
        ([("EV -> dose", "q * tumour / k")], {"tumour"}),
    ],
)
def test_the_types_that_can_hold_a_species_are_told_from_the_model(reactions, holders):
    pairs = [entry if isinstance(entry, tuple) else (entry, "k") for entry in reactions]
    model = {
        "cells": {"tumour": {}, "fibroblast": {}, "CAF": {}},
        "parameters": {"k": {"value": "1 1/s"}, "q": {"by_cell": {"tumour": "1 1/s", "CAF": "2 1/s"}}},
        "species": {"EV": {}, "receptor": {"in": "cell", "initial": {"fibroblast": 20.0}}, "dose": {"in": "cell"}},
        "reactions": [{"equation": equation, "rate": rate} for equation, rate in pairs],
    }
    assert possible_holders(model, ("receptor", "dose"))["dose"] == holders
    model["interventions"] = [{"at": "1 s", "add": {"dose": 3}}]
    assert possible_holders(model, ("receptor", "dose"))["dose"] == set(model["cells"])
    model["reactions"] = [{"equation": "no equation"}]
    assert possible_holders(model, ("receptor", "dose")) == {}


def test_the_plane_is_the_one_with_most_cells_nearest_to_the_middle():
    grid = StoredGrid((5, 5, 9), (1.0, 1.0, 1.0))
    cells = np.full(grid.shape, -1)
    assert choose_plane(grid, None).z_index == 4
    cells[:, :, 7] = 0
    assert choose_plane(grid, cells).z_index == 7
    assert choose_plane(grid, cells[None]).z_index == 7
    assert choose_plane(grid, np.zeros(grid.shape)).z_index == 4


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 1, 1), None),
        ((9, 1, 1), (0,)),
        ((1, 9, 1), (1,)),
        ((3, 4, 1), (0, 1)),
        ((1, 4, 3), (1, 2)),
        ((2, 9, 1), (1, 0)),
    ],
)
def test_the_plane_has_the_axes_of_the_lattice_and_a_long_one_lies(shape, axes):
    plane = choose_plane(StoredGrid(shape, (1.0, 1.0, 1.0)), None)
    assert (plane and plane.axes) == axes
    if plane is not None:
        values = np.arange(np.prod(shape)).reshape(shape)
        cut = plane.cut(values)
        assert cut.shape == tuple(shape[axis] for axis in axes)
        assert sorted(cut.ravel()) == sorted(values.ravel())


# --- scales and labels


@pytest.mark.parametrize(
    ("longest_s", "name", "text"),
    [
        (0, "s", "0 s"),
        (90, "s", "90 s"),
        (600, "min", "10 min"),
        (86400, "h", "24 h"),
        (30 * 86400, "d", "30 d"),
        (1e9, "d", "11574 d"),
    ],
)
def test_times_are_in_the_unit_in_which_they_read_best(longest_s, name, text):
    unit = time_unit(longest_s)
    assert unit.name == name
    assert unit.text(longest_s) == text


@pytest.mark.parametrize(
    ("longest_s", "ticks"),
    [
        (3 * HOUR, [0, 1, 2, 3]),
        (HOUR, [0, 10, 20, 30, 40, 50, 60]),
        (2 * HOUR, [0, 30, 60, 90, 120]),
        (24 * HOUR, [0, 6, 12, 18, 24]),
        (72 * HOUR, [0, 1, 2, 3]),
        (14 * 24 * HOUR, [0, 5, 10]),
        (100.0, [0, 30, 60, 90]),
        (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (400 * 24 * HOUR, [0, 100, 200, 300, 400]),
    ],
)
def test_ticks_of_time_are_those_of_a_clock(longest_s, ticks):
    unit = time_unit(longest_s)
    length = longest_s / unit.seconds
    found = time_locator(unit, length).tick_values(0.0, length)
    assert [tick for tick in found.tolist() if -1e-9 <= tick <= length + 1e-9] == pytest.approx(ticks)


def test_a_scale_is_logarithmic_over_two_decades_and_holds_zero():
    assert value_scale(np.array([1.0, 50.0])).linear_below is None
    wide = value_scale(np.array([0.0, 3.0, 5000.0, np.nan]))
    assert (wide.low, wide.high, wide.linear_below) == (0.0, 5000.0, 1.0)
    positive = value_scale(np.array([3.0, 5000.0]))
    assert (positive.low, positive.linear_below) == (1.0, 1.0)
    assert value_scale(np.array([-3.0, 5000.0])).linear_below is None
    assert value_scale(np.array([1e-30, 1.0])).linear_below == pytest.approx(1e-6)
    assert value_scale(np.array([np.nan, np.inf])) is None
    colours = wide.norm()(np.array([0.0, 1.0, 10.0, 100.0, 5000.0]))
    assert colours[0] == 0
    assert colours[-1] == 1
    assert colours[3] - colours[2] == pytest.approx(colours[2] - colours[1])


@pytest.mark.parametrize("value", [0.0, 7.0, -7.0, 1e-300, 1e300])
def test_a_constant_has_a_scale_with_room(value):
    scale = value_scale(np.full(4, value))
    assert scale.low < scale.high
    assert scale.low <= value <= scale.high


def test_ticks_have_the_decimals_they_need_and_a_power_goes_to_the_label():
    assert Multiples(0).format_ticks([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert Multiples(6).format_ticks([0.0, 1e6, 2e6]) == ["0", "1", "2"]
    assert Multiples(0).format_ticks([-1.5, 0.0]) == ["\N{MINUS SIGN}1.5", "0.0"]
    assert Multiples(0).format_ticks([]) == []
    assert value_scale(np.array([0.0, 3e6])).label("molecules") == "$10^{6}$ molecules"
    assert value_scale(np.array([0.0, 3e-5])).label("dimensionless") == "$10^{-6}$"
    assert value_scale(np.array([0.0, 50.0])).label("cells") == "cells"


@pytest.mark.parametrize(("longest", "length"), [(99.0, 50.0), (100.0, 100.0), (0.7, 0.5), (2000.0, 2000.0)])
def test_a_scale_bar_has_a_round_length(longest, length):
    assert round_length(longest) == pytest.approx(length)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("total(EV)", "molecules"),
        ("total(EV) + 2 * total(dose)", "molecules"),
        ("total(EV) + total(tumour)", "dimensionless"),
        ("total(tumour) / total(fibroblast)", "dimensionless"),
        ("mean(EV)", "molecules per voxel"),
        ("events(r1)", "events"),
        ("k", "1/s"),
        ("q", "µm³/s"),
        ("q / k", "µm³"),
        ("t", "s"),
        ("this is (no expression", ""),
    ],
)
def test_the_unit_of_an_observable_is_told_from_the_model(tmp_path, value, unit):
    write_model(tmp_path)
    with (tmp_path / "resolved.toml").open("a") as file:
        file.write(f'[observables.asked]\nvalue = "{value}"\n')
    assert read_labels(tmp_path).observable("asked").unit == unit


@pytest.mark.parametrize("content", [None, "no TOML [", "\x00", "observables = 3\nspecies = [1]\ncells = 'x'\n"])
def test_a_missing_or_odd_model_leaves_the_figures_without_labels(tmp_path, content):
    if content is not None:
        (tmp_path / "resolved.toml").write_text(content)
    labels = read_labels(tmp_path)
    assert labels.title == ""
    assert labels.observable("n") == ObservableLabel()
    write_observables(tmp_path, {"n": lambda t, r: t})
    write_profiles(tmp_path)
    write_fields(tmp_path)
    assert len(make_figures(tmp_path)) == 4


def test_units_are_printed_with_superscripts():
    assert unit_text("um^2/s") == "µm²/s"
    assert unit_text("1/um^3") == "1/µm³"
    assert unit_text("1") == ""
    assert unit_text("um^(1/2)") == "µm^(1/2)"


def test_volumes_are_told_as_samples_are():
    assert volume_text("500000000000 um^3") == "0.5 mL"
    assert volume_text("2e9 um^3") == "2 µL"
    assert volume_text("500 um^3") == "500 µm³"
    assert volume_text("V_sample") == "V_sample"


def test_amounts_in_plasma_are_told_by_what_they_count(tmp_path):
    model = {
        "cells": {"CTC": {}},
        "compartments": {"plasma": {"volume": "1 mL"}},
        "species": {"EV": {}, "drug": {"kind": "concentration", "unit": "nM"}},
        "observables": {
            "cells": {"value": "plasma.CTC"},
            "vesicles": {"value": "2 * plasma.EV"},
            "mixed": {"value": "plasma.EV + plasma.CTC"},
            "drug": {"value": "plasma.drug"},
        },
    }
    (tmp_path / "resolved.toml").write_text(tomli_w.dumps(model), encoding="utf-8")
    units = {name: label.unit for name, label in read_labels(tmp_path).observables.items()}
    assert units == {"cells": "cells", "vesicles": "molecules", "mixed": "dimensionless", "drug": "dimensionless"}


def test_text_of_the_user_is_no_formula_and_has_an_end():
    assert plain("a $x$\n b") == r"a \$x\$ b"
    assert len(plain("x" * 500)) == 90
    assert short_name("vesicles_in_fibroblast_12", 14) == "vesicl…last_12"
    assert short_name("EV", 14) == "EV"


@pytest.mark.parametrize("number", [1, 3])
def test_a_long_expression_is_wrapped_and_told_whole(tmp_path, number):
    write_model(tmp_path)
    value = " + ".join(f"total(tumour) / {i}" for i in range(1, 9))
    with (tmp_path / "resolved.toml").open("a") as file:
        file.writelines(f'[observables.n{i}]\nvalue = "{value}"\n' for i in range(number))
    write_observables(tmp_path, {f"n{i}": lambda t, r: t for i in range(number)})
    (figure,) = series_figures(read_table(tmp_path / OBSERVABLES), read_labels(tmp_path))
    assert value in text_of(figure)
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        assert text.get_text().count("\n") >= 2
        assert text.get_window_extent().x1 <= figure.axes[0].get_window_extent().x1
        assert text.get_window_extent().y1 <= figure.bbox.y1


def test_times_go_from_light_to_dark():
    brightness = [np.dot(colour[:3], [0.3, 0.6, 0.1]) for colour in time_colours(5)]
    assert brightness == sorted(brightness, reverse=True)
    assert len(time_colours(1)) == 1


# --- records of every kind


ODD_SERIES = {
    "zero": lambda t, r: 0.0,
    "constant": lambda t, r: 5.0,
    "nan": lambda t, r: np.nan,
    "once_infinite": lambda t, r: np.inf if t else 1.0,
    "with_gaps": lambda t, r: np.nan if t % 4 else t,
    "negative": lambda t, r: -(10.0**t),
    "huge": lambda t, r: 1e300 * (t + 1) / 25,
    "tiny": lambda t, r: 1e-300,
    "almost_constant": lambda t, r: 1e9 + 1e-3 * t,
}
ODD_PROFILES = {
    "zero": [0, 0, 0],
    "nan": [np.nan] * 3,
    "with_gap": [0, np.nan, 1],
    "wide": [1e-9, 1, 1e9],
    "negative": [-1, 5, 3],
    "constant": [4, 4, 4],
}


@pytest.mark.parametrize("num_times", [1, 2, 13])
@pytest.mark.parametrize("replicates", [1, 2])
def test_any_series_is_drawn(tmp_path, num_times, replicates):
    write_observables(tmp_path, ODD_SERIES, np.linspace(0, 24 * HOUR, num_times), replicates)
    assert names_of(make_figures(tmp_path)) == ["observables.png"]


@pytest.mark.parametrize("num_times", [1, 2])
@pytest.mark.parametrize("kind", ["profile", "histogram", None])
def test_any_profile_is_drawn(tmp_path, kind, num_times):
    with (tmp_path / "resolved.toml").open("w") as file:
        for name in ODD_PROFILES if kind else ():
            file.write(f'[observables.{name}.{kind}]\nof = "EV"\n')
    with RecordWriter(tmp_path / PROFILES, PROFILE_COLUMNS) as table:
        for time_s in range(num_times):
            for replicate in range(2):
                for name, values in ODD_PROFILES.items():
                    table.append_rows(profile_rows(float(time_s), replicate, name, [0, 20, 40, 60], values))
    assert names_of(make_figures(tmp_path)) == ["profiles.png"]


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (7, 1, 1), (1, 7, 1), (1, 1, 7), (7, 5, 1), (1, 5, 7), (60, 3, 1), (3, 60, 1), (4, 60, 3), (2, 2, 2)],
)
@pytest.mark.parametrize("num_snapshots", [1, 2])
def test_a_lattice_of_any_shape_is_drawn(tmp_path, shape, num_snapshots):
    write_model(tmp_path)
    write_fields(tmp_path, shape, num_snapshots)
    assert names_of(make_figures(tmp_path)) == ([] if shape == (1, 1, 1) else ["cells.png", "fields.png"])


@pytest.mark.parametrize("shape", [(4, 3, 1), (9, 1, 1)])
def test_any_constant_field_is_drawn_with_and_without_cells(tmp_path, shape):
    constants = enumerate([0.0, 4.0, -4.0, np.nan, np.inf, 1e300])
    fields = {f"{where}{i}": FieldArray(np.full(shape, x), "mM") for i, x in constants for where in ("free", "held")}
    with (tmp_path / "resolved.toml").open("w") as file:
        file.writelines(f'[species.held{i}]\nin = "cell"\n' for i in range(6))
    grid = StoredGrid(shape, (20.0, 20.0, 20.0))
    write_snapshot(tmp_path, 0, 0.0, fields, grid)
    assert names_of(make_figures(tmp_path)) == ["fields.png"]
    for cell in (-1, 0):
        fields["cells"] = FieldArray(np.full(shape, cell, np.int8), "1", legend=LEGEND)
        write_snapshot(tmp_path, 0, 0.0, fields, grid)
        pages = ["fields.png", "fields_2.png"] if shape[1] > 1 else ["fields.png"]
        assert names_of(make_figures(tmp_path)) == ["cells.png", *pages]


def test_cells_that_do_not_change_are_drawn_once(tmp_path):
    cells = FieldArray(np.zeros((4, 4, 1), np.int8), "1", is_static=True, legend={0: "tumour"})
    grid = StoredGrid((4, 4, 1), (20.0, 20.0, 20.0))
    write_snapshot(tmp_path, 0, 0.0, {"cells": cells, "EV": FieldArray(np.zeros((4, 4, 1)))}, grid)
    write_snapshot(tmp_path, 1, 24 * HOUR, {"EV": FieldArray(np.ones((4, 4, 1)))}, grid)
    plane, reader = (choose_plane(grid, None), SnapshotReader(tmp_path))
    figure = cells_figure(reader, plane, read_labels(tmp_path))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["0 h to 24 h, unchanged"]
    assert len(make_figures(tmp_path)) == 2


def test_twenty_cell_types_without_names_are_drawn(tmp_path):
    cells = np.arange(-1, 24, dtype=np.int8).reshape(5, 5, 1)
    legend = {i: f"a_cell_type_with_quite_a_long_name_{i}" for i in range(20)}
    write_snapshot(tmp_path, 0, 0.0, {"cells": FieldArray(cells, legend=legend)}, StoredGrid((5, 5, 1), (1.0,) * 3))
    assert names_of(make_figures(tmp_path)) == ["cells.png"]


def test_mean_field_occupancies_are_drawn_as_fields(tmp_path):
    write_model(tmp_path)
    names = ("EV", "dose", "tumour")
    units = ("molecules", "molecules", "1")
    fields = {n: FieldArray(np.random.default_rng(0).random((4, 4, 1)), u) for n, u in zip(names, units, strict=True)}
    write_snapshot(tmp_path, 0, 0.0, fields, StoredGrid((4, 4, 1), (20.0, 20.0, 20.0)))
    reader = SnapshotReader(tmp_path)
    (figure,) = fields_figures(reader, choose_plane(reader.grid, None), read_labels(tmp_path))
    bars = [axes.child_axes[0].get_ylabel() for axes in figure.axes]
    assert bars == ["molecules per voxel", "molecules per voxel", "cells per voxel"]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 12])
def test_any_number_of_panels_with_long_names_is_laid_out(tmp_path, number):
    long = "the_total_number_of_vesicles_that_were_taken_up_by_fibroblasts_of_kind_"
    write_observables(tmp_path, {f"{long}{i}": lambda t, r: t for i in range(number)})
    write_fields(tmp_path, more=number - 1)
    assert names_of(make_figures(tmp_path)) == [
        "observables.png",
        "cells.png",
        *(["fields.png"] if number < 11 else ["fields.png", "fields_2.png"]),
    ]


def test_many_observables_and_species_go_to_further_pages(tmp_path):
    write_observables(tmp_path, {f"n{i}": lambda t, r: t for i in range(25)})
    figures = series_figures(read_table(tmp_path / OBSERVABLES), read_labels(tmp_path))
    assert [len(figure.axes) for figure in figures] == [12, 12, 1]
    write_fields(tmp_path, shape=(4, 4, 1), more=70)
    plane, reader = plane_and_reader(tmp_path)
    *_, last = figures = list(fields_figures(reader, plane, read_labels(tmp_path)))
    assert [len(figure.axes) for figure in figures] == [12] * 5
    assert "13 more fields" in text_of(last)


@pytest.mark.parametrize("width_mm", [85.0, 180.0])
@pytest.mark.parametrize("word", ["tumour", "Vesicles", "x" * 500])
def test_a_long_title_stays_inside_the_figure(word, width_mm):
    figure = new_figure(width_mm, 40.0, " ".join([word] * 300))
    figure.draw_without_rendering()
    assert figure.get_suptitle().count("\n") <= 1
    box = figure.findobj(lambda artist: getattr(artist, "get_text", str)() == figure.get_suptitle())[0]
    assert box.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("title", ["細胞 🧬 \\\\frac{", "x" * 400, "", "%s {0} _^"])
def test_a_title_may_hold_any_letters(tmp_path, title):
    write_model(tmp_path, title)
    write_observables(tmp_path, {"n": lambda t, r: t})
    assert names_of(make_figures(tmp_path)) == ["observables.png"]


def test_a_half_written_row_and_a_damaged_snapshot_are_left_out(tmp_path):
    write_run(tmp_path)
    with (tmp_path / OBSERVABLES).open("a") as file:
        file.write("90000.0,0,1")
    (tmp_path / "snapshots" / "snap-00000002.vtkhdf").write_bytes(b"damaged")
    assert len(make_figures(tmp_path)) == 4


# --- files


def test_figures_of_pages_and_records_that_are_gone_are_removed_and_other_files_stay(tmp_path):
    write_run(tmp_path)
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("fields_2.png", "observables_7.png", "fields_2.pdf", "mine.png", "fields_of_gold.png"):
        (folder / name).write_bytes(b"")
    (tmp_path / PROFILES).unlink()
    written = make_figures(tmp_path)
    kept = {"fields_2.pdf", "mine.png", "fields_of_gold.png"}
    assert {path.name for path in folder.iterdir()} == kept | set(names_of(written))


def test_the_same_run_gives_the_same_bytes(tmp_path):
    write_fields(tmp_path, shape=(4, 4, 1))
    formats = ("png", "pdf", "svg")
    first = {path: path.read_bytes() for path in make_figures(tmp_path, formats)}
    assert [path.suffix for path in first] == [".png", ".pdf", ".svg"] * 2
    second = {path: path.read_bytes() for path in make_figures(tmp_path, formats)}
    assert first == second


def test_a_format_that_is_not_offered_is_refused(tmp_path):
    for formats in ((), ("tiff",)):
        with pytest.raises(ConfigError, match="png, pdf, svg"):
            make_figures(tmp_path, formats)


def test_a_directory_without_records_says_what_to_do(tmp_path):
    write_model(tmp_path)
    write_observables(tmp_path, {}, [])
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"nothing to draw.*exodiff run"):
            make_figures(directory)
    assert not (tmp_path / "figures").exists()


def test_a_run_without_scalar_observables_has_the_other_figures(tmp_path):
    write_model(tmp_path)
    write_observables(tmp_path, {})
    write_fields(tmp_path)
    assert names_of(make_figures(tmp_path)) == ["cells.png", "fields.png"]


def test_a_figure_that_cannot_be_written_leaves_no_part_and_says_what_to_do(tmp_path):
    write_run(tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "profiles.png").mkdir()
    with pytest.raises(RunDirectoryError, match=r"profiles\.png: could not be written .* `exodiff plot`"):
        make_figures(tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"observables.png", "profiles.png"}


def test_figures_need_neither_jax_nor_pyplot_and_leave_the_style_alone(tmp_path):
    write_run(tmp_path)
    code = (
        "import sys, matplotlib; from pathlib import Path; from exodiff.viz.figures import make_figures;"
        "from exodiff.viz.style import RC; before = [matplotlib.rcParams[key] for key in RC];"
        "make_figures(Path(sys.argv[1])); assert [matplotlib.rcParams[key] for key in RC] == before;"
        "print(*({'jax', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_mean_concentration_has_the_unit_of_its_species(tmp_path):
    write_model(tmp_path)
    more = [
        '[species.oxygen]\nkind = "concentration"\nunit = "mmHg"',
        '[observables.air]\nvalue = "mean(oxygen, tumour)"',
    ]
    with (tmp_path / "resolved.toml").open("a") as file:
        file.write("\n".join(more))
    assert read_labels(tmp_path).observables["air"].unit == "mmHg"
