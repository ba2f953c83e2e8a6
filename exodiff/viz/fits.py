"""Figures of a fit, from its file alone: data and prediction, pairs of parameters, profiles, spectrum."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binom

from exodiff.core.errors import ConfigError
from exodiff.viz.figures import FOLDER, save_figure
from exodiff.viz.labels import Labels, labels_of, unit_text
from exodiff.viz.panels import add_note, new_figure, short_name, small_multiples
from exodiff.viz.scales import set_time_axis, time_unit
from exodiff.viz.style import (
    FAINT,
    MAIN_COLOUR,
    ONE_COLUMN_MM,
    PALETTE,
    PANELS_A_PAGE,
    RC,
    STRIPE_GROUND,
    TWO_COLUMNS_MM,
)

PANEL_HEIGHT_MM = 48.0
_RANK_BINS = 20
_RADIUS = 2.146  # in standard deviations: holds 90 % of a normal law in the plane
_MEASURED = PALETTE[0]


def make_fit_figures(directory: Path) -> list[Path]:
    """Draw what ``fit.h5`` of a directory holds into its ``figures/``; gives the files written."""
    path = directory / "fit.h5"
    if not path.exists():
        raise ConfigError(str(path), "there is no such file; run `exodiff fit CONFIG` first")
    written = []
    with h5py.File(path) as file, mpl.rc_context(RC):
        for stem, figure in _figures(file):
            written += save_figure(figure, directory / FOLDER, stem, ("png",))
    return written


def make_rank_figure(directory: Path, parameters: Sequence[str], ranks: np.ndarray) -> list[Path]:
    """Draw where truths lay in their posteriors, (fits, parameters), into ``figures/``; gives the files written."""
    fits = len(ranks)
    low, high = binom.interval(0.99, fits, 1.0 / _RANK_BINS)
    with mpl.rc_context(RC):
        figure, axes = small_multiples(parameters, [f"{fits} fits"] * len(parameters), PANEL_HEIGHT_MM, "")
        for axis, column in zip(axes, np.transpose(ranks), strict=True):
            axis.axhspan(low, high, color=FAINT, alpha=0.3, linewidth=0, zorder=3)
            axis.hist(column, bins=_RANK_BINS, range=(0.0, 1.0), color=MAIN_COLOUR)
            axis.set(xlabel="posterior probability below the truth", ylabel="fits", xlim=(0.0, 1.0))
            axis.set_ylim(0, 1.1 * max(high, axis.get_ylim()[1]))
        add_note(figure, "Uniform if the procedure is right. Band: 99 % of the bins then.")
        return save_figure(figure, directory / FOLDER, "ranks", ("png",))


def _figures(file: Any) -> Iterator[tuple[str, Figure]]:
    panels = [panel for number in sorted(file["data"], key=int) for panel in _panels(file["data"][number])]
    labels = labels_of(str(file.attrs["model"]))
    for page, start in enumerate(range(0, len(panels), PANELS_A_PAGE), start=1):
        yield f"data_{page}" if page > 1 else "data", _data_figure(panels[start : start + PANELS_A_PAGE], labels)
    if len(file.attrs["parameters"]) > 1:
        yield "parameters", _pairs_figure(file)
    if "profiles" in file:
        yield "profiles", _profiles_figure(file)
    yield "spectrum", _spectrum_figure(file)


def _panels(group: Any) -> list[tuple[str, Any, int]]:
    """(title, group, column) of each panel; columns of regions or classes that have no time of their own share one."""
    observables = [str(name) for name in group.attrs["observables"]]
    columns = group["values"].shape[1]
    names = observables if len(observables) == columns else [f"{observables[0]}, bin {i}" for i in range(columns)]
    if len(np.unique(group["times_s"])) == 1 and columns > 1:
        return [(str(group.attrs["name"]), group, -1)]
    return [(name, group, column) for column, name in enumerate(names)]


def _data_figure(panels: list[tuple[str, Any, int]], labels: Labels) -> Figure:
    figure, axes = small_multiples(
        [title for title, _, _ in panels], [f"noise {g.attrs['noise']}" for _, g, _ in panels], PANEL_HEIGHT_MM, ""
    )
    for axis, (_, group, column) in zip(axes, panels, strict=True):
        if column < 0:
            _draw_columns(axis, group)
        else:
            _draw_times(axis, group, column)
        axis.set_ylabel(labels.observable(str(group.attrs["observables"][0])).unit)
    has_bands = any(np.isfinite(group["low"][:]).any() for _, group, _ in panels)
    add_note(
        figure,
        "Dots: measured. Line: the mean at the estimate, by the closure and simulations. Band: 90 % of what would be "
        "measured again, with the uncertainty of the estimate."
        if has_bands
        else "Dots: measured. Line: the closure at the estimate.",
    )
    return figure


def _draw_times(axes: Axes, group: Any, column: int) -> None:
    times_s, first = np.unique(group["times_s"][:], return_index=True)
    unit = time_unit(float(times_s[-1]))
    low, middle, high = (group[name][:][first, column] for name in ("low", "prediction", "high"))
    axes.fill_between(times_s / unit.seconds, low, high, color=MAIN_COLOUR, alpha=0.2, linewidth=0)
    axes.plot(times_s / unit.seconds, middle, color=MAIN_COLOUR)
    values = group["values"][:, column]
    axes.plot(group["times_s"][:] / unit.seconds, values, ".", color=_MEASURED, markersize=4, clip_on=False)
    if group.attrs["noise"] == "lognormal":
        axes.set_yscale("log")
    set_time_axis(axes, unit, np.append(0.0, times_s))


def _draw_columns(axes: Axes, group: Any) -> None:
    values, first = group["values"][:], 0
    place = np.arange(values.shape[1])
    low, middle, high = (group[name][:][first] for name in ("low", "prediction", "high"))
    if group.attrs["noise"].endswith("multinomial"):
        middle = middle / middle.sum() * np.nanmean(values.sum(axis=1))
    axes.bar(place, high - low, 0.6, low, color=MAIN_COLOUR, alpha=0.2, linewidth=0)
    axes.hlines(middle, place - 0.3, place + 0.3, color=MAIN_COLOUR)
    for row in values:
        axes.plot(place, row, ".", color=_MEASURED, markersize=4, clip_on=False)
    names = [str(name) for name in group.attrs["observables"]]
    if len(names) == len(place) <= 8:
        axes.set_xticks(place, [short_name(name, 12) for name in names], rotation=30, ha="right")
    else:
        axes.set_xlabel("bin")


def _pairs_figure(file: Any) -> Figure:
    names, samples = _labels_of_parameters(file), file["samples"][:]
    number = len(names)
    side_mm = min(TWO_COLUMNS_MM, 45.0 * number)
    figure = new_figure(side_mm, side_mm, "")
    # on a narrow one the labels of a logarithmic axis would not fit
    is_log = [one.min() > 0 and one.max() > 10 * one.min() for one in samples]
    for row in range(number):
        for column in range(row + 1):
            axes = figure.add_subplot(number, number, row * number + column + 1)
            if is_log[column]:
                axes.set_xscale("log")
            if row == column:
                _draw_one(axes, samples[row], file["interval"][row], is_log=is_log[row])
            else:
                axes.plot(samples[column], samples[row], ",", color=FAINT, alpha=0.5, rasterized=True)
                if is_log[row]:
                    axes.set_yscale("log")
                _draw_ellipse(axes, file, column, row)
                axes.set_ylabel(names[row] if column == 0 else "")
            axes.tick_params(which="both", labelsize=5.5)
            for axis, index in ((axes.xaxis, column), (axes.yaxis, row)):
                axis.get_offset_text().set_fontsize(5.5)
                if not is_log[index] and not (row == column and axis is axes.yaxis):
                    axis.set_major_locator(MaxNLocator(3))
            axes.set_xlabel(names[column] if row == number - 1 else "")
    level = f"{100 * float(file.attrs['level']):g}"
    of = (
        "Draws from the posterior; ellipses: 90 % of the normal law"
        if file.attrs["uncertainty"] == "nuts"
        else ("Samples of the normal law of the estimate; ellipses hold 90 % of it")
    )
    add_note(figure, f"{of}. Shaded: the {level} % interval.")
    return figure


def _labels_of_parameters(file: Any) -> list[str]:
    units = [unit_text(str(unit)) for unit in file.attrs["units"]]
    names = [short_name(str(name), 18) for name in file.attrs["parameters"]]
    return [f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)]


def _draw_one(axes: Axes, samples: np.ndarray, interval: np.ndarray, *, is_log: bool) -> None:
    space = np.geomspace if is_log else np.linspace
    bins = space(samples.min(), samples.max(), 40)
    axes.hist(samples, bins=list(map(float, bins)), color=MAIN_COLOUR, alpha=0.8)
    if np.all(np.isfinite(interval)):
        axes.axvspan(float(interval[0]), float(interval[1]), color=MAIN_COLOUR, alpha=0.15, linewidth=0)
    axes.set_yticks([])


def _draw_ellipse(axes: Axes, file: Any, column: int, row: int) -> None:
    """The 90 % region of two coordinates, drawn in values."""
    covariance = file["covariance"][:][np.ix_([column, row], [column, row])]
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = _RADIUS * np.stack((np.cos(angle), np.sin(angle)))
    off = np.linalg.cholesky(covariance) @ circle
    places, values = file["map/coordinate"][:], file["map/value"][:]
    line = [np.interp(file["u"][i] + one, places[i], values[i]) for i, one in zip((column, row), off, strict=True)]
    axes.plot(line[0], line[1], color=MAIN_COLOUR)


def _profiles_figure(file: Any) -> Figure:
    names = [str(name) for name in file.attrs["parameters"]]
    figure, panels = small_multiples(names, ["" for _ in names], PANEL_HEIGHT_MM, "")
    for axes, name, label, interval in zip(panels, names, _labels_of_parameters(file), file["interval"], strict=True):
        profile = file[f"profiles/{name}"]
        axes.plot(profile["value"][:], -profile["drop"][:], ".-", color=MAIN_COLOUR, markersize=3)
        for end in interval[np.isfinite(interval)]:
            axes.axvline(float(end), color=FAINT, linewidth=0.6, linestyle="--")
        axes.set(xlabel=label, ylabel="log posterior")
    level = f"{100 * float(file.attrs['level']):g}"
    add_note(
        figure,
        f"The best that the others can do at each value, against the maximum. Dashed: the {level} % interval.",
    )
    return figure


def _spectrum_figure(file: Any) -> Figure:
    of_data, share = file["spectrum/eigenvalues"][:], file["spectrum/share_of_data"][:]
    told = [_by_terms(str(text)) for text in file.attrs["directions"]]
    lines = sum(text.count("\n") + 1 for text in told)
    figure = new_figure(ONE_COLUMN_MM, 22.0 + 3.2 * lines + 3.0 * len(told), "")
    axes, place = figure.add_subplot(), -np.arange(len(told))
    is_known = share > 0
    of_prior = of_data[is_known] * (1 / share[is_known] - 1)
    axes.plot(of_prior, place[is_known], "o", color=FAINT, markerfacecolor="none", markersize=5)
    axes.plot(of_data[is_known], place[is_known], "o", color=MAIN_COLOUR, markersize=5)
    axes.set_xscale("log")
    axes.set_yticks(place, told)
    axes.set_ylim(place[-1] - 0.6, 0.6)
    axes.grid(axis="x", color=STRIPE_GROUND)
    axes.set_xlabel("Fisher information along a direction")
    add_note(figure, "Full: of the data. Open: of the prior; where it lies to the right, the data tell less.")
    return figure


def _by_terms(direction: str) -> str:
    """``0.71 log k_on - 0.70 log D`` in lines that end before a sign."""
    terms = re.split(r" (?=[+-] )", direction)
    return "\n".join(textwrap.wrap(" ".join(term.replace(" ", "\u00a0") for term in terms), 30))
