"""The interface that the physics tests use, in one place."""

from typing import Any

import numpy as np

import exodiff as ex


def simulate(
    model: Any, times: Any, *, engine: str | None = None, time_step: float | None = None, **settings: Any
) -> Any:
    """As ``exodiff.simulate``; ``exact`` takes no step."""
    return ex.simulate(model, times, engine=engine, time_step=None if engine == "exact" else time_step, **settings)


def make_model(
    shape: list[int],
    *,
    spacing: float | list[float] = 1.0,
    boundary: Any = "reflecting",
    run: Any = None,
    **tables: Any,
) -> Any:
    """Build a model from the tables of a model file, with voxels of 1 um unless said."""
    lattice = {"shape": shape, "spacing": spacing, "boundary": boundary, **tables.pop("lattice", {})}
    settings = {"duration": "1000 s", **(run or {})}
    folder = tables.pop("folder", ".")
    return ex.Model.from_dict({"schema": 1, "run": settings, "lattice": lattice, **tables}, folder=folder)


def counts(trajectory: Any, name: str) -> np.ndarray:
    """Numbers of a species as a host array, (replicates, times, *lattice shape)."""
    return np.asarray(trajectory[name])


def box_of(*voxel: int) -> dict[str, list[float]]:
    """The box of one voxel, in um, for voxels of 1 um."""
    low = [*voxel, 0, 0][:3]
    return {"low": [float(v) for v in low], "high": [float(v + 1) for v in low]}


def repressed() -> Any:
    """A source that its product represses, and pairs that go: nonlinear by more than a product."""
    return make_model(
        [1],
        parameters={"k": "20 /s", "K": 8.0, "d": "0.02 um^3/s"},
        species={"X": {}},
        reactions=[
            {"equation": "-> X", "propensity": "k * hill_down(X, K, 2)"},
            {"equation": "2 X ->", "rate": "d"},
        ],
    )
