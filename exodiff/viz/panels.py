"""Figures of panels: their layout, titles, notes and legends."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from exodiff.viz.style import DPI, FAINT, MARGIN_MM, MM_PER_INCH, NOTE_SIZE, ONE_COLUMN_MM, TWO_COLUMNS_MM

# Of a panel, without the numbers and the label of its axis.
_BESIDE_MM = 14.0
_SUBTITLE_LINE_MM = 2.9
_MOST_SUBTITLE_LINES = 8


def plain(text: str, most: int = 90) -> str:
    """Text of the user on one line, cut to a length, with nothing that matplotlib would take for a formula."""
    line = " ".join(text.split())
    short = line if len(line) <= most else line[: most - 1].rstrip() + "…"
    return short.replace("$", r"\$")


def short_name(name: str, most: int) -> str:
    """A name cut in its middle, for long ones often differ at the end."""
    if len(name) <= most:
        return plain(name)
    end = most // 2
    return plain(f"{name[: most - end - 1]}…{name[-end:]}")


def grid_of(num_panels: int) -> tuple[int, int, float]:
    """Rows, columns and the width of the figure in mm."""
    columns = {1: 1, 2: 2, 4: 2}.get(num_panels, 3)
    return math.ceil(num_panels / columns), columns, ONE_COLUMN_MM if num_panels == 1 else TWO_COLUMNS_MM


def set_titles(axes: Axes, name: str, subtitle: str, panel_mm: float) -> None:
    """The name in bold and under it, in grey, what it is, in as many lines as the width of the panel needs."""
    title = short_name(name, int((panel_mm - _BESIDE_MM) / 1.75))
    lines = [] if subtitle == name else subtitle_lines(subtitle, panel_mm)
    if not lines:
        axes.set_title(title)
        return
    axes.set_title(title, pad=4 + len(lines) * _SUBTITLE_LINE_MM * 72 / MM_PER_INCH)
    axes.annotate(
        "\n".join(plain(line) for line in lines),
        (0, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=NOTE_SIZE,
        color=FAINT,
    )


def subtitle_lines(subtitle: str, panel_mm: float) -> list[str]:
    """What is told under a title; its end is cut only where it would leave no room for the panel."""
    width = int((panel_mm - _BESIDE_MM) / 1.35)
    return textwrap.wrap(subtitle, width, max_lines=_MOST_SUBTITLE_LINES, placeholder=" …", break_on_hyphens=False)


def new_figure(width_mm: float, height_mm: float, title: str) -> Figure:
    """An empty figure with the run's title, if any, in at most two lines."""
    most = int(width_mm * 0.51)
    lines = [plain(line, most) for line in textwrap.wrap(title, most, max_lines=2, placeholder="…")]
    height_mm += 3.0 + 4.0 * len(lines) if lines else 0.0
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.04)
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), dpi=DPI, layout=layout)
    if lines:
        figure.suptitle("\n".join(lines), x=MARGIN_MM / width_mm, ha="left")
    return figure


def small_multiples(
    names: Sequence[str], subtitles: Sequence[str], panel_height_mm: float, title: str
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each name, row by row; higher where the subtitles take more than a line."""
    rows, columns, width_mm = grid_of(len(names))
    panel_mm = width_mm / columns
    extra = [max(len(subtitle_lines(subtitle, panel_mm)) - 1, 0) for subtitle in subtitles]
    more_mm = _SUBTITLE_LINE_MM * sum(max(extra[row * columns : (row + 1) * columns]) for row in range(rows))
    figure = new_figure(width_mm, rows * panel_height_mm + more_mm, title)
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(names))]
    for axes, name, subtitle in zip(panels, names, subtitles, strict=True):
        set_titles(axes, name, subtitle, panel_mm)
    return figure, panels


def add_note(figure: Figure, note: str) -> None:
    """A line in small grey letters under the figure."""
    width_mm = figure.get_figwidth() * MM_PER_INCH
    x = MARGIN_MM / width_mm
    figure.supxlabel(_filled(figure, note), fontsize=NOTE_SIZE, color=FAINT, x=x, ha="left", ma="left")


def add_legend(figure: Figure, handles: Sequence[Artist], num_columns: int, note: str = "") -> None:
    """A legend under the figure, below a note in small grey letters."""
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=num_columns,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
        borderpad=0,
        title=_filled(figure, note) or None,
        title_fontsize=NOTE_SIZE,
        alignment="left",
    )
    legend.get_title().set_color(FAINT)


def _filled(figure: Figure, note: str) -> str:
    """A note in as many lines as it needs."""
    return textwrap.fill(note, int(figure.get_figwidth() * MM_PER_INCH * 0.8))


def say_nothing_to_draw(axes: Axes, text: str = "no finite values") -> None:
    """A panel that stays in its place without data."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)
    axes.set_xticks([])
    axes.set_yticks([])
