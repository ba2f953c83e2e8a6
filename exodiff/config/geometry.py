"""The tables that say where: shapes, regions, placement of cells."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from exodiff.config.fields import (
    Axis,
    ExistingFile,
    Flag,
    Fraction,
    Length,
    Point,
    PositiveLength,
    Table,
    Text,
    Whole,
    problem,
    shown,
)

SHAPES = ("everywhere", "sphere", "box", "layer", "cylinder", "lines")


class Sphere(Table):
    """All voxels within `radius_um` of the centre (None: the middle of the lattice)."""

    radius_um: PositiveLength = Field(alias="radius")
    centre_um: Point | None = Field(default=None, alias="centre")


class Box(Table):
    """All voxels between two corners, in um from the lattice's corner."""

    low_um: Point = Field(alias="low")
    high_um: Point = Field(alias="high")

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        if len(self.low_um) != len(self.high_um):
            raise problem("low and high have different lengths; give one number for each axis in both")
        if any(low >= high for low, high in zip(self.low_um, self.high_um, strict=True)):
            raise problem(f"low {self.low_um} is not below high {self.high_um} um; swap or change them")
        return self


class Layer(Table):
    """All voxels with `from_um` <= position < `to_um` along one axis."""

    axis: Axis
    from_um: Length = Field(alias="from")
    to_um: Length = Field(alias="to")

    @model_validator(mode="after")
    def _ordered(self) -> Layer:
        if self.from_um >= self.to_um:
            raise problem(f"from {self.from_um} is not below to {self.to_um} um; swap or change them")
        return self


class Cylinder(Table):
    """All voxels within `radius_um` of a line along `axis`.

    `centre_um` holds the other two axes' positions in order, or a full point; None is the middle of the lattice.
    """

    axis: Axis
    radius_um: PositiveLength = Field(alias="radius")
    centre_um: Point | None = Field(default=None, alias="centre")


class Lines(Table):
    """Lines of voxels along `axis`, `every_um` apart in the other two axes, the first at `offset_um` in both."""

    axis: Axis
    every_um: PositiveLength = Field(alias="every")
    offset_um: Length = Field(alias="offset", default_factory=lambda data: data.get("every_um", 1.0) / 2)


class Shaped(Table):
    """What regions and placement share: exactly one shape."""

    everywhere: Flag | None = None
    sphere: Sphere | None = None
    box: Box | None = None
    layer: Layer | None = None
    cylinder: Cylinder | None = None
    lines: Lines | None = None
    labels: ExistingFile | None = None

    @model_validator(mode="after")
    def _everywhere_is_true(self) -> Shaped:
        if self.everywhere is False:
            raise problem("everywhere = false places nothing; leave it out or write everywhere = true")
        return self

    def given(self, *keys: str) -> list[str]:
        """Which of the keys are set."""
        return [key for key in keys if getattr(self, key) is not None]


class Region(Shaped):
    """A named set of voxels: a shape, the voxels of an image with `label` (None: any but 0), or those by distance.

    With `of` it holds the voxels at most `within_um` and more than `beyond_um` from the nearest placed cell of a type.
    Of several lattices it lies in the one that `region` names, or in each.
    """

    region: Text | None = None
    label: Whole | None = None
    of: Text | None = None
    within_um: PositiveLength | None = Field(default=None, alias="within")
    beyond_um: PositiveLength | None = Field(default=None, alias="beyond")

    @model_validator(mode="after")
    def _one_shape(self) -> Region:
        _require_one(self.given(*SHAPES, "labels", "of"), (*SHAPES, "labels", "of"))
        limits = self.given("within_um", "beyond_um")
        if (self.of is None) != (not limits):
            raise problem('of needs within, beyond or both, and they need of, e.g. of = "tumour", within = "40 um"')
        if self.within_um is not None and self.beyond_um is not None and self.beyond_um >= self.within_um:
            raise problem(
                f"beyond {self.beyond_um:g} um is not below within {self.within_um:g} um; swap or change them"
            )
        if self.label is not None and self.labels is None:
            raise problem("label is given without labels; add labels = 'FILE'")
        return self


def _cells(value: Any) -> str | dict[int, str]:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value:
        digits = {str(label): name for label, name in value.items()}
        if all(label.isascii() and label.isdigit() and len(label) < 10 for label in digits) and all(
            isinstance(name, str) for name in digits.values()
        ):
            return {int(label): name for label, name in digits.items()}
    raise problem(f'{shown(value)} is not a cell type; write "tumour", or with labels also {{ 1 = "tumour" }}')


CellsOrLabels = Annotated[
    str | dict[int, str],
    PlainValidator(_cells),
    PlainSerializer(lambda cells: cells if isinstance(cells, str) else {str(key): cells[key] for key in cells}),
]


class Place(Shaped):
    """One step of filling the lattice with cells.

    Exactly one of the shapes, `csv` (columns x, y, z in um and type) or `labels` (an image; `cells` may then map
    labels to types) says where; `region` alone is a shape too, beside another shape it restricts that.
    """

    cells: CellsOrLabels | None = None
    csv: ExistingFile | None = None
    region: Text | None = None
    fill: Fraction = 1.0
    replace: Flag = False

    @model_validator(mode="after")
    def _one_shape(self) -> Place:
        shapes = (*SHAPES, "labels", "csv")
        given = self.given(*shapes)
        if not (self.region is not None and not given):
            _require_one(given, (*shapes, "region"))
        if self.csv is not None and self.cells is not None:
            raise problem("cells is given beside csv, whose column 'type' says the cell types; leave cells out")
        if self.csv is None and self.cells is None:
            raise problem('cells is missing; write the cell type to place, e.g. cells = "tumour"')
        if isinstance(self.cells, dict) and self.labels is None:
            raise problem('cells maps labels without labels; add labels = "FILE", or write one cell type')
        return self


def _require_one(given: list[str], allowed: tuple[str, ...]) -> None:
    if len(given) != 1:
        have = "none is given" if not given else "given: " + ", ".join(given)
        raise problem(f"exactly one of {', '.join(allowed)} is needed; {have}")
