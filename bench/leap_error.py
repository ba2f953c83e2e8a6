"""Weak error of `leap` against the step on nine small models, beside schemes that are simpler.

python -m bench.leap_error [--figures DIR] [--replicates 200000]

Laws are enumerated (tests/physics/checks/leap_error.py); only plain Poisson tau-leaping is sampled, and its errors are
given with one standard error. Errors are relative to the largest mean and variance until the end.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.poisson_leap import sample
from bench.rows import print_row
from exodiff.viz.style import FAINT, MM_PER_INCH, NOTE_SIZE, PALETTE, RC, TWO_COLUMNS_MM
from tests.physics.checks.leap_error import (
    SCHEMES,
    applies,
    at_tolerance,
    error_table,
    exact_law,
    moments,
    orders,
    steps,
)
from tests.physics.checks.leap_models import MODELS, LeapModel

TOLERANCES = (0.05, 0.1, 0.2)
POISSON = "Poisson tau-leaping"


class Row(NamedTuple):
    """Errors of one scheme on one model at one step: the largest over the watched species."""

    model: LeapModel
    scheme: str
    step_s: float
    relative_step: float  # to the automatic step
    mean: float
    variance: float
    total_variation: float  # nan where sampled
    noise: float = 0.0  # standard error of the sampled mean, on the same scale


def enumerated_rows(model: LeapModel) -> Iterator[Row]:
    """Of all schemes whose law can be enumerated."""
    automatic = model.space().problem.step_bound_s
    for name, scheme in SCHEMES.items():
        if applies(name, model):
            for (dt, _), found in zip(steps(model), error_table(model, scheme), strict=True):
                worst = np.abs(found.mean).max(), np.abs(found.variance).max(), found.total_variation
                yield Row(model, name, dt, dt / automatic, *map(float, worst))


def sampled_rows(model: LeapModel, replicates: int) -> Iterator[Row]:
    """Of plain Poisson tau-leaping."""
    space, exact = model.space(), exact_law(model)
    truth = moments(model, space, exact)
    largest = truth.max(0)
    places = [space.problem.network.index(name) for name in model.watched]
    for dt, pairs in steps(model):
        totals = sample(space, dt, 2 * pairs, replicates)[:, places].sum(2)
        found = np.stack([totals.mean(0), totals.var(0)])
        off = np.abs(found - truth[-1]) / largest
        noise = np.sqrt(truth[-1, 1] / replicates) / largest[0]
        worst = int(np.argmax(off[0]))
        automatic = space.problem.step_bound_s
        yield Row(model, POISSON, dt, dt / automatic, off[0].max(), off[1].max(), np.nan, float(noise[worst]))


def print_rows(rows: list[Row]) -> None:
    """Errors, orders, and what the tolerance guarantees, as JSON lines."""
    for row in rows:
        errors = {"mean_error": row.mean, "variance_error": row.variance, "total_variation": row.total_variation}
        kept = {key: float(f"{value:.3g}") for key, value in errors.items() if not np.isnan(value)}
        noise = {"standard_error_of_mean": float(f"{row.noise:.2g}")} if row.noise else {}
        step = {"step_s": round(row.step_s, 5), "automatic_steps": round(row.relative_step, 3)}
        print_row("leap error", model=row.model.name, scheme=row.scheme, **step, **kept, **noise)
    for model in MODELS:
        for name, scheme in SCHEMES.items():
            if applies(name, model):
                found = orders(error_table(model, scheme))
                lowest, highest = float(np.nanmin(found)), float(np.nanmax(found))
                print_row(
                    "leap order", model=model.name, scheme=name, lowest=round(lowest, 2), highest=round(highest, 2)
                )
    for tolerance in TOLERANCES:
        for model in MODELS:
            kept = {k: float(f"{v:.3g}") for k, v in at_tolerance(model, tolerance)._asdict().items()}
            print_row("leap at tolerance", model=model.name, tolerance=tolerance, **kept)


LOOKS = {
    "leap": {"color": PALETTE[1], "marker": "o", "zorder": 4},
    "always forwards": {"color": PALETTE[0], "marker": "s", "zorder": 2},
    "hops, then SSA": {"color": PALETTE[3], "marker": "^", "zorder": 2},
    "hops and SSA, alternating": {"color": PALETTE[2], "marker": "v", "zorder": 3, "linestyle": (0, (3, 1.5))},
    POISSON: {"color": FAINT, "marker": "D", "zorder": 1},
}
_SLOPES = ((1, 2e-2), (2, 2e-3))  # (order, height at one automatic step) of the lines to compare with
_RANGE = np.array([0.17, 2.5])


def figure(rows: list[Row]) -> Figure:
    """Error of the mean against the step, one panel a model."""
    across = 3
    down = -(-len(MODELS) // across)
    made = Figure(figsize=(TWO_COLUMNS_MM / MM_PER_INCH, 0.25 * down * TWO_COLUMNS_MM / MM_PER_INCH + 0.4))
    panels = made.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for panel, model in zip(panels.flat, MODELS, strict=False):
        _panel(panel, model, [row for row in rows if row.model is model])
    _annotate(panels[1, 1])
    for panel in panels[-1]:
        panel.set_xlabel("step / automatic step")
    for panel in panels[:, 0]:
        panel.set_ylabel("relative error of the mean")
    handles = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
    shown = {name: handles[name] for name in LOOKS}
    made.tight_layout(pad=0.4, w_pad=1.0, h_pad=1.0, rect=(0, 0, 1, 1 - 0.22 / made.get_figheight()))
    made.legend(shown.values(), shown.keys(), loc="upper center", ncols=len(shown), handlelength=2.2, columnspacing=1.4)
    return made


def _panel(panel: Axes, model: LeapModel, rows: list[Row]) -> None:
    for order, at_one in _SLOPES:
        panel.plot(_RANGE, at_one * _RANGE**order, color="0.88", linewidth=2.0, zorder=0)
    for scheme, look in LOOKS.items():
        own = [row for row in rows if row.scheme == scheme and row.mean > 3 * row.noise]
        if own:
            x, y = [row.relative_step for row in own], [row.mean for row in own]
            noise = [2 * row.noise for row in own]
            panel.errorbar(x, y, noise, fmt="none", ecolor=look["color"], elinewidth=0.6, zorder=look["zorder"])
            panel.plot(x, y, label=scheme, markersize=3.2, **look)
    panel.axhline(1e-2, color=FAINT, linewidth=0.5, linestyle=":", zorder=0)
    panel.set(xscale="log", yscale="log", xlim=(0.16, 2.6), ylim=(5e-6, 0.3))
    panel.set_xticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "1", "2"])
    panel.minorticks_off()
    panel.set_title(model.what)


def _annotate(panel: Axes) -> None:
    """Say once what the lines behind the data are."""
    for (order, at_one), offset in zip(_SLOPES, (1.5, 0.3), strict=True):
        height = offset * at_one * 2.5**order
        panel.text(2.5, height, f"order {order}", color=FAINT, fontsize=NOTE_SIZE, ha="right")
    panel.text(0.18, 1.15e-2, "1 %", color=FAINT, fontsize=NOTE_SIZE)


def main() -> None:
    """Measure, print, and draw if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, help="folder for leap_error.png")
    parser.add_argument("--replicates", type=int, default=200_000, help="of plain Poisson tau-leaping")
    options = parser.parse_args()
    rows = [r for m in MODELS for r in (*enumerated_rows(m), *sampled_rows(m, options.replicates))]
    print_rows(rows)
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(RC):
            figure(rows).savefig(options.figures / "leap_error.png", dpi=200)


if __name__ == "__main__":
    main()
