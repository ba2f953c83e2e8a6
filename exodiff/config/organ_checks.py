"""Check lattices with names: what all of them share, their walls, and the shapes that are laid in one of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from exodiff.config.lattice import MAX_VOXELS, LatticeSettings
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError


def check_organs(config: RunConfig) -> Iterator[ConfigError]:
    """Yield what is wrong with [lattice.NAME] across lattices."""
    parts = config.lattice.parts
    for name, part in parts.items():
        yield from _differs(part, *next(iter(parts.items())), f"lattice.{name}")
        for face, wall in part.boundary.faces.items():
            if wall.kind != "reflecting":
                yield ConfigError(
                    f"lattice.{name}.boundary",
                    f"{face} is {wall.kind}, but the walls of lattices with names reflect, others are not yet "
                    "supported; leave boundary out",
                )
                break
    if parts and prod(config.lattice.shape) > MAX_VOXELS:
        yield ConfigError("lattice", f"all lattices have {prod(config.lattice.shape)} voxels; at most {MAX_VOXELS}")


def _differs(part: LatticeSettings, name: str, first: LatticeSettings, where: str) -> Iterator[ConfigError]:
    """All lattices lie in one grid, so they share all but their length along x and what they represent."""
    if part.shape[1:] != first.shape[1:]:
        yield ConfigError(
            f"{where}.shape",
            f"{list(part.shape)} and {list(first.shape)} of {name!r} differ beyond x; lattices lie side by side along "
            "x, so give all the same voxels along y and z",
        )
    for key, own, other in (
        ("spacing", part.spacing_um, first.spacing_um),
        ("fluid_fraction", part.fluid_fraction, first.fluid_fraction),
    ):
        if own != other:
            yield ConfigError(
                f"{where}.{key}", f"{own} differs from {other} of {name!r}; all lattices of a file share one, write it"
            )
