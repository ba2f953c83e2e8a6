"""M27 to M34: plasma and distant organs."""

import numpy as np

from bench.mechanism_rows.row import Finding, Row, Runs, share

ORGANS = "compartments, vessels and organs"


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
        "Tumour vesicles in plasma follow the burden with a lag of minutes.",
        waits=ORGANS,
    ),
    Row(
        "M28",
        "integrins direct vesicles to organs",
        "S3:L100; T3 L89",
        "direct them to target organs",
        "The uptake ratio of lung and liver is above 3 with a6b4, and the reverse with avb5.",
        waits=ORGANS,
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
