"""Estimators of gradients against exact expectations from the master equation.

Of a loss with a true derivative d, an estimate with the standard error s passes if it is off by at most
(share of d) + 4 s: the shares are the biases that `leap_st` may have (2 % for means, 5 % for squared losses), 0 for the
others, whose own errors (the step of 5 %: h^2 / 6 = 4e-4 of the third relative derivative; the splitting) are below s.
At 4 s a right one fails with 6e-5; there are some 40 comparisons, and seeds are fixed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import box_of, make_model, repressed, simulate

import exodiff as ex
from bench.gradients import mean_alone
from exodiff.kernels.clocks import MassAction
from exodiff.kernels.policies import Discrete, StraightThrough
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.kernels.straight_through import chain_moments, matched

N = 4096


def birth_death():
    return make_model(
        [1],
        parameters={"k": "10 /s", "g": "1 /s"},
        species={"X": {}},
        reactions=[{"equation": "-> X", "rate": "k"}, {"equation": "X ->", "rate": "g"}],
    )


def uptake():
    return make_model(
        [1],
        parameters={"k": "0.02 um^3/s", "off": "0.1 /s"},
        species={"X": {"initial": 20}, "R": {"initial": 12}, "B": {}},
        reactions=[{"equation": "X + R -> B", "rate": "k"}, {"equation": "B -> X + R", "rate": "off"}],
        cells={"any": {}},
        observables={"big": {"histogram": {"of": "X", "over": "any", "bins": [0, 3, 99]}}},
    )


# model, time, level of the loss, parameters
CASES = {
    "birth_death": (birth_death, 2.0, 8.0, {"k": 10.0, "g": 1.0}),
    "uptake": (uptake, 4.0, 12.0, {"k": 0.02, "off": 0.1}),
    "repressed": (repressed, 2.0, 6.0, {"k": 20.0, "K": 8.0, "d": 0.02}),
}


@functools.cache
def _model(name):
    return CASES[name][0]()


def _mean(traj):
    return traj.total("X")[:, -1]


def _loss(level):
    return lambda traj: (traj["X"][:, -1, 0].astype(float) - level) ** 2


def _threshold(level):
    return lambda traj: (traj["X"][:, -1, 0] >= level).astype(float)


@functools.cache
def _gradient(name, observed, estimator, n=N):
    _, time, level, values = CASES[name]
    observe = {"mean": _mean, "square": _loss(level), "threshold": _threshold(level)}[observed]
    return ex.grad(observe, _model(name), values, seed=3, n=n, estimator=estimator, times=[time], time_step=0.1)


def test_the_master_equation_begins_with_the_contents_that_are_given():
    """12 molecules that turn at 0.5 / s for 2 s; the file says 6."""
    model = make_model(
        [1],
        parameters={"k": "0.5 /s"},
        cells={"c": {}},
        place=[{"cells": "c", "everywhere": True}],
        species={"U": {"in": "cell", "initial": {"c": 6}}, "V": {"in": "cell"}},
        reactions=[{"equation": "U -> V", "rate": "k"}],
    )

    def turned(contents):
        given = {"species.U.initial.c": contents}
        return ex.expect(model, lambda traj: traj.total("V")[:, -1], given, estimator="fsp", times=[2.0])

    assert float(turned(12.0)) == pytest.approx(12.0 * (1.0 - np.exp(-1.0)), rel=1e-6)
    with pytest.raises(ex.ConfigError, match="fsp has no derivative by a whole number"):
        jax.jit(turned)(12.0)


def test_the_master_equation_gives_the_closed_form():
    """Mean (k / g) (1 - exp(-g t)) of births and deaths; in float64."""
    found = _gradient("birth_death", "mean", "fsp")
    k, g, t = 10.0, 1.0, 2.0
    left = np.exp(-g * t)
    assert np.isclose(found.loss, k / g * (1 - left), rtol=1e-6)
    assert np.isclose(found.value["k"], (1 - left) / g, rtol=1e-6)
    assert np.isclose(found.value["g"], -k / g**2 * (1 - left) + k / g * t * left, rtol=1e-6)


def _slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", ["uptake", *_slow("birth_death", "repressed")])
@pytest.mark.parametrize(("observed", "share"), [("mean", 0.02), ("square", 0.05)])
def test_straight_through_is_close_to_the_truth(name, observed, share):
    found, truth = (_gradient(name, observed, estimator) for estimator in ("leap_st", "fsp"))
    for parameter, value in truth.value.items():
        allowed = share * abs(value) + 4 * found.standard_error[parameter]
        assert abs(found.value[parameter] - value) < allowed, parameter


@pytest.mark.parametrize("name", ["birth_death", *_slow("uptake", "repressed")])
@pytest.mark.parametrize("observed", ["mean", "square", "threshold"])
@pytest.mark.parametrize("estimator", ["score", *_slow("cfd")])
def test_estimators_for_anything_agree_with_the_truth(name, observed, estimator):
    found, truth = (_gradient(name, observed, one) for one in (estimator, "fsp"))
    for parameter, value in truth.value.items():
        assert abs(found.value[parameter] - value) < 4 * found.standard_error[parameter], parameter


def _checked(*estimators):
    _, time, _, values = CASES["birth_death"]
    model = _model("birth_death")
    return ex.check_grad(_loss(4.0), model, values, estimators, 4 * N, 3, times=[time], time_step=0.1)


@pytest.mark.slow
def test_check_grad_compares_with_coupled_differences_of_other_numbers():
    report = _checked("leap_st", "cfd")
    names = {(row.estimator, row.parameter) for row in report.rows}
    assert names == {(estimator, name) for estimator in ("leap_st", "cfd") for name in ("k", "g")}
    for row in report.rows:
        assert abs(row.bias) < 0.05 + 4 * row.bias_error
        assert row.bias_error < 0.02
        assert row.z == pytest.approx((row.value - row.reference) / np.hypot(row.standard_error, row.reference_error))
        assert row.bias == pytest.approx((row.value - row.reference) / abs(row.reference))
        assert row.value != row.reference
        assert f"{row.estimator:10} {row.parameter}" in repr(report)


@pytest.mark.slow
def test_check_grad_sees_a_derivative_without_the_term_of_the_variance():
    """The planted mistake dX = dm: -9 % of the derivative of a squared loss by k, 7 standard errors."""
    with mean_alone():
        z = {row.parameter: row.z for row in _checked("leap_st").rows}
    assert z["k"] < -5


@functools.cache
def phenotype():
    return make_model(
        [1],
        parameters={"k": "0.5 /s", "K": 4.0},
        cells={"resting": {}, "active": {}},
        place=[{"cells": "resting", "everywhere": True}],
        species={"U": {"in": "cell", "initial": {"resting": 6}}},
        reactions=[
            {"equation": "U ->", "rate": "0.4 /s"},
            {"equation": "resting -> active", "rate": "k * hill(U, K, 2)"},
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["score", "cfd"])
def test_the_share_of_a_phenotype_has_a_derivative(estimator):
    values = {"k": 0.5, "K": 4.0}

    def ask(estimator):
        def share(traj):
            return traj["active"][:, -1, 0].astype(float)

        return ex.grad(share, phenotype(), values, 3, 4 * N, estimator, [2.0], 0.1)

    found, truth = ask(estimator), ask("fsp")
    for name, value in truth.value.items():
        assert abs(found.value[name] - value) < 4 * found.standard_error[name], name


@pytest.mark.parametrize("estimator", ["score", "cfd", "fsp"])
def test_a_whole_number_of_molecules_is_no_parameter_to_differentiate_by(estimator):
    with pytest.raises(ex.ConfigError, match="whole number of molecules"):
        ex.grad(_mean, phenotype(), {"species.U.initial.resting": 6.0}, 3, 4, estimator, [2.0], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["reflecting", {"x_low": "absorbing"}])
def test_hops_carry_the_derivative_by_the_diffusivity(boundary):
    """In a network of first order the mean field is the mean of `leap` with the same steps, and so are derivatives."""
    model = make_model(
        [5],
        boundary=boundary,
        parameters={"D": "0.6 um^2/s", "k": "20 /s"},
        cells={"sender": {}},
        place=[{"cells": "sender", "box": box_of(1)}],
        species={"A": {"diffusion": "D", "decay": "0.5 /s"}},
        reactions=[{"equation": "sender -> sender + A", "rate": "k"}],
    )

    def ask(estimator):
        def place(traj):
            return traj["A"][:, -1].astype(float) @ jnp.arange(5.0) ** 2

        return ex.grad(place, model, {"D": 0.6, "k": 20.0}, 3, 1024, estimator, [2.0], 0.2)

    found, truth = ask("leap_st"), ask("closure")
    assert abs(found.loss - truth.loss) < 4 * found.loss_standard_error
    for name, value in truth.value.items():
        assert abs(found.value[name] - value) < 4 * found.standard_error[name], name
        assert found.standard_error[name] < 0.02 * abs(value)


def _tissue():
    """All kinds of draws: hops of both kinds, chains, modulated and zero-order channels, bursts, content of cells."""
    return make_model(
        [3],
        parameters={"k_on": "0.05 um^3/s", "k": "3 /s", "K": 5.0, "m": 2.0, "D": "0.3 um^2/s"},
        cells={"sender": {}, "receiver": {}},
        place=[{"cells": "sender", "box": box_of(0)}, {"cells": "receiver", "box": box_of(1)}],
        regions={"rim": {"box": box_of(2)}},
        species={
            "A": {"diffusion": "D", "decay": "0.1 /s", "initial": {"poisson": 4}},
            "B": {"diffusion": {"rim": "0.1 um^2/s", "default": "0.4 um^2/s"}},
            "R": {"in": "cell", "initial": {"receiver": 12}},
            "U": {"in": "cell"},
        },
        reactions=[
            {"name": "shed", "equation": "sender -> sender + poisson(m) A", "rate": "k"},
            {"equation": "A + R -> U", "rate": "k_on"},
            {"equation": "2 A -> B", "rate": "k_on"},
            {"equation": "-> B", "propensity": "k * hill_down(B, K, 2)"},
        ],
        observables={
            "shed": {"value": "events(shed)"},
            "big": {"histogram": {"of": "U", "over": "receiver", "bins": [0, 3, 99]}},
        },
    )


@functools.cache
def _tissue_model():
    return _tissue()


@pytest.mark.slow
def test_straight_through_has_the_numbers_of_leap_bit_for_bit():
    calls = {"replicates": 3, "seed": 5, "time_step": 0.2}
    exact = simulate(_tissue_model(), [1.0, 3.0], **calls)
    found = simulate(_tissue_model(), [1.0, 3.0], estimator="leap_st", **calls)
    assert found.counts.dtype == jnp.float32
    assert np.array_equal(found.counts, exact.counts)
    assert np.array_equal(found.observables["shed"], exact.observables["shed"])
    assert exact.total("U").max() > 0
    assert exact.total("B").max() > 0


@pytest.mark.slow
def test_reverse_mode_and_forward_mode_are_one():
    model, values = _model("uptake"), {"k": jnp.float32(0.02), "off": jnp.float32(0.1)}

    def loss(values):
        found = simulate(model, [1.0, 4.0], parameters=values, estimator="leap_st", replicates=8, time_step=0.1)
        return (found["X"].astype(float) ** 2).mean() + found.total("B")[:, 0].mean()

    forward, reverse = jax.jacfwd(loss)(values), jax.grad(loss)(values)
    for name in values:
        assert float(forward[name]) != 0
        assert np.isclose(float(forward[name]), float(reverse[name]), rtol=1e-5), name
    _, along = jax.jvp(loss, (values,), ({"k": jnp.float32(2), "off": jnp.float32(0)},))
    assert np.isclose(float(along), 2 * float(forward["k"]), rtol=1e-5)


def _ask(observe):
    """A call whose trajectories and derivatives are compiled once for all tests of the model."""
    values = CASES["uptake"][3]
    return ex.grad(observe, _model("uptake"), values, seed=3, n=N, times=[4.0], time_step=0.1)


def test_a_threshold_raises_where_straight_through_would_give_zero():
    with pytest.raises(ex.SimulationError, match=r'derivative 0 .* "cfd"'):
        _ask(_threshold(12))


def test_a_detached_draw_raises():
    with pytest.raises(ex.SimulationError, match="derivative 0"):
        _ask(lambda traj: jax.lax.stop_gradient(_mean(traj)))


def test_an_observable_without_a_derivative_says_so():
    with pytest.raises(ex.ConfigError, match=r"observables.big: a histogram"):
        _ask(lambda traj: traj.observables["big"][:, -1])


def test_a_mean_over_replicates_is_no_observation():
    with pytest.raises(ex.ConfigError, match="one row a replicate"):
        _ask(lambda traj: _mean(traj).mean())


def test_jit_cannot_raise_and_gives_no_number():
    def expected(values):
        return ex.expect(
            _model("birth_death"), _threshold(1), values, n=2, estimator="closure", times=[0.1], time_step=0.1
        )

    assert np.isnan(jax.jit(jax.grad(expected))({"k": 10.0})["k"])


@pytest.mark.parametrize("estimator", ["closure", *_slow("leap_st", "score", "cfd", "fsp")])
def test_expect_is_differentiable_by_the_named_estimator(estimator):
    _, time, _, values = CASES["uptake"]

    def expected(values):
        return ex.expect(_model("uptake"), _mean, values, 3, N, estimator, [time], 0.1)

    value, gradient = jax.value_and_grad(expected)(values)
    direct = _gradient("uptake", "mean", estimator)
    assert np.isclose(float(value), direct.loss, rtol=1e-5)
    for name in values:
        assert np.isclose(float(gradient[name]), direct.value[name], rtol=1e-4), name


@pytest.mark.slow
def test_every_draw_of_straight_through_is_that_of_leap():
    """Small means, large ones, crowds; the same addresses."""
    stream, index = make_stream(3, 4), voxel_index((64,))
    n = (index % 60).astype(jnp.int32)
    real = n.astype(jnp.float32)
    p = jnp.full((64,), 0.3, jnp.float32)
    chain = MassAction(p, n, n + 3, (jnp.int32(1), jnp.int32(1)), (jnp.int32(-1), jnp.int32(-1)))
    as_reals = chain._replace(first=real, second=real + 3)
    exact, found = Discrete(), StraightThrough()

    def hill(events):
        return 40.0 / (1.0 + (real + events.astype(jnp.float32)) / 9.0)

    capacity = jnp.full((64,), 2.0**30, jnp.float32)
    pairs = [
        (exact.binomial(stream, index, 0, n, p), found.binomial(stream, index, 0, real, p)),
        (exact.half(stream, index, 0, n), found.half(stream, index, 0, real)),
        (exact.poisson(stream, index, 0, real), found.poisson(stream, index, 0, real)),
        (exact.mass_action(stream, index, chain), found.mass_action(stream, index, as_reals)),
        (exact.modulated(stream, index, hill, capacity), found.modulated(stream, index, hill, capacity)),
        (exact.waiting_time(stream, index, n), found.waiting_time(stream, index, real)),
    ]
    for whole, held in pairs:
        assert held.dtype == jnp.float32
        assert np.array_equal(whole, held)
        assert np.asarray(whole).max() > 3


CHANGES = [
    ({"equation": "receiver -> sender", "rate": "k"}, "cells that change"),
    ({"equation": "receiver ->", "rate": "k"}, "cells that change"),
    ({"equation": "receiver -> 2 receiver", "rate": "k"}, "cells that change"),
    ({"equation": "-> A", "rate": "k * where(A > 3, 1, 0)"}, "no derivative for `where`"),
]


@pytest.mark.parametrize(("reaction", "message"), CHANGES)
def test_what_would_be_silently_wrong_is_refused(reaction, message):
    model = make_model(
        [2],
        parameters={"k": "1 /s"},
        cells={"sender": {}, "receiver": {}},
        place=[{"cells": "receiver", "box": box_of(0)}],
        species={"A": {}},
        reactions=[reaction],
    )
    with pytest.raises(ex.ConfigError, match=message):
        simulate(model, [1.0], estimator="leap_st")


def test_what_is_static_has_no_derivative():
    model = _model("uptake")
    with pytest.raises(ex.ConfigError, match="times: are static"):
        jax.grad(lambda t: simulate(model, [t], estimator="leap_st").total("X").sum())(4.0)
    with pytest.raises(ex.ConfigError, match="time_step: is static"):
        jax.grad(lambda h: simulate(model, [4.0], estimator="leap_st", time_step=h).total("X").sum())(0.1)
    with pytest.raises(ex.ConfigError, match="whole molecules have no derivative"):
        jax.grad(lambda k: simulate(model, [4.0], parameters={"k": k}).total("X").sum() * 1.0)(0.02)


def test_moments_of_a_linear_chain():
    """Binomial, Poisson, negative binomial; and derivatives through the limit of no slope."""
    mean, variance = chain_moments(jnp.float32(3.0), jnp.float32(-0.5))
    p = 1 - np.exp(-0.5)
    assert np.allclose([mean, variance], [6 * p, 6 * p * (1 - p)], rtol=1e-6)
    mean, variance = chain_moments(jnp.float32(3.0), jnp.float32(0.5))  # 6 parents, Yule: 6 (e^0.5 - 1)
    assert np.allclose([mean, variance], [6 * np.expm1(0.5), 6 * np.expm1(0.5) * np.exp(0.5)], rtol=1e-6)
    for slope in (-0.3, -0.049, -1e-4, 0.0, 1e-4, 0.049, 0.3):
        found = jax.grad(lambda s: chain_moments(jnp.float32(1.0), s)[0])(jnp.float32(slope))
        truth = 0.5 + slope / 3 + slope**2 / 8 + slope**3 / 30 + slope**4 / 144 + slope**5 / 840
        assert np.isclose(float(found), truth, rtol=1e-4)


def test_derivatives_of_draws_at_their_limits():
    """The formula of the binomial, and dB/dn = p at n = 0, dB/dp = n at p = 0 and 1, dK/da = 1 at a = 0."""

    def binomial(n, p, drawn):
        return jax.grad(lambda n, p: matched(jnp.float32(drawn), n * p, n * p * (1 - p)), (0, 1))(n, p)

    per_n, per_p = binomial(10.0, 0.3, 4.0)
    assert np.isclose(float(per_n), (0.3 + 4 / 10) / 2)
    assert np.isclose(float(per_p), ((10 - 4) / 0.7 + 4 / 0.3) / 2, rtol=1e-6)
    assert np.isclose(float(binomial(0.0, 0.3, 0.0)[0]), 0.3)
    assert float(binomial(10.0, 0.0, 0.0)[1]) == 10
    assert float(binomial(10.0, 1.0, 10.0)[1]) == 10
    assert float(jax.grad(lambda a: matched(jnp.float32(0.0), a, a))(0.0)) == 1
