"""Runs on disk with interventions: stopped, resumed, recorded and checked."""

import tomllib

import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff import cli
from exodiff.config.load import dump, from_mapping
from exodiff.io import records
from exodiff.runner import driver
from tests.integration.small_models import MODEL
from tests.integration.stopping import StopAfter, assert_same_run, final_state

# At 0, between records, at a record, and on conditions; with parts of molecules, regions, removal and parameters.
INTERVENTIONS = [
    {"name": "bath", "at": ["0 s", "7 min"], "add": {"EV": "1e-4 /um^3"}, "region": "rim"},
    {"name": "block", "at": ["10 min"], "set": {"k_on": "k_on / 2"}, "remove": ["fibroblast"], "region": "rim"},
    {"name": "control", "when": "total(EV) > 2000", "set": {"k_release": 0, "EV": "EV / 3"}, "repeat": True},
    {"name": "once", "when": "events(bind) > 10", "add": {"receptor": 7}},
]
TABLES = {
    **MODEL,
    "regions": {"rim": {"layer": {"axis": "x", "from": 0, "to": "60 um"}}},
    "interventions": INTERVENTIONS,
    "observables": {**MODEL["observables"], "k_release": {"value": "k_release"}, "k_on": {"value": "k_on"}},
}


@pytest.fixture(scope="module")
def model():
    return ex.Model.from_dict(TABLES)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ex.run(model, out).finished
    return out


def test_all_interventions_act_in_the_run(whole):
    table = records.read_table(whole / "observables.csv")
    assert table["k_release"][0] > 0
    assert table["k_release"][-1] == 0
    assert table["k_on"][4] == pytest.approx(1e-3)  # 8 min
    assert table["k_on"][5] == pytest.approx(5e-4)  # 10 min: after the intervention of that time
    assert final_state(whole)["was_true"][0, 1]


@pytest.mark.parametrize("looks", [0, 2, 4, 8])
def test_a_stopped_and_resumed_run_equals_the_whole_run_bit_for_bit(model, whole, tmp_path, monkeypatch, looks):
    out = tmp_path / "run"
    monkeypatch.setattr(driver, "StopRequest", StopAfter(looks))
    ex.run(model, out)
    monkeypatch.undo()
    assert ex.run(model, out, resume="auto").finished
    assert_same_run(whole, out)


@pytest.mark.slow
def test_a_run_records_what_simulate_returns(model, whole):
    table = records.read_table(whole / "observables.csv")
    trajectory = ex.simulate(model, table["time_s"], seed=5)
    assert table["free"].tolist() == trajectory.total("EV")[0].tolist()


def test_interventions_survive_the_resolved_file():
    config = from_mapping(TABLES)

    assert from_mapping(tomllib.loads(dump(config))).interventions == config.interventions


def test_check_shows_interventions_and_warns_of_times_after_the_end(tmp_path):
    tables = {**TABLES, "interventions": [*INTERVENTIONS, {"name": "late", "at": ["1 h"], "add": {"EV": 1}}]}
    (tmp_path / "model.toml").write_text(tomli_w.dumps(tables))
    told = " ".join(CliRunner().invoke(cli.app, ["check", str(tmp_path / "model.toml")]).output.split())
    assert "block at 10 min k_on = k_on / 2; remove fibroblast in rim" in told
    assert "bath at 0 s, 7 min EV += 0.0001 * V in rim" in told
    assert "control each time total(EV) > 2000" in told
    assert "interventions.late: 1 of its times are after the end of the run at 1200 s" in told
