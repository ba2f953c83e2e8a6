"""M10 to M16: signalling, growth, stroma."""

import math

import numpy as np

from bench.mechanism_rows.matrix import degradation
from bench.mechanism_rows.row import (
    NO_RELEASE,
    Finding,
    Row,
    Runs,
    differs,
    equals,
    mean_and_error,
    share,
    value,
    vanishes,
)

HELD_OXYGEN = {"parameters.k_blood": '"50 /s"', "parameters.oxygen_blood": '"10 mmHg"'}
MICROMETRES_CUBED_IN_ML = 1e12


def _egfr(runs: Runs) -> list[Finding]:
    base, control, strong = (value(runs[name], "divisions") for name in ("base", "control", "ten times the copies"))
    return [
        differs("stromal divisions, vesicles - none", base, control),
        differs("divisions, ten times the copies - base", strong, base),
        differs("saturation: first gain - gain by ten times the copies", base - control, strong - base),
        differs("divisions within 80 um - 320 to 400 um away", value(runs["base"], "near"), value(runs["base"], "far")),
    ]


def _wnt(runs: Runs) -> list[Finding]:
    both, wnt, vegf, none = (value(runs[name], "tip_fraction") for name in ("both", "Wnt", "VEGF", "none"))
    vegf_alone = 1 - math.exp(-0.1 * 12 * 0.5**2 / (0.5**2 + 1))
    return [
        differs("tip cells, Wnt - none", wnt, none),
        differs("tip cells, both - VEGF alone", both, vegf),
        differs("tip cells, both - Wnt alone", both, wnt),
        share("tip cells with VEGF alone, closed form", float(vegf.sum()) * 400, 400 * len(vegf), vegf_alone),
        differs("tip cells, twice the vesicles - base", value(runs["twice"], "tip_fraction"), both),
    ]


def _metabolism(runs: Runs) -> list[Finding]:
    def use(name: str, of: str, in_blood: float) -> np.ndarray:
        """Of a cell and second, by Fick's principle."""
        return 0.5 * 400 * (in_blood - value(runs[name], of)) / value(runs[name], "tumour")

    glucose = {name: use(name, "glucose", 5.5) for name in ("base", "control", "five times the copies")}
    oxygen = {name: value(runs[name], "oxygen") for name in ("held", "held, control")}
    return [
        differs("glucose a cell burns (mM/s), vesicles - none", glucose["base"], glucose["control"]),
        differs("glucose, five times the copies - base", glucose["five times the copies"], glucose["base"]),
        differs(
            "oxygen a cell burns (mmHg/s), vesicles - none", use("base", "oxygen", 40.0), use("control", "oxygen", 40.0)
        ),
        equals("oxygen held at 10 mmHg: vesicles - none", oxygen["held"] - oxygen["held, control"], 0.0, within=0.5),
        differs(
            "divisions at this oxygen, vesicles - none",
            value(runs["held"], "divisions"),
            value(runs["held, control"], "divisions"),
        ),
    ]


def doses(runs: Runs, name: str) -> np.ndarray:
    """Copies in each cell, (replicates, cells)."""
    found = np.asarray(runs[name]["dose.miR21"], float)[:, -1]
    return found.reshape(len(found), -1)


def _loads(runs: Runs) -> list[Finding]:
    rare, common = doses(runs, "rare"), doses(runs, "common")
    none = math.exp(-100 * 0.01 * (1 - math.exp(-10.0)))
    off = [value(runs[name], "off_fraction") for name in ("rare", "common")]
    return [
        equals("mean copies, rare - common", rare.mean(1) - common.mean(1), 0.0),
        differs("share of T cells that are off, common - rare", off[1], off[0]),
        share("cells without a copy, rare", float(np.sum(rare == 0)), rare.size, none),
        share(
            "cells without a copy, common",
            float(np.sum(common == 0)),
            common.size,
            math.exp(-100 * (1 - math.exp(-0.1))),
        ),
        differs("spread of copies over cells, rare - common", rare.std(1), common.std(1)),
        differs("cells with no response, rare - common", (rare == 0).mean(1), (common == 0).mean(1)),
        differs("cells switched off, rare - 0", off[0], 0 * off[0]),
    ]


def _remodelling(runs: Runs) -> list[Finding]:
    around = {name: value(runs[name], "collagen_of_fibroblasts") for name in runs}
    return [*degradation(runs), differs("collagen of CAFs, base - no deposits", around["base"], around["no deposits"])]


def _growth(runs: Runs) -> list[Finding]:
    base, control = (value(runs[n], "doublings") - value(runs[n], "doublings", 0) for n in ("base", "control"))
    doubling, error = mean_and_error(48 / control)
    return [
        differs("doublings in 48 h, vesicles - none", base, control),
        Finding("doubling time without release (h), unhindered 34.7", doubling, error, math.log(2) / 0.02, "=", 6.0),
    ]


def _caf(runs: Runs) -> list[Finding]:
    base, control = runs["base"], runs["control"]
    late, early = value(base, "caf_fraction", 2), value(base, "caf_fraction", 1)
    return [
        differs("CAF fraction, vesicles - none", late, value(control, "caf_fraction", 2)),
        vanishes("CAF fraction without release", value(control, "caf_fraction", 2)),
        differs("CAF fraction near the tumour - everywhere", value(base, "caf_near", 2), late),
        differs("sigmoid: second 12 h - first 12 h", late - early, early),
    ]


def _erlang(times: Runs) -> list[Finding]:
    run = times["base"]
    cells = run["CAF"].shape[2] * run["CAF"].shape[3] * run["CAF"].shape[0]
    found = []
    for place, hours in enumerate((2.0, 4.0, 6.0, 10.0)):
        below = sum(math.exp(-hours) * hours**k / math.factorial(k) for k in range(5))
        found.append(
            share(f"converted by {hours:g} h, Erlang(5, 1 /h)", float(value(run, "CAF", place).sum()), cells, 1 - below)
        )
    return found


ROWS = (
    Row(
        "M10",
        "EGFR and its ligands",
        "S3:L66; T1 L69",
        "pro-survival and pro-growth",
        "Stromal division rises with the dose of EGFR, saturates, and falls with the distance from the tumour.",
        "egfr_growth.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE, "ten times the copies": {"exosomes.tEV.cargo.EGFR.mean": 100.0}},
        (24,),
        24,
        check=_egfr,
        contested="K = 20 copies and the rate of division are assumed.",
    ),
    Row(
        "M11",
        "Wnt and tip cells",
        "S3:L66; T1 L70",
        "Stimulates angiogenesis and vessel formation",
        "Tip cells rise with the load of Wnt, and with VEGF in the same Hill law.",
        "wnt_tip_cells.toml",
        '`parameters.vesicles="0 /mL"`',
        {
            "both": {},
            "Wnt": {"vegf": 0.0},
            "VEGF": {"vesicles": 0.0},
            "none": {"vegf": 0.0, "vesicles": 0.0},
            "twice": {"vesicles": 1e10 / MICROMETRES_CUBED_IN_ML},
        },
        (12,),
        check=_wnt,
        contested="that Wnt and VEGF add up inside one Hill law is an assumption.",
    ),
    Row(
        "M12",
        "miR-21 suppresses immune cells",
        "T1 L71",
        "Suppresses anti-tumor immunity",
        "At the same mean copies rare high loads give fewer but complete responders, P0 = exp(-m f (1 - e^-mu)).",
        "rare_loads.toml",
        "`parameters.fraction=1`, `parameters.copies=0.1`",
        {"rare": {}, "common": {"fraction": 1.0, "copies": 0.1}},
        (6,),
        check=_loads,
        contested="bulk stoichiometry is measured, its distribution over vesicles is not.",
    ),
    Row(
        "M13",
        "TGF-beta and FGF support growth",
        "S3:L99",
        "enhance tumor cell proliferation and survival",
        "Vesicles shorten the doubling time; without release it is longer.",
        "growth_factors.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE},
        (0, 48),
        check=_growth,
        contested="TGF-beta may also stop the growth of early tumours; only FGF is in the model.",
    ),
    Row(
        "M14",
        "metabolic reprogramming",
        "S3:L99",
        "meet the high energy demands",
        "Consumption of glucose and oxygen rises with oncogenic cargo, and growth at equal oxygen.",
        "metabolic_reprogramming.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "five times the copies": {"exosomes.tEV.cargo.oncogene.mean": 25.0},
            "held": HELD_OXYGEN,
            "held, control": NO_RELEASE | HELD_OXYGEN,
        },
        (24,),
        check=_metabolism,
        contested="gain, dose of half effect and exchange with the blood are assumed.",
    ),
    Row(
        "M15",
        "fibroblasts become CAFs",
        "S3:L52",
        "adopt a CAF phenotype",
        "The CAF fraction is sigmoidal in the dose, highest near the tumour, and zero without vesicles.",
        "caf_conversion.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE},
        (0, 12, 24),
        6,
        check=_caf,
        contested="rate and threshold of conversion are assumed; vesicular TGF-beta is needed: Webber et al. 2010.",
    ),
    Row(
        "M15b",
        "time to a threshold of copies",
        "S3:L52",
        "adopt a CAF phenotype",
        "With a hard threshold theta the time to conversion is Erlang(theta, a).",
        "dose_threshold.toml",
        '`parameters.a="0 /h"`',
        {"base": {}},
        (2, 4, 6, 10),
        check=_erlang,
    ),
    Row(
        "M16",
        "remodelling of the matrix and invasion",
        "S3:L52, L99",
        "extracellular matrix remodeling and tumor invasion",
        "The matrix rises around CAFs and falls where MMP vesicles gather; their diffusion follows.",
        "matrix_remodelling.toml",
        """`parameters.k_dep="0 /h"`""",
        {"base": {}, "control": {"k_mmp": 0.0}, "no deposits": {"k_dep": 0.0}},
        (24,),
        replicates=2,
        check=_remodelling,
        contested="both rates are assumed; deterministic, so without a standard error.",
    ),
)
