"""Files that an untrusted model names are read only if they are ordinary, of the right kind and size, and never run."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from exodiff.io import images, tables
from tests.integration.test_bad_input import changed, run_cli

NAMED: dict[str, Any] = {
    "initial": lambda file: changed(species={"EV": {"diffusion": "1 um^2/s", "initial": {"file": f"{file}.npy"}}}),
    "diffusion": lambda file: changed(species={"EV": {"diffusion": {"file": f"{file}.npy"}}}),
    "flow": lambda file: changed(flow={"velocity": {"file": f"{file}.npy"}}),
    "labels": lambda file: changed(place=[{"cells": {"1": "tumour"}, "labels": f"{file}.npy"}]),
    "tiff": lambda file: changed(place=[{"cells": {"1": "tumour"}, "labels": f"{file}.tif"}]),
    "region": lambda file: changed(regions={"odd": {"labels": f"{file}.npy", "label": 1}}),
    "csv": lambda file: changed(place=[{"csv": f"{file}.csv"}]),
}


def refused(folder: Path, name: str, file: str = "odd") -> str:
    """What ``exodiff check`` says of a model that names a file."""
    (folder / "model.toml").write_text(tomli_w.dumps(NAMED[name](file)))
    code, told = run_cli("check", str(folder / "model.toml"))
    assert code == 2, told
    assert len(told.strip().splitlines()) == 1, told
    return told


def path_of(folder: Path, name: str) -> Path:
    return folder / f"odd{ {'csv': '.csv', 'tiff': '.tif'}.get(name, '.npy') }"


@pytest.mark.parametrize("name", NAMED)
def test_pipes_devices_and_folders_are_refused_unopened(tmp_path, name):
    path = path_of(tmp_path, name)
    os.mkfifo(path)
    assert "is not a file" in refused(tmp_path, name)
    for odd in ("/dev/zero", "/dev/stdin", str(tmp_path), str(path)):  # the last one leads to itself
        path.unlink()
        path.symlink_to(odd)
        assert ("leads nowhere" if odd == str(path) else "is not a file") in refused(tmp_path, name)


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_too_large_is_refused_unread(tmp_path, name, monkeypatch):
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    path = path_of(tmp_path, name)
    with path.open("wb") as file:
        file.truncate((tables if name == "csv" else images).MAX_BYTES + 1)  # nothing but a hole
    assert "bytes; at most" in refused(tmp_path, name)


@pytest.mark.parametrize("name", sorted(NAMED.keys() - {"csv", "tiff"}))
def test_an_array_of_another_lattice_is_refused_before_it_takes_memory(tmp_path, name, monkeypatch):
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    kind = np.uint8 if name in ("labels", "region") else np.float32
    np.lib.format.open_memmap(path_of(tmp_path, name), "w+", kind, (3, 1000, 1000, 500))
    assert "(3, 1000, 1000, 500)" in refused(tmp_path, name)


@pytest.mark.parametrize("name", NAMED)
def test_a_link_does_not_show_a_file_of_another_kind(tmp_path, name):
    (tmp_path / "secret.txt").write_text("x,y,z,type,password\n1,2,3,hunter2\n")
    path_of(tmp_path, name).symlink_to(tmp_path / "secret.txt")
    told = refused(tmp_path, name)
    assert "allowed" in told
    assert "password" not in told


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    class Odd:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "was_run",))

    np.save(tmp_path / "odd.npy", np.array([Odd()], dtype=object), allow_pickle=True)
    assert "values of type object" in refused(tmp_path, "initial")
    assert not (tmp_path / "was_run").exists()


def test_data_in_a_folder_beside_that_of_the_models_are_found(tmp_path):
    """What people do: ``models/a.toml`` and ``data/start.npy``, also by a link."""
    models, data = tmp_path / "models", tmp_path / "data"
    models.mkdir()
    data.mkdir()
    np.save(data / "start.npy", np.ones((8, 6, 4), np.int32))
    (models / "linked").symlink_to(data)
    for file in ("../data/start", "linked/start", str(data / "start")):
        (models / "model.toml").write_text(tomli_w.dumps(NAMED["initial"](file)))
        code, told = run_cli("check", str(models / "model.toml"))
        assert code == 0, told


def test_data_are_synthesised_only_beside_the_model_or_where_the_user_is(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    fit = {"parameters": ["k_on"], "data": [{"file": "../made.csv", "observable": "free", "noise": "poisson"}]}
    (tmp_path / "models" / "model.toml").write_text(tomli_w.dumps(changed(fit=fit)))
    code, told = run_cli("synthesise", str(tmp_path / "models" / "model.toml"), "--overwrite")
    assert code == 2, told
    assert "is neither in the folder of the model file nor in" in told
    assert not (tmp_path / "made.csv").exists()
