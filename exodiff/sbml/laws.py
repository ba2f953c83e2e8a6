"""Kinetic laws: which are mass action in the convention of stochastic models, and with what constant."""

import math
import random
from collections.abc import Mapping, Set

import numpy as np

from exodiff.core.expressions import Binary, Call, Expression, Name, Number, evaluate, names
from exodiff.sbml.formula import TIME, simplified, substitute

_POINTS = 12
_AGREEMENT = 1e-9


def mass_action_rate(law: Expression, reactants: Mapping[str, int], species: Set[str]) -> Expression | None:
    """The rate of exodiff's mass action that gives a law, or None if there is none.

    A law c x (x - 1) / 2 of two x is c / 2 times x (x - 1): the rate is the law where each reactant has just the
    number that reacts, nu, divided by the factorials of nu. Whether that rate times the falling powers is the law
    everywhere is tested at random points: for polynomials that is certain up to rounding (J. Schwartz, 1980).

    Args:
        law: in numbers of molecules, events in a unit of time.
        reactants: how many of each react.
        species: all species; a rate that depends on one, or on time, is no mass action.

    """
    at_least = substitute(law, {name: Number(float(count)) for name, count in reactants.items()})
    orders = math.prod(math.factorial(count) for count in reactants.values())
    rate = simplified(Binary("/", at_least, Number(float(orders))))
    if names(rate) & (species | {TIME.name}):
        return None
    generator = random.Random(0)  # noqa: S311  (points of a test, no secret)
    for _ in range(_POINTS):
        point = _point(law, species, generator)
        falling = math.prod(
            point[name] - i if name in point else 0.0 for name, count in reactants.items() for i in range(count)
        )
        given, found = _value(law, point), _value(rate, point) * falling
        if not abs(given - found) <= _AGREEMENT * (abs(given) + abs(found)):
            return None
    return rate


def may_be_negative(law: Expression, species: Set[str]) -> bool:
    """Whether a law was seen to be negative at some point with positive parameters and numbers of molecules."""
    generator = random.Random(0)  # noqa: S311
    return any(_value(law, _point(law, species, generator)) < 0 for _ in range(_POINTS))


def _point(law: Expression, species: Set[str], generator: random.Random) -> dict[str, float]:
    return {
        name: generator.uniform(3.0, 40.0) if name in species else generator.uniform(0.5, 2.0)
        for name in sorted(names(law))
    }


def _value(expr: Expression, point: Mapping[str, float]) -> float:
    def look_up(node: Name | Call) -> np.float64:
        assert isinstance(node, Name)
        return np.float64(point[node.name])

    with np.errstate(all="ignore"):
        return float(evaluate(expr, look_up, np))
