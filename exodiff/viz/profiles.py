"""Profiles over distance and histograms, at a few times."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from exodiff.viz.labels import Labels, ObservableLabel
from exodiff.viz.panels import add_legend, say_nothing_to_draw, small_multiples
from exodiff.viz.scales import STEPS, Multiples, ValueScale, time_unit, value_scale
from exodiff.viz.series import mean_and_deviation
from exodiff.viz.style import ABOVE_THE_AXES, PANELS_A_PAGE, time_colours

PANEL_HEIGHT_MM = 50.0
NUM_TIMES = 4
MOST_HISTOGRAMS = 3
HISTOGRAMS = ("histogram", "size_histogram")
NM_PER_UM = 1000.0


@dataclass(frozen=True)
class Profile:
    """One observable of ``profiles.csv``: times in s, edges (bins + 1,), values (times, replicates, bins)."""

    times_s: np.ndarray
    edges: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class _Line:
    """A profile or histogram at one time: mean and standard deviation over the replicates."""

    time_s: float
    mean: np.ndarray
    deviation: np.ndarray


def profile_figures(table: dict[str, np.ndarray], labels: Labels) -> Iterator[Figure]:
    """One figure for every twelve observables of ``profiles.csv``, in the order in which they come."""
    names = list(dict.fromkeys(table["observable"].tolist()))
    shown_s = _few(np.unique(table["time_s"]))
    colours = dict(zip(shown_s.tolist(), time_colours(len(shown_s)), strict=True))
    unit = time_unit(float(shown_s[-1]))
    for start in range(0, len(names), PANELS_A_PAGE):
        page = names[start : start + PANELS_A_PAGE]
        abouts = [labels.observable(name) for name in page]
        figure, panels = small_multiples(page, [_subtitle(about) for about in abouts], PANEL_HEIGHT_MM, labels.title)
        drawn_s: set[float] = set()
        has_gap = False
        for axes, name, about in zip(panels, page, abouts, strict=True):
            found_s = _draw(axes, about, read_profile(table, name), colours)
            has_gap |= about.kind not in HISTOGRAMS and len(found_s) < len(colours)
            drawn_s |= found_s
        handles = [
            Line2D([], [], color=colour, label=unit.text(time_s))
            for time_s, colour in colours.items()
            if time_s in drawn_s
        ]
        add_legend(figure, handles, max(len(handles), 1), _note(table, abouts, len(shown_s), has_gap=has_gap))
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


def _note(table: dict[str, np.ndarray], abouts: list[ObservableLabel], num_times: int, *, has_gap: bool) -> str:
    number = len(np.unique(table["replicate"]))
    parts = [f"Lines: mean of {number} replicates; bands: ± standard deviation." if number > 1 else ""]
    if has_gap:
        parts.append("Profiles that are 0 everywhere are left out.")
    if num_times > MOST_HISTOGRAMS and any(about.kind in HISTOGRAMS for about in abouts):
        parts.append("Histograms: not at the first time.")
    return " ".join(part for part in parts if part)


def _draw(axes: Axes, about: ObservableLabel, profile: Profile, colours: dict[float, tuple[float, ...]]) -> set[float]:
    """Draws an observable at some of the times, and returns these."""
    is_histogram = about.kind in HISTOGRAMS
    if about.kind == "size_histogram":
        profile = replace(profile, edges=profile.edges * NM_PER_UM)
    widths = np.diff(profile.edges)
    is_density = is_histogram and not np.allclose(widths, widths[0])
    lines = _lines(profile, list(colours), widths if is_density else np.ones(len(widths)), is_histogram=is_histogram)
    scale = _scale(lines, is_histogram=is_histogram)
    if scale is None:
        say_nothing_to_draw(axes)
        return set()
    several = profile.values.shape[1] > 1
    draw = _draw_histogram if is_histogram else _draw_profile
    for line in lines:
        draw(axes, profile.edges, line, colours[line.time_s], has_band=several)
    axes.set_xlim(*_range(profile.edges, lines, is_histogram=is_histogram))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=STEPS))
    axes.xaxis.set_major_formatter(Multiples(0))
    x_label, y_label = _axis_labels(about, is_density=is_density)
    axes.set_xlabel(x_label)
    scale.apply(axes, y_label, room_below=not is_histogram)
    return {line.time_s for line in lines}


def _lines(profile: Profile, shown_s: list[float], widths: np.ndarray, *, is_histogram: bool) -> list[_Line]:
    """What is drawn: of histograms the last times, of profiles those that are not 0 everywhere, or the last."""
    lines = [
        _Line(time_s, *(part / widths for part in mean_and_deviation(profile.values[index], axis=0)))
        for time_s in (shown_s[-MOST_HISTOGRAMS:] if is_histogram else shown_s)
        for index in np.flatnonzero(profile.times_s == time_s)
    ]
    return lines if is_histogram else [line for line in lines if np.nan_to_num(line.mean).any()] or lines[-1:]


def _scale(lines: list[_Line], *, is_histogram: bool) -> ValueScale | None:
    """Of histograms linear, unless half of the bins in use would then be under a hundredth of the highest."""
    if not lines:
        return None
    return value_scale(np.concatenate([line.mean for line in lines]), percentile=50.0 if is_histogram else 1.0)


def _range(edges: np.ndarray, lines: list[_Line], *, is_histogram: bool) -> tuple[float, float]:
    """Without the bins at the far end of the lattice, or at either end of a histogram, that no time has used."""
    used = [np.flatnonzero(np.isfinite(line.mean) & ((line.mean != 0) | (not is_histogram))) for line in lines]
    indices = np.concatenate([*used, [0]]).astype(int)
    low = int(indices[:-1].min(initial=indices.max())) if is_histogram else 0
    return float(edges[low]), float(edges[int(indices.max()) + 1])


def _draw_histogram(axes: Axes, edges: np.ndarray, line: _Line, colour: tuple[float, ...], *, has_band: bool) -> None:
    if has_band:
        low, high = np.maximum(line.mean - line.deviation, 0.0), line.mean + line.deviation
        axes.stairs(high, edges, baseline=low, color=colour, alpha=0.18, fill=True)
    axes.stairs(line.mean, edges, color=colour, linewidth=1.1)


def _draw_profile(axes: Axes, edges: np.ndarray, line: _Line, colour: tuple[float, ...], *, has_band: bool) -> None:
    middles, mean = 0.5 * (edges[:-1] + edges[1:]), line.mean
    if has_band:
        low = mean - line.deviation
        low = np.maximum(low, 0.0) if np.nanmin(mean) >= 0 else low
        axes.fill_between(middles, low, mean + line.deviation, color=colour, alpha=0.18, linewidth=0)
    marker = "o" if np.isfinite(mean).sum() <= 40 else None
    axes.plot(middles, mean, color=colour, marker=marker, markersize=2.2, **ABOVE_THE_AXES)


def _subtitle(about: ObservableLabel) -> str:
    if about.kind == "profile":
        return f"{about.expression} by distance from {about.place}"
    if about.kind == "histogram":
        return f"{about.expression} over {about.place}"
    if about.kind == "size_histogram":
        return about.expression
    return ""


def _axis_labels(about: ObservableLabel, *, is_density: bool) -> tuple[str, str]:
    if about.kind == "profile":
        return "distance (µm)", about.unit
    if about.kind == "histogram":
        things = "cells" if about.unit.endswith("cell") else "voxels"
        return about.unit, f"{things} / width of bin" if is_density else f"{things} per bin"
    if about.kind == "size_histogram":
        return about.unit, "tracks per bin"
    return "bin", "value"
