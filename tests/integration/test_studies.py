"""The four studies: without release every effect of vesicles is gone; the page tells what was measured."""

import json

import pytest

import exodiff as ex
from bench import studies
from exodiff.config import load as config_load

STUDIES = {study.name: study for study in studies.STUDIES}
SMALL = {
    "primary_tumour": ("lattice.shape=[12, 12, 12]",),
    "premetastatic_niche": ("lattice.lung.shape=[8, 8, 8]", "lattice.liver.shape=[8, 8, 8]"),
    "therapy": ("lattice.shape=[12, 12, 12]",),
    "liquid_biopsy": ("lattice.shape=[10, 10, 10]",),
}
HOURS = 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_without_release_no_effect_of_vesicles_is_left(name):
    """On a small lattice and for hours, so that not every effect shows with vesicles; exchange of some does."""
    study, path = STUDIES[name], studies.CONFIGS / f"{name}.toml"
    model = ex.load(path, [*study.treatment, *SMALL[name]])
    without = ex.load(path, [*study.treatment, *study.control, *SMALL[name]]).parameters
    found = {}
    for run, parameters in (("vesicles", None), ("control", without)):  # what was compiled serves both
        observed = ex.simulate(model, [HOURS * 3600.0], parameters=parameters, seed=4).observables
        found[run] = {effect.observable: float(observed[effect.observable][0, 0]) for effect in study.effects}
    assert all(effect.is_absent(found["control"][effect.observable]) for effect in study.effects)
    assert any(effect.is_shown(found["vesicles"][effect.observable]) for effect in study.effects)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_the_file_tells_the_control_and_has_what_it_changes(study):
    path = studies.CONFIGS / f"{study.name}.toml"
    text = path.read_text(encoding="utf-8")
    config = config_load.load(path, [*study.treatment, *study.control])
    assert all(f"--set {override}" in text for override in study.control)
    named = (*study.effects, *study.arms, *study.changes)
    assert all(one.observable in config.observables for one in named)
    assert all(config_load.load(path, arm.doses) != config_load.load(path) for arm in study.arms)
    assert all(hour * 3600 % config.run.observe_every_s == 0 for hour in study.hours)


def test_an_effect_is_told_from_none():
    up, down = studies.Effect("a", "a"), studies.Effect("b", "b", 0.02, rises=False, rounding=studies.ROUNDING)
    whole = studies.Effect("c", "c", 1.0, rises=False)
    assert up.is_shown(1e-9)
    assert up.is_absent(0.0)
    assert not up.is_absent(1e-9)
    assert down.is_absent(0.02 * (1 + 1e-6))
    assert down.is_shown(0.019)
    assert not down.is_shown(0.021)
    assert whole.is_absent(1.0)
    assert whole.is_shown(1 - 1e-9)


def test_a_study_fails_when_its_control_keeps_an_effect():
    study = STUDIES["primary_tumour"]
    with_them = {effect.observable: effect.without + (0.01 if effect.rises else -0.01) for effect in study.effects}
    run, control = {"final": with_them}, {"final": {effect.observable: effect.without for effect in study.effects}}
    kept = {"final": {**control["final"], "taken_up": 1e-9}}
    assert studies.verdict(study, {"vesicles": run, "control": control}) == "pass"
    assert studies.verdict(study, {"vesicles": run, "control": kept}) == "FAIL"
    assert studies.verdict(study, {"vesicles": run, "control": run}) == "FAIL"
    assert studies.verdict(study, {"vesicles": control, "control": control}) == "FAIL"
    assert studies.verdict(study, {"vesicles": run}) == "not measured yet"


def test_liquid_biopsy_fails_where_the_course_or_a_change_is_not_as_it_says():
    study = STUDIES["liquid_biopsy"]
    end = {"released": 9.0, "taken_up": 9.0, "plasma_vesicles": 30.0, "biopsy": 30.0, "tumour_cells": 0.0}
    course = {
        hour: {**end, "plasma_vesicles": plasma, "biopsy": plasma, "tumour_cells": cells}
        for hour, plasma, cells in (("6", 100.0, 10.0), ("12", 40.0, 10.0), ("18", 90.0, 11.0), ("24", 30.0, 0.0))
    }

    def line(final=end, at_h=course, **plasma):
        changed = {hour[1:]: {**at_h[hour[1:]], "plasma_vesicles": value} for hour, value in plasma.items()}
        return {"final": final, "at_h": {**at_h, **changed}}

    runs = {
        "vesicles": line(),
        "control": line(dict.fromkeys(end, 0.0)),
        "untreated": line(),
        "half the tumour": line(h6=55.0),
        "no block": line(h12=101.0),
    }
    assert studies.verdict(study, runs) == "pass"
    for run, worse in (
        ("vesicles", line(h12=51.0)),
        ("vesicles", line(h12=60.0, h18=61.0)),
        ("vesicles", line(h24=46.0)),
        ("vesicles", line(at_h={**course, "12": {**course["12"], "tumour_cells": 9.0}})),
        ("half the tumour", line(h6=100.0)),
        ("no block", line(h12=40.0)),
    ):
        assert studies.verdict(study, {**runs, run: worse}) == "FAIL"


def test_the_page_of_studies_is_that_of_the_results():
    """``python -m bench.studies --page`` writes it anew."""
    assert studies.PAGE.read_text(encoding="utf-8") == studies.page(studies.read_lines())
    assert all(
        (studies.FIGURES / f"{line['study']}_{kind}.png").exists()
        for line in studies.read_lines()
        if line["run"] == "vesicles"
        for kind in studies.SHOWN
    )


def test_results_of_studies_are_replaced_and_ordered(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "RESULTS", tmp_path / "studies.jsonl")
    line = {"study": "therapy", "run": "control", "steps": 1}
    for one in (line, {**line, "study": "primary_tumour"}, {**line, "steps": 2}):
        studies.keep(one)
    assert [(one["study"], one["steps"]) for one in studies.read_lines()] == [("primary_tumour", 1), ("therapy", 2)]
    assert json.loads((tmp_path / "studies.jsonl").read_text().splitlines()[1])["steps"] == 2
