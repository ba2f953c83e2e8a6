"""Hops against the exact exponential of the lattice generator (truths/diffusion_lattice.npz).

The hop kernel is second order: its total variation to the exact law is below 1e-3 at the steps used here (r = D dt/h^2
<= 0.1; measured below), which a chi-square with 5e4 walkers sees as a noncentrality of 0.2, its own spread being 20.
"""

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import counts, make_model, simulate
from scipy import stats

TRUTH = np.load(gates.Path(__file__).parent / "truths" / "diffusion_lattice.npz")
TIMES = [0.05, 0.5, 2.0, 8.0]
SHAPE = (9, 8, 7)
WALKERS, REPLICATES = 500, 100
WALKER = {"diffusion": 1.0, "initial": {"voxel": [2, 3, 1], "count": WALKERS}}
CASES = ["hom_reflect", "hom_periodic", "hom_absorb_face", "aniso_reflect"]
CLOSED = ["hom_reflect", "hom_periodic", "aniso_reflect"]
SECRETION_TIMES = [1.0, 5.0]


def _at(voxel):
    low = [float(v) for v in voxel]
    return {"box": {"low": low, "high": [v + 1.0 for v in low]}}


def _model(case, **run):
    if case == "hom_reflect":  # and a second species: secretion from two voxels with decay
        return make_model(
            list(SHAPE),
            run=run,
            regions={"centre": _at((4, 4, 3)), "corner": _at((0, 0, 0))},
            species={"W": WALKER, "S": {"diffusion": 1.0, "decay": 0.1}},
            reactions=[
                {"equation": "-> S", "rate": "5 /s", "region": "centre"},
                {"equation": "-> S", "rate": "2 /s", "region": "corner"},
            ],
        )
    if case == "hom_periodic":  # and a second species: Poisson numbers everywhere
        species = {"W": WALKER, "P": {"diffusion": 1.0, "initial": {"poisson": 3.0}}}
        return make_model(list(SHAPE), boundary="periodic", run=run, species=species)
    if case == "hom_absorb_face":
        return make_model(list(SHAPE), boundary="absorbing", run=run, species={"W": WALKER})
    return make_model(list(SHAPE), spacing=[1.0, 1.25, 0.8], run=run, species={"W": {**WALKER, "diffusion": 0.6}})


@pytest.fixture(scope="module")
def trajectories():
    found = {}

    def get(case):
        if case not in found:
            times = sorted({*TIMES, *SECRETION_TIMES}) if case == "hom_reflect" else TIMES
            trajectory = simulate(_model(case), times, seed=11, replicates=REPLICATES, time_step=0.1)
            found[case] = dict(zip(times, range(len(times)), strict=True)), trajectory
        return found[case]

    return get


def _walkers(trajectories, case):
    place, trajectory = trajectories(case)
    return counts(trajectory, "W")[:, [place[t] for t in TIMES]]


def _sets():
    """Half-spaces, checkerboards, planes and random sets of voxels, (sets, voxels)."""
    x, y, z = np.indices(SHAPE)
    sets = [
        x < 4,
        x < 3,
        y < 4,
        y < 3,
        z < 3,
        z < 2,
        (x + y + z) % 2 == 0,
        (x + y) % 2 == 0,
        z % 2 == 0,
        x == 2,
        y == 3,
    ]
    random = np.random.default_rng(5).random((40, *SHAPE)) < 0.5
    return np.concatenate((np.stack(sets), random)).reshape(-1, np.prod(SHAPE))


@pytest.mark.parametrize("case", CASES)
def test_walkers_in_each_voxel_follow_the_exact_probabilities(trajectories, case):
    walkers = _walkers(trajectories, case).reshape(REPLICATES, len(TIMES), -1)
    for at in range(len(TIMES)):
        p = np.clip(TRUTH[case][at].ravel(), 0.0, 1.0)
        seen = walkers[:, at].sum(0)
        # each voxel: Binomial(500 x 100, p), exact tails over 504 voxels
        assert gates.binomial_p(seen, WALKERS * REPLICATES, p) > ALPHA
        # all voxels and the lost walkers at once: multinomial chi-square, voxels under 25 expected pooled
        lost = max(1.0 - p.sum(), 0.0)
        numbers = np.append(seen, WALKERS * REPLICATES - seen.sum())
        law = np.append(p, lost)
        assert gates.acceptance.chi2_pmf(np.repeat(np.arange(law.size), numbers), law) > ALPHA


@pytest.mark.parametrize("case", CASES)
def test_counts_in_sets_of_voxels_are_binomial_in_mean_and_variance(trajectories, case):
    walkers = _walkers(trajectories, case).reshape(REPLICATES, len(TIMES), -1)
    sets = _sets()
    for at in range(len(TIMES)):
        p = sets @ np.clip(TRUTH[case][at].ravel(), 0.0, 1.0)
        inside = walkers[:, at] @ sets.T
        assert gates.binomial_p(inside.sum(0), WALKERS * REPLICATES, p) > ALPHA
        # where the count is near normal: second moment with the binomial kurtosis 3 + (1 - 6 p q)/(n p q). With 100
        # replicates its standard error is 14 %; bits shared by voxels inflate it several fold
        q = 1.0 - p
        wide = WALKERS * p * q > 20
        law = p[wide], q[wide]
        variance = WALKERS * law[0] * law[1]
        kurtosis = 3.0 + (1.0 - 6.0 * law[0] * law[1]) / variance
        second = ((inside[:, wide] - WALKERS * law[0]) ** 2).sum(0) / variance
        # sum of squares of 100 near normal numbers: chi-square tails, scaled to the kurtosis
        scale = (kurtosis - 1.0) / 2.0
        tails = stats.chi2.cdf(second / scale, REPLICATES / scale), stats.chi2.sf(second / scale, REPLICATES / scale)
        if wide.any():
            assert gates.acceptance.bonf(2.0 * np.minimum(*tails)) > ALPHA


@pytest.mark.parametrize("case", CASES)
def test_two_halves_covary_as_a_multinomial(trajectories, case):
    walkers = _walkers(trajectories, case)
    for at in (1, 2):
        p = np.clip(TRUTH[case][at], 0.0, 1.0)
        near, far = walkers[:, at, :2].sum((1, 2, 3)), walkers[:, at, 2:4].sum((1, 2, 3))
        a, b = p[:2].sum(), p[2:4].sum()
        product = (near - WALKERS * a) * (far - WALKERS * b)
        covariance = -WALKERS * a * b
        # for near normal counts Var(XY) = v_X v_Y + 2 cov^2... with the exact cov: v_X v_Y + cov^2
        spread = (WALKERS * a * (1 - a)) * (WALKERS * b * (1 - b)) + covariance**2
        assert gates.mean_p(product[:, None], covariance, spread) > ALPHA


@pytest.mark.parametrize("case", CLOSED)
def test_a_closed_box_keeps_every_walker(trajectories, case):
    assert np.all(_walkers(trajectories, case).sum((2, 3, 4)) == WALKERS)
    assert _walkers(trajectories, case).min() >= 0


def test_an_absorbing_box_loses_walkers_at_the_exact_rate(trajectories):
    left = _walkers(trajectories, "hom_absorb_face").sum((2, 3, 4))
    survival = TRUTH["hom_absorb_face"].sum((1, 2, 3))
    assert gates.binomial_p(left.sum(0), WALKERS * REPLICATES, survival) > ALPHA
    for at, p in enumerate(survival):  # and its spread over replicates
        assert gates.pmf_p(left[:, at], stats.binom.pmf(np.arange(WALKERS + 1), WALKERS, p)) > ALPHA


def test_secretion_with_decay_stays_poisson_in_every_voxel(trajectories):
    place, trajectory = trajectories("hom_reflect")
    secreted = counts(trajectory, "S")[:, [place[t] for t in SECRETION_TIMES]].reshape(REPLICATES, 2, -1)
    sets = _sets()
    # the start of a step has every molecule decay or move in turn: bias below 1e-4 at dt = 0.1, k dt = 0.01
    for at in range(2):
        mean = TRUTH["secrete_hom_reflect"][at].ravel()
        assert gates.poisson_p(secreted[:, at].sum(0), REPLICATES * mean) > ALPHA
        inside = secreted[:, at] @ sets.T
        assert gates.poisson_p(inside.sum(0), REPLICATES * (sets @ mean)) > ALPHA
        # dispersion over replicates of each voxel set: sum (x - m)^2 / m has mean R and variance R (2 + 1/m)
        m = sets @ mean
        dispersion = ((inside - m) ** 2 / m).mean(0)
        z = (dispersion - 1.0) / np.sqrt((2.0 + 1.0 / m) / REPLICATES)
        assert gates.acceptance.bonf(2.0 * stats.norm.sf(np.abs(z[m > 3]))) > ALPHA


def test_a_poisson_start_stays_a_product_of_poissons(trajectories):
    _, trajectory = trajectories("hom_periodic")
    numbers = counts(trajectory, "P").reshape(REPLICATES, len(TIMES), -1)
    sets = _sets()
    for at in range(len(TIMES)):
        # 100 x 504 independent Poisson(3)
        assert gates.pmf_p(numbers[:, at], stats.poisson.pmf(np.arange(40), 3.0)) > ALPHA
        # projections with random signs: zero mean, variance 3 x 504, and nothing between different ones
        signs = 2.0 * sets - 1.0
        projected = (numbers[:, at] - 3.0) @ signs.T / np.sqrt(3.0 * 504)
        assert gates.acceptance.bonf(2.0 * stats.norm.sf(np.abs(projected.mean(0)) * np.sqrt(REPLICATES))) > ALPHA
        second = (projected**2).sum(0)
        tails = np.minimum(stats.chi2.cdf(second, REPLICATES), stats.chi2.sf(second, REPLICATES))
        assert gates.acceptance.bonf(2.0 * tails) > ALPHA
        # the nearest neighbours along each axis do not covary: 200 x 504 products of variance 9
        field = numbers[:, at].reshape(REPLICATES, *SHAPE) - 3.0
        for axis in (1, 2, 3):
            product = field * np.roll(field, 1, axis)
            assert abs(product.mean()) < 5.0 * 3.0 / np.sqrt(product.size)  # 5 sigma: p = 6e-7
    assert np.all(numbers.sum(2) == numbers[:, :1].sum(2))


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
    model, truth = _model(case, precision="float64", engine="mean_field"), TRUTH[case][2]
    axes = [_generator(n, w, absorbing=case == "hom_absorb_face") for n, w in zip(SHAPE, rates, strict=True)]
    thirds = [_along(axis, np.linalg.matrix_power(a, 3), truth) for axis, a in enumerate(axes)]
    first = -2.0 / 6.0 * sum(thirds)
    second = 2.0 / 8.0 * sum(_along(axis, a, third) for axis, (a, third) in enumerate(zip(axes, thirds, strict=True)))
    for number in steps_a_second:  # so that 2 s is an even number of steps
        expected = np.zeros(SHAPE)
        expected[tuple(WALKER["initial"]["voxel"])] = 1.0
        for axis, a in enumerate(axes):
            step = np.eye(len(a)) + a / number + a @ a / (2.0 * number**2)
            expected = _along(axis, np.linalg.matrix_power(step, 2 * number), expected)
        found = counts(simulate(model, [2.0], time_step=1.0 / number), "W")[0, 0] / WALKERS
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
