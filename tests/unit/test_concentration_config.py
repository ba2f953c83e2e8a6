"""Continuous species in the model file: units, what is refused and why, what is written back."""

import copy
import tomllib

import pytest

import exodiff as ex
from exodiff.config.load import dump, from_mapping
from exodiff.core.errors import ConfigError

MODEL = {
    "schema": 1,
    "run": {"duration": "1 h"},
    "lattice": {"shape": [8], "spacing": "20 um"},
    "cells": {"endothelium": {}, "tumour": {}},
    "parameters": {"q": "0.2 /s", "low": "5 mmHg"},
    "species": {
        "oxygen": {
            "kind": "concentration",
            "unit": "mmHg",
            "solve": "steady",
            "diffusion": "1667 um^2/s",
            "fixed": {"endothelium": 40},
            "initial": 1,
        },
        "dox": {"kind": "concentration", "unit": "nM", "solve": "implicit", "initial": 2},
        "dox_in": {"in": "cell"},
        "share": {"kind": "concentration", "unit": "1", "solve": "explicit", "initial": 0.02},
    },
    "reactions": [
        {"name": "use", "equation": "tumour + oxygen -> tumour", "rate": "q"},
        {"name": "enter", "equation": "dox -> dox_in", "rate": "1e-3 /s"},
    ],
    "observables": {"low": {"value": "mean(oxygen, tumour)"}},
}


def _read(**changes):
    tables = copy.deepcopy(MODEL)
    for path, value in changes.items():
        *heads, last = path.split("__")
        inner = tables
        for head in heads:
            inner = inner[int(head)] if isinstance(inner, list) else inner.setdefault(head, {})
        inner[int(last) if isinstance(inner, list) else last] = value
    return from_mapping(tables)


def test_bare_numbers_are_in_the_unit_of_the_species():
    config = _read()
    assert config.species["oxygen"].fixed["endothelium"].value == pytest.approx(40 * 133.322e-6, rel=1e-5)
    assert config.species["dox"].initial.value == pytest.approx(2 * 0.602214, rel=1e-6)
    assert config.species["share"].initial.value == 0.02


def test_the_resolved_file_reads_back_to_the_same_config():
    config = _read(species__dox__fixed={"tumour": "low_dose"}, parameters__low_dose="3 nM")
    assert from_mapping(tomllib.loads(dump(config))) == config


BAD = (
    ({"species__oxygen__unit": "molecules"}, "species.oxygen.unit", "not a concentration"),
    ({"species__oxygen__unit": "furlong"}, "species.oxygen.unit", "unknown unit"),
    ({"species__oxygen__initial": "3 nM"}, "species.oxygen.initial", "dimension 1/um^3"),
    ({"species__oxygen__initial": -1}, "species.oxygen.initial", "negative"),
    ({"species__oxygen__fixed": {"nobody": 3}}, "species.oxygen.fixed", "'nobody' is not defined"),
    ({"species__oxygen__in": "cell"}, "species.oxygen", "in the fluid"),
    (
        {"species__share__diffusion": {"left": 1, "default": 2}, "regions": {"left": {"everywhere": True}}},
        "species.share.solve",
        "one diffusivity in all voxels",
    ),
    (
        {"species__share__diffusion": "1 um^2/s", "species__share__fixed": {"tumour": 0}},
        "species.share.solve",
        "holds no value",
    ),
    ({"species__share__solve": "steady"}, "species.share.solve", "no steady value"),
    ({"species__dox_in__unit": "nM"}, "species.dox_in", 'add kind = "concentration"'),
    ({"cells__tumour__chemotaxis": {"up": "dox_in", "strength": 1}}, "cells.tumour.chemotaxis.up", "in the fluid"),
    ({"cells__tumour__chemotaxis": {"up": "dox", "strength": "q"}}, "cells.tumour.chemotaxis.strength", "1/s"),
    ({"observables__low__value": "total(oxygen)"}, "observables.low.value", "write mean(oxygen)"),
    ({"observables__low__value": "events(use)"}, "observables.low.value", "without single events"),
    ({"reactions__0__rate": "q * conc(dox)"}, "reactions.use.rate", "a concentration already"),
    ({"reactions__0__rate": "q * hill(oxygen, 5, 2)"}, "reactions.use.rate", "mixes"),
    ({"reactions__0__equation": "tumour -> tumour + oxygen"}, "reactions.use.rate", "dimension 1/s"),
    ({"reactions__0__equation": "tumour + share -> tumour + dox_in"}, "reactions.use.equation", "name it in the rate"),
    ({"reactions__0__equation": "tumour + dox -> 2 tumour"}, "reactions.use.equation", "write two"),
    (
        {"reactions__0": {"equation": "oxygen + dox ->", "name": "use", "rate": "1 um^3/s"}},
        "reactions.use.equation",
        "other units",
    ),
    ({"reactions__0__equation": "tumour -> tumour + poisson(3) dox"}, "reactions.use.equation", "random number"),
    (
        {"interventions": [{"name": "i", "at": "1 h", "set": {"oxygen": 3}}]},
        "interventions.i.set.oxygen",
        "is steady",
    ),
)


@pytest.mark.parametrize(("changes", "where", "says"), BAD)
def test_a_bad_concentration_is_refused_in_one_line(changes, where, says):
    with pytest.raises(ConfigError) as caught:
        _read(**changes)
    line, *others = str(caught.value).splitlines()
    assert line.startswith(f"{where}: ")
    assert says in line
    assert not others


@pytest.mark.parametrize(
    ("cells", "species", "where"),
    [
        ({}, {"c": {"kind": "concentration", "unit": "nM", "solve": "implicit"}}, "species.c.kind"),
        ({"CTL": {"motility": 1, "chemotaxis": {"up": "X", "strength": 1}}}, {"X": {}}, "cells.CTL.chemotaxis"),
    ],
)
def test_engine_exact_refuses_concentrations_and_chemotaxis(cells, species, where):
    tables = {"schema": 1, "run": MODEL["run"], "lattice": MODEL["lattice"], "cells": cells, "species": species}
    model = ex.Model.from_dict(tables)
    with pytest.raises(ConfigError, match=f"{where}: .*not yet supported with engine exact; use engine leap"):
        ex.simulate(model, [1.0], engine="exact")
