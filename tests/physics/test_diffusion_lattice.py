"""Hops against the exact exponential of the lattice generator, and between walls of fixed concentration."""

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import counts, make_model, simulate
from scipy import stats

import exodiff as ex
from tests.physics.checks import walkers

SLOW = (
    "walkers, hom_periodic, leap",
    "walkers, hom_reflect, leap",
    "walkers, hom_absorb_face, leap",
    "walkers, aniso_reflect, exact",
    "spread, hom_periodic",
)


@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW else []) for c in walkers.CHECKS]
)
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


NUM = 500


def _generator(length, rate, *, absorbing):
    """dP/dt = A P along one axis; an absorbing wall is half a voxel away."""
    a = rate * (np.eye(length, k=1) + np.eye(length, k=-1))
    a -= np.diag(a.sum(0))
    if absorbing:
        a[[0, -1], [0, -1]] -= 2.0 * rate
    return a


def _along(axis, matrix, field):
    return np.moveaxis(np.tensordot(matrix, field, (1, axis)), 0, axis)


@pytest.mark.parametrize(
    ("case", "rates", "steps_a_second"),
    [
        ("hom_absorb_face", (1.0, 1.0, 1.0), (8, 16, 32)),
        ("aniso_reflect", (0.6, 0.6 / 1.25**2, 0.6 / 0.8**2), (9, 18, 36)),
    ],
)
def test_mean_field_hops_are_the_second_order_kernel_and_have_its_error(case, rates, steps_a_second):
    """A step is S = I + dt A + dt^2 A^2 / 2 of each axis, to rounding.

    log S = dt A - dt^3 A^3 / 6 + dt^4 A^4 / 8 - ..., so at time t S^(t/dt) P_0 - P = dt^2 t (-A^3 / 6 + dt A^4 / 8) P,
    summed over the axes, and higher terms; these are together less than the second at r = dt D / h^2 <= 1/8.
    """
    model, truth = walkers.model(case, NUM, precision="float64", engine="mean_field"), walkers.TRUTH[case][2]
    axes = [_generator(n, w, absorbing=case == "hom_absorb_face") for n, w in zip(walkers.SHAPE, rates, strict=True)]
    thirds = [_along(axis, np.linalg.matrix_power(a, 3), truth) for axis, a in enumerate(axes)]
    first = -2.0 / 6.0 * sum(thirds)
    second = 2.0 / 8.0 * sum(_along(axis, a, third) for axis, (a, third) in enumerate(zip(axes, thirds, strict=True)))
    for number in steps_a_second:  # so that 2 s is an even number of steps
        expected = np.zeros(walkers.SHAPE)
        expected[walkers.START] = 1.0
        for axis, a in enumerate(axes):
            step = np.eye(len(a)) + a / number + a @ a / (2.0 * number**2)
            expected = _along(axis, np.linalg.matrix_power(step, 2 * number), expected)
        found = counts(simulate(model, [2.0], time_step=1.0 / number), "W")[0, 0] / NUM
        np.testing.assert_allclose(found, expected, atol=1e-13)
        beyond = number**2 * (found - truth) - first
        assert np.abs(beyond).sum() < 2.0 * np.abs(second).sum() / number


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


@pytest.mark.parametrize("engine", ["leap", "exact", "mean_field"])
@pytest.mark.parametrize("flow", [None, pytest.param({"velocity": [-0.3, 0.0]}, marks=pytest.mark.slow)])
def test_a_fixed_wall_reflects_what_it_does_not_list(engine: str, flow: dict[str, list[float]] | None):
    """A comes in and goes out through the walls, B stays in the box and C crosses one wall alone."""
    faces = {"x_low": {"fixed": {"A": 3.0, "C": 0.0}}, "y_high": {"fixed": {"A": 3.0}}}
    start = {name: {"diffusion": 0.5, "initial": 40} for name in ("A", "B", "C")}
    run = {"engine": engine, "duration": "40 s"}
    tables = {"flow": flow} if flow else {}
    traj = ex.simulate(make_model([4, 3], run=run, boundary=faces, species=start, **tables), [0.0, 40.0])
    total = {name: float(traj.total(name)[0, 1]) for name in start}
    assert total["B"] == pytest.approx(480, rel=1e-5)
    assert total["C"] < 240
    # the box fills to the walls' three a voxel where nothing flows; against them no more comes in
    assert total["A"] < 240
