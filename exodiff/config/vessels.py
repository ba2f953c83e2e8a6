"""[vessels.NAME] as reactions: into the tissue with PS / V of the compartment, back with PS / V of a voxel's fluid."""

from __future__ import annotations

import math
from collections.abc import Iterator

from exodiff.config.schema import Reaction, RunConfig
from exodiff.core.dimensions import VOLUME
from exodiff.core.equations import parse_equation
from exodiff.core.expressions import Binary, Expression, Name, Number


def volume_key(compartment: str) -> str:
    """The parameter that holds the volume of a compartment."""
    return f"compartments.{compartment}.volume"


def surface_key(vessels: str) -> str:
    """The parameter that holds a literal permeability times surface."""
    return f"vessels.{vessels}.permeability_surface"


def vessel_reactions(config: RunConfig) -> Iterator[Reaction]:
    """For each species of all vessels ``NAME.enter.SPECIES`` and ``NAME.leave.SPECIES``."""
    lattice = config.lattice
    fluid = Number(math.prod(lattice.spacing_um) * lattice.fluid_fraction, VOLUME)
    for name, vessels in config.vessels.items():
        given = vessels.permeability_surface
        surface = Name(surface_key(name)) if isinstance(given, Number) else given
        beside = f"{vessels.cells} + " if vessels.cells is not None else ""
        for species in vessels.species:
            inside, outside = f"{beside}{species}", f"{beside}{vessels.compartment}.{species}"
            enters = Binary("/", surface, Name(volume_key(vessels.compartment)))
            yield _reaction(f"{name}.enter.{species}", f"{outside} -> {inside}", enters, vessels.region)
            leaves = Binary("/", surface, fluid)
            yield _reaction(f"{name}.leave.{species}", f"{inside} -> {outside}", leaves, vessels.region)


def _reaction(name: str, equation: str, rate: Expression, region: str | None) -> Reaction:
    parsed = parse_equation(equation, f"vessels.{name}")
    return Reaction.model_construct(name=name, equation=parsed, rate=rate, propensity=None, region=region)
