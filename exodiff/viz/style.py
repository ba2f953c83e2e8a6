"""How figures look: journal column widths, small sans-serif type, colour-blind safe colours."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

ONE_COLUMN_MM = 85.0
TWO_COLUMNS_MM = 180.0

# M. Okabe, K. Ito, "Color universal design", 2008
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
EMPTY = "#F4F4F2"
FIELD_MAP = "viridis"

_STYLE = {
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw with this style inside."""
    with mpl.rc_context(_STYLE):
        yield


def make_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of a size on paper, laid out so that nothing overlaps."""
    return Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def time_unit(longest_s: float) -> tuple[str, float]:
    """The unit in which times up to the longest read best, and its seconds."""
    for unit, seconds in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if longest_s >= 3 * seconds:
            return unit, seconds
    return "s", 1.0


def label_time(time_s: float, longest_s: float) -> str:
    """A time with its unit."""
    unit, seconds = time_unit(longest_s)
    return f"{time_s / seconds:.3g} {unit}"
