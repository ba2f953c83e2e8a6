"""Where the cells of each type are, at the beginning and at the end."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from exodiff.core.axes import AXES
from exodiff.io.results import SnapshotReader
from exodiff.viz.labels import Labels
from exodiff.viz.maps import show_types
from exodiff.viz.panels import add_legend, new_figure, short_name
from exodiff.viz.planes import CELLS, Plane, label_of, read_field, replicate_note
from exodiff.viz.scales import time_unit
from exodiff.viz.style import INK, ONE_COLUMN_MM, TWO_COLUMNS_MM, categorical_colour

_STRIP_MM = 22.0
_LEGEND_ROW_MM = 4.0
_CHARACTERS_A_MM = 0.62


def cells_figure(reader: SnapshotReader, plane: Plane, labels: Labels) -> Figure | None:
    """Maps of the cell types at the first and the last snapshot, one map if nothing has changed; None without cells."""
    found = [read_field(reader, position, CELLS) for position in (0, -1)]
    fields = [field for field in found if field is not None]
    if not fields:
        return None
    cells = [_first_replicate(field.values) for field in fields]
    unit = time_unit(float(reader.times_s[-1]))
    titles = [unit.text(float(reader.times_s[place])) for place in (0, -1)][-len(fields) :]
    if len(cells) == 2 and np.array_equal(cells[0], cells[1]):
        same = len(reader) > 1
        cells, titles = cells[:1], [f"{titles[0]} to {titles[1]}, unchanged" if same else titles[0]]
    indices = sorted({*(key for key in fields[-1].legend or {} if key >= 0), *np.unique(cells).tolist()} - {-1})
    names = [label_of(fields[-1].legend, index) for index in indices]
    figure = _draw(plane, cells, titles, max(indices, default=0) + 1, labels.title, _legend_rows(names, len(cells)))
    is_cut = plane.grid.shape[2] > 1 and len(plane.axes) == 2
    parts = [
        replicate_note(*fields),
        plane.note,
        "White: no cell",
        "Numbers are of the whole lattice" if is_cut else "",
    ]
    note = " ".join(f"{part}." for part in parts if part)
    add_legend(figure, _handles(indices, names, cells), _legend_columns(names, len(cells)), note)
    return figure


def count_cells(cells: np.ndarray, index: int) -> int:
    """Cells of a type on the whole lattice."""
    return int((cells == index).sum())


def _draw(
    plane: Plane, cells: list[np.ndarray], titles: list[str], num_types: int, title: str, legend_rows: int
) -> Figure:
    below_mm = 6.0 + _LEGEND_ROW_MM * legend_rows
    if len(plane.axes) == 1:
        figure = new_figure(TWO_COLUMNS_MM, _STRIP_MM * len(cells) + below_mm, title)
        panels = [figure.add_subplot(len(cells), 1, i + 1) for i in range(len(cells))]
    else:
        width_mm, height_mm = (edge / plane.size_um[0] for edge in plane.size_um)
        # Two wide maps are put one above the other.
        columns = 1 if len(cells) == 1 or plane.size_um[0] > 3 * plane.size_um[1] else 2
        page_mm = ONE_COLUMN_MM if len(cells) == 1 and plane.size_um[0] <= 3 * plane.size_um[1] else TWO_COLUMNS_MM
        map_mm = (page_mm / columns - 5.0) * height_mm / width_mm
        rows = -(-len(cells) // columns)
        figure = new_figure(page_mm, rows * (map_mm + 11.0) + below_mm, title)
        panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(cells))]
    for axes, values, text in zip(panels, cells, titles, strict=True):
        show_types(axes, plane, values, num_types)
        axes.set_title(text)
        if len(plane.axes) == 1:
            axes.set_xlabel(f"{AXES[plane.axes[0]]} (µm)")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    return figure


def _handles(indices: list[int], names: list[str], cells: list[np.ndarray]) -> list[Patch]:
    handles = []
    for index, name in zip(indices, names, strict=True):
        numbers = " → ".join(f"{count_cells(each, index):,}" for each in cells)
        handles.append(
            Patch(
                facecolor=categorical_colour(index),
                edgecolor=INK,
                linewidth=0.3,
                label=f"{short_name(name, 28)}: {numbers}",
            )
        )
    return handles


def _legend_columns(names: list[str], num_maps: int) -> int:
    width_mm = ONE_COLUMN_MM if num_maps == 1 else TWO_COLUMNS_MM
    longest = min(max((len(name) for name in names), default=0), 28) + 10 * num_maps + 4
    return max(1, int(width_mm * _CHARACTERS_A_MM / longest))


def _legend_rows(names: list[str], num_maps: int) -> int:
    return -(-len(names) // _legend_columns(names, num_maps))


def _first_replicate(values: np.ndarray) -> np.ndarray:
    return values[0] if values.ndim == 4 else values
