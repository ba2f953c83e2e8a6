"""The movie has a frame a snapshot, shows what was asked for, and says what it lacks; labels of populations."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exodiff as ex
from exodiff.viz.labels import read_labels
from exodiff.viz.movie import make_movie

SENDERS = {
    "schema": 1,
    "run": {"duration": "1 h", "snapshot_every": "15 min", "observe_every": "30 min"},
    "lattice": {"shape": [6, 5], "spacing": "20 um", "fluid_fraction": 0.2},
    "cells": {"tumour": {}, "fibroblast": {}},
    "cargo": {"TGFb": {"site": "surface", "half_life": "6 h"}},
    "exosomes": {
        "tEV": {
            "released_by": ["tumour"],
            "diffusion": "1.3 um^2/s",
            "biogenesis": {"escrt": "30 /h", "lysosome": "2 /h", "fusion": "2 /h", "burst": "poisson(20)"},
            "cargo": {"TGFb": {"fraction": 0.5, "mean": 5}},
            "uptake": {"mode": "clearance", "k_on": "1e-4 um^3/s", "receptors": 10000, "receivers": {"fibroblast": 1}},
        }
    },
    "place": [
        {"cells": "tumour", "box": {"low": [0, 0], "high": [40, 100]}},
        {"cells": "fibroblast", "everywhere": True},
    ],
    "observables": {
        "free": {"value": "total(tEV)"},
        "dose": {"histogram": {"of": "dose.TGFb", "over": "fibroblast"}},
        "profile": {"profile": {"of": "conc(tEV)", "from": "tumour", "bin": "20 um"}},
    },
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("movie") / "run"
    ex.run(ex.Model.from_dict(SENDERS), out)
    return out


def test_a_movie_has_a_frame_for_every_snapshot_and_they_differ(run_dir: Path):
    with Image.open(make_movie(run_dir, ["tEV", "dose.TGFb"])) as movie:
        assert movie.n_frames == 5
        frames = []
        for place in range(movie.n_frames):
            movie.seek(place)
            frames.append(np.asarray(movie.convert("RGB")))
    assert all((a != b).any() for a, b in pairwise(frames))


def test_what_a_movie_lacks_is_told(run_dir: Path, tmp_path: Path):
    with pytest.raises(ex.ConfigError, match="no 'tEv'; did you mean 'tEV'"):
        make_movie(run_dir, ["tEv"])
    with pytest.raises(ex.ConfigError, match="0 snapshots make no movie"):
        make_movie(tmp_path)
    with pytest.raises(ex.ConfigError, match=r"give 0\.1 to 50"):
        make_movie(run_dir, frames_per_s=0.0)


def test_populations_are_drawn_where_they_are_and_counted_as_what_they_are(run_dir: Path):
    labels = read_labels(run_dir)
    assert labels.free_species == ("tEV",)
    assert labels.in_cell_species == ("tEV.mvb", "dose.TGFb")
    assert labels.nouns == {"tEV": "vesicles", "tEV.mvb": "bodies", "dose.TGFb": "copies"}
    assert labels.holders["tEV.mvb"] == {"tumour"}
    assert labels.observable("free").unit == "vesicles"
    assert labels.observable("dose").unit == "copies per cell"
    assert labels.observable("profile").unit == "vesicles/µm³"
    assert labels.observable("free").expression == "total(tEV)"
