"""Small models on which the error of the step is enumerated: one a mechanism, few copies, up to about 1,000 states."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from exodiff.problem import Model
from tests.physics.checks.states import Space, enumerate_states
from tests.physics.models import box_of, make_model


@dataclass(frozen=True, eq=False)
class LeapModel:
    """One model, until a time in seconds, and the species whose totals are looked at.

    Args:
        name: for tables.
        what: the mechanism.
        tables: of the model file.
        end_s: when the law is compared: about one relaxation, where the error is largest.
        watched: species.
        caps: most molecules in a voxel of the species that nothing else bounds.
        voxels: on a line.
        boundary: of the line.
        fields: first numbers in each voxel, by species.

    """

    name: str
    what: str
    tables: Mapping[str, Any]
    end_s: float
    watched: tuple[str, ...]
    caps: Mapping[str, int] = field(default_factory=dict)
    voxels: int = 1
    boundary: str = "reflecting"
    fields: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def model(self, time_step_s: float | None = None, precision: str = "float64", **run: Any) -> Model:
        """The model with a fixed step, or the automatic one."""
        step = "auto" if time_step_s is None else time_step_s
        tables = {key: dict(value) if isinstance(value, Mapping) else value for key, value in self.tables.items()}
        if self.fields:
            folder = _folder()
            for species, numbers in self.fields.items():
                file = folder / f"{self.name}_{species}.npy"
                np.save(file, np.asarray(numbers))
                tables["species"] = {
                    **tables["species"],
                    species: {**tables["species"][species], "initial": {"file": str(file)}},
                }
        return make_model(
            [self.voxels], boundary=self.boundary, run={"precision": precision, "time_step": step, **run}, **tables
        )

    def space(self, time_step_s: float | None = None, **run: Any) -> Space:
        """Its states; those of one model are enumerated once."""
        space = _space(self)
        return Space(self.model(time_step_s, **run), space.states, space.compiled)


@cache
def _folder() -> Path:
    return Path(mkdtemp())


@cache
def _space(model: LeapModel) -> Space:
    return enumerate_states(model.model(), model.caps)


def _equations(*rows: tuple[str, str | float]) -> list[dict[str, Any]]:
    return [{"equation": equation, "rate": rate} for equation, rate in rows]


def _uptake(vesicles: int, receptors: int) -> dict[str, Any]:
    return {
        "cells": {"receiver": {}},
        "place": [{"cells": "receiver", "everywhere": True}],
        "species": {
            "E": {"initial": vesicles},
            "R": {"in": "cell", "initial": {"receiver": receptors}},
            "B": {"in": "cell"},
            "I": {"in": "cell"},
        },
        "reactions": _equations(("E + R -> B", 0.2), ("B -> E + R", "0.3 /s"), ("B -> R + I", "0.5 /s")),
    }


MODELS = (
    LeapModel(
        "first_order",
        "source, conversion, loss",
        {
            "species": {"A": {"initial": 10}, "B": {}},
            "reactions": _equations(("-> A", "2 /s"), ("A -> B", 1.0), ("B -> A", 0.5), ("B ->", 0.7)),
        },
        end_s=2.0,
        watched=("A", "B"),
        caps={"A": 32, "B": 28},
    ),
    LeapModel(
        "bimolecular",
        "A + B ⇌ C, 12 and 9 copies",
        {
            "species": {"A": {"initial": 12}, "B": {"initial": 9}, "C": {}},
            "reactions": _equations(("A + B -> C", 0.1), ("C -> A + B", 0.8)),
        },
        end_s=0.6,
        watched=("A", "C"),
    ),
    LeapModel(
        "dimerisation",
        "2 P ⇌ D, 51 copies",
        {
            "species": {"P": {"initial": 51}, "D": {}},
            "reactions": _equations(("2 P -> D", 0.01), ("D -> 2 P", 0.1)),
        },
        end_s=1.0,
        watched=("P", "D"),
    ),
    LeapModel(
        "uptake_3",
        "uptake, 5 vesicles, 3 receptors",
        _uptake(5, 3),
        end_s=2.0,
        watched=("E", "B", "I"),
    ),
    LeapModel(
        "uptake_20",
        "uptake, 20 vesicles, 8 receptors",
        _uptake(20, 8),
        end_s=1.0,
        watched=("E", "B", "I"),
    ),
    LeapModel(
        "hill_switch",
        "Hill switch, n = 4",
        {
            "species": {"X": {"initial": 6}},
            "reactions": [
                {"name": "make", "equation": "-> X", "propensity": "2 * per_s + 20 * per_s * hill(X, 12, 4)"},
                {"name": "lose", "equation": "X ->", "rate": 1.0},
            ],
            "parameters": {"per_s": "1 /s"},
        },
        end_s=3.0,
        watched=("X",),
        caps={"X": 70},
    ),
    LeapModel(
        "burst",
        "bursts of Poisson(4), uptake",
        {
            "species": {"M": {"initial": 3}, "E": {}, "I": {}},
            "reactions": _equations(("M -> poisson(4) E", 0.8), ("E -> I", 0.6), ("I ->", 0.4)),
        },
        end_s=1.5,
        watched=("M", "E", "I"),
        caps={"E": 34, "I": 24},
    ),
    LeapModel(
        "ring_uptake",
        "hops on a ring of 3, uptake",
        {
            "cells": {"receiver": {}},
            "place": [{"cells": "receiver", "box": box_of(0)}],
            "species": {
                "E": {"diffusion": 0.7},
                "R": {"in": "cell", "initial": {"receiver": 4}},
                "B": {"in": "cell"},
                "I": {"in": "cell"},
            },
            "reactions": _equations(("E + R -> B", 0.5), ("B -> I", 0.4)),
        },
        end_s=1.0,
        watched=("E", "B", "I"),
        voxels=3,
        boundary="periodic",
        fields={"E": (0, 5, 5)},
    ),
    LeapModel(
        "two_voxels",
        "hops in 2 voxels, A + B →",
        {
            "species": {"A": {"diffusion": 1.0}, "B": {"diffusion": 0.5}},
            "reactions": _equations(
                ("A + B ->", 0.4),
            ),
        },
        end_s=1.0,
        watched=("A", "B"),
        voxels=2,
        fields={"A": (8, 0), "B": (0, 6)},
    ),
)
BY_NAME = {model.name: model for model in MODELS}
