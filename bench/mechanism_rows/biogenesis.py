"""M01 to M09: biogenesis, cargo, release, transport, uptake."""

import math

import numpy as np

from bench.mechanism_rows.row import HOUR, Finding, Row, Runs, differs, equals, mean_and_error, share, value, vanishes

FORM, FUSE, LYSOSOME = 6.0, 2.0, 2.0  # per h, of biogenesis_routes.toml
DECAY = "exosomes.tEV.decay"
LOSS = 3e-4  # per s, of range_in_matrix.toml


def _per_h(per_hour: float) -> float:
    return per_hour / HOUR


def fusions(run: Runs, name: str) -> np.ndarray:
    """Fusions a cell and hour between the first and the last record."""
    return value(run[name], "fusions_per_cell") - value(run[name], "fusions_per_cell", 0)


def _release(runs: Runs) -> list[Finding]:
    found = []
    for name, lysosome in (("no lysosomes", 0.0), ("base", LYSOSOME), ("three times", 3 * LYSOSOME)):
        wanted = 9 * FORM * FUSE / (FUSE + lysosome)
        found.append(equals(f"fusions a cell in 9 h, k_lysosome = {lysosome:g} /h", fusions(runs, name), wanted))
    free = np.asarray(runs["fast loss"]["tEV"], float)[:, -1].reshape(8, -1)
    fano = free.var(axis=1, ddof=1) / free.mean(axis=1)
    return [*found, equals("Fano factor of free vesicles in a closed box, bursts of Poisson(20)", fano, 11.0)]


def _routes(runs: Runs) -> list[Finding]:
    (blocked, blocked_error), (all_of_it, error) = (mean_and_error(fusions(runs, name)) for name in ("blocked", "base"))
    ratio = blocked / all_of_it
    spread = ratio * math.hypot(blocked_error / blocked, error / all_of_it)
    return [Finding("release with the ceramide route shut / release", ratio, spread, 0.5, within=0.01)]


def _sorting(runs: Runs) -> list[Finding]:
    """Marker copies that phagocytes took from plasma, solved for the two senders' vesicles; truth is what they took."""
    mixes = {
        name: np.linalg.solve([[6.0, 1.0], [1.0, 4.0]], np.stack([value(run, "A"), value(run, "B")]))
        for name, run in runs.items()
    }
    told, true = [], []
    for name in ("few tumour cells", "base", "many tumour cells"):
        tumour, stroma = value(runs[name], "from_tumour"), value(runs[name], "from_stroma")
        told.append(mixes[name][0] / mixes[name].sum(0))
        true.append(tumour / (tumour + stroma))
    slopes = np.array(
        [
            np.polyfit(true_of_one, told_of_one, 1)[0]
            for told_of_one, true_of_one in zip(*map(np.transpose, (told, true)), strict=True)
        ]
    )
    return [
        *(
            equals(f"tumour share by markers - true share, {name}", one - other, 0.0)
            for name, one, other in zip(("few tumour cells", "base", "many"), told, true, strict=True)
        ),
        equals("slope of the share by markers on the true share", slopes, 1.0),
        differs("tumour share in plasma, many tumour cells - few", true[2], true[0], 0.2),
        equals("stromal vesicles by markers, none released", mixes["control"][1] / mixes["control"][0], 0.0),
    ]


def _sizes(runs: Runs) -> list[Finding]:
    run, control = runs["base"], runs["control"]
    edges, counts = control.bins["sizes"], value(control, "sizes").sum(0)
    law = (np.log(0.095), np.log(1.35))
    quantile = np.vectorize(lambda d: 0.5 * (1 + math.erf((math.log(d) - law[0]) / (law[1] * math.sqrt(2)))))
    low, high = quantile(0.03), quantile(0.15)
    exact = np.clip((quantile(np.maximum(edges[1:-1], 1e-9)) - low) / (high - low), 0, 1)
    seen = np.cumsum(counts)[:-1] / counts.sum()
    # Kolmogorov-Smirnov: the root of n times the distance is above 1.95 with probability 0.001
    distance = math.sqrt(counts.sum()) * float(np.abs(seen - exact).max())
    outside = counts[edges[:-1] < 0.0295].sum() + counts[edges[:-1] > 0.1505].sum()
    x = np.arange(run["tEV"].shape[2])[2:]
    released = [float(np.asarray(control[f"tEV.s{third}"], float)[:, -1].sum()) for third in (1, 2, 3)]

    def reach(size: str) -> np.ndarray:
        free = np.asarray(run[f"tEV.{size}"], float)[:, -1, 2:].sum((2, 3))
        return 20.0 * (free @ (x - 1.5)) / free.sum(1)

    return [
        Finding("Kolmogorov-Smirnov distance of released sizes x sqrt(n)", distance, 0.0, 1.95, "<"),
        vanishes("released sizes outside 30 to 150 nm", np.asarray([outside])),
        *(
            share(f"released vesicles of size {third + 1} of 3", n, sum(released), 1 / 3)
            for third, n in enumerate(released)
        ),
        differs("mean distance from the source, smallest - largest third (um)", reach("s1"), reach("s3")),
    ]


def _tags(runs: Runs) -> list[Finding]:
    def distance(name: str, species: str) -> np.ndarray:
        free = np.asarray(runs[name][species], float)[:, -1].sum(2)
        return 10.0 * (free @ (np.arange(free.shape[1]) + 0.5)) / free.sum(1)

    def exact(decay: float) -> float:
        q = math.exp(-math.acosh(1 + 100.0 * decay / (2 * 1.3)))
        return 10.0 * (0.5 + q / (1 - q))

    return [
        equals("mean distance of plain vesicles (um)", distance("base", "plain"), exact(1e-3)),
        equals("of vesicles with half the decay (um), sqrt(2) the range", distance("base", "stable"), exact(5e-4)),
        equals("of these without the tag (um)", distance("control", "stable"), exact(1e-3)),
        equals("of vesicles that cells take up as fast as they decay (um)", distance("base", "loose"), exact(2e-3)),
        equals("of these with twice the affinity (um)", distance("base", "sticky"), exact(3e-3)),
        equals("of these without the tag (um)", distance("control", "sticky"), exact(2e-3)),
        differs(
            "taken up, twice the affinity - once",
            value(runs["base"], "sticky_taken"),
            value(runs["base"], "loose_taken"),
        ),
    ]


def _escape(runs: Runs) -> list[Finding]:
    base, control = runs["base"], runs["control"]
    return [
        differs("cells silenced by miRNA in the lumen", value(base, "silenced"), 0 * value(base, "silenced")),
        vanishes("of these without endosomal escape", value(control, "silenced")),
        differs(
            "cells polarised by surface cargo, without escape", value(control, "polarised"), 0 * value(base, "free")
        ),
    ]


def _loop(runs: Runs) -> list[Finding]:
    both, first, second, none = (value(runs[name], "divisions") for name in ("both", "first", "second", "none"))
    return [
        differs("divisions: both arrows + none - each alone (synergy)", both + none, first + second),
        equals("divisions: tumour to stroma alone - none", first - none, 0.0),
        equals("divisions: stroma to tumour alone - none", second - none, 0.0),
    ]


def _range(runs: Runs) -> list[Finding]:
    """From one voxel to the next the steady number falls by q, 2 (cosh(ln q) - 1) = h^2 k / D."""
    found = []
    for name, fibres in (("control", 0.0), ("base", 0.02), ("dense", 0.06)):
        q = math.exp(-math.acosh(1 + 400.0 * LOSS / (2 * _diffusion(fibres))))
        free = np.asarray(runs[name]["tEV"], float)[:, -1].sum(2)
        beyond = np.cumsum(free[:, ::-1], axis=1)[:, ::-1]
        found.append(equals(f"fall from voxel to voxel, {100 * fibres:g} % collagen", beyond[:, 3] / beyond[:, 2], q))
    return found


def _diffusion(fibres: float) -> float:
    """Of 100 nm in water at 37 C, um^2/s: by tortuosity 1.6, and the hindrance of fibres of 20 nm radius."""
    free = 1.380649e-23 * 310.15 / (3 * math.pi * 0.69e-3 * 0.1e-6) * 1e12 / 1.6**2
    if not fibres:
        return free
    steric = math.exp(-0.84 * ((1 + 50 / 20) ** 2 * fibres) ** 1.09)
    permeability = 3 * 20.0**2 * (-math.log(fibres) - 0.931) / (20 * fibres)
    return free * steric / (1 + 50 / math.sqrt(permeability) + 50**2 / (3 * permeability))


def _plume(runs: Runs) -> list[Finding]:
    def skew(name: str) -> np.ndarray:
        down, up = value(runs[name], "downstream"), value(runs[name], "upstream")
        return (down - up) / (down + up)

    def upstream_fall(name: str) -> np.ndarray:
        free = np.asarray(runs[name]["EV"], float)[:, -1].sum(2)
        return free[:, 10] / free[:, 11]

    q = 20.0 / 12.53
    return [
        differs("(downstream - upstream) / both, flow - no flow", skew("base"), skew("no flow")),
        equals("fall upstream over 20 um, length 12.53 um", upstream_fall("base"), math.exp(-q)),
        differs(
            "vesicles beyond 60 um, D = 1.3 - 0.3 um^2/s, no flow",
            *(value(runs[n], "downstream") for n in ("no flow", "dense")),
        ),
    ]


def _uptake(runs: Runs) -> list[Finding]:
    seconds, base = 2 * HOUR, runs["base"]
    mean = 1e-4 * 1e4 * 27 / 1600 * seconds
    counts = np.asarray(base["bound"] + base["taken"], float)[:, -1].reshape(8, -1)
    rate, internalise, receptors = 1e-4 * 27 / 1600 * 1000, 1e-3, 20.0
    busy = rate / (rate + internalise)
    begins = (
        receptors
        * internalise
        * busy
        * (seconds - (1 - math.exp(-(rate + internalise) * seconds)) / (rate + internalise))
    )
    few = value(runs["few receptors"], "taken")
    return [
        equals("vesicles captured a cell", counts.mean(1), mean, within=0.004 * mean),
        equals("Fano factor over cells", counts.var(1, ddof=1) / counts.mean(1), 1.0),
        equals("taken up with 20 receptors and 1000 times the affinity (limit 144)", few, begins, within=0.01 * begins),
        vanishes("taken up without binding", value(runs["control"], "taken")),
    ]


ROWS = (
    Row(
        "M01",
        "multivesicular bodies and their two fates",
        "S0:L3; S3:L34, L44-48",
        "either targeted for degradation via lysosomes or fuse with the plasma membrane",
        "Release is k_form k_fuse / (k_fuse + k_lysosome) bodies, and bursty.",
        "biogenesis_routes.toml",
        '`parameters.k_lysosome="0 /h"`',
        {
            "base": {},
            "no lysosomes": {"k_lysosome": 0.0},
            "three times": {"k_lysosome": _per_h(3 * LYSOSOME)},
            "fast loss": {DECAY: _per_h(1.0)},
        },
        (3, 12),
        check=_release,
        contested="20 vesicles a body and the rates of bodies are assumed.",
    ),
    Row(
        "M02",
        "ESCRT and ceramide routes",
        "S3:L48",
        "two regulated routes",
        "Shutting the ceramide route leaves the share of ESCRT, within 2 %.",
        "biogenesis_routes.toml",
        '`parameters.dose="0 uM"`',
        {"base": {"dose": 0.0}, "blocked": {"dose": 1e12}},
        (15, 24),
        check=_routes,
        contested="the share of the ceramide route (0.5) is assumed and depends on the cell type.",
    ),
    Row(
        "M03",
        "cargo mirrors its sender",
        "S3:L48, L34; S0:L3",
        "reflecting the molecular signature of their cell of origin",
        "The mix of senders is recovered from the markers of vesicles in plasma, at three mixes.",
        "cargo_sorting.toml",
        "`exosomes.sEV.biogenesis.escrt=0`",
        {
            "base": {},
            "few tumour cells": {"place.0.fill": "0.1", "place.1.fill": "0.8"},
            "many tumour cells": {"place.0.fill": "0.8", "place.1.fill": "0.5"},
            "control": {"exosomes.sEV.biogenesis.escrt": 0.0},
        },
        (6,),
        check=_sorting,
        contested="copies of the markers are assumed.",
    ),
    Row(
        "M04",
        "sizes of 30 to 150 nm",
        "S0:L3; S3:L28",
        "ranging from 30 to 150 nanometers",
        "Released sizes follow the truncated lognormal law; small vesicles get farther.",
        "size_and_range.toml",
        '`parameters.k_on="0 um^3/s"` (what is released stays)',
        {"base": {}, "control": {"k_on": 0.0}},
        (6,),
        check=_sizes,
        contested="median 95 nm and spread 1.35 are assumed; the range is measured.",
    ),
    Row(
        "M05",
        "membrane composition",
        "S3:L50",
        "structural integrity ... interaction with recipient cells",
        "Half the decay gives sqrt(2) the range where decay dominates; a tag of affinity is a factor of the uptake.",
        "membrane_tags.toml",
        "`tags.stabilised.decay=1`; `tags.tetraspanin.receivers.epithelium=1`",
        {"base": {}, "control": {"tags.stabilised.decay": "1", "tags.tetraspanin.receivers.epithelium": "1"}},
        (3,),
        check=_tags,
        contested="the factors of a lipid on decay and of a tetraspanin on uptake are assumed.",
    ),
    Row(
        "M06",
        "nucleic acids act after endosomal escape",
        "S3:L50; S0:L3",
        "regulate gene expression in target cells",
        "Without escape all effects of lumen cargo vanish, none of the surface cargo.",
        "uptake_and_escape.toml",
        '`parameters.k_escape="0 /h"`',
        {"base": {}, "control": {"k_escape": 0.0}},
        (12,),
        check=_escape,
        contested="12.5 % escape and K = 20 copies are assumed.",
    ),
    Row(
        "M07",
        "feedback between tumour and stroma",
        "S0:L3-4; S3:L28, L36",
        "bidirectional",
        "Both arrows gain more than the sum of the single ones; cutting either removes the gain.",
        "feedback_loop.toml",
        '`parameters.k_caf="0 /h"` or `parameters.k_growth="0 /h"`',
        {
            "both": {},
            "first": {"k_growth": 0.0},
            "second": {"k_caf": 0.0},
            "none": {"k_caf": 0.0, "k_growth": 0.0},
        },
        (48,),
        check=_loop,
        contested="all rates of growth are assumed.",
    ),
    Row(
        "M08",
        "transport through the extracellular space",
        "S0:L2; S3:L36",
        "exchange information over distances",
        "Flow skews the profile, upstream it falls as exp(-x/12.5 um); slow diffusion shortens the reach.",
        "flow_plume.toml",
        '`parameters.v="0 um/s"`',
        {"base": {}, "no flow": {"v": 0.0}, "dense": {"v": 0.0, "species.EV.diffusion": 0.3}},
        (2,),
        check=_plume,
    ),
    Row(
        "M08b",
        "range in matrix",
        "S0:L2; S3:L36",
        "exchange information over distances",
        "The steady number falls as exp(-x / sqrt(D / k)), faster in denser matrix by the law of hindrance.",
        "range_in_matrix.toml",
        "`species.collagen.initial=0`",
        {"base": {}, "control": {"species.collagen.initial": 0.0}, "dense": {"species.collagen.initial": 0.06}},
        (8,),
        check=_range,
        contested="the law of hindrance is that of hydrogels (Johnson et al. 1996).",
    ),
    Row(
        "M09",
        "uptake",
        "S0:L7; S3:L58",
        "natural ability to target specific cells",
        "Uptake by a cell is Poisson with mean kappa c t, and saturates at receptors x k_internalise.",
        "uptake_counts.toml",
        "`reactions.bind.rate=0`",
        {
            "base": {},
            "few receptors": {"species.receptor.initial.receiver": 20.0, "k_on": 0.1},
            "control": {"k_on": 0.0},
        },
        (2,),
        check=_uptake,
        contested="the clearance of a cell is known to a factor of 10 to 100.",
    ),
)
