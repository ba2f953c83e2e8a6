"""The examples of the documents load and run, and the commands they name exist."""

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from bench import performance
from bench.rows import between
from exodiff import cli
from exodiff.config import load as config_load
from exodiff.io.records import read_table

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(path.read_text(encoding="utf-8")) if found == language]


def is_whole(text: str) -> bool:
    return "schema" in tomllib.loads(text)


def merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Tables key by key, lists of tables one after the other, all else replaced."""
    result = dict(base)
    for key, value in part.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            result[key] = [*old, *value]
        else:
            result[key] = value
    return result


TOML = [(path, i, text) for path in DOCS for i, text in enumerate(blocks(path, "toml"))]
REFERENCE = next((text for path, _, text in TOML if path.name == "model.md"), "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the parts of docs/model.md name."""
    folder = tmp_path_factory.mktemp("documentation")
    shape = tuple(tomllib.loads(REFERENCE)["lattice"]["shape"])
    np.save(folder / "D.npy", np.full(shape, 1.3))
    np.save(folder / "map.npy", np.arange(np.prod(shape)).reshape(shape) % 3)
    (folder / "cells.csv").write_text("x,y,z,type\n1.0,1.0,1.0,tumour\n30.0,1.0,1.0,CAF\n", encoding="utf-8")
    return folder


def test_the_documents_have_examples():
    assert len(TOML) >= 12
    assert is_whole(REFERENCE)
    assert [path.stem for path in EXAMPLES] == ["bursts", "saturation", "section", "sphere"]


@pytest.mark.parametrize(("path", "number", "text"), TOML, ids=[f"{path.stem}-{i}" for path, i, _ in TOML])
def test_every_toml_block_builds_a_model(folder, path, number, text):
    raw = tomllib.loads(text)
    if is_whole(text):
        ex.Model.from_dict(raw, folder=ROOT / "docs" / "examples")  # where the studies of the tutorial lie
    else:
        assert path.name == "model.md", f"block {number} is a part; parts belong to the reference"
        ex.Model.from_dict(merged(tomllib.loads(REFERENCE), raw), folder=folder)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_tutorial_shows_the_files_word_for_word(path):
    assert path.read_text(encoding="utf-8") in blocks(ROOT / "docs" / "tutorial.md", "toml")


def test_resolved_reference_model_loads_to_the_same_model(tmp_path):
    config = config_load.from_mapping(tomllib.loads(REFERENCE))
    (tmp_path / "resolved.toml").write_text(config_load.dump(config), encoding="utf-8")
    assert config_load.load(tmp_path / "resolved.toml") == config


def test_the_section_of_the_tutorial_keeps_its_books(tmp_path, monkeypatch):
    """Nothing is lost: what is free and what is taken up is what was released."""
    monkeypatch.chdir(tmp_path)
    model = ex.load(ROOT / "docs" / "examples" / "section.toml")
    traj = ex.simulate(model, times=[30.0], seed=1)
    observed = {name: float(traj.observables[name][0, -1]) for name in ("released", "free", "taken_up")}
    assert observed["released"] == observed["free"] + observed["taken_up"]
    # Poisson, 219 cells at 60 /h for 30 s; six standard deviations, false alarm 2e-9
    expected = 219 * 60 / 3600 * 30.0
    assert abs(observed["released"] - expected) < 6 * np.sqrt(expected)


def run_python(path: Path) -> dict[str, Any]:
    """Run the Python blocks of a document one after the other in one namespace."""
    namespace: dict[str, Any] = {}
    for number, text in enumerate(blocks(path, "python")):
        exec(compile(text, f"{path.name}, Python block {number}", "exec"), namespace)
    return namespace


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = run_python(ROOT / "README.md")
    gradient = {name: float(value) for name, value in found["gradient"].items()}
    # free(t) = s/k (1 - exp(-k t)) at t = 1 h, in a closed box; the rest is the step's second order
    k, s, t = 6.25e-4, 552 / 60, 3600.0
    free, d_k = s / k * (1 - np.exp(-k * t)), s / k * (t * np.exp(-k * t) - (1 - np.exp(-k * t)) / k)
    assert gradient["k_release"] == pytest.approx(free / (1 / 60), rel=2e-3)
    assert gradient["k_capture"] == pytest.approx(d_k, rel=2e-3)


@pytest.mark.parametrize("name", performance.tables())
def test_the_performance_page_tells_the_rows_of_the_repository(name):
    assert between(performance.PAGE, name) == performance.tables()[name], "python -m bench.performance"


@pytest.mark.slow
def test_the_python_of_the_tutorial_gives_the_numbers_it_tells(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = run_python(ROOT / "docs" / "tutorial.md")
    # sqrt(D/k) is 45.6 um; 1 % from the lattice (arccosh law), the rest from the walls five lengths away
    assert found["decay_length"] == pytest.approx(45.6, rel=0.02)
    # R k c / (c + K), 144 /h and 0.3 /um^3; at low c the first hours still miss exp(-3e-4 x 8 h) = 2e-4 of it
    for bath, uptake in found["curve"].items():
        assert uptake == pytest.approx(144 * bath / (bath + 0.3), rel=2e-3)
    # five standard errors, as told in the tutorial: false alarm 6e-7 each
    assert abs(found["mean"] - 60.0) < 5 * 0.56
    assert abs(found["fano"] - 10.5) < 5 * 0.33
    expected = {"k_on": 0.75, "bath": 0.75, "k_off": -0.25, "k_internalise.fibroblast": 0.5}
    for name, value in expected.items():
        assert found["elasticity"][name] == pytest.approx(value, abs=2e-3)


@pytest.mark.slow
def test_survival_on_the_results_page_is_that_of_its_law():
    """A T cell beside a target lives min(tiring, t), so the target survives n of them with f^n, f = E exp(-k min)."""
    (text,) = blocks(ROOT / "docs" / "results.md", "toml")
    times = np.array([0.0, 6.0, 24.0]) * 3600.0
    found = ex.simulate(ex.Model.from_dict(tomllib.loads(text)), times, seed=1, replicates=20)
    tumour, effector = (np.asarray(found[name])[0, 0] for name in ("tumour", "CTL"))
    beside = sum(
        np.pad(effector, 1)[1 + dx : 31 + dx, 1 + dy : 31 + dy] for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )
    kill, tire = 0.1, 0.05
    for at, hours in ((1, 6.0), (2, 24.0)):
        f = (tire + kill * np.exp(-(kill + tire) * hours)) / (kill + tire)
        expected = (f**beside)[tumour > 0]
        values = np.asarray(found.observables["survival"])[:, at]
        # four standard errors of independent cells, and the step's 0.4 % of the mean
        error = np.sqrt(np.sum(expected * (1 - expected)) / len(values)) / len(expected)
        assert abs(values.mean() - expected.mean()) < 4 * error + 0.004 * expected.mean()


@pytest.mark.slow
def test_the_python_of_the_results_page_reads_what_a_run_writes(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    short = ['run.duration="30 min"', 'run.snapshot_every="30 min"']
    run = ex.run(ex.load(ROOT / "configs" / "receptor_uptake.toml", short), tmp_path / "runs" / "receptor_uptake")
    (killing,) = blocks(ROOT / "docs" / "results.md", "toml")
    killed = ex.run(ex.Model.from_dict(tomllib.loads(killing)), tmp_path / "runs" / "killing")
    monkeypatch.chdir(tmp_path)
    found = run_python(ROOT / "docs" / "results.md")
    recorded = read_table(killed.path / "observables.csv")
    assert recorded["killing_rate"][20] == pytest.approx(recorded["killed"][20] / recorded["effectors"][20])  # at 1 h
    # as told on the page; 1249 are killed in the first hour, 15 in the last, four standard errors
    assert found["rate"].iloc[1] == pytest.approx(0.197, rel=4 / np.sqrt(1249))
    assert found["rate"].iloc[-1] == pytest.approx(0.01, abs=0.01)
    assert found["half_of_them_h"] == pytest.approx(7.0, abs=1.0)
    table, profiles = (read_table(run.path / name) for name in ("observables.csv", "profiles.csv"))
    at_end = profiles["time_s"] == 1800.0
    of_0 = at_end & (profiles["replicate"] == 0)
    assert np.allclose(found["mean"].iloc[-1], table["mean_uptake"][-3:].mean())
    assert np.allclose(found["error_of_mean"].iloc[-1], table["mean_uptake"][-3:].std(ddof=1) / np.sqrt(3))
    radial = profiles["value"][of_0 & (profiles["observable"] == "radial")]
    assert np.array_equal(found["radial"][0].to_numpy(), radial[np.isfinite(radial)])
    counts = profiles["value"][of_0 & (profiles["observable"] == "uptake")]
    fibroblasts = (found["cell_type"] == 1).sum()
    assert found["cells"][0].sum() == counts.sum() == fibroblasts == len(found["taken_by_cell"])
    assert np.allclose(found["per_vesicle"].sum() * 20, fibroblasts)
    assert found["vesicles"].sum() == table["free"][-3]
    assert found["taken_by_cell"].mean() == pytest.approx(table["mean_uptake"][-3])


def test_the_python_of_the_fitting_page_gives_the_numbers_it_tells(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = run_python(ROOT / "docs" / "fitting.md")
    # quantiles of 4000 normal draws, told to a minute; their own error is 1 to 2
    assert np.allclose(found["half_life_min"], [251, 298, 355], atol=4)
    assert found["low"] < found["fit"].estimate["k10"] < found["high"]
    (text,) = [body for body in blocks(ROOT / "docs" / "fitting.md", "text") if body.startswith("standard error of")]
    assert repr(found["next_measurements"]) == text.rstrip()


@pytest.mark.slow
def test_the_python_of_the_gradients_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = run_python(ROOT / "docs" / "gradients.md")
    assert found["g"].mode == "reverse"
    slopes = found["g"].value["secretion"]
    assert slopes.shape == (6,)
    assert slopes[3] < 0 < slopes[0]  # more in the middle, less at the end


def test_the_sbml_example_becomes_poisson(tmp_path):
    pytest.importorskip("libsbml")
    out = tmp_path / "birth_death.toml"
    source = ROOT / "docs" / "examples" / "birth_death.xml"
    done = CliRunner().invoke(cli.app, ["import", str(source), "--out", str(out), "--duration", "200 s"])
    assert done.exit_code == 0, done.output
    number = ex.simulate(ex.load(out), times=[200.0], seed=1, replicates=1000).total("X")[:, -1]
    # Poisson with mean 50 (1 - exp(-20)); standard errors sqrt(50 / n) and 50 sqrt(2 / n + 1 / (50 n)), five of each
    assert abs(number.mean() - 50.0) < 5 * np.sqrt(50 / 1000)
    assert abs(number.var(ddof=1) - 50.0) < 5 * 50 * np.sqrt(2 / 1000 + 1 / 50_000)


def test_what_placed_cells_begin_with_is_a_parameter():
    raw = {
        "schema": 1,
        "run": {"duration": 60},
        "lattice": {"shape": [3], "spacing": 20},
        "cells": {"fibroblast": {}},
        "species": {"receptor": {"in": "cell", "initial": {"fibroblast": 20}}},
        "place": [{"cells": "fibroblast", "everywhere": True}],
    }
    model = ex.Model.from_dict(raw)
    parameters = {"species.receptor.initial.fibroblast": 40.0}
    assert ex.simulate(model, times=[0.0], parameters=parameters).total("receptor")[0, 0] == 3 * 40


def commands() -> list[list[str]]:
    """Every call of exodiff in a shell block, and every one in backquotes that has an argument."""
    lines = []
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        shell = "\n".join(blocks(path, "sh"))
        lines += re.findall(r"(?:^|/|\s)exodiff (\w[^\n&|]*)", shell, re.MULTILINE)
        lines += re.findall(r"`exodiff (\w[^`]*)`", BLOCK.sub("", text).replace("\n", " "))
    return [shlex.split(line) for line in lines]


COMMANDS = commands()


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words) for words in COMMANDS])
def test_commands_in_the_documents_exist(words):
    shown = CliRunner().invoke(cli.app, ["--help"] if words[0] == "COMMAND" else [words[0], "--help"])
    assert shown.exit_code == 0, shown.output
    written = {after for command in COMMANDS for before, after in pairwise(command) if before == "--out"}
    for word in words[1:]:
        if word.startswith("--") and word != "--help":
            assert word in shown.output
        elif word.endswith((".toml", ".xml")):
            assert (ROOT / word).is_file() or word in written


def test_overrides_in_the_documents_are_taken():
    """Each --set of a command with a file loads with that file."""
    tried = 0
    for words in COMMANDS:
        files = [word for word in words if word.endswith(".toml")]
        overrides = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set"]
        if files and overrides:
            config_load.load(ROOT / files[0], overrides)
            tried += 1
    assert tried >= 2


def test_the_command_list_of_the_readme_is_that_of_the_program():
    listed = set(re.findall(r"^\| `exodiff (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    known = {command.name or getattr(command.callback, "__name__", "") for command in cli.app.registered_commands}
    assert listed == known


def test_the_test_command_of_the_readme_is_marked_once():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- test command -->") == 1
    block = text.split("<!-- test command -->")[1].split("```")[1]
    assert block.endswith("-m pytest\n")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_links_in_the_documents_lead_to_files_and_headings(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_refusals_quoted_in_the_reference_are_those_of_the_program():
    (quoted,) = blocks(ROOT / "docs" / "model.md", "text")
    base = {"schema": 1, "run": {"duration": 60}, "lattice": {"shape": [4], "spacing": 20}}
    wrong = [
        {"species": {"EV": {"difusion": "10 um^2/s"}}},
        {"species": {"EV": {"diffusion": "1 um^2/sek"}}},
        {"species": {"EV": {"diffusion": "10 um^2/s"}}, "run": {"time_step": "180 s"}},
        {"cells": {"tumour": {"represents": 10}}},
    ]
    for raw, line in zip(wrong, quoted.splitlines(), strict=True):
        with pytest.raises(ex.ConfigError) as refusal:
            ex.Model.from_dict(merged(base, raw))
        assert str(refusal.value) == line.removeprefix("exodiff: ").removeprefix("model.toml: ")


def test_a_model_written_as_toml_is_the_same_as_its_dict():
    raw = tomllib.loads(REFERENCE)
    assert config_load.from_mapping(tomllib.loads(tomli_w.dumps(raw))) == config_load.from_mapping(raw)
