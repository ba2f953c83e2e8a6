"""The mathematics of SBML as expressions of the model file, and what can be done with them."""

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Binary, Call, Compare, Expression, Name, Number, Unary
from exodiff.core.syntax import replaced

TIME = Name("<time>")  # no SBML identifier looks like this

_RELATIONS = {
    "AST_RELATIONAL_LT": "<",
    "AST_RELATIONAL_LEQ": "<=",
    "AST_RELATIONAL_GT": ">",
    "AST_RELATIONAL_GEQ": ">=",
    "AST_RELATIONAL_EQ": "==",
    "AST_RELATIONAL_NEQ": "!=",
}
_ZERO, _ONE = Number(0.0), Number(1.0)


class Formulas:
    """Reads mathematics; `libsbml` is the module, whose constants name the kinds of nodes."""

    def __init__(self, libsbml: Any) -> None:
        self.kinds = {
            getattr(libsbml, name): name
            for name in dir(libsbml)
            if name.startswith("AST_") and isinstance(getattr(libsbml, name), int)
        }
        self._numbers = [libsbml.AST_INTEGER, libsbml.AST_REAL, libsbml.AST_REAL_E, libsbml.AST_RATIONAL]

    def expression(self, node: Any, where: str) -> Expression:
        """A value. Comparisons stand only in conditions."""
        if node is None:
            raise ConfigError(where, "has no mathematics; add it, or leave the element out")
        if node.getType() in self._numbers:
            return Number(float(node.getValue()))
        kind = self.kinds.get(node.getType(), "AST_UNKNOWN")
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == "AST_NAME":
            return Name(node.getName())
        if kind == "AST_FUNCTION_PIECEWISE":
            return self._piecewise(node, where)
        parts = [self.expression(node.getChild(i), where) for i in range(node.getNumChildren())]
        make = _OPERATIONS.get(kind)
        if make is None:
            told = node.getName() or kind.removeprefix("AST_").removeprefix("FUNCTION_").lower()
            raise ConfigError(where, f"{told!r} cannot be represented; write it with + - * / ^, exp, log, min, max")
        return make(*parts)

    def condition(self, node: Any, where: str) -> Compare:
        """One comparison; `and`, `or`, `not` become nested ``where``."""
        kind = self.kinds.get(node.getType(), "AST_UNKNOWN") if node is not None else ""
        children = [node.getChild(i) for i in range(node.getNumChildren())] if node is not None else []
        if kind in _RELATIONS and len(children) == 2:
            left, right = (self.expression(child, where) for child in children)
            return Compare(_RELATIONS[kind], left, right)
        parts = [self.condition(child, where) for child in children] if kind in _LOGIC else []
        if not parts:
            raise ConfigError(where, "its condition cannot be represented; write comparisons with and, or, not")
        return Compare(">", _LOGIC[kind](parts), Number(0.5))

    def _piecewise(self, node: Any, where: str) -> Expression:
        count = node.getNumChildren()
        if count % 2 == 0:
            raise ConfigError(where, "a piecewise without an otherwise has no value; add one")
        result = self.expression(node.getChild(count - 1), where)
        for i in range(count - 3, -1, -2):
            value = self.expression(node.getChild(i), where)
            result = Call("where", (self.condition(node.getChild(i + 1), where), value, result))
        return result


def _chain(op: str, empty: float) -> Callable[..., Expression]:
    return lambda *parts: reduce(lambda a, b: Binary(op, a, b), parts) if parts else Number(empty)


def _all(parts: list[Compare]) -> Expression:
    return reduce(lambda inner, part: Call("where", (part, inner, _ZERO)), reversed(parts), _ONE)


def _any(parts: list[Compare]) -> Expression:
    return reduce(lambda inner, part: Call("where", (part, _ONE, inner)), reversed(parts), _ZERO)


def _minus(first: Expression, *second: Expression) -> Expression:
    return Binary("-", first, *second) if second else Unary("-", first)


def _log(*parts: Expression) -> Expression:
    base, value = parts if len(parts) == 2 else (Number(10.0), parts[0])
    return Binary("/", Call("log", (value,)), Call("log", (base,)))


def _root(*parts: Expression) -> Expression:
    degree, value = parts if len(parts) == 2 else (Number(2.0), parts[0])
    return Call("sqrt", (value,)) if degree == Number(2.0) else Binary("**", value, Binary("/", _ONE, degree))


_LOGIC: dict[str, Callable[[list[Compare]], Expression]] = {
    "AST_LOGICAL_AND": _all,
    "AST_LOGICAL_OR": _any,
    "AST_LOGICAL_NOT": lambda parts: Call("where", (parts[0], _ZERO, _ONE)),
}
_CONSTANTS: dict[str, Expression] = {
    "AST_NAME_TIME": TIME,
    "AST_NAME_AVOGADRO": Number(6.02214076e23),
    "AST_CONSTANT_E": Number(math.e),
    "AST_CONSTANT_PI": Number(math.pi),
}
_OPERATIONS: dict[str, Callable[..., Expression]] = {
    "AST_PLUS": _chain("+", 0.0),
    "AST_TIMES": _chain("*", 1.0),
    "AST_MINUS": _minus,
    "AST_DIVIDE": lambda a, b: Binary("/", a, b),
    "AST_POWER": lambda a, b: Binary("**", a, b),
    "AST_FUNCTION_POWER": lambda a, b: Binary("**", a, b),
    "AST_FUNCTION_ROOT": _root,
    "AST_FUNCTION_EXP": lambda a: Call("exp", (a,)),
    "AST_FUNCTION_LN": lambda a: Call("log", (a,)),
    "AST_FUNCTION_LOG": _log,
    "AST_FUNCTION_ABS": lambda a: Call("max", (a, Unary("-", a))),
    "AST_FUNCTION_MIN": lambda *parts: Call("min", parts),
    "AST_FUNCTION_MAX": lambda *parts: Call("max", parts),
}


def substitute(expr: Expression, values: Mapping[str, Expression]) -> Expression:
    """Replace names by expressions, all at once."""
    return replaced(expr, lambda node: values.get(node.name) if isinstance(node, Name) else None)


def simplified(expr: Expression) -> Expression:  # noqa: PLR0911  (one return a kind of node)
    """The same value with numbers put together: sums of numbers, and one number in front of a product."""
    match expr:
        case Unary(op, operand):
            inner = simplified(operand)
            return Number(-inner.value) if isinstance(inner, Number) else Unary(op, inner)
        case Binary("*" | "/"):
            return _product(expr)
        case Binary(op, left, right):
            a, b = simplified(left), simplified(right)
            if isinstance(a, Number) and isinstance(b, Number) and op in ("+", "-"):
                return Number(a.value + b.value if op == "+" else a.value - b.value)
            return Binary(op, a, b)
        case Call(function, arguments):
            return Call(function, tuple(simplified(item) for item in arguments))
        case Compare(op, left, right):
            return Compare(op, simplified(left), simplified(right))
        case _:
            return expr


def _product(expr: Expression) -> Expression:
    number, above, below = 1.0, [], []

    def collect(part: Expression, *, upward: bool) -> None:
        nonlocal number
        if isinstance(part, Binary) and part.op in ("*", "/"):
            collect(part.left, upward=upward)
            collect(part.right, upward=upward == (part.op == "*"))
            return
        part = simplified(part)
        if isinstance(part, Number) and (upward or part.value != 0):
            number = number * part.value if upward else number / part.value
        else:
            (above if upward else below).append(part)

    collect(expr, upward=True)
    if number == 0:
        return _ZERO
    for part in [part for part in below if part in above]:
        if part in above:
            above.remove(part)
            below.remove(part)
    factors = above if number == 1 and above else [Number(number), *above]
    top = reduce(lambda a, b: Binary("*", a, b), factors)
    return reduce(lambda a, b: Binary("/", a, b), below, top)
