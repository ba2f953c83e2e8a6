"""A movie of a run: the cells and some fields at every snapshot, in colours that mean the same in all frames."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from exodiff.config.fields import nearest
from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.atomic import make_folder, refuse_links, replace_file
from exodiff.io.results import SnapshotReader
from exodiff.viz.fields import add_cell_legend, draw_field, field_names, grid_of_maps, page_of_maps
from exodiff.viz.labels import Labels, read_labels
from exodiff.viz.panels import add_note
from exodiff.viz.planes import CELLS, Plane, choose_plane, read_field, replicate_note
from exodiff.viz.scales import time_unit
from exodiff.viz.style import RC

FILE = "movie.gif"
DEFAULT_FIELDS = 2
_DPI = 110
_LAST_FRAME_S = 2.0


def make_movie(run_dir: Path, fields: Sequence[str] = (), frames_per_s: float = 5.0) -> Path:
    """Draws ``figures/movie.gif`` of a run, one frame a snapshot; maps are of replicate 0.

    Args:
        run_dir: of a run.
        fields: what is shown beside the cells; by default the first free species.
        frames_per_s: speed, 0.1 to 50.

    Raises:
        ConfigError: there are fewer than two snapshots, or a field is in none of them.
        RunDirectoryError: a snapshot is damaged, or the file cannot be written.

    """
    reader, labels = SnapshotReader(run_dir), read_labels(run_dir)
    if len(reader) < 2:
        raise ConfigError(str(run_dir), f"{len(reader)} snapshots make no movie; run with a shorter run.snapshot_every")
    if not 0.1 <= frames_per_s <= 50:
        raise ConfigError("--speed", f"{frames_per_s:g} frames a second; give 0.1 to 50")
    known = field_names(reader, labels)
    for name in fields:
        if name not in known:
            raise ConfigError("--field", f"the snapshots hold no {name!r}; {nearest(name, known)}")
    cells = read_field(reader, -1, CELLS)
    plane = choose_plane(reader.grid, None if cells is None else cells.values, labels.lattices)
    if plane is None or len(plane.axes) < 2:
        raise ConfigError(str(run_dir), "a movie shows a plane, and this lattice has none; see figures/observables.png")
    names = [*([CELLS] if cells is not None else []), *(fields or known[:DEFAULT_FIELDS])]
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        frames = _frames(reader, plane, labels, names)
    path = run_dir / "figures" / FILE
    times_ms = [int(1000 / frames_per_s)] * (len(frames) - 1) + [int(1000 * _LAST_FRAME_S)]
    refuse_links([path.parent])
    try:
        make_folder(path.parent)
        with replace_file(path) as temporary:
            first, *others = frames
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=times_ms, loop=0)
    except OSError as error:
        problem = f"could not be written ({error.strerror}); make room or fix the permissions, then `exodiff movie`"
        raise RunDirectoryError(str(path), f"{problem} {run_dir}") from error
    return path


def _frames(reader: SnapshotReader, plane: Plane, labels: Labels, names: Sequence[str]) -> list[Image.Image]:
    series = {name: [read_field(reader, place, name) for place in range(len(reader))] for name in names}
    covered = {
        name: np.concatenate([plane.cut(field.values).ravel() for field in shown if field is not None])
        for name, shown in series.items()
    }
    unit = time_unit(float(reader.times_s[-1]))
    frames = []
    for place, time_s in enumerate(reader.times_s):
        rows, columns, width_mm = grid_of_maps(plane, len(names))
        figure, panel_mm = page_of_maps(plane, rows, columns, width_mm, labels.title)
        cells = series[CELLS][place] if CELLS in series else None
        for panel, name in enumerate(names):
            axes = figure.add_subplot(rows, columns, panel + 1)
            draw_field(axes, name, series[name][place], cells, plane, labels, panel_mm, covered[name])
        if cells is not None:
            add_cell_legend(figure, np.unique(covered[CELLS]), cells.legend)
        notes = [unit.text(float(time_s)), replicate_note(*(series[name][place] for name in names)), plane.note]
        add_note(figure, " ".join(f"{note}." for note in notes if note))
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
        frames.append(Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE))
    return frames
