"""The lattice of voxels and its walls."""

import math
from dataclasses import dataclass
from typing import Literal

Wall = Literal["reflecting", "periodic", "absorbing", "fixed"]


@dataclass(frozen=True)
class Grid:
    """A box of voxels; always three axes inside, missing ones one voxel thick.

    Args:
        shape: voxels along x, y, z.
        spacing_um: edge of a voxel along x, y, z.
        fluid_fraction: share of a voxel in which free molecules move.
        walls: (low, high) wall of each axis; ``periodic`` on both or none.
        num_axes: axes that the user gave; results have this many.

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
        return self.shape[axis] > 1 or self.is_open(axis)
