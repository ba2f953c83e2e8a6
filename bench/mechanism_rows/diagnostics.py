"""M42 to M46: what can be measured, and what it tells."""

import math

import numpy as np

from bench.mechanism_rows.row import HOUR, Finding, Row, Runs, differs, equals, share, value
from bench.mechanism_rows.stroma import doses

SAMPLE_UM3 = 5e5
BOXES_UM3 = 256 * 8000.0
FALSE = 1e-3 * 0.01 * SAMPLE_UM3  # false positives in a sample: share, background in 1/um^3, volume
LIMIT = 3
# of isolation.toml: shares kept of small, middle and large vesicles and of the other particles, by method
METHODS = {
    "ultracentrifuge": ((0.05, 0.1, 0.2), 0.002),
    "gradient": ((0.15, 0.25, 0.35), 0.001),
    "size_exclusion": ((0.5, 0.6, 0.7), 0.01),
    "precipitation": ((0.95, 0.95, 0.95), 0.3),
    "affinity": ((0.92, 0.92, 0.92), 0.0005),
    "ultrafilter": ((0.2, 0.3, 0.4), 0.1),
    "microfluidic": ((0.5, 0.65, 0.8), 0.005),
}
ISOLATED_UM3, FLUID_OF_ISOLATION_UM3 = 5e5, 64 * 8000.0
OTHERS = 0.1 * ISOLATED_UM3  # particles in the sample that are no vesicles


def area_under_curve(sick: np.ndarray, healthy: np.ndarray) -> float:
    """Chance that a patient's count is above a healthy one's, ties by half."""
    above = sick[:, None] > healthy[None, :]
    return float((above + 0.5 * (sick[:, None] == healthy[None, :])).mean())


def _biopsy(runs: Runs) -> list[Finding]:
    sick, healthy = value(runs["patient"], "positives", 0), value(runs["healthy"], "positives", 0)
    true = 0.6 * SAMPLE_UM3 * value(runs["patient"], "vesicles", 0) / BOXES_UM3
    rng = np.random.default_rng(1)
    expected, none = rng.poisson(rng.choice(true, 3000) + FALSE), rng.poisson(FALSE, 3000)
    auc = area_under_curve(*(np.where(counts >= LIMIT, counts, 0) for counts in (expected, none)))
    found = area_under_curve(sick, healthy)
    # the variance of an area from n patients and n healthy is at most this
    error = float(np.sqrt(auc * (1 - auc) / len(sick)))
    after = value(runs["patient"], "positives", -1)
    return [
        equals("positives in a sample - (yield c V + false positives)", sick - true - FALSE, 0.0),
        Finding("area under the ROC curve, from two Poissons", found, error, auc),
        differs("positives, before surgery - 12 h after", sick, after),
        equals("positives after surgery - healthy", after - healthy, 0.0),
    ]


def _isolation(runs: Runs) -> list[Finding]:
    """Each method counts its own share of each third of the sizes, and some of the particles that are no vesicles."""
    run, found = runs["vesicles"], []
    scale = ISOLATED_UM3 / FLUID_OF_ISOLATION_UM3
    for method, (shares, false) in METHODS.items():
        true = sum(part * value(run, third) for part, third in zip(shares, ("small", "middle", "large"), strict=True))
        found.append(
            equals(
                f"positives, {method.replace('_', ' ')} - (yield by size x true + others)",
                value(run, method) - scale * true - false * OTHERS,
                0.0,
            )
        )
    purity = {method: 1 - value(runs["blank"], method).mean() / value(run, method) for method in METHODS}
    return [
        *found,
        differs("purity, affinity - gradient", purity["affinity"], purity["gradient"]),
        differs("purity, gradient - precipitation", purity["gradient"], purity["precipitation"]),
        differs("though positives, precipitation - gradient", value(run, "precipitation"), value(run, "gradient")),
    ]


def _monitoring(runs: Runs) -> list[Finding]:
    """The drug blocks release at once and kills at 0.02 /h."""
    run = runs["blocked"]
    before, after = value(run, "vesicles", 0), value(run, "vesicles", 1)
    cells = [float(value(run, "tumour", time).sum()) for time in range(3)]
    return [
        Finding(
            "vesicles left 5 half-lives after a release block / before",
            float(after.sum() / before.sum()),
            0.0,
            2.0**-5,
            within=0.01,
        ),
        share("tumour cells left then / before, exp(-k t)", cells[1], cells[0], math.exp(-0.02 * 70 / 60)),
        share("12 h after it", cells[2], cells[0], math.exp(-0.02 * 12)),
        differs("positives, before - 5 half-lives after", value(run, "positives", 0), value(run, "positives", 1)),
    ]


def _spread(runs: Runs, name: str) -> np.ndarray:
    """Relative standard deviation of the diameters in a histogram, less that of its bins."""
    edges, counts = runs[name].bins["narrow"], value(runs[name], "narrow")
    middle, width = edges[:-1] + 0.5 * (edges[1] - edges[0]), edges[1] - edges[0]
    mean = counts @ middle / counts.sum(1)
    variance = counts @ middle**2 / counts.sum(1) - mean**2 - width**2 / 12
    return np.sqrt(np.maximum(variance, 0.0)) / mean


def _tracking(runs: Runs) -> list[Finding]:
    spread, without = _spread(runs, "base"), _spread(runs, "control")
    seen = value(runs["base"], "small").sum(1) / 20_000
    return [
        equals("relative spread of 100 nm in tracks of 50 steps, 1/sqrt(48)", spread, 48**-0.5),
        differs("spread, 50 steps - 100,000 steps", spread, without),
        equals("share of 40 nm that is seen, (40/60)^6", seen, (40 / 60) ** 6),
    ]


def _single(runs: Runs) -> list[Finding]:
    rare, common = doses(runs, "rare"), doses(runs, "common")
    return [
        equals("bulk: mean copies, rare - common", rare.mean(1) - common.mean(1), 0.0),
        equals("single cells: Fano factor of copies, 1 in 100 carries 10", rare.var(1) / rare.mean(1), 11.0),
        equals("single cells: Fano factor, all carry 0.1", common.var(1) / common.mean(1), 1.1),
        *_single_vesicles(runs),
    ]


def _single_vesicles(runs: Runs) -> list[Finding]:
    """Loads read one vesicle at a time: a closed box with one vesicle and one cell that takes it up is its readout."""
    found = []
    for name, told, fraction, copies in (
        ("one rare vesicle", "1 in 100 carries 10", 0.01, 10.0),
        ("one common vesicle", "all carry 0.1", 1.0, 0.1),
    ):
        loads = doses(runs, name)
        carries = fraction * (1 - math.exp(-copies))
        loaded = loads[loads > 0]
        found += [
            share(f"single vesicles: share with any copy, {told}", float(np.sum(loads > 0)), loads.size, carries),
            Finding(
                f"single vesicles: mean copies of those with any, {told}",
                float(loaded.mean()),
                float(loaded.std(ddof=1) / np.sqrt(loaded.size)),
                fraction * copies / carries,
            ),
        ]
    return found


ROWS = (
    Row(
        "M42",
        "liquid biopsy",
        "S3:L56, L116; T5 L125",
        "liquid biopsy",
        "Positives are Poisson(yield V c) + Poisson(false ones); the ROC curve follows; they drop after resection.",
        "liquid_biopsy.toml",
        '`parameters.k_fusion="0 /h"`',
        {"patient": {}, "healthy": {"k_fusion": 0.0}},
        (11, 24),
        60,
        check=_biopsy,
        contested="glypican-1 is contested: perfect in Melo et al. 2015; 27 % sensitivity and 88 % specificity in "
        "Lucien et al. 2019; no separation, but a drop after surgery, in Frampton et al. 2018. Sensitivity and "
        "specificity are inputs.",
    ),
    Row(
        "M43",
        "nanoparticle tracking",
        "S3:L118",
        "nanoparticle tracking analysis, flow cytometry",
        "Measured sizes spread by 1/sqrt(n) with tracks of n steps; small vesicles are missed.",
        "tracking.toml",
        "`observables.narrow.size_histogram.track_steps=100000`",
        {"base": {}, "control": {"observables.narrow.size_histogram.track_steps": "100000"}},
        (0.01,),
        check=_tracking,
        contested="that detection falls with the sixth power of the diameter is Rayleigh's law; 60 nm is usual.",
    ),
    Row(
        "M44",
        "isolation",
        "S3:L139",
        "yield, purity, and scalability",
        "What is found is yield x true, by method and size; the largest yield is not the purest.",
        "isolation.toml",
        "`exosomes.EV.initial.poisson=0`",
        {"vesicles": {}, "blank": {"exosomes.EV.initial.poisson": "0"}},
        (1 / 3600,),
        60,
        check=_isolation,
        contested="yields by method are ranges (PMC10058361 Table 1): 5-20, 10-40, 40-80, above 90 %; how "
        "they go with the size is assumed.",
    ),
    Row(
        "M45",
        "heterogeneity of single vesicles",
        "S3:L139",
        "heterogeneity",
        "Only single vesicles, or the spread over cells, tell 'all carry 0.1' from '1 % carry 10'; means agree. The "
        "load of a vesicle is zero-inflated.",
        "rare_loads.toml",
        "`parameters.fraction=1`, `parameters.copies=0.1`",
        {
            "rare": {},
            "common": {"fraction": 1.0, "copies": 0.1},
            "one rare vesicle": {"exosomes.tEV.initial": "1"},
            "one common vesicle": {"exosomes.tEV.initial": "1", "fraction": 1.0, "copies": 0.1},
        },
        (6,),
        check=_single,
        contested="the distribution of loads over vesicles is assumed.",
    ),
    Row(
        "M46",
        "monitoring of treatment",
        "S3:L56, L118",
        "real-time",
        "The signal falls within 5 half-lives of a release block, long before the number of cells: release inhibition "
        "confounds the readout of burden.",
        "liquid_biopsy.toml",
        "`parameters.blocked=0`",
        {"blocked": {"cut": 0.0, "blocked": 1.0, "k_death": 0.02 / HOUR}},
        (12 - 1e-3, 12 + 5 * 14 / 60, 24),
        60,
        check=_monitoring,
        treatment="parameters.blocked=1",
    ),
)
