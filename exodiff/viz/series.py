"""Observables over time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exodiff.viz.style import COLOURS, TWO_COLUMNS_MM, make_figure, time_unit

_COLUMNS = 3
MAX_PANELS = 24


def draw_series(table: dict[str, np.ndarray], title: str) -> Figure | None:
    """Small multiples, one a scalar observable; replicates as thin lines around their mean.

    Args:
        table: columns of ``observables.csv``.
        title: of the figure.

    """
    names = [name for name in table if name not in ("time_s", "replicate")][:MAX_PANELS]
    if not names or not len(table["time_s"]):
        return None
    num_columns = min(_COLUMNS, len(names))
    num_rows = -(-len(names) // num_columns)
    figure = make_figure(TWO_COLUMNS_MM if num_columns > 1 else TWO_COLUMNS_MM / 2, 12.0 + 42.0 * num_rows)
    axes = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True)
    unit, seconds = time_unit(float(np.max(table["time_s"])))
    for place, (name, panel) in enumerate(zip(names, axes.flat, strict=False)):
        _draw_panel(panel, table, name, seconds, COLOURS[place % 6])
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    for column in range(num_columns):
        last = max(row for row in range(num_rows) if row * num_columns + column < len(names))
        axes[last, column].set_xlabel(f"time ({unit})")
        axes[last, column].tick_params(labelbottom=True)
    figure.suptitle(title, fontsize=8)
    return figure


def _draw_panel(panel: Axes, table: dict[str, np.ndarray], name: str, seconds: float, colour: str) -> None:
    times = np.unique(table["time_s"])
    replicates = np.unique(table["replicate"])
    values = np.full((len(replicates), len(times)), np.nan)
    rows = np.searchsorted(replicates, table["replicate"])
    values[rows, np.searchsorted(times, table["time_s"])] = table[name]
    if len(replicates) > 1:
        panel.plot(times / seconds, values[:50].T, color=colour, alpha=0.25, linewidth=0.5)
    known = np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    mean = np.where(known.any(axis=0), mean, np.nan)
    marker = "o" if len(times) < 3 else None
    panel.plot(times / seconds, mean, color=colour, linewidth=1.2, marker=marker, markersize=3)
    panel.set_title(name.replace("_", " "), loc="left")
    panel.margins(x=0.02)
    if np.any(known) and np.nanmin(values) >= 0:
        panel.set_ylim(bottom=0)
