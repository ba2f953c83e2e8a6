"""The syntax tree of expressions: frozen nodes hashed by value, walking them, and writing them as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from exodiff.core.dimensions import DIMENSIONLESS, Dimension


@dataclass(frozen=True, slots=True)
class Number:
    """A literal in internal units (um, s, molecules)."""

    value: float
    dimension: Dimension = field(default=DIMENSIONLESS)


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter, species, cell type, region, ``t``, or a dotted name such as ``plasma.EV``."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """A minus sign: `op` is always ``-``."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic; `op` is one of ``+ - * / **``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison, found only as the first argument of `where`; `op` is one of ``< <= > >= == !=``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A function or a special form such as ``conc(EV)``; `hill_down` always carries its floor as 4th argument."""

    function: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Number | Name | Unary | Binary | Compare | Call

# Function -> least and most number of arguments.
FUNCTIONS: dict[str, tuple[int, int]] = {
    "hill": (3, 3),
    "hill_down": (3, 4),
    "saturate": (2, 2),
    "exp": (1, 1),
    "log": (1, 1),
    "sqrt": (1, 1),
    "min": (2, 50),
    "max": (2, 50),
    "where": (3, 3),
}
# Forms take names, not values: what they mean is looked up, not computed.
FORMS: dict[str, tuple[int, int]] = {
    "conc": (1, 1),
    "near": (1, 1),
    "total": (1, 2),
    "mean": (1, 2),
    "events": (1, 2),
}
NO_FORMS: frozenset[str] = frozenset()
RATE_FORMS = frozenset({"conc", "near"})
OBSERVABLE_FORMS = frozenset({"total", "mean", "events"})

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
_UNARY = 3
_ATOM = 5


def children(expr: Expression) -> tuple[Expression, ...]:
    """Return the direct parts of a node, in the order written."""
    match expr:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right) | Compare(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case _:
            return ()


def walk(expr: Expression) -> Iterator[Expression]:
    """Yield every node, parents before children, left to right."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def names(expr: Expression) -> frozenset[str]:
    """Return all names in an expression, also those inside forms such as ``conc(EV)``."""
    return frozenset(node.name for node in walk(expr) if isinstance(node, Name))


def replaced(expr: Expression, replace: Callable[[Expression], Expression | None]) -> Expression:
    """Return the tree with each node for which `replace` gives another one replaced, outermost first."""
    found = replace(expr)
    if found is not None:
        return found
    match expr:
        case Unary(op, operand):
            return Unary(op, replaced(operand, replace))
        case Binary(op, left, right):
            return Binary(op, replaced(left, replace), replaced(right, replace))
        case Compare(op, left, right):
            return Compare(op, replaced(left, replace), replaced(right, replace))
        case Call(function, arguments):
            return Call(function, tuple(replaced(item, replace) for item in arguments))
        case _:
            return expr


def is_zero(expr: Expression) -> bool:
    """Whether the expression is the literal 0, which fits every dimension."""
    return isinstance(expr, Number) and expr.value == 0


def to_text(expr: Expression) -> str:
    """Write an expression so that parsing the text gives the same tree."""
    return _write(expr)[0]


def number_text(value: float) -> str:
    """Write a float in the fewest digits that read back to the same bits, without a trailing ``.0``."""
    text = repr(float(value))
    return text.removesuffix(".0")


def _write(expr: Expression) -> tuple[str, int]:  # noqa: PLR0911  (one return a kind of node)
    match expr:
        case Number(value, dimension):
            unit = "" if dimension == DIMENSIONLESS else f" {dimension}"
            return number_text(value) + unit, _ATOM
        case Name(name):
            return name, _ATOM
        case Unary(op, operand):
            return op + _bracket(operand, _UNARY), _UNARY
        case Compare(op, left, right):
            return f"{_bracket(left, 1)} {op} {_bracket(right, 1)}", 0
        case Call(function, arguments):
            return f"{function}({', '.join(to_text(item) for item in arguments)})", _ATOM
        case Binary("**", base, exponent):
            return f"{_bracket(base, _ATOM)} ** {_bracket(exponent, _UNARY)}", _PRECEDENCE["**"]
        case Binary(op, left, right):
            level = _PRECEDENCE[op]
            return f"{_bracket(left, level)} {op} {_bracket(right, level + 1)}", level


def _bracket(expr: Expression, least: int) -> str:
    text, level = _write(expr)
    return text if level >= least else f"({text})"
