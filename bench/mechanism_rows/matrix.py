"""M24 to M26: angiogenesis and the matrix."""

import numpy as np
from scipy.ndimage import label

import exodiff as ex
from bench.mechanism_rows.row import HOUR, NO_RELEASE, Finding, Row, Runs, differs, equals, value, vanishes

OPENED = 12  # h, when vessels begin to supply
OPENING = f'[{{ at = "{OPENED} h", set = {{ vessel_oxygen = "40 mmHg" }} }}]'
NO_MMP = {"k_mmp": 0.0}
K_MMP, VOXEL_FLUID = 3e-5, 1600.0  # um^3/s, um^3; of matrix_remodelling.toml
AT_START = '"0.68 um^2/s"'  # of the vesicles of invasion.toml among its first collagen: 2.92 x 0.232


def _sprouts(runs: Runs) -> list[Finding]:
    base = runs["base"]
    grown = {name: value(run, "vessel_voxels") - value(run, "vessel_voxels", 0) for name, run in runs.items()}
    ahead = {name: value(runs[name], "ahead") - value(runs[name], "behind") for name in ("base", "wandering")}
    return [
        differs("new vessel voxels in 48 h, vesicles - none", grown["base"], grown["control"]),
        vanishes("new vessel voxels without release", grown["control"]),
        vanishes("new vessel voxels - sprouting events", grown["base"] - value(base, "sprouts")),
        vanishes("vessel voxels that no vessel joins to the old one", apart(_vessels(base))),
        differs(
            "new vessel voxels on the side of the tumour - on the other: up VEGF - anywhere",
            ahead["base"],
            ahead["wandering"],
        ),
    ]


def _vessels(run: ex.Trajectory) -> np.ndarray:
    return (np.asarray(run["endothelium"]) + np.asarray(run["tip"])) > 0


def apart(vessels: np.ndarray) -> np.ndarray:
    """Vessel voxels at the last time that no face joins to those of the first: (replicates, times, ...) to counts."""
    found = []
    for placed, last in zip(vessels[:, 0], vessels[:, -1], strict=True):
        parts, _ = label(last)
        found.append(np.sum(last & ~np.isin(parts, parts[placed & last])))
    return np.asarray(found)


def _supply(runs: Runs) -> list[Finding]:
    hypoxic = {name: value(runs[name], "hypoxic_fraction") for name in runs}
    cells = {name: value(runs[name], "cells") for name in runs}
    return [
        differs("hypoxic share, vessels without supply - base", hypoxic["no supply"], hypoxic["base"]),
        differs("hypoxic share, base - hardly any use", hypoxic["base"], hypoxic["idle"]),
        differs("cells, base - without supply", cells["base"], cells["no supply"]),
        *_lag(runs["opened"]),
    ]


def _lag(run: ex.Trajectory) -> list[Finding]:
    """Oxygen comes as vessels open, cells switch at 1 /h where it is above 10 mmHg."""
    before, at_once, later, last = (value(run, "hypoxic_fraction", time) for time in range(4))
    divided = [value(run, "divisions", time) for time in range(3)]
    first, then = (24 * (divided[1] - divided[0]) / 0.5, 24 * (divided[2] - divided[1]) / 1.5)
    return [
        differs("hypoxic share before - 12 h after vessels open", before, last),
        differs("lag: hypoxic share half an hour after - 2 h after", at_once, later),
        differs("lag of growth: divisions a day, in the next 1.5 h - in the first half hour", then, first),
    ]


def degradation(runs: Runs) -> list[Finding]:
    """Where vesicles with proteases are, the matrix falls, and they get further."""
    collagen = {name: value(runs[name], "collagen_in_tumour") for name in runs}
    outside = {name: value(runs[name], "vesicles_outside") for name in runs}
    return [
        differs("collagen in the tumour, without proteases - base", collagen["control"], collagen["base"]),
        differs("vesicles outside the tumour, base - without proteases", outside["base"], outside["control"]),
    ]


def _exponential(runs: Runs) -> list[Finding]:
    """Each voxel's collagen falls as exp(-k_mmp times the integral of the vesicles over its fluid)."""
    run = runs["no new collagen"]
    collagen, vesicles = np.asarray(run["collagen"], float), np.asarray(run["tEV"], float)
    told = np.log(collagen[:, 0] / collagen[:, -1]).reshape(len(collagen), -1)
    wanted = K_MMP * np.trapezoid(vesicles / VOXEL_FLUID, dx=HOUR, axis=1).reshape(told.shape)
    reached = wanted > 1e-3 * wanted.max()
    off = np.where(reached, told / np.where(reached, wanted, 1.0), 1.0)
    return [
        equals("least log-loss of collagen / k times the time integral of vesicles", off.min(1), 1.0, within=0.01),
        equals("largest", off.max(1), 1.0, within=0.01),
    ]


def _matrix(runs: Runs) -> list[Finding]:
    return [*degradation(runs), *_exponential(runs)]


def _invasion(runs: Runs) -> list[Finding]:
    """Times are 24 and 48 h; a front is how far the tumour fills its strip."""
    early, late = ({name: value(run, "front_um", time) for name, run in runs.items()} for time in (0, 1))
    speed = {name: (late[name] - early[name]) / 24 for name in runs}
    return [
        differs("speed of the front (um/h), proteases - none", speed["base"], speed["control"]),
        differs(
            "collagen left ahead of the front, diffusion of the vesicles held - free",
            value(runs["held"], "collagen_ahead"),
            value(runs["base"], "collagen_ahead"),
        ),
        differs(
            "vesicles ahead of the front, free - held",
            value(runs["base"], "vesicles_ahead"),
            value(runs["held"], "vesicles_ahead"),
        ),
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
        (0, 48),
        replicates=32,
        check=_sprouts,
        contested="rates of tips and sprouts and the strength of chemotaxis are assumed.",
    ),
    Row(
        "M25",
        "supply by vessels",
        "S3:L84",
        "supplying the tumor with oxygen and nutrients",
        "The hypoxic share falls with a lag after vessels bring oxygen, and growth rises.",
        "oxygen_supply.toml",
        """`parameters.vessel_oxygen="1 mmHg"`""",
        {
            "base": {},
            "no supply": {"parameters.vessel_oxygen": '"1 mmHg"'},
            "idle": {"parameters.consumption": '"0.01 mmHg/s"'},
            "opened": {"parameters.vessel_oxygen": '"1 mmHg"', "interventions": OPENING},
        },
        (OPENED, OPENED + 0.5, OPENED + 2, 24),
        64,
        check=_supply,
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
        {"base": {}, "control": NO_MMP, "no new collagen": {"k_dep": 0.0}},
        tuple(range(25)),
        replicates=2,
        check=_matrix,
        contested="the rate of the proteases is assumed; deterministic, so without a standard error.",
    ),
    Row(
        "M26b",
        "proteases and invasion",
        "S3:L84; T3 L88",
        "invasion and dissemination",
        "The front of a tumour whose vesicles carry proteases moves faster; vesicles get farther through what they "
        "have loosened, so that they loosen more ahead than vesicles whose diffusion stays as it was.",
        "invasion.toml",
        """`parameters.k_mmp="0 um^3/s"`; `exosomes.tEV.diffusion="0.68 um^2/s"`""",
        {"base": {}, "control": NO_MMP, "held": {"exosomes.tEV.diffusion": AT_START}},
        (24, 48),
        replicates=16,
        check=_invasion,
        contested="that dense collagen halves division, and rates of proteases, are assumed.",
    ),
)
