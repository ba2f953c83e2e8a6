"""`RunConfig`: a model file after reading, in internal units, with every default filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from exodiff.config.compartments import Compartment, Vessels
from exodiff.config.exosomes import Cargo, Exosomes, Tag, with_likes
from exodiff.config.fields import (
    DiffusivityExpression,
    ObservableExpression,
    PositiveLength,
    PositiveTime,
    PropensityExpression,
    RateExpression,
    RatioExpression,
    Table,
    Text,
    TimeStep,
    VoxelExpression,
    Whole,
    choice,
    is_number,
    problem,
    shown,
)
from exodiff.config.fit import Fit
from exodiff.config.flow import Flow
from exodiff.config.geometry import Place, Region
from exodiff.config.interventions import Intervention
from exodiff.config.measurements import Assay, SizeHistogram
from exodiff.config.organs import LatticeEntry
from exodiff.config.parameters import ParameterEntry
from exodiff.config.species import Species
from exodiff.core.dimensions import DIMENSIONLESS, PER_TIME, VOLUME
from exodiff.core.equations import Equation, parse_equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Number

MAX_RECORDS = 10_000_000


class RunSettings(Table):
    """The [run] table, times in seconds."""

    duration_s: PositiveTime = Field(alias="duration")
    engine: Annotated[Literal["exact", "leap", "mean_field"], choice("exact", "leap", "mean_field")] = "leap"
    time_step: TimeStep = "auto"
    tolerance: Annotated[float, Field(gt=0, le=0.5, strict=True)] = 0.1
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 0
    replicates: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1
    observe_every_s: PositiveTime = Field(
        alias="observe_every", default_factory=lambda data: data.get("duration_s", 1.0) / 100
    )
    snapshot_every_s: PositiveTime = Field(
        alias="snapshot_every", default_factory=lambda data: data.get("duration_s", 1.0) / 10
    )
    checkpoint_every_s: PositiveTime = Field(alias="checkpoint_every", default=600.0)
    precision: Annotated[Literal["float32", "float64"], choice("float32", "float64")] = "float32"

    @model_validator(mode="after")
    def _few_records(self) -> RunSettings:
        for key, every in (("observe_every", self.observe_every_s), ("snapshot_every", self.snapshot_every_s)):
            if self.duration_s / every > MAX_RECORDS:
                raise problem(
                    f"{key} {every:g} s in {self.duration_s:g} s makes more than {MAX_RECORDS} records; raise {key}"
                )
        return self


class Chemotaxis(Table):
    """Which neighbour a cell prefers: weight exp(strength (u_j - u_i) / (u_j + u_i)) of the species that it goes up."""

    up: Text
    strength: RatioExpression


class CellType(Table):
    """A cell type; motility is the random walk to empty neighbours in um^2/s."""

    not_yet: ClassVar[frozenset[str]] = frozenset({"represents"})
    motility: DiffusivityExpression = Field(default=0, validate_default=True)
    chemotaxis: Chemotaxis | None = None


def _equation(value: Any) -> Equation:
    if isinstance(value, Equation):
        return value
    if not isinstance(value, str):
        raise problem(f"{shown(value)} is not an equation; write e.g. 'A + B -> C'")
    try:
        return parse_equation(value, "")
    except ConfigError as error:
        raise problem(error.problem) from None


class Reaction(Table):
    """A reaction with a mass-action `rate` or a `propensity` in events per second."""

    name: Text
    equation: Annotated[Equation, PlainValidator(_equation), PlainSerializer(str, return_type=str)]
    rate: RateExpression | None = None
    propensity: PropensityExpression | None = None
    region: Text | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Reaction:
        if (self.rate is None) == (self.propensity is None):
            raise problem("exactly one of rate and propensity is needed")
        return self

    def num_molecules(self, cells: Any) -> int:
        """How many molecules react; `cells` holds the names of the cell types, which do not count."""
        return sum(term.count for term in self.equation.reactants if term.name not in cells)


class Profile(Table):
    """Voxel mean of `of` by distance to the nearest voxel of a cell type or region."""

    of: VoxelExpression
    from_: Text = Field(alias="from")
    bin_um: PositiveLength = Field(alias="bin")


def _bins(value: Any) -> int | tuple[float, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000:
        return value
    if isinstance(value, list | tuple) and 2 <= len(value) <= 10_001 and all(is_number(item) for item in value):
        edges = tuple(float(item) for item in value)
        if all(a < b for a, b in pairwise(edges)):
            return edges
    raise problem(f"{shown(value)} are no bins; write their number (1 to 10000) or a list of rising edges")


class Histogram(Table):
    """Counts of `of` over the voxels of a cell type or region; `bins` is their number or their edges."""

    of: VoxelExpression
    over: Text
    bins: Annotated[int | tuple[float, ...], PlainValidator(_bins)] = 20


class Observable(Table):
    """A scalar `value`, a table over bins or an `assay`: exactly one is not None."""

    value: ObservableExpression | None = None
    profile: Profile | None = None
    histogram: Histogram | None = None
    size_histogram: SizeHistogram | None = None
    assay: Assay | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Observable:
        given = (self.value, self.profile, self.histogram, self.size_histogram, self.assay)
        if sum(item is not None for item in given) != 1:
            raise problem("exactly one of value, profile, histogram, size_histogram, assay is needed")
        return self


def _named(items: Sequence[Any], letter: str, taken: set[str]) -> list[Any]:
    taken = taken | {str(item["name"]) for item in items if isinstance(item, dict) and "name" in item}
    named = []
    for position, item in enumerate(items, start=1):
        if not isinstance(item, dict) or "name" in item:
            named.append(item)
            continue
        name = f"{letter}{position}"
        while name in taken:
            name += "_"
        named.append({"name": name, **item})
    return named


def _flattened(intervention: Any, heads: set[str]) -> Any:
    """Dotted keys of `add`, `set` and `infuse` that TOML reads as nested tables, as one key each."""
    if not isinstance(intervention, dict):
        return intervention
    keys = [key for key in ("add", "set", "infuse") if isinstance(intervention.get(key), dict)]
    return {**intervention, **{key: dict(_dotted(intervention[key], heads, "")) for key in keys}}


def _dotted(table: Mapping[str, Any], heads: set[str], head: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and (head or key in heads):
            yield from _dotted(value, heads, f"{head}{key}.")
        else:
            yield f"{head}{key}", value


def _schema(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise problem(f"{shown(value)} is not a version that this program reads; write schema = 1")
    return 1


class RunConfig(Table):
    """A whole model file."""

    schema_: Annotated[int, BeforeValidator(_schema)] = Field(alias="schema")
    title: Text = ""
    run: RunSettings
    lattice: LatticeEntry
    parameters: dict[Text, ParameterEntry] = Field(default_factory=dict)
    cells: dict[Text, CellType] = Field(default_factory=dict)
    species: dict[Text, Species] = Field(default_factory=dict)
    flow: Flow | None = None
    compartments: dict[Text, Compartment] = Field(default_factory=dict)
    vessels: dict[Text, Vessels] = Field(default_factory=dict)
    cargo: dict[Text, Cargo] = Field(default_factory=dict)
    tags: dict[Text, Tag] = Field(default_factory=dict)
    exosomes: dict[Text, Exosomes] = Field(default_factory=dict)
    reactions: tuple[Reaction, ...] = ()
    place: tuple[Place, ...] = ()
    regions: dict[Text, Region] = Field(default_factory=dict)
    interventions: tuple[Intervention, ...] = ()
    observables: dict[Text, Observable] = Field(default_factory=dict)
    fit: Fit | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_lists(cls, data: Any) -> Any:
        """Call unnamed reactions r1, r2, ... and interventions i1, i2, ..., with _ added where that name is taken."""
        if not isinstance(data, dict):
            return data
        keys = ("species", "cells", "parameters", "regions", "lattice", "exosomes", "compartments")
        tables = [data.get(key) for key in keys]
        taken = {str(name) for table in tables if isinstance(table, dict) for name in table}
        named = {
            key: _named(data[key], letter, taken)
            for key, letter in (("reactions", "r"), ("interventions", "i"))
            if isinstance(data.get(key), list | tuple)
        }
        return {**data, **named}

    @model_validator(mode="before")
    @classmethod
    def _complete_populations(cls, data: Any) -> Any:
        """Fill in what populations take over by `like`; read ``add = { tEV.s1 = 5 }`` as ``"tEV.s1" = 5``."""
        if not isinstance(data, dict) or not isinstance(data.get("exosomes", {}), dict):
            return data
        populations = with_likes(data.get("exosomes", {}))
        compartments = data.get("compartments", {})
        heads = {*populations, *(compartments if isinstance(compartments, dict) else ())}
        heads |= {"dose"} if "cargo" in data else set()
        given = data.get("interventions")
        if heads and isinstance(given, list | tuple):
            data = {**data, "interventions": [_flattened(item, heads) for item in given]}
        return {**data, "exosomes": populations} if populations else data

    def lattice_of(self, region: str | None) -> str | None:
        """The lattice of several that a region lies in; None if it lies in each, or there is but one."""
        if region in self.lattice.parts:
            return region
        return self.regions[region].region if region in self.regions else None

    @model_validator(mode="after")
    def _give_bare_rates_their_unit(self) -> RunConfig:
        """A rate without a unit is in internal units: volume^(m-1)/s, and 1/s where no molecule reacts."""
        # The model is frozen for others; nobody has seen this object yet.
        object.__setattr__(self, "reactions", tuple(self._with_unit(reaction) for reaction in self.reactions))
        return self

    def _with_unit(self, reaction: Reaction) -> Reaction:
        rate = reaction.rate
        if not isinstance(rate, Number) or rate.dimension != DIMENSIONLESS:
            return reaction
        order = max(reaction.num_molecules(self.cells) - 1, 0)
        return reaction.model_copy(update={"rate": Number(rate.value, VOLUME**order * PER_TIME)})
