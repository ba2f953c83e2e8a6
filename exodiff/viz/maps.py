"""Maps of cells and fields in one plane of the lattice."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from exodiff.io.snapshots import FieldArray, Snapshot
from exodiff.viz.style import COLOURS, EMPTY, FIELD_MAP, TWO_COLUMNS_MM, label_time, make_figure

CELLS = "cells"
_COLUMNS = 3
MAX_PANELS = 12


def first_replicate(field: FieldArray) -> np.ndarray:
    """The (x, y, z) array of a field, of replicate 0 if there are several."""
    return field.values[0] if field.values.ndim == 4 else field.values


def plane_of(snapshot: Snapshot) -> int:
    """The z plane with most cells, or the middle one."""
    depth = snapshot.grid.shape[2]
    if CELLS not in snapshot.fields:
        return depth // 2
    filled = (first_replicate(snapshot.fields[CELLS]) >= 0).sum(axis=(0, 1))
    middle = depth // 2
    return middle if filled[middle] >= 0.9 * filled.max() else int(np.argmax(filled))


def draw_cells(snapshots: Sequence[Snapshot], title: str) -> Figure | None:
    """Cell types in one plane, at the first and the last time, with the number of each on the whole lattice."""
    with_cells = [snapshot for snapshot in snapshots if CELLS in snapshot.fields]
    if not with_cells or min(with_cells[0].grid.shape[:2]) < 2:
        return None
    figure = make_figure(TWO_COLUMNS_MM / 2 * len(with_cells), 96.0)
    axes = figure.subplots(1, len(with_cells), squeeze=False)
    for snapshot, panel in zip(with_cells, axes.flat, strict=True):
        legend = {k: v for k, v in (snapshot.fields[CELLS].legend or {}).items() if k >= 0}
        cells = first_replicate(snapshot.fields[CELLS])
        plane = cells[:, :, plane_of(snapshot)]
        colours = ListedColormap([EMPTY, *(COLOURS[i % len(COLOURS)] for i in range(len(legend)))])
        norm = BoundaryNorm(np.arange(-1.5, len(legend) + 0.5), colours.N)
        _show(panel, plane, snapshot, cmap=colours, norm=norm)
        patches = [
            Patch(color=COLOURS[i % len(COLOURS)], label=f"{name} ({int((cells == i).sum())})")
            for i, name in legend.items()
        ]
        panel.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, handlelength=1.0)
        panel.set_title(f"cells at {label_time(snapshot.time_s, with_cells[-1].time_s)}", loc="left")
    figure.suptitle(title, fontsize=8)
    return figure


def draw_fields(snapshot: Snapshot, title: str) -> Figure | None:
    """Every field at one time: maps in one plane, or lines on a lattice of one axis."""
    names = [name for name in snapshot.fields if name != CELLS][:MAX_PANELS]
    flat = sum(n > 1 for n in snapshot.grid.shape)
    if not names or flat == 0:
        return None
    num_columns = min(_COLUMNS, len(names))
    num_rows = -(-len(names) // num_columns)
    figure = make_figure(TWO_COLUMNS_MM / _COLUMNS * num_columns, 12.0 + (58.0 if flat > 1 else 45.0) * num_rows)
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    plane = plane_of(snapshot)
    for name, panel in zip(names, axes.flat, strict=False):
        field = snapshot.fields[name]
        values = first_replicate(field).astype(float)
        unit = field.unit if field.unit != "1" else "per voxel"
        if flat == 1:
            _draw_line(panel, values, snapshot)
            panel.set_ylabel(f"{unit} a voxel" if unit == "molecules" else unit)
        else:
            image = _show(panel, values[:, :, plane], snapshot, cmap=FIELD_MAP, norm=_norm(values[:, :, plane]))
            figure.colorbar(
                image, ax=panel, shrink=0.8, pad=0.02, label=f"{unit} a voxel" if unit == "molecules" else unit
            )
        panel.set_title(name, loc="left")
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    where = f", z = {(plane + 0.5) * snapshot.grid.spacing_um[2]:.3g} um" if snapshot.grid.shape[2] > 1 else ""
    figure.suptitle(f"{title}: at {label_time(snapshot.time_s, snapshot.time_s)}{where}", fontsize=8)
    return figure


def _norm(values: np.ndarray) -> Normalize:
    """Logarithmic from 1 where the counts span more than two decades, else linear from 0."""
    highest = float(values.max(initial=0.0))
    positive = values[values > 0]
    if positive.size and highest > 200 and highest > 100 * np.quantile(positive, 0.1):
        return LogNorm(vmin=max(float(positive.min()), highest * 1e-5), vmax=highest)
    return Normalize(vmin=0.0, vmax=highest if highest > 0 else 1.0)


def _show(panel: Axes, plane: np.ndarray, snapshot: Snapshot, **style: object) -> object:
    """An (x, y) plane with x to the right and y upwards, and a scale bar instead of axes."""
    hx, hy, _ = snapshot.grid.spacing_um
    extent = (0.0, plane.shape[0] * hx, 0.0, plane.shape[1] * hy)
    image = panel.imshow(plane.T, origin="lower", extent=extent, interpolation="nearest", **style)  # pyright: ignore[reportArgumentType]
    panel.set_facecolor(EMPTY)
    panel.set_xticks([])
    panel.set_yticks([])
    for side in panel.spines.values():
        side.set_visible(False)
    _scale_bar(panel, extent[1], extent[3])
    return image


def _scale_bar(panel: Axes, width: float, height: float) -> None:
    wanted = width / 4
    decade = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= wanted)
    x, y = 0.04 * width, 0.045 * height
    panel.plot([x, x + length], [y, y], color="white", linewidth=3.4, solid_capstyle="butt")
    panel.plot([x, x + length], [y, y], color="black", linewidth=1.8, solid_capstyle="butt")
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.0}
    panel.text(x + length / 2, y + 0.025 * height, f"{length:g} um", ha="center", va="bottom", fontsize=6, bbox=box)


def _draw_line(panel: Axes, values: np.ndarray, snapshot: Snapshot) -> None:
    axis = int(np.argmax(snapshot.grid.shape))
    places = (np.arange(snapshot.grid.shape[axis]) + 0.5) * snapshot.grid.spacing_um[axis]
    panel.stairs(values.ravel(), np.append(places - places[0], places[-1] + places[0]), linewidth=1.0)
    panel.set_xlabel(f"{'xyz'[axis]} (um)")
