"""How a simulation is divided over devices."""

from types import SimpleNamespace

import pytest

from exodiff.devices import Division, divide, lattice_pieces


@pytest.mark.parametrize(
    ("shape", "available", "pieces"),
    [
        ((48, 48, 48), 1, (1, 1)),
        ((48, 48, 48), 8, (2, 4)),  # either way; 4 x 128^2 and 2 x 128^2 have less surface than slabs
        ((80, 40, 40), 8, (4, 2)),  # across the long axis
        ((100, 1, 1), 8, (5, 1)),  # 8 does not divide 100
        ((7, 5, 9), 4, (1, 1)),
        ((6, 5, 4), 3, (3, 1)),
    ],
)
def test_a_lattice_is_cut_into_equal_pieces_of_least_surface(shape, available, pieces):
    assert lattice_pieces(shape, available) == pieces


def test_replicates_go_in_equal_shares_and_exact_is_not_split():
    grid = SimpleNamespace(shape=(8, 8, 8))
    assert divide(SimpleNamespace(engine="leap", grid=grid), 6, 4) == Division(shares=3)
    assert divide(SimpleNamespace(engine="exact", grid=grid), 1, 4) == Division()
    assert divide(SimpleNamespace(engine="leap", grid=grid), 1, 4).num_devices == 4
