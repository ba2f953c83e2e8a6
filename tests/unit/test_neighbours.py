"""Values of all neighbours at once are those of one shift each."""

import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.neighbours import faces_of, seen_from, seen_from_faces
from exodiff.lattice.grid import Grid, Part

CLOSED, RING = ("reflecting", "reflecting"), ("periodic", "periodic")
LATTICES = {
    "closed": Grid((4, 3, 5), (1.0, 1.0, 1.0)),
    "rings": Grid((2, 3, 5), (1.0, 1.0, 1.0), walls=(RING, CLOSED, RING)),
    "plane": Grid((4, 1, 5), (1.0, 1.0, 1.0), walls=(CLOSED, RING, RING)),
    "line": Grid((1, 1, 6), (1.0, 1.0, 1.0)),
    "voxel": Grid((1, 1, 1), (1.0, 1.0, 1.0)),
    "several": Grid((7, 3, 1), (1.0, 1.0, 1.0), parts=(Part("a", 0, 3), Part("b", 3, 1), Part("c", 4, 3))),
}


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("name", LATTICES)
def test_all_faces_at_once_are_each_shift(name, dtype):
    grid = LATTICES[name]
    values = jnp.asarray(np.random.default_rng(1).integers(1, 99, (2, *grid.shape)), dtype)
    found = seen_from_faces(values, grid)
    assert len(found) == len(faces_of(grid))
    for one, face in zip(found, faces_of(grid), strict=True):
        np.testing.assert_array_equal(one, seen_from(values, grid, *face))
