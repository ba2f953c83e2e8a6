"""Continuous species in the model file: their unit, and values that may stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from exodiff.config.fields import is_number, problem, read_expression, shown
from exodiff.config.units import parse_quantity
from exodiff.core.dimensions import DIMENSIONLESS, PER_VOLUME, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, Number
from exodiff.core.syntax import NO_FORMS

PLAIN = "1"


@dataclass(frozen=True)
class Unit:
    """The unit of a continuous species.

    Attributes:
        text: as written.
        value: one of it in internal units.
        dimension: of it.

    """

    text: str
    value: float
    dimension: Dimension

    @property
    def has_molecules(self) -> bool:
        """Whether it is a number of molecules by volume."""
        return self.dimension == PER_VOLUME


@lru_cache(maxsize=100)
def unit_of(text: str) -> Unit:
    """Read a unit that was checked."""
    if text == PLAIN:
        return Unit(text, 1.0, DIMENSIONLESS)
    value, dimension = parse_quantity(f"1 {text}", "")
    return Unit(text, value, dimension)


def read_unit(text: Any) -> str:
    """Check the unit of a continuous species."""
    advice = 'write e.g. "nM", "mM", "1/um^3", "mmHg", or "1" for a share'
    if not isinstance(text, str):
        raise problem(f"{shown(text)} is no unit; {advice}")
    try:
        unit = unit_of(text)
    except ConfigError as error:
        raise problem(error.problem) from None
    if unit.dimension == DIMENSIONLESS and text != PLAIN:
        raise problem(f"{shown(text)} is a number of molecules or a share, not a concentration; {advice}")
    return text


def read_in_unit(value: Any, unit: Unit) -> Expression:
    """Read a value of a continuous species: a bare number is in its unit."""
    bare = _bare(value)
    if bare is None:
        return read_expression(value, unit.dimension, NO_FORMS)
    return read_expression(Number(bare * unit.value, unit.dimension) if bare >= 0 else bare, None, NO_FORMS)


def _bare(value: Any) -> float | None:
    """A number without a unit, also in quotes."""
    if is_number(value):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
