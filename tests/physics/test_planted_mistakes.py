"""Every check can fail: a mistake is planted in the package, and the check that passes without it rejects it."""

import mistakes
import pytest

from tests.physics.checks import basics, continuum, counting, flow, transport

CHECKS = {c.name: c for module in (basics, continuum, counting, flow, transport) for c in module.CHECKS}
PLANTED = [
    (mistakes.pairs_as_squares, "pairs alone", "fast"),
    (mistakes.bits_shared_by_voxels, "closed box", "fast"),
    (mistakes.clipped_poisson, "first-order loss", "fast"),
    (mistakes.never_backwards, "order, uptake", "fast"),
    (mistakes.missing_fluid_fraction, "pairs alone", ""),
    (mistakes.leaking_wall, "closed box", ""),
    (mistakes.bits_shared_by_steps, "closed box", ""),
    (mistakes.bits_shared_by_replicates, "closed box", ""),
    (mistakes.bits_shared_by_reactions, "first-order loss", ""),
    (mistakes.output_one_pair_early, "first-order loss", ""),
    (mistakes.linear_probability, "first-order loss", ""),
    (mistakes.rounded_halves, "closed box", ""),
    (mistakes.single_hops, "order, ring", ""),
    (mistakes.arithmetic_face_mean, "two media", ""),
    (mistakes.wall_at_the_next_centre, "absorbing interval", ""),
    (mistakes.flow_backwards, "Boltzmann", ""),
    (mistakes.upwind_hops, "V6 decay lengths", ""),
    (mistakes.velocity_of_the_voxel, "flow, vortex, leap", ""),
    (mistakes.division_loses_a_molecule, "division", ""),
    (mistakes.hill_without_power, "Hill loss", ""),
    (mistakes.bursts_of_one_size, "V4b geometric bursts", ""),
]


@pytest.fixture
def planting(monkeypatch):
    """What is compiled and kept is forgotten before a mistake is planted, and again when it is taken away."""
    mistakes.forget()
    yield monkeypatch
    monkeypatch.undo()
    mistakes.forget()


@pytest.mark.parametrize("check", [pytest.param(c, id=c.name) for c in basics.CHECKS])
def test_the_healthy_package_passes(check):
    value = check.measure()
    assert check.passes(value), f"{check.claim}: {check.statistic} {value:.3g}, gate {check.gate:.3g}"


@pytest.mark.parametrize(
    ("mistake", "name"),
    [pytest.param(m, n, id=m.__name__, marks=[] if share else [pytest.mark.slow]) for m, n, share in PLANTED],
)
def test_a_planted_mistake_is_rejected(planting, mistake, name):
    check = CHECKS[name]
    mistake(planting)
    value = check.measure()
    assert not check.passes(value), f"{check.claim}: {check.statistic} {value:.3g} passes {check.gate:.3g}"
