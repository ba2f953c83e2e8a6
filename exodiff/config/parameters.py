"""The [parameters] table: numbers with units, and what is known of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from exodiff.config.fields import Table, Text, nearest, problem, read_number, shown
from exodiff.core.dimensions import DIMENSIONLESS, Dimension
from exodiff.core.expressions import Number, to_text

# Distribution -> arguments, True where they carry the parameter's dimension.
PRIORS: dict[str, dict[str, bool]] = {
    "lognormal": {"median": True, "sigma": False},
    "normal": {"mean": True, "sd": True},
    "half_normal": {"scale": True},
    "uniform": {"low": True, "high": True},
    "loguniform": {"low": True, "high": True},
    "gamma": {"shape": False, "scale": True},
    "beta": {"a": False, "b": False},
}
_POSITIVE = ("median", "sigma", "sd", "scale", "shape", "a", "b")


def _number(value: Any) -> Number:
    number = read_number(value, None, DIMENSIONLESS)
    if number is None:
        raise problem(f"{shown(value)} is not a number; a parameter is a number or a quantity, never an expression")
    return number


ParameterNumber = Annotated[
    Number,
    PlainValidator(_number),
    PlainSerializer(lambda number: number.value if number.dimension == DIMENSIONLESS else to_text(number)),
]


class Parameter(Table):
    """One parameter: `value`, or `by_cell` (by the cell type in the voxel, 0 elsewhere).

    `prior` is one distribution of `PRIORS` with its arguments.
    """

    value: ParameterNumber | None = None
    by_cell: dict[Text, ParameterNumber] | None = None
    prior: dict[Text, dict[Text, ParameterNumber]] | None = None
    bounds: Annotated[tuple[ParameterNumber, ...], Field(min_length=2, max_length=2)] | None = None
    evidence: Text | None = None
    source: Text | None = None

    @property
    def dimension(self) -> Dimension:
        """The dimension of the value, or of all values by cell."""
        return self.numbers[0].dimension

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The value, or the values by cell."""
        if self.value is not None:
            return (self.value,)
        return tuple((self.by_cell or {}).values())

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        if (self.value is None) == (self.by_cell is None) or not self.numbers:
            raise problem("exactly one of value and by_cell (with at least one cell type) is needed")
        self._unify_by_cell()
        self._check_bounds()
        self._check_prior()
        return self

    def _unify_by_cell(self) -> None:
        """Zeros without a unit take the dimension of the others."""
        found = {number.dimension for number in self.numbers if number.value != 0 or number.dimension != DIMENSIONLESS}
        if len(found) > 1:
            raise problem(f"by_cell mixes {' and '.join(sorted(map(str, found)))}; give all the same dimension")
        if self.by_cell and found:
            (dimension,) = found
            for cell, number in self.by_cell.items():
                self.by_cell[cell] = Number(number.value, dimension)

    def _check_bounds(self) -> None:
        if self.bounds is None:
            return
        low, high = (self._own(number, "bounds") for number in self.bounds)
        if low >= high:
            raise problem(f"the bounds {low} and {high} are not in order; write the lower one first")
        for number in self.numbers:
            if not low <= number.value <= high:
                raise problem(
                    f"the value {to_text(number)} is outside its bounds {low} to {high}; change the value or the bounds"
                )

    def _check_prior(self) -> None:
        if self.prior is None:
            return
        if len(self.prior) != 1:
            raise problem("prior needs exactly one distribution, e.g. { lognormal = { median = ..., sigma = 1.0 } }")
        ((kind, arguments),) = self.prior.items()
        if kind not in PRIORS:
            raise problem(f"the prior {kind!r} is not known; {nearest(kind, PRIORS)}")
        if set(arguments) != set(PRIORS[kind]):
            raise problem(
                f"the prior {kind} takes {', '.join(PRIORS[kind])}; given: {', '.join(arguments) or 'nothing'}"
            )
        values: dict[str, float] = {}
        for name, has_dimension in PRIORS[kind].items():
            values[name] = self._own(arguments[name], f"prior.{kind}.{name}", None if has_dimension else DIMENSIONLESS)
            if (name in _POSITIVE or kind == "loguniform") and values[name] <= 0:
                raise problem(f"prior.{kind}.{name} is {values[name]}; it must be positive")
        if "low" in values and values["low"] >= values["high"]:
            raise problem(f"prior.{kind}: low {values['low']} is not below high {values['high']}; swap or change them")

    def _own(self, number: Number, what: str, expected: Dimension | None = None) -> float:
        expected = self.dimension if expected is None else expected
        if number.dimension != expected and number != Number(0.0):
            raise problem(f"{what}: {to_text(number)} has dimension {number.dimension}, but {expected} is needed")
        return number.value


def _as_table(value: Any) -> Any:
    return value if isinstance(value, dict | Parameter) else {"value": value}


ParameterEntry = Annotated[Parameter, BeforeValidator(_as_table)]
