"""The script that turns a stained section into cells."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage")
from skimage import color, data

FOLDER = Path(__file__).parents[2] / "configs" / "tissue"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("segment_ihc_colon", FOLDER / "segment_ihc_colon.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def colon_nuclei(script):
    return script.find_nuclei(data.immunohistochemistry())


@pytest.fixture(scope="module")
def committed():
    return np.genfromtxt(FOLDER / "ihc_colon.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")


def draw_nuclei(centres, is_brown, size=200, radii=(9, 6)):
    """White ground, blue ellipses (semi-axes in rows and columns), brown cytoplasm around the brown ones."""
    rows, columns = np.mgrid[:size, :size]
    stains = np.zeros((size, size, 3))
    for (row, column), brown in zip(centres, is_brown, strict=True):
        radius = np.hypot((rows - row) / radii[0], (columns - column) / radii[1])
        if brown:
            stains[(radius > 1) & (radius < 1.8), 2] = 0.1
        stains[radius <= 1, 0] = 0.05
    return np.round(255 * color.hed2rgb(stains)).astype(np.uint8)


def make_nuclei(script, centroid_px, area_px, dab=None, shape=(100, 100)):
    dab = np.zeros(len(area_px)) if dab is None else np.array(dab)
    return script.Nuclei(np.zeros(shape, int), np.array(centroid_px, float), np.array(area_px), dab, 0.5)


def test_regenerating_gives_the_committed_cells(script, colon_nuclei):
    cells = script.place_on_lattice(colon_nuclei, script.PIXEL_SIZE_UM, script.SPACING_UM)
    assert script.format_csv(cells).encode() == (FOLDER / "ihc_colon.csv").read_bytes()
    assert cells.shape == (40, 40, 1)


def test_committed_cells_lie_inside_and_no_two_share_a_voxel(script, committed):
    position_um = np.stack([committed["x"], committed["y"], committed["z"]], axis=1)
    voxel = np.floor(position_um / script.SPACING_UM).astype(int)
    assert len(committed) == 348
    assert np.all((voxel >= 0) & (voxel < [40, 40, 1]))
    assert len(np.unique(voxel, axis=0)) == len(voxel)
    # A reader in float32 must find the same voxel: 256 um is then exact to 2e-5 um.
    to_face_um = np.abs(position_um - script.SPACING_UM * np.round(position_um / script.SPACING_UM))
    assert to_face_um.min() > 0.004
    assert set(committed["type"]) == {"epithelial", "stromal"}


def test_classes_follow_the_brown_of_the_image(committed):
    # Two boxes drawn by eye, in um from the lower left: inside the large gland, and in the stroma at the right.
    x, y, is_epithelial = committed["x"], committed["y"], committed["type"] == "epithelial"
    in_gland = (x < 120) & (y > 180) & (y < 250)
    in_stroma = (x > 200) & (y < 100)
    assert in_gland.sum() > 40
    assert in_stroma.sum() > 20
    assert is_epithelial[in_gland].all()
    assert not is_epithelial[in_stroma].any()


def test_known_nuclei_are_found_where_they_are_with_their_class(script):
    centres = np.array([(r, c) for r in (30, 75, 120, 165) for c in (25, 75, 125, 175)])
    is_brown = np.arange(16) % 3 == 0
    nuclei = script.find_nuclei(draw_nuclei(centres, is_brown))
    order = np.lexsort(np.round(nuclei.centroid_px / 10).T[::-1])
    assert len(order) == 16
    assert np.abs(nuclei.centroid_px[order] - centres).max() < 0.5
    np.testing.assert_array_equal(nuclei.is_positive[order], is_brown)
    # An ellipse of semi-axes 9 and 6 has 170 pixels; the blur of the signal moves its outline by less than 1.
    assert np.all((nuclei.area_px > np.pi * 8 * 5) & (nuclei.area_px < np.pi * 10 * 7))


def test_touching_nuclei_are_split(script):
    centres = [(50, 60), (50, 73), (130, 60), (130, 140)]  # the first two overlap by a pixel (semi-axis 7 each)
    nuclei = script.find_nuclei(draw_nuclei(centres, [False, False, True, True], radii=(7, 7)))
    assert len(nuclei.area_px) == 4


def test_blank_image_is_refused(script):
    with pytest.raises(ValueError, match="0 nuclei found"):
        script.find_nuclei(np.full((64, 64, 3), 255, np.uint8))


def test_y_runs_upward_from_the_bottom_row(script):
    cells = script.place_on_lattice(make_nuclei(script, [(9.5, 29.5), (79.5, 69.5)], [60, 60], [1, 0]), 0.5, 6.0)
    assert script.format_csv(cells) == "x,y,z,type\n35.00,10.00,3.00,stromal\n15.00,45.00,3.00,epithelial\n"
    assert cells.shape == (9, 9, 1)  # 50 um need nine voxels of 6 um


def test_larger_of_two_nuclei_in_a_voxel_stays(script):
    nuclei = make_nuclei(script, [(50, 51), (52, 53), (10, 10)], [60, 200, 70])
    cells = script.place_on_lattice(nuclei, 1.0, 10.0)
    assert cells.num_dropped == 1
    np.testing.assert_allclose(cells.position_um, [[53.5, 47.5, 5], [10.5, 89.5, 5]])


def test_nucleus_on_a_voxel_face_is_moved_off_it(script):
    cells = script.place_on_lattice(make_nuclei(script, [(49.5, 19.5)], [60]), 1.0, 10.0)
    np.testing.assert_allclose(cells.position_um, [[19.99, 49.99, 5]])
    np.testing.assert_array_equal(cells.voxel, [[1, 4]])


def test_figure_and_summary_are_written(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["segment", "--output", str(tmp_path / "cells.csv"), "--figure", str(tmp_path / "cells.png")]
    )
    script.main()
    assert (tmp_path / "cells.csv").read_bytes() == (FOLDER / "ihc_colon.csv").read_bytes()
    assert (tmp_path / "cells.png").stat().st_size > 10_000
    assert "[40, 40, 1] voxels" in capsys.readouterr().out
