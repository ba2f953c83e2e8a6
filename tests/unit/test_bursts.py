"""Bursts drawn only where events are: the numbers are those of a draw in every voxel."""

import jax
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


@pytest.mark.parametrize(("kind", "fixed"), [("poisson", ()), ("loaded", (0.3,)), ("geometric", ())])
def test_bursts_of_a_batch_with_the_same_events_in_all(kind, fixed):
    """What no draw before it sees of a parameter is not batched: the events, and the load is."""
    index, stream = voxel_index((4, 3, 2)), make_stream(4, 1)
    events = jnp.asarray(np.random.default_rng(2).poisson(1.0, index.shape), jnp.int32)

    def drawn(mean):
        given = [jnp.broadcast_to(jnp.float32(a), index.shape) for a in (*fixed, mean)]
        return _bursts_where_events_are(kind)(*stream, index, events, *given)

    means = jnp.asarray([1.0, 30.0], jnp.float32)
    np.testing.assert_array_equal(jax.vmap(drawn)(means), np.stack([drawn(mean) for mean in means]))


def test_a_batch_of_shares_that_are_loaded():
    index, stream = voxel_index((4, 3, 2)), make_stream(4, 1)
    events = jnp.asarray(np.random.default_rng(2).poisson(3.0, index.shape), jnp.int32)

    def drawn(share):
        return _bursts_where_events_are("loaded")(
            *stream, index, events, jnp.broadcast_to(share, index.shape), jnp.full(index.shape, 4.0, jnp.float32)
        )

    shares = jnp.asarray([0.1, 0.9], jnp.float32)
    np.testing.assert_array_equal(jax.vmap(drawn)(shares), np.stack([drawn(share) for share in shares]))
