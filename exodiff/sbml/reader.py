"""What an SBML file says, as plain data: read with libsbml, and refused by name where it cannot be represented."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Compare, Expression
from exodiff.sbml.formula import Formulas

MAX_BYTES = 20_000_000
_LITRE_UM3 = 1e15


@dataclass(frozen=True)
class SbmlSpecies:
    """A species; `is_amount`: its name in mathematics is the number of molecules, not a concentration."""

    name: str
    amount: float
    is_amount: bool
    is_constant: bool


@dataclass(frozen=True)
class SbmlReaction:
    """A reaction: numbers of molecules by species, and its law as written."""

    name: str
    reactants: dict[str, int]
    products: dict[str, int]
    law: Expression
    is_reversible: bool


@dataclass(frozen=True)
class SbmlEvent:
    """An event without delay and priority: all assignments take the values from before it."""

    name: str
    condition: Compare
    is_true_before: bool
    assignments: dict[str, Expression]


@dataclass(frozen=True)
class SbmlModel:
    """A model of one compartment; `rules` are the assignment rules by variable."""

    name: str
    compartment: str
    size: float
    volume_um3: float
    time_unit_s: float
    species: dict[str, SbmlSpecies]
    parameters: dict[str, float]
    rules: dict[str, Expression]
    reactions: tuple[SbmlReaction, ...]
    events: tuple[SbmlEvent, ...]


def read_sbml(path: Path) -> SbmlModel:
    """Read an SBML file.

    Raises:
        ConfigError: when it is no valid SBML, or has something that cannot be represented: the text names it.

    """
    libsbml = _libsbml()
    document = libsbml.readSBMLFromString(_text(path))
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.isError() or error.isFatal():
            told = error.getShortMessage() or error.getMessage()
            raise ConfigError(f"{path}:{error.getLine()}", f"is not valid SBML: {' '.join(told.split())}; correct it")
    _prepare(libsbml, document, path)
    return _Reader(libsbml, document, path).model()


def _libsbml() -> Any:
    try:
        return import_module("libsbml")
    except ImportError:
        raise ConfigError(
            "import", "reading SBML needs the package python-libsbml; install it with: pip install 'exodiff[sbml]'"
        ) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror}); check the path") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(str(path), f"is larger than {MAX_BYTES // 1_000_000} MB; give a smaller file")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ConfigError(str(path), "declares a document type or entities, which SBML has not; remove them")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(path), "is not a UTF-8 text; save it as UTF-8") from None


def _prepare(libsbml: Any, document: Any, path: Path) -> None:
    """Let libsbml put functions in their place, make local parameters global, and evaluate initial assignments."""
    # before level 3 libsbml has plugins of its own for layouts, which it calls required
    for i in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):
        package = document.getPlugin(i).getPackageName()
        if document.getPackageRequired(package):
            raise ConfigError(str(path), f"needs the SBML package {package!r}, which is not supported")
    for option in ("expandFunctionDefinitions", "promoteLocalParameters", "expandInitialAssignments"):
        properties = libsbml.ConversionProperties()
        properties.addOption(option, True)
        if document.convert(properties) != libsbml.LIBSBML_OPERATION_SUCCESS:
            raise ConfigError(str(path), f"libsbml could not do {option} on it; is the file valid?")


def _each(items: Any) -> Iterator[Any]:
    return (items.get(i) for i in range(items.size()))


class _Reader:
    """Reads one document; everything that is refused names its element."""

    def __init__(self, libsbml: Any, document: Any, path: Path) -> None:
        self.libsbml, self.path = libsbml, path
        self.source = document.getModel()
        if self.source is None:
            raise ConfigError(str(path), "has no model")
        self.formulas = Formulas(libsbml)

    def refuse(self, element: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.path}: {element}", problem)

    def where(self, element: str) -> str:
        return f"{self.path}: {element}"

    def model(self) -> SbmlModel:
        source = self.source
        self._refuse_what_has_no_place()
        compartment = self._compartment()
        rules = {rule.getVariable(): self._rule(rule) for rule in _each(source.getListOfRules())}
        species = {s.getId(): self._species(s, compartment, rules) for s in _each(source.getListOfSpecies())}
        size = compartment.getSize() if compartment.isSetSize() else 1.0
        return SbmlModel(
            name=source.getName() or source.getId() or self.path.stem,
            compartment=compartment.getId(),
            size=size,
            volume_um3=size * self._volume_unit_um3(compartment),
            time_unit_s=self._time_unit_s(),
            species=species,
            parameters=self._parameters(rules),
            rules=rules,
            reactions=tuple(self._reaction(r) for r in _each(source.getListOfReactions())),
            events=tuple(self._event(e, i) for i, e in enumerate(_each(source.getListOfEvents()), start=1)),
        )

    def _refuse_what_has_no_place(self) -> None:
        source = self.source
        if source.isSetConversionFactor():
            raise self.refuse("model", "has a conversionFactor, which is not supported; remove it")
        if source.getNumConstraints():
            raise self.refuse("constraint", "constraints are not supported; remove them")
        for left in _each(source.getListOfInitialAssignments()):
            raise self.refuse(
                f"initialAssignment of {left.getSymbol()}", "has no value at time 0 that is known; give a number"
            )
        unit = self._unit_kind(source.getSubstanceUnits() if source.isSetSubstanceUnits() else "substance")
        if unit is not None and unit[0] not in ("item", "dimensionless"):
            raise self.refuse("model", f"its unit of substance is {unit[0]}; a stochastic model counts items")

    def _compartment(self) -> Any:
        found = list(_each(self.source.getListOfCompartments()))
        if len(found) != 1:
            ids = ", ".join(c.getId() for c in found) or "none"
            raise self.refuse("compartments", f"one well-mixed compartment is supported; the file has {ids}")
        return found[0]

    def _rule(self, rule: Any) -> Expression:
        variable = rule.getVariable()
        if not rule.isAssignment():
            kind = "rate" if rule.isRate() else "algebraic"
            raise self.refuse(f"rule of {variable}" if variable else "rule", f"{kind} rules are not supported")
        if self.source.getSpecies(variable) is None and self.source.getParameter(variable) is None:
            raise self.refuse(f"rule of {variable}", "only species and parameters may have a rule")
        return self.formulas.expression(rule.getMath(), self.where(f"rule of {variable}"))

    def _species(self, species: Any, compartment: Any, rules: dict[str, Expression]) -> SbmlSpecies:
        name = species.getId()
        if species.isSetConversionFactor():
            raise self.refuse(f"species {name}", "has a conversionFactor, which is not supported; remove it")
        unit = self._unit_kind(species.getSubstanceUnits()) if species.isSetSubstanceUnits() else None
        if unit is not None and unit[0] not in ("item", "dimensionless"):
            raise self.refuse(f"species {name}", f"its unit is {unit[0]}; a stochastic model counts items")
        size = compartment.getSize() if compartment.isSetSize() else 1.0
        if species.isSetInitialAmount():
            amount = species.getInitialAmount()
        elif species.isSetInitialConcentration():
            amount = species.getInitialConcentration() * size
        elif name in rules:
            amount = 0.0
        else:
            raise self.refuse(f"species {name}", "has no initial amount; give initialAmount")
        return SbmlSpecies(
            name,
            amount,
            is_amount=bool(species.getHasOnlySubstanceUnits()),
            is_constant=bool(species.getBoundaryCondition() or species.getConstant()),
        )

    def _parameters(self, rules: dict[str, Expression]) -> dict[str, float]:
        found = {}
        for parameter in _each(self.source.getListOfParameters()):
            name = parameter.getId()
            if name in rules:
                continue
            if not parameter.isSetValue():
                raise self.refuse(f"parameter {name}", "has no value; give one")
            found[name] = parameter.getValue()
        return found

    def _reaction(self, reaction: Any) -> SbmlReaction:
        name = reaction.getId()
        element = f"reaction {name}"
        if reaction.isSetFast() and reaction.getFast():
            raise self.refuse(element, "is fast, which is not supported; give it a rate")
        law = reaction.getKineticLaw()
        if law is None:
            raise self.refuse(element, "has no kinetic law; add one")
        return SbmlReaction(
            name,
            self._side(reaction.getListOfReactants(), element),
            self._side(reaction.getListOfProducts(), element),
            self.formulas.expression(law.getMath(), self.where(element)),
            is_reversible=bool(reaction.getReversible()),
        )

    def _side(self, references: Any, element: str) -> dict[str, int]:
        terms: dict[str, int] = {}
        for reference in _each(references):
            number = reference.getStoichiometry() if reference.isSetStoichiometry() else 1.0
            varies = reference.isSetStoichiometryMath() or (reference.isSetConstant() and not reference.getConstant())
            if varies or number != int(number) or number < 1:
                what = "varies" if varies else f"is {number:g}"
                raise self.refuse(element, f"the stoichiometry of {reference.getSpecies()} {what}; whole numbers only")
            terms[reference.getSpecies()] = terms.get(reference.getSpecies(), 0) + int(number)
        return terms

    def _event(self, event: Any, number: int) -> SbmlEvent:
        name = event.getId() or f"event_{number}"
        element = f"event {name}"
        for is_set, what in ((event.isSetDelay(), "delay"), (event.isSetPriority(), "priority")):
            if is_set:
                raise self.refuse(element, f"has a {what}, which is not supported; remove it")
        trigger = event.getTrigger()
        math = None if trigger is None else trigger.getMath()
        before = trigger is None or not trigger.isSetInitialValue() or bool(trigger.getInitialValue())
        return SbmlEvent(
            name,
            self.formulas.condition(math, self.where(element)),
            is_true_before=before,
            assignments={
                a.getVariable(): self.formulas.expression(a.getMath(), self.where(element))
                for a in _each(event.getListOfEventAssignments())
            },
        )

    def _unit_kind(self, name: str) -> tuple[str, float] | None:
        """Kind and factor of a unit of one kind to the first power (litre: also metre cubed); None if not defined."""
        definition = self.source.getUnitDefinition(name)
        if definition is None:
            is_base = self.libsbml.UnitKind_forName(name) != self.libsbml.UNIT_KIND_INVALID
            return (name, 1.0) if is_base else None
        if definition.getNumUnits() != 1:
            return name, 1.0
        unit = definition.getUnit(0)
        kind, power = self.libsbml.UnitKind_toString(unit.getKind()), unit.getExponentAsDouble()
        factor = (unit.getMultiplier() * 10.0 ** unit.getScale()) ** power
        if kind in ("metre", "meter") and power == 3:
            return "litre", factor * 1e3
        return (kind, factor) if power == 1 else (name, 1.0)

    def _volume_unit_um3(self, compartment: Any) -> float:
        """Without a unit of volume sizes are um^3."""
        default = self.source.getVolumeUnits() if self.source.isSetVolumeUnits() else "volume"
        unit = self._unit_kind(compartment.getUnits() if compartment.isSetUnits() else default)
        return _LITRE_UM3 * unit[1] if unit is not None and unit[0] in ("litre", "liter") else 1.0

    def _time_unit_s(self) -> float:
        unit = self._unit_kind(self.source.getTimeUnits() if self.source.isSetTimeUnits() else "time")
        if unit is None or unit[0] == "dimensionless":
            return 1.0
        if unit[0] != "second":
            raise self.refuse("model", f"its unit of time is {unit[0]}; use seconds, or a multiple of them")
        return unit[1]
