"""`leap` against the master equation: the eight models of truths/fsp.npz at small steps, and its order in the step.

The truths write a pair as c x (x - 1) / 2; exodiff's mass action has no 1/2, so its rate is c / 2. Voxels have 1 um^3,
so that rates carry no volume. Times are seconds.

Two kinds of test. At STEP = 0.02 s the splitting error (second order; computed below: under 2e-3 of a standard
deviation, a fifth of the noise of the mean) is hidden in the noise of 10,000 replicates, and the joint law has to
pass all families of ``acceptance.py``. At large steps the law after a few steps is compared with an independent
enumeration of the step (a product of exact sub-flows in the documented order), and the order is read off that
enumeration: the bias falls by 4 when the step is halved.
"""

import json
from functools import reduce

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import counts, simulate
from scipy import stats
from scipy.linalg import expm

from tests.physics.checks import fsp
from tests.physics.checks.fsp import SOURCES, STEP, dimers_alone, one_voxel

TRUTHS = gates.Path(__file__).parent / "truths"

SLOW = ("birth_death_from0, leap", "two_voxel_annihilation, leap")


def test_the_models_are_those_of_the_truths():
    assert {model["name"] for model in json.loads((TRUTHS / "fsp_models.json").read_text())} == set(SOURCES)


@pytest.mark.parametrize(
    "check",
    [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name.endswith(SLOW) else []) for c in fsp.CHECKS],
)
def test_the_joint_law_is_that_of_the_master_equation(check):
    value = check.measure()
    assert check.passes(value), (check.name, value)


# ----- the step as a matrix


def _binomial(size, p):
    n, k = np.indices((size, size))
    return stats.binom.pmf(k, n, p)


def _flow(propensity, change, size, dt):
    """Transition matrix of one channel alone that changes a count on 0 ... size - 1."""
    generator = np.zeros((size, size))
    for n in range(size):
        if 0 <= n + change < size:
            generator[n, n + change] += propensity(n)
            generator[n, n] -= propensity(n)
    return expm(generator * dt)


def _pairs_of_steps(flows, num_pairs):
    """Forwards, backwards, and so on; flows act on row vectors."""
    forwards = reduce(np.matmul, flows)
    backwards = reduce(np.matmul, flows[::-1])
    return np.linalg.matrix_power(forwards @ backwards, num_pairs)


def _dimer_law(dt, num_pairs):
    """2 P -> P2 and P2 -> 2 P with 51 molecules: the number of dimers."""
    size = 26
    flows = [
        _flow(lambda d: 0.01 * (51 - 2 * d) * (50 - 2 * d), 1, size, dt),
        _flow(lambda d: 0.1 * d, -1, size, dt),
    ]
    return _pairs_of_steps(flows, num_pairs)[0]


def _birth_death_law(dt, num_pairs):
    """L -> 2 L and L -> from 12."""
    size = 400
    flows = [_flow(lambda n: 0.9 * n, 1, size, dt), _flow(lambda n: 1.0 * n, -1, size, dt)]
    return _pairs_of_steps(flows, num_pairs)[12]


def _repression_law(dt, num_pairs):
    size = 120
    flows = [
        _flow(lambda n: 30.0 / (1.0 + (n / 10.0) ** 2), 1, size, dt),
        _flow(lambda n: 1.0 * n, -1, size, dt),
    ]
    return _pairs_of_steps(flows, num_pairs)[0]


def _homodimer_law(dt, num_pairs):
    """D hops between two voxels by I + A dt + (A dt)^2 / 2, then 2 D -> in each; the state is (D0, D1)."""
    size = 16
    w = 0.7 * dt
    moves = w - w * w  # one hop and no return, to second order
    hop = np.zeros((size, size, size, size))
    for a in range(size):
        for b in range(size - a):
            out = stats.binom.pmf(np.arange(a + 1), a, moves)
            back = stats.binom.pmf(np.arange(b + 1), b, moves)
            for i in range(a + 1):
                for j in range(b + 1):
                    hop[a, b, a - i + j, b - j + i] += out[i] * back[j]
    loss = _flow(lambda n: 0.25 * n * (n - 1), -2, size, dt)
    both = np.einsum("ac,bd->abcd", loss, loss)
    flows = [m.reshape(size * size, -1) for m in (hop, both)]
    return _pairs_of_steps(flows, num_pairs)[13 * size + 2]


LARGE = {  # the law after 2 s in so many pairs of steps, at exit probabilities of 0.2 to 0.5 a step
    "dimerisation": (_dimer_law, 4, one_voxel),
    "linear_birth_death": (_birth_death_law, 4, one_voxel),
    "hill_repress": (_repression_law, 4, one_voxel),
    "two_voxel_homodimer": (_homodimer_law, 10, dimers_alone),
}
END = 2.0


@pytest.fixture(scope="module")
def coarse():
    """100,000 replicates at large steps."""
    found = {}

    def get(make, pairs):
        if (make, pairs) not in found:
            step = END / (2 * pairs)
            found[make, pairs] = simulate(make(), [END], seed=4, replicates=100_000, time_step=step)
        return found[make, pairs]

    return get


@pytest.mark.parametrize("name", LARGE)
def test_a_large_step_is_the_product_of_exact_sub_flows(coarse, name):
    law, pairs, make = LARGE[name]
    _, columns = SOURCES[name]
    trajectory = coarse(make, pairs)
    states = [counts(trajectory, s)[:, 0, voxel] for s, voxel in columns]
    pmf = law(END / (2 * pairs), pairs)
    index = {"dimerisation": states[-1], "two_voxel_homodimer": states[0] * 16 + states[-1]}.get(name, states[0])
    # 100,000 replicates: chi-square and exact tails
    assert gates.pmf_p(index, pmf) > ALPHA


@pytest.mark.parametrize("name", LARGE)
def test_the_step_is_second_order_in_mean_and_variance(name):
    law, pairs, _ = LARGE[name]
    size = int(len(law(1.0, 1)) ** 0.5) if name == "two_voxel_homodimer" else None
    errors = []
    exact = law(END / 1024, 512)  # its own error is (1/64)^2 of that at the finest step below
    for refinement in (1, 2, 4, 8):
        found = law(END / (2 * pairs * refinement), pairs * refinement)
        errors.append(_moments(found, size) - _moments(exact, size))
    errors = np.array(errors)
    biased = np.abs(errors[0]) > 1e-9  # splitting leaves the mean of a linear model exact
    assert biased[1]
    ratios = errors[:-1, biased] / errors[1:, biased]
    assert np.all(np.abs(ratios[-1] - 4.0) < 0.25), ratios
    # at the step of the tests above, the bias in standard deviations
    fine = _moments(law(STEP, int(END / (2 * STEP))), size) - _moments(exact, size)
    assert abs(fine[0]) < 2e-3 * np.sqrt(_moments(exact, size)[1])


def _moments(pmf, size):
    values = np.arange(len(pmf)) if size is None else np.add(*np.indices((size, size))).ravel()
    mean = pmf @ values
    return np.array([mean, pmf @ (values - mean) ** 2])
