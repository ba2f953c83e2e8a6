"""M10 to M16: signalling, growth, stroma."""

import math
from itertools import pairwise

import numpy as np

import exodiff as ex
from bench.mechanism_rows.matrix import degradation
from bench.mechanism_rows.row import (
    NANOMOLAR,
    NO_RELEASE,
    Finding,
    Row,
    Runs,
    differs,
    equals,
    given,
    mean_and_error,
    share,
    value,
    vanishes,
)

HELD_OXYGEN = {"parameters.k_blood": '"50 /s"', "parameters.oxygen_blood": '"10 mmHg"'}
CAF_DOSES = (0, 5, 20, 80, 320)


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
    halved = 1 - math.exp(-0.1 * 12 * 0.5)
    vegf_alone = 1 - math.exp(-0.1 * 12 * 0.5**2 / (0.5**2 + 1))
    return [
        differs("tip cells, Wnt - none", wnt, none),
        differs("tip cells, both - VEGF alone", both, vegf),
        differs("tip cells, both - Wnt alone", both, wnt),
        share("tip cells with VEGF alone, closed form", float(vegf.sum()) * 400, 400 * len(vegf), vegf_alone),
        differs("tip cells, twice the Wnt on a vesicle - base", value(runs["twice"], "tip_fraction"), both),
        *(
            share(
                f"tip cells with {what}: Hill of 1", float(value(runs[name], "tip_fraction").sum()) * 400, 3200, halved
            )
            for name, what in (
                ("sum", "10 copies of Wnt and half of K_vegf"),
                ("20 copies", "20 copies alone"),
                ("K_vegf", "VEGF at K_vegf alone"),
            )
        ),
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
    """Times are 12, 24 and 72 h. A given dose stays, so that the fraction is 1 - exp(-k t H(dose))."""
    base, control = runs["base"], runs["control"]
    late = value(base, "caf_fraction")
    found = [
        differs("CAF fraction, vesicles - none", late, value(control, "caf_fraction")),
        vanishes("CAF fraction without release", value(control, "caf_fraction")),
        differs("CAF fraction near the tumour - everywhere", value(base, "caf_near"), late),
        differs(
            "front: mean distance of CAFs from the centre (um), 24 h - 12 h", _distance(base, 1), _distance(base, 0)
        ),
        differs("72 h - 24 h", _distance(base, 2), _distance(base, 1)),
    ]
    fractions = {copies: value(runs[f"{copies} copies"], "caf_fraction") for copies in CAF_DOSES}
    for copies, fraction in fractions.items():
        cells = float(sum(np.sum(np.asarray(runs[f"{copies} copies"][kind])[:, -1]) for kind in ("CAF", "fibroblast")))
        turned = 1 - math.exp(-0.02 * 72 * copies**4 / (copies**4 + 20.0**4))
        found.append(share(f"CAF fraction at 72 h, {copies} copies", float(fraction.mean()) * cells, cells, turned))
    rises = [fractions[above] - fractions[below] for below, above in pairwise(CAF_DOSES)]
    saturated = runs[f"{CAF_DOSES[-1]} copies"]
    return [
        *found,
        differs("sigmoid: rise from 5 to 20 copies - from 0 to 5", rises[1], rises[0]),
        differs("from 5 to 20 - from 80 to 320", rises[1], rises[3]),
        differs("saturated: half - CAF fraction at 24 h", 0.5 + 0 * late, value(saturated, "caf_fraction", 1)),
        differs("CAF fraction at 72 h - half", value(saturated, "caf_fraction"), 0.5 + 0 * late),
    ]


def _distance(run: ex.Trajectory, time: int) -> np.ndarray:
    """Of CAFs from the centre of the lattice, (replicates,), um."""
    found = np.asarray(run["CAF"], float)[:, time]
    grid = np.meshgrid(*(20.0 * (np.arange(n) - (n - 1) / 2) for n in found.shape[1:]), indexing="ij")
    return np.sum(found * np.sqrt(sum(axis**2 for axis in grid)), axis=(1, 2, 3)) / np.sum(found, axis=(1, 2, 3))


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
        "Tip cells rise with the load of Wnt, which adds to VEGF in one Hill law: mixes of the same sum do as much.",
        "wnt_tip_cells.toml",
        '`parameters.vesicles="0 /mL"`',
        {
            "both": {},
            "Wnt": {"vegf": 0.0},
            "VEGF": {"vesicles": 0.0},
            "none": {"vegf": 0.0, "vesicles": 0.0},
            "twice": {"exosomes.tEV.cargo.Wnt.mean": 10.0},
            "sum": {"vesicles": 0.0, "copies": 10.0},
            "20 copies": {"vesicles": 0.0, "vegf": 0.0, "copies": 20.0},
            "K_vegf": {"vesicles": 0.0, "vegf": 0.5 * NANOMOLAR},
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
        "The CAF fraction is sigmoidal in the dose, moves outwards from the tumour, and is zero without vesicles; at a "
        "saturating dose half of the cells turn in 24 to 72 h.",
        "caf_conversion.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            **{f"{copies} copies": given("TGFb", copies) for copies in CAF_DOSES},
        },
        (12, 24, 72),
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
