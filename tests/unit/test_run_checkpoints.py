"""Which config a checkpoint belongs to, where files that it names were moved or edited."""

import numpy as np
import pytest
import tomli_w

from exodiff.config.load import load
from exodiff.core.errors import CheckpointError, RunDirectoryError
from exodiff.io.checkpoint import write_checkpoint
from exodiff.runner.checkpoints import Checkpoints
from exodiff.runner.directory import RunDirectory

MODEL = {
    "schema": 1,
    "run": {"duration": "20 min"},
    "lattice": {"shape": [2, 2], "spacing": "20 um"},
    "species": {"EV": {"initial": {"file": "start.npy"}}},
    "observables": {"free": {"value": "total(EV)"}},
}
STATE = {name: np.zeros(1, np.int32) for name in ("counts", "events", "pair", "settings", "was_true")}


@pytest.fixture
def project(tmp_path):
    """A model, its data and a run with a checkpoint, in one folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    np.save(folder / "start.npy", np.ones((2, 2), np.int32))
    (folder / "model.toml").write_text(tomli_w.dumps(MODEL))
    config = load(folder / "model.toml")
    RunDirectory(folder / "run").begin(config, None)
    with Checkpoints(folder / "run" / "checkpoints", config) as checkpoints:
        write_checkpoint(checkpoints.folder, STATE, checkpoints.meta | {"pairs": 0, "time_s": 0.0}, 0)
    return folder


def _latest(folder, **changes):
    config = load(folder / "model.toml", [f"{key}={value}" for key, value in changes.items()])
    with Checkpoints(folder / "run" / "checkpoints", config) as checkpoints:
        return checkpoints.latest(exact=False, skip_damaged=False, accept_changes=False)


def test_a_project_that_was_moved_has_the_config_that_it_had(project):
    moved = project.rename(project.parent / "there")
    assert _latest(moved).begun is None
    directory = RunDirectory(moved / "run")
    directory.refuse_another_config(load(moved / "model.toml"))
    with pytest.raises(RunDirectoryError, match=r"folder was moved, go on with `exodiff run CONFIG --resume auto"):
        directory.config()


def test_an_edited_file_is_named(project):
    np.save(project / "start.npy", np.full((2, 2), 7, np.int32))
    with pytest.raises(CheckpointError, match=r"it differs in \S*here/start.npy\)"):
        _latest(project)
    with pytest.raises(CheckpointError, match=r"it differs in title, run.duration, .*start.npy\)"):
        _latest(project, **{"run.duration": "30 min", "title": "x"})


def test_another_config_in_a_moved_project_is_refused_with_the_reason(project):
    moved = project.rename(project.parent / "there")
    with pytest.raises(CheckpointError, match=r"its own cannot be read \(.*does not exist"):
        _latest(moved, **{"run.duration": "30 min"})
