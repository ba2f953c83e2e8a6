"""M24 to M26: angiogenesis and the matrix."""

from bench.mechanism_rows.row import Finding, Row, Runs, differs, value

NO_MMP = {"k_mmp": 0.0}


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
        waits="a config of its own (configs/primary_tumour.toml has sprouts that climb VEGF)",
    ),
    Row(
        "M25",
        "supply by vessels",
        "S3:L84",
        "supplying the tumor with oxygen and nutrients",
        "The hypoxic share falls, and growth rises with a lag after the vessels.",
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
