"""Scalar observables over time, one panel each."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exodiff.io.records import OBSERVABLE_KEYS
from exodiff.viz.labels import Labels
from exodiff.viz.panels import add_note, say_nothing_to_draw, small_multiples
from exodiff.viz.scales import TimeUnit, set_time_axis, time_unit, value_scale
from exodiff.viz.style import ABOVE_THE_AXES, MAIN_COLOUR, PANELS_A_PAGE

PANEL_HEIGHT_MM = 43.0
MOST_LINES = 50


def series_figures(table: dict[str, np.ndarray], labels: Labels) -> Iterator[Figure]:
    """One figure for every twelve observables of ``observables.csv``, in the order of its columns."""
    names = [name for name in table if name not in OBSERVABLE_KEYS]
    if not names or len(table["time_s"]) == 0:
        return
    times_s = np.unique(table["time_s"])
    unit = time_unit(float(times_s[-1]))
    for start in range(0, len(names), PANELS_A_PAGE):
        page = names[start : start + PANELS_A_PAGE]
        abouts = [labels.observable(name) for name in page]
        figure, panels = small_multiples(page, [about.expression for about in abouts], PANEL_HEIGHT_MM, labels.title)
        for axes, name, about in zip(panels, page, abouts, strict=True):
            _draw(axes, about.unit, times_s, by_replicate(table, table[name]), unit)
        note = _note(len(np.unique(table["replicate"])))
        if note:
            add_note(figure, note)
        yield figure


def by_replicate(table: dict[str, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Values as (times, replicates), NaN where there is no row or no finite value."""
    times, row = np.unique(table["time_s"], return_inverse=True)
    replicates, column = np.unique(table["replicate"], return_inverse=True)
    result = np.full((len(times), len(replicates)), np.nan)
    result[row, column] = np.where(np.isfinite(values), values, np.nan)
    return result


def mean_and_deviation(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the replicates that have a value (n - 1 in the denominator)."""
    known = np.isfinite(values)
    number = known.sum(axis=axis)
    kept = np.where(known, values, 0.0)
    mean = np.where(number > 0, kept.sum(axis=axis) / np.maximum(number, 1), np.nan)
    off = np.where(known, values - np.expand_dims(mean, axis), 0.0)
    deviation = np.sqrt((off**2).sum(axis=axis) / np.maximum(number - 1, 1))
    return mean, np.where(number > 0, deviation, np.nan)


def _draw(axes: Axes, label: str, times_s: np.ndarray, values: np.ndarray, unit: TimeUnit) -> None:
    # Most series begin at 0 and grow over decades: a logarithm would show little else than their beginning.
    scale = value_scale(values, may_be_logarithmic=False)
    if scale is None:
        say_nothing_to_draw(axes)
        return
    times = times_s / unit.seconds
    mean, deviation = mean_and_deviation(values, axis=1)
    if values.shape[1] > 1:
        axes.fill_between(times, mean - deviation, mean + deviation, color=MAIN_COLOUR, alpha=0.2, linewidth=0)
        alpha = 0.35 if values.shape[1] <= 10 else 0.2
        axes.plot(times, values[:, :MOST_LINES], color=MAIN_COLOUR, alpha=alpha, linewidth=0.4)
    # Above the axes, or a line of zeros could not be seen.
    axes.plot(times, mean, color=MAIN_COLOUR, **ABOVE_THE_AXES)
    lone = _lone(mean)
    if lone.any():
        axes.plot(times[lone], mean[lone], color=MAIN_COLOUR, marker="o", markersize=2.5, linewidth=0, **ABOVE_THE_AXES)
    set_time_axis(axes, unit, times_s)
    scale.apply(axes, label)


def _lone(values: np.ndarray) -> np.ndarray:
    """Where a value stands between values that are not known: a line does not show it."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    return known[1:-1] & ~known[:-2] & ~known[2:]


def _note(num_replicates: int) -> str:
    if num_replicates < 2:
        return ""
    lines = "all" if num_replicates <= MOST_LINES else f"{MOST_LINES} of"
    return f"Thick line: mean; band: ± standard deviation; thin lines: {lines} {num_replicates} replicates."
