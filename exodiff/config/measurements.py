"""The observables that stand for instruments: tracked sizes and counted positives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from exodiff.config.fields import (
    DensityExpression,
    NumberExpression,
    ObservableExpression,
    PositiveLength,
    Table,
    VolumeExpression,
    Whole,
)
from exodiff.core.expressions import Number


class SizeHistogram(Table):
    """Measured diameters of `sample` vesicles of a population, each tracked for so many steps."""

    of: ObservableExpression
    sample: Annotated[Whole, Field(ge=1, le=1_000_000)]
    track_steps: Annotated[Whole, Field(ge=1, le=100_000)]
    bin_um: PositiveLength = Field(alias="bin")
    smallest_um: PositiveLength = Field(alias="smallest")


class Assay(Table):
    """How many vesicles are counted as positive in a sample."""

    of: ObservableExpression
    sample: VolumeExpression
    yield_: NumberExpression = Field(alias="yield", default=Number(1.0))
    background: DensityExpression = Field(default=Number(0.0), validate_default=True)
    false_positive: NumberExpression = Number(0.0)
    detection_limit: NumberExpression = Number(0.0)
