"""The types of single values in the model file: quantities, expressions, counts, names of files."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from exodiff.config.units import is_quantity, parse_quantity, starts_with_number
from exodiff.core.dimensions import (
    DIFFUSIVITY,
    DIMENSIONLESS,
    LENGTH,
    PER_TIME,
    PER_VOLUME,
    TEMPERATURE,
    TIME,
    VELOCITY,
    VISCOSITY,
    VOLUME,
    Dimension,
)
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, Number, parse, to_text
from exodiff.core.syntax import NO_FORMS, OBSERVABLE_FORMS, RATE_FORMS, number_text

# What a user would write for each dimension, in messages.
EXAMPLES: dict[Dimension, str] = {
    TIME: '"10 min"',
    LENGTH: '"20 um"',
    PER_TIME: '"3 /h"',
    PER_VOLUME: '"1e9 /mL"',
    VOLUME: '"0.5 mL"',
    DIFFUSIVITY: '"1.3 um^2/s"',
    VELOCITY: '"0.1 um/s"',
    DIMENSIONLESS: "20",
    VISCOSITY: '"0.69 mPa*s"',
    TEMPERATURE: '"310.15 K"',
}


def problem(text: str) -> PydanticCustomError:
    """Make an error that pydantic carries to the key path it belongs to; `text` is the line's second half."""
    return PydanticCustomError("exodiff", "{text}", {"text": text})


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word is nearest, else list them all."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(words[:30]) or "none") + (", ..." if len(words) > 30 else "")


def shown(value: object) -> str:
    """Write a given value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Table(BaseModel):
    """A table of the model file: frozen; unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    not_yet: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys as they are written in the file."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    @model_validator(mode="wrap")
    @classmethod
    def _explain_unknown_keys(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            # A default made from other keys is not to blame when one of those is wrong.
            items = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
            raise ValidationError.from_exception_data(cls.__name__, [cls._explained(item) for item in items]) from None

    @classmethod
    def _explained(cls, item: Any) -> InitErrorDetails:
        kind: str | PydanticCustomError = item["type"]
        if kind == "extra_forbidden" and len(item["loc"]) == 1:
            kind = problem(cls._unknown(str(item["loc"][0])))
        elif kind == "missing" and len(item["loc"]) == 1:
            kind = problem("is missing; this key is needed")
        elif kind in ("exodiff", "foreign"):
            kind = problem(item["msg"])
        else:
            kind = PydanticCustomError("foreign", "{text}", {"text": _plain(item)})
        return InitErrorDetails(type=kind, loc=item["loc"], input=item["input"])

    @classmethod
    def _unknown(cls, key: str) -> str:
        if key in cls.not_yet:
            return f"{key!r} is not yet supported; leave it out"
        if "." in key:
            return f"{key!r}: dotted names are not yet supported; leave it out"
        return f"unknown key {key!r}; {nearest(key, cls.known_keys())}"


def _plain(item: Any) -> str:
    """Turn one of pydantic's own messages into ours."""
    message = str(item["msg"]).removeprefix("Value error, ")
    message = {
        "model_type": "a table is needed, e.g. { key = value }",
        "dict_type": "a table is needed, e.g. { key = value }",
        "tuple_type": "a list is needed, e.g. [1, 2, 3]",
        "int_type": "a whole number is needed",
        "bool_type": "true or false is needed",
        "float_type": "a number is needed",
        "string_type": "a text is needed",
    }.get(item["type"], message[:1].lower() + message[1:])
    return f"{shown(item['input'])} is not allowed: {message.removeprefix('input ')}"


def read_number(value: Any, expected: Dimension | None, bare: Dimension) -> Number | None:
    """Read a number or a quantity; None when the text is something else.

    Args:
        value: as it stands in the file.
        expected: the dimension that it must have; None for any.
        bare: the dimension of a number without a unit.

    """
    if isinstance(value, Number):
        value, found = value.value, value.dimension
    elif isinstance(value, bool):
        raise problem(f"{value} is not a number")
    elif isinstance(value, Real):
        value, found = float(value), bare
    elif isinstance(value, str) and (is_quantity(value) or starts_with_number(value)):
        number, found = _told(parse_quantity, value)
        value, found = _with_bare(value, number, found, bare)
    else:
        return None
    if not math.isfinite(value):
        raise problem(f"{value} is not finite; give a finite number")
    if expected is not None and found != expected:
        raise problem(_wrong_dimension(value, found, expected))
    return Number(value, found)


def _with_bare(text: str, number: float, found: Dimension, bare: Dimension) -> tuple[float, Dimension]:
    """A number in quotes without any unit means the same as the bare number."""
    is_bare = found == DIMENSIONLESS and text.strip()[-1] in "0123456789."
    return number, bare if is_bare else found


def _wrong_dimension(value: float, found: Dimension, expected: Dimension) -> str:
    example = EXAMPLES.get(expected, f'"1 {expected}"')
    given = f"{number_text(value)}" + ("" if found == DIMENSIONLESS else f" {found}")
    return f"{given} has dimension {found}, but {expected} is needed; write e.g. {example}"


def _told(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a reader that raises ConfigError, and hand its problem to pydantic, which knows the key path."""
    try:
        return function(*arguments, "")
    except ConfigError as error:
        raise problem(error.problem) from None


def _quantity(expected: Dimension, *, is_positive: bool = False) -> Any:
    def read(value: Any) -> float:
        number = read_number(value, expected, expected)
        if number is None:
            raise problem(f"{shown(value)} is not a quantity; write e.g. {EXAMPLES[expected]}")
        if is_positive and number.value <= 0:
            raise problem(f"{shown(value)} is not positive; write e.g. {EXAMPLES[expected]}")
        return number.value

    return read


def read_expression(
    value: Any, expected: Dimension | None, forms: frozenset[str], *, is_signed: bool = False
) -> Expression:
    """Read a number, quantity or expression; a number or quantity must not be negative unless ``is_signed``."""
    if isinstance(value, Expression):
        return value
    number = read_number(value, expected, expected or DIMENSIONLESS)
    if number is not None:
        if number.value < 0 and not is_signed:
            raise problem(f"{shown(value)} is negative; give 0 or more")
        return number
    if not isinstance(value, str):
        raise problem(f"{shown(value)} is no value; write a number, a quantity or an expression of parameters")
    return _told(lambda text, where: parse(text, where, forms=forms), value)


def _expression(
    expected: Dimension | None, forms: frozenset[str] = NO_FORMS, *, is_signed: bool = False
) -> PlainValidator:
    return PlainValidator(lambda value: read_expression(value, expected, forms, is_signed=is_signed))


def _viscosity(value: Any) -> Expression:
    """Unlike other quantities it needs its unit: a bare number in kg/(um s) is a mistake."""
    if is_number(value):
        raise problem(f"{shown(value)} has no unit; write e.g. {EXAMPLES[VISCOSITY]}")
    return read_expression(value, VISCOSITY, NO_FORMS)


def resolved(value: str | Path, info: ValidationInfo) -> Path:
    """The path of a file that a model names, from the model's folder on, without links."""
    path = Path((info.context or {}).get("folder", ".")) / value
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links that lead to each other
        raise problem(f"{str(value)!r} is a link that leads nowhere (looked at {path}); put the file there") from None


def _existing_file(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise problem(f"{shown(value)} is not a file name; write the path of a file beside the model file")
    path = resolved(value, info)
    try:
        is_file = path.is_file()
    except OSError:
        is_file = False
    if not is_file:
        what = "is not a file" if path.exists() else "does not exist"
        raise problem(f"{str(value)!r} {what} (looked at {path}); give a path relative to the model file's folder")
    return path


def is_number(value: object) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _count(value: Any) -> float:
    if not is_number(value):
        raise problem(f"{shown(value)} is not a number of molecules; write a number from 0 to 2147483647")
    if not 0 <= float(value) <= 2**31 - 1:
        raise problem(f"{value} is outside 0 to 2147483647 molecules")
    return float(value)


def _fraction(value: Any) -> float:
    number = read_number(value, DIMENSIONLESS, DIMENSIONLESS)
    if number is None or not 0 < number.value <= 1:
        raise problem(f'{shown(value)} is not a share above 0 and up to 1; write e.g. 0.05 or "5 %"')
    return number.value


_AS_TEXT = PlainSerializer(to_text, return_type=str)
_IN_S = PlainSerializer(lambda value: f"{number_text(value)} s", return_type=str)
_IN_UM = PlainSerializer(lambda value: f"{number_text(value)} um", return_type=str)

PositiveTime = Annotated[float, PlainValidator(_quantity(TIME, is_positive=True)), _IN_S]
Length = Annotated[float, PlainValidator(_quantity(LENGTH)), _IN_UM]
PositiveLength = Annotated[float, PlainValidator(_quantity(LENGTH, is_positive=True)), _IN_UM]
Point = Annotated[tuple[Length, ...], Field(min_length=1, max_length=3)]
TimeStep = Annotated[
    str | float,
    PlainValidator(lambda value: value if value == "auto" else _quantity(TIME, is_positive=True)(value)),
    PlainSerializer(lambda value: value if isinstance(value, str) else f"{number_text(value)} s"),
]

DiffusivityExpression = Annotated[Expression, _expression(DIFFUSIVITY), _AS_TEXT]
VelocityExpression = Annotated[Expression, _expression(VELOCITY, is_signed=True), _AS_TEXT]
RatioExpression = Annotated[Expression, _expression(DIMENSIONLESS, is_signed=True), _AS_TEXT]
PerTimeExpression = Annotated[Expression, _expression(PER_TIME), _AS_TEXT]
TimeExpression = Annotated[Expression, _expression(TIME), _AS_TEXT]
DensityExpression = Annotated[Expression, _expression(PER_VOLUME), _AS_TEXT]
RateExpression = Annotated[Expression, _expression(None, RATE_FORMS), _AS_TEXT]
PropensityExpression = Annotated[Expression, _expression(PER_TIME, RATE_FORMS), _AS_TEXT]
ClearanceExpression = Annotated[Expression, _expression(VOLUME * PER_TIME, RATE_FORMS), _AS_TEXT]
VolumeExpression = Annotated[Expression, _expression(VOLUME), _AS_TEXT]
NumberExpression = Annotated[Expression, _expression(DIMENSIONLESS), _AS_TEXT]
TemperatureExpression = Annotated[Expression, _expression(TEMPERATURE), _AS_TEXT]
ViscosityExpression = Annotated[Expression, PlainValidator(_viscosity), _AS_TEXT]
VoxelExpression = Annotated[Expression, _expression(None, RATE_FORMS), _AS_TEXT]
ObservableExpression = Annotated[Expression, _expression(None, OBSERVABLE_FORMS), _AS_TEXT]

Whole = Annotated[int, Strict()]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Fraction = Annotated[float, PlainValidator(_fraction)]
Count = Annotated[float, PlainValidator(_count)]
ExistingFile = Annotated[Path, PlainValidator(_existing_file), PlainSerializer(str, return_type=str)]
Axis = Annotated[str, BeforeValidator(lambda value: _one_of(value, ("x", "y", "z")))]


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise problem(f"{shown(value)} is not allowed; choose one of {', '.join(allowed)}")
    return value


def choice(*allowed: str) -> BeforeValidator:
    """Make the validator of a key with a few allowed words."""
    return BeforeValidator(lambda value: _one_of(value, allowed))
