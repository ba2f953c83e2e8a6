"""The [flow] table: how the tissue fluid moves, and with it every free species that diffuses."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationInfo

from exodiff.config.fields import (
    ExistingFile,
    RatioExpression,
    Table,
    VelocityExpression,
    problem,
    shown,
)
from exodiff.core.expressions import Expression, Number


class VelocityFile(Table):
    """Velocities at the centres of the voxels from a .npy file, (axis, x, y, z) in um/s, times a factor."""

    file: ExistingFile
    scale: RatioExpression = Field(default=1, validate_default=True)


Velocity = tuple[Expression, ...] | VelocityFile

_COMPONENTS = TypeAdapter(tuple[VelocityExpression, ...])


def _velocity(value: Any, info: ValidationInfo) -> Velocity:
    if isinstance(value, VelocityFile):
        return value
    if isinstance(value, dict):
        return VelocityFile.model_validate(value, context=info.context)
    if isinstance(value, list | tuple) and 1 <= len(value) <= 3:
        return _COMPONENTS.validate_python(value)
    raise problem(
        f'{shown(value)} is no velocity; write one value an axis, e.g. ["0.1 um/s", 0, 0], or {{ file = "v.npy" }}'
    )


def _write(value: Velocity) -> Any:
    return value.model_dump() if isinstance(value, VelocityFile) else _COMPONENTS.dump_python(value)


class Flow(Table):
    """A uniform velocity, one expression an axis, or a field of them from a file."""

    velocity: Annotated[Velocity, PlainValidator(_velocity), PlainSerializer(_write)]

    def components(self) -> tuple[Expression, Expression, Expression]:
        """A uniform velocity along x, y and z."""
        assert not isinstance(self.velocity, VelocityFile)
        x, y, z = (*self.velocity, Number(0.0), Number(0.0))[:3]
        return x, y, z
