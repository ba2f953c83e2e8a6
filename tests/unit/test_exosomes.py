"""Exosome populations: names, inheritance, what they expand to, messages."""

import copy
import math
import tomllib

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import exodiff as ex
from exodiff.build import build
from exodiff.check import check_model
from exodiff.config import load as config_load
from exodiff.config.exosomes import Diameter
from exodiff.config.populations import derived
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Name, evaluate, to_text
from exodiff.expand.exosomes import expanded
from exodiff.expand.reactions import all_reactions
from exodiff.expand.sizes import size_bins

SIZE = {"median": "95 nm", "gsd": 1.35, "min": "30 nm", "max": "150 nm"}
UPTAKE = {
    "receivers": {"fibroblast": 1.0, "CTL": {"weight": 0.5, "receptors": 30}},
    "receptors": 50,
    "k_on": "2 um^3/s",
    "k_off": "1e-3 /s",
    "k_internalise": "2e-3 /s",
    "k_escape": "1e-3 /s",
    "k_degrade": "3e-3 /s",
}
TEV = {
    "released_by": ["tumour"],
    "diffusion": "1.3 um^2/s",
    "decay": "0.5 /h",
    "biogenesis": {"escrt": "30 /h", "lysosome": "20 /h", "fusion": "20 /h", "burst": "poisson(20)"},
    "cargo": {"TGFb": {"fraction": 0.3, "mean": 5}, "miR21": {"mean": 2}},
    "uptake": UPTAKE,
}
MODEL = {
    "schema": 1,
    "run": {"duration": "10 min", "observe_every": "10 min"},
    "lattice": {"shape": [6], "spacing": "20 um", "fluid_fraction": 0.2},
    "parameters": {"k": "1 /h", "IC50": 2.0, "drug": 1.0},
    "cells": {"tumour": {}, "fibroblast": {}, "CTL": {}, "CAF": {}},
    "cargo": {"TGFb": {"site": "surface", "half_life": "6 h"}, "miR21": {"site": "lumen"}},
    "tags": {"sticky": {"receivers": {"CTL": 4.0}, "decay": 0.5}},
    "exosomes": {"tEV": TEV},
    "reactions": [{"name": "caf", "equation": "fibroblast -> CAF", "rate": "k * hill(dose.TGFb, 5, 2)"}],
    "place": [
        {"cells": "tumour", "box": {"low": [0, 0, 0], "high": [40, 20, 20]}},
        {"cells": "fibroblast", "box": {"low": [40, 0, 0], "high": [80, 20, 20]}},
        {"cells": "CTL", "everywhere": True},
    ],
}


def changed(path: str, value, base=MODEL) -> dict:
    """A copy of a model with one key set (None: removed)."""
    model = copy.deepcopy(base)
    *parents, last = path.split("/")
    node = model
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    if value is None:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return model


def plain(raw) -> RunConfig:
    return expanded(config_load.from_mapping(raw))


def equations(raw) -> dict[str, str]:
    return {reaction.name: str(reaction.equation) for reaction in all_reactions(plain(raw))}


BINNED = changed("exosomes/tEV/diameter", {**SIZE, "bins": 3})
BY_HAND = {
    key: value for key, value in MODEL.items() if key not in ("cargo", "tags", "exosomes", "parameters", "reactions")
} | {
    "parameters": {
        "k": "1 /h",
        "weight": {"by_cell": {"fibroblast": 1.0, "CTL": 0.5}},
        "k_on": "2 um^3/s",
        "f": 0.3,
        "m": 5.0,
        "all": 1.0,
        "m_lumen": 2.0,
    },
    "species": {
        "tEV": {"diffusion": "1.3 um^2/s", "decay": "0.5 /h"},
        "tEV.mvb": {"in": "cell"},
        "tEV.receptor": {"in": "cell", "initial": {"fibroblast": 50, "CTL": 30}, "on_division": "reset"},
        "tEV.bound": {"in": "cell"},
        "tEV.endosome": {"in": "cell"},
        "dose.TGFb": {"in": "cell", "half_life": "6 h"},
        "dose.miR21": {"in": "cell"},
    },
    "reactions": [
        *MODEL["reactions"],
        {"name": "tEV.escrt.tumour", "equation": "tumour -> tumour + tEV.mvb", "rate": "30 /h"},
        {"name": "tEV.lysosome", "equation": "tEV.mvb ->", "rate": "20 /h"},
        {"name": "tEV.fusion", "equation": "tEV.mvb -> poisson(20) tEV", "rate": "20 /h"},
        {"name": "tEV.bind", "equation": "tEV + tEV.receptor -> tEV.bound", "rate": "k_on * weight"},
        {"name": "tEV.unbind", "equation": "tEV.bound -> tEV + tEV.receptor", "rate": "1e-3 /s"},
        {
            "name": "tEV.internalise",
            "equation": "tEV.bound -> tEV.endosome + tEV.receptor + loaded(f, m) dose.TGFb",
            "rate": "2e-3 /s",
        },
        {"name": "tEV.escape", "equation": "tEV.endosome -> loaded(all, m_lumen) dose.miR21", "rate": "1e-3 /s"},
        {"name": "tEV.degrade", "equation": "tEV.endosome ->", "rate": "3e-3 /s"},
    ],
}


def test_an_expanded_model_has_the_bits_of_the_same_model_written_by_hand():
    macro = ex.Model.from_dict(MODEL)
    by_hand = build(RunConfig.model_validate(BY_HAND))  # past the check of names
    assert macro.problem.network.species == by_hand.problem.network.species
    assert [c.equation for c in macro.problem.network.channels][:4] == [
        c.equation for c in by_hand.problem.network.channels
    ][:4]
    found, expected = (ex.simulate(model, times=[0.0, 600.0], seed=3) for model in (macro, by_hand))
    assert found.total("dose.TGFb")[0, -1] > 0
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_the_resolved_file_keeps_populations_and_gives_the_same_bits():
    raw = changed("exosomes/sEV", {"like": "tEV", "released_by": ["CAF"], "tags": ["sticky"]}, BINNED)
    raw["exosomes"]["tEV"]["diffusion"] = {"stokes_einstein": {"viscosity": "0.69 mPa*s", "tortuosity": 1.6}}
    config = config_load.from_mapping(raw)
    text = config_load.dump(config)
    again = config_load.from_mapping(tomllib.loads(text))
    assert again == config
    assert "like" not in tomllib.loads(text)["exosomes"]["sEV"]
    assert build(again).problem == build(config).problem
    assert build(again).parameters == build(config).parameters


def test_the_names_of_a_population_without_bins():
    assert [name for name in build(config_load.from_mapping(MODEL)).problem.network.species if "." in name] == [
        "tEV.mvb", "tEV.receptor", "tEV.bound", "tEV.endosome", "dose.TGFb", "dose.miR21"
    ]  # fmt: skip


def test_the_names_of_a_population_with_bins():
    network = build(config_load.from_mapping(BINNED)).problem.network
    assert network.free == ("tEV.s1", "tEV.s2", "tEV.s3")
    assert {"tEV.mvb", "tEV.receptor", "tEV.s1.bound", "tEV.s3.endosome"} <= set(network.in_cell)
    assert len([name for name in network.in_cell if name.startswith("tEV")]) == 8


def test_the_names_that_are_known_are_those_that_expand():
    """The names are listed in config and made in expand."""
    for raw in (MODEL, BINNED, changed("exosomes/tEV/uptake/mode", "clearance", BINNED)):
        config = config_load.from_mapping(raw)
        names = derived(config)
        network = build(config).problem.network
        assert set(names.species) == {*network.free, *network.in_cell}
        assert set(names.reactions) | {"caf"} == {channel.name for channel in network.channels}


def test_a_population_in_an_expression_is_the_sum_over_its_bins():
    raw = changed("reactions/0/rate", "k * (tEV + hill(tEV.bound, 3, 2))", BINNED)
    raw["observables"] = {"free": {"value": "total(tEV)"}, "in": {"value": "events(tEV.internalise) + total(tEV.s2)"}}
    config = plain(raw)
    assert config.reactions[0].rate is not None
    value = evaluate(
        config.reactions[0].rate,
        lambda node: (
            {"k": 1.0, "tEV.s1": 1.0, "tEV.s2": 2.0, "tEV.s3": 4.0}.get(node.name, 1.0)
            if isinstance(node, Name)
            else None
        ),
        np,
    )
    assert value == 7.0 + 9.0 / 18.0
    free, inside = (config.observables[name].value for name in ("free", "in"))
    assert free is not None
    assert inside is not None
    assert to_text(free) == "total(tEV.s1) + total(tEV.s2) + total(tEV.s3)"
    assert "events(tEV.s3.internalise)" in to_text(inside)


def test_an_equation_is_written_for_each_bin():
    raw = changed("exosomes/cEV", {"like": "tEV", "released_by": []}, BINNED)
    raw["species"] = {"drug_in": {"in": "cell"}}
    raw["reactions"] += [
        {"name": "coat", "equation": "tEV -> cEV", "rate": "k"},
        {"name": "open", "equation": "tEV.endosome -> 500 drug_in", "rate": "2 /h"},
        {"name": "export", "equation": "500 drug_in -> cEV", "propensity": "k * drug_in / 500"},
        {"name": "spit", "equation": "tumour -> tumour + poisson(9) tEV", "rate": "k"},
    ]
    found = equations(raw)
    assert [found[f"coat.s{i}"] for i in (1, 2, 3)] == [f"tEV.s{i} -> cEV.s{i}" for i in (1, 2, 3)]
    assert found["open.s2"] == "tEV.s2.endosome -> 500 drug_in"
    assert found["export.s3"] == "500 drug_in -> cEV.s3"
    assert found["spit"] == "tumour -> tumour + poisson(3) tEV.s1 + poisson(3) tEV.s2 + poisson(3) tEV.s3"
    model = ex.Model.from_dict(raw)
    assert model.parameters["reactions.open.rate"] == pytest.approx(2 / 3600)
    rates = [to_text(c.rate) for c in model.problem.network.channels if c.name.startswith("export")]
    assert len(rates) == 3
    assert all(rate.endswith(f"* {1 / 3}") for rate in rates)


def test_what_a_population_is_given_is_shared_among_its_bins():
    raw = changed("interventions", [{"name": "bolus", "at": "1 min", "add": {"tEV": 9, "tEV.s1": 2}}], BINNED)
    (given,) = plain(raw).interventions
    assert {name: to_text(value) for name, value in given.add.items()} == {"tEV.s1": "2", "tEV.s2": "3", "tEV.s3": "3"}


def test_dotted_keys_of_an_intervention_may_be_bare():
    raw = changed("interventions", [{"name": "bolus", "at": "1 min", "add": {"tEV": {"s1": 2, "s2": {"bound": 4}}}}])
    raw["exosomes"]["tEV"]["diameter"] = {**SIZE, "bins": 2}
    (given,) = plain(raw).interventions
    assert set(given.add) == {"tEV.s1", "tEV.s2.bound"}


def test_like_takes_over_key_by_key_and_replaces_lists_cargo_and_receivers():
    raw = changed("exosomes/b", {
        "like": "a", "tags": ["sticky"], "cargo": {"miR21": {"mean": 1}}, "biogenesis": {"fusion": "1 /h"},
        "uptake": {"receivers": {"CTL": 2.0}},
    })  # fmt: skip
    raw["exosomes"]["a"] = {"like": "tEV", "decay": "1 /h"}
    b = config_load.from_mapping(raw).exosomes["b"]
    assert b.released_by == ("tumour",)
    assert b.tags == ("sticky",)
    assert set(b.cargo) == {"miR21"}
    assert b.uptake is not None
    assert b.biogenesis is not None
    assert set(b.uptake.receivers) == {"CTL"}
    assert b.biogenesis.fusion.value == pytest.approx(1 / 3600)
    assert b.biogenesis.escrt.value == pytest.approx(30 / 3600)
    assert b.decay.value == pytest.approx(1 / 3600)


def test_several_senders_have_reactions_of_their_own():
    found = equations(changed("exosomes/tEV/released_by", ["tumour", "CAF"]))
    assert found["tEV.escrt.tumour"] == "tumour -> tumour + tEV.mvb"
    assert found["tEV.escrt.CAF"] == "CAF -> CAF + tEV.mvb"


def test_a_clearance_without_fates_delivers_all_cargo_at_once():
    raw = changed("exosomes/tEV/uptake", {"mode": "clearance", "receivers": {"CTL": 2.0}, "receptors": 100,
                                          "k_on": "0.5 um^3/s"})  # fmt: skip
    model = ex.Model.from_dict(raw)
    (channel,) = (c for c in model.problem.network.channels if c.name == "tEV.internalise")
    assert channel.equation.count("loaded") == 2
    values = {**model.parameters, "exosomes.tEV.uptake.receptors": 100.0, "exosomes.tEV.uptake.receivers": 2.0}
    assert evaluate(channel.rate, lambda node: values[node.name], np) == pytest.approx(0.5 * 100 * 2 / 1600)


def test_size_bins_keep_the_moments_of_the_truncated_law():
    """Against integrals of the law; 1.079, 1.051, 1.174 are its <1/d> d_med, <d^2>/d_med^2, <d^3>/d_med^3, published
    beside the default of 95 nm, gsd 1.35, cut to 30 ... 150 nm.
    """
    law = norm(math.log(0.095), math.log(1.35))
    low, high = math.log(0.03), math.log(0.15)
    mass = law.cdf(high) - law.cdf(low)

    def moment(power: int) -> float:
        return quad(lambda x: math.exp(power * x) * law.pdf(x), low, high, epsabs=0, epsrel=1e-12)[0] / mass

    for bins in (1, 3, 10):
        found = size_bins(Diameter.model_validate({**SIZE, "bins": bins}))
        assert (found[0].low_um, found[-1].high_um) == (pytest.approx(0.03), pytest.approx(0.15))
        shares = [law.cdf(math.log(b.high_um)) - law.cdf(math.log(b.low_um)) for b in found]
        np.testing.assert_allclose(np.array(shares) / mass, 1 / bins, rtol=1e-9)
        assert np.mean([b.inverse_per_um for b in found]) == pytest.approx(moment(-1), rel=1e-9)
        assert np.mean([b.area for b in found]) == pytest.approx(moment(2) / 0.095**2, rel=1e-9)
        assert np.mean([b.volume for b in found]) == pytest.approx(moment(3) / 0.095**3, rel=1e-9)
        assert np.mean([b.inverse_per_um for b in found]) * 0.095 == pytest.approx(1.079, abs=5e-4)
        assert np.mean([b.area for b in found]) == pytest.approx(1.051, abs=5e-4)
        assert np.mean([b.volume for b in found]) == pytest.approx(1.174, abs=5e-4)
        assert all(b.low_um < b.mean_um < b.high_um for b in found)


def test_diffusion_by_size_is_stokes_einstein():
    """100 nm in water at 37 C: 6.57 um^2/s; tortuosity 1.6 divides it by 2.56."""
    raw = changed("exosomes/tEV/diameter", {"median": "100 nm", "gsd": 1.0001, "min": "99 nm", "max": "101 nm"})
    raw["exosomes"]["tEV"]["diffusion"] = {"stokes_einstein": {"viscosity": "0.691 mPa*s", "tortuosity": 1.6}}
    model = ex.Model.from_dict(raw)
    d = evaluate(model.problem.network.diffusivity[0], lambda node: model.parameters[node.name], np)
    assert d * 1.6**2 == pytest.approx(6.57, abs=0.01)


def test_tags_multiply_weights_and_decay():
    model = ex.Model.from_dict(changed("exosomes/tEV/tags", ["sticky"]))
    p = model.parameters
    assert p["exosomes.tEV.uptake.receivers.CTL"] * p["tags.sticky.receivers.CTL"] == 2.0
    assert p["exosomes.tEV.uptake.receivers.fibroblast"] * p["tags.sticky.receivers.fibroblast"] == 1.0
    assert p["tags.sticky.decay"] == 0.5
    (decay,) = (c for c in model.problem.network.channels if c.name == "tEV.decay")
    assert to_text(decay.rate) == "exosomes.tEV.decay * tags.sticky.decay"


BAD = [
    ("exosomes/tEV/uptake/k_onn", 1, "exosomes.tEV.uptake.k_onn: ", "did you mean 'k_on'"),
    ("exosomes/tEV/uptake/k_on", "1e-4 /s", "exosomes.tEV.uptake.k_on: ", "um^3/s"),
    ("exosomes/tEV/uptake/k_on", "k", "exosomes.tEV.uptake.k_on: ", "um^3/s is needed"),
    ("exosomes/tEV/uptake/k_internalise", None, "exosomes.tEV.uptake: ", "k_internalise is missing"),
    ("exosomes/tEV/uptake/receivers", {"fibro": 1.0}, "exosomes.tEV.uptake.receivers: ", "did you mean 'fibroblast'"),
    ("exosomes/tEV/uptake/receivers", {"CTL": {"from": "plasma"}}, "exosomes.tEV.uptake: ",
     "not yet supported"),
    ("exosomes/tEV/uptake/receivers", {"CTL": -1}, "exosomes.tEV.uptake.receivers.CTL", "0 or more"),
    ("exosomes/tEV/uptake/receptors", None, "exosomes.tEV.uptake: ", "'fibroblast' has no receptors"),
    ("exosomes/tEV/uptake/receptor", "HSPG", "exosomes.tEV.uptake: ", "keep one of them"),
    ("exosomes/tEV/uptake/mode", "clear", "exosomes.tEV.uptake.mode: ", "receptors, clearance"),
    ("exosomes/tEV/released_by", ["tumor"], "exosomes.tEV.released_by: ", "did you mean 'tumour'"),
    ("exosomes/tEV/released_by", None, "exosomes.tEV: ", "biogenesis needs released_by"),
    ("exosomes/tEV/biogenesis", None, "exosomes.tEV: ", "released_by needs biogenesis"),
    ("exosomes/tEV/biogenesis/escrt", None, "exosomes.tEV.biogenesis: ", "escrt, ceramide"),
    ("exosomes/tEV/biogenesis/burst", "posson(20)", "exosomes.tEV.biogenesis.burst: ", "poisson(20), geometric(20)"),
    ("exosomes/tEV/biogenesis/burst", "loaded(0.1, 20)", "exosomes.tEV.biogenesis.burst: ", "for cargo"),
    ("exosomes/tEV/biogenesis/fusion", "k * (1 + tEV)", "exosomes.tEV.biogenesis.fusion: ", "reads 'tEV'"),
    ("exosomes/tEV/tags", ["stiky"], "exosomes.tEV.tags: ", "did you mean 'sticky'"),
    ("exosomes/tEV/cargo", {"TGF": {"mean": 1}}, "exosomes.tEV.cargo.TGF: ", "did you mean 'TGFb'"),
    ("exosomes/tEV/cargo/TGFb/fraction", 1.5, "exosomes.tEV.cargo.TGFb.fraction: ", "probability"),
    ("exosomes/tEV/cargo/TGFb/scale", "area", "exosomes.tEV: ", "needs a diameter"),
    ("exosomes/tEV/diffusion", {"stokes_einstein": {"viscosity": "1 mPa*s"}}, "exosomes.tEV: ", "needs a diameter"),
    ("exosomes/tEV/diffusion", {"stokes_einstein": {"viscosity": 0.69}},
     "exosomes.tEV.diffusion.stokes_einstein.viscosity: ", "0.69 mPa*s"),
    ("exosomes/tEV/diffusion", {"stokes_einstein": {"viscosity": "1 um^2/s"}},
     "exosomes.tEV.diffusion.stokes_einstein.viscosity: ", "kg/(um s) is needed"),
    ("exosomes/tEV/diameter", {**SIZE, "min": "160 nm"}, "exosomes.tEV.diameter: ", "not below max"),
    ("exosomes/tEV/diameter", {**SIZE, "min": "140 nm", "median": "10 nm"}, "exosomes.tEV.diameter: ", "widen it"),
    ("exosomes/tEV/diameter", {**SIZE, "gsd": 0.9}, "exosomes.tEV.diameter.gsd: ", "greater than 1"),
    ("exosomes/tEV/like", "tEV", "exosomes.tEV.like: ", "no other population"),
    ("exosomes/sEV", {"like": "tEVV"}, "exosomes.sEV.like: ", "did you mean 'tEV'"),
    ("cargo/TGFb/site", "inside", "cargo.TGFb.site: ", "surface, lumen"),
    ("cargo/TGFb/half_life", "0 h", "cargo.TGFb.half_life: ", "no half-life"),
    ("tags/sticky/receivers", {"CTLL": 2.0}, "tags.sticky.receivers: ", "did you mean 'CTL'"),
    ("reactions/0/rate", "k * dose.TGF", "reactions.caf.rate: ", "did you mean 'dose.TGFb'"),
    ("reactions/0/rate", "k * tEV.bond", "reactions.caf.rate: ", "did you mean 'tEV.bound'"),
    ("reactions/0/rate", "k * tEV.s1", "reactions.caf.rate: ", "is not defined"),
    ("reactions/0/rate", "k * plasma.tEV", "reactions.caf.rate: ", "no compartment"),
    ("reactions/0/equation", "tEV.mvb -> tEV.mbv", "reactions.caf.equation: ", "did you mean 'tEV.mvb'"),
    ("observables/x", {"value": "events(tEV.internalize)"}, "observables.x.value: ", "did you mean 'tEV.internalise'"),
    ("species/tEV", {}, "exosomes.tEV: ", "already the name of a species"),
    ("species/dose", {}, "species.dose: ", "dotted names of another meaning"),
    ("interventions", [{"name": "i", "at": 1, "add": {"tEV.free": 1}}], "interventions.i.add.tEV.free: ", "tEV"),
]  # fmt: skip


def refusal(raw) -> str:
    with pytest.raises(ConfigError) as refused:
        config_load.from_mapping(raw)
    return str(refused.value)


@pytest.mark.parametrize(("path", "value", "where", "says"), BAD)
def test_a_bad_population_ends_in_a_line_that_says_where_and_what(path, value, where, says):
    line = refusal(changed(path, value)).splitlines()[0]
    assert line.startswith(where), line
    assert says in line, line


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("exosomes/tEV/biogenesis/burst", "geometric(20)", "exosomes.tEV: ", "independently"),
        ("exosomes/tEV/biogenesis/burst", 20, "exosomes.tEV: ", "a burst of 20 does not fall into 3 size bins"),
        ("exosomes/tEV/initial", 5, "exosomes.tEV: ", "initial with 3 size bins"),
        ("reactions/0/equation", "tumour -> tumour + 2 tEV", "reactions.caf.equation: ", "write poisson(...)"),
        ("reactions/0/equation", "tumour -> tumour + geometric(2) tEV", "reactions.caf.equation: ", "independently"),
        ("reactions/0/rate", "k * tEV.s4", "reactions.caf.rate: ", "did you mean 'tEV.s"),
    ],
)
def test_what_does_not_split_into_bins_exactly_is_refused(path, value, where, says):
    line = refusal(changed(path, value, BINNED)).splitlines()[0]
    assert line.startswith(where), line
    assert says in line, line


def test_unequal_numbers_of_bins_in_one_equation_are_refused():
    raw = changed("exosomes/b", {"like": "tEV", "released_by": [], "diameter": {"bins": 2}}, BINNED)
    raw["reactions"] += [{"name": "coat", "equation": "tEV -> b", "rate": "k"}]
    assert (
        refusal(raw)
        == "reactions.coat.equation: 'tEV -> b' names populations with 2 and 3 size bins; give them equally many"
    )
    loop = changed("exosomes/tEV/like", "b")
    loop["exosomes"]["b"] = {"like": "tEV"}
    assert "like each other" in refusal(loop)


def test_a_trajectory_sums_over_bins():
    raw = changed("exosomes/tEV/initial", {"poisson": 60}, BINNED)
    raw["exosomes"]["tEV"] = {key: raw["exosomes"]["tEV"][key] for key in ("diameter", "initial")}
    raw["reactions"] = []
    traj = ex.simulate(ex.Model.from_dict(raw), times=[0.0, 60.0])
    parts = [traj[f"tEV.s{i}"] for i in (1, 2, 3)]
    np.testing.assert_array_equal(traj["tEV"], sum(parts))
    assert traj.total("tEV")[0, 0] == sum(int(np.sum(part[0, 0])) for part in parts) > 0


def test_the_audit_expects_what_the_linear_model_gives():
    """Two senders of 30/h formed, half of it fused, 20 a burst: 600 /h; two fibroblasts, two CTLs, six voxels."""
    model = ex.Model.from_dict(BINNED)
    report = check_model(model)
    assert report.audit is not None
    (population,) = report.audit.populations
    assert population.release_per_s * 3600 == pytest.approx(600, rel=1e-5)
    kept = 2e-3 / 3e-3
    fibroblast, ctl = (2.0 * weight * number / 1600 * kept for weight, number in ((1.0, 50), (0.5, 30)))
    loss = (2 * fibroblast + 2 * ctl) / 6 + 0.5 / 3600
    assert population.bins[0].loss_per_s == pytest.approx(loss, rel=1e-5)
    assert population.bins[0].range_um == pytest.approx(math.sqrt(1.3 / loss), rel=1e-5)
    assert population.taken_up == pytest.approx(1 - 0.5 / 3600 / loss, rel=1e-5)
    (one, *_) = population.bins
    assert one.clearance_um3_per_s == pytest.approx(1600 * fibroblast, rel=1e-5)
    limit = 4 * math.pi * 1.3 * 10
    assert one.diffusion_limit == pytest.approx(1600 * fibroblast / (1600 * fibroblast + limit), rel=1e-5)
    # a ball of four voxels of receivers
    inside = (fibroblast + ctl) / 2 + 0.5 / 3600
    f = (3 * 4 * 8000 / (4 * math.pi)) ** (1 / 3) * math.sqrt(inside / 1.3)
    assert one.penetration == pytest.approx(3 * (f / math.tanh(f) - 1) / f**2, rel=1e-5)
    assert sum(each.in_voxel or 0.0 for each in population.bins) == pytest.approx(600 / 3600 / loss / 6, rel=1e-5)
    assert one.peclet is None
    uptakes = 600 * 24 * fibroblast / 6 / loss
    dose = {(item.cargo, item.cell): item for item in report.audit.doses}
    surface, lumen = dose["TGFb", "fibroblast"], dose["miR21", "fibroblast"]
    assert surface.uptakes_per_day == pytest.approx(uptakes, rel=1e-5)
    assert surface.copies_per_day == pytest.approx(uptakes * 0.3 * 5, rel=1e-5)
    assert surface.steady == pytest.approx(uptakes * 1.5 * 0.25 / math.log(2), rel=1e-5)
    assert surface.laws == ("K 5 of hill in caf",)
    assert lumen.copies_per_day == pytest.approx(uptakes * 2 * 0.25, rel=1e-5)
    assert lumen.steady is None
    assert ("TGFb", "tumour") not in dose or dose["TGFb", "tumour"].copies_per_day == 0


def test_the_audit_mixes_vesicles_over_each_of_several_lattices():
    """A sender and receivers in the lung, receivers alone in the liver: these get nothing, as nothing hops across."""
    raw = {
        "schema": 1,
        "run": {"duration": "1 h"},
        "lattice": {
            "lung": {"shape": [3], "spacing": "20 um", "fluid_fraction": 0.2},
            "liver": {"shape": [6], "spacing": "20 um", "fluid_fraction": 0.2},
        },
        "cells": {"tumour": {}, "fibroblast": {}, "hepatocyte": {}},
        "cargo": {"TGFb": {"site": "surface"}},
        "exosomes": {
            "tEV": {
                "released_by": ["tumour"],
                "diffusion": "1 um^2/s",
                "decay": "1 /h",
                "biogenesis": {"escrt": "6 /h", "fusion": "2 /h", "burst": 10},
                "cargo": {"TGFb": {"mean": 5}},
                "uptake": {
                    "mode": "clearance",
                    "receptors": 100,
                    "k_on": "1e-2 um^3/s",
                    "receivers": {"fibroblast": 1.0, "hepatocyte": 1.0},
                },
            }
        },
        "place": [
            {"cells": "tumour", "region": "lung", "box": {"low": ["0 um"], "high": ["20 um"]}},
            {"cells": "fibroblast", "region": "lung", "box": {"low": ["20 um"], "high": ["40 um"]}},
            {"cells": "fibroblast", "region": "liver", "box": {"low": ["0 um"], "high": ["20 um"]}},
            {"cells": "hepatocyte", "region": "liver"},
        ],
    }
    found = check_model(ex.Model.from_dict(raw)).audit
    assert found is not None
    lung, liver = found.populations
    capture, decay = 1e-2 * 100 / 1600, 1 / 3600
    loss = capture / 3 + decay
    assert (lung.lattice, liver.lattice) == ("lung", "liver")
    assert lung.release_per_s * 3600 == pytest.approx(60, rel=1e-5)
    assert lung.taken_up == pytest.approx(capture / 3 / loss, rel=1e-5)
    assert lung.bins[0].loss_per_s == pytest.approx(loss, rel=1e-5)
    assert liver.release_per_s == 0
    assert liver.bins[0].loss_per_s == pytest.approx(capture + decay, rel=1e-5)
    dose = {item.cell: item for item in found.doses}
    # the fibroblast of the lung gets all, and one of the two is there
    assert dose["fibroblast"].copies_per_day == pytest.approx(5 * 60 * 24 * lung.taken_up / 2, rel=1e-5)
    assert "hepatocyte" not in dose


def test_geometric_and_fixed_bursts_are_written_as_they_are():
    for burst, written in (("geometric(20)", "geometric(20) tEV"), (20, "20 tEV"), ("20", "20 tEV"), (1, "tEV")):
        assert equations(changed("exosomes/tEV/biogenesis/burst", burst))["tEV.fusion"] == f"tEV.mvb -> {written}"


def test_a_rate_of_thousands_is_refused_and_a_propensity_taken():
    raw = changed("species", {"dox": {"in": "cell", "initial": 50_000}})
    raw["reactions"] = [{"name": "export", "equation": "5000 dox -> tEV", "rate": 1e-3}]
    assert refusal(raw).startswith("reactions.export.rate: '5000 dox' is no mass action")
    raw["reactions"][0] = {"name": "export", "equation": "5000 dox -> tEV", "propensity": "k * dox / 5000"}
    assert equations(raw)["export"] == "5000 dox -> tEV"


def test_the_audit_follows_a_dose_into_blood_to_what_takes_it_up_there():
    """Of r vesicles a second plasma of volume V holds r / (k10 + N kappa / V); a cell takes kappa / V of them."""
    raw = {
        "schema": 1,
        "run": {"duration": "1 d"},
        "lattice": {"shape": [4, 4], "spacing": "20 um", "fluid_fraction": 0.2, "represents": 1000},
        "compartments": {"plasma": {"volume": "1e6 um^3"}},
        "cells": {"kupffer": {}},
        "cargo": {"miR": {"site": "lumen", "half_life": "10 h"}},
        "exosomes": {
            "EV": {
                "cargo": {"miR": {"fraction": 0.5, "mean": 4}},
                "uptake": {
                    "mode": "clearance",
                    "receptors": 10000,
                    "k_on": "1e-4 um^3/s",
                    "receivers": {"kupffer": {"weight": 1.0, "from": "plasma"}},
                },
            }
        },
        "parameters": {"drip": "7200 /h"},
        "reactions": [{"equation": "plasma.EV ->", "rate": "0.01 /s"}],
        "interventions": [
            {"from": "0 h", "to": "12 h", "infuse": {"plasma.EV": "drip"}},
            {"at": "6 h", "add": {"plasma.EV": 86400}},
        ],
        "place": [{"cells": "kupffer", "layer": {"axis": "x", "from": 0, "to": "40 um"}}],
    }
    audit = check_model(ex.Model.from_dict(raw)).audit
    assert audit is not None
    (dose,) = audit.doses
    supply = 2.0 * 0.5 + 1.0  # a second: the drip for half of the day, and the bolus over all of it
    amount = supply / (0.01 + 1000 * 8 * 1.0 / 1e6)
    uptakes = amount / 1e6 * 86400.0
    assert dose.uptakes_per_day == pytest.approx(uptakes, rel=1e-5)
    assert dose.copies_per_day == pytest.approx(2.0 * uptakes, rel=1e-5)
    assert dose.steady == pytest.approx(2.0 * uptakes / 86400.0 / (np.log(2.0) / 36000.0), rel=1e-5)
