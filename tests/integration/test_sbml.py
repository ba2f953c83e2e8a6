"""`exodiff import`: what an SBML file becomes, and what is refused."""

import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import exodiff as ex
from exodiff.kernels.rates import Voxels, propensity
from exodiff.start import make_inputs
from tests.integration.sbml_files import from_case, write_sbml
from tests.integration.test_bad_input import run_cli
from tests.physics.checks import dsmts

pytest.importorskip("libsbml")

X = {"X": {"amount": 100}}


def imported(tmp_path, text, *arguments):
    """The model of an SBML text, through the command and the file that it writes."""
    source, out = tmp_path / "model.xml", tmp_path / "model.toml"
    source.write_text(text)
    code, told = run_cli("import", str(source), "--out", str(out), *arguments)
    assert code == 0, told
    return ex.load(out)


def refused(tmp_path, text):
    source, out = tmp_path / "model.xml", tmp_path / "model.toml"
    source.write_text(text)
    code, told = run_cli("import", str(source), "--out", str(out))
    assert code == 2, told
    assert len(told.strip().splitlines()) == 1, told
    assert not out.exists()
    return told


def reaction_of(model, name):
    found = {r.name: r for r in model.config.reactions}[name]
    return found.model_dump()


@pytest.mark.parametrize("name", dsmts.CASES)
def test_an_imported_case_has_the_reactions_of_the_case(tmp_path, name):
    case = dsmts.CASES[name]
    found, by_hand = imported(tmp_path, from_case(case)), ex.Model.from_dict(dsmts.to_model(case))
    for one, other in zip(found.problem.network.channels, by_hand.problem.network.channels, strict=True):
        assert (one.name, one.reactants, one.changes, one.kind) == (
            other.name,
            other.reactants,
            other.changes,
            other.kind,
        )
        np.testing.assert_allclose(_propensity(found, one), _propensity(by_hand, other), rtol=1e-6)
    assert np.array_equal(found.start, by_hand.start)


def _propensity(model, channel):
    """At 7, 8, 9, ... molecules of the species."""
    inputs = make_inputs(model, None, "float32")
    counts = jnp.arange(7, 7 + len(model.start), dtype=jnp.int32).reshape(-1, 1, 1, 1)
    return np.asarray(propensity(Voxels(model.problem, inputs, counts, jnp.zeros(())), channel)).ravel()


SIMULATED = (
    "dsmts_00006",
    "dsmts_00018",
    "dsmts_00028",
    "dsmts_00034",
    "twin_00019_assignment",
    "twin_00033_state_event",
)


@pytest.mark.parametrize("name", [SIMULATED[0], *(pytest.param(n, marks=pytest.mark.slow) for n in SIMULATED[1:])])
def test_an_imported_case_simulates_the_numbers_of_the_case(tmp_path, name):
    """The same draws as of the case written by hand."""
    case = dsmts.CASES[name]
    times = [0.0, 1.0, 24.0, 25.0, 26.0]
    found = ex.simulate(imported(tmp_path, from_case(case)), times, replicates=200, seed=3, time_step=0.25)
    by_hand = ex.simulate(ex.Model.from_dict(dsmts.to_model(case)), times, replicates=200, seed=3, time_step=0.25)
    for species in case["species"]:
        one, other = (np.asarray(t.observables[species["id"]]) for t in (found, by_hand))
        np.testing.assert_array_equal(one, other)


def test_pairs_become_mass_action_without_the_half(tmp_path):
    dimers = {"Dimerise": ({"P": 2}, {"P2": 1}, "k1*P*(P-1)/2", {})}
    species = {"P": {"amount": 100}, "P2": {"amount": 0}}
    model = imported(tmp_path, write_sbml(species, dimers, parameters={"k1": 0.001}, size=2.0))
    assert reaction_of(model, "Dimerise")["rate"] == "0.5 * k1 * voxel_volume / second"
    assert model.problem.grid.fluid_volume_um3 == pytest.approx(2.0)
    assert model.parameters["k1"] == 0.001


@pytest.mark.parametrize(
    ("reactants", "law", "rate"),
    [
        ({}, "k", "k / second"),
        ({"X": 1}, "k * X * 0.5 * 2", "k / second"),
        ({"X": 1}, "X * k / 2 / 0.5", "k / second"),
        ({"X": 1, "Y": 1}, "Y * k * X", "k * voxel_volume / second"),
        ({"X": 2}, "0.5 * k * X * (X - 1)", "0.5 * k * voxel_volume / second"),
        ({"X": 3}, "k * X * (X - 1) * (X - 2) / 6", "0.16666666666666666 * k * voxel_volume ** 2 / second"),
        ({"X": 2}, "k * X * X", None),
        ({"X": 1}, "k * X / (1 + X)", None),
        ({"X": 1}, "k * X * Y", None),
        ({"X": 1}, "k * X * time", None),
        ({}, "k * (100 - 2 * X)", None),
    ],
)
def test_mass_action_is_recognised_and_nothing_else_is(tmp_path, reactants, law, rate):
    species = {"X": {"amount": 100}, "Y": {"amount": 5}, "Z": {"amount": 0}}
    model = imported(tmp_path, write_sbml(species, {"R": (reactants, {"Z": 1}, law, {})}, parameters={"k": 0.1}))
    assert reaction_of(model, "R")["rate"] == rate
    assert (reaction_of(model, "R")["propensity"] is None) == (rate is not None)


def test_a_concentration_in_a_law_is_the_amount_over_the_size(tmp_path):
    """With hasOnlySubstanceUnits false X means [X]: Cell k [X] is k x, and [X] in an event is x over the size."""
    species = {"X": {"amount": 100, "concentration": True}}
    text = write_sbml(
        species,
        {"R": ({"X": 1}, {}, "Cell * k * X", {})},
        parameters={"k": 0.1},
        events={"e": ("X < 10", {"X": "X + 50"})},
        size=2.0,
    )
    model = imported(tmp_path, text)
    assert reaction_of(model, "R")["rate"] == "k / second"
    (event,) = model.config.model_dump(by_alias=True)["interventions"]
    assert event["when"] == "total(X) / Cell < 10"
    trajectory = ex.simulate(model, [0.0, 1000.0], engine="mean_field", parameters={"k": 0.0, "Cell": 20.0})
    assert np.asarray(trajectory["X"])[0, :, 0].tolist() == [1100.0, 1100.0]  # 100 / 20 < 10: (100 / 20 + 50) 20


def test_local_parameters_hide_global_ones_and_functions_are_put_in(tmp_path):
    text = write_sbml(
        X,
        {"A": ({"X": 1}, {}, "k * X", {"k": 0.1}), "B": ({}, {"X": 1}, "twice(k)", {})},
        parameters={"k": 2.0},
        functions={"twice": "lambda(x, 2 * x)"},
    )
    model = imported(tmp_path, text)
    assert model.parameters["A_k"] == 0.1
    assert reaction_of(model, "B")["rate"] == "2 * k / second"


def test_names_that_mean_something_else_here_are_changed(tmp_path):
    species = {"t": {"amount": 1}, "second": {"amount": 2}}
    model = imported(tmp_path, write_sbml(species, {"hill": ({"t": 1}, {"second": 1}, "lambda * t", {"lambda": 1.0})}))
    assert model.problem.network.species == ("t_", "second")


def test_a_level_2_file_has_the_units_that_it_defines(tmp_path):
    libsbml = pytest.importorskip("libsbml")
    document = libsbml.readSBMLFromString(from_case(dsmts.CASES["dsmts_00032"]))
    assert document.setLevelAndVersion(2, 4, False)
    units = "".join(
        f'<unitDefinition id="{name}"><listOfUnits><unit kind="{kind}" {more}/></listOfUnits></unitDefinition>'
        for name, kind, more in (
            ("substance", "item", ""),
            ("time", "second", 'multiplier="60"'),
            ("volume", "litre", 'scale="-15"'),
        )
    )
    text = libsbml.writeSBMLToString(document)
    old = "<listOfCompartments>"
    text = _edited(text, old, f"<listOfUnitDefinitions>{units}</listOfUnitDefinitions>{old}")
    model = imported(tmp_path, _edited(text, '<compartment id="Cell"', '<compartment id="Cell" size="2"'))
    assert model.parameters["second"] == 60.0
    assert model.config.interventions[0].at == (25.0 * 60.0,)
    assert model.problem.grid.fluid_volume_um3 == pytest.approx(2.0)  # 2 fL
    assert reaction_of(model, "Dimerisation")["rate"] == "0.5 * k1 * voxel_volume / second"


def test_a_known_time_becomes_a_schedule_and_all_else_a_condition(tmp_path):
    events = {
        "known": ("time >= start + 5", {"X": "50"}),
        "flipped": ("7 < time", {"k": "2 * k"}),
        "either": ("X > 200 || (X < 10 && time > 3)", {"X": "2 * X"}),
    }
    text = write_sbml(X, {"A": ({"X": 1}, {}, "k * X", {})}, parameters={"k": 0.1, "start": 20.0}, events=events)
    known, flipped, either = imported(tmp_path, text).config.interventions
    assert known.at == (25.0,)
    assert flipped.at == (7.0,)
    assert either.repeat
    assert either.when is not None


TWO = """<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3"
version="1"><model><listOfCompartments><compartment id="a" constant="true"/>
<compartment id="b" constant="true"/></listOfCompartments>
</model></sbml>"""


def _edited(text, old, new):
    changed = text.replace(old, new)
    assert changed != text
    return changed


def _decay(**tables):
    return write_sbml(X, {"A": ({"X": 1}, {}, "k * X", {})}, parameters={"k": 0.1}, **tables)


def _with_event():
    return _decay(events={"e": ("time > 3", {"X": "1"})})


ZERO = '<math xmlns="http://www.w3.org/1998/Math/MathML"><cn>1</cn></math>'
RULE = '<listOfRules><{0} variable="k">' + ZERO + "</{0}></listOfRules><listOfReactions>"
REFUSED = {
    "rate rule": (
        lambda: _edited(
            _edited(_decay(), "<listOfReactions>", RULE.format("rateRule")), 'value="0.1" constant="true"',
            'value="0.1" constant="false"',
        ),
        r"rule of k: rate rules are not supported",
    ),
    "delay": (
        lambda: _edited(_with_event(), "</trigger>", f"</trigger><delay>{ZERO}</delay>"),
        r"event e: has a delay",
    ),
    "priority": (
        lambda: _edited(_with_event(), "</trigger>", f"</trigger><priority>{ZERO}</priority>"),
        r"event e: has a priority",
    ),
    "fast reaction": (lambda: _edited(_decay(), 'fast="false"', 'fast="true"'), r"reaction A: is fast"),
    "fractional stoichiometry": (
        lambda: _edited(_decay(), 'stoichiometry="1"', 'stoichiometry="1.5"'),
        r"reaction A: the stoichiometry of X is 1.5; whole numbers only",
    ),
    "law of both directions": (
        lambda: write_sbml(
            {**X, "Y": {"amount": 1}}, {"A": ({"X": 1}, {"Y": 1}, "X - Y", {})}, reversible=True
        ),
        r"reaction A: is reversible.*split it into two",
    ),
    "unknown function": (
        lambda: _edited(_decay(), "<times/>", "<sin/>").replace("<ci> k </ci>", ""),
        r"reaction A: 'sin'",
    ),
    "no value": (lambda: _edited(_decay(), 'value="0.1" ', ""), r"parameter k: has no value"),
    "half a molecule": (
        lambda: _edited(_decay(), 'initialAmount="100"', 'initialAmount="99.5"'),
        r"model.xml: species.X.initial: 99.5 is not a whole number",
    ),
    "two compartments": (lambda: TWO, r"compartments: one well-mixed compartment is supported; the file has a, b"),
    "no XML": (lambda: "schema = 1", r"model.xml:2: is not valid SBML: Badly formed XML"),
    "entities": (lambda: '<!DOCTYPE x [<!ENTITY a "b">]>' + _decay(), r"declares a document type"),
    "true from the start": (
        lambda: _edited(_decay(events={"e": ("X > 3", {"X": "1"})}), 'initialValue="false"', 'initialValue="true"'),
        r"event e: is true at time 0",
    ),
    "moles": (
        lambda: _edited(_decay(), '<model id="case"', '<model id="case" substanceUnits="mole"'),
        r"unit of substance is mole",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_represented_is_named_in_one_line(tmp_path, name):
    make, pattern = REFUSED[name]
    told = refused(tmp_path, make())
    assert re.search(pattern, told), told


def test_without_libsbml_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "libsbml", None)
    assert "pip install 'exodiff[sbml]'" in refused(tmp_path, "<sbml/>")


def test_a_model_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "model.xml").write_text(_decay())
    (tmp_path / "model.toml").write_text("precious")
    code, told = run_cli("import", str(tmp_path / "model.xml"))
    assert code == 2
    assert "--overwrite" in told
    assert (tmp_path / "model.toml").read_text() == "precious"
