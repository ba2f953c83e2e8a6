"""The [fit] table: which parameters, from which measurements, and how these scatter about the observables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, model_validator

from exodiff.config.fields import (
    PositiveTime,
    Table,
    Text,
    Whole,
    choice,
    nearest,
    problem,
    read_expression,
    read_number,
    resolved,
    shown,
)
from exodiff.core.dimensions import DIMENSIONLESS
from exodiff.core.expressions import Expression, Number, to_text
from exodiff.core.syntax import NO_FORMS

# Kind -> its arguments, True where they are needed in the file.
NOISES: dict[str, dict[str, bool]] = {
    "poisson": {},
    "negative_binomial": {"dispersion": True},
    "gaussian": {"sd": False},
    "lognormal": {"sigma": True, "detection_limit": False},
    "multinomial": {},
    "dirichlet_multinomial": {"dispersion": True},
}


class Noise(Table):
    """How measured values scatter about an observable.

    Attributes:
        kind: one of `NOISES`.
        scale: sd, sigma or dispersion, an expression of parameters; None where there is none, or the data give it.
        detection_limit: of lognormal noise: values below it are only known to be so.

    """

    kind: Text
    scale: Annotated[Expression, PlainValidator(lambda value: value)] | None = None
    detection_limit: Annotated[Number, PlainValidator(lambda value: value)] | None = None

    @property
    def limit(self) -> float:
        """The detection limit; 0 without."""
        return 0.0 if self.detection_limit is None else self.detection_limit.value


def read_noise(value: Any) -> Noise:
    """Read ``"poisson"`` or ``{ lognormal = { sigma = 0.1 } }``."""
    if isinstance(value, Noise):
        return value
    if isinstance(value, str):
        kind, arguments = value, {}
    elif isinstance(value, dict) and len(value) == 1:
        ((kind, arguments),) = value.items()
    else:
        raise problem(f'{shown(value)} is no noise; write e.g. "poisson" or {{ gaussian = {{ sd = 2.0 }} }}')
    if kind not in NOISES:
        raise problem(f"the noise {kind!r} is not known; {nearest(str(kind), NOISES)}")
    if not isinstance(arguments, dict):
        raise problem(f"noise {kind}: {shown(arguments)} is no table of arguments; write {_example(kind)}")
    unknown = set(arguments) - set(NOISES[kind])
    missing = [name for name, needed in NOISES[kind].items() if needed and name not in arguments]
    if unknown or missing:
        what = f"takes no {min(unknown)!r}" if unknown else f"needs {missing[0]!r}"
        raise problem(f"noise {kind} {what}; write {_example(kind)}")
    scales = [item for name, item in arguments.items() if name != "detection_limit"]
    limit = arguments.get("detection_limit")
    return Noise(
        kind=kind,
        scale=read_expression(scales[0], None, NO_FORMS) if scales else None,
        detection_limit=None if limit is None else _limit(limit),
    )


def _limit(value: Any) -> Number:
    found = read_number(value, None, DIMENSIONLESS)
    if found is None or found.value <= 0:
        raise problem(f"detection_limit: {shown(value)} is no positive number or quantity; write e.g. 0.1")
    return found


def _example(kind: str) -> str:
    arguments = ", ".join(f"{name} = 0.1" for name in NOISES[kind])
    return f"{{ {kind} = {{ {arguments} }} }}" if arguments else f'"{kind}"'


def _write_noise(noise: Noise) -> Any:
    names = [name for name in NOISES[noise.kind] if name != "detection_limit"]
    arguments = {name: to_text(noise.scale) for name in names if noise.scale is not None}
    if noise.detection_limit is not None:
        arguments["detection_limit"] = to_text(noise.detection_limit)
    return {noise.kind: arguments} if arguments else noise.kind


def _file_beside(value: Any, info: ValidationInfo) -> Path:
    """A path relative to the model file; it may not exist yet, as ``exodiff synthesise`` writes it."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise problem(f"{shown(value)} is not a file name; write the path of a .csv, .npy or .tif file")
    path = resolved(value, info)
    if path.suffix.lower() not in {".csv", ".npy", ".tif", ".tiff"}:
        raise problem(f"{str(value)!r} is no table or image; give a .csv, .npy, .tif or .tiff file")
    return path


class FitData(Table):
    """One file of measurements.

    Attributes:
        file: a table (.csv), or an image (.npy, .tif) that is summed over the region of each observable.
        observable: what it measures; several of them are its columns, regions or classes.
        noise: how it scatters.
        unit: of the values where the header does not say; None for that of the observable.
        at_s: when an image was taken, seconds.
        replicate: which tissue it was, where no column says so; rows of one tissue share its history.

    """

    file: Annotated[Path, PlainValidator(_file_beside), PlainSerializer(str, return_type=str)]
    observable: Annotated[
        tuple[Text, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        Field(min_length=1),
        PlainSerializer(lambda names: names[0] if len(names) == 1 else list(names)),
    ]
    noise: Annotated[Noise, PlainValidator(read_noise), PlainSerializer(_write_noise)]
    unit: Text | None = None
    at_s: PositiveTime | None = Field(alias="at", default=None)
    replicate: Annotated[Text, BeforeValidator(lambda value: str(value) if type(value) is int else value)] = "0"

    @property
    def is_image(self) -> bool:
        """Whether the file is an image of the lattice."""
        return self.file.suffix.lower() != ".csv"

    @model_validator(mode="after")
    def _consistent(self) -> FitData:
        if len(set(self.observable)) < len(self.observable):
            raise problem(f"observable {list(self.observable)} names one twice; give each once")
        if self.is_image != (self.at_s is not None):
            what = "an image needs the time at which it was taken" if self.is_image else "a table has its own times"
            raise problem(
                f"at: {what}; {'write e.g. at = ' + chr(34) + '2 h' + chr(34) if self.is_image else 'leave it out'}"
            )
        return self


class Fit(Table):
    """What is fitted, and how its uncertainty is found."""

    parameters: Annotated[tuple[Text, ...], Field(min_length=1)]
    method: Annotated[str, choice("closure", "synthetic")] = "closure"
    uncertainty: Annotated[str, choice("sandwich", "fisher", "profile", "nuts")] = "sandwich"
    calibrate: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = None
    level: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.9
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 0
    data: tuple[FitData, ...] = ()

    @property
    def num_simulations(self) -> int:
        """Simulations at the estimate; 400 unless told, and none where nothing uses them."""
        if self.calibrate is None:
            return 400 if self.uses_simulations else 0
        return self.calibrate

    @property
    def uses_simulations(self) -> bool:
        """Whether scatter is that of simulations at the estimate."""
        return self.uncertainty == "sandwich" or self.method == "synthetic"

    @model_validator(mode="after")
    def _consistent(self) -> Fit:
        if len(set(self.parameters)) < len(self.parameters):
            raise problem(f"parameters {list(self.parameters)} name one twice; give each once")
        if self.uncertainty not in {"sandwich", "nuts"} and self.method == "synthetic":
            raise problem(f"uncertainty {self.uncertainty} is not that of method synthetic; choose sandwich or nuts")
        if not self.uses_simulations and self.num_simulations:
            raise problem(
                f"calibrate = {self.calibrate}: uncertainty {self.uncertainty} is the closure's own and uses no "
                'simulations; give 0, or uncertainty = "sandwich"'
            )
        fewest = 2 * len(self.parameters) + 10
        if self.uses_simulations and self.num_simulations < fewest:
            raise problem(
                f"calibrate = {self.calibrate}: at least {fewest} simulations are needed for {len(self.parameters)} "
                'parameters; give 400, or method = "closure" with uncertainty = "fisher"'
            )
        return self
