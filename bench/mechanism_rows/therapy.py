"""M38 to M41: therapy."""

import numpy as np

from bench.mechanism_rows.biogenesis import fusions
from bench.mechanism_rows.row import Finding, Row, Runs, differs, equals, mean_and_error, value

MICROMOLAR = 602.214076  # molecules/um^3
DOSES = (0.0, 1.0, 3.0, 10.0, 100.0)
FLUID_UM3 = 1600.0


def _release(runs: Runs) -> list[Finding]:
    return [
        equals(
            f"fusions a cell in 9 h at {dose:g} uM", fusions(runs, f"{dose:g} uM"), 27 * (0.5 + 0.5 / (1 + dose / 3))
        )
        for dose in DOSES
    ]


def _coating(runs: Runs) -> list[Finding]:
    uptake, macrophage = 1.0 / FLUID_UM3, 1e-3
    found = []
    for level in (0.0, 10.0, 100.0):
        coat = 1e5 * level * 1e-9
        direct = uptake / (uptake + coat)
        wanted = direct + (1 - direct) * 0.2 * uptake / (0.2 * uptake + macrophage)
        run = runs[f"{level:g} nM"]
        taken, eaten, free = (value(run, name) for name in ("taken", "eaten", "free"))
        share = taken / (taken + eaten + free)
        found.append(equals(f"share that reaches its target at {level:g} nM", share, wanted))
    return [
        *found,
        differs(
            "vesicles that macrophages get, 100 nM - 10 nM",
            value(runs["100 nM"], "eaten"),
            value(runs["10 nM"], "eaten"),
        ),
    ]


def _engineered(runs: Runs) -> list[Finding]:
    divisions = {name: value(run, "divisions") for name, run in runs.items()}
    copies = {name: value(run, "copies") for name, run in runs.items()}
    return [
        differs("divisions, no treatment - treatment", divisions["control"], divisions["base"]),
        differs("copies of siRNA a tumour cell, CD47 - none", copies["base"], copies["no CD47"]),
        differs("divisions, vesicles without CD47 - with", divisions["no CD47"], divisions["base"]),
        differs(
            "dose response saturates: fall by the first dose - further fall by four times as much",
            divisions["control"] - divisions["base"],
            divisions["base"] - divisions["four times"],
        ),
    ]


def _policy(runs: Runs) -> list[Finding]:
    """Treat nobody, all, or those whose vesicular PD-L1 is above a cut, in a cohort of rich and poor tumours."""
    cut = 1.0
    nobody, everybody, by_signature = [], [], []
    treated = []
    for kind in ("rich", "poor"):
        untreated, blocked = runs[kind], runs[f"{kind}, treated"]
        signature = value(untreated, "dose", 0) > cut
        without, with_it = value(untreated, "killed"), value(blocked, "killed")
        nobody.append(without)
        everybody.append(with_it)
        by_signature.append(np.where(signature, with_it, without))
        treated.append(signature)
    none, everyone, chosen = (np.concatenate(values) for values in (nobody, everybody, by_signature))
    share, error = mean_and_error(np.concatenate(treated).astype(float))
    return [
        differs("tumour cells killed, by signature - nobody treated", chosen, none),
        Finding("share of patients treated by signature", share, 0.0, 1.0, "<"),
        Finding("share treated", share, error, 0.5),
        Finding(
            "killed: by signature - everybody treated",
            *mean_and_error(chosen - everyone),
            0.0,
            "=",
            0.05 * float(everyone.mean()),
        ),
    ]


ROWS = (
    Row(
        "M38",
        "GW4869 inhibits release",
        "S0:L7; S3:L122; T5 L127",
        "inhibiting exosome release",
        "Release is s [f + (1 - f) / (1 + C / IC50)] at each dose.",
        "biogenesis_routes.toml",
        '`parameters.dose="0 uM"`',
        {f"{dose:g} uM": {"dose": dose * MICROMOLAR} for dose in DOSES},
        (15, 24),
        check=_release,
        contested="IC50 = 3 uM and the share of the route are assumed; effects depend on the cell.",
    ),
    Row(
        "M39",
        "antibodies block uptake",
        "S3:L122; S0:L7; L58",
        "disrupting their uptake",
        "Uptake falls as 1 / (1 + a / u) plus what coated vesicles reach; macrophages get the rest.",
        "antibody_coating.toml",
        '`parameters.antibody="0 nM"`',
        {f"{level:g} nM": {"antibody": level * 1e-3 * MICROMOLAR} for level in (0.0, 10.0, 100.0)},
        (12,),
        check=_coating,
        contested="rates of coating are assumed; that metastasis falls and the primary tumour does not is "
        "Nishida-Aoki et al. 2017.",
        waits="compartments, vessels and organs (metastasis, plasma)",
    ),
    Row(
        "M40",
        "engineered vesicles",
        "S3:L120; T5 L126; S0:L7",
        "evade immune detection",
        "Division falls with the siRNA delivered, needs CD47, and saturates with the dose.",
        "engineered_vesicles.toml",
        '`parameters.given="0 /mL"`; `tags.CD47.receivers.macrophage=1`',
        {
            "base": {},
            "control": {"given": 0.0},
            "no CD47": {"tags.CD47.receivers.macrophage": 1.0},
            "four times": {"given": 0.08},
        },
        (48,),
        check=_engineered,
        contested="the dose is a stand-in for 1e8 to 1e9 vesicles a mouse (Kamerkar et al. 2017); weights are assumed.",
        waits="compartments (treatment by the blood)",
    ),
    Row(
        "M41",
        "treatment by signature",
        "S3:L129, L143",
        "tailored",
        "Treating only above a cut of the PD-L1 signature does no worse than treating nobody, at less cost than "
        "treating everybody.",
        "vesicular_pdl1.toml",
        "`exosomes.tEV.cargo.PDL1.mean=0.3` (poor tumours)",
        {
            "rich": {},
            "poor": {"exosomes.tEV.cargo.PDL1.mean": 0.03},
            "rich, treated": {"exosomes.tEV.biogenesis.fusion": 0.0},
            "poor, treated": {"exosomes.tEV.biogenesis.fusion": 0.0, "exosomes.tEV.cargo.PDL1.mean": 0.03},
        },
        (2, 24),
        check=_policy,
        contested="the policy is a sweep outside the engine; the signature is read from T cells, not yet from plasma.",
        waits="compartments (the signature in plasma)",
    ),
)
