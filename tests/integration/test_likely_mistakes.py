"""What is allowed but likely not meant, and calls from Python that cannot work: each is told, with what to do."""

import jax
import numpy as np
import pytest
import tomli_w

import exodiff as ex
from tests.integration.small_models import MODEL
from tests.integration.test_bad_input import changed, reaction, run_cli


def told(tmp_path, tables, *arguments):
    path = tmp_path / "model.toml"
    path.write_text(tomli_w.dumps(tables))
    code, text = run_cli("check", str(path), *arguments)
    return code, " ".join(text.split())


UNLIKELY = {
    "place outside of the lattice": (
        changed(place=[{"cells": "tumour", "sphere": {"radius": "2 um", "centre": ["900 um"] * 3}}]),
        "place[0]: no cell was placed",
    ),
    "no room": (
        changed(
            place=[*MODEL["place"], {"cells": "tumour", "everywhere": True}, {"cells": "tumour", "everywhere": True}]
        ),
        "no cell was placed",
    ),
    "cell that is not written on the right": (
        reaction(equation="tumour -> EV", rate="1 /h"),
        "reactions.odd: the tumour dies of it",
    ),
    "parameter that nothing names": (changed(parameters={"D_EW": "1 um^2/s"}), "parameters.D_EW: nothing"),
    "cell type that never occurs": (changed(cells={"ghost": {}}), "cells.ghost: there is none"),
}


@pytest.mark.parametrize("name", UNLIKELY)
def test_check_warns_of_what_is_likely_not_meant(tmp_path, name):
    tables, line = UNLIKELY[name]
    code, text = told(tmp_path, tables)
    assert code == 0
    assert line in text
    assert line not in told(tmp_path, MODEL)[1]


def test_a_misspelt_parameter_is_refused_where_it_is_set(tmp_path):
    code, text = told(tmp_path, changed(parameters={"D_EV": "1 um^2/s"}), "--set", "parameters.D_EW=2 um^2/s")
    assert code == 2
    assert "--set parameters.D_EW: the file has no parameter 'D_EW'; did you mean 'D_EV'?" in text


def test_an_element_may_be_named_as_in_messages():
    first = ex.Model.from_dict(MODEL, ["place[0].fill=0.25"])
    second = ex.Model.from_dict(MODEL, ["place.0.fill=25 %"])
    assert np.array_equal(first.start, second.start)
    assert first.start[3].sum() < ex.Model.from_dict(MODEL).start[3].sum()


def test_range_is_told_where_it_is_shortest_and_on_average(tmp_path):
    tables = {
        "schema": 1,
        "run": {"duration": "1 s"},
        "lattice": {"shape": [10], "spacing": "1 um"},
        "species": {"A": {"diffusion": 100.0}},
        "regions": {"sink": {"box": {"low": ["0 um"], "high": ["1 um"]}}},
        "reactions": [{"equation": "A ->", "rate": "1 /s", "region": "sink"}],
    }
    # sqrt(100 / 1) in the sink, sqrt(100 / 0.1) on average
    assert "10 ... 31.6" in told(tmp_path, tables)[1]


@pytest.mark.parametrize("engine", ["leap", "exact"])
def test_a_derivative_of_whole_molecules_is_refused(engine):
    model = ex.Model.from_dict(MODEL)

    def free(rate):
        return ex.simulate(model, [1.0], {"k_release": rate}, engine=engine)["EV"].sum().astype(float)

    with pytest.raises(ex.ConfigError, match="mean_field"):
        jax.grad(free)(1.0)


CALLS = {
    "a file name": (lambda model: ex.simulate("model.toml", [1.0]), "model: a str is no model"),
    "times with units": (lambda model: ex.simulate(model, ["30 min"]), "times: .*seconds"),
    "one override": (lambda model: ex.Model.from_dict(MODEL, "run.seed=3"), "give a list"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_cannot_work_says_what_to_give(name):
    call, message = CALLS[name]
    with pytest.raises(ex.ConfigError, match=message):
        call(ex.Model.from_dict(MODEL))


def test_models_and_trajectories_print_in_a_few_lines():
    model = ex.Model.from_dict(MODEL)
    assert len(repr(model).splitlines()) <= 6
    assert "EV" in repr(model)
    trajectory = ex.simulate(model, [0.0, 1.0])
    assert "2 times" in repr(trajectory)
    assert len(repr(trajectory)) < 1000


def test_bins_of_profiles_and_histograms_are_there():
    model = ex.Model.from_dict(
        changed(
            observables={
                "radial": {"profile": {"of": "conc(EV)", "from": "tumour", "bin": "2 um"}},
                "held": {"histogram": {"of": "EV", "over": "tumour", "bins": [0, 1, 5]}},
            }
        )
    )
    trajectory = ex.simulate(model, [0.0])
    assert np.array_equal(trajectory.bins["held"], [0, 1, 5])
    assert np.array_equal(trajectory.bins["radial"][:3], [0.0, 2.0, 4.0])
    for name, edges in trajectory.bins.items():
        assert trajectory.observables[name].shape[-1] == len(edges) - 1


def test_the_version_is_printed():
    code, text = run_cli("--version")
    assert (code, text) == (0, f"exodiff {ex.__version__}\n")
