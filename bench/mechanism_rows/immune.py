"""M17 to M23: immune cells."""

import math
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_dilation

import exodiff as ex
from bench.mechanism_rows.row import (
    HOUR,
    NANOMOLAR,
    NO_RELEASE,
    Finding,
    Row,
    Runs,
    differs,
    equals,
    given,
    share,
    value,
    vanishes,
)

VESICLE_DOSES = ("control", "1/300", "1/30", "base")
PDL1_DOSES = (2, 10, 50)


def _inhibition(runs: Runs) -> list[Finding]:
    """Over bodies formed an hour, so over the dose of vesicles."""
    a_day = {name: value(run, "killed") / value(run, "T_cells") for name, run in runs.items()}
    left = {name: value(run, "tumour") / (value(run, "tumour") + value(run, "killed")) for name, run in runs.items()}
    return [
        *(
            differs(f"tumour cells that a T cell kills in a day, {fewer} - {more}", a_day[fewer], a_day[more])
            for fewer, more in pairwise(VESICLE_DOSES)
        ),
        differs("share of tumour cells that survive, base - control", left["base"], left["control"]),
        vanishes("share of T cells switched off without release", value(runs["control"], "off_fraction")),
    ]


def _treg(runs: Runs) -> list[Finding]:
    base, blocked, control = (value(runs[name], "ratio") for name in ("base", "blocked", "control"))
    return [
        differs("Treg / CD4 at 4 d, vesicles - antibody to TGF-beta", base, blocked),
        differs("Treg / CD4, antibody - no release", blocked, control),
        differs("Treg / CD4, 4 d - 2 d", base, value(runs["base"], "ratio", 0)),
    ]


def _m2(runs: Runs) -> list[Finding]:
    base, control = runs["base"], runs["control"]
    return [
        differs("M2 fraction at 48 h, vesicles - none", value(base, "m2_fraction"), value(control, "m2_fraction")),
        differs(
            "M2 fraction, within 60 um of the tumour - everywhere", value(base, "m2_rim"), value(base, "m2_fraction")
        ),
        vanishes("M2 fraction without release", value(control, "m2_fraction")),
    ]


def _support(runs: Runs) -> list[Finding]:
    found = []
    for name, species, decay in (("IL-10", "IL10", 1e-3), ("TGF-b", "TGFb", 2e-3)):
        early, late = (value(runs["base"], species, time) for time in (0, 1))
        # the field follows secretion by M2 with a lag of its life, 1/1000 of the time scale of M2
        per_cell = np.asarray(late / value(runs["base"], "M2", 1))
        found += [
            differs(f"{name} in the tissue, 48 h - 24 h", late, early),
            equals(f"{name} an M2 cell", per_cell, 0.03 / decay, within=0.02 * 0.03 / decay),
            vanishes(f"{name} without vesicles", value(runs["control"], species, 1)),
        ]
    return found


def _dendritic(runs: Runs) -> list[Finding]:
    base, control, other = (value(runs[name], "licensed") for name in ("base", "control", "other sign"))
    return [
        differs("T cells licensed, no vesicles - vesicles", control, base),
        differs("with the other sign, vesicles - none", other, control),
        differs("T cells licensed, a hundredth of the HSP70 - vesicles", value(runs["hundredth"], "licensed"), base),
    ]


def _mdsc(runs: Runs) -> list[Finding]:
    """Times are 0 and 24 h; tumour cells only die."""
    cells = {name: value(run, "MDSC") for name, run in runs.items()}
    beside, away = ({name: _killed(run, near) for name, run in runs.items()} for near in (True, False))
    return [
        differs(
            "suppressor cells, base - a thousandth of the HSP70", cells["base"], cells["a thousandth of the HSP70"]
        ),
        differs("a thousandth of the HSP70 - no release", cells["a thousandth of the HSP70"], cells["control"]),
        differs("base - a tenth of the chemoattractant", cells["base"], cells["a tenth of the CCL2"]),
        differs("a tenth of the chemoattractant - none", cells["a tenth of the CCL2"], cells["no CCL2"]),
        vanishes("suppressor cells without release", cells["control"]),
        vanishes("without chemoattractant", cells["no CCL2"]),
        differs(
            "share of tumour cells beside vessels that are killed, no release - base", beside["control"], beside["base"]
        ),
        differs("a tenth of the chemoattractant - base", beside["a tenth of the CCL2"], beside["base"]),
        equals("away from vessels: no release - base", away["control"] - away["base"], 0.0),
    ]


def _killed(run: ex.Trajectory, near: bool) -> np.ndarray:
    """Share of the tumour cells that died, at most 40 um from a vessel, or where no suppressor cell comes."""
    tumour = np.asarray(run["tumour"], float)
    vessel = np.asarray(run["endothelium"])[0, 0] > 0
    beside = binary_dilation(vessel, iterations=2)
    here = tumour[:, :, beside if near else ~beside].sum(axis=2)
    return 1 - here[:, -1] / here[:, 0]


def _pdl1(runs: Runs) -> list[Finding]:
    killed = {name: value(run, "killed") for name, run in runs.items()}
    off = {name: value(run, "off_fraction") for name, run in runs.items()}
    return [
        differs("T cells off, vesicles - none", off["base"], off["control"]),
        differs("T cells off, vesicles - a thousandth of the PD-L1", off["base"], off["thousandth"]),
        differs("T cells off, a thousandth of the PD-L1 - none", off["thousandth"], off["control"]),
        *_hill(runs),
        differs("killed, no release - vesicles", killed["control"], killed["base"]),
        differs("killed, no release - anti-PD-1 (twice its constant)", killed["control"], killed["antibody"]),
    ]


def _hill(runs: Runs) -> list[Finding]:
    """Off is 1 - exp(-k t D / (K + D)) at a dose D that each T cell has and keeps."""
    found = []
    for copies in PDL1_DOSES:
        run = runs[f"{copies} copies"]
        cells = float(sum(np.sum(np.asarray(run[kind])[:, -1]) for kind in ("CTL", "CTL_off")))
        off = 1 - math.exp(-0.2 * 24 * copies / (20.0 + copies))
        switched = float(np.sum(np.asarray(run["CTL_off"])[:, -1]))
        found.append(share(f"T cells off at {copies} copies each: Hill law", switched, cells, off))
    return found


ROWS = (
    Row(
        "M17",
        "inhibition of cytotoxic T cells",
        "S3:L38, L75; T2 L78",
        "Inhibits activation and cytotoxicity",
        "The killing rate of a T cell falls as the dose of vesicles rises, and more of the tumour survives.",
        "ctl_inhibition.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "1/300": {"exosomes.tEV.biogenesis.escrt": 0.02 / HOUR},
            "1/30": {"exosomes.tEV.biogenesis.escrt": 0.2 / HOUR},
        },
        (24,),
        replicates=32,
        check=_inhibition,
        contested="rates of killing and suppression are assumed.",
    ),
    Row(
        "M18",
        "induction of regulatory T cells",
        "S3:L38, L75",
        "promoting the differentiation of regulatory T cells",
        "The ratio of Treg to CD4 rises over days; blocking TGF-beta reduces it.",
        "treg_induction.toml",
        "`parameters.K=200`; `exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "blocked": {"K": 200.0}, "control": NO_RELEASE},
        (48, 96),
        check=_treg,
        contested="the rate is assumed; that TGF-beta and IL-10 are needed is Szajnik et al. 2010.",
    ),
    Row(
        "M19",
        "M2 polarisation",
        "S3:L38, L75; T2 L79",
        "Polarizes to M2",
        "The M2 fraction rises in 24 to 72 h, most at the rim.",
        "m2_polarisation.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE},
        (24, 48),
        check=_m2,
        contested="the rate of polarisation is assumed.",
    ),
    Row(
        "M20",
        "dendritic cells and HSP70",
        "T2 L80",
        "Reduces antigen presentation",
        "Licensing falls as the dose of HSP70 rises; the other sign is a choice of the file.",
        "dendritic_cells.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "other sign": {"k_tolerise": 0.0, "k_mature": 0.2 / 3600},
            "hundredth": {"exosomes.tEV.cargo.HSP70.mean": 0.1},
        },
        (24,),
        check=_dendritic,
        contested="the literature is mixed: HSP70 on vesicles drives MDSC by TLR2 and STAT3 (Chalmin et al. 2010), "
        "and can stimulate immunity.",
    ),
    Row(
        "M21",
        "recruitment of suppressor cells",
        "S3:L52",
        "suppress anti-tumor immunity",
        "The influx beside vessels rises with HSP70 and with the chemoattractant; killing beside them falls.",
        "mdsc_recruitment.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "a thousandth of the HSP70": {"exosomes.tEV.cargo.HSP70.mean": 0.01},
            "a tenth of the CCL2": {"s_CCL2": 1e-4 * NANOMOLAR},
            "no CCL2": {"s_CCL2": 0.0},
        },
        (0, 24),
        replicates=32,
        check=_mdsc,
        contested="influx and suppression are assumed.",
    ),
    Row(
        "M22",
        "M2 cells support the tumour",
        "S3:L75",
        "anti-inflammatory cytokines and ... tissue remodeling",
        "IL-10 and TGF-b rise with the number of M2 cells.",
        "m2_polarisation.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {"base": {}, "control": NO_RELEASE},
        (24, 48),
        check=_support,
        contested="secretion is assumed.",
    ),
    Row(
        "M23",
        "vesicular PD-L1",
        "S3:L103; T4 L108",
        "suppress T-cell activation",
        "T cells are off by a Hill law of the dose of PD-L1; stopping release restores killing where anti-PD-1 does "
        "not.",
        "vesicular_pdl1.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "antibody": {"antibody": 2.0},
            "thousandth": {"exosomes.tEV.cargo.PDL1.mean": 0.03},
            **{f"{copies} copies": given("PDL1", copies) for copies in PDL1_DOSES},
        },
        (24,),
        check=_pdl1,
        contested="rates are assumed; that blocking release works where anti-PD-1 does not is Poggio et al. 2019.",
    ),
)
