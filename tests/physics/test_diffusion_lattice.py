"""Hops against the exact exponential of the lattice generator, and between walls of fixed concentration."""

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import counts, make_model, simulate
from scipy import stats

from tests.physics.checks import walkers


@pytest.mark.parametrize("check", [pytest.param(c, id=c.name) for c in walkers.CHECKS])
def test_walkers_follow_the_generator(check):
    value = check.measure()
    assert check.passes(value), (check.claim, value)


@pytest.mark.parametrize("engine", walkers.SIZES)
@pytest.mark.parametrize("case", walkers.CLOSED)
def test_a_closed_box_keeps_every_walker(case, engine):
    assert np.all(walkers.numbers(case, engine).sum(2) == walkers.SIZES[engine][0])
    assert walkers.numbers(case, engine).min() >= 0


def test_a_periodic_box_keeps_every_molecule():
    whole = walkers.numbers("hom_periodic", species="P").sum(2)
    assert np.all(whole == whole[:, :1])


@pytest.mark.parametrize("case", ["hom_absorb_face", "aniso_reflect"])
def test_mean_field_hops_are_second_order_in_the_step(case):
    model = walkers.model(case, 500, precision="float64", engine="mean_field")
    # r = D dt / h^2 of the narrowest axis: 1/8, 1/16, 1/32, rounded so that 2 s is an even number of steps
    errors = []
    for pairs in (8, 16, 32) if case == "hom_absorb_face" else (9, 18, 36):
        step = 1.0 / pairs
        trajectory = simulate(model, [2.0], time_step=step)
        difference = counts(trajectory, "W")[0, 0] / 500 - walkers.TRUTH[case][2]
        errors.append(0.5 * np.abs(difference).sum() / step**2)
    # total variation / dt^2 is constant to within the next order, which is r ~ 8 % and then 4 %; first order doubles it
    assert errors[0] < 0.07  # 0.0343 (absorbing) and 0.058 (anisotropic) were measured
    assert abs(errors[1] / errors[0] - 1.0) < 0.12
    assert abs(errors[2] / errors[1] - 1.0) < 0.06


def _walls(low, high):
    return {
        "y": "periodic",
        "x_low": {"fixed": {"A": low[0], "B": low[1]}},
        "x_high": {"fixed": {"A": high[0], "B": high[1]}},
    }


@pytest.fixture(scope="module")
def between_walls():
    """A at both walls' concentration of 4 /um^3 everywhere; B from 2 to 10 /um^3, started at its steady profile."""
    model = make_model(
        [8, 6],
        boundary=_walls((4.0, 2.0), (4.0, 10.0)),
        species={
            "A": {"diffusion": 1.0, "initial": {"poisson": 4.0}},
            "B": {"diffusion": 1.0, "initial": {"poisson": 6.0}},
        },
    )
    # the slowest mode of B dies as exp(-D (pi/8)^2 t): 5e-7 after 94 s
    return simulate(model, [1.0, 94.0], seed=3, replicates=1000, time_step=0.25)


def test_a_box_at_the_concentration_of_its_walls_stays_poisson(between_walls):
    numbers = counts(between_walls, "A")
    for at in range(2):
        assert gates.pmf_p(numbers[:, at], stats.poisson.pmf(np.arange(60), 4.0)) > ALPHA
        assert gates.poisson_p(numbers[:, at].sum(0), 4.0 * 1000) > ALPHA
        field = numbers[:, at] - 4.0
        for product in (field[:, 1:] * field[:, :-1], field * np.roll(field, 1, 2)):
            assert abs(product.mean()) < 5.0 * 4.0 / np.sqrt(product.size)
        # the whole box: Poisson(4 x 48)
        total = numbers[:, at].sum((1, 2))
        assert gates.variance_p(total[:, None], 192.0, np.array([192.0]), 3.0 + 1 / 192) > ALPHA


def test_two_different_walls_hold_a_linear_profile(between_walls):
    numbers = counts(between_walls, "B")[:, 1]
    profile = 2.0 + (np.arange(8) + 0.5)  # from 2 to 10 over 8 um, walls on the faces
    assert gates.poisson_p(numbers.sum(0), 1000 * profile[:, None] * np.ones(6)) > ALPHA
    assert gates.poisson_p(numbers.sum((0, 2)), 6000 * profile) > ALPHA
    field = numbers - profile[:, None]
    product = field[:, 1:] * field[:, :-1] / np.sqrt(profile[1:] * profile[:-1])[:, None]
    assert abs(product.mean()) < 5.0 / np.sqrt(product.size)
    for row, mean in zip(np.moveaxis(numbers, 1, 0), profile, strict=True):
        assert gates.pmf_p(row, stats.poisson.pmf(np.arange(80), mean)) > ALPHA
