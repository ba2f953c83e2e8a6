"""M38 to M41: therapy."""

from itertools import pairwise

import numpy as np

from bench.mechanism_rows.biogenesis import fusions
from bench.mechanism_rows.row import NANOMOLAR, NO_RELEASE, Finding, Row, Runs, differs, equals, mean_and_error, value

MICROMOLAR = 1000 * NANOMOLAR
DOSES = (0.0, 1.0, 3.0, 10.0, 100.0)
FEW_DOSES = (0.0, 3.0, 100.0)
FLUID_UM3 = 1600.0
PATIENTS = (0.003, 0.03, 0.3, 3.0, 30.0)  # copies of PD-L1 on a vesicle that carries it
CUT = 10_000  # positive vesicles in a sample


def _release(runs: Runs) -> list[Finding]:
    return [
        equals(
            f"fusions a cell in 9 h at {dose:g} uM", fusions(runs, f"{dose:g} uM"), 27 * (0.5 + 0.5 / (1 + dose / 3))
        )
        for dose in DOSES
    ]


def _downstream(runs: Runs) -> list[Finding]:
    found = []
    for what, name in (
        ("taken", "vesicles taken up"),
        ("caf_fraction", "CAF fraction"),
        ("off_fraction", "T cells off"),
    ):
        found += _falls(runs, DOSES, what, name)
    return found


def _falls(runs: Runs, doses: tuple[float, ...], what: str, name: str) -> list[Finding]:
    """From each dose to the next."""
    at = [value(runs[f"{dose:g} uM"], what) for dose in doses]
    return [
        differs(f"{name}, {lower:g} - {higher:g} uM", at[place], at[place + 1])
        for place, (lower, higher) in enumerate(pairwise(doses))
    ]


def _fewer_niches(runs: Runs) -> list[Finding]:
    return _falls(runs, FEW_DOSES, "niche", "niche cells")


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
        equals(
            "copies that act / copies taken up, escape limit of 1 in 8",
            value(runs["base"], "acting") / (5.0 * value(runs["base"], "taken")),
            0.125,
        ),
        differs("divisions, 1 in 8 escapes - all escape", divisions["base"], divisions["no degradation"]),
    ]


def _metastasis(runs: Runs) -> list[Finding]:
    base, control = runs["base"], runs["control"]
    (primary, error), (untreated, other) = (mean_and_error(value(run, "primary_tumour")) for run in (base, control))
    (lung, lung_error), (exposed, exposed_error) = (
        mean_and_error(value(run, "taken_in_lung")) for run in (base, control)
    )
    return [
        Finding(
            "change of the primary by the antibody, share",
            abs(primary / untreated - 1),
            primary / untreated * float(np.hypot(error / primary, other / untreated)),
            0.1,
            "<",
        ),
        Finding(
            "uncoated vesicles that the lung takes up, antibody / none",
            lung / exposed,
            lung / exposed * float(np.hypot(lung_error / lung, exposed_error / exposed)),
            0.5,
            "<",
        ),
        differs("niche cells in the lung, none - antibody", value(control, "niche"), value(base, "niche")),
        differs("metastatic cells, none - antibody", value(control, "metastases"), value(base, "metastases")),
    ]


def _in_blood(runs: Runs) -> list[Finding]:
    base, control, seen = (runs[name] for name in ("base", "control", "no CD47"))
    return [
        differs("vesicles in plasma after 1 h, CD47 - none", value(base, "in_plasma", 0), value(seen, "in_plasma", 0)),
        differs("vesicles that phagocytes of the blood take, none - CD47", value(seen, "eaten"), value(base, "eaten")),
        differs("copies of siRNA a tumour cell, CD47 - none", value(base, "copies"), value(seen, "copies")),
        differs(
            "copies of siRNA a tumour cell, macropinocytosis - a tenth of the uptake",
            value(base, "copies"),
            value(runs["no macropinocytosis"], "copies"),
        ),
        differs("divisions, no treatment - treatment", value(control, "divisions"), value(base, "divisions")),
        differs("divisions, vesicles without CD47 - with", value(seen, "divisions"), value(base, "divisions")),
        differs(
            "divisions, a tenth of the uptake - macropinocytosis",
            value(runs["no macropinocytosis"], "divisions"),
            value(base, "divisions"),
        ),
    ]


def _policy(runs: Runs) -> list[Finding]:
    """Treat nobody, all, or those with enough positive vesicles in plasma; a patient of each kind is a cohort."""
    treated, nobody, everybody, chosen = [], [], [], []
    for copies in PATIENTS:
        signature = value(runs[f"{copies:g}"], "signature", 0) > CUT
        without, with_it = (value(runs[name], "killed") for name in (f"{copies:g}", f"{copies:g}, treated"))
        treated.append(signature)
        nobody.append(without)
        everybody.append(with_it)
        chosen.append(np.where(signature, with_it, without))
    share, none, everyone, by_signature = (np.mean(kinds, axis=0) for kinds in (treated, nobody, everybody, chosen))
    swapped = np.mean(np.where(treated, nobody, everybody), axis=0)  # treat whom the signature tells not to
    return [
        differs("share of patients, everybody - treated by signature", 1 + 0 * share, share),
        differs("tumour cells killed, by signature - nobody treated", by_signature, none),
        equals(
            "tumour cells killed, by signature - everybody treated",
            by_signature - everyone,
            0.0,
            0.05 * float(everyone.mean()),
        ),
        differs("tumour cells killed, by signature - the others treated", by_signature, swapped),
    ]


ROWS = (
    Row(
        "M38",
        "GW4869 inhibits release",
        "S0:L7; S3:L122; T5 L127",
        "inhibiting exosome release",
        "Release is s [f + (1 - f) / (1 + C / IC50)] at each of five doses, at steady state (V7).",
        "biogenesis_routes.toml",
        '`parameters.dose="0 uM"`',
        {f"{dose:g} uM": {"dose": dose * MICROMOLAR} for dose in DOSES},
        (15, 24),
        check=_release,
        contested="IC50 = 3 uM and the share of the route are assumed; effects depend on the cell.",
    ),
    Row(
        "M38b",
        "what follows when release falls",
        "S0:L7; S3:L122; T5 L127",
        "inhibiting exosome release",
        "CAFs and T cells that are off fall with each of five doses of GW4869 (V7).",
        "release_block.toml",
        '`parameters.GW4869="0 uM"`',
        {f"{dose:g} uM": {"GW4869": dose * MICROMOLAR} for dose in DOSES},
        (24,),
        64,
        check=_downstream,
        contested="thresholds and rates of the phenotypes are assumed.",
    ),
    Row(
        "M38c",
        "niches when release falls",
        "S0:L7; S3:L122; T5 L127",
        "inhibiting exosome release",
        "Niche cells of a distant organ fall with each of three doses of GW4869 (V7).",
        "education.toml",
        '`parameters.GW4869="0 uM"`',
        {f"{dose:g} uM": {"GW4869": dose * MICROMOLAR} for dose in FEW_DOSES},
        (48,),
        64,
        check=_fewer_niches,
        contested="the dose of half effect on a cell is assumed.",
        treatment='parameters.GW4869="10 uM"',
    ),
    Row(
        "M39",
        "antibodies block uptake",
        "S3:L122; S0:L7; L58",
        "disrupting their uptake",
        "Uptake falls as 1 / (1 + a / u) plus what coated vesicles reach (V8); macrophages get the rest.",
        "antibody_coating.toml",
        '`parameters.antibody="0 nM"`',
        {f"{level:g} nM": {"antibody": level * 1e-3 * MICROMOLAR} for level in (0.0, 10.0, 100.0)},
        (12,),
        check=_coating,
        contested="rates of coating are assumed; that metastasis falls and the primary tumour does not is "
        "Nishida-Aoki et al. 2017.",
    ),
    Row(
        "M39b",
        "antibodies, metastasis and primary",
        "S3:L122; S0:L7; L58",
        "disrupting their uptake",
        "Metastasis falls while the primary changes by less than 10 %: on their way vesicles meet antibodies.",
        "antibody_metastasis.toml",
        '`parameters.antibody="0 nM"`',
        {"base": {}, "control": {"antibody": 0.0}},
        (48,),
        16,
        check=_metastasis,
        contested="a tenth of the plasma level of antibodies in a tumour, and what education does, are assumed; "
        "the direction is that of Nishida-Aoki et al. 2017.",
    ),
    Row(
        "M40",
        "engineered vesicles",
        "S3:L120; T5 L126; S0:L7",
        "evade immune detection",
        "Division (by KRAS activity) falls with the siRNA that escapes endosomes, needs CD47, and saturates "
        "with the dose.",
        "engineered_vesicles.toml",
        '`parameters.given="0 /mL"`; `tags.CD47.receivers.macrophage=1`',
        {
            "base": {},
            "control": {"given": 0.0},
            "no CD47": {"tags.CD47.receivers.macrophage": 1.0},
            "four times": {"given": 0.08},
            "no degradation": {"exosomes.iEV.uptake.k_degrade": 0.0},
        },
        (48,),
        check=_engineered,
        contested="the dose is a stand-in for 1e8 to 1e9 vesicles a mouse (Kamerkar et al. 2017); weights are assumed.",
    ),
    Row(
        "M40b",
        "engineered vesicles, given into the blood",
        "S3:L120; T5 L126; S0:L7",
        "evade immune detection",
        "CD47 keeps vesicles in the blood, so that more of their siRNA reaches the tumour and division falls; tumour "
        "cells drink them in.",
        "engineered_dose.toml",
        "`parameters.given=0`; `tags.CD47.receivers.kupffer=1`; `exosomes.iEV.uptake.receivers.tumour=0.5`",
        {
            "base": {},
            "control": {"given": 0.0},
            "no CD47": {"tags.CD47.receivers.kupffer": 1.0},
            "no macropinocytosis": {"exosomes.iEV.uptake.receivers.tumour": 0.5},
        },
        (1, 48),
        replicates=32,
        check=_in_blood,
        contested="leaky vessels, weights and K are assumed; that CD47 is needed is Kamerkar et al. 2017.",
    ),
    Row(
        "M41",
        "treatment by signature",
        "S3:L129, L143",
        "tailored",
        "Treating only above a cut of the PD-L1 signature does better than treating nobody, at less cost than "
        "treating everybody, over patients whose tumours differ ten-thousand-fold in PD-L1.",
        "signature_in_plasma.toml",
        "`parameters.copies=0.003` (poor tumours); `exosomes.tEV.biogenesis.fusion=0` (treated)",
        {
            f"{copies:g}{name}": {"copies": copies} | changes
            for copies in PATIENTS
            for name, changes in (("", {}), (", treated", NO_RELEASE))
        },
        (4, 24),
        check=_policy,
        contested="the policy is a comparison of runs, outside the engine; the assay's background is assumed.",
    ),
)
