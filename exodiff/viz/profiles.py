"""Profiles over distance and histograms, at a few times."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from exodiff.viz.labels import Labels, ObservableLabel
from exodiff.viz.panels import add_legend, say_nothing_to_draw, set_titles, small_multiples
from exodiff.viz.scales import STEPS, Multiples, time_unit, value_scale
from exodiff.viz.series import mean_and_deviation
from exodiff.viz.style import ABOVE_THE_AXES, PANELS_A_PAGE, time_colours

PANEL_HEIGHT_MM = 50.0
NUM_TIMES = 5


@dataclass(frozen=True)
class Profile:
    """One observable of ``profiles.csv``: times in s, edges (bins + 1,), values (times, replicates, bins)."""

    times_s: np.ndarray
    edges: np.ndarray
    values: np.ndarray


def profile_figures(table: dict[str, np.ndarray], labels: Labels) -> Iterator[Figure]:
    """One figure for every twelve observables of ``profiles.csv``, in the order in which they come."""
    names = list(dict.fromkeys(table["observable"].tolist()))
    for start in range(0, len(names), PANELS_A_PAGE):
        page = names[start : start + PANELS_A_PAGE]
        shown_s = _few(np.unique(table["time_s"]))
        figure, panels, panel_mm = small_multiples(len(page), PANEL_HEIGHT_MM, labels.title)
        for axes, name in zip(panels, page, strict=True):
            about = labels.observable(name)
            set_titles(axes, name, _subtitle(about), panel_mm)
            _draw(axes, about, read_profile(table, name), shown_s)
        number = len(np.unique(table["replicate"]))
        note = f"Lines: mean of {number} replicates; bands: ± standard deviation." if number > 1 else ""
        unit = time_unit(float(shown_s[-1]))
        handles = [
            Line2D([], [], color=colour, label=unit.text(float(time_s)))
            for time_s, colour in zip(shown_s, time_colours(len(shown_s)), strict=True)
        ]
        add_legend(figure, handles, len(handles), note)
        yield figure


def read_profile(table: dict[str, np.ndarray], name: str) -> Profile:
    """The rows of one observable as an array, NaN where there is no row or no finite value."""
    rows = table["observable"] == name
    times_s, time = np.unique(table["time_s"][rows], return_inverse=True)
    replicates, replicate = np.unique(table["replicate"][rows], return_inverse=True)
    lows, place = np.unique(table["bin_low"][rows], return_inverse=True)
    values = np.full((len(times_s), len(replicates), len(lows)), np.nan)
    found = table["value"][rows]
    values[time, replicate, place] = np.where(np.isfinite(found), found, np.nan)
    edges = np.append(lows, table["bin_high"][rows].max())
    if not np.isfinite(edges[-1]):
        edges[-1] = 2 * edges[-2] - edges[-3] if len(edges) > 2 else edges[-2] + 1
    return Profile(times_s, edges, values)


def _few(times_s: np.ndarray) -> np.ndarray:
    """First, last, and some between at equal distances in the list."""
    return times_s[np.unique(np.linspace(0, len(times_s) - 1, NUM_TIMES).round().astype(int))]


def _draw(axes: Axes, about: ObservableLabel, profile: Profile, shown_s: np.ndarray) -> None:
    colours = time_colours(len(shown_s))
    lines = [
        (*mean_and_deviation(profile.values[index], axis=0), colour)
        for time_s, colour in zip(shown_s, colours, strict=True)
        for index in np.flatnonzero(profile.times_s == time_s)
    ]
    used = [np.flatnonzero(np.isfinite(mean) & ((mean != 0) | (about.kind == "profile"))) for mean, _, _ in lines]
    scale = value_scale(np.concatenate([mean for mean, _, _ in lines])) if lines else None
    if scale is None:
        say_nothing_to_draw(axes)
        return
    several = profile.values.shape[1] > 1
    for mean, deviation, colour in lines:
        if about.kind == "profile":
            _draw_profile(axes, profile.edges, mean, deviation if several else None, colour)
        else:
            axes.stairs(mean, profile.edges, color=colour, linewidth=1.1)
    # Bins that no time has used, at the far end of the lattice or of a histogram, would only waste the panel.
    indices = np.concatenate([*used, [0]]).astype(int)
    low = 0 if about.kind == "profile" else int(indices[:-1].min(initial=0))
    axes.set_xlim(profile.edges[low], profile.edges[int(indices.max()) + 1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=STEPS))
    axes.xaxis.set_major_formatter(Multiples(0))
    x_label, y_label = _axis_labels(about)
    axes.set_xlabel(x_label)
    scale.apply(axes, y_label)


def _draw_profile(
    axes: Axes, edges: np.ndarray, mean: np.ndarray, deviation: np.ndarray | None, colour: tuple[float, ...]
) -> None:
    middles = 0.5 * (edges[:-1] + edges[1:])
    if deviation is not None:
        low = np.maximum(mean - deviation, 0.0) if np.nanmin(mean) >= 0 else mean - deviation
        axes.fill_between(middles, low, mean + deviation, color=colour, alpha=0.18, linewidth=0)
    marker = "o" if np.isfinite(mean).sum() <= 40 else None
    axes.plot(middles, mean, color=colour, marker=marker, markersize=2.2, **ABOVE_THE_AXES)


def _subtitle(about: ObservableLabel) -> str:
    if about.kind == "profile":
        return f"{about.expression} by distance from {about.place}"
    if about.kind == "histogram":
        return f"{about.expression} over {about.place}"
    return ""


def _axis_labels(about: ObservableLabel) -> tuple[str, str]:
    if about.kind == "profile":
        return "distance (µm)", about.unit
    if about.kind == "histogram":
        return about.unit, "cells" if about.unit.endswith("cell") else "voxels"
    return "bin", "value"
