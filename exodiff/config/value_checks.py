"""Check one value against the names: is each defined, has it the dimension that is needed, is it negative."""

from __future__ import annotations

import numpy as np

from exodiff.config.fields import EXAMPLES
from exodiff.config.names import Namespace
from exodiff.core.dimensions import TIME, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, is_zero, names, to_text

PARAMETERS = ("parameters",)
STATE = ("parameters", "species", "cells", "pools")
OF_LATTICE = ("parameters", "pools", "elsewhere")


def check_value(
    names_of: Namespace, expr: Expression, expected: Dimension, where: str, *, by_cell: bool = False
) -> None:
    """Check an expression of parameters: names, dimension, sign."""
    names_of.check_expression(expr, PARAMETERS, where)
    if not by_cell and names_of.depends_on_cell(expr):
        raise ConfigError(where, f"{to_text(expr)!r} holds a by_cell parameter, which only rates and decay may")
    check_dimension(names_of, expr, (expected,), where)
    check_not_negative(names_of, expr, where)


def check_rate(
    names_of: Namespace, expr: Expression, allowed: tuple[Dimension, ...], where: str, why: str = ""
) -> None:
    """Check an expression of the state: names, dimension, sign, and whether a step can follow it."""
    names_of.check_expression(expr, STATE, where, time=True)
    check_dimension(names_of, expr, allowed, where, why)
    check_not_negative(names_of, expr, where)
    run = names_of.config.run
    if "t" in names(expr) and run.time_step == "auto" and run.engine != "exact":
        raise ConfigError(
            where,
            f"{to_text(expr)!r} changes with the time t, how fast is not known; give run.time_step",
        )


def check_half_life(names_of: Namespace, expr: Expression, where: str) -> None:
    """Check a positive time."""
    if is_zero(expr):
        raise ConfigError(where, "0 is no half-life; give a positive time, or leave it out for no decay")
    check_value(names_of, expr, TIME, where)
    value = names_of.constant(expr)
    if value is not None and np.any(value <= 0):
        raise ConfigError(where, f"{to_text(expr)!r} is {float(value.min()):g} s here; give a positive time")


def check_dimension(
    names_of: Namespace, expr: Expression, allowed: tuple[Dimension, ...], where: str, why: str = ""
) -> None:
    """Refuse another dimension than those allowed; the literal 0 fits all."""
    found = names_of.dimension_of(expr, where)
    if found in allowed or is_zero(expr):
        return
    needed = " or ".join(str(item) for item in allowed)
    example = EXAMPLES.get(allowed[0], f'"1e-4 {allowed[0]}"')
    raise ConfigError(
        where,
        f"{to_text(expr)!r} has dimension {found}, but {needed} is needed{why}; write e.g. {example}, "
        "or correct the units of its parameters",
    )


def check_not_negative(names_of: Namespace, expr: Expression, where: str) -> None:
    """Refuse what is negative, or has no finite value, with the parameters of the file."""
    value = names_of.constant(expr)
    if value is None:
        return
    if np.any(value < 0):
        raise ConfigError(where, f"{to_text(expr)!r} is negative here ({float(value.min()):g}); give 0 or more")
    if not names_of.depends_on_cell(expr) and not np.all(np.isfinite(value)):
        raise ConfigError(where, f"{to_text(expr)!r} has no finite value here; correct its parameters")
