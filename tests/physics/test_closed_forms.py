"""Closed forms, and truths on grids, that the model language can express: one test a check of `checks/`.

V1 to V4 and V10 of the validation scenarios, truths/continuous.json and truths/rdme*.json. What needs later features
is in docs/validation.md. About 20 checks take the gate p > 2e-6: a false-alarm rate of 4e-5 for the file.
"""

import pytest

import exodiff as ex
from tests.physics.checks import continuum, counting, pairs, transport
from tests.physics.checks.check import Check


def _marked(checks):
    return [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.slow else []) for c in checks]


def _agrees(check: Check):
    value = check.measure()
    assert check.passes(value), f"{check.claim}: {check.statistic} {value:.3g}, gate {check.gate:.3g}"


@pytest.mark.parametrize("check", _marked(transport.CHECKS + continuum.CHECKS))
def test_transport_agrees_with_its_closed_form(check):
    _agrees(check)


@pytest.mark.parametrize("check", _marked(counting.CHECKS))
def test_counts_follow_their_exact_law(check):
    _agrees(check)


@pytest.mark.parametrize("check", _marked([c for engine in ("leap", "exact") for c in pairs.checks(engine)]))
def test_pairs_meet_as_on_the_exact_lattice(check):
    try:
        _agrees(check)
    except ex.ConfigError as error:
        if "not yet supported" not in str(error):
            raise
        pytest.skip(str(error))


def test_refining_the_lattice_brings_its_decay_length_to_the_continuum():
    """lambda_h / lambda - 1 = (h / lambda)^2 / 24 + ..., the formula that V1 is tested against."""
    h, length = transport.H, transport.RANGE
    angle = transport.ANGLE
    assert abs((h / angle) / length - 1.0 - (h / length) ** 2 / 24.0) < (h / length) ** 4 / 100.0
