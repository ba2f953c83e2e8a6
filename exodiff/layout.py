"""Where things are: the grid of the lattices, the masks of regions, and the cells that are placed."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.config.geometry import Place, Region, Shaped
from exodiff.config.schema import RunConfig
from exodiff.core.arrays import BITS_DTYPE, Bits, Real
from exodiff.core.axes import AXES
from exodiff.core.errors import ConfigError
from exodiff.io.images import read_labels
from exodiff.io.tables import read_cells_csv
from exodiff.kernels.random import fold, make_stream, site_id, to_unit_interval, voxel_index, words
from exodiff.lattice import shapes
from exodiff.lattice.grid import Grid, Part, Wall
from exodiff.lattice.placement import EMPTY, CellMap, fill, place_points
from exodiff.observe import squared_distance_um2
from exodiff.programs import ONCE

DISTANCE_SLACK = 1e-4  # of a voxel: distances are float32, and the limits often whole voxels


def make_grid(config: RunConfig) -> Grid:
    """The lattice of a config."""
    lattice = config.lattice
    faces = lattice.boundary.faces
    walls: tuple[tuple[Wall, Wall], ...] = tuple(
        (faces[f"{axis}_low"].kind, faces[f"{axis}_high"].kind) for axis in AXES
    )
    lengths = [part.shape[0] for part in lattice.parts.values()]
    parts = tuple(
        Part(name, sum(lengths[:place]), length)
        for place, (name, length) in enumerate(zip(lattice.parts, lengths, strict=True))
    )
    return Grid(lattice.grid_shape, lattice.spacing_um, lattice.fluid_fraction, walls, len(lattice.shape), parts)


def regions_and_cells(config: RunConfig, grid: Grid) -> tuple[dict[str, np.ndarray], CellMap, list[str]]:
    """The masks of all regions, in their order, the placed cells that some are measured from, and warnings."""
    types = list(config.cells)
    lattices = {part.name: laid(shapes.everywhere, grid, part.name) for part in grid.parts}

    def inside(mask: np.ndarray, region: Region) -> np.ndarray:
        return mask if region.region is None else mask & lattices[region.region]

    shaped = lattices | {
        name: inside(region_mask(region, grid, region.region, f"regions.{name}"), region)
        for name, region in config.regions.items()
        if region.of is None
    }
    cells, placed = place_cells(config, grid, shaped)
    warnings = [
        f"place[{number}]: no cell was placed; its shape holds the centre of no empty voxel (positions are in um)"
        for number, found in enumerate(placed)
        if not found
    ]
    masks = {
        name: shaped[name]
        if region.of is None
        else inside(distance_mask(region, cells == types.index(region.of), grid), region)
        for name, region in config.regions.items()
    }
    return lattices | masks, cells, warnings


def laid(draw: Callable[[Grid], np.ndarray], grid: Grid, lattice: str | None) -> np.ndarray:
    """What is drawn on a lattice: of several on the one with a name, or on each for itself."""
    chosen = [part.name for part in grid.parts] if lattice is None else [lattice]
    if not chosen:
        return draw(grid)
    drawn = {name: draw(grid.alone(name)) for name in chosen}
    found = np.zeros(grid.shape, drawn[chosen[0]].dtype)
    for name, values in drawn.items():
        found[grid.part(name).places] = values
    return found


def region_mask(shape: Shaped, grid: Grid, lattice: str | None, where: str) -> np.ndarray:
    """The voxels of a shape or of the labels of an image, in the one of several lattices with a name or in each."""
    if shape.labels is not None:
        labels = _labels(shape.labels, grid, lattice, f"{where}.labels")
        wanted = shape.label if isinstance(shape, Region) else None
        return labels > 0 if wanted is None else labels == wanted
    return laid(partial(_shape_mask, shape), grid, lattice)


def _shape_mask(shape: Shaped, grid: Grid) -> np.ndarray:
    if shape.sphere is not None:
        return shapes.sphere(grid, shape.sphere.radius_um, shape.sphere.centre_um)
    if shape.box is not None:
        return shapes.box(grid, shape.box.low_um, shape.box.high_um)
    if shape.layer is not None:
        return shapes.layer(grid, shape.layer.axis, shape.layer.from_um, shape.layer.to_um)
    if shape.cylinder is not None:
        return shapes.cylinder(grid, shape.cylinder.axis, shape.cylinder.radius_um, shape.cylinder.centre_um)
    if shape.lines is not None:
        return shapes.lines(grid, shape.lines.axis, shape.lines.every_um, shape.lines.offset_um)
    return shapes.everywhere(grid)


def distance_mask(region: Region, cells: np.ndarray, grid: Grid) -> np.ndarray:
    """The voxels whose centres lie at some distances from the nearest cell's; without a cell all are beyond."""
    distance_um = np.sqrt(np.asarray(squared_distance_um2(jnp.asarray(cells), grid)))
    slack_um = DISTANCE_SLACK * max(grid.spacing_um)
    within_um = np.inf if region.within_um is None else region.within_um + slack_um
    beyond_um = -np.inf if region.beyond_um is None else region.beyond_um + slack_um
    return (beyond_um < distance_um) & (distance_um <= within_um)


def _labels(path: Path, grid: Grid, lattice: str | None, where: str) -> np.ndarray:
    """The labels of an image of the whole grid, or of the lattice with a name."""

    def check(shape: Sequence[int]) -> None:
        if math.prod(shape) > grid.num_voxels:
            told = f"{path} has the shape {tuple(shape)}, the lattice {grid.user_shape}; make them equal"
            raise ConfigError(where, told)

    labels = read_labels(path, check)

    def draw(grid: Grid) -> np.ndarray:
        if labels.shape not in (grid.user_shape, grid.shape):
            raise ConfigError(
                where, f"{path} has the shape {labels.shape}, the lattice {grid.user_shape}; make them equal"
            )
        return labels.reshape(grid.shape)

    return draw(grid) if lattice is None else laid(draw, grid, lattice)


def place_cells(config: RunConfig, grid: Grid, masks: Mapping[str, np.ndarray]) -> tuple[CellMap, list[int]]:
    """Place all cells: the index of the cell type in each voxel, and how many voxels each step of ``place`` changed.

    Random choices are addressed by ``run.seed``.
    """
    cells = np.full(grid.shape, EMPTY)
    placed = []
    for number in range(len(config.place)):
        before = cells
        cells = _placed(cells, config, grid, masks, number)
        placed.append(int(np.count_nonzero(cells != before)))
    return cells, placed


def _placed(cells: CellMap, config: RunConfig, grid: Grid, masks: Mapping[str, np.ndarray], number: int) -> CellMap:
    """The cells after one more step of ``place``."""
    place, where, types = config.place[number], f"place[{number}]", list(config.cells)
    lattice = config.lattice_of(place.region)
    mask = region_mask(place, grid, lattice, where)
    if place.region is not None:
        mask = mask & masks[place.region]
    if place.csv is not None:
        return _place_table(cells, place, mask, grid, lattice, types, where)
    uniform = _uniform(config.run.seed, number, grid)
    chosen = {None: place.cells} if isinstance(place.cells, str) else place.cells or {}
    for label, cell in chosen.items():
        assert isinstance(cell, str)
        where_label = (
            mask if label is None else mask & (_labels(_path(place), grid, lattice, f"{where}.labels") == label)
        )
        cells = fill(cells, where_label, types.index(cell), uniform, place.fill, replace=place.replace)
    return cells


def _path(place: Place) -> Path:
    assert place.labels is not None
    return place.labels


def _place_table(
    cells: CellMap, place: Place, mask: np.ndarray, grid: Grid, lattice: str | None, types: Sequence[str], where: str
) -> CellMap:
    assert place.csv is not None
    table = read_cells_csv(place.csv)
    unknown = set(table.cell_type) - set(types)
    if unknown:
        raise ConfigError(
            f"{where}.csv",
            f"{place.csv} has cells of type {min(unknown)!r}, which is not declared; add [cells.{min(unknown)}], or "
            f"rename them to one of: {', '.join(types)}",
        )
    points = np.stack((table.x_um, table.y_um, table.z_um), axis=-1)
    indices = [types.index(cell) for cell in table.cell_type]
    inside, own = (slice(None), grid) if lattice is None else (grid.part(lattice).places, grid.alone(lattice))
    found = cells.copy()
    found[inside] = place_points(
        cells[inside], points, indices, mask[inside], own, f"{where}.csv", replace=place.replace
    )
    return found


def _uniform(seed: int, number: int, grid: Grid) -> np.ndarray:
    """A random number in (0, 1] for each voxel, by address."""
    return np.asarray(_uniform_at(jnp.asarray(seed, BITS_DTYPE), jnp.asarray(number, BITS_DTYPE), grid.shape))


@partial(jax.jit, static_argnames="shape", compiler_options=ONCE)
def _uniform_at(seed: Bits, number: Bits, shape: tuple[int, int, int]) -> Real:
    stream = fold(make_stream(seed, 0), site_id("placement"), number)
    return to_unit_interval(words(stream, voxel_index(shape), 0))
