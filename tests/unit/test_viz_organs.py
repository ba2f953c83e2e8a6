"""Figures of several lattices: the borders are where one ends, and the note names them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from exodiff.io.vtkhdf import StoredGrid
from exodiff.viz.labels import RESOLVED, read_labels
from exodiff.viz.maps import show_types
from exodiff.viz.planes import choose_plane

ORGANS = (("lung", 3), ("liver", 4), ("bone", 2))


def plane_of(shape, lattices=ORGANS):
    plane = choose_plane(StoredGrid(shape, (20.0, 20.0, 20.0)), None, lattices)
    assert plane is not None
    return plane


def test_lattices_are_read_from_the_resolved_model(tmp_path):
    tables = "".join(f'[lattice.{name}]\nshape = [{n}, 4]\nspacing = "20 um"\n' for name, n in ORGANS)
    (tmp_path / RESOLVED).write_text(tables)
    assert read_labels(tmp_path).lattices == ORGANS
    (tmp_path / RESOLVED).write_text(
        '[lattice]\nshape = [3, 4]\nspacing = "20 um"\nboundary = { x_low = "absorbing" }\n'
    )
    assert read_labels(tmp_path).lattices == ()


def test_the_note_names_the_lattices_where_there_are_several():
    assert plane_of((9, 4, 1)).note == "Axes: x to the right, y upwards. Lattices along x: lung, liver, bone"
    assert plane_of((9, 1, 1)).note == "Lattices along x: lung, liver, bone"
    assert plane_of((9, 4, 1), ()).note == plane_of((9, 4, 1), (("lung", 9),)).note == "Axes: x to the right, y upwards"


@pytest.mark.parametrize(("shape", "along"), [((9, 4, 1), "x"), ((9, 1, 1), "x"), ((9, 30, 1), "y")])
def test_a_border_is_drawn_where_a_lattice_ends(shape, along):
    axes = Figure().add_subplot()
    show_types(axes, plane_of(shape), np.full(shape, -1), 1)
    ends = {
        float(at) for line in axes.lines if line.get_linewidth() < 1 for at in set(getattr(line, f"get_{along}data")())
    }
    assert {60.0, 140.0} <= ends
