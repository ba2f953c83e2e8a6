"""How every figure looks: sizes, fonts, colours."""

from typing import Any

from matplotlib import colormaps

MM_PER_INCH = 25.4
ONE_COLUMN_MM = 85.0
TWO_COLUMNS_MM = 180.0
PANELS_A_PAGE = 12
DPI = 200
INK = "0.15"
FAINT = "0.45"
BARE_CELL = "0.82"
NOT_KNOWN = "0.91"
STRIPE = "0.80"
STRIPE_GROUND = "0.95"
NOTE_SIZE = 6.5
MARGIN_MM = 1.3

# Any: the type stubs list every key.
RC: Any = {
    # Shipped with matplotlib, so a figure looks the same on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 8.5,
    "figure.titleweight": "bold",
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.1,
    "image.interpolation": "nearest",
    # Names inside an SVG, so that the same run gives the same file.
    "svg.hashsalt": "exodiff",
    # TrueType, so that text in a PDF stays editable.
    "pdf.fonttype": 42,
}

# M. Okabe and K. Ito, "Color Universal Design" (2008), without black; then P. Tol's "muted" scheme.
PALETTE = (
    *("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442"),
    *("#332288", "#882255", "#44AA99", "#999933", "#117733", "#AA4499", "#DDCC77", "#661100", "#6699CC"),
)
MAIN_COLOUR = "#0072B2"
# Or a line of zeros could not be seen; and what is not clipped must not count in the layout.
ABOVE_THE_AXES: Any = {"clip_on": False, "zorder": 3, "in_layout": False}
FREE_MAP = "viridis"
IN_CELL_MAP = "plasma"


def categorical_colour(index: int) -> str:
    """A colour that also a colour-blind reader tells from its neighbours; they repeat after 16."""
    return PALETTE[index % len(PALETTE)]


def time_colours(number: int) -> list[tuple[float, float, float, float]]:
    """Colours from light (early) to dark (late), without the yellow that is lost on white."""
    places = [0.85 * (1 - i / max(number - 1, 1)) for i in range(number)] if number > 1 else [0.3]
    return [colormaps["viridis"](place) for place in places]
