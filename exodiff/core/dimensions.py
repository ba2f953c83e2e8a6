"""Physical dimensions as exponents of the internal base units um, s, kg and K (counts have none)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

BASES = ("kg", "um", "s", "K")


@dataclass(frozen=True, slots=True)
class Dimension:
    """A product of powers of base units, hashed by value.

    Args:
        powers: (base, exponent) pairs in the order of `BASES`, none of them zero; make one with `dimension`.

    """

    powers: tuple[tuple[str, Fraction], ...] = ()

    def __mul__(self, other: Dimension) -> Dimension:
        total: Counter[str] = Counter()
        for base, power in (*self.powers, *other.powers):
            total[base] += power  # pyright: ignore[reportArgumentType]
        return dimension(**total)

    def __truediv__(self, other: Dimension) -> Dimension:
        return self * other**-1

    def __pow__(self, exponent: float | Fraction) -> Dimension:
        power = exponent if isinstance(exponent, Fraction) else Fraction(exponent).limit_denominator(100)
        return dimension(**{base: own * power for base, own in self.powers})

    def __str__(self) -> str:
        above = [_factor(base, power) for base, power in self.powers if power > 0]
        below = [_factor(base, -power) for base, power in self.powers if power < 0]
        if not above and not below:
            return "dimensionless"
        top = " ".join(above) or "1"
        if not below:
            return top
        return f"{top}/{below[0]}" if len(below) == 1 else f"{top}/({' '.join(below)})"


def dimension(**powers: float | Fraction) -> Dimension:
    """Make a dimension from exponents by base unit, e.g. ``dimension(um=3, s=-1)``."""
    unknown = set(powers) - set(BASES)
    if unknown:
        raise ValueError(f"unknown base units {sorted(unknown)}; known: {BASES}")
    exact = {base: Fraction(power) for base, power in powers.items()}
    return Dimension(tuple((base, exact[base]) for base in BASES if exact.get(base)))


def _factor(base: str, power: Fraction) -> str:
    if power == 1:
        return base
    return f"{base}^{power}" if power.denominator == 1 else f"{base}^({power})"


DIMENSIONLESS = Dimension()
LENGTH = dimension(um=1)
TIME = dimension(s=1)
VOLUME = dimension(um=3)
PER_VOLUME = dimension(um=-3)
PER_TIME = dimension(s=-1)
DIFFUSIVITY = dimension(um=2, s=-1)
VELOCITY = dimension(um=1, s=-1)
VISCOSITY = dimension(kg=1, um=-1, s=-1)
TEMPERATURE = dimension(K=1)
