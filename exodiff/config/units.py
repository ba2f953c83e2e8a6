"""Read quantities such as "60 /h" into internal units: um, s, molecules (and kg, K for what is neither)."""

from __future__ import annotations

import decimal
import difflib
import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from exodiff.core.dimensions import DIMENSIONLESS, Dimension, dimension
from exodiff.core.errors import ConfigError

if TYPE_CHECKING:
    import pint

MAX_CHARACTERS = 100
MAX_EXPONENT = 9

# The whole vocabulary. Physical constants are left out on purpose: "2 / k" is an expression, not 2 over Boltzmann's.
_DEFINITIONS = """
giga- = 1e9 = G-
mega- = 1e6 = M-
kilo- = 1e3 = k-
deci- = 1e-1 = d-
centi- = 1e-2 = c-
milli- = 1e-3 = m-
micro- = 1e-6 = µ- = μ- = u-
nano- = 1e-9 = n-
pico- = 1e-12 = p-
femto- = 1e-15 = f-
atto- = 1e-18 = a-
meter = [length] = m = metre
micron = 1e-6 * meter
angstrom = 1e-10 * meter
second = [time] = s = sec
minute = 60 * second = min
hour = 60 * minute = h = hr
day = 24 * hour = d
week = 7 * day
year = 365.25 * day = yr
liter = 1e-3 * meter ** 3 = L = l = litre
gram = [mass] = g
dalton = 1.66053906660e-24 * gram = Da
kelvin = [temperature] = K
molecule = 1
particle = 1
vesicle = 1
cell = 1
mole = 6.02214076e23 = mol
molar = mole / liter = M
percent = 0.01
hertz = 1 / second = Hz
newton = 1e3 * gram * meter / second ** 2 = N
joule = newton * meter = J
watt = joule / second = W
pascal = newton / meter ** 2 = Pa
bar = 1e5 * pascal
atmosphere = 101325 * pascal = atm
millimeter_Hg = 133.322387415 * pascal = mmHg
torr = 101325 / 760 * pascal
poise = 0.1 * pascal * second = P
"""
_COMMON = [
    "um",
    "nm",
    "mm",
    "cm",
    "m",
    "s",
    "ms",
    "min",
    "h",
    "day",
    "week",
    "um^3",
    "mL",
    "uL",
    "nL",
    "L",
    "nM",
    "uM",
    "mM",
    "M",
    "mol",
    "molecules",
    "kg",
    "g",
    "kDa",
    "Pa",
    "mPa",
    "kPa",
    "mmHg",
    "K",
    "Hz",
    "/s",
    "/min",
    "/h",
]

_NUMBER = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,4})?")
_TOKEN = re.compile(r"\s*([A-Za-zµμ][A-Za-zµμ_]*|%|\d+|\*\*|[*/^()-])")
# name -> factor to internal units and dimension
_Unit = tuple[Decimal, Dimension]


class _NotAUnitError(ValueError):
    """The text is no unit; the message is the offending word."""


def parse_quantity(text: str, where: str) -> tuple[float, Dimension]:
    """Read a number with an optional unit.

    Args:
        text: such as ``1.3 um^2/s``, ``60 /h``, ``1e9 /mL``, ``mPa s`` after a number, or a number alone.
        where: the key path for errors.

    Returns:
        The value in internal units and its dimension.

    Raises:
        ConfigError: when the text is no number with a known unit.

    """
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if len(stripped) > MAX_CHARACTERS or not match:
        raise ConfigError(where, f'{_shown(text)} is not a quantity; write a number and a unit, e.g. "10 um" or "3 /h"')
    try:
        with decimal.localcontext() as context:
            context.prec = 40
            factor, found = _unit(stripped[match.end() :].strip())
            value = float(Decimal(match.group()) * factor)
    except _NotAUnitError as error:
        raise ConfigError(
            where, f"{_shown(text)} has the unknown unit {str(error)!r}{_suggestion(str(error))}"
        ) from None
    except ArithmeticError:
        value, found = float("inf"), DIMENSIONLESS
    if value in (float("inf"), float("-inf")):
        raise ConfigError(where, f"{_shown(text)} is too large; values stay below 1e308 in um, s, molecules")
    return value, found


def is_quantity(text: str) -> bool:
    """Whether the text is a number alone or a number followed by a known unit."""
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if len(stripped) > MAX_CHARACTERS or not match:
        return False
    try:
        with decimal.localcontext() as context:
            context.prec = 40
            _unit(stripped[match.end() :].strip())
    except _NotAUnitError:
        return False
    except ArithmeticError:
        return True
    return True


def starts_with_number(text: str) -> bool:
    """Whether a number is followed by something that is no operator: meant as a quantity, not as an expression."""
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    return bool(match) and not re.match(r"\s*[-+*/^)<>=,]", stripped[match.end() :] or "+")


def nearest_unit(word: str) -> str | None:
    """Return the known unit nearest to a misspelt one."""
    close = difflib.get_close_matches(word, [*_COMMON, *_registry_names()], n=1, cutoff=0.5)
    return close[0] if close else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _suggestion(word: str) -> str:
    if word == "per":
        return '; write "/" for it, e.g. "2 /cell/min"'
    close = nearest_unit(word)
    return f"; did you mean {close!r}?" if close else "; known units: " + ", ".join(_COMMON)


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry:
    import pint  # noqa: PLC0415  (half a second that --help need not wait for)

    registry = pint.UnitRegistry(None, non_int_type=Decimal)  # pyright: ignore[reportArgumentType]
    registry.load_definitions(_DEFINITIONS.strip().splitlines())
    return registry


def _registry_names() -> list[str]:
    pieces = [part.strip() for line in _DEFINITIONS.strip().splitlines() for part in line.split("=")]
    return [name for name in pieces if name.isidentifier()]


@lru_cache(maxsize=500)
def _named(name: str) -> _Unit:
    """Factor and dimension of one unit name with its prefix."""
    if name == "%":
        name = "percent"
    registry = _registry()
    candidates = registry.parse_unit_name(name)
    if not candidates:
        raise _NotAUnitError(name)
    root = registry.Quantity(Decimal(1), name).to_root_units()
    powers = {str(base): int(str(power)) for base, power in root.unit_items()}
    length, mass = powers.get("meter", 0), powers.get("gram", 0)
    factor = Decimal(root.magnitude) * Decimal(10) ** (6 * length - 3 * mass)
    return factor, dimension(um=length, kg=mass, s=powers.get("second", 0), K=powers.get("kelvin", 0))


def _unit(text: str) -> _Unit:
    """Factor and dimension of a unit expression; empty text has no dimension."""
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _NotAUnitError(text[position:].split(maxsplit=1)[0])
        tokens.append(match[1])
        position = match.end()
    if not tokens:
        return Decimal(1), DIMENSIONLESS
    if tokens[0] in ("*", "**", "^", "-"):
        raise _NotAUnitError(text)
    reader = _UnitReader(tokens, text)
    unit = reader.product()
    if reader.tokens:
        raise _NotAUnitError(text)
    return unit


class _UnitReader:
    """Recursive descent over ``um^3/s``, ``/h``, ``mPa s``, ``1/(um^3 s)``; ``*``, ``/`` and blanks bind alike."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens = tokens
        self.text = text

    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def product(self) -> _Unit:
        factor, found = (Decimal(1), DIMENSIONLESS) if self.next() == "/" else self.power()
        while self.tokens and self.next() != ")":
            divide = self.next() == "/"
            if self.next() in ("*", "/"):
                self.tokens.pop(0)
            other, more = self.power()
            factor, found = (factor / other, found / more) if divide else (factor * other, found * more)
        return factor, found

    def power(self) -> _Unit:
        factor, found = self.atom()
        if self.next() not in ("^", "**"):
            return factor, found
        self.tokens.pop(0)
        sign = -1 if self.next() == "-" else 1
        if sign < 0:
            self.tokens.pop(0)
        digits = self.tokens.pop(0) if self.tokens else ""
        if not digits.isdigit() or int(digits) > MAX_EXPONENT:
            raise _NotAUnitError(self.text)
        exponent = sign * int(digits)
        return factor**exponent, found**exponent

    def atom(self) -> _Unit:
        word = self.tokens.pop(0) if self.tokens else ""
        if word == "(":
            inner = self.product()
            if self.next() != ")":
                raise _NotAUnitError(self.text)
            self.tokens.pop(0)
            return inner
        if word == "1":
            return Decimal(1), DIMENSIONLESS
        if word == "%" or word[:1].isalpha():
            return _named(word)
        raise _NotAUnitError(self.text)
