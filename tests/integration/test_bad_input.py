"""Each bad input ends in one line that says where, what and what to do; exit code 2; nothing written."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff import cli
from exodiff.core.errors import ExodiffError
from tests.integration.small_models import MODEL


def run_cli(*arguments: str) -> tuple[int, str]:
    """Exit code and what was printed, as ``main`` would give them."""
    result = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(result.exception, ExodiffError):
        return result.exception.exit_code, cli.in_options(str(result.exception))
    return result.exit_code, result.output


def changed(**tables) -> dict:
    model = copy.deepcopy(MODEL)
    for key, value in tables.items():
        if isinstance(value, dict):
            model[key] = {**model.get(key, {}), **value}
        else:
            model[key] = value
    return model


def reaction(**fields) -> dict:
    return {**changed(reactions=[{"name": "odd", **fields}]), "observables": {}}


def intervention(**fields) -> dict:
    return changed(interventions=[{"name": "odd", **fields}])


BAD = {
    "unknown key": (changed(lattice={"spacng": 1}), r"lattice.spacng.*unknown.*spacing"),
    "wrong unit": (changed(run={"duration": "24 um"}), r"run.duration.*24 um"),
    "wrong dimension": (reaction(equation="EV ->", rate="k_on"), r"reactions.odd.rate.*um\^3/s.*1/s"),
    "negative rate": (reaction(equation="EV ->", rate="-1 /s"), r"reactions.odd.rate.*negative"),
    "undefined name in a rate": (reaction(equation="EV ->", rate="k_reles"), r"reactions.odd.rate.*k_reles.*k_release"),
    "undefined name in an equation": (reaction(equation="EVV ->", rate="1 /s"), r"reactions.odd.equation.*EVV.*'EV'"),
    "malformed equation": (reaction(equation="EV + -> ", rate="1 /s"), r"reactions.odd.equation"),
    "import": (reaction(equation="EV ->", rate="__import__('os')"), r"reactions.odd.rate"),
    "attribute": (reaction(equation="EV ->", rate="EV.__class__"), r"reactions.odd.rate"),
    "lambda": (reaction(equation="EV ->", rate="lambda: 1"), r"reactions.odd.rate"),
    "a number beyond float32": (
        reaction(equation="EV ->", rate="1e300 /s"),
        r"reactions.odd.rate: 1e\+300 .* more than float32 holds, 3.4",
    ),
    "huge power": (reaction(equation="EV ->", rate="9**9**9"), r"reactions.odd.rate"),
    "deep nesting": (reaction(equation="EV ->", rate="(" * 500 + "1" + ")" * 500), r"reactions.odd.rate"),
    "shape of zero": (changed(lattice={"shape": [8, 0, 4]}), r"lattice.shape"),
    "fixed step above the limit": (
        changed(run={"time_step": "500 s"}),
        r"run.time_step: 500 s exceeds .*rate of tumour",
    ),
    "two cell types react": (reaction(equation="tumour + fibroblast -> tumour", rate="1 /s"), r"near\("),
    "intervention on nothing": (
        changed(interventions=[{"at": ["1 min"]}]),
        r"interventions\[0\].*add, set, remove or infuse",
    ),
    "intervention without a time": (
        intervention(set={"EV": 1}),
        r"interventions.odd: exactly one of at, from and when",
    ),
    "intervention at two kinds of time": (
        intervention(at=["1 min"], when="t > 3", set={"EV": 1}),
        r"interventions.odd: exactly one of at, from and when",
    ),
    "times that do not rise": (intervention(at=[60, 30], set={"EV": 1}), r"interventions.odd.at.*do not rise"),
    "a time in um": (intervention(at=["3 um"], set={"EV": 1}), r"interventions.odd.at.*um"),
    "a series without every": (
        intervention(**{"from": "1 min", "to": "2 min"}, set={"EV": 1}),
        r"interventions.odd: a series needs from and every",
    ),
    "repeat without when": (
        intervention(at=[1], repeat=True, set={"EV": 1}),
        r"interventions.odd: repeat belongs to when",
    ),
    "infusion": (intervention(**{"from": 0}, infuse={"EV": "1 /h"}), r"interventions.odd.infuse.EV: .*compartment"),
    "compartment": (
        intervention(at=[1], add={"plasma": {"EV": 5}}),
        r"interventions.odd.add.plasma: .*no compartment",
    ),
    "target that is not there": (
        intervention(at=[1], add={"EVV": 5}),
        r"interventions.odd.add.EVV: .*did you mean 'EV'",
    ),
    "cells set": (intervention(at=[1], set={"tumour": 5}), r"interventions.odd.set.tumour: .*is a cell type"),
    "dimension of a number": (
        intervention(at=[1], add={"EV": "5 um"}),
        r"interventions.odd.add.EV: .*a number or 1/um",
    ),
    "dimension of a parameter": (
        intervention(at=[1], set={"k_on": "2 * k_release"}),
        r"interventions.odd.set.k_on: .*has dimension 1/s, but um\^3/s is needed",
    ),
    "half a molecule": (intervention(at=[1], set={"EV": 0.5}), r"interventions.odd.set.EV: 0.5 is not a whole number"),
    "less than none": (
        intervention(at=[1], set={"EV": -5}),
        r"interventions.odd.set.EV: -5 molecules are less than none",
    ),
    "a condition that is none": (
        intervention(when="total(EV)", set={"EV": 1}),
        r"interventions.odd.when.*no.* a condition",
    ),
    "a condition by voxel": (
        intervention(when="EV > 3", set={"EV": 1}),
        r"interventions.odd.when: .*write total\(...\)",
    ),
    "a condition with code": (intervention(when="open('x') > 3", set={"EV": 1}), r"interventions.odd.when"),
    "a parameter from a voxel": (
        intervention(at=[1], set={"k_on": "k_on * conc(EV)"}),
        r"interventions.odd.set.k_on: conc\(EV\) differs from voxel to voxel",
    ),
    "region that is not there": (intervention(at=[1], set={"EV": 1}, region="rim"), r"interventions.odd.region: 'rim'"),
    "removal of molecules": (intervention(at=[1], remove=["EV"]), r"interventions.odd.remove: 'EV' is a species"),
    "a constant that decays": (
        changed(species={"EV": {"constant": True, "decay": "1 /h"}}, observables={}),
        r"species.EV: a constant species is free, without diffusion",
    ),
    "rate that depends on time in exact": (
        {**reaction(equation="EV ->", rate="k_release * k_release * t"), "run": {**MODEL["run"], "engine": "exact"}},
        r"reactions.odd: its rate depends on t.*not yet supported",
    ),
    "flow in another unit": (changed(flow={"velocity": ["1 um^2/s", 0, 0]}), r"flow.velocity\[0\].*um/s is needed"),
    "flow by a rate": (changed(flow={"velocity": ["k_release", 0, 0]}), r"flow.velocity.x.*1/s.*um/s is needed"),
    "flow of two components": (changed(flow={"velocity": [1, 0]}), r"flow.velocity: 2 components.*x, y, z"),
    "flow along no axis": (
        {**changed(lattice={"shape": [8, 6]}, flow={"velocity": [0, 0, 1]}), "observables": {}},
        r"flow.velocity.z.*an axis that the lattice does not have.*x, y",
    ),
    "block of a later version": (changed(cells={"tumour": {"represents": 2}}), r"cells.tumour.*not yet supported"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_bad_model_is_refused_in_one_line_and_nothing_is_written(tmp_path, name, command):
    raw, pattern = BAD[name]
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(raw))
    code, told = run_cli(command, str(config), *(["--out", str(out)] if command == "run" else []))
    assert code == 2, told
    assert re.search(pattern, told), told
    assert len(told.strip().splitlines()) == 1, told
    assert not out.exists()


LONG = "a" * 5000
LONG_NAMES = {
    "region": (intervention(at=["1 min"], add={"EV": 1}, region=LONG), r"interventions.odd.region.*; [a-z ]+"),
    "species": (intervention(at=["1 min"], add={LONG: 1}), r"interventions.odd.*aaa"),
    "cell type": (changed(place=[{"cells": LONG, "everywhere": True}]), r"place\[0\].*aaa"),
    "reaction": ({**changed(reactions=[{"name": LONG, "equation": "EV ->", "rate": "x"}]), "observables": {}}, "aaa"),
    "key": (changed(**{LONG: 1}), "unknown key 'aaa"),
    "text of many words": (intervention(at=["1 min"], add={"EV": 1}, region="a " * 2500), r"interventions.odd.region"),
}


@pytest.mark.parametrize("kind", LONG_NAMES)
def test_a_name_of_any_length_is_refused_in_a_line_that_can_be_read(kind):
    tables, pattern = LONG_NAMES[kind]
    with pytest.raises(ex.ConfigError, match=pattern) as refused:
        ex.Model.from_dict(tables)
    assert max(map(len, str(refused.value).splitlines())) < 2500


def cells_csv(tmp_path: Path, text: str) -> dict:
    (tmp_path / "cells.csv").write_text(text)
    return changed(place=[{"csv": "cells.csv"}])


def nan_field(tmp_path: Path) -> dict:
    field = np.zeros((8, 6, 4))
    field[1, 2, 3] = np.nan
    np.save(tmp_path / "start.npy", field)
    return changed(species={"EV": {"initial": {"file": "start.npy"}}})


def flow(tmp_path: Path, **velocity: float) -> dict:
    """A uniform flow from a file, but for what is set: ``x`` along x, one voxel faster by ``jump``, or not a number."""
    field = np.zeros((3, 8, 6, 4))
    field[0] = velocity.get("x", 0.0)
    field[0, 3, 2, 1] += velocity.get("jump", 0.0)
    np.save(tmp_path / "v.npy", field)
    return changed(lattice={"boundary": {"x": "periodic"}}, flow={"velocity": {"file": "v.npy"}})


def flow_of_one_component(tmp_path: Path) -> dict:
    np.save(tmp_path / "v.npy", np.zeros((8, 6, 4)))
    return changed(flow={"velocity": {"file": "v.npy"}})


def flow_into_a_wall(tmp_path: Path) -> dict:
    return {**flow(tmp_path, x=1.0), "lattice": MODEL["lattice"]}


FILES = {
    "flow of one component": (flow_of_one_component, r"v.npy: has shape \(8, 6, 4\); needed is \(3, 8, 6, 4\)"),
    "flow that is not a number": (lambda p: flow(p, x=1.0, jump=np.nan), r"v.npy: holds nan at \[0, 3, 2, 1\]"),
    "flow with a source": (
        lambda p: flow(p, x=1.0, jump=0.1),
        r"flow.velocity.file: .*v.npy: voxel \[2, 2, 1\] makes 0.0025 .* the limit is 0.000525 \(1 %.*give a flow",
    ),
    "flow into a wall": (flow_into_a_wall, r"v.npy: voxel \[0, 0, 0\] makes 0.05 .*none through reflecting walls"),
    "cell outside": (lambda p: cells_csv(p, "x,y,z,type\n10,10,10,tumour\n500,10,10,tumour\n"), r"row 3.*outside"),
    "two cells in a voxel": (lambda p: cells_csv(p, "x,y,z,type\n10,10,10,tumour\n11,9,8,tumour\n"), r"rows 2 and 3"),
    "missing column": (lambda p: cells_csv(p, "x,y,type\n10,10,tumour\n"), r"cells.csv.*z"),
    "unknown type": (lambda p: cells_csv(p, "x,y,z,type\n10,10,10,tumor\n"), r"tumor.*not declared"),
    "NaN in a field": (nan_field, r"start.npy.*(nan|NaN)"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_in_one_line_and_nothing_is_written(tmp_path, name):
    make, pattern = FILES[name]
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(make(tmp_path)))
    code, told = run_cli("run", str(config), "--out", str(out))
    assert code == 2, told
    assert re.search(pattern, told), told
    assert len(told.strip().splitlines()) == 1, told
    assert not out.exists()


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    config = tmp_path / "model.toml"
    config.write_text("run = {")
    code, told = run_cli("run", str(config), "--out", str(tmp_path / "run"))
    assert code == 2
    assert "not valid TOML" in told


def test_a_directory_with_another_run_is_refused_with_the_ways_out(tmp_path):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    out.mkdir()
    (out / "resolved.toml").write_text("schema = 1\n")
    code, told = run_cli("run", str(config), "--out", str(out))
    assert code == 2
    assert told.startswith(f"--out {out}: already holds a run")
    assert f"exodiff resume {out}" in told
    assert "with --overwrite," in told
    with pytest.raises(ex.ConfigError) as refused:
        ex.run(ex.Model.from_dict(MODEL), out)
    assert str(refused.value).startswith(f"out={out}: already holds a run")
    assert "with overwrite=True," in str(refused.value)
    assert [path.name for path in out.iterdir()] == ["resolved.toml"]


def test_a_wrong_way_to_resume_is_named_as_it_was_given(tmp_path):
    config = tmp_path / "model.toml"
    config.write_text(tomli_w.dumps(MODEL))
    code, told = run_cli("run", str(config), "--out", str(tmp_path / "run"), "--resume", "yes")
    assert (code, told.strip()) == (2, "--resume yes: is not a choice; give auto or never")
    with pytest.raises(ex.ConfigError, match="resume=yes: is not a choice; give auto or never"):
        ex.run(ex.Model.from_dict(MODEL), tmp_path / "run", resume="yes")


def test_to_begin_anew_and_to_go_on_exclude_each_other(tmp_path):
    config = tmp_path / "model.toml"
    config.write_text(tomli_w.dumps(MODEL))
    code, told = run_cli("run", str(config), "--out", str(tmp_path / "run"), "--overwrite", "--resume", "auto")
    assert (code, told.split(":")[:2]) == (2, ["--overwrite", " excludes --resume auto"])


def test_a_directory_with_foreign_files_is_refused_even_with_overwrite(tmp_path):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    for extra in ([], ["--overwrite"], ["--resume", "auto"]):
        code, told = run_cli("run", str(config), "--out", str(out), *extra)
        assert code == 2
        assert "not empty" in told
    assert (out / "thesis.txt").read_text() == "precious"


def test_resume_of_a_folder_without_a_run_says_how_to_start(tmp_path):
    code, told = run_cli("resume", str(tmp_path))
    assert code == 2
    assert "exodiff run CONFIG" in told
