"""SBML texts for the tests: written by libsbml from short formulas."""

import re
from importlib import import_module
from typing import Any


def write_sbml(
    species: dict[str, dict[str, Any]],
    reactions: dict[str, tuple[dict[str, float], dict[str, float], str, dict[str, float]]],
    *,
    parameters: dict[str, float] | None = None,
    events: dict[str, tuple[str, dict[str, str]]] | None = None,
    rules: dict[str, str] | None = None,
    functions: dict[str, str] | None = None,
    size: float | None = 1.0,
    reversible: bool = False,
) -> str:
    """An SBML level 3 version 1 model of one compartment called Cell.

    Args:
        species: initial amount and the flags `boundary`, `constant`, `concentration` (in mathematics) by name.
        reactions: reactants, products, law and local parameters by name.
        parameters: of the model.
        events: trigger and assignments by name; triggers are false before time 0.
        rules: assignment rules.
        functions: function definitions, as lambda(...).
        size: of the compartment.
        reversible: flag of all reactions.

    """
    libsbml = import_module("libsbml")
    document = libsbml.SBMLDocument(3, 1)
    model = document.createModel()
    model.setId("case")
    cell = model.createCompartment()
    cell.setId("Cell")
    cell.setConstant(True)
    if size is not None:
        cell.setSize(size)
    for name, text in (functions or {}).items():
        function = model.createFunctionDefinition()
        function.setId(name)
        function.setMath(_formula(text))
    assigned = {name for _, targets in (events or {}).values() for name in targets}
    _add_parameters(model, parameters or {}, set(rules or {}), assigned)
    _add_species(model, species)
    for name, given in reactions.items():
        _add_reaction(model, name, given, set(species), reversible=reversible)
    for name, text in (rules or {}).items():
        rule = model.createAssignmentRule()
        rule.setVariable(name)
        rule.setMath(_formula(text))
    for name, given in (events or {}).items():
        _add_event(model, name, given)
    return libsbml.writeSBMLToString(document)


def _formula(text: str) -> Any:
    libsbml = import_module("libsbml")
    node = libsbml.parseL3Formula(text)
    assert node is not None, libsbml.getLastParseL3Error()
    return node


def _add_parameters(model: Any, values: dict[str, float], ruled: set[str], assigned: set[str]) -> None:
    for name, value in values.items():
        parameter = model.createParameter()
        parameter.setId(name)
        parameter.setConstant(name not in ruled | assigned)
        if name not in ruled:
            parameter.setValue(value)


def _add_species(model: Any, species: dict[str, dict[str, Any]]) -> None:
    for name, given in species.items():
        one = model.createSpecies()
        one.setId(name)
        one.setCompartment("Cell")
        if given.get("amount") is not None:
            one.setInitialAmount(given["amount"])
        one.setBoundaryCondition(bool(given.get("boundary")))
        one.setConstant(bool(given.get("constant")))
        one.setHasOnlySubstanceUnits(not given.get("concentration"))


def _add_reaction(model: Any, name: str, given: Any, species: set[str], *, reversible: bool) -> None:
    reactants, products, law, local = given
    reaction = model.createReaction()
    reaction.setId(name)
    reaction.setReversible(reversible)
    reaction.setFast(False)
    for terms, create in ((reactants, reaction.createReactant), (products, reaction.createProduct)):
        for term, number in terms.items():
            reference = create()
            reference.setSpecies(term)
            reference.setStoichiometry(number)
            reference.setConstant(True)
    # species that a law names beside reactants and products have to be declared
    for modifier in sorted((species - set(reactants) - set(products)) & set(re.findall(r"[A-Za-z_]\w*", law))):
        reaction.createModifier().setSpecies(modifier)
    kinetic = reaction.createKineticLaw()
    kinetic.setMath(_formula(law))
    for term, number in local.items():
        parameter = kinetic.createLocalParameter()
        parameter.setId(term)
        parameter.setValue(number)


def _add_event(model: Any, name: str, given: tuple[str, dict[str, str]]) -> None:
    trigger, assigned = given
    event = model.createEvent()
    event.setId(name)
    event.setUseValuesFromTriggerTime(True)
    made = event.createTrigger()
    made.setInitialValue(False)
    made.setPersistent(True)
    made.setMath(_formula(trigger))
    for variable, text in assigned.items():
        assignment = event.createEventAssignment()
        assignment.setVariable(variable)
        assignment.setMath(_formula(text))


def from_case(case: dict[str, Any]) -> str:
    """The SBML text of a case of the DSMTS in neutral form."""
    assigned = {s["id"]: s["assigned"] for s in case["species"] if "assigned" in s}
    return write_sbml(
        {
            s["id"]: {"amount": s["initial"], "boundary": s.get("boundary"), "constant": s.get("constant")}
            for s in case["species"]
            if s["id"] not in assigned
        },
        {
            r["id"]: (r["reactants"], r["products"], _law(r), r.get("sbml_local_parameters", {}))
            for r in case["reactions"]
        },
        parameters={**case["parameters"], **dict.fromkeys(assigned, 0.0)},
        events={
            e["id"]: (e["trigger_sbml"], {name: str(value) for name, value in e["assignments"].items()})
            for e in case["events"]
        },
        rules=assigned,
        size=case["compartments"]["Cell"],
    )


def _law(reaction: dict[str, Any]) -> str:
    """The law of the original file, or one of the same numbers."""
    if "sbml_rate_law" in reaction:
        return reaction["sbml_rate_law"]
    if reaction["kind"] == "expression":
        return reaction["rate"]
    factors = [str(reaction["rate"])]
    for name, number in reaction["reactants"].items():
        factors += [f"({name} - {i}) / {i + 1}" if i else name for i in range(number)]
    return " * ".join(factors)
