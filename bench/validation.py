"""Run every check of the physics and write docs/validation.md: one table, with figures in docs/images/.

python -m bench.validation [--quick] [--out docs]

The checks are those of the tests (tests/physics/checks/): a new one is listed there and appears here.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib as mpl
import numpy as np

from bench import leap_error
from bench.rows import commit, print_row
from bench.validation_figures import histograms, profiles
from exodiff.viz.style import RC
from tests.physics.checks import basics, continuum, counting, dsmts, flow, fsp, pairs, transport, walkers
from tests.physics.checks.check import Check
from tests.physics.checks.leap_error import SCHEMES, applies, at_tolerance, error_table, orders
from tests.physics.checks.leap_models import MODELS

GROUPS: tuple[tuple[str, Sequence[Check]], ...] = (
    ("Master equation, eight small models", fsp.CHECKS),
    ("Discrete Stochastic Models Test Suite", dsmts.checks("leap", 10_000, 2) + dsmts.checks("exact", 10_000, 2)),
    ("Mechanisms alone", basics.CHECKS),
    ("Walkers on lattices", walkers.CHECKS),
    ("Diffusion, sources, walls", transport.CHECKS),
    ("Flow", flow.CHECKS),
    ("Truths on grids and in the continuum", continuum.CHECKS),
    ("Counting statistics", counting.CHECKS),
    ("Pairs on lattices", pairs.checks("leap") + pairs.checks("exact")),
)
LATER = (
    "V3 with a spheroid, or a single cell, in a bath: needs values held by cell type or region inside the box",
    "V5 plasma, V8 antibody: need compartments and interventions",
    "V9 published counts: not yet chosen; V7, release under a block, is in tests/physics/test_populations.py",
    "continuous.json, sphere: needs an impermeable body with secretion on its surface",
)
FIGURES = (
    ("validation_leap_error", "Largest relative error of a mean against the step, in units of the automatic step."),
    ("validation_histograms", "Counts of 10,000 replicates (bars) and their exact laws (lines)."),
    ("validation_profiles", "Profiles on the lattice (points) and closed forms (lines)."),
)


_HOW_TO_READ = (
    "A p-value is exact or derived, corrected for the tests inside its check, and must be above its gate; a",
    "deviation must be below. Each check is a function in `tests/physics/checks/`, asserted by `tests/physics/`;",
    "`tests/physics/test_planted_mistakes.py` shows that mistakes planted in the package make them fail.",
)
_HOW_ERRORS_ARE_FOUND = (
    "Laws are enumerated: the transition matrix of a pair of steps, built from exodiff's own list of operations,",
    "against the exponential of the generator. Errors are relative to the largest mean (variance) until the end, and",
    "the largest at any time; TV is the total variation of the joint law. Orders are those of the last halving, from",
    "1/2 to 1/4 of the automatic step, lowest and highest over means, variances and TV.",
)


class Result(NamedTuple):
    """What a check measured."""

    group: str
    check: Check
    value: float
    seconds: float


def run(quick: bool) -> list[Result]:
    """Measure all checks, slow ones only if asked."""
    results = []
    for group, checks in GROUPS:
        for check in checks:
            if check.slow and quick:
                continue
            began = time.perf_counter()
            value = check.measure()
            results.append(Result(group, check, value, time.perf_counter() - began))
            verdict = "pass" if check.passes(value) else "FAIL"
            print_row(
                "validation",
                check=check.name,
                statistic=check.statistic,
                value=float(f"{value:.3g}"),
                gate=check.gate,
                verdict=verdict,
                seconds=round(results[-1].seconds, 1),
            )
    return results


def page(results: list[Result], measured: str) -> str:
    """The text of docs/validation.md."""
    device = jax.devices()[0]
    left_out = sum(len(checks) for _, checks in GROUPS) - len(results)
    failed = sum(not r.check.passes(r.value) for r in results)
    where = f"commit {measured}, {time.strftime('%Y-%m-%d')}, JAX {jax.__version__}, {device.platform}"
    lines = [
        "# Validation",
        "",
        f"Written by `python -m bench.validation`: {where}. {len(results)} checks, {failed} failed"
        + (f"; {left_out} slow ones were left out (`--quick`)." if left_out else "."),
        "",
        *_HOW_TO_READ,
        "",
    ]
    for group, _ in GROUPS:
        own = [r for r in results if r.group == group]
        lines += [f"## {group}", "", "| check | what holds | statistic | gate | verdict |", "|---|---|---|---|---|"]
        lines += [_row(r) for r in own]
        lines.append("")
    lines += _error_of_leap()
    lines += ["## Not yet expressible", "", *(f"- {line}." for line in LATER), ""]
    return "\n".join(lines)


def _row(result: Result) -> str:
    check = result.check
    sign = "p =" if check.statistic == "p" else "off by"
    gate = f"{'>' if check.statistic == 'p' else '<'} {check.gate:.2g}"
    verdict = "pass" if check.passes(result.value) else "**FAIL**"
    return f"| {check.name} | {check.claim} | {sign} {result.value:.2g} | {gate} | {verdict} |"


def _error_of_leap() -> list[str]:
    """Orders, and what the automatic step guarantees."""
    titles = ["model", *(f"order, {name}" for name in SCHEMES), "step at tolerance 0.1", "means", "variances", "TV"]
    lines = [
        "## Error of leap against the step",
        "",
        *_HOW_ERRORS_ARE_FOUND,
        "",
        f"| {' | '.join(titles)} |",
        f"|{'---|' * len(titles)}",
    ]
    for model in MODELS:
        cells = [model.what]
        for name, scheme in SCHEMES.items():
            found = orders(error_table(model, scheme)) if applies(name, model) else None
            cells.append("exact" if found is None else f"{np.nanmin(found):.2f} to {np.nanmax(found):.2f}")
        kept = at_tolerance(model, 0.1)
        cells += [f"{kept.step_s:.3g} s", *(f"{100 * e:.2g} %" for e in kept[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Errors fall with the square of the tolerance.", ""]
    for name, caption in FIGURES:
        lines += [f"![{caption}](images/{name}.png)", "", caption, ""]
    return lines


def main() -> None:
    """Measure, write the page, draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the slow checks")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    began_at = commit()  # before this writes into the tree
    results = run(options.quick)
    images = options.out / "images"
    images.mkdir(parents=True, exist_ok=True)
    (options.out / "validation.md").write_text(page(results, began_at), encoding="utf-8")
    rows = [r for m in MODELS for r in (*leap_error.enumerated_rows(m), *leap_error.sampled_rows(m, 100_000))]
    with mpl.rc_context(RC):
        for (name, _), figure in zip(FIGURES, (leap_error.figure(rows), histograms(), profiles()), strict=True):
            figure.savefig(images / f"{name}.png", dpi=200)


if __name__ == "__main__":
    main()
