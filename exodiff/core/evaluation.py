"""Evaluate expressions on arrays of numpy or jax.numpy, safely at zero counts and for their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from exodiff.core.mobility import hindrance, stokes_einstein
from exodiff.core.syntax import FORMS, Binary, Call, Compare, Expression, Name, Number, Unary

Lookup = Callable[[Name | Call], Any]


def evaluate(expr: Expression, lookup: Lookup, xp: Any) -> Any:  # noqa: PLR0911  (one return a kind of node)
    """Evaluate an expression.

    Args:
        expr: the tree; literals enter as Python floats, so they take the dtype of what they meet.
        lookup: returns a floating array for each `Name` and for each form such as ``conc(EV)`` (a `Call`).
        xp: ``numpy`` or ``jax.numpy``, or a namespace like them with ``rounded``: it gets what a compiler might
            otherwise merge with a sum, so that the bits do not depend on what is compiled together.

    """
    match expr:
        case Number(value):
            return value
        case Name():
            return lookup(expr)
        case Unary(_, operand):
            return -evaluate(operand, lookup, xp)
        case Binary("**", base, exponent):
            return _power(evaluate(base, lookup, xp), _exponent(exponent, lookup, xp))
        case Binary("+" | "-" as op, left, right):
            return _ARITHMETIC[op](_rounded(left, lookup, xp), _rounded(right, lookup, xp))
        case Binary(op, left, right):
            return _ARITHMETIC[op](evaluate(left, lookup, xp), evaluate(right, lookup, xp))
        case Compare(op, left, right):
            return _COMPARISONS[op](evaluate(left, lookup, xp), evaluate(right, lookup, xp))
        case Call(function, arguments):
            if function in FORMS:
                return lookup(expr)
            return _FUNCTIONS[function](xp, *(_rounded(item, lookup, xp) for item in arguments))


def _rounded(expr: Expression, lookup: Lookup, xp: Any) -> Any:
    value = evaluate(expr, lookup, xp)
    is_leaf = isinstance(expr, Number | Name | Compare) or isinstance(value, float)
    return value if is_leaf else as_it_is(value, xp)


def as_it_is(value: Any, xp: Any) -> Any:
    """A product that goes into a sum, with a rounding of its own if the namespace asks for it."""
    return xp.rounded(value) if hasattr(xp, "rounded") else value


def hill(xp: Any, x: Any, half: Any, exponent: Any) -> Any:
    """Hill function r^n / (1 + r^n), r = x / K; 0 for x <= 0.

    Formed as a logistic function of n log r, so that neither large nor small r overflows in float32 and the
    derivative is finite everywhere, also at x = 0 and at K = 0 (the value of a `by_cell` K where no cell is).
    """
    return _hill(xp, x, half, exponent, rising=True)


def hill_down(xp: Any, x: Any, half: Any, exponent: Any, floor: Any) -> Any:
    """Falling Hill function floor + (1 - floor) / (1 + r^n), r = x / K; 1 for x <= 0."""
    return floor + as_it_is((1.0 - floor) * _hill(xp, x, half, exponent, rising=False), xp)


def saturate(xp: Any, x: Any, half: Any) -> Any:
    """Michaelis-Menten saturation x / (K + x); 0 for x <= 0."""
    is_positive = x > 0
    safe = xp.where(is_positive, x, 1.0)
    return xp.where(is_positive, safe / xp.where(is_positive, half + safe, 1.0), 0.0)


def _hill(xp: Any, x: Any, half: Any, exponent: Any, *, rising: bool) -> Any:
    is_positive = x > 0
    is_regular = is_positive & (half > 0)
    ratio = xp.where(is_regular, x, 1.0) / xp.where(is_regular, half, 1.0)
    u = as_it_is(exponent * xp.log(ratio), xp)
    if not rising:
        u = -u
    # Not abs(u): x = K is a value that integer counts do take, and abs has no derivative at 0 to rely on.
    is_high = u >= 0
    decayed = xp.exp(xp.where(is_high, -u, u))
    logistic = xp.where(is_high, 1.0, decayed) / (1.0 + decayed)
    full, empty = (1.0, 0.0) if rising else (0.0, 1.0)
    return xp.where(is_positive, xp.where(is_regular, logistic, full), empty)


def _exponent(expr: Expression, lookup: Lookup, xp: Any) -> Any:
    value = evaluate(expr, lookup, xp)
    # A whole literal stays an int: x**2 is then x*x, defined and differentiable also at x <= 0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _power(base: Any, exponent: Any) -> Any:
    return base**exponent


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "hill": hill,
    "hill_down": hill_down,
    "saturate": saturate,
    "exp": lambda xp, x: xp.exp(x),
    "log": lambda xp, x: xp.log(x),
    "sqrt": lambda xp, x: xp.sqrt(x),
    "min": lambda xp, *items: reduce(xp.minimum, items),
    "max": lambda xp, *items: reduce(xp.maximum, items),
    "where": lambda xp, condition, a, b: xp.where(condition, a, b),
    # what model files cannot write, but macros do
    "stokes_einstein": lambda xp, *items: stokes_einstein(*items),
    "hindrance": hindrance,
}
