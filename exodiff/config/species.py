"""The [species.NAME] tables: where molecules live, how they spread and decay, and how many there are at first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationInfo, model_validator

from exodiff.config.concentrations import PLAIN, Unit, read_in_unit, read_unit, unit_of
from exodiff.config.fields import (
    Count,
    DensityExpression,
    DiffusivityExpression,
    ExistingFile,
    Flag,
    PerTimeExpression,
    PositiveLength,
    Table,
    Text,
    TimeExpression,
    Whole,
    choice,
    is_number,
    problem,
    shown,
)
from exodiff.core.expressions import Expression, is_zero


class FromFile(Table):
    """One value a voxel from a .npy file."""

    file: ExistingFile


class PoissonCount(Table):
    """A Poisson count in each voxel (or cell), drawn for each replicate."""

    poisson: Count


class VoxelCount(Table):
    """`count` molecules in one voxel, given by its index."""

    voxel: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1, max_length=3)]
    count: Count


class Density(Table):
    """Molecules by volume of fluid, 1/um^3."""

    density: DensityExpression


Initial = float | Expression | PoissonCount | VoxelCount | Density | FromFile | dict[str, float]
Diffusion = Expression | FromFile | dict[str, Expression] | None

_INITIAL_FORMS: dict[frozenset[str], type[Table]] = {
    frozenset({"poisson"}): PoissonCount,
    frozenset({"voxel", "count"}): VoxelCount,
    frozenset({"density"}): Density,
    frozenset({"file"}): FromFile,
}
_COUNT = TypeAdapter(Count)
_COUNT_BY_CELL = TypeAdapter(dict[Text, Count])
_DIFFUSIVITY = TypeAdapter(DiffusivityExpression)
_DIFFUSIVITY_BY_REGION = TypeAdapter(dict[Text, DiffusivityExpression])


def read_initial(value: Any, info: ValidationInfo) -> Any:
    """Read one of the forms of `initial`."""
    if isinstance(value, Table):
        return value
    if info.data.get("kind") is not None:
        return _read_first_concentration(value, info)
    if is_number(value):
        return _COUNT.validate_python(value)
    if isinstance(value, dict):
        for keys, form in _INITIAL_FORMS.items():
            if keys & set(value):
                return form.model_validate(value, context=info.context)
        if info.data.get("in_") is not None:
            return _COUNT_BY_CELL.validate_python(value)
    raise problem(
        f"{shown(value)} is no initial state; write a number, {{ poisson = 5 }}, {{ voxel = [1, 2, 3], count = 100 }}, "
        '{ density = "1e9 /mL" }, { file = "x.npy" } or, for a species in cells, a table by cell type'
    )


def _read_first_concentration(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict) and "file" in value:
        return FromFile.model_validate(value, context=info.context)
    if isinstance(value, dict):
        raise problem(
            f'{shown(value)} is no concentration; write a number, a quantity, an expression or {{ file = "x.npy" }}'
        )
    unit = _unit_before(info)
    return value if unit is None else read_in_unit(value, unit)


def read_fixed(value: Any, info: ValidationInfo) -> Any:
    """Read the values that a continuous species is held at, by cell type or region."""
    if not isinstance(value, dict) or not value:
        raise problem(f'{shown(value)} holds nothing; write e.g. {{ endothelium = "5.5 mM" }}')
    unit = _unit_before(info)
    return value if unit is None else {str(name): read_in_unit(item, unit) for name, item in value.items()}


def _unit_before(info: ValidationInfo) -> Unit | None:
    """The unit, or None where it is missing or wrong, which is refused by itself."""
    text = info.data.get("unit")
    return None if text is None else unit_of(text)


def read_diffusion(value: Any, info: ValidationInfo) -> Any:
    """Read one of the forms of `diffusion`."""
    if value is None or isinstance(value, Table):
        return value
    if not isinstance(value, dict):
        return _DIFFUSIVITY.validate_python(value)
    if "file" in value:
        return FromFile.model_validate(value, context=info.context)
    if "default" not in value:
        raise problem("a diffusion by region needs a value for the voxels of no region; add default = ...")
    return _DIFFUSIVITY_BY_REGION.validate_python(value)


def write_form(value: Any) -> Any:
    """Write a form of `initial` or `diffusion` as it may stand in a file."""
    if isinstance(value, Table):
        return value.model_dump(by_alias=True, exclude_none=True)
    if isinstance(value, dict):
        return {key: write_form(item) for key, item in value.items()}
    return _DIFFUSIVITY.dump_python(value) if isinstance(value, Expression) else value


class Species(Table):
    """A molecular species: free in the tissue fluid, ``in = "cell"`` of a voxel, or a concentration."""

    in_: Annotated[Literal["cell"] | None, choice("cell")] = Field(default=None, alias="in")
    kind: Annotated[Literal["concentration"] | None, choice("concentration")] = None
    unit: Annotated[str | None, PlainValidator(read_unit)] = None
    solve: Annotated[Literal["steady", "implicit", "explicit"] | None, choice("steady", "implicit", "explicit")] = None
    diffusion: Annotated[Diffusion, PlainValidator(read_diffusion), PlainSerializer(write_form)] = Field(
        default_factory=lambda data: None if data.get("in_") else 0, validate_default=True
    )
    decay: PerTimeExpression | None = None
    half_life: TimeExpression | None = None
    initial: Annotated[Initial, PlainValidator(read_initial), PlainSerializer(write_form)] = Field(
        default=0.0, validate_default=True
    )
    fixed: Annotated[dict[str, Expression] | None, PlainValidator(read_fixed), PlainSerializer(write_form)] = None
    fibre_radius_um: PositiveLength | None = Field(alias="fibre_radius", default=None)
    constant: Flag = False
    on_division: Annotated[Literal["split", "reset"] | None, choice("split", "reset")] = Field(
        default_factory=lambda data: "split" if data.get("in_") else None
    )

    @property
    def in_cell(self) -> bool:
        """Whether it lives in the cell of a voxel."""
        return self.in_ == "cell"

    @property
    def own_unit(self) -> Unit | None:
        """The unit of a continuous species; None for one of whole molecules."""
        return None if self.kind is None or self.unit is None else unit_of(self.unit)

    @property
    def _moves_or_decays(self) -> bool:
        moves = not isinstance(self.diffusion, Expression) or not is_zero(self.diffusion)
        return moves or self.decay is not None or self.half_life is not None

    @model_validator(mode="after")
    def _consistent(self) -> Species:
        if self.decay is not None and self.half_life is not None:
            raise problem("both decay and half_life are given; keep one of them")
        self._is_a_whole_concentration()
        if self.in_cell and self.diffusion is not None:
            raise problem("a species in cells cannot have diffusion; leave it out, or give the cell type a motility")
        if self.in_cell and isinstance(self.initial, VoxelCount | Density | FromFile):
            raise problem("initial of a species in cells is a number, { poisson = ... } or a table by cell type")
        if self.constant and (self.in_cell or self._moves_or_decays):
            raise problem("a constant species is free, without diffusion, decay and half_life; leave these out")
        if not self.in_cell and self.on_division is not None:
            raise problem('on_division is given for a free species; it needs in = "cell"')
        return self

    def _is_a_whole_concentration(self) -> None:
        if self.kind is None:
            given = [key for key in ("unit", "solve", "fixed") if getattr(self, key) is not None]
            given += ["fibre_radius"] if self.fibre_radius_um is not None else []
            if given:
                raise problem(f'{given[0]} belongs to a continuous species; add kind = "concentration"')
            return
        missing = [key for key in ("unit", "solve") if getattr(self, key) is None]
        if missing:
            example = {"unit": '"nM"', "solve": '"steady", "implicit" or "explicit"'}[missing[0]]
            raise problem(f"{missing[0]} is missing; a concentration needs it, e.g. {example}")
        if self.fibre_radius_um is not None and self.unit != PLAIN:
            raise problem('fibre_radius makes it a matrix, which is a share of the volume; write unit = "1"')
        if self.in_cell or self.constant:
            key = 'in = "cell"' if self.in_cell else "constant"
            raise problem(f"{key} and kind are both given; a concentration is in the fluid, leave {key} out")
