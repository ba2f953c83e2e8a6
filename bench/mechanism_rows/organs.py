"""M27 to M34: plasma and distant organs."""

import numpy as np

from bench.mechanism_rows.row import Finding, Row, Runs, differs, equals, share, value

ORGANS = "a config of its own (configs/premetastatic_niche.toml holds it)"
PLASMA_PER_MIN = (0.01863, 0.05958, 0.01074)  # k10, k12, k21
FIRST_DOSE = 1e10


def _plasma(runs: Runs) -> list[Finding]:
    k10, k12, k21 = PLASMA_PER_MIN
    total, product = k10 + k12 + k21, k10 * k21
    alpha, beta = ((total + sign * np.sqrt(total**2 - 4 * product)) / 2 for sign in (1, -1))
    found = []
    for place, minutes in enumerate((30, 60, 360)):
        left = ((alpha - k21) * np.exp(-alpha * minutes) + (k21 - beta) * np.exp(-beta * minutes)) / (alpha - beta)
        share_left = value(runs["base"], "dose", place) / FIRST_DOSE
        found.append(equals(f"share of the dose in plasma after {minutes} min", share_left, left, 0.01 * left))
    last = {name: value(runs[name], "dose") for name in runs}
    return [
        *found,
        differs("dose left after 6 h, phagocytes depleted - base", last["depleted"], last["base"]),
        differs("tumour vesicles in plasma, 6 h - 1 h", value(runs["base"], "shed"), value(runs["base"], "shed", 1)),
    ]


def _organotropism(runs: Runs) -> list[Finding]:
    """Uptakes as ratios: the population with a6b4 over that with avb5 in the lung, and the reverse in the liver."""
    found = []
    for name, a, b in (("base", "EVa", "EVb"), ("tags swapped", "EVb", "EVa")):
        for organ, more, fewer in (("lung", a, b), ("liver", b, a)):
            one, other = (value(runs[name], f"{one}_{organ}") for one in (more, fewer))
            found.append(differs(f"{organ}: uptake with its integrin - 3 times that without, {name}", one, 3 * other))
    return found


def _colonies(runs: Runs) -> list[Finding]:
    found = []
    for name, death in (("educated", 0.02), ("naive", 0.045)):
        seeds = np.asarray(runs[name]["seed"])[:, -1]
        growth = np.exp((0.05 - death) * 200.0)
        extinct = death * (growth - 1) / (0.05 * growth - death)
        found.append(share(f"surviving colonies, {name} organ", float(np.sum(seeds > 0)), seeds.size, 1 - extinct))
    return found


ROWS = (
    Row(
        "M27",
        "vesicles in blood",
        "S3:L40, L56, L116",
        "non-invasive",
        "Tumour vesicles in plasma follow the burden with a lag of minutes; a dose leaves in two phases (V5).",
        "plasma_kinetics.toml",
        """`parameters.k10="0.00186 /min"`""",
        {"base": {}, "depleted": {"k10": 0.00186 / 60}},
        (0.5, 1, 6),
        check=_plasma,
    ),
    Row(
        "M28",
        "integrins direct vesicles to organs",
        "S3:L100; T3 L89",
        "direct them to target organs",
        "The uptake ratio of lung and liver is above 3 with a6b4, and the reverse with avb5.",
        "organotropism.toml",
        """`exosomes.EVa.tags=["avb5"]`""",
        {"base": {}, "tags swapped": {"exosomes.EVa.tags": '["avb5"]', "exosomes.EVb.tags": '["a6b4"]'}},
        (24,),
        replicates=4,
        check=_organotropism,
        contested="factors of the tags are assumed; the direction is that of Hoshino et al. 2015.",
    ),
    Row(
        "M29",
        "education of resident cells",
        "S3:L54, L84, L100",
        "educate",
        "Niche cells rise over days before any tumour cell arrives.",
        waits=ORGANS,
    ),
    Row(
        "M30",
        "vascular permeability",
        "S3:L100",
        "promote vascular permeability",
        "Permeability rises with the dose, and uptake by the organ accelerates.",
        waits=ORGANS,
    ),
    Row(
        "M31",
        "bone-marrow-derived cells",
        "S0:L5; S3:L54, L100",
        "recruit bone marrow-derived cells",
        "They rise in the organ after niche cells, only with vesicles in plasma.",
        waits=ORGANS,
    ),
    Row(
        "M32",
        "distant matrix",
        "S0:L5",
        "modifying the extracellular matrix",
        "Fibronectin rises around niche cells.",
        waits=f"{ORGANS}, and continuous species (a fibre matrix)",
    ),
    Row(
        "M33",
        "miR-122 and glucose",
        "S3:L100",
        "suppresses glucose uptake by non-tumor cells ... nutrients are available",
        "Glucose in the tissue rises with the load of miR-122, and colonies grow.",
        waits="continuous species (glucose)",
    ),
    Row(
        "M34",
        "colonisation",
        "S0:L5; S3:L84, L100",
        "hospitable environment",
        "More seeds survive in an educated organ; one survives with probability 1 - d / b.",
        "colonisation.toml",
        '`parameters.d="0.045 /h"`',
        {"educated": {}, "naive": {"d": 0.045 / 3600}},
        (200,),
        check=_colonies,
        contested="what education does to the death of seeds is assumed.",
        waits=ORGANS,
    ),
)
