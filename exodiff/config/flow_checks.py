"""Check [flow] against the names and the lattice: dimensions, finite values, axes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from exodiff.config.flow import VelocityFile
from exodiff.config.names import Namespace, gather
from exodiff.config.schema import RunConfig
from exodiff.core.axes import AXES
from exodiff.core.dimensions import DIMENSIONLESS, VELOCITY, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, is_zero, to_text


def check_flow(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [flow] across tables."""
    flow, lattice = config.flow, config.lattice
    if flow is None:
        return
    if isinstance(flow.velocity, VelocityFile):
        yield from gather([partial(_value, names_of, flow.velocity.scale, DIMENSIONLESS, "flow.velocity.scale")])
        return
    where = "flow.velocity"
    if len(flow.velocity) not in (len(lattice.shape), 3):
        yield ConfigError(
            where,
            f"{len(flow.velocity)} components are given, but the lattice has the axes {', '.join(lattice.axes)}; "
            "write one for each, or three",
        )
    for axis, component in zip(AXES, flow.components(), strict=True):
        checks = [partial(_value, names_of, component, VELOCITY, f"{where}.{axis}")]
        if axis not in lattice.axes:
            checks.append(partial(_still, component, lattice.axes, f"{where}.{axis}"))
        yield from gather(checks)


def _value(names_of: Namespace, expr: Expression, expected: Dimension, where: str) -> None:
    names_of.check_expression(expr, ("parameters",), where)
    if names_of.depends_on_cell(expr):
        raise ConfigError(where, f"{to_text(expr)!r} holds a by_cell parameter, which only rates and decay may")
    found = names_of.dimension_of(expr, where)
    if found != expected and not is_zero(expr):
        raise ConfigError(
            where, f"{to_text(expr)!r} has dimension {found}, but {expected} is needed; correct its units"
        )
    value = names_of.constant(expr)
    if value is not None and not np.all(np.isfinite(value)):
        raise ConfigError(where, f"{to_text(expr)!r} has no finite value here; correct its parameters")


def _still(component: Expression, axes: tuple[str, ...], where: str) -> None:
    if not is_zero(component):
        raise ConfigError(
            where,
            f"{to_text(component)!r} flows along an axis that the lattice does not have (its axes: "
            f"{', '.join(axes)}); write 0",
        )
