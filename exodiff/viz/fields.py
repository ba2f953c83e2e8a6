"""Species on the lattice at the last snapshot."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from exodiff.core.axes import AXES
from exodiff.io.results import SnapshotReader
from exodiff.io.snapshots import FieldArray
from exodiff.viz.labels import Labels, unit_text
from exodiff.viz.maps import COLOUR_BAR_MM, mark_borders, show_stripes, show_types, show_values
from exodiff.viz.panels import add_note, grid_of, new_figure, say_nothing_to_draw, short_name
from exodiff.viz.planes import CELLS, Plane, label_of, read_field, replicate_note
from exodiff.viz.scales import STEPS, time_unit, value_scale
from exodiff.viz.style import (
    ABOVE_THE_AXES,
    FREE_MAP,
    IN_CELL_MAP,
    INK,
    MAIN_COLOUR,
    PANELS_A_PAGE,
    TWO_COLUMNS_MM,
    categorical_colour,
)

MOST_PAGES = 5
LINE_HEIGHT_MM = 43.0
_LONG = 4.0
_BESIDE_MM = COLOUR_BAR_MM + 15.0
_ABOVE_AND_BELOW_MM = 11.0


def field_names(reader: SnapshotReader, labels: Labels) -> list[str]:
    """Fields in the order free species, species in cells, all others; without the cells."""
    first = [*labels.free_species, *labels.in_cell_species]
    present = [name for name in reader.names if name != CELLS]
    return [name for name in first if name in present] + [name for name in present if name not in first]


def fields_figures(reader: SnapshotReader, plane: Plane, labels: Labels) -> Iterator[Figure]:
    """A panel a field, twelve a figure; the first figure of maps begins with the cells, to compare with."""
    names = field_names(reader, labels)
    cells = read_field(reader, -1, CELLS)
    is_map = len(plane.axes) == 2
    panels = ([CELLS] if cells is not None and is_map and names else []) + names
    a_page = PANELS_A_PAGE // 2 if _is_long(plane) else PANELS_A_PAGE
    drawn = panels[: MOST_PAGES * a_page]
    for start in range(0, len(drawn), a_page):
        page = drawn[start : start + a_page]
        rows, columns, width_mm = grid_of_maps(plane, len(page))
        figure, panel_mm = page_of_maps(plane, rows, columns, width_mm, labels.title)
        fields = [cells if name == CELLS else read_field(reader, -1, name) for name in page]
        for place, (name, field) in enumerate(zip(page, fields, strict=True)):
            axes = figure.add_subplot(rows, columns, place + 1)
            draw_field(axes, name, field, cells, plane, labels, panel_mm)
        if page[0] == CELLS and cells is not None:
            add_cell_legend(figure, np.unique(cells.values), cells.legend)
        notes = [replicate_note(*fields), plane.note, *_cell_notes(plane, labels, page, cells)]
        add_note(figure, _note(reader, notes, len(panels) - len(drawn)))
        yield figure


def unit_of(field: FieldArray, noun: str, *, in_cell: bool, is_occupancy: bool = False) -> str:
    """The unit of a field for an axis; ``noun`` is what its numbers count."""
    if is_occupancy:
        return "cells per voxel"
    if field.unit == "molecules":
        return f"{noun} per cell" if in_cell else f"{noun} per voxel"
    return unit_text(field.unit)


def _is_long(plane: Plane) -> bool:
    return len(plane.axes) == 2 and plane.size_um[0] > _LONG * plane.size_um[1]


def grid_of_maps(plane: Plane, num_panels: int) -> tuple[int, int, float]:
    """Rows, columns and the width of the figure in mm."""
    return (num_panels, 1, TWO_COLUMNS_MM) if _is_long(plane) else grid_of(num_panels)


def page_of_maps(plane: Plane, rows: int, columns: int, width_mm: float, title: str) -> tuple[Figure, float]:
    """A figure in which the maps have their proportions, and the width of a map in mm."""
    if len(plane.axes) == 1:
        return new_figure(width_mm, rows * LINE_HEIGHT_MM + 4.0, title), width_mm / columns - _BESIDE_MM
    panel_mm = width_mm / columns - _BESIDE_MM
    row_mm = max(panel_mm * plane.size_um[1] / plane.size_um[0], 4.0) + _ABOVE_AND_BELOW_MM
    return new_figure(width_mm, rows * row_mm + 9.0, title), panel_mm


def draw_field(
    axes: Axes,
    name: str,
    field: FieldArray | None,
    cells: FieldArray | None,
    plane: Plane,
    labels: Labels,
    panel_mm: float,
    covered: np.ndarray | None = None,
) -> None:
    """One field in its panel; its colours cover ``covered`` where that is given, else what is shown."""
    axes.set_title(short_name(name, int((panel_mm + 8.0) / 1.75)))
    if field is None:
        say_nothing_to_draw(axes, "not in this snapshot")
        return
    if name == CELLS:
        values = field.values[0] if field.values.ndim == 4 else field.values
        show_types(axes, plane, values, int(values.max()) + 1)
        return
    # Without cells, in mean_field, the counts are of a voxel, for no cell is whole.
    in_cell = name in labels.in_cell_species and cells is not None
    shown = plane.cut(field.values).astype(np.float64)
    has_cell = unable = None
    if in_cell and cells is not None:
        has_cell = plane.cut(cells.values) >= 0
        unable = plane.cut(_unable(cells, labels, name)) & (shown == 0)
    noun = labels.nouns.get(name, "molecules")
    unit = unit_of(field, noun, in_cell=in_cell, is_occupancy=name in labels.cell_types)
    if len(plane.axes) == 1:
        if has_cell is not None and unable is not None:
            shown = np.where(has_cell & ~unable, shown, np.nan)
        _draw_line(axes, plane, shown, unit, in_cell=in_cell)
        return
    show_values(axes, plane, shown, has_cell, unit, IN_CELL_MAP if in_cell else FREE_MAP, panel_mm, covered)
    if unable is not None and unable.any():
        show_stripes(axes, plane, unable, panel_mm)


def _unable(cells: FieldArray, labels: Labels, name: str) -> np.ndarray:
    """Where the cell is of a type that never holds a species; nowhere if that is not known."""
    holders = labels.holders.get(name)
    types = [index for index, cell in (cells.legend or {}).items() if index >= 0 and holders and cell not in holders]
    return np.isin(cells.values, types)


def _draw_line(axes: Axes, plane: Plane, values: np.ndarray, unit: str, *, in_cell: bool) -> None:
    scale = value_scale(values)
    if scale is None:
        say_nothing_to_draw(axes, "no cells" if in_cell else "no finite values")
        return
    scale.apply(axes, unit)
    edges_um = plane.edges_um()
    if in_cell:
        middles = 0.5 * (edges_um[:-1] + edges_um[1:])
        axes.plot(
            middles, values, color=categorical_colour(0), marker="o", markersize=1.8, linewidth=0, **ABOVE_THE_AXES
        )
    else:
        axes.stairs(values, edges_um, color=MAIN_COLOUR, linewidth=0.9, baseline=None, **ABOVE_THE_AXES)
    axes.set_xlim(edges_um[0], edges_um[-1])
    mark_borders(axes, plane)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=STEPS))
    axes.set_xlabel(f"{AXES[plane.axes[0]]} (µm)")


def add_cell_legend(figure: Figure, types: np.ndarray, legend: Mapping[int, str] | None) -> None:
    """Beside the map of the cells, where the other maps have their colour bars."""
    indices = [index for index in types.tolist() if index >= 0]
    handles = [
        Patch(
            facecolor=categorical_colour(index),
            edgecolor=INK,
            linewidth=0.3,
            label=short_name(label_of(legend, index), 12),
        )
        for index in indices[:10]
    ]
    if handles:
        figure.axes[0].legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            handlelength=0.9,
            handleheight=0.9,
            borderaxespad=0.4,
            borderpad=0,
            handletextpad=0.4,
        )


def _cell_notes(plane: Plane, labels: Labels, page: list[str], cells: FieldArray | None) -> list[str]:
    """What the maps of species in cells show where there is no number."""
    shown = [name for name in page if name in labels.in_cell_species]
    if len(plane.axes) < 2 or cells is None or not shown:
        return []
    never = "striped where a cell of this type never can" if any(_unable(cells, labels, n).any() for n in shown) else ""
    parts = ["grey where the cell holds none", never, "white where there is no cell"]
    return ["Species in cells: " + ", ".join(part for part in parts if part)]


def _note(reader: SnapshotReader, notes: list[str], num_left_out: int) -> str:
    last_s = float(reader.times_s[-1])
    more = f"{num_left_out} more fields are in the snapshots" if num_left_out else ""
    return " ".join(f"{part}." for part in [f"At {time_unit(last_s).text(last_s)}", *notes, more] if part)
