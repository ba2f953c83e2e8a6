"""The [lattice] table: voxels, their size, and what happens at the walls."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exodiff.config.fields import (
    DensityExpression,
    Fraction,
    PositiveLength,
    Table,
    Text,
    Whole,
    nearest,
    problem,
    shown,
)
from exodiff.core.axes import AXES

FACES = ("x_low", "x_high", "y_low", "y_high", "z_low", "z_high")
KINDS = ("reflecting", "periodic", "absorbing")
MAX_VOXELS = 2**32


class Face(Table):
    """One wall; `fixed` holds densities in 1/um^3 by species, what it does not list reflects."""

    kind: Literal["reflecting", "periodic", "absorbing", "fixed"]
    fixed: dict[Text, DensityExpression] = Field(default_factory=dict)


_FIXED = TypeAdapter(dict[Text, DensityExpression])
_LENGTHS = TypeAdapter(tuple[PositiveLength, ...])


def _face(value: Any) -> Face:
    if isinstance(value, Face):
        return value
    if isinstance(value, dict) and set(value) == {"fixed"} and isinstance(value["fixed"], dict):
        return Face(kind="fixed", fixed=_FIXED.validate_python(value["fixed"]))
    if not isinstance(value, str) or value not in KINDS:
        raise problem(f"{shown(value)} is no boundary; choose {', '.join(KINDS)} or {{ fixed = {{ EV = ... }} }}")
    return Face(kind=value)


def _write_face(face: Face) -> Any:
    return {"fixed": face.model_dump()["fixed"]} if face.kind == "fixed" else face.kind


FaceEntry = Annotated[Face, PlainValidator(_face), PlainSerializer(_write_face)]


class Boundary(Table):
    """The six walls."""

    x_low: FaceEntry
    x_high: FaceEntry
    y_low: FaceEntry
    y_high: FaceEntry
    z_low: FaceEntry
    z_high: FaceEntry

    @property
    def faces(self) -> dict[str, Face]:
        """The walls by name, x_low to z_high."""
        return {name: getattr(self, name) for name in FACES}

    def is_periodic(self, axis: str) -> bool:
        """Whether an axis closes on itself."""
        return getattr(self, f"{axis}_low").kind == "periodic"

    @model_validator(mode="after")
    def _periodic_in_pairs(self) -> Boundary:
        for axis in AXES:
            kinds = [getattr(self, f"{axis}_{side}").kind for side in ("low", "high")]
            if kinds.count("periodic") == 1:
                raise problem(f'only one side of {axis} is periodic; write {axis} = "periodic" for the whole axis')
        return self


def spread(value: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Write a boundary face by face; `axes` are those of the lattice, the missing ones always reflect."""
    faces: dict[str, Any] = dict.fromkeys(FACES, "reflecting")
    if not isinstance(value, dict) or set(value) == {"fixed"}:
        return faces | {f"{axis}_{side}": value for axis in axes for side in ("low", "high")}
    for key in value:
        if key not in AXES and key not in FACES:
            raise problem(f"unknown key {key!r}; {nearest(key, [*AXES, *FACES, 'fixed'])}")
        if key[0] not in axes and value[key] != "reflecting":
            raise problem(f"{key!r} names an axis that the lattice does not have; its axes: {', '.join(axes)}")
    for key in value:
        if key in AXES:
            faces |= {f"{key}_low": value[key], f"{key}_high": value[key]}
    return faces | {key: value[key] for key in value if key in FACES}


def _spacing(value: Any, info: ValidationInfo) -> tuple[float, ...]:
    given = value if isinstance(value, list | tuple) else [value] * 3
    lengths = _LENGTHS.validate_python(given)
    num_axes = len(info.data.get("shape", lengths))
    if len(lengths) == num_axes < 3 and len(set(lengths)) == 1:
        lengths = (lengths[0],) * 3
    if len(lengths) != 3:
        raise problem(
            f"{shown(value)} has {len(lengths)} lengths; give one for all axes, or three (the thickness of a missing "
            "axis sets the volume of a voxel)"
        )
    return lengths


def on_three_axes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape with missing axes one voxel thick."""
    x, y, z = (*shape, 1, 1)[:3]
    return x, y, z


class LatticeSettings(Table):
    """The [lattice] table, lengths in um."""

    shape: Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1, max_length=3)]
    spacing_um: Annotated[
        tuple[float, float, float],
        PlainValidator(_spacing),
        PlainSerializer(_LENGTHS.dump_python),
    ] = Field(alias="spacing")
    fluid_fraction: Fraction = 1.0
    represents: Annotated[Whole, Field(ge=1, le=1_000_000_000)] = 1
    boundary: Boundary = Field(default="reflecting", validate_default=True)  # pyright: ignore[reportAssignmentType]

    @property
    def parts(self) -> dict[str, LatticeSettings]:
        """Lattices by name: none, for this one has no name."""
        return {}

    @property
    def copies(self) -> tuple[tuple[str, int], ...]:
        """For how many copies of itself it stands, as pairs of a lattice's name (none) and the number."""
        return (("", self.represents),)

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """The shape with missing axes one voxel thick."""
        return on_three_axes(self.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that the shape gives: a prefix of x, y, z."""
        return AXES[: len(self.shape)]

    @field_validator("shape")
    @classmethod
    def _not_too_many(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(shape) > MAX_VOXELS:
            raise problem(f"{list(shape)} has {math.prod(shape)} voxels; at most {MAX_VOXELS} are allowed")
        return shape

    @field_validator("boundary", mode="before")
    @classmethod
    def _spread(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Boundary):
            return value
        return spread(value, AXES[: len(info.data.get("shape", AXES))])
