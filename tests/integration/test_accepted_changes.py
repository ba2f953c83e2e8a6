"""A run that goes on with a changed config: only if it is told to, only if its state fits, with whole records."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

import exodiff as ex
from exodiff import cli
from exodiff.io import checkpoint, records
from exodiff.io.results import SnapshotReader
from exodiff.io.snapshots import list_snapshots, read_head
from exodiff.runner import driver
from tests.integration.stopping import StopAfter, assert_same_run

MODEL = {
    "schema": 1,
    "run": {"duration": "20 min", "observe_every": "2 min", "snapshot_every": "10 min", "seed": 5},
    "lattice": {"shape": [2, 2], "spacing": "20 um"},
    "parameters": {"k_release": "600 /h", "k_on": "1e-3 /s"},
    "species": {"EV": {"initial": {"poisson": 50}}, "bound": {}},
    "reactions": [
        {"name": "release", "equation": "-> EV", "rate": "k_release"},
        {"name": "bind", "equation": "EV -> bound", "rate": "k_on"},
    ],
    "observables": {"free": {"value": "total(EV)"}, "released": {"value": "events(release)"}},
}
CHANGES = {
    "parameters.k_release": "0 /h",
    "run.duration": "30 min",
    "run.observe_every": "1 min",
    "run.snapshot_every": "15 min",
}


def _with(changes: dict[str, Any]) -> ex.Model:
    tables = copy.deepcopy(MODEL)
    for path, value in changes.items():
        *there, last = path.split(".")
        table = tables
        for key in there:
            table = table[key]
        table[last] = value
    return ex.Model.from_dict(tables)


def _stopped(out: Path, monkeypatch: pytest.MonkeyPatch, looks: int = 4, **changes: Any) -> float:
    """A run that was stopped on its way, and where it is, seconds."""
    monkeypatch.setattr(driver, "StopRequest", StopAfter(looks))
    reached_s = ex.run(_with(changes), out).time_s
    monkeypatch.undo()
    assert 0 < reached_s < 1200
    return reached_s


def test_a_changed_config_is_refused_with_the_keys_and_the_flag(tmp_path, monkeypatch):
    out = tmp_path / "run"
    _stopped(out, monkeypatch)
    with pytest.raises(ex.ConfigError) as refused:
        ex.run(_with(CHANGES), out, resume="auto")
    for told in (*CHANGES, "accept_changes=True"):
        assert told in str(refused.value)
    edited = (out / "resolved.toml").read_text().replace('duration = "1200 s"', 'duration = "1800 s"')
    (out / "resolved.toml").write_text(edited)
    with pytest.raises(ex.CheckpointError, match=r"another config .* differs in run.duration\); .*accept_changes=True"):
        ex.resume(out)


def test_a_run_goes_on_with_what_was_changed_and_keeps_what_it_recorded(tmp_path, monkeypatch):
    out = tmp_path / "run"
    reached_s = _stopped(out, monkeypatch)
    before = records.read_table(out / "observables.csv")
    result = ex.run(_with(CHANGES), out, resume="auto", accept_changes=True)
    assert result.finished
    assert any("parameters.k_release" in line and f"from {reached_s:g} s" in line for line in result.warnings)
    table = records.read_table(out / "observables.csv")
    early = table["time_s"] <= reached_s
    for name, column in before.items():
        np.testing.assert_array_equal(table[name][early], column)
    assert table["time_s"][~early].tolist() == [t for t in np.arange(31) * 60.0 if t > reached_s]
    assert np.all(table["released"][~early] == table["released"][early][-1])
    assert SnapshotReader(out).times_s.tolist() == [0.0, *([600.0] if reached_s >= 600 else []), 900.0, 1800.0]
    assert ex.resume(out).warnings == ("the run was at its end already; only its figures were drawn again",)


def test_after_the_change_a_kill_changes_nothing(tmp_path, monkeypatch):
    outs = [tmp_path / "whole", tmp_path / "parts"]
    for out in outs:
        _stopped(out, monkeypatch)
    assert ex.run(_with(CHANGES), outs[0], resume="auto", accept_changes=True, figures=False).finished
    monkeypatch.setattr(driver, "StopRequest", StopAfter(3))
    assert not ex.run(_with(CHANGES), outs[1], resume="auto", accept_changes=True).finished
    monkeypatch.undo()
    assert ex.resume(outs[1]).finished
    assert_same_run(*outs)


def test_a_killed_change_can_be_accepted_again(tmp_path, monkeypatch):
    """The new config is in place, and the checkpoints are still those of the old one."""
    outs = [tmp_path / "whole", tmp_path / "parts"]
    for out in outs:
        _stopped(out, monkeypatch)
    assert ex.run(_with(CHANGES), outs[0], resume="auto", accept_changes=True, figures=False).finished

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exodiff.runner.checkpoints.Checkpoints.restart", kill)
    with pytest.raises(KeyboardInterrupt):
        ex.run(_with(CHANGES), outs[1], resume="auto", accept_changes=True)
    monkeypatch.undo()
    with pytest.raises(ex.CheckpointError, match="accept_changes=True"):
        ex.resume(outs[1])
    assert ex.resume(outs[1], accept_changes=True).finished
    assert_same_run(*outs)


def test_a_finished_run_is_made_longer(tmp_path):
    config, out = tmp_path / "model.toml", tmp_path / "run"
    config.write_text(tomli_w.dumps(MODEL))
    assert ex.run(ex.load(config), out, figures=False).finished
    longer = ["run", str(config), "--out", str(out), "--resume", "auto", "--set", 'run.duration="22 min"']
    assert "--accept-changes" in cli.in_options(str(CliRunner().invoke(cli.app, longer).exception))
    assert CliRunner().invoke(cli.app, [*longer, "--accept-changes"]).exit_code == 0
    assert records.read_table(out / "observables.csv")["time_s"].tolist() == [120.0 * i for i in range(12)]
    assert checkpoint.read_latest(out / "checkpoints").meta["time_s"] == 1320.0


def test_a_change_at_a_time_that_differs_by_rounding_loses_no_record(tmp_path, monkeypatch):
    often = {"run.duration": "1 s", "run.time_step": "0.05 s"}
    tenths, thirds = (
        often | {f"run.{kind}_every": f"{every} s" for kind in ("observe", "snapshot")} for every in (0.1, 0.3)
    )
    monkeypatch.setattr(driver, "StopRequest", StopAfter(2))
    stopped = ex.run(_with(tenths), tmp_path / "run", figures=False)
    monkeypatch.undo()
    assert stopped.time_s == 3 * 0.1 != 0.3
    assert ex.run(_with(thirds), tmp_path / "run", resume="auto", accept_changes=True, figures=False).finished
    for times_s in (
        records.read_table(tmp_path / "run" / "observables.csv")["time_s"],
        [read_head(path).time_s for path in list_snapshots(tmp_path / "run")],
    ):
        assert np.allclose(times_s, [0.0, 0.1, 0.2, 0.3, 0.6, 0.9, 1.0], rtol=1e-12)


SWITCH = [{"name": "switch", "at": ["19 min"], "set": {"k_on": "2e-3 /s"}}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"run.engine": "mean_field"}, "the engine cannot change"),
        ({"run.precision": "float64"}, "run.precision cannot change"),
        ({"run.replicates": 2}, "run.replicates cannot change"),
        ({"lattice.shape": [8, 4, 6]}, "the shape of the lattice cannot change"),
        ({"species.other": {}}, "the list of species cannot change"),
        ({"cells": {"other": {}}}, "the list of cells cannot change"),
        ({"observables.more": {"value": "total(bound)"}}, "the list of observables cannot change"),
        ({"observables.released.value": "events(bind)"}, "the events that observables count cannot change"),
        ({"interventions": []}, "the parameters that interventions set cannot change"),
        ({"parameters.k_on": "5e-3 /s"}, "parameters.k_on.value is set by an intervention"),
        (
            {"interventions": [*SWITCH, {"name": "more", "at": ["1 s"], "set": {"k_on": "3e-3 /s"}}]},
            "what interventions do at .* s and before cannot change",
        ),
        ({"run.duration": "2 min"}, "is at .* s already and run.duration is 120 s"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_touched(stopped_once, changes, told):
    before = {path: path.read_bytes() for path in stopped_once.rglob("*") if path.is_file()}
    with pytest.raises(ex.ConfigError, match=told):
        ex.run(_with({"interventions": SWITCH, **changes}), stopped_once, resume="auto", accept_changes=True)
    changed = [p.name for p, content in before.items() if p.read_bytes() != content]
    assert set(changed) <= {"provenance.json", "run.lock"}


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        _stopped(out, patch, interventions=SWITCH)
    return out


def test_exact_goes_on_only_as_it_began(tmp_path, monkeypatch):
    short = {"run.engine": "exact", "run.duration": "2 min", "run.observe_every": "20 s"}
    monkeypatch.setattr(driver, "StopRequest", StopAfter(2))
    assert not ex.run(_with(short), tmp_path / "run").finished
    monkeypatch.undo()
    with pytest.raises(ex.ConfigError, match="the engine exact goes on only with"):
        ex.run(_with({**short, "parameters.k_on": "2e-3 /s"}), tmp_path / "run", resume="auto", accept_changes=True)
