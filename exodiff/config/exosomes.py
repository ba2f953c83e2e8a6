"""The tables [exosomes.NAME], [cargo.NAME], [tags.NAME]: populations of vesicles, what they carry, who takes it up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, model_validator

from exodiff.config.fields import (
    ClearanceExpression,
    Count,
    NumberExpression,
    PerTimeExpression,
    PositiveLength,
    PropensityExpression,
    Table,
    TemperatureExpression,
    Text,
    TimeExpression,
    ViscosityExpression,
    Whole,
    choice,
    is_number,
    nearest,
    problem,
    shown,
)
from exodiff.config.species import Density, Diffusion, Initial, PoissonCount, read_diffusion, read_initial, write_form
from exodiff.core.dimensions import TEMPERATURE
from exodiff.core.equations import Burst, Term, parse_equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, Number, is_zero

LEAST_MASS = 1e-3
BODY_TEMPERATURE_K = 310.15
# Tables that `like` replaces as a whole.
WHOLE = ("cargo", "receivers", "initial")


class Cargo(Table):
    """One kind of cargo: where on a vesicle it is, and how long it acts in the cell that took it up."""

    site: Annotated[Literal["surface", "lumen"], choice("surface", "lumen")]
    half_life: TimeExpression | None = None


def _factor(value: Any) -> float:
    if not is_number(value) or not 0 <= float(value) < math.inf:
        raise problem(f"{shown(value)} is no weight; write a number of 0 or more")
    return float(value)


Factor = Annotated[float, PlainValidator(_factor)]


class Tag(Table):
    """Factors on the receiver weights and on the decay of every population that has the tag."""

    receivers: dict[Text, Factor] = Field(default_factory=dict)
    decay: Factor | None = None


class Diameter(Table):
    """A lognormal law of diameters, cut to `min` ... `max`, in bins of equal probability."""

    median_um: PositiveLength = Field(alias="median")
    gsd: Annotated[float, Field(gt=1.0, le=10.0, strict=True)]
    min_um: PositiveLength = Field(alias="min")
    max_um: PositiveLength = Field(alias="max")
    bins: Annotated[Whole, Field(ge=1, le=100)] = 1

    @property
    def log_law(self) -> NormalDist:
        """The law of the logarithm of the diameter in um, before it is cut."""
        return NormalDist(math.log(self.median_um), math.log(self.gsd))

    @model_validator(mode="after")
    def _some_mass(self) -> Diameter:
        if self.min_um >= self.max_um:
            raise problem(f"min {self.min_um:g} um is not below max {self.max_um:g} um; swap or change them")
        law = self.log_law
        mass = law.cdf(math.log(self.max_um)) - law.cdf(math.log(self.min_um))
        if mass < LEAST_MASS:
            raise problem(
                f"min ... max holds {mass:.2g} of the lognormal law; at least {LEAST_MASS:g} is needed, widen it"
            )
        return self


class StokesEinstein(Table):
    """Diffusion k T / (3 pi viscosity diameter tortuosity^2)."""

    viscosity: ViscosityExpression
    tortuosity: NumberExpression = Number(1.0)
    temperature: TemperatureExpression = Number(BODY_TEMPERATURE_K, TEMPERATURE)


class OfSize(Table):
    """Diffusion by the size of a vesicle."""

    stokes_einstein: StokesEinstein


def _diffusion(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict) and "stokes_einstein" in value:
        return OfSize.model_validate(value)
    return read_diffusion(value, info)


def _burst(value: Any) -> Term:
    if isinstance(value, Term):
        return value
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or "+" in text.split("(")[0] or "->" in text:
        raise problem(f"{shown(value)} is no burst; write poisson(20), geometric(20) or a whole number")
    try:
        (term,) = parse_equation(f"-> {text} vesicle", "").products
    except (ConfigError, ValueError):
        raise problem(f"{shown(value)} is no burst; write poisson(20), geometric(20) or a whole number") from None
    if term.burst is not None and term.burst.kind == "loaded":
        raise problem("loaded(...) is for cargo; write poisson(20), geometric(20) or a whole number")
    return term


class Biogenesis(Table):
    """Multivesicular bodies: formed by two routes, fused with the membrane or degraded in lysosomes."""

    escrt: PropensityExpression | None = None
    ceramide: PropensityExpression | None = None
    lysosome: PropensityExpression | None = None
    fusion: PropensityExpression
    burst: Annotated[
        Term, PlainValidator(_burst), PlainSerializer(lambda term: str(term).removesuffix(" vesicle"), return_type=str)
    ]

    @model_validator(mode="after")
    def _some_route(self) -> Biogenesis:
        if self.escrt is None and self.ceramide is None:
            raise problem("no route forms multivesicular bodies; give escrt, ceramide or both")
        return self

    @property
    def routes(self) -> dict[str, Expression]:
        """The routes that are given, by name."""
        return {key: rate for key in ("escrt", "ceramide") if (rate := getattr(self, key)) is not None}


class Load(Table):
    """Copies of a cargo on a vesicle: none, or with the probability `fraction` Poisson with the given mean."""

    fraction: NumberExpression = Number(1.0)
    mean: NumberExpression
    scale: Annotated[Literal["area", "volume"] | None, choice("area", "volume")] = None


class Receiver(Table):
    """A cell type that takes vesicles up."""

    weight: Factor = 1.0
    receptors: Count | None = None
    from_: Text | None = Field(default=None, alias="from")


ReceiverEntry = Annotated[
    Receiver, BeforeValidator(lambda value: value if isinstance(value, dict | Receiver) else {"weight": value})
]


class Uptake(Table):
    """Binding to receptors, internalisation, and what becomes of a vesicle inside; or a clearance in their place."""

    mode: Annotated[Literal["receptors", "clearance"], choice("receptors", "clearance")] = "receptors"
    receivers: Annotated[dict[Text, ReceiverEntry], Field(min_length=1)]
    receptors: Count | None = None
    receptor: Text | None = None
    k_on: ClearanceExpression
    k_off: PropensityExpression | None = None
    k_internalise: PropensityExpression | None = None
    k_escape: PropensityExpression | None = None
    k_degrade: PropensityExpression | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Uptake:
        if self.receptor is not None and self.receptors is not None:
            raise problem("both receptors (an own pool) and receptor (a shared species) are given; keep one of them")
        if self.mode == "receptors" and self.k_internalise is None:
            raise problem('k_internalise is missing; this key is needed with mode = "receptors"')
        if self.mode == "clearance" and self.receptor is not None:
            raise problem('a clearance has no shared receptor; give receptors, or mode = "receptors"')
        own = [cell for cell, receiver in self.receivers.items() if receiver.receptors is not None]
        if self.receptor is not None and own:
            raise problem(
                f"receivers.{own[0]} has receptors of its own, but {self.receptor!r} is shared; leave them out"
            )
        if self.compartments and self.mode == "receptors" and self.k_off is not None:
            raise problem(
                "k_off of vesicles bound to receivers `from` a compartment is not yet supported; leave it out, or take "
                'mode = "clearance"'
            )
        without = [cell for cell in self.receivers if self.receptor is None and self.receptors_of(cell) is None]
        if without:
            raise problem(f"{without[0]!r} has no receptors; give receptors, or receptor = a shared species")
        return self

    def receptors_of(self, cell: str) -> float | None:
        """Receptors on a new cell of a type; None where they are a shared species."""
        own = self.receivers[cell].receptors
        return self.receptors if own is None else own

    @property
    def compartments(self) -> tuple[str, ...]:
        """The compartments from which receivers take vesicles, once each."""
        return tuple(dict.fromkeys(receiver.from_ for receiver in self.receivers.values() if receiver.from_))

    @property
    def has_endosome(self) -> bool:
        """Whether vesicles stay inside for a while; a clearance without fates delivers all at once."""
        return self.mode == "receptors" or self.k_escape is not None or self.k_degrade is not None


class Unresolved:
    """What stands for a `like` that names nothing: its message, told at its key path."""

    def __init__(self, message: str) -> None:
        self.message = message


def _like(value: Any) -> None:
    raise problem(value.message if isinstance(value, Unresolved) else f"{shown(value)} is no name of a population")


class Exosomes(Table):
    """A population of vesicles: who makes them, how they move, what they carry, who takes them up."""

    like: Annotated[None, BeforeValidator(_like)] = None
    released_by: tuple[Text, ...] | None = None
    tags: tuple[Text, ...] = ()
    diameter: Diameter | None = None
    diffusion: Annotated[Diffusion | OfSize, PlainValidator(_diffusion), PlainSerializer(write_form)] = Field(
        default=0, validate_default=True
    )
    decay: PerTimeExpression | None = None
    initial: Annotated[Initial, PlainValidator(read_initial), PlainSerializer(write_form)] = 0.0
    biogenesis: Biogenesis | None = None
    cargo: dict[Text, Load] = Field(default_factory=dict)
    uptake: Uptake | None = None

    @property
    def num_bins(self) -> int:
        """How many sizes there are."""
        return 1 if self.diameter is None else self.diameter.bins

    @property
    def senders(self) -> tuple[str, ...]:
        """Cell types that form vesicles."""
        return self.released_by or ()

    @model_validator(mode="after")
    def _consistent(self) -> Exosomes:
        if self.senders and self.biogenesis is None:
            raise problem("released_by needs biogenesis; add it, or write the release as a reaction")
        if self.released_by is None and self.biogenesis is not None:
            raise problem("biogenesis needs released_by, the cell types that release; [] for none")
        for key in ("released_by", "tags"):
            given = getattr(self, key) or ()
            twice = [item for item in given if given.count(item) > 1]
            if twice:
                raise problem(f"{key} names {twice[0]!r} twice; once is enough")
        if isinstance(self.diffusion, OfSize) and self.diameter is None:
            raise problem("diffusion by stokes_einstein needs a diameter; add it, or write a quantity")
        scaled = [name for name, load in self.cargo.items() if load.scale is not None]
        if scaled and self.diameter is None:
            raise problem(f"cargo.{scaled[0]}.scale needs a diameter; add it, or leave scale out")
        self._check_split()
        return self

    def _check_split(self) -> None:
        """Only Poisson numbers fall into bins independently of each other."""
        if self.num_bins == 1:
            return
        if self.biogenesis is not None and not is_poisson(self.biogenesis.burst):
            burst = str(self.biogenesis.burst).removesuffix(" vesicle")
            raise problem(
                f"a burst of {burst} does not fall into {self.num_bins} size bins independently; "
                "write poisson(...), or one bin"
            )
        if not isinstance(self.initial, Density | PoissonCount) and self.initial != 0:
            raise problem(
                f"initial with {self.num_bins} size bins is {{ poisson = ... }} or {{ density = ... }}, "
                "which fall into bins independently; or take one bin"
            )


def is_poisson(term: Term) -> bool:
    """Whether a product comes in Poisson numbers."""
    return isinstance(term.burst, Burst) and term.burst.kind == "poisson"


def with_likes(populations: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of all populations, with what `like` takes over from others."""
    return {name: _resolved(name, populations, ()) for name in populations}


def _resolved(name: str, populations: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    own = populations[name]
    if not isinstance(own, dict) or "like" not in own:
        return own
    like = own["like"]
    if not isinstance(like, str) or like not in populations or like == name:
        known = [other for other in populations if other != name]
        return {**own, "like": Unresolved(f"{shown(like)} is no other population; {nearest(str(like), known)}")}
    if like in seen:
        return {**own, "like": Unresolved(f"{like!r} and {name!r} are like each other; give one of them in full")}
    base = _resolved(like, populations, (*seen, name))
    if not isinstance(base, dict):
        return own
    return merged(base, {key: value for key, value in own.items() if key != "like"})


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Tables key by key; lists, numbers, and the tables of `WHOLE` are replaced."""
    result = dict(base)
    for other, key in (("receptor", "receptors"), ("receptors", "receptor")):
        if key in own and other not in own:
            result.pop(other, None)
    for key, value in own.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in WHOLE:
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def is_absent(rate: Expression | None) -> bool:
    """Whether a rate is not given or is the literal 0."""
    return rate is None or is_zero(rate)
