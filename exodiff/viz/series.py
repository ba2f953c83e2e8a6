"""Scalar observables over time, one panel each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from exodiff.io.records import OBSERVABLE_KEYS
from exodiff.viz.labels import Labels
from exodiff.viz.panels import add_legend, add_note, plain, say_nothing_to_draw, small_multiples
from exodiff.viz.scales import TimeUnit, set_time_axis, time_unit, value_scale
from exodiff.viz.style import ABOVE_THE_AXES, MAIN_COLOUR, PANELS_A_PAGE, categorical_colour

PANEL_HEIGHT_MM = 43.0
MOST_LINES = 50
LEGEND_CHARACTERS = 120  # of the names in one row under a figure


Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Course:
    """One observable of one run: times in s, values (times, replicates)."""

    times_s: np.ndarray
    values: np.ndarray
    colour: str


def series_figures(table: Table, labels: Labels) -> Iterator[Figure]:
    """One figure for every twelve observables of ``observables.csv``, in the order of its columns."""
    for figure in _figures({"": table}, {"": MAIN_COLOUR}, labels):
        note = _note(len(np.unique(table["replicate"])))
        if note:
            add_note(figure, note)
        yield figure


def comparison_figures(tables: dict[str, Table], labels: Labels) -> Iterator[Figure]:
    """The same of several runs by name, each run in its colour; an observable that a run lacks has no line of it."""
    colours = {name: categorical_colour(index) for index, name in enumerate(tables)}
    several = any(len(np.unique(table["replicate"])) > 1 for table in tables.values())
    note = "Lines: mean of the replicates; bands: ± standard deviation." if several else ""
    for figure in _figures(tables, colours, labels):
        handles = [Line2D([], [], color=colour, label=plain(name)) for name, colour in colours.items()]
        longest = max(map(len, colours))
        add_legend(figure, handles, min(len(handles), max(1, LEGEND_CHARACTERS // (longest + 4))), note)
        yield figure


def _figures(tables: dict[str, Table], colours: dict[str, str], labels: Labels) -> Iterator[Figure]:
    names = list(dict.fromkeys(name for table in tables.values() for name in table if name not in OBSERVABLE_KEYS))
    times_s = np.unique(np.concatenate([table["time_s"] for table in tables.values()]))
    if not names or len(times_s) == 0:
        return
    unit = time_unit(float(times_s[-1]))
    for start in range(0, len(names), PANELS_A_PAGE):
        page = names[start : start + PANELS_A_PAGE]
        abouts = [labels.observable(name) for name in page]
        figure, panels = small_multiples(page, [about.expression for about in abouts], PANEL_HEIGHT_MM, labels.title)
        for axes, name, about in zip(panels, page, abouts, strict=True):
            courses = [
                _Course(np.unique(table["time_s"]), by_replicate(table, table[name]), colours[run])
                for run, table in tables.items()
                if name in table
            ]
            _draw(axes, about.unit, courses, times_s, unit)
        yield figure


def by_replicate(table: Table, values: np.ndarray) -> np.ndarray:
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


def _draw(axes: Axes, label: str, courses: list[_Course], times_s: np.ndarray, unit: TimeUnit) -> None:
    # Most series begin at 0 and grow over decades: a logarithm would show little else than their beginning.
    scale = value_scale(np.concatenate([course.values.ravel() for course in courses]), may_be_logarithmic=False)
    if scale is None:
        say_nothing_to_draw(axes)
        return
    for course in courses:
        times, values, colour = course.times_s / unit.seconds, course.values, course.colour
        mean, deviation = mean_and_deviation(values, axis=1)
        if values.shape[1] > 1:
            axes.fill_between(times, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
        if values.shape[1] > 1 and len(courses) == 1:
            alpha = 0.35 if values.shape[1] <= 10 else 0.2
            axes.plot(times, values[:, :MOST_LINES], color=colour, alpha=alpha, linewidth=0.4)
        # Above the axes, or a line of zeros could not be seen.
        axes.plot(times, mean, color=colour, **ABOVE_THE_AXES)
        lone = _lone(mean)
        if lone.any():
            axes.plot(times[lone], mean[lone], color=colour, marker="o", markersize=2.5, linewidth=0, **ABOVE_THE_AXES)
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
