"""A small model that uses most of what a run writes."""

from typing import Any

MODEL: dict[str, Any] = {
    "schema": 1,
    "title": "small",
    "run": {"duration": "20 min", "observe_every": "2 min", "snapshot_every": "10 min", "seed": 5},
    "lattice": {"shape": [8, 6, 4], "spacing": "20 um", "fluid_fraction": 0.2},
    "parameters": {"k_release": "600 /h", "k_on": "1e-3 um^3/s"},
    "cells": {"tumour": {"motility": "0.05 um^2/s"}, "fibroblast": {}},
    "species": {
        "EV": {"diffusion": "1.3 um^2/s", "decay": "0.5 /h", "initial": {"poisson": 3}},
        "receptor": {"in": "cell", "initial": {"fibroblast": 100}},
        "bound": {"in": "cell"},
    },
    "reactions": [
        {"name": "release", "equation": "tumour -> tumour + EV", "rate": "k_release"},
        {"name": "bind", "equation": "EV + receptor -> bound", "rate": "k_on"},
        {"name": "divide", "equation": "tumour -> 2 tumour", "rate": "1 /h"},
    ],
    "place": [
        {"cells": "tumour", "sphere": {"radius": "40 um"}, "fill": 0.5},
        {"cells": "fibroblast", "everywhere": True, "fill": 0.4},
    ],
    "observables": {
        "free": {"value": "total(EV)"},
        "released": {"value": "events(release)"},
        "profile": {"profile": {"of": "conc(EV)", "from": "tumour", "bin": "20 um"}},
        "bound_histogram": {"histogram": {"of": "bound", "over": "fibroblast", "bins": 5}},
    },
}
