"""Read expressions from text. They are parsed against a whitelist into a syntax tree, never evaluated as code.

Also gives the whole expression language in one place: the nodes, `walk`, `names`, `evaluate`, `infer_dimension`.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from collections.abc import Set as AbstractSet

from exodiff.core.dimension_rules import infer_dimension
from exodiff.core.errors import ConfigError
from exodiff.core.evaluation import evaluate
from exodiff.core.syntax import (
    FORMS,
    FUNCTIONS,
    NO_FORMS,
    OBSERVABLE_FORMS,
    RATE_FORMS,
    Binary,
    Call,
    Compare,
    Expression,
    Name,
    Number,
    Unary,
    children,
    is_zero,
    names,
    to_text,
    walk,
)

__all__ = [
    "FORMS",
    "FUNCTIONS",
    "NO_FORMS",
    "OBSERVABLE_FORMS",
    "RATE_FORMS",
    "RESERVED",
    "Binary",
    "Call",
    "Compare",
    "Expression",
    "Name",
    "Number",
    "Unary",
    "check_identifier",
    "evaluate",
    "infer_dimension",
    "is_zero",
    "names",
    "parse",
    "parse_condition",
    "to_text",
    "walk",
]

MAX_CHARACTERS = 2_000
MAX_NODES = 500
MAX_DEPTH = 100
MAX_EXPONENT = 64
MAX_DOTS = 2
# Words of Python's grammar cannot be told from names by the parser that reads expressions.
RESERVED = frozenset(FUNCTIONS) | frozenset(FORMS) | {"t"} | frozenset(keyword.kwlist)

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9_ \t\r\n.,+\-*/^()<>=!]")
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def parse(text: str, where: str, forms: AbstractSet[str] = RATE_FORMS) -> Expression:
    """Read one expression.

    Args:
        text: arithmetic over names and numbers; ``^`` and ``**`` both mean power.
        where: the key path for errors.
        forms: which special forms are allowed here, out of `FORMS`.

    Raises:
        ConfigError: for anything outside the whitelist or over the bounds on size.

    """
    return _Parser(_cleaned(text, where), where, forms).expression()


def parse_condition(text: str, where: str, forms: AbstractSet[str] = OBSERVABLE_FORMS) -> Compare:
    """Read one comparison, such as ``total(EV) > 1000``; arguments and errors as of :func:`parse`."""
    return _Parser(_cleaned(text, where), where, forms).comparison()


def check_identifier(name: str, where: str) -> None:
    """Refuse what cannot be a name: other characters, double underscores around it, reserved words."""
    if not _IDENTIFIER.fullmatch(name) or len(name) > 100:
        raise ConfigError(where, f"{_shown(name)} is not a name; use letters, digits and _, not starting with a digit")
    if name.startswith("__"):
        raise ConfigError(where, f"{_shown(name)} starts with two underscores; choose another name")
    if name in RESERVED:
        raise ConfigError(where, f"{_shown(name)} is a reserved word; choose another name")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _cleaned(text: str, where: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            where, f"the expression has {len(text)} characters; at most {MAX_CHARACTERS} are allowed, shorten it"
        )
    foreign = _FOREIGN.search(text)
    if foreign:
        raise ConfigError(
            where,
            f"{foreign.group()!r} in {_shown(text)} is not allowed; "
            "an expression holds names, numbers, + - * / ^ ( ) and functions",
        )
    flat = " ".join(text.split())
    if not flat:
        raise ConfigError(where, "the expression is empty; write a number, a quantity or an expression")
    return flat.replace("^", "**")


class _Parser:
    """Turns Python's own tree of one bounded string into ours, node by whitelisted node."""

    def __init__(self, text: str, where: str, forms: AbstractSet[str]) -> None:
        self.text = text
        self.where = where
        self.forms = forms
        self.num_nodes = 0

    def expression(self) -> Expression:
        expr = self.convert(self.tree(), 0)
        self.constant(expr)
        return expr

    def comparison(self) -> Compare:
        expr = self.condition(self.tree(), 0)
        self.constant(expr)
        return expr

    def tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except (SyntaxError, RecursionError, MemoryError, ValueError):
            raise ConfigError(
                self.where,
                f"{_shown(self.text)} is not an expression; write arithmetic such as 'k * hill(EV, K, 2)', "
                "or a quantity such as '3 /h'",
            ) from None

    def refuse(self, node: ast.AST, problem: str) -> ConfigError:
        piece = ast.get_source_segment(self.text, node) or self.text  # pyright: ignore[reportArgumentType]
        return ConfigError(self.where, f"{_shown(piece)} {problem}")

    def convert(self, node: ast.expr, depth: int) -> Expression:
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError(
                self.where,
                f"{_shown(self.text)} is too large; at most {MAX_NODES} terms and {MAX_DEPTH} levels, split it up",
            )
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name() | ast.Attribute():
                return self.name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                inner = self.convert(operand, depth + 1)
                return Unary("-", inner) if isinstance(node.op, ast.USub) else inner
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return Binary(_OPERATORS[type(op)], self.convert(left, depth + 1), self.convert(right, depth + 1))
            case ast.Call():
                return self.call(node, depth)
            case ast.Compare():
                raise self.refuse(node, "is a comparison, which is allowed only as the condition of where(...)")
            case _:
                raise self.refuse(node, "is not allowed; use names, numbers, + - * / ^ and " + self.functions())

    def number(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self.refuse(node, "is not a real number")
        try:
            value = float(node.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self.refuse(node, "is too large; numbers stay below 1e308")
        return Number(value)

    def name(self, node: ast.Name | ast.Attribute) -> Name:
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or len(parts) > MAX_DOTS:
            raise self.refuse(node, f"is not a name; at most {MAX_DOTS} dots are allowed, as in tEV.s1.bound")
        parts = [inner.id, *reversed(parts)]
        for part in parts:
            if part.startswith("__"):
                raise self.refuse(node, "is not allowed; names do not start with two underscores")
            if part in FUNCTIONS or part in FORMS:
                raise self.refuse(node, f"is a function; write {part}(...)")
        return Name(".".join(parts))

    def call(self, node: ast.Call, depth: int) -> Call:
        if not isinstance(node.func, ast.Name):
            raise self.refuse(node, "is not a call of a known function; allowed: " + self.functions())
        function = node.func.id
        if function in FORMS and function not in self.forms:
            raise self.refuse(node, f"is not allowed here ({function} has no meaning in this key)")
        if function not in FUNCTIONS and function not in FORMS:
            raise self.refuse(node, f"calls {_shown(function)}, which is not a function; allowed: " + self.functions())
        given = [*node.args, *self.keywords(node, function)]
        least, most = (FUNCTIONS if function in FUNCTIONS else FORMS)[function]
        if not least <= len(given) <= most:
            need = str(least) if least == most else f"{least} to {most}"
            raise self.refuse(node, f"has {len(given)} arguments; {function} takes {need}")
        arguments = self.arguments(function, given, depth)
        if function == "hill_down" and len(arguments) == 3:
            arguments = (*arguments, Number(0.0))
        return Call(function, arguments)

    def keywords(self, node: ast.Call, function: str) -> list[ast.expr]:
        if not node.keywords:
            return []
        if function != "hill_down" or [item.arg for item in node.keywords] != ["floor"] or len(node.args) != 3:
            raise self.refuse(node, "names an argument; only hill_down(x, K, n, floor=...) may")
        return [node.keywords[0].value]

    def arguments(self, function: str, given: list[ast.expr], depth: int) -> tuple[Expression, ...]:
        if function == "where":
            return (self.condition(given[0], depth + 1), *(self.convert(item, depth + 1) for item in given[1:]))
        converted = tuple(self.convert(item, depth + 1) for item in given)
        if function in FORMS and not all(isinstance(item, Name) for item in converted):
            raise ConfigError(self.where, f"{function}(...) in {_shown(self.text)} takes names, not values")
        return converted

    def condition(self, node: ast.expr, depth: int) -> Compare:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return Compare(_OPERATORS[type(op)], self.convert(left, depth + 1), self.convert(right, depth + 1))
            case _:
                raise self.refuse(node, "is not a condition; write one comparison such as EV > 10")

    def functions(self) -> str:
        return ", ".join([*FUNCTIONS, *sorted(self.forms)])

    def constant(self, expr: Expression) -> float | None:
        """Value of a part without names; checks on the way that no constant part overflows or is undefined."""
        match expr:
            case Number(value):
                return value
            case Unary(_, operand):
                inner = self.constant(operand)
                return None if inner is None else -inner
            case Binary(op, left, right):
                a, b = self.constant(left), self.constant(right)
                if op == "**":
                    self.check_exponent(right, b)
                return None if a is None or b is None else self.fold(op, a, b, expr)
            case _:
                for item in children(expr):
                    self.constant(item)
                return None

    def check_exponent(self, exponent: Expression, value: float | None) -> None:
        nested = value is not None and any(isinstance(node, Binary) and node.op == "**" for node in walk(exponent))
        if nested or (value is not None and abs(value) > MAX_EXPONENT):
            raise ConfigError(
                self.where, f"the exponent {_shown(to_text(exponent))} is too large; at most {MAX_EXPONENT} is allowed"
            )

    def fold(self, op: str, a: float, b: float, expr: Expression) -> float:
        try:
            value = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}.get(
                op, lambda: a**b
            )()
        except (OverflowError, ZeroDivisionError):
            value = math.inf
        if isinstance(value, complex) or not math.isfinite(value):
            raise ConfigError(self.where, f"{_shown(to_text(expr))} has no finite value; check the numbers")
        return value
