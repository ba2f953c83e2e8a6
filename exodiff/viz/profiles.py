"""Profiles and histograms at some times."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exodiff.viz.style import FIELD_MAP, TWO_COLUMNS_MM, label_time, make_figure

_COLUMNS = 2
_TIMES = 5
MAX_PANELS = 12


def draw_profiles(
    table: dict[str, np.ndarray], histograms: set[str], units: dict[str, str], title: str
) -> Figure | None:
    """One panel a profile or histogram, at five times from first to last, mean over replicates.

    Args:
        table: columns of ``profiles.csv``.
        histograms: the observables that are histograms.
        units: what the values of each observable are, for its axis.
        title: of the figure.

    """
    names = list(dict.fromkeys(table["observable"].tolist()))[:MAX_PANELS]
    if not names:
        return None
    num_columns = min(_COLUMNS, len(names))
    num_rows = -(-len(names) // num_columns)
    figure = make_figure(TWO_COLUMNS_MM / 2 * num_columns, 14.0 + 50.0 * num_rows)
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for name, panel in zip(names, axes.flat, strict=False):
        _draw_panel(panel, table, name, name in histograms, units.get(name, name))
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    figure.suptitle(title, fontsize=8)
    return figure


def _draw_panel(panel: Axes, table: dict[str, np.ndarray], name: str, is_histogram: bool, unit: str) -> None:
    chosen = table["observable"] == name
    columns = {key: column[chosen] for key, column in table.items()}
    times = np.unique(columns["time_s"])
    shown = times[np.unique(np.linspace(0, len(times) - 1, _TIMES).round().astype(int))]
    colours = mpl.colormaps[FIELD_MAP](np.linspace(0.0, 0.85, len(shown)))
    seen: list[np.ndarray] = []
    for time, colour in zip(shown, colours, strict=True):
        edges, means = _mean_over_replicates(columns, time)
        seen.append(means)
        label = label_time(float(time), float(times[-1]))
        if is_histogram:
            finite = np.where(np.isfinite(edges), edges, 2 * edges[-2] - edges[-3] if len(edges) > 2 else edges[0] + 1)
            panel.stairs(means, finite, color=colour, label=label, linewidth=1.0)
        else:
            panel.plot(0.5 * (edges[:-1] + edges[1:]), means, color=colour, label=label, marker="o", markersize=1.8)
    _set_scale(panel, np.concatenate(seen), is_histogram=is_histogram)
    panel.set_title(name.replace("_", " "), loc="left")
    panel.set_xlabel(unit if is_histogram else "distance (um)")
    panel.set_ylabel("cells" if is_histogram else unit)
    panel.legend(title="time", alignment="left")


def _mean_over_replicates(columns: dict[str, np.ndarray], time: float) -> tuple[np.ndarray, np.ndarray]:
    """Bin edges and means of one observable at one time; NaN where no replicate has a value."""
    now = columns["time_s"] == time
    lows, place = np.unique(columns["bin_low"][now], return_inverse=True)
    values = columns["value"][now]
    known = np.isfinite(values)
    total = np.bincount(place[known], values[known], len(lows))
    number = np.bincount(place[known], minlength=len(lows))
    means = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return np.append(lows, columns["bin_high"][now].max()), means


def _set_scale(panel: Axes, values: np.ndarray, *, is_histogram: bool) -> None:
    positive = values[np.isfinite(values) & (values > 0)]
    if not is_histogram and len(positive) > 1 and positive.max() > 100 * np.quantile(positive, 0.1):
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
