"""Infer the dimension of an expression bottom-up, by the rules of the model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exodiff.core.dimensions import DIMENSIONLESS, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.syntax import FORMS, Binary, Call, Compare, Expression, Name, Number, Unary, to_text

LookupDimension = Callable[[Name | Call], Dimension]


def infer_dimension(expr: Expression, lookup_dimension: LookupDimension, where: str) -> Dimension:
    """Return the dimension of an expression; a lone 0, which fits everything, counts as dimensionless.

    Args:
        expr: the tree.
        lookup_dimension: the dimension of each `Name` and of each form such as ``conc(EV)``.
        where: the key path for errors.

    Raises:
        ConfigError: when parts of different dimension are added or compared, or a function takes a dimension
            that it cannot.

    """
    found = _Inference(lookup_dimension, where).infer(expr)
    return DIMENSIONLESS if found is None else found


@dataclass(frozen=True)
class _Inference:
    """Inference of one expression; None stands for the literal 0."""

    lookup: LookupDimension
    where: str

    def infer(self, expr: Expression) -> Dimension | None:
        match expr:
            case Number(value, dimension):
                return None if value == 0 and dimension == DIMENSIONLESS else dimension
            case Name():
                return self.lookup(expr)
            case Unary(_, operand):
                return self.infer(operand)
            case Compare(op, left, right):
                return self.equal(expr, op, (left, right))
            case Binary(op, left, right):
                return self.binary(expr, op, left, right)
            case Call(function, arguments):
                return self.lookup(expr) if function in FORMS else self.call(expr, function, arguments)

    def binary(self, expr: Expression, op: str, left: Expression, right: Expression) -> Dimension | None:
        if op in ("+", "-"):
            return self.equal(expr, op, (left, right))
        if op == "**":
            return self.power(expr, left, right)
        a, b = self.infer(left) or DIMENSIONLESS, self.infer(right) or DIMENSIONLESS
        return a * b if op == "*" else a / b

    def power(self, expr: Expression, base: Expression, exponent: Expression) -> Dimension:
        self.none(expr, exponent, "an exponent")
        dimension = self.infer(base) or DIMENSIONLESS
        if dimension == DIMENSIONLESS:
            return DIMENSIONLESS
        value = _literal(exponent)
        if value is None:
            raise ConfigError(
                self.where,
                f"{to_text(expr)!r} raises {dimension} to a power that is not a number; "
                "divide the base by a quantity of its dimension, or write the exponent as a number",
            )
        return dimension**value

    def call(self, expr: Expression, function: str, arguments: tuple[Expression, ...]) -> Dimension | None:
        if function in ("hill", "hill_down", "saturate"):
            self.equal(expr, function, arguments[:2])
            for item in arguments[2:]:
                self.none(expr, item, "the exponent and the floor of a Hill law")
            return DIMENSIONLESS
        if function in ("exp", "log"):
            self.none(expr, arguments[0], f"the argument of {function}")
            return DIMENSIONLESS
        if function == "sqrt":
            return (self.infer(arguments[0]) or DIMENSIONLESS) ** 0.5
        if function == "where":
            self.infer(arguments[0])
            return self.equal(expr, function, arguments[1:])
        return self.equal(expr, function, arguments)

    def equal(self, expr: Expression, what: str, parts: tuple[Expression, ...]) -> Dimension | None:
        found: Dimension | None = None
        for part in parts:
            dimension = self.infer(part)
            if found is not None and dimension is not None and dimension != found:
                raise ConfigError(
                    self.where,
                    f"{what} in {to_text(expr)!r} mixes {found} and {dimension} (in {to_text(part)!r}); "
                    "give both the same dimension",
                )
            found = dimension if found is None else found
        return found

    def none(self, expr: Expression, part: Expression, what: str) -> None:
        dimension = self.infer(part)
        if dimension not in (None, DIMENSIONLESS):
            raise ConfigError(
                self.where,
                f"{what} must be dimensionless, but {to_text(part)!r} in {to_text(expr)!r} has dimension {dimension}; "
                "divide it by a quantity of that dimension",
            )


def _literal(expr: Expression) -> float | None:
    """Value of a number, a negative number, or a fraction of two of them."""
    match expr:
        case Number(value):
            return value
        case Unary(_, operand):
            inner = _literal(operand)
            return None if inner is None else -inner
        case Binary("/", left, right):
            a, b = _literal(left), _literal(right)
            return None if a is None or not b else a / b
        case _:
            return None
