"""Read reaction equations such as ``tumour -> tumour + poisson(20) EV``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from exodiff.core.errors import ConfigError
from exodiff.core.expressions import MAX_DOTS, Expression, check_identifier, parse, to_text
from exodiff.core.syntax import NO_FORMS

MAX_CHARACTERS = 2_000
MAX_TERMS = 50
MAX_COUNT = 1_000_000
# Kind -> the number of its arguments: poisson(mean), geometric(mean), loaded(fraction, mean).
BURSTS = {"poisson": 1, "geometric": 1, "loaded": 2}

_COUNTED = re.compile(r"(?:(\d{1,12})\s*)?([A-Za-z_]\w*(?:\.\w+)*)", re.ASCII)
_BURST = re.compile(r"(\w+)\s*\((.*)\)\s*([A-Za-z_]\w*(?:\.\w+)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Burst:
    """A random number of copies: ``poisson(mean)``, ``geometric(mean)`` or ``loaded(fraction, mean)``."""

    kind: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """So many copies of one species or cell type; with a `burst`, `count` is 1 and the burst gives the number."""

    name: str
    count: int = 1
    burst: Burst | None = field(default=None)

    def __str__(self) -> str:
        if self.burst is not None:
            arguments = ", ".join(to_text(item) for item in self.burst.arguments)
            return f"{self.burst.kind}({arguments}) {self.name}"
        return self.name if self.count == 1 else f"{self.count} {self.name}"


@dataclass(frozen=True, slots=True)
class Equation:
    """Both sides of a reaction, names in the order of their first appearance, repeated ones added up."""

    reactants: tuple[Term, ...]
    products: tuple[Term, ...]

    def __str__(self) -> str:
        sides = (" + ".join(str(term) for term in side) for side in (self.reactants, self.products))
        return " -> ".join(sides).strip()

    @property
    def names(self) -> frozenset[str]:
        """All species and cell types on either side."""
        return frozenset(term.name for term in (*self.reactants, *self.products))


def parse_equation(text: str, where: str) -> Equation:
    """Read an equation; either side may be empty, not both.

    Raises:
        ConfigError: when it is malformed, too large, or has a burst among the reactants.

    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            where, f"the equation has {len(text)} characters; at most {MAX_CHARACTERS} are allowed, shorten it"
        )
    sides = text.split("->")
    if len(sides) != 2 or "<" in text or "=" in text:
        raise ConfigError(
            where, f"{_shown(text)} needs exactly one '->', as in 'A + B -> C'; write the way back as its own reaction"
        )
    reactants, products = (_side(side, text, where) for side in sides)
    if not reactants and not products:
        raise ConfigError(where, f"{_shown(text)} is empty on both sides; name what reacts or what is made")
    for term in reactants:
        if term.burst is not None:
            raise ConfigError(
                where, f"'{term}' in {_shown(text)} is a burst; bursts are allowed only among the products"
            )
    return Equation(reactants, products)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _side(side: str, text: str, where: str) -> tuple[Term, ...]:
    if not side.strip():
        return ()
    pieces = _split_outside_brackets(side)
    if len(pieces) > MAX_TERMS:
        raise ConfigError(where, f"a side of {_shown(text)} has {len(pieces)} terms; at most {MAX_TERMS} are allowed")
    return _added_up([_term(piece.strip(), text, where) for piece in pieces], where)


def _split_outside_brackets(text: str, separator: str = "+") -> list[str]:
    pieces, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            pieces.append(text[start:index])
            start = index + 1
    return [*pieces, text[start:]]


def _term(piece: str, text: str, where: str) -> Term:
    counted = _COUNTED.fullmatch(piece)
    burst = None if counted else _BURST.fullmatch(piece)
    if burst:
        return Term(_checked_name(burst[3], where), 1, _burst(burst[1], burst[2], piece, where))
    if not counted:
        what = (
            f"{_shown(piece)} in {_shown(text)} is not a term" if piece else f"{_shown(text)} lacks a term beside '+'"
        )
        raise ConfigError(where, f"{what}; write 'A', '2 A' or 'poisson(20) A', and leave an empty side blank")
    count = int(counted[1] or 1)
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(where, f"the number {count} in {_shown(piece)} is outside 1 to {MAX_COUNT}")
    return Term(_checked_name(counted[2], where), count)


def _checked_name(name: str, where: str) -> str:
    parts = name.split(".")
    if len(parts) > MAX_DOTS + 1:
        raise ConfigError(
            where, f"{_shown(name)} is not a name; at most {MAX_DOTS} dots are allowed, as in tEV.s1.bound"
        )
    for part in parts:
        check_identifier(part, where)
    return name


def _burst(kind: str, inside: str, piece: str, where: str) -> Burst:
    if kind not in BURSTS:
        raise ConfigError(where, f"{kind!r} in {_shown(piece)} is not a burst; allowed: {', '.join(BURSTS)}")
    arguments = [item.strip() for item in _split_outside_brackets(inside, ",")]
    if len(arguments) != BURSTS[kind]:
        raise ConfigError(where, f"{_shown(piece)} has {len(arguments)} arguments; {kind} takes {BURSTS[kind]}")
    return Burst(kind, tuple(parse(item, where, forms=NO_FORMS) for item in arguments))


def _added_up(terms: list[Term], where: str) -> tuple[Term, ...]:
    counts: dict[str, int] = {}
    for term in terms:
        if term.burst is None:
            counts[term.name] = counts.get(term.name, 0) + term.count
    merged: list[Term] = []
    for term in terms:
        if term.burst is not None:
            merged.append(term)
        elif term.name in counts:
            merged.append(Term(term.name, counts.pop(term.name)))
            if merged[-1].count > MAX_COUNT:
                raise ConfigError(where, f"{merged[-1]} exceeds the largest number of copies, {MAX_COUNT}")
    return tuple(merged)
