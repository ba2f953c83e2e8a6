"""Every config in configs/ runs."""

import re
import tomllib
from pathlib import Path

import pytest

import exodiff as ex

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))
STUDIES = ("primary_tumour", "premetastatic_niche", "therapy", "liquid_biopsy")
# compiling takes 10 to 20 s a mechanism and a minute or two a study
SLOW = {p for i, p in enumerate(p for p in CONFIGS if p.parent.name == "mechanisms") if i % 24 != 1}
SLOW |= {p for p in CONFIGS if p.stem in {*STUDIES, "angiogenesis", "ihc_colon", "m2_polarisation", "receptor_uptake"}}
SLOW |= {p for p in CONFIGS if p.stem.startswith("fit_") and p.stem != "fit_uptake"}


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p in SLOW else []) for p in CONFIGS]
)
def test_config_runs_to_the_end_and_draws_figures(path, tmp_path):
    model = ex.load(path, ['run.duration="3 min"', 'run.observe_every="1 min"', 'run.snapshot_every="3 min"'])
    result = ex.run(model, tmp_path / "run")
    assert result.finished
    assert any(figure.suffix == ".png" and figure.stat().st_size > 5000 for figure in result.figures)


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in CONFIGS if p.parent.name == "mechanisms" or p.stem in STUDIES]
)
def test_every_parameter_of_a_mechanism_or_a_study_says_where_it_comes_from(path):
    for name, parameter in tomllib.loads(path.read_text(encoding="utf-8")).get("parameters", {}).items():
        assert parameter["evidence"] in ("measured", "derived", "assumed"), name
        assert parameter["source"].strip(), name


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_of_a_study_says_where_it_comes_from(name):
    """Those of [parameters] in their table, all others in a comment on their line."""
    table, told = "", re.compile(r"# .*\b(measured|derived|assumed|chosen)\b")
    for line in (Path(__file__).parents[2] / "configs" / f"{name}.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            table = line.strip("[]").split(".")[0]
        value = re.sub(r"[A-Za-z_]\w*|#.*", "", line.partition("=")[2])  # without names that hold digits
        if (
            re.search(r"\d", value)
            and table not in ("", "run", "parameters")
            and not line.startswith(("equation", "unit"))
        ):
            assert told.search(line), line


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_of_tissue_size_and_places_what_it_names(name):
    model = ex.load(Path(__file__).parents[2] / "configs" / f"{name}.toml")
    assert model.problem.grid.num_voxels >= 48**3
    assert model.warnings == ()
