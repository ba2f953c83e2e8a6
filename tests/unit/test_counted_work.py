import jax.numpy as jnp
import pytest
from jax import lax

from bench.counted_work import work_of
from exodiff.kernels.random import make_stream, voxel_index, word_pair

LANES = 64
X = jnp.linspace(0.1, 1.0, LANES)


def _found(function, *given, **options):
    return {kind: number for kind, number in work_of(function, *given, items=LANES, **options).items() if number > 0}


def test_each_kind_of_work_is_counted_for_each_lane():
    assert _found(lambda x: 2.0 * x + 1.0, X) == {"operations": 2}
    assert _found(lambda x: jnp.exp(-x) / x, X) == {"operations": 1, "functions": 1, "quotients": 1}
    assert _found(lambda x: x.reshape(8, 8).T, X) == {}
    assert _found(lambda x: x.reshape(8, 8) @ jnp.ones((8, 8)), X) == {"products": 8}


def test_a_pair_of_random_words_is_one_whatever_is_the_same_for_all_lanes():
    index = voxel_index((LANES,))
    for number in (0, index):
        found = _found(lambda n: jnp.bitwise_xor(*word_pair(make_stream(1, 2), index, n)), number)
        assert found["pairs"] == 1
        assert found.get("operations", 0.0) <= 1.0


@pytest.mark.parametrize(("pick", "operations"), [(min, 1), (max, 3)])
def test_of_two_branches_one_is_counted(pick, operations):
    def function(x):
        return lax.cond(x[0] > 0, lambda: x + 1.0, lambda: (x + 1.0) * x * x)

    assert round(_found(function, X, pick=pick)["operations"]) == operations


def test_a_loop_counts_as_often_as_it_goes_round():
    def function(x):
        return lax.fori_loop(0, 5, lambda _, y: y * x, x)

    assert round(_found(function, X)["operations"]) == 5
