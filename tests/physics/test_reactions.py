"""Each kind of reaction alone, against its exact law.

A channel alone is drawn from its exact law at any step, so steps are large (0.1 s, exit probabilities up to 0.4); the
truth is the exponential of the channel's own generator, written here. All channels share one model with species of
their own and do not touch each other. Voxels of 2.5 um^3 with a fluid fraction of 0.8 make V = 2 um^3. There are about
50 families at p < 2e-6, a false-alarm rate of 1e-4 for the file.
"""

import gates
import numpy as np
import pytest
from gates import ALPHA
from models import counts, make_model, simulate
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import exodiff as ex

V = 2.0
REPLICATES = 20_000
TIMES = [0.4, 1.2]

SPECIES = {
    "per_volume": 0, "per_voxel": 0, "first": 20, "a": 9, "b": 6, "c": 0, "h": 11, "t1": 6, "t2": 9, "u": 10,
    "e1": 4, "e2": 10, "e3": 0, "y": 3, "s": 12, "i": 2, "short": 7, "ramp": 0, "delayed": 0, "four": 5, "x4": 0,
    "mp": 12, "xp": 0, "mg": 12, "xg": 0, "ml": 12, "xl": 0, "waning": 0, "cubic": 9, "half": 60,
}  # fmt: skip
REACTIONS = [
    ("-> per_volume", {"rate": "3 /um^3/s"}),
    ("-> per_voxel", {"rate": "3 /s"}),
    ("first ->", {"rate": "0.7 /s"}),
    ("a + b -> c", {"rate": "0.25 um^3/s"}),
    ("2 h ->", {"rate": "0.08 um^3/s"}),
    ("t1 + 2 t2 ->", {"rate": "0.05 um^6/s"}),
    ("3 u ->", {"rate": "0.04 um^6/s"}),
    ("e1 + e2 -> e1 + e3", {"rate": "0.4 um^3/s"}),
    ("y -> 2 y", {"rate": "0.9 /s"}),
    ("s + i -> 2 i", {"rate": "0.3 um^3/s"}),
    ("2 short ->", {"propensity": "2 /s"}),
    ("-> ramp", {"propensity": "slope * t"}),
    ("-> delayed", {"propensity": "where(t > wait, 4 * per_s, 0 * per_s)"}),
    ("four -> 4 x4", {"rate": "0.6 /s"}),
    ("mp -> poisson(20) xp", {"rate": "0.5 /s"}),
    ("mg -> geometric(3) xg", {"rate": "0.5 /s"}),
    ("ml -> loaded(0.3, 5) xl", {"rate": "0.5 /s"}),
    ("waning ->", {"rate": "0.7 /s"}),
    ("cubic ->", {"propensity": "per_s * hill(cubic, 4, 3)"}),
]


def _chemistry():
    species = {name: {"initial": number} for name, number in SPECIES.items()}
    species["half"]["half_life"] = "0.8 s"
    species["waning"]["initial"] = {"poisson": 4.0}
    return make_model(
        [1],
        spacing=[2.5, 1.0, 1.0],
        lattice={"fluid_fraction": 0.8},
        parameters={"slope": "5 /s^2", "wait": "0.8 s", "per_s": "1 /s"},
        species=species,
        reactions=[{"equation": equation, **rate} for equation, rate in REACTIONS],
        run={"precision": "float32", "time_step": "0.1 s"},
    )


@pytest.fixture(scope="module")
def chemistry():
    return simulate(_chemistry(), TIMES, seed=8, replicates=REPLICATES, time_step=0.1)


def _law(propensity, change, start, time, size):
    """Law at a time of a count that one channel changes, from its generator on 0 ... size - 1."""
    generator = np.zeros((size, size))
    for n in range(size):
        rate = propensity(n)
        if rate > 0 and 0 <= n + change < size:
            generator[n, n + change] += rate
            generator[n, n] -= rate
    return expm(generator * time)[start]


def _shifted(pmf, values):
    """Law of values[n]."""
    result = np.zeros(max(values) + 1)
    np.add.at(result, values, pmf)
    return result


def _poisson(mean):
    return stats.poisson.pmf(np.arange(int(mean + 20 * np.sqrt(mean + 1)) + 20), mean)


LAWS = {
    "per_volume": lambda t: _poisson(3 * V * t),
    "per_voxel": lambda t: _poisson(3 * t),
    "first": lambda t: stats.binom.pmf(np.arange(21), 20, np.exp(-0.7 * t)),
    "c": lambda t: _law(lambda n: 0.25 / V * (9 - n) * (6 - n), 1, 0, t, 7),
    "h": lambda t: _law(lambda n: 0.08 / V * n * (n - 1), -2, 11, t, 12),
    "t1": lambda t: _law(lambda n: 0.05 / V**2 * n * (2 * n - 3) * (2 * n - 4) * (n > 1), -1, 6, t, 7),
    "u": lambda t: _law(lambda n: 0.04 / V**2 * n * (n - 1) * (n - 2), -3, 10, t, 11),
    "e3": lambda t: stats.binom.pmf(np.arange(11), 10, -np.expm1(-0.4 / V * 4 * t)),
    "y": lambda t: np.append(np.zeros(3), stats.nbinom.pmf(np.arange(150), 3, np.exp(-0.9 * t))),
    "i": lambda t: _law(lambda n: 0.3 / V * (14 - n) * n, 1, 2, t, 15),
    "short": lambda t: _law(lambda n: 2.0 * (n >= 2), -2, 7, t, 8),
    "ramp": lambda t: _poisson(2.5 * t * t),
    "delayed": lambda t: _poisson(4 * max(t - 0.8, 0.0)),
    "x4": lambda t: _shifted(stats.binom.pmf(np.arange(6), 5, -np.expm1(-0.6 * t)), 4 * np.arange(6)),
    "cubic": lambda t: _law(lambda n: n**3 / (4**3 + n**3), -1, 9, t, 10),
    "half": lambda t: stats.binom.pmf(np.arange(61), 60, 0.5 ** (t / 0.8)),
    "waning": lambda t: _poisson(4 * np.exp(-0.7 * t)),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_reaction_alone_follows_its_exact_law(chemistry, name):
    for at, time in enumerate(TIMES):
        # t1 starts at 6 with t2 = 9 = 2 t1 - 3: one variable says all
        assert gates.pmf_p(counts(chemistry, name)[:, at, 0], LAWS[name](time)) > ALPHA


def test_molecules_of_one_reaction_change_together(chemistry):
    def of(name):
        return counts(chemistry, name)[..., 0]

    assert np.all(of("a") + of("c") == 9)
    assert np.all(of("b") + of("c") == 6)
    assert np.all(of("t2") == 2 * of("t1") - 3)
    assert np.all(of("e1") == 4)
    assert np.all(of("e2") + of("e3") == 10)
    assert np.all(of("s") + of("i") == 14)
    assert np.all(of("x4") == 4 * (5 - of("four")))
    assert np.all(of("h") % 2 == 1)
    assert min(of(name).min() for name in SPECIES) >= 0


def _events(t, n=12):
    return stats.binom.pmf(np.arange(n + 1), n, -np.expm1(-0.5 * t))


def _compound(per_event, t, size):
    """Law of a sum over a binomial number of events of independent bursts with the law ``per_event``."""
    frequency = np.fft.fft(np.pad(per_event, (0, size - len(per_event))))
    generating = sum(weight * frequency**k for k, weight in enumerate(_events(t)))
    return np.clip(np.fft.ifft(generating).real, 0.0, None)


BURSTS = {
    "xp": (_poisson(20.0), 20.0, 20.0),
    "xg": (0.25 * 0.75 ** np.arange(200), 3.0, 12.0),  # on 0, 1, ...: mean 3, variance 3 + 9
    "xl": (0.7 * (np.arange(60) == 0) + 0.3 * stats.poisson.pmf(np.arange(60), 5.0), 1.5, 0.3 * 30 - 2.25),
}


@pytest.mark.parametrize("name", BURSTS)
def test_bursts_follow_their_compound_law(chemistry, name):
    per_event, mean, variance = BURSTS[name]
    for at, time in enumerate(TIMES):
        made = counts(chemistry, name)[:, at, 0]
        pmf = _compound(per_event, time, 1024)
        assert gates.pmf_p(made, pmf) > ALPHA
        # and the closed moments of a compound sum: E = E[K] m, Var = E[K] v + Var[K] m^2
        p = -np.expm1(-0.5 * time)
        exact = 12 * p * mean, 12 * p * variance + 12 * p * (1 - p) * mean**2
        values = np.arange(1024)
        fourth = pmf @ (values - exact[0]) ** 4 / exact[1] ** 2
        assert np.isclose(pmf @ values, exact[0], rtol=1e-6)
        assert gates.mean_p(made[:, None], exact[0], exact[1]) > ALPHA
        assert gates.variance_p(made[:, None], exact[0], np.array([exact[1]]), fourth) > ALPHA


def test_a_million_molecules_follow_the_rate_equation_and_its_noise():
    """A + B -> with 1e6 and 1.5e6, 2 D -> with 1e6, and a first-order loss of 1e6: far above any inversion."""
    rate, pair = 2e-7, 1e-7  # exit rates of 0.3 and 0.2 /s
    model = make_model(
        [1],
        species={"a": {"initial": 1e6}, "b": {"initial": 1.5e6}, "d": {"initial": 1e6}, "f": {"initial": 1e6}},
        reactions=[
            {"equation": "a + b ->", "rate": rate},
            {"equation": "2 d ->", "rate": pair},
            {"equation": "f ->", "rate": 0.4},
        ],
    )
    replicates, end = 2000, 1.0
    found = simulate(model, [end], seed=6, replicates=replicates, time_step=0.025)

    # linear noise: dv/dt = -2 f' v + rate, for dx/dt = -f (left out: corrections of order 1/n = 1e-6)
    def noise(_, y):
        a, va, d, vd = y
        ab, dd = rate * a * (a + 5e5), pair * d * d
        return [-ab, -2 * rate * (2 * a + 5e5) * va + ab, -2 * dd, -8 * pair * d * vd + 4 * dd]

    a, va, d, vd = solve_ivp(noise, (0, end), [1e6, 0, 1e6, 0], rtol=1e-10, atol=1e-6).y[:, -1]
    f = 1e6 * np.exp(-0.4 * end)
    # the midpoint rule of crowded channels is second order: (0.3 x 0.025)^2 / 12 = 5e-6 of the reacted, under 2
    # molecules; the mean of 2000 runs is known to va^0.5 / 45 ~ 10 molecules
    for name, mean, variance in (("a", a, va), ("d", d, vd), ("f", f, f * (1 - f / 1e6))):
        number = counts(found, name)[:, 0, 0].astype(float)
        assert gates.mean_p(number[:, None], mean, variance) > ALPHA, name
        assert gates.variance_p(number[:, None], mean, np.array([variance]), 3.0) > ALPHA, name
    assert np.all(counts(found, "b") - counts(found, "a") == 500_000)
    assert np.all(counts(found, "d") % 2 == 0)


# ----- reactions that see cells, regions and neighbours: 12 x 6 voxels that do not exchange molecules

SHAPE = (12, 6)
TUMOUR, IMMUNE, RIM = (slice(0, 3),), (slice(3, 6),), (slice(2, 9),)


@pytest.fixture(scope="module")
def tissue():
    """Tumour cells at x < 3, immune cells at 3 <= x < 6, no cells beyond; a region at 2 <= x < 9."""
    model = make_model(
        list(SHAPE),
        parameters={
            "q": {"by_cell": {"tumour": "3 /s", "immune": "1 /s"}},
            "k_near": "0.5 /s",
            "k_bind": "0.2 um^3/s",
        },
        cells={"tumour": {}, "immune": {}},
        place=[
            {"cells": "tumour", "layer": {"axis": "x", "from": 0, "to": 3}},
            {"cells": "immune", "layer": {"axis": "x", "from": 3, "to": 6}},
        ],
        regions={"rim": {"layer": {"axis": "x", "from": 2, "to": 9}}},
        species={
            "released": {},
            "by_type": {},
            "regional": {},
            "beside": {},
            "EV": {"initial": 5},
            "receptor": {"in": "cell", "initial": {"tumour": 4, "immune": 8}},
            "bound": {"in": "cell"},
            "grown": {"in": "cell"},
            "taken": {"initial": 9},
            "inner": {"in": "cell", "initial": 20},
        },
        reactions=[
            {"equation": "tumour -> tumour + released", "rate": "2 /s"},
            {"equation": "-> by_type", "rate": "q"},
            {"equation": "-> regional", "rate": "2 /s", "region": "rim"},
            {"equation": "-> beside", "rate": "k_near * near(tumour)"},
            {"equation": "EV + receptor -> bound", "rate": "k_bind"},
            {"equation": "-> grown", "rate": "2 /s"},
            {"equation": "immune + taken -> immune", "rate": "0.6 /s"},
            {"equation": "inner ->", "propensity": "q"},
        ],
        observables={
            "events": {"value": "events(r3, rim)"},
            "inside": {"value": "total(regional, rim)"},
            "everywhere": {"value": "total(regional)"},
            "grown_in_tumour": {"value": "mean(grown, tumour)"},
        },
    )
    return simulate(model, [1.0], seed=21, replicates=1000, time_step=0.25)


def _profile(tumour, immune, nothing):
    return np.repeat([tumour, immune, nothing], [3, 3, 6])[:, None] * np.ones(SHAPE)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("released", _profile(2.0, 0.0, 0.0)),
        ("by_type", _profile(3.0, 1.0, 0.0)),
        ("regional", 2.0 * ((np.arange(12) >= 2) & (np.arange(12) < 9))[:, None] * np.ones(SHAPE)),
        ("grown", _profile(2.0, 2.0, 0.0)),
    ],
)
def test_a_source_is_poisson_where_its_cell_or_region_is(tissue, name, mean):
    made = counts(tissue, name)[:, 0]
    assert np.all(made[:, mean == 0] == 0)
    for level in np.unique(mean[mean > 0]):
        assert gates.pmf_p(made[:, mean == level], _poisson(level)) > ALPHA
    assert gates.poisson_p(made.sum(0)[mean > 0], 1000 * mean[mean > 0]) > ALPHA


def test_near_counts_the_face_neighbours_of_a_type(tissue):
    tumour = np.zeros((14, 8))
    tumour[1:4, 1:7] = 1
    near = tumour[:-2, 1:-1] + tumour[2:, 1:-1] + tumour[1:-1, :-2] + tumour[1:-1, 2:]
    made = counts(tissue, "beside")[:, 0]
    assert np.all(made[:, near == 0] == 0)
    for neighbours in (1, 2, 3, 4):
        assert gates.pmf_p(made[:, near == neighbours], _poisson(0.5 * neighbours)) > ALPHA


def test_receptors_in_a_cell_bind_free_molecules_of_its_voxel(tissue):
    bound = counts(tissue, "bound")[:, 0]
    for rows, receptors in ((slice(0, 3), 4), (slice(3, 6), 8)):
        law = _law(lambda n, r=receptors: 0.2 * (5 - n) * (r - n), 1, 0, 1.0, min(5, receptors) + 1)
        assert gates.pmf_p(bound[:, rows], law) > ALPHA
    assert np.all(bound[:, 6:] == 0)
    assert np.all(counts(tissue, "EV")[:, 0] + bound == 5)


def test_a_cell_type_among_the_reactants_counts_but_adds_no_volume(tissue):
    taken = counts(tissue, "taken")[:, 0]
    assert np.all(taken[:, :3] == 9)
    assert np.all(taken[:, 6:] == 9)
    assert gates.pmf_p(taken[:, 3:6], stats.binom.pmf(np.arange(10), 9, np.exp(-0.6))) > ALPHA


def test_a_propensity_is_events_per_second_whatever_the_count(tissue):
    inner = counts(tissue, "inner")[:, 0]
    assert gates.pmf_p(20 - inner[:, :3], _poisson(3.0)) > ALPHA  # 20 never run out: P(Poisson(3) > 20) = 1e-11
    assert gates.pmf_p(20 - inner[:, 3:6], _poisson(1.0)) > ALPHA
    assert np.all(inner[:, 6:] == 0)


def test_observables_read_the_same_molecules(tissue):
    regional = counts(tissue, "regional")[:, 0].sum((1, 2))
    for name in ("events", "inside", "everywhere"):
        assert np.array_equal(np.asarray(tissue.observables[name])[:, 0], regional)
    grown = counts(tissue, "grown")[:, 0, :3].mean((1, 2))
    assert np.allclose(np.asarray(tissue.observables["grown_in_tumour"])[:, 0], grown, rtol=1e-6)


def test_growth_is_resolved_where_nothing_is_used_up():
    """A self-made species and a loop of two grow as e^t; ``leap`` by its mean, sampled, ``mean_field`` to its order."""
    model = make_model(
        [1],
        species={"y": {"initial": 100}, "a": {"initial": 100}, "b": {"initial": 100}},
        reactions=[
            {"equation": "y -> 2 y", "rate": "1 /s"},
            {"equation": "a -> a + b", "rate": "1 /s"},
            {"equation": "b -> b + a", "rate": "1 /s"},
        ],
    )
    expected = 100 * np.exp(3.0)
    mean = simulate(model, [3.0], engine="mean_field")
    leap = simulate(model, [3.0], seed=3, replicates=400)
    for name in "yab":
        # with x = 0.1 a step is off by x^3 / 6, and the loop by x^2 / 4 once more
        np.testing.assert_allclose(counts(mean, name).ravel(), expected, rtol=(3 / 6 + 1 / 4) * 0.1**2)
        # the variance of a Yule process is n0 e^t (e^t - 1); that of the loop is smaller
        error = np.sqrt(100 * np.exp(3.0) * (np.exp(3.0) - 1) / 400)
        assert abs(counts(leap, name).mean() - expected) < 5 * error + (3 / 6 + 1 / 4) * 0.1**2 * expected


def test_two_bursts_of_one_species_are_independent():
    model = make_model(
        [1],
        species={"x": {"initial": 1}, "v": {"initial": 0}},
        reactions=[{"equation": "x -> poisson(20) v + poisson(20) v", "rate": "50 /s"}],
    )
    found = counts(simulate(model, [2.0], seed=1, replicates=20_000), "v").ravel()
    assert gates.pmf_p(found, stats.poisson.pmf(np.arange(120), 40)) > ALPHA


def test_counts_that_overflow_in_the_last_step_are_seen():
    for first, rate in ((2_000_000_000, "2e8 /s"), (0, "4e9 /s")):
        model = make_model([1], species={"a": {"initial": first}}, reactions=[{"equation": "-> a", "rate": rate}])
        with pytest.raises(ex.SimulationError, match="counts go up to 2"):
            simulate(model, [1.0])


def test_mean_field_uses_up_the_last_parts_of_a_molecule():
    """Constant consumption ends at zero; consumption k a / (1 + a) follows its equation below one molecule."""
    model = make_model(
        [1],
        run={"engine": "mean_field", "time_step": "0.01 s"},
        parameters={"k": "1 /s"},
        species={"a": {"initial": 0.5}, "b": {"initial": 2}},
        reactions=[
            {"equation": "a ->", "propensity": "k * saturate(a, 1)"},
            {"equation": "b ->", "propensity": "k"},
        ],
    )
    found = simulate(model, [1.0, 3.0])
    truth = solve_ivp(lambda t, a: -a / (1 + a), (0, 3), [0.5], t_eval=[1, 3], rtol=1e-9, atol=1e-12).y[0]
    np.testing.assert_allclose(counts(found, "a").ravel(), truth, rtol=1e-4)
    np.testing.assert_allclose(counts(found, "b").ravel(), [1, 0], atol=1e-5)
