"""Figures of docs/mechanisms.md: what was measured for a row beside what is wanted, a panel a check."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.mechanism_rows.row import SIGNIFICANT
from exodiff.viz.style import FAINT, INK, MAIN_COLOUR, MM_PER_INCH, STRIPE_GROUND

WIDTH_MM, PANEL_MM = 120.0, 16.0
FAILS, TOLERATED = "#D55E00", "#DCEFE5"


def figure(lines: list[dict[str, Any]]) -> Figure:
    """A dot with 4 standard errors, a dashed line at what is wanted; what would fail is grey."""
    size = (WIDTH_MM / MM_PER_INCH, PANEL_MM * len(lines) / MM_PER_INCH)
    made = Figure(figsize=size, layout="constrained")
    for panel, line in zip(made.subplots(len(lines), 1, squeeze=False)[:, 0], lines, strict=True):
        _panel(panel, line)
    return made


def _panel(panel: Axes, line: dict[str, Any]) -> None:
    value, wanted, bar = line["value"], line["wanted"], SIGNIFICANT * line["standard_error"]
    within = line.get("within", 0.0)  # rows of the first measurements do not tell it
    low, high = min(value - bar, wanted - within), max(value + bar, wanted + within)
    margin = 0.15 * (high - low) or 0.15 * abs(value) or 1.0
    low, high = low - margin, high + margin
    if line["sense"] != "=":
        panel.axvspan(*((low, wanted) if line["sense"] == ">" else (wanted, high)), color=STRIPE_GROUND, linewidth=0)
    panel.axvspan(wanted - within, wanted + within, color=TOLERATED, linewidth=0)
    panel.axvline(wanted, color=INK, linewidth=1.2, linestyle=(0, (2, 1)))
    panel.errorbar(
        value, 0, xerr=bar, fmt="o", markersize=4, capsize=2, color=MAIN_COLOUR if line["passes"] else FAILS, zorder=3
    )
    panel.set(xlim=(low, high), ylim=(-1, 1), yticks=[])
    panel.set_title(line["what"], fontsize=6.5, fontweight="normal", color=INK)
    panel.spines["left"].set_visible(False)
    panel.tick_params(labelsize=6, colors=FAINT)
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.xaxis.set_major_formatter("{x:g}")
