"""The [[interventions]]: what is done to the system from outside, at given times or when a condition becomes true."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from exodiff.config.fields import (
    EXAMPLES,
    Flag,
    PerTimeExpression,
    PositiveTime,
    Table,
    Text,
    problem,
    read_number,
    shown,
)
from exodiff.core.dimensions import DIMENSIONLESS, TIME
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import (
    FORMS,
    OBSERVABLE_FORMS,
    Compare,
    Expression,
    Number,
    parse,
    parse_condition,
    to_text,
)
from exodiff.core.syntax import number_text

MAX_TIMES = 10_000


def _value(value: Any) -> Expression:
    """A number, quantity or expression; unlike rates it may be negative."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, dict):
        raise problem("a table is no value, and there is no compartment or population of that name; add it")
    number = read_number(value, None, DIMENSIONLESS)
    if number is not None:
        return number
    if not isinstance(value, str):
        raise problem(f"{shown(value)} is no value; write a number, a quantity or an expression")
    try:
        return parse(value, "", forms=frozenset(FORMS))
    except ConfigError as error:
        raise problem(error.problem) from None


def _condition(value: Any) -> Compare:
    if isinstance(value, Compare):
        return value
    if not isinstance(value, str):
        raise problem(f"{shown(value)} is no condition; write e.g. 'total(EV) > 1000'")
    try:
        return parse_condition(value, "", forms=OBSERVABLE_FORMS)
    except ConfigError as error:
        raise problem(error.problem) from None


def _time(value: Any) -> float:
    number = read_number(value, TIME, TIME)
    if number is None or number.value < 0:
        raise problem(f"{shown(value)} is not a time of 0 or later; write e.g. {EXAMPLES[TIME]}")
    return number.value


def _times(value: Any) -> tuple[float, ...]:
    times = [_time(item) for item in (value if isinstance(value, list | tuple) else [value])]
    if not times or len(times) > MAX_TIMES:
        raise problem(f"{len(times)} times are given; write 1 to {MAX_TIMES}")
    if any(a >= b for a, b in pairwise(times)):
        raise problem("the times do not rise; write them in order, each once")
    return tuple(times)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise problem(f'{shown(value)} is no list of cell types; write e.g. ["tumour"]')


_IN_S = PlainSerializer(lambda value: f"{number_text(value)} s", return_type=str)
_AS_TEXT = PlainSerializer(to_text, return_type=str)
Time = Annotated[float, PlainValidator(_time), _IN_S]
Times = Annotated[
    tuple[float, ...],
    PlainValidator(_times),
    PlainSerializer(lambda times: [f"{number_text(time)} s" for time in times], return_type=list),
]
Value = Annotated[Expression, PlainValidator(_value), _AS_TEXT]
Condition = Annotated[Compare, PlainValidator(_condition), _AS_TEXT]


class Intervention(Table):
    """Set or add numbers of species and values of parameters, or remove cells: on a schedule or on a condition."""

    name: Text
    at: Times | None = None
    from_: Time | None = Field(default=None, alias="from")
    to: Time | None = None
    every: PositiveTime | None = None
    when: Condition | None = None
    repeat: Flag = False
    add: dict[Text, Value] = Field(default_factory=dict)
    set_: dict[Text, Value] = Field(default_factory=dict, alias="set")
    infuse: dict[Text, PerTimeExpression] = Field(default_factory=dict)
    remove: Annotated[tuple[str, ...], PlainValidator(_names)] = ()
    region: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Intervention:
        if sum(item is not None for item in (self.at, self.from_, self.when)) != 1:
            raise problem("exactly one of at, from and when is needed")
        if self.infuse and (self.from_ is None or self.every is not None or self.add or self.set_ or self.remove):
            raise problem("infuse goes on from one time to another; give from and to, and nothing else beside it")
        is_series = self.from_ is not None and not self.infuse
        if is_series != (self.every is not None) or (self.from_ is None and self.to is not None):
            raise problem(
                'a series needs from and every, and may have to, e.g. from = "1 d", every = "12 h", to = "3 d"'
            )
        if self.from_ is not None and self.to is not None and self.to < self.from_:
            raise problem(f"to {self.to:g} s is before from {self.from_:g} s; swap or change them")
        if self.repeat and self.when is None:
            raise problem("repeat belongs to when; use from, every and to for a series of times")
        if not (self.add or self.set_ or self.remove or self.infuse):
            raise problem("nothing is done; give add, set, remove or infuse")
        both = sorted(set(self.add) & set(self.set_))
        if both:
            raise problem(f"{both[0]!r} is both set and added to; write two interventions")
        return self

    def times_s(self, duration_s: float) -> tuple[float, ...]:
        """The scheduled times; a series without `to` goes on to the end of the run."""
        if self.from_ is None or self.every is None:
            return self.at or ()
        last = duration_s if self.to is None else self.to
        count = math.floor((last - self.from_) / self.every * (1.0 + 1e-9)) + 1
        return tuple(self.from_ + i * self.every for i in range(max(count, 0)))

    @property
    def assignments(self) -> dict[str, tuple[str, Expression]]:
        """What is assigned by target: the key (``set`` or ``add``) and the value, in the order of the file."""
        given = {name: ("set", value) for name, value in self.set_.items()}
        return given | {name: ("add", value) for name, value in self.add.items()}


def is_bare(value: Expression) -> bool:
    """Whether a value is a number without a unit: it is in the internal unit of what it goes to."""
    return isinstance(value, Number) and value.dimension == DIMENSIONLESS
