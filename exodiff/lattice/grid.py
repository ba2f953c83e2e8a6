"""The lattice of voxels and its walls."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Wall = Literal["reflecting", "periodic", "absorbing", "fixed"]


@dataclass(frozen=True)
class Part:
    """A lattice with a name among several: the voxels from ``first`` along x, so many of them."""

    name: str
    first: int
    length: int

    @property
    def places(self) -> slice:
        """Its voxels along x."""
        return slice(self.first, self.first + self.length)


@dataclass(frozen=True)
class Grid:
    """A box of voxels; always three axes inside, missing ones one voxel thick.

    Several lattices lie side by side along x, in the order of ``parts``: their voxels are no neighbours across the
    border, which is a reflecting wall of both.

    Args:
        shape: voxels along x, y, z.
        spacing_um: edge of a voxel along x, y, z.
        fluid_fraction: share of a voxel in which free molecules move.
        walls: (low, high) wall of each axis; ``periodic`` on both or none.
        num_axes: axes that the user gave; results have this many.
        parts: lattices with a name, which fill the box; empty for one without.

    """

    shape: tuple[int, int, int]
    spacing_um: tuple[float, float, float]
    fluid_fraction: float = 1.0
    walls: tuple[tuple[Wall, Wall], ...] = (
        ("reflecting", "reflecting"),
        ("reflecting", "reflecting"),
        ("reflecting", "reflecting"),
    )
    num_axes: int = 3
    parts: tuple[Part, ...] = ()

    @property
    def num_voxels(self) -> int:
        """Voxels in the box."""
        return math.prod(self.shape)

    @property
    def fluid_volume_um3(self) -> float:
        """Volume of a voxel that free molecules share."""
        return math.prod(self.spacing_um) * self.fluid_fraction

    @property
    def user_shape(self) -> tuple[int, ...]:
        """The shape as the user gave it."""
        return self.shape[: self.num_axes]

    @property
    def size_um(self) -> tuple[float, float, float]:
        """Edge lengths of the box."""
        x, y, z = (n * h for n, h in zip(self.shape, self.spacing_um, strict=True))
        return x, y, z

    def is_periodic(self, axis: int) -> bool:
        """Whether the two ends of an axis are neighbours."""
        return self.walls[axis][0] == "periodic"

    def is_open(self, axis: int) -> bool:
        """Whether molecules can leave through a wall of this axis."""
        return any(wall in ("absorbing", "fixed") for wall in self.walls[axis])

    def can_hop(self, axis: int) -> bool:
        """Whether hops along this axis change anything."""
        return self.longest(axis) > 1 or self.is_open(axis)

    def longest(self, axis: int) -> int:
        """Voxels along an axis of the longest lattice."""
        return max(part.length for part in self.parts) if self.parts and axis == 0 else self.shape[axis]

    def stretches(self, axis: int) -> tuple[tuple[int, int], ...]:
        """First voxel and length of each stretch between two walls along an axis."""
        if self.parts and axis == 0:
            return tuple((part.first, part.length) for part in self.parts)
        return ((0, self.shape[axis]),)

    def stretch_of(self, axis: int) -> np.ndarray:
        """Number of the stretch of each voxel along an axis."""
        lengths = [length for _, length in self.stretches(axis)]
        return np.repeat(np.arange(len(lengths)), lengths)

    def part(self, name: str) -> Part:
        """The place of a lattice with a name."""
        return next(part for part in self.parts if part.name == name)

    def alone(self, name: str) -> "Grid":
        """A lattice with a name by itself."""
        return replace(self, shape=(self.part(name).length, *self.shape[1:]), parts=())

    def fixed_at(self, given: Collection[tuple[int, int]]) -> "Grid":
        """The box with reflecting walls for fixed ones, but at the given (axis, side)."""
        walls = tuple(
            (
                low if low != "fixed" or (axis, 0) in given else "reflecting",
                high if high != "fixed" or (axis, 1) in given else "reflecting",
            )
            for axis, (low, high) in enumerate(self.walls)
        )
        return replace(self, walls=walls)
