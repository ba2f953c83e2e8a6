"""Lattices with names, ``[lattice.lung]``, ``[lattice.liver]``: organs, side by side along x in one grid."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    RootModel,
    ValidationInfo,
    model_validator,
)

from exodiff.config.fields import Text, problem
from exodiff.config.lattice import Boundary, LatticeSettings, on_three_axes


class Organs(RootModel[dict[Text, LatticeSettings]]):
    """Lattices by name; what they share is read off the first, as the checks have made sure."""

    model_config = ConfigDict(frozen=True)

    @property
    def parts(self) -> dict[str, LatticeSettings]:
        """The lattices by name, in their order along x."""
        return self.root

    @property
    def _first(self) -> LatticeSettings:
        return next(iter(self.root.values()))

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along x of all together, and along the other axes that they have."""
        return (sum(part.shape[0] for part in self.root.values()), *self._first.shape[1:])

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """The shape with missing axes one voxel thick."""
        return on_three_axes(self.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that the lattices have: a prefix of x, y, z."""
        return self._first.axes

    @property
    def spacing_um(self) -> tuple[float, float, float]:
        """Edge of a voxel along x, y, z."""
        return self._first.spacing_um

    @property
    def fluid_fraction(self) -> float:
        """Share of a voxel in which free molecules move."""
        return self._first.fluid_fraction

    @property
    def boundary(self) -> Boundary:
        """The walls, all of which reflect."""
        return self._first.boundary

    @property
    def copies(self) -> tuple[tuple[str, int], ...]:
        """For how many copies each lattice stands, by name; one pair without a name where they agree."""
        copies = tuple((name, part.represents) for name, part in self.root.items())
        return (("", copies[0][1]),) if len({number for _, number in copies}) == 1 else copies

    @model_validator(mode="before")
    @classmethod
    def _only_names(cls, data: Any) -> Any:
        known = LatticeSettings.known_keys()
        shared = [key for key in data if key in known]
        if shared:
            named = ", ".join(key for key in data if key not in known)
            raise problem(f"{shared[0]!r} stands beside lattices with names ({named}); write it in each of them")
        return data


def has_names(lattice: Any) -> bool:
    """Whether a [lattice] table, as read, holds lattices with names."""
    if not isinstance(lattice, dict):
        return False
    tables = [item for key, item in lattice.items() if isinstance(item, dict) and key != "boundary"]
    return any("shape" in item for item in tables) or (bool(tables) and "shape" not in lattice)


def _lattice(value: Any, info: ValidationInfo) -> LatticeSettings | Organs:
    if isinstance(value, LatticeSettings | Organs):
        return value
    model = Organs if has_names(value) else LatticeSettings
    return model.model_validate(value, context=info.context)


LatticeEntry = Annotated[
    LatticeSettings | Organs,
    PlainValidator(_lattice),
    PlainSerializer(lambda lattice: lattice.model_dump(mode="python", by_alias=True, exclude_none=True)),
]
