"""What the model file says about names: the run's title, what an observable is, and its unit."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from exodiff.config.load import from_mapping
from exodiff.config.resolved import dump
from exodiff.config.units import parse_quantity
from exodiff.core.dimensions import DIMENSIONLESS, PER_VOLUME, TIME, VOLUME, Dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Binary, Call, Expression, Name, Number, infer_dimension, parse
from exodiff.core.syntax import FORMS
from exodiff.expand.exosomes import expanded
from exodiff.viz.holders import Holders, possible_holders, table_of
from exodiff.viz.scales import time_unit

RESOLVED = "resolved.toml"
Kind = Literal["value", "profile", "histogram", "size_histogram", "assay"]
_VOLUMES = (("mL", 1e12), ("µL", 1e9), ("nL", 1e6))  # um^3
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class ObservableLabel:
    """How to write about an observable.

    Attributes:
        kind: None when the model does not tell.
        expression: as in the model file; of the values in a profile or histogram.
        unit: for an axis; empty when it is not known.
        place: what distances are from, or what a histogram is over.

    """

    kind: Kind | None = None
    expression: str = ""
    unit: str = ""
    place: str = ""


@dataclass(frozen=True)
class Labels:
    """What is known of the run besides its numbers; all of it may be missing.

    ``holders``: the cell types that may hold a species in cells, where that is known. ``nouns``: what the numbers of a
    species count, where these are no molecules. ``lattices``: names and voxels along x, where there are several.
    ``duration_s``: how long the run is to be, 0 where that is not known.
    """

    title: str = ""
    cell_types: tuple[str, ...] = ()
    free_species: tuple[str, ...] = ()
    in_cell_species: tuple[str, ...] = ()
    observables: dict[str, ObservableLabel] = field(default_factory=dict)
    holders: Holders = field(default_factory=dict)
    nouns: dict[str, str] = field(default_factory=dict)
    lattices: tuple[tuple[str, int], ...] = ()
    duration_s: float = 0.0

    def until(self, last_s: float) -> "Labels":
        """The same, with the time in the title that a run has reached which is not at its end."""
        if last_s >= self.duration_s:
            return self
        unit = time_unit(self.duration_s)
        reached = f"until {last_s / unit.seconds:.3g} of {unit.text(self.duration_s)}"
        return replace(self, title=f"{self.title} ({reached})" if self.title else reached)

    def observable(self, name: str) -> ObservableLabel:
        """The label of an observable, an empty one when the model does not know it."""
        return self.observables.get(name, ObservableLabel())


def read_labels(run_dir: Path) -> Labels:
    """Reads ``resolved.toml``; what is missing or unreadable is left out, for figures need none of it."""
    try:
        text = (run_dir / RESOLVED).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return Labels()
    return labels_of(text)


def labels_of(text: str) -> Labels:
    """What a resolved model file says."""
    try:
        given = tomllib.loads(text)
    except ValueError:
        return Labels()
    model = _without_populations(given)
    species = table_of(model, "species")
    nouns = {name: noun for name in species if (noun := _noun(name, table_of(given, "exosomes"))) is not None}
    units, plain = _Units(model, nouns), table_of(model, "observables")
    in_cell = tuple(name for name in species if table_of(species, name).get("in") == "cell")
    return Labels(
        str(model.get("title", "")),
        tuple(table_of(model, "cells")),
        tuple(name for name in species if name not in in_cell),
        in_cell,
        {
            name: units.label(entry, table_of(plain, name))
            for name, entry in table_of(given, "observables").items()
            if isinstance(entry, dict)
        },
        possible_holders(model, in_cell),
        nouns,
        _lattices(table_of(given, "lattice")),
        _duration_s(table_of(given, "run")),
    )


def _duration_s(run: dict[str, Any]) -> float:
    try:
        value, dimension = parse_quantity(str(run.get("duration", "")), "")
    except ConfigError:
        return 0.0
    return value if dimension == TIME else 0.0


def _lattices(table: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Names and voxels along x of lattices with names."""
    shapes = {name: table_of(table, name).get("shape") for name in table}
    return tuple((name, shape[0]) for name, shape in shapes.items() if shape)


def _without_populations(given: dict[str, Any]) -> dict[str, Any]:
    """The tables of the model with the plain species and reactions that populations stand for."""
    if not table_of(given, "exosomes") and not table_of(given, "cargo"):
        return given
    try:
        return tomllib.loads(dump(expanded(from_mapping(given))))
    except ConfigError:
        return given


def _noun(name: str, populations: dict[str, Any]) -> str | None:
    """What the numbers of a species count, if it is of a population or a dose."""
    head, _, part = name.partition(".")
    if head == "dose" and part:
        return "copies"
    if head not in populations:
        return None
    return {"mvb": "bodies", "receptor": "receptors"}.get(part.rpartition(".")[2], "vesicles")


def unit_text(unit: str) -> str:
    """A unit as printed: ``um^2/s`` becomes ``µm²/s``, ``1`` nothing."""
    words = "" if unit == "1" else unit.replace("um", "µm")
    head, *powers = words.split("^")
    for part in powers:
        size = len(part) - len(part.lstrip("-0123456789"))
        head += part[:size].translate(_SUPERSCRIPTS) + part[size:] if size else "^" + part
    return head


def volume_text(text: str) -> str:
    """A volume in the unit in which samples are told: ``500000000000 um^3`` becomes ``0.5 mL``; else as it is."""
    try:
        value, dimension = parse_quantity(text, "")
    except ConfigError:
        return text
    if dimension != VOLUME:
        return text
    unit, size = next(((unit, size) for unit, size in _VOLUMES if value >= 0.1 * size), ("µm³", 1.0))
    return f"{value / size:g} {unit}"


class _Units:
    """Units of expressions, from the tables of the model."""

    def __init__(self, model: dict[str, Any], nouns: dict[str, str]) -> None:
        self.nouns = nouns
        self.parameters = table_of(model, "parameters")
        self.cells = table_of(model, "cells")
        self.species = table_of(model, "species")
        self.compartments = table_of(model, "compartments")

    def label(self, entry: dict[str, Any], plain: dict[str, Any]) -> ObservableLabel:
        """The label of one entry of the observables; ``plain`` is the entry without populations, for its unit."""
        if "value" in entry:
            return ObservableLabel("value", str(entry["value"]), self.unit(str(plain.get("value", "")), ""))
        profile, histogram = table_of(entry, "profile"), table_of(entry, "histogram")
        if profile:
            unit = self.unit(str(table_of(plain, "profile").get("of", "")), " per voxel")
            return ObservableLabel("profile", str(profile.get("of", "")), unit, str(profile.get("from", "")))
        if histogram:
            text, over = str(histogram.get("of", "")), str(histogram.get("over", ""))
            each = " per cell" if over in self.cells else " per voxel"
            unit = self.unit(str(table_of(plain, "histogram").get("of", "")), each)
            return ObservableLabel("histogram", text, unit, over)
        sizes, assay = table_of(entry, "size_histogram"), table_of(entry, "assay")
        if sizes:
            steps, sample = sizes.get("track_steps"), sizes.get("sample")
            told = f"{sizes.get('of', '')}: {sample} tracks of {steps} steps"
            return ObservableLabel("size_histogram", told, "diameter (nm)")
        if assay:
            sample = volume_text(str(assay.get("sample", "")))
            return ObservableLabel("assay", f"positives in {sample} of {assay.get('of', '')}", "positives")
        return ObservableLabel()

    def unit(self, text: str, each: str) -> str:
        """The unit of an expression in um, s and what is counted; empty when it cannot be told."""
        try:
            expression = parse(text, "", frozenset(FORMS))
            dimension = infer_dimension(expression, self._dimension, "")
        except ConfigError:
            return ""
        if isinstance(expression, Call) and expression.function == "conc":
            (argument,) = expression.arguments
            return f"{self._noun(argument)}/µm³"
        if dimension == DIMENSIONLESS:
            return self._counted(expression, each) or "dimensionless"
        return unit_text(str(dimension))

    def _dimension(self, node: Name | Call) -> Dimension:
        if isinstance(node, Call):
            return PER_VOLUME if node.function == "conc" else DIMENSIONLESS
        if node.name == "t":
            return TIME
        entry = self.parameters.get(node.name, {})
        values = [entry.get("value"), *table_of(entry, "by_cell").values()] if isinstance(entry, dict) else [entry]
        first = next((value for value in values if value is not None), 0)
        return parse_quantity(first, "")[1] if isinstance(first, str) else DIMENSIONLESS

    def _unit_of_concentration(self, name: str) -> str:
        table = table_of(self.species, name)
        return unit_text(str(table.get("unit", ""))) if table.get("kind") == "concentration" else ""

    def _noun(self, what: Expression) -> str:
        name = what.name if isinstance(what, Name) else ""
        return "cells" if name in self.cells else self.nouns.get(name, "molecules")

    def _counted(self, node: Expression, each: str) -> str:  # noqa: PLR0911  (one return a kind of node)
        """What an expression counts: sums of like things, and multiples of them, count these things."""
        match node:
            case Name(name) | Call("mean", (Name(name), *_)) if unit := self._unit_of_concentration(name):
                return unit
            case Name(name) if name in self.species:
                return self._noun(node) + each
            case Name(name) if name in self.cells:
                return "cells" + each
            case Name(name) if name.partition(".")[0] in self.compartments:
                inside = name.partition(".")[2]
                is_amount = table_of(self.species, inside).get("kind") == "concentration"
                return "" if is_amount else self._noun(Name(inside))
            case Call("total", (Name() as what, *_)):
                return self._noun(what)
            case Call("mean", (Name() as what, *place)):
                among = place and isinstance(place[0], Name) and place[0].name in self.cells
                return self._noun(what) + (" per cell" if among else " per voxel")
            case Call("events", _):
                return "events"
            case Call("near", _):
                return "neighbours"
            case Binary("+" | "-", left, right):
                found = {self._counted(left, each), self._counted(right, each)}
                return found.pop() if len(found) == 1 else ""
            case Binary("*", Number(), scaled) | Binary("*" | "/", scaled, Number()):
                return self._counted(scaled, each)
            case _:
                return ""
