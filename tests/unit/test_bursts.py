"""Bursts drawn only where events are: the numbers are those of a draw in every voxel."""

import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.kernels.policies import Discrete
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.kernels.reactions import _bursts, _bursts_where_events_are


@pytest.mark.parametrize(("kind", "arguments"), [("poisson", (3.0,)), ("loaded", (0.3, 5.0)), ("geometric", (2.0,))])
def test_bursts_by_blocks_are_those_of_all_voxels(kind, arguments):
    """Of more voxels than a block, and not a multiple of it; every fourth has events, and one block has none."""
    index, stream = voxel_index((30, 20, 31)), make_stream(4, 1)
    events = np.random.default_rng(2).poisson(0.3, index.shape).astype(np.int32)
    events.reshape(-1)[8192:16384] = 0
    given = [jnp.full(index.shape, a, jnp.float32) for a in arguments]
    every = _bursts(Discrete(), kind, stream, index, jnp.asarray(events), given)
    found = _bursts_where_events_are(kind)(*stream, index, jnp.asarray(events), *given)
    np.testing.assert_array_equal(found, every)
    assert np.asarray(found).sum() > 0
