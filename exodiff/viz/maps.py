"""Drawing a plane or a line of the lattice into a panel: colours, colour bar, scale bar."""

from typing import cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import ScaledTranslation

from exodiff.viz.panels import say_nothing_to_draw
from exodiff.viz.planes import Plane
from exodiff.viz.scales import round_length, value_scale
from exodiff.viz.style import BARE_CELL, IN_CELL_MAP, INK, NOT_KNOWN, STRIPE, STRIPE_GROUND, categorical_colour

COLOUR_BAR_MM = 2.2
LABEL_FROM_MM = 28.0
_GAP_MM = 1.2
_BAR_BELOW_POINTS = 6.0
_MM_A_TICK = 6.0
_PIXELS_A_MM = 10.0
_STRIPE_PIXELS = 6


def show_types(axes: Axes, plane: Plane, cells: np.ndarray, num_types: int) -> None:
    """Cell types by their index, white where there is none; a line becomes a strip."""
    colours = ListedColormap(["white", *(categorical_colour(index) for index in range(num_types))])
    norm = BoundaryNorm(np.arange(-1.5, num_types + 0.5), num_types + 1)
    shown = plane.cut(np.maximum(cells, -1))
    if len(plane.axes) == 1:
        width_um = plane.size_um[0]
        axes.imshow(shown[None, :], cmap=colours, norm=norm, extent=(0, width_um, 0, 1), aspect="auto")
        axes.set_yticks([])
        frame(axes)
        mark_borders(axes, plane)
        return
    _show(axes, plane, shown, cmap=colours, norm=norm)
    mark_borders(axes, plane)
    add_scale_bar(axes, plane)


def show_values(
    axes: Axes,
    plane: Plane,
    values: np.ndarray,
    has_cell: np.ndarray | None,
    unit: str,
    cmap: str,
    panel_mm: float,
    covered: np.ndarray | None = None,
) -> None:
    """A field in a plane, with its colour bar; NaN is light grey.

    Args:
        axes: the panel.
        plane: where `values` are from.
        values: (right, up).
        has_cell: of a species in cells, where there is one: it is white elsewhere, and a cell without any is grey.
        unit: of the values, for the colour bar.
        cmap: name of a colour map.
        panel_mm: width of the map on paper, by which the width of the colour bar is set.
        covered: values that the colours cover, for maps that are to be compared; None takes those shown.

    """
    bad = NOT_KNOWN
    if has_cell is not None:
        _show(axes, plane, np.where(has_cell, 1.0, np.nan), cmap=ListedColormap([BARE_CELL]))
        values, bad = np.where(has_cell & (values != 0), values, np.nan), "none"
    spread = values if covered is None else covered
    scale = value_scale(np.append(spread, 0.0) if has_cell is not None and has_cell.any() else spread)
    colours = colormaps[cmap].with_extremes(bad=bad)
    if cmap == IN_CELL_MAP:
        # The bright end would be lost on white.
        colours = ListedColormap(colours(np.linspace(0.0, 0.9, 256))).with_extremes(bad=bad)
    mark_borders(axes, plane)
    add_scale_bar(axes, plane)
    if scale is None:
        _show(axes, plane, np.full(values.shape, np.nan), cmap=colours)
        say_nothing_to_draw(axes)
        return
    image = _show(axes, plane, np.ma.masked_invalid(values), cmap=colours, norm=scale.norm())
    beside = axes.inset_axes((1 + _GAP_MM / panel_mm, 0.0, COLOUR_BAR_MM / panel_mm, 1.0))
    figure = axes.figure
    height_mm = panel_mm * plane.size_um[1] / plane.size_um[0]
    most_ticks = min(max(int(height_mm / _MM_A_TICK), 1), 4)
    bar = figure.colorbar(image, cax=beside, ticks=scale.locator(most_ticks), format=scale.formatter())
    bar.minorticks_off()
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(width=0.4, length=1.8, pad=1.5)
    if height_mm >= LABEL_FROM_MM:
        bar.set_label(scale.label(unit), labelpad=2.5)
    elif scale.label(unit):
        axes.set_title(f"{axes.get_title(loc='left')} ({scale.label(unit)})", loc="left")


def show_stripes(axes: Axes, plane: Plane, mask: np.ndarray, panel_mm: float) -> None:
    """Stripes over the voxels of a mask, (right, up), equally wide on paper however large the voxels are."""
    width = int(panel_mm * _PIXELS_A_MM)
    right, up = np.arange(width), np.arange(max(int(width * plane.size_um[1] / plane.size_um[0]), 1))
    is_dark = (right[:, None] + up) % _STRIPE_PIXELS < _STRIPE_PIXELS / 3
    covered = mask[right * mask.shape[0] // len(right)][:, up * mask.shape[1] // len(up)]
    colours = ListedColormap([STRIPE_GROUND, STRIPE])
    _show(axes, plane, np.ma.masked_where(~covered, is_dark), cmap=colours, norm=Normalize(0, 1))


def add_scale_bar(axes: Axes, plane: Plane) -> None:
    """A bar of a round length under a map, where it hides nothing."""
    width_um = plane.size_um[0]
    length_um = round_length(width_um / 3.5)
    inches = cast("Figure", axes.figure).dpi_scale_trans
    below = axes.get_xaxis_transform() + ScaledTranslation(0.0, -_BAR_BELOW_POINTS / 72, inches)
    ends_um = [0.0, length_um]
    axes.plot(ends_um, [0, 0], transform=below, color=INK, linewidth=1.6, clip_on=False, solid_capstyle="butt")
    axes.annotate(
        f"{length_um:g} µm" if length_um < 1000 else f"{length_um / 1000:g} mm",
        (length_um, 0),
        (3, -_BAR_BELOW_POINTS),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        va="center",
        ha="left",
        annotation_clip=False,
    )


def mark_borders(axes: Axes, plane: Plane) -> None:
    """A line between lattices side by side, seen on any colour."""
    draw = axes.axvline if plane.axes[0] == 0 else axes.axhline
    for place_um in plane.borders_um:
        draw(place_um, color="white", linewidth=1.8)
        draw(place_um, color=INK, linewidth=0.7)


def frame(axes: Axes) -> None:
    """A thin frame all around."""
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_linewidth(0.4)


def _show(axes: Axes, plane: Plane, values: np.ndarray, **colours: object) -> AxesImage:
    width_um, height_um = plane.size_um
    extent = (0.0, width_um, 0.0, height_um)
    image = axes.imshow(values.T, origin="lower", extent=extent, **colours)  # pyright: ignore[reportArgumentType]
    axes.set_xticks([])
    axes.set_yticks([])
    frame(axes)
    axes.set_xlim(0, width_um)
    axes.set_ylim(0, height_um)
    return image
