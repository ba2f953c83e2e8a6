"""M24 to M26: angiogenesis and the matrix."""

import numpy as np
from scipy.ndimage import label

import exodiff as ex
from bench.mechanism_rows.row import NO_RELEASE, Finding, Row, Runs, differs, value, vanishes

EVERY_4_HOURS = tuple(range(0, 49, 4))
NO_MMP = {"k_mmp": 0.0}


def _sprouts(runs: Runs) -> list[Finding]:
    base = runs["base"]
    grown = {name: value(run, "vessel_voxels") - value(run, "vessel_voxels", 0) for name, run in runs.items()}
    return [
        differs("new vessel voxels in 48 h, vesicles - none", grown["base"], grown["control"]),
        vanishes("new vessel voxels without release", grown["control"]),
        vanishes("new vessel voxels - sprouting events", grown["base"] - value(base, "sprouts")),
        vanishes("vessel voxels that no vessel joins to the old one", _apart(base)),
        differs(
            "vessel voxels 100 um from the old vessel and more, up VEGF - anywhere",
            value(base, "vessels_in_bed"),
            value(runs["wandering"], "vessels_in_bed"),
        ),
    ]


def _apart(run: ex.Trajectory) -> np.ndarray:
    """Vessel voxels that are not joined face by face to those that were placed, (replicates,)."""
    vessels = (np.asarray(run["endothelium"]) + np.asarray(run["tip"])) > 0
    found = []
    for placed, last in zip(vessels[:, 0], vessels[:, -1], strict=True):
        parts, _ = label(last)
        found.append(np.sum(last & ~np.isin(parts, parts[placed & last])))
    return np.asarray(found)


def _lag(runs: Runs) -> list[Finding]:
    def mean_time(curves: np.ndarray) -> np.ndarray:
        """When, on average, a curve from 0 rises, in h, (replicates,)."""
        return 48 - np.trapezoid(curves, dx=4, axis=1) / curves[:, -1]

    curves = {
        (name, what): np.asarray(run.observables[what], float)
        for name, run in runs.items()
        for what in ("vessel_voxels", "oxygen_in_tumour", "divisions")
    }
    vessels = curves["base", "vessel_voxels"] - curves["base", "vessel_voxels"][:, :1]
    found = []
    for what, name in (("oxygen_in_tumour", "oxygen in the tumour (mmHg)"), ("divisions", "divisions")):
        base, control = curves["base", what], curves["control", what]
        found += [
            differs(f"{name} at 48 h, vesicles - none", base[:, -1], control[:, -1]),
            differs(f"lag of that behind new vessels (h), {name}", mean_time(base - control), mean_time(vessels)),
        ]
    return found


def _supply(runs: Runs) -> list[Finding]:
    hypoxic = {name: value(runs[name], "hypoxic_fraction") for name in runs}
    cells = {name: value(runs[name], "cells") for name in runs}
    return [
        differs("hypoxic share, vessels without supply - base", hypoxic["no supply"], hypoxic["base"]),
        differs("hypoxic share, base - hardly any use", hypoxic["base"], hypoxic["idle"]),
        differs("cells, base - without supply", cells["base"], cells["no supply"]),
    ]


def degradation(runs: Runs) -> list[Finding]:
    """Where vesicles with proteases are, the matrix falls, and they get further."""
    collagen = {name: value(runs[name], "collagen_in_tumour") for name in runs}
    outside = {name: value(runs[name], "vesicles_outside") for name in runs}
    return [
        differs("collagen in the tumour, without proteases - base", collagen["control"], collagen["base"]),
        differs("vesicles outside the tumour, base - without proteases", outside["base"], outside["control"]),
    ]


ROWS = (
    Row(
        "M24",
        "angiogenesis",
        "S0:L4; S3:L54, L84; T3 L87",
        "new blood vessel formation",
        "Vessels grow with release, and sprouts climb the field of VEGF.",
        "angiogenesis.toml",
        "`exosomes.tEV.biogenesis.fusion=0`; `cells.tip.chemotaxis.strength=0`",
        {"base": {}, "control": NO_RELEASE, "wandering": {"cells.tip.chemotaxis.strength": 0.0}},
        EVERY_4_HOURS,
        check=_sprouts,
        contested="rates of tips and sprouts and the strength of chemotaxis are assumed.",
    ),
    Row(
        "M25",
        "supply by vessels",
        "S3:L84",
        "supplying the tumor with oxygen and nutrients",
        "The hypoxic share falls, and growth rises.",
        "oxygen_supply.toml",
        """`parameters.vessel_oxygen="1 mmHg"`""",
        {
            "base": {},
            "no supply": {"parameters.vessel_oxygen": '"1 mmHg"'},
            "idle": {"parameters.consumption": '"0.01 mmHg/s"'},
        },
        (24,),
        check=_supply,
        contested="rates of growth and the limit of hypoxia are assumed.",
    ),
    Row(
        "M25b",
        "growth follows the vessels",
        "S3:L84",
        "supplying the tumor with oxygen and nutrients",
        "Oxygen and growth rise with a lag after the vessels.",
        "angiogenesis.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE},
        EVERY_4_HOURS,
        check=_lag,
        contested="rates of growth and the limit of hypoxia are assumed.",
    ),
    Row(
        "M26",
        "MMP degrades the matrix",
        "S3:L84; T3 L88",
        "degrade extracellular matrix ... invasion and dissemination",
        "The matrix falls exponentially where MMP vesicles are; diffusion follows.",
        "matrix_remodelling.toml",
        """`parameters.k_mmp="0 um^3/s"`""",
        {"base": {}, "control": NO_MMP},
        (24,),
        replicates=2,
        check=degradation,
        contested="the rate of the proteases is assumed; deterministic, so without a standard error.",
    ),
)
