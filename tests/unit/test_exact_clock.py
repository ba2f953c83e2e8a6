"""Time and number of an event: no carry is lost, no wait loses its precision."""

import math
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.exact.clock import UNLIMITED, Time, is_after, later, next_number, spend, split_time


def test_the_number_of_an_event_goes_on_beyond_2_to_32():
    low, high = (jnp.asarray([0xFFFF_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF], jnp.uint32), jnp.asarray([0, 0, 7], jnp.uint32))
    step = jnp.asarray([1, 1, 0], jnp.uint32)
    found = next_number((low, high), step)
    numbers = np.asarray(found[0], np.uint64) + (np.asarray(found[1], np.uint64) << np.uint64(32))
    assert numbers.tolist() == [0xFFFF_FFFF, 1 << 32, (7 << 32) + 0xFFFF_FFFF]


def test_an_unlimited_budget_is_not_used_up():
    assert int(spend(jnp.uint32(UNLIMITED), 4)) == UNLIMITED
    assert int(spend(jnp.uint32(5), 4)) == 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_sum_of_many_short_waits_loses_nothing(precision):
    with jax.enable_x64(precision == "float64"):
        waits = np.random.default_rng(1).exponential(1e-4, 100_000).astype(precision)
        start = split_time(1000.1, precision)
        zero = Time(*(jnp.asarray(part, precision) for part in start))
        end, _ = jax.jit(lambda t, w: jax.lax.scan(lambda t, w: (later(t, w), None), t, w))(zero, jnp.asarray(waits))
        with localcontext() as context:
            context.prec = 60
            parts = (*start, *waits)
            truth = sum((Decimal(float(part)) for part in parts), Decimal(0))
            error = abs(Decimal(float(end.high)) + Decimal(float(end.low)) - truth)
        # each of the 1e5 additions rounds the remainder, below eps * 1010 / 2, by half an eps of itself at most
        eps = float(np.finfo(precision).eps)
        assert error <= Decimal(1e5 * eps / 2 * eps * 1010)
        # the plain sum is off by far more: the test would see it
        plain = np.cumsum(np.concatenate(([start.high], waits)).astype(precision), dtype=precision)[-1]
        assert abs(Decimal(float(plain)) - truth) > 100 * error


def test_an_endless_wait_stays_endless_and_times_compare_by_both_parts():
    end = later(Time(jnp.float32(3.0), jnp.float32(1e-8)), jnp.float32(jnp.inf))
    assert float(end.high) == math.inf
    assert float(end.low) == 0.0
    one, two = (Time(jnp.float32(3.0), jnp.float32(low)) for low in (1e-8, 2e-8))
    assert bool(is_after(two, one))
    assert not bool(is_after(one, two))
    assert not bool(is_after(one, one))
