# ruff: noqa: E501  (the contract's text and one bad input a line)
"""The model file: what loads, what it becomes, and the line that each bad input ends in."""

import copy
import os
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exodiff.config.load import config_hash, differences, dump, from_mapping, load, read_toml
from exodiff.config.species import Density, FromFile, PoissonCount, VoxelCount
from exodiff.core.dimensions import DIFFUSIVITY, PER_TIME, PER_VOLUME, VOLUME
from exodiff.core.equations import parse_equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Name, Number, parse

# Section 2 of the contract, word for word.
WHOLE_MODEL = """
schema = 1
title = "Tumour vesicles convert fibroblasts"

[run]
duration = "24 h"
engine = "leap"              # exact | leap | mean_field
time_step = "auto"           # or a quantity
tolerance = 0.1              # with "auto": largest exit probability of a molecule in one step, hops aside
seed = 7
replicates = 1
observe_every = "10 min"     # rows of the observables
snapshot_every = "2 h"       # fields and cells on the lattice
checkpoint_every = "10 min"  # wall-clock time between checkpoints
precision = "float32"        # or "float64"

[lattice]                    # several organs: [lattice.lung], [lattice.liver], ...; a lattice's name is a region
shape = [48, 48, 48]         # 1, 2 or 3 axes; missing axes are one voxel thick; [1] is one well-mixed voxel
spacing = "20 um"            # or one per axis
fluid_fraction = 0.2         # share of a voxel that free molecules move in; default 1
boundary = "reflecting"      # or { x = "periodic", y_low = "absorbing", z_high = { fixed = { EV = "1e9 /mL" } } }; what `fixed` does not list reflects

[parameters]                 # everything a rate may name
k_release = "60 /h"
k_on = { value = "1e-4 um^3/s", prior = { lognormal = { median = "1e-4 um^3/s", sigma = 1.0 } }, bounds = ["1e-6 um^3/s", "1e-2 um^3/s"], evidence = "derived", source = "clearance 1 um^3/s over 1e4 receptors" }
k_int = "1e-3 /s"
k_off = "1e-3 /s"
k_caf = "0.05 /h"
K_caf = 20
# a value that depends on the cell in the voxel (0 elsewhere): q = { by_cell = { tumour = "0.17 /s", CAF = "0.1 /s" } }

[cells.tumour]               # a cell type; at most one cell in a voxel
[cells.fibroblast]
motility = "0.01 um^2/s"     # optional; random walk to empty neighbours; may be an expression; chemotaxis = { up = "VEGF", strength = 2.0 }
[cells.CAF]

[species.EV]                 # free in the tissue fluid
diffusion = "1.3 um^2/s"     # also { file = "D.npy" } (um^2/s, one value a voxel) or { core = "0.3 um^2/s", default = "1.3 um^2/s" } by region
decay = "0.05 /h"
initial = 0                  # also { poisson = 5 } | { voxel = [24, 24, 24], count = 1000 } | { density = "1e9 /mL" } | { file = "x.npy" }

[species.receptor]
in = "cell"                  # lives in the cell of a voxel, moves with it, gone when it dies
initial = { fibroblast = 10000, CAF = 10000 }
on_division = "reset"        # daughters get `initial`; default "split": Binomial(n, 1/2)
[species.bound]
in = "cell"
[species.dose_TGFb]
in = "cell"
half_life = "24 h"

[[reactions]]
name = "release"
equation = "tumour -> tumour + EV"
rate = "k_release"
[[reactions]]
equation = "EV + receptor -> bound"
rate = "k_on"
[[reactions]]
equation = "bound -> EV + receptor"
rate = "k_off"
[[reactions]]
equation = "bound -> receptor + dose_TGFb"
rate = "k_int"
[[reactions]]
name = "caf_conversion"
equation = "fibroblast -> CAF"
rate = "k_caf * hill(dose_TGFb, K_caf, 4)"

[[place]]                    # in order; later ones take only empty voxels unless replace = true
cells = "tumour"
sphere = { radius = "160 um" }
fill = 0.9
[[place]]
cells = "fibroblast"
everywhere = true            # also box = { low, high }, layer = { axis, from, to }, cylinder = { axis, centre, radius }, lines = { axis, every }, region, csv = "cells.csv" (x, y, z, type), labels = "map.tif|npy"
fill = 0.5

[observables.caf_fraction]
value = "total(CAF) / (total(CAF) + total(fibroblast))"
[observables.free_profile]
profile = { of = "conc(EV)", from = "tumour", bin = "20 um" }
"""


@pytest.fixture
def raw():
    return tomllib.loads(WHOLE_MODEL)


def small(**changes):
    """A minimal model; each change replaces one top-level table."""
    model = {
        "schema": 1,
        "run": {"duration": "1 h"},
        "lattice": {"shape": [4, 4, 4], "spacing": "20 um"},
        "parameters": {"k": "1 /h", "k_on": "1e-4 um^3/s", "down": -1.0},
        "cells": {"tumour": {}, "CAF": {}},
        "species": {"EV": {}, "bound": {"in": "cell"}},
        "reactions": [{"name": "release", "equation": "tumour -> tumour + EV", "rate": "k"}],
    }
    return {**model, **changes}


def changed(raw, path, value):
    """A copy of a model with one key set (None: removed); list elements by index."""
    model = copy.deepcopy(raw)
    *parents, last = path.split("/")
    node = model
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    last = int(last) if isinstance(node, list) else last
    if value is None:
        del node[last]
    else:
        node[last] = value
    return model


def refusal(model, folder="."):
    with pytest.raises(ConfigError) as refused:
        from_mapping(model, folder, file="model.toml")
    assert refused.value.exit_code == 2
    lines = str(refused.value).split("\n")
    assert all(line.startswith("model.toml: ") for line in lines)
    assert all(len(line) < 600 for line in lines)
    return lines[0].removeprefix("model.toml: ")


def test_the_whole_model_of_the_contract_loads(raw):
    config = from_mapping(raw)
    assert config.run.duration_s == 86400
    assert config.run.observe_every_s == 600
    assert config.lattice.spacing_um == (20, 20, 20)
    assert config.parameters["k_on"].value == Number(1e-4, VOLUME * PER_TIME)
    assert config.parameters["k_on"].prior["lognormal"]["sigma"] == Number(1.0)
    assert config.species["EV"].diffusion == Number(1.3, DIFFUSIVITY)
    assert config.species["receptor"].initial == {"fibroblast": 10000, "CAF": 10000}
    assert config.species["receptor"].on_division == "reset"
    assert [reaction.name for reaction in config.reactions] == ["release", "r2", "r3", "r4", "caf_conversion"]
    assert config.reactions[1].equation == parse_equation("EV + receptor -> bound", "w")
    assert config.reactions[4].rate == parse("k_caf * hill(dose_TGFb, K_caf, 4)", "w")
    assert config.place[0].sphere.radius_um == 160
    assert config.observables["free_profile"].profile.of == parse("conc(EV)", "w")


def test_the_resolved_dump_loads_to_an_equal_config(raw):
    config = from_mapping(raw)
    again = from_mapping(tomllib.loads(dump(config)))
    assert again == config
    assert dump(again) == dump(config)
    assert config_hash(again) == config_hash(config)


def test_the_resolved_dump_spells_out_defaults_and_units():
    resolved = tomllib.loads(dump(from_mapping(small())))
    assert resolved["run"] == {
        "duration": "3600 s",
        "engine": "leap",
        "time_step": "auto",
        "tolerance": 0.1,
        "seed": 0,
        "replicates": 1,
        "observe_every": "36 s",
        "snapshot_every": "360 s",
        "checkpoint_every": "600 s",
        "precision": "float32",
    }
    assert resolved["species"]["EV"] == {"diffusion": "0 um^2/s", "initial": 0.0, "constant": False}
    assert resolved["lattice"]["boundary"]["z_high"] == "reflecting"
    assert resolved["parameters"]["k"] == {"value": "0.0002777777777777778 1/s"}


def test_every_kind_of_value_survives_the_dump(tmp_path):
    np.save(tmp_path / "D.npy", np.ones((4, 4, 4)))
    (tmp_path / "cells.csv").write_text("x,y,z,type\n")
    model = small(
        run={"duration": "1 h", "time_step": "2 s", "engine": "mean_field"},
        lattice={
            "shape": [4, 4, 4],
            "spacing": ["20 um", "10 um", 5],
            "boundary": {"x": "periodic", "y_low": "absorbing", "z_high": {"fixed": {"EV": "1e9 /mL"}}},
        },
        parameters={"k": "1 /h", "q": {"by_cell": {"tumour": "0.17 /s", "CAF": 0}}, "D": "1 um^2/s", "n": 2.5},
        regions={"rim": {"layer": {"axis": "x", "from": 0, "to": "40 um"}}, "map": {"labels": "D.npy", "label": 2}},
        species={
            "EV": {"diffusion": {"rim": "D / 2", "default": "D"}, "initial": {"poisson": 5}, "half_life": "log(2) / k"},
            "a": {"diffusion": {"file": "D.npy"}, "initial": {"voxel": [1, 2, 3], "count": 7}},
            "b": {"diffusion": "D", "initial": {"density": "1e9 /mL"}, "decay": "q"},
            "c": {"in": "cell", "initial": {"poisson": 3}},
            "d": {"initial": {"file": "D.npy"}},
            "e": {"in": "cell", "initial": 0.5},
        },
        reactions=[
            {"equation": "tumour -> tumour + poisson(n) EV", "propensity": "q * (1 + t * k) ^ 2", "region": "rim"},
            {"equation": "-> a", "rate": "1e-3 /um^3/s"},
            {"equation": "-> a", "rate": 0.5},
            {"equation": "2 a + b ->", "rate": 0.5},
        ],
        place=[
            {"csv": "cells.csv"},
            {"cells": {"1": "tumour", "2": "CAF"}, "labels": "D.npy", "region": "rim"},
            {"cells": "CAF", "lines": {"axis": "z", "every": "40 um"}},
            {"cells": "CAF", "cylinder": {"axis": "z", "radius": "10 um", "centre": [3, 4]}, "replace": True},
            {"cells": "CAF", "box": {"low": [0, 0, 0], "high": [9, 9, 9]}},
            {"cells": "CAF", "region": "map"},
        ],
        observables={
            "ratio": {"value": "total(EV, rim) / events(r1) + mean(c, tumour) * t * k"},
            "doses": {"histogram": {"of": "c", "over": "tumour", "bins": [0, 1, 10]}},
        },
    )
    config = from_mapping(model, tmp_path)
    again = from_mapping(tomllib.loads(dump(config)))
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert isinstance(config.species["EV"].initial, PoissonCount)
    assert isinstance(config.species["a"].initial, VoxelCount)
    assert isinstance(config.species["b"].initial, Density)
    assert config.species["a"].diffusion == FromFile.model_construct(file=(tmp_path / "D.npy").resolve())
    assert config.reactions[2].rate == Number(0.5, PER_TIME)
    assert config.reactions[3].rate == Number(0.5, VOLUME**2 * PER_TIME)
    assert config.lattice.boundary.is_periodic("x")
    assert config.lattice.boundary.z_high.fixed == {"EV": Number(1e-3, PER_VOLUME)}
    assert config.place[1].cells == {1: "tumour", 2: "CAF"}
    assert config.place[2].lines.offset_um == 20


def test_the_hash_leaves_out_only_what_does_not_change_the_bits(raw, tmp_path):
    base = config_hash(from_mapping(raw))
    for path, value in (("title", "x"), ("run/checkpoint_every", "1 h"), ("observables", {})):
        assert config_hash(from_mapping(changed(raw, path, value))) == base
    assert config_hash(from_mapping(changed(raw, "parameters/k_on", "1e-4 um^3/s"))) == base
    assert config_hash(from_mapping(changed(raw, "run/duration", "1440 min"))) == base
    for path, value in (("run/duration", "23 h"), ("run/seed", 8), ("parameters/K_caf", 21), ("place/0/fill", 0.8)):
        assert config_hash(from_mapping(changed(raw, path, value))) != base
    for content in (1.0, 2.0):
        np.save(tmp_path / "D.npy", np.full(3, content))
        model = changed(raw, "species/EV/diffusion", {"file": "D.npy"})
        assert config_hash(from_mapping(model, tmp_path)) != base
        base = config_hash(from_mapping(model, tmp_path))


def test_the_order_of_species_which_numbers_them_is_part_of_the_hash(raw):
    reordered = {**raw, "species": dict(reversed(raw["species"].items()))}
    assert config_hash(from_mapping(reordered)) != config_hash(from_mapping(raw))


def test_differences_are_key_paths_by_name(raw):
    old = from_mapping(raw)
    new = from_mapping(raw, overrides=["run.seed=3", "reactions.release.rate=2 /h", "species.EV.decay=0"])
    assert differences(old, new) == ["run.seed", "species.EV.decay", "reactions.release.rate"]
    assert differences(old, old) == []


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("run.seed=3", lambda c: c.run.seed == 3),
        ("run.duration=2 h", lambda c: c.run.duration_s == 7200),
        ('run.duration="2 h"', lambda c: c.run.duration_s == 7200),
        ("run.engine=mean_field", lambda c: c.run.engine == "mean_field"),
        ("parameters.k_on=2e-4 um^3/s", lambda c: c.parameters["k_on"].value.value == 2e-4),
        ("parameters.k_on=2e-4 um^3/s", lambda c: c.parameters["k_on"].prior is not None),
        ("parameters.k_int.value=3 /s", lambda c: c.parameters["k_int"].value.value == 3),
        ("reactions.release.rate=k_int", lambda c: c.reactions[0].rate == Name("k_int")),
        ("reactions.r2.rate=0", lambda c: c.reactions[1].rate.value == 0),
        ("reactions.2.rate=0.5", lambda c: c.reactions[2].rate.value == 0.5),
        ("lattice.shape=[2, 3]", lambda c: c.lattice.shape == (2, 3)),
        ("title=a = b", lambda c: c.title == "a = b"),
        ("place.0.sphere.radius=10 um", lambda c: c.place[0].sphere.radius_um == 10),
    ],
)
def test_an_override_sets_one_key(raw, override, read):
    before = copy.deepcopy(raw)
    assert read(from_mapping(raw, overrides=[override]))
    assert raw == before


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("run.seed", "is not KEY.PATH=VALUE"),
        ("=3", "is not KEY.PATH=VALUE"),
        ("reactions.relase.rate=1", "did you mean 'release'?"),
        ("reactions.99.rate=1", "index from 0 to 4"),
        ("run.seed.x=1", "which is no table"),
        ("run.sed=1", "did you mean 'seed'?"),
        ("run.seed=1\nduration = 3", "is not allowed"),
    ],
)
def test_a_bad_override_is_refused(raw, override, line):
    with pytest.raises(ConfigError, match=r"did you|is not|index|table") as refused:
        from_mapping(raw, overrides=[override])
    assert line in str(refused.value)


# (path, value, start of the line, what the line says)
BAD = [
    ("schema", 2, "schema: ", "schema = 1"),
    ("schema", None, "schema: ", "missing"),
    ("lattise", {}, "lattise: ", "did you mean 'lattice'?"),
    ("run/duraton", "1 h", "run.duraton: ", "did you mean 'duration'?"),
    ("run/duration", "5 kg", "run.duration: ", "dimension kg, but s is needed"),
    ("run/duration", "5 hh", "run.duration: ", "did you mean 'h'?"),
    ("run/duration", "0 h", "run.duration: ", "not positive"),
    ("run/duration", True, "run.duration: ", "True"),
    ("run/duration", float("nan"), "run.duration: ", "not finite"),
    ("run/duration", "k", "run.duration: ", "not a quantity"),
    ("run/duration", None, "run.duration: ", "missing"),
    ("run/engine", "fast", "run.engine: ", "exact, leap, mean_field"),
    ("run/tolerance", 0.6, "run.tolerance: ", "0.6"),
    ("run/tolerance", 0, "run.tolerance: ", "greater than 0"),
    ("run/seed", -1, "run.seed: ", "-1"),
    ("run/seed", 2**32, "run.seed: ", "less than or equal to 4294967295"),
    ("run/seed", "3", "run.seed: ", "whole number"),
    ("run/seed", 1.5, "run.seed: ", "1.5"),
    ("run/replicates", 0, "run.replicates: ", "greater than or equal to 1"),
    ("run/time_step", "-1 s", "run.time_step: ", "not positive"),
    ("run/observe_every", "1e-9 s", "run: ", "records"),
    ("lattice/shape", [48, 0, 48], "lattice.shape[1]: ", "greater than or equal to 1"),
    ("lattice/shape", [], "lattice.shape: ", "at least 1"),
    ("lattice/shape", [2, 2, 2, 2], "lattice.shape: ", "at most 3"),
    ("lattice/shape", [65536, 65536, 2], "lattice.shape: ", "4294967296"),
    ("lattice/shape", 4, "lattice.shape: ", "list"),
    ("lattice/spacing", "20 s", "lattice.spacing: ", "um is needed"),
    ("lattice/spacing", ["20 um", "0 um", "1 um"], "lattice.spacing[1]: ", "not positive"),
    ("lattice/spacing", ["20 um", "10 um"], "lattice.spacing: ", "one for all axes"),
    ("lattice/fluid_fraction", 0, "lattice.fluid_fraction: ", "above 0 and up to 1"),
    ("lattice/boundary", "open", "lattice.boundary", "reflecting, periodic, absorbing"),
    ("lattice/boundary", {"w": "periodic"}, "lattice.boundary: ", "unknown key 'w'"),
    ("lattice/boundary", {"x_low": "periodic"}, "lattice.boundary: ", 'x = "periodic"'),
    ("lattice/boundary", {"x": {"fixed": {"EVV": 1}}}, "lattice.boundary", "did you mean 'EV'?"),
    ("lattice/boundary", {"x": {"fixed": {"bound": 1}}}, "lattice.boundary", "lives in cells"),
    ("lattice/lung", {"shape": [2]}, "lattice: ", "stands beside lattices with names (lung)"),
    ("parameters/x", "k * 2", "parameters.x: ", "never an expression"),
    ("parameters/x", "1 florp", "parameters.x: ", "unknown unit"),
    ("parameters/x", {"value": 1, "bounds": [2, 3]}, "parameters.x: ", "outside its bounds"),
    ("parameters/x", {"value": 1, "bounds": ["0 s", "3 s"]}, "parameters.x: ", "bounds"),
    ("parameters/x", {"value": 1, "prior": {"lognormal": {"median": 1}}}, "parameters.x: ", "median, sigma"),
    ("parameters/x", {"value": 1, "prior": {"log_normal": {}}}, "parameters.x: ", "did you mean 'lognormal'?"),
    ("parameters/x", {"value": "1 s", "prior": {"normal": {"mean": 1, "sd": 1}}}, "parameters.x: ", "s is needed"),
    ("parameters/x", {"by_cell": {"tumor": 1}}, "parameters.x.by_cell: ", "did you mean 'tumour'?"),
    ("parameters/x", {"by_cell": {"tumour": "1 s", "CAF": "1 um"}}, "parameters.x: ", "mixes"),
    ("parameters/x", {"value": 1, "by_cell": {"tumour": 1}}, "parameters.x: ", "exactly one"),
    ("parameters/x", {}, "parameters.x: ", "exactly one"),
    ("parameters/hill", 1, "parameters.hill: ", "reserved"),
    ("parameters/t", 1, "parameters.t: ", "reserved"),
    ("parameters/EV", 1, "parameters.EV: ", "already the name of a species"),
    ("parameters/a-b", 1, "parameters.a-b: ", "not a name"),
    ("cells/tumour/chemotaxis", {}, "cells.tumour.chemotaxis.up: ", "is missing"),
    ("cells/tumour/motility", "1 um/s", "cells.tumour.motility: ", "um^2/s is needed"),
    ("species/EV/difusion", 1, "species.EV.difusion: ", "did you mean 'diffusion'?"),
    ("species/EV/diffusion", "-1 um^2/s", "species.EV.diffusion: ", "negative"),
    ("species/EV/diffusion", "1.3 um/s", "species.EV.diffusion: ", "um^2/s is needed"),
    ("species/EV/diffusion", "k", "species.EV.diffusion: ", "um^2/s is needed"),
    ("species/EV/diffusion", "EV", "species.EV.diffusion: ", "is a species, but a parameter is needed"),
    ("species/EV/diffusion", {"rim": 1}, "species.EV.diffusion: ", "default"),
    ("species/EV/diffusion", {"rim": 1, "default": 1}, "species.EV.diffusion: ", "'rim' is not defined"),
    ("species/EV/diffusion", {"file": "none.npy"}, "species.EV.diffusion.file: ", "does not exist"),
    ("species/EV/diffusion", {"file": "/"}, "species.EV.diffusion.file: ", "is not a file"),
    ("species/EV/decay", "1 s", "species.EV.decay: ", "1/s is needed"),
    ("species/EV", {"decay": 1, "half_life": 1}, "species.EV: ", "keep one"),
    ("species/EV/half_life", 0, "species.EV.half_life: ", "no half-life"),
    ("species/EV/kind", "concentration", "species.EV: ", "unit is missing"),
    ("species/EV/in", "plasma", "species.EV.in: ", "'plasma'"),
    ("species/EV/on_division", "reset", "species.EV: ", 'in = "cell"'),
    ("species/EV/initial", -1, "species.EV.initial: ", "outside 0 to"),
    ("species/EV/initial", "many", "species.EV.initial: ", "no initial state"),
    ("species/EV/initial", {"tumour": 1}, "species.EV.initial: ", "no initial state"),
    ("species/EV/initial", {"voxel": [4, 0, 0], "count": 1}, "species.EV.initial.voxel: ", "indices run from 0"),
    ("species/EV/initial", {"voxel": [1, 1, 1]}, "species.EV.initial.count: ", "missing"),
    ("species/EV/initial", {"density": "1 um"}, "species.EV.initial.density: ", "1/um^3 is needed"),
    ("species/EV/initial", 0.5, "species.EV.initial: ", "whole number"),
    ("species/bound/initial", {"tumor": 1}, "species.bound.initial: ", "did you mean 'tumour'?"),
    ("species/bound/diffusion", 1, "species.bound: ", "cannot have diffusion"),
    ("species/plasma.EV", {}, "species.plasma.EV: ", "not yet supported"),
    ("reactions/0/equation", "tumour -> tumour + EVV", "reactions.release.equation: ", "did you mean 'EV'?"),
    ("reactions/0/equation", "tumour > EV", "reactions.release.equation: ", "'->'"),
    ("reactions/0/equation", "tumour + CAF -> EV", "reactions.release.equation: ", "near(TYPE)"),
    ("reactions/0/equation", "2 tumour -> EV", "reactions.release.equation: ", "near(TYPE)"),
    ("reactions/0/equation", "tumour -> 3 tumour", "reactions.release.equation: ", "new cell"),
    ("reactions/0/equation", "-> 2 tumour", "reactions.release.equation: ", "new cell"),
    ("reactions/0/equation", "tumour -> poisson(2) tumour", "reactions.release.equation: ", "for molecules only"),
    ("reactions/0/equation", "tumour -> loaded(2, 3) EV", "reactions.release.equation: ", "probability"),
    ("reactions/0/equation", "tumour -> poisson(k) EV", "reactions.release.equation: ", "dimensionless is needed"),
    ("reactions/0/equation", "tumour -> plasma.EV", "reactions.release.equation: ", "no compartment or population 'plasma'"),
    ("reactions/0/equation", 3, "reactions.release.equation: ", "not an equation"),
    ("reactions/0/rate", "k_onn", "reactions.release.rate: ", "did you mean 'k_on'?"),
    ("reactions/0/rate", "60 /hh", "reactions.release.rate: ", "nor is it a unit, the nearest is 'h'"),
    ("reactions/0/rate", "60 furlongs", "reactions.release.rate: ", "unknown unit"),
    ("reactions/0/rate", "k_on", "reactions.release.rate: ", "um^3/s, but 1/s or 1/(um^3 s) is needed"),
    ("reactions/0/rate", "-3 /h", "reactions.release.rate: ", "negative"),
    ("reactions/0/rate", -3, "reactions.release.rate: ", "negative"),
    ("reactions/0/rate", "-k", "reactions.release.rate: ", "negative"),
    ("reactions/0/rate", "down * k", "reactions.release.rate: ", "negative"),
    ("reactions/0/rate", "k / (1 + down)", "reactions.release.rate: ", "no finite value"),
    ("reactions/0/rate", "k * near(EV)", "reactions.release.rate: ", "cell type is needed"),
    ("reactions/0/rate", "k * conc(EVV)", "reactions.release.rate: ", "did you mean 'EV'?"),
    ("reactions/0/rate", "k * plasma.EV", "reactions.release.rate: ", "no compartment"),
    ("reactions/0/rate", "__import__('os')", "reactions.release.rate: ", "not allowed"),
    ("reactions/0/rate", "k.real", "reactions.release.rate: ", "no compartment"),
    ("reactions/0/rate", "lambda: k", "reactions.release.rate: ", "not allowed"),
    ("reactions/0/rate", "k * 9**9**9", "reactions.release.rate: ", "exponent"),
    ("reactions/0/rate", "(" * 500 + "k" + ")" * 500, "reactions.release.rate: ", "not an expression"),
    ("reactions/0/rate", [1], "reactions.release.rate: ", "no value"),
    ("reactions/0/rate", None, "reactions.release: ", "exactly one of rate and propensity"),
    ("reactions/0/propensity", "k", "reactions.release: ", "exactly one of rate and propensity"),
    ("reactions/0", {"equation": "EV + bound ->", "rate": "k"}, "reactions[0].rate: ", "um^3/s is needed"),
    ("reactions/0", {"equation": "tumour + EV ->", "rate": "k_on"}, "reactions[0].rate: ", "1/s is needed"),
    ("reactions/0", {"equation": "2 EV ->", "propensity": "k_on"}, "reactions[0].propensity: ", "1/s is needed"),
    ("reactions/0", {"equation": "EV ->", "rate": "k", "region": "rim"}, "reactions[0].region: ", "not defined"),
    ("reactions/0", {"equation": "EV ->", "rat": "k"}, "reactions[0].rat: ", "did you mean 'rate'?"),
    ("reactions/0/name", "EV", "reactions.EV: ", "already the name"),
    ("reactions", {}, "reactions: ", "list"),
    ("place", [{"cells": "tumor", "everywhere": True}], "place[0].cells: ", "did you mean 'tumour'?"),
    ("place", [{"cells": "tumour"}], "place[0]: ", "exactly one of"),
    ("place", [{"everywhere": True}], "place[0]: ", "cells is missing"),
    ("place", [{"cells": "tumour", "everywhere": True, "fill": 1.2}], "place[0].fill: ", "above 0 and up to 1"),
    ("place", [{"cells": "tumour", "sphere": {"radius": "1 s"}}], "place[0].sphere.radius: ", "um is needed"),
    ("place", [{"cells": "tumour", "sphere": {"radius": 1, "centre": [1, 2]}}], "place[0].sphere.centre: ", "give 3"),
    ("place", [{"cells": "tumour", "lines": {"axis": "w", "every": 1}}], "place[0].lines.axis: ", "x, y, z"),
    ("place", [{"cells": "tumour", "csv": "none.csv"}], "place[0].csv: ", "does not exist"),
    ("regions/rim", {"of": "tumour"}, "regions.rim: ", "of needs within, beyond or both"),
    ("regions/rim", {"box": {"low": [9, 0, 0], "high": [0, 9, 9]}}, "regions.rim.box: ", "not below"),
    ("observables/a", {"value": "EV"}, "observables.a.value: ", "write total(...)"),
    ("observables/a", {"value": "total(EVV)"}, "observables.a.value: ", "did you mean 'EV'?"),
    ("observables/a", {"value": "events(EV)"}, "observables.a.value: ", "reaction is needed"),
    ("observables/a", {"value": "total(EV) + k"}, "observables.a.value: ", "mixes"),
    ("observables/a", {"value": "conc(EV)"}, "observables.a.value: ", "not allowed here"),
    ("observables/a", {}, "observables.a: ", "exactly one of"),
    ("observables/a", {"assay": {}}, "observables.a.assay.of: ", "is missing"),
    ("observables/a", {"profile": {"of": "EV", "from": "x", "bin": 1}}, "observables.a.profile.from: ", "'x'"),
    ("observables/a", {"histogram": {"of": "EV", "over": "CAF", "bins": [2, 1]}}, "observables.a.histogram.bins", "bins"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "says"), BAD)
def test_a_bad_input_ends_in_a_line_that_says_where_and_what(path, value, where, says, tmp_path):
    line = refusal(changed(small(), path, value), tmp_path)
    assert line.startswith(where)
    assert says in line


def test_the_small_model_itself_is_fine():
    from_mapping(small())


def test_an_observable_may_divide_counts_that_are_zero_now_and_a_rate_may_read_time_and_cells():
    model = small(observables={"a": {"value": "total(EV) / total(CAF, rim)"}}, regions={"rim": {"everywhere": True}})
    model["reactions"][0]["rate"] = "k * exp(-t * k) * (1 + CAF) * near(tumour)"
    from_mapping(changed(model, "run/time_step", "1 s"))
    assert "changes with the time t" in refusal(model)


def test_all_further_errors_are_listed_one_line_each():
    model = changed(changed(small(), "run/seed", -1), "species/EV/difusion", 1)
    with pytest.raises(ConfigError) as refused:
        from_mapping(model, file="m.toml")
    lines = str(refused.value).split("\n")
    assert [line.split(": ")[:2] for line in lines] == [["m.toml", "run.seed"], ["m.toml", "species.EV.difusion"]]
    model = changed(changed(small(), "reactions/0/rate", "x"), "species/EV/diffusion", "y")
    with pytest.raises(ConfigError) as refused:
        from_mapping(model, file="m.toml")
    assert len(str(refused.value).split("\n")) == 2


def test_a_missing_axis_reflects_and_cannot_be_named():
    lattice = {"shape": [4, 4], "spacing": "20 um", "boundary": "absorbing"}
    faces = from_mapping(small(lattice=lattice)).lattice.boundary
    assert (faces.x_low.kind, faces.y_high.kind, faces.z_low.kind) == ("absorbing", "absorbing", "reflecting")
    assert "axis that the lattice does not have" in refusal(small(lattice={**lattice, "boundary": {"z": "absorbing"}}))


def test_a_specific_wall_overrides_its_axis():
    boundary = {"x_low": "absorbing", "x": "reflecting", "y": "periodic"}
    faces = from_mapping(small(lattice={"shape": [4, 4, 4], "spacing": 1, "boundary": boundary})).lattice.boundary
    assert [faces.x_low.kind, faces.x_high.kind, faces.y_low.kind] == ["absorbing", "reflecting", "periodic"]


def test_an_automatic_name_avoids_a_taken_one():
    model = small(parameters={"r1": "1 /s"}, reactions=[{"equation": "EV ->", "rate": "r1"}])
    assert from_mapping(model).reactions[0].name == "r1_"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"run = {", "not valid TOML"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"title = '\xff'", "UTF-8"),
        (b"a = " + b"[" * 5000, "TOML"),
        (b"\x00\x01\x7fELF", "not valid TOML"),
        (b"# " + b"x" * 10_000_001, "10 MB"),
        (b"schema = 1\n" + b"a." * 20_000 + b"a = 1", "model.toml:2: a key has more than 20 dots"),
        (b"x = { " + b"'a.b' . " * 21 + b"a = 1 }", "more than 20 dots"),
        (b'x = """"a"""" \n["a\\"".' + b"a." * 21 + b"a]", "toml:2: a key has more than 20 dots"),
        (b"", "missing"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, says):
    path = tmp_path / "model.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.toml") as refused:
        load(path)
    assert says in str(refused.value)


def test_dots_in_texts_and_comments_are_no_keys(tmp_path):
    dots = "a." * 30
    texts = [f'"{dots}"', f"'{dots}'", f'"""\n{dots}"\\""""', f"'''\n{dots}'''''", f'"\\"" # {dots}']
    path = tmp_path / "model.toml"
    for text in texts:
        path.write_text(f"title = {text}\n")
        assert dots in read_toml(path)["title"] or "#" in text


def test_what_is_no_ordinary_file_is_refused_unread(tmp_path):
    path = tmp_path / "model.toml"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no ordinary file"):
        load(path)
    with pytest.raises(ConfigError, match="no ordinary file"):
        load("/dev/zero")


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")


def test_load_looks_up_files_beside_the_model(tmp_path):
    np.save(tmp_path / "D.npy", np.ones(2))
    text = WHOLE_MODEL.replace('diffusion = "1.3 um^2/s"', 'diffusion = { file = "D.npy" }')
    (tmp_path / "model.toml").write_text(text)
    assert load(tmp_path / "model.toml").species["EV"].diffusion.file == (tmp_path / "D.npy").resolve()


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["k", "1 /h", "EV"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_PATHS = sorted({path for path, *_ in BAD})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_PATHS), _JUNK)
def test_any_value_anywhere_gives_a_config_or_a_config_error(path, junk):
    if junk is None:
        return
    try:
        config = from_mapping(changed(small(), path, junk))
    except ConfigError:
        return
    assert from_mapping(tomllib.loads(dump(config))) == config
