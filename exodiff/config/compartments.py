"""[compartments.NAME] and [vessels.NAME]: amounts outside the lattice, and walls across which vesicles cross to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator

from exodiff.config.fields import (
    EXAMPLES,
    ClearanceExpression,
    Table,
    Text,
    is_number,
    problem,
    read_number,
    shown,
)
from exodiff.core.dimensions import VOLUME
from exodiff.core.syntax import number_text

ELSEWHERE = "elsewhere"
MAX_AMOUNT = 2**62


def _volume(value: object) -> float:
    number = read_number(value, VOLUME, VOLUME)
    if number is None or number.value <= 0:
        raise problem(f"{shown(value)} is not a positive volume; write e.g. {EXAMPLES[VOLUME]}")
    return number.value


def _amount(value: object) -> float:
    if not is_number(value) or not 0 <= float(value) < MAX_AMOUNT:  # pyright: ignore[reportArgumentType]
        raise problem(f"{shown(value)} is not a number of molecules; write one from 0 to 4.6e18, e.g. 1e10")
    return float(value)  # pyright: ignore[reportArgumentType]


Volume = Annotated[
    float, PlainValidator(_volume), PlainSerializer(lambda value: f"{number_text(value)} um^3", return_type=str)
]


class Compartment(Table):
    """A well-mixed volume outside the lattice, and what is in it at first."""

    volume_um3: Volume = Field(alias="volume")
    initial: dict[Text, Annotated[float, PlainValidator(_amount)]] = Field(default_factory=dict)


class Vessels(Table):
    """Walls between a compartment and the fluid of voxels: those of a cell type, of a region, or of both."""

    cells: Text | None = None
    region: Text | None = None
    compartment: Text
    species: Annotated[tuple[Text, ...], Field(min_length=1)]
    permeability_surface: ClearanceExpression
