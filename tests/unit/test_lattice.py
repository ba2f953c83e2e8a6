"""The lattice by hand: volumes, neighbours, which voxels a shape has, where cells go."""

import numpy as np
import pytest

from exodiff.core.errors import ConfigError
from exodiff.lattice import shapes
from exodiff.lattice.grid import Grid
from exodiff.lattice.placement import EMPTY, fill, place_points, voxel_of

WALLS = (("absorbing", "reflecting"), ("periodic", "periodic"), ("reflecting", "fixed"))
GRID = Grid((4, 3, 1), (1.0, 2.0, 5.0), 0.2, WALLS, 2)


def where(mask):
    return {tuple(int(i) for i in place) for place in np.argwhere(mask)}


def test_sizes_of_a_grid():
    assert GRID.num_voxels == 12
    assert GRID.fluid_volume_um3 == pytest.approx(2.0)  # 1 x 2 x 5 um^3, a fifth of it fluid
    assert GRID.size_um == (4.0, 6.0, 5.0)
    assert GRID.user_shape == (4, 3)


def test_walls_decide_what_is_periodic_open_and_hopped_along():
    assert [GRID.is_periodic(a) for a in range(3)] == [False, True, False]
    assert [GRID.is_open(a) for a in range(3)] == [True, False, True]
    assert [GRID.can_hop(a) for a in range(3)] == [True, True, True]  # z is one voxel thick, and open
    assert not Grid((4, 3, 1), (1.0, 1.0, 1.0)).can_hop(2)


def test_a_sphere_holds_the_voxels_whose_centre_is_within_its_radius():
    # centres at x = 0.5, 1.5, 2.5, 3.5 and y = 1, 3, 5, z = 2.5: from (1.5, 3, 2.5) those at 0, 1, 1, 2 and 2, 2 um
    assert where(shapes.sphere(GRID, 2.0, (1.5, 3.0))) == {
        (1, 1, 0),
        (0, 1, 0),
        (2, 1, 0),
        (3, 1, 0),
        (1, 0, 0),
        (1, 2, 0),
    }
    assert where(shapes.sphere(GRID, 0.6, None)) == {(1, 1, 0), (2, 1, 0)}  # the middle of the lattice is (2, 3, 2.5)


def test_a_box_and_a_layer_hold_their_low_side_and_not_their_high_one():
    assert where(shapes.box(GRID, (0.5, 1.0), (2.5, 5.0))) == {(x, y, 0) for x in (0, 1) for y in (0, 1)}
    assert where(shapes.layer(GRID, "y", 3.0, 5.0)) == {(x, 1, 0) for x in range(4)}


def test_a_cylinder_ignores_its_own_axis():
    assert where(shapes.cylinder(GRID, "y", 0.1, (2.5, 2.5))) == {(2, y, 0) for y in range(3)}
    assert where(shapes.cylinder(GRID, "y", 0.1, (2.5, 99.0, 2.5))) == {(2, y, 0) for y in range(3)}


def test_lines_go_through_the_voxels_that_hold_their_points():
    assert where(shapes.lines(GRID, "y", 2.0, 1.0)) == {(x, y, 0) for x in (1, 3) for y in range(3)}
    assert where(shapes.everywhere(GRID)) == {(x, y, 0) for x in range(4) for y in range(3)}


def test_fill_takes_the_voxels_at_or_below_the_fraction_and_spares_cells_unless_told():
    cells = np.full(GRID.shape, EMPTY)
    cells[0] = 7
    uniform = np.linspace(0.1, 1.2, 12).reshape(GRID.shape)
    mask = shapes.layer(GRID, "y", 0.0, 4.0)  # y = 0, 1
    filled = fill(cells, mask, 2, uniform, 0.5, replace=False)
    assert where(filled == 2) == {(1, 0, 0), (1, 1, 0)}  # 0.4 and 0.5; 0.1, 0.2 have a cell, 0.6 is outside
    assert where(filled == 7) == {(0, y, 0) for y in range(3)}
    assert where(fill(cells, mask, 2, uniform, 0.5, replace=True) == 2) == {(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)}


def test_a_point_on_a_face_is_in_the_upper_voxel():
    assert voxel_of(np.array([[0.99, 2.0, 0.0], [1.0, 1.99, 4.9]]), GRID).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_points_become_cells_where_they_may():
    cells = np.full(GRID.shape, EMPTY)
    cells[3, 2, 0] = 5
    points = np.array([[0.5, 0.5, 1.0], [2.2, 3.0, 1.0], [3.5, 5.0, 1.0]])
    everywhere = shapes.everywhere(GRID)
    placed = place_points(cells, points, [0, 1, 2], everywhere, GRID, "place[0].csv", replace=False)
    assert (placed[0, 0, 0], placed[2, 1, 0], placed[3, 2, 0]) == (0, 1, 5)
    assert place_points(cells, points, [0, 1, 2], everywhere, GRID, "w", replace=True)[3, 2, 0] == 2
    assert np.sum(placed != EMPTY) == 3


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (
            [[0.5, 0.5, 1.0], [4.0, 1.0, 1.0]],
            r"row 3: the cell at \(4, 1, 1\) um is outside the lattice of 4 x 6 x 5 um",
        ),
        ([[0.5, 0.5, 1.0], [2.5, 1.0, 1.0], [0.6, 1.9, 4.0]], r"rows 2 and 4: .* voxel \(x 0, y 0, z 0\)"),
    ],
)
def test_points_that_do_not_fit_are_refused_with_their_rows(points, told):
    with pytest.raises(ConfigError, match=told):
        place_points(
            np.full(GRID.shape, EMPTY),
            np.array(points),
            [0] * len(points),
            shapes.everywhere(GRID),
            GRID,
            "w",
            replace=False,
        )
