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


@pytest.mark.parametrize(("number", "more"), [(0, 1), (voxel_index((LANES,)), 5)])
def test_a_pair_of_random_words_is_one_whatever_is_the_same_for_all_lanes(number, more):
    stream, index = make_stream(jnp.uint32(1), jnp.uint32(2)), voxel_index((LANES,))
    found = work_of(lambda n: jnp.bitwise_xor(*word_pair(stream, index, n)), number, items=LANES)
    assert found["pairs"] == 1
    assert abs(found["operations"] - more) < 1.5  # of 113: keys count too where they are few


@pytest.mark.parametrize(("pick", "operations"), [(min, 1), (max, 3)])
def test_of_two_branches_one_is_counted(pick, operations):
    def function(x):
        return lax.cond(x[0] > 0, lambda: x + 1.0, lambda: (x + 1.0) * x * x)

    assert round(_found(function, X, pick=pick)["operations"]) == operations


def test_a_loop_counts_as_often_as_it_goes_round():
    def function(x):
        return lax.fori_loop(0, 5, lambda _, y: y * x, x)

    assert round(_found(function, X)["operations"]) == 5


def test_an_open_loop_counts_as_often_as_it_is_told():
    def function(x):
        return lax.while_loop(lambda y: jnp.any(jnp.exp(y) < 9.0), lambda y: y * x, x)

    assert _found(function, X, turns=3.0) == {"operations": 3}


def test_of_more_branches_the_first_is_counted():
    def function(x):
        way = jnp.asarray(0) + (x[0] > 0)
        return lax.switch(way, [lambda: jnp.exp(x), lambda: x, lambda: x * x])

    assert _found(function, X)["functions"] == 1


def test_a_program_that_is_not_understood_is_refused():
    def function(x):
        return lax.custom_linear_solve(lambda y: 2.0 * y, x, lambda _, y: 0.5 * y, symmetric=True)

    with pytest.raises(NotImplementedError, match="custom_linear_solve"):
        work_of(function, X, items=LANES)
