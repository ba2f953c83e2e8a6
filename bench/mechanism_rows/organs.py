"""M27 to M34: plasma and distant organs."""

import numpy as np

import exodiff as ex
from bench.mechanism_rows.row import Finding, Row, Runs, differs, equals, mean_and_error, share, value, vanishes

PLASMA_PER_MIN = (0.01863, 0.05958, 0.01074)  # k10, k12, k21
FIRST_DOSE = 1e10
REPRESENTS = 1e5  # of plasma_kinetics.toml


def _plasma(runs: Runs) -> list[Finding]:
    k10, k12, k21 = PLASMA_PER_MIN
    total, product = k10 + k12 + k21, k10 * k21
    alpha, beta = ((total + sign * np.sqrt(total**2 - 4 * product)) / 2 for sign in (1, -1))
    found = []
    for place, minutes in ((0, 30), (1, 60), (4, 360)):
        left = ((alpha - k21) * np.exp(-alpha * minutes) + (k21 - beta) * np.exp(-beta * minutes)) / (alpha - beta)
        share_left = value(runs["base"], "dose", place) / FIRST_DOSE
        found.append(equals(f"share of the dose in plasma after {minutes} min", share_left, left, 0.01 * left))
    last = {name: value(runs[name], "dose", 4) for name in runs}
    return [
        *found,
        differs("dose left after 6 h, phagocytes depleted - base", last["depleted"], last["base"]),
        differs("tumour vesicles in plasma, 6 h - 1 h", value(runs["base"], "shed", 4), value(runs["base"], "shed", 1)),
        _shed(runs["base"], k10),
        _steady(runs["base"], k10),
        equals(
            "half an hour after the vessels are tied off / before, exp(-k10 t)",
            value(runs["tied off at 5 h"], "shed", 3) / value(runs["tied off at 5 h"], "shed", 2),
            float(np.exp(-30 * k10)),
            within=0.005,
        ),
        _halved(value(runs["half the release"], "shed", 4), value(runs["base"], "shed", 4)),
    ]


def _shed(run: ex.Trajectory, k10_per_min: float) -> Finding:
    """What came into plasma over the last hour against what was cleared, by Simpson's rule, and what it has more."""
    first, middle, last = (value(run, "shed", place) for place in (2, 3, 4))
    crossed = value(run, "left", 4) - value(run, "left", 2) - (value(run, "came", 4) - value(run, "came", 2))
    cleared = k10_per_min * 60.0 * (first + 4.0 * middle + last) / 6.0
    return equals(
        "came out of the tumour in the last hour / cleared + gained",
        REPRESENTS * crossed / (cleared + last - first),
        1.0,
    )


def _steady(run: ex.Trajectory, k10_per_min: float) -> Finding:
    """The share of what is released that gets to plasma, from 6 to 12 h, gives the number at 12 h."""
    released, left, came = (value(run, name) - value(run, name, 4) for name in ("released", "left", "came"))
    escapes = (left - came) / released
    wanted = escapes * REPRESENTS * released / (6 * 60) / k10_per_min
    return equals("steady number in plasma / (escaping share x release / k10)", value(run, "shed") / wanted, 1.0, 0.02)


def _halved(half: np.ndarray, whole: np.ndarray) -> Finding:
    """Plasma follows the burden: half the release, half the number."""
    (some, error), (all_of_it, other) = mean_and_error(half), mean_and_error(whole)
    ratio = some / all_of_it
    return Finding(
        "vesicles in plasma after 6 h, half the release / release",
        ratio,
        ratio * float(np.hypot(error / some, other / all_of_it)),
        0.5,
    )


def _organotropism(runs: Runs) -> list[Finding]:
    """Uptakes as ratios: the population with a6b4 over that with avb5 in the lung, and the reverse in the liver."""
    found = []
    for name, a, b in (("base", "EVa", "EVb"), ("tags swapped", "EVb", "EVa")):
        for organ, more, fewer in (("lung", a, b), ("liver", b, a)):
            one, other = (value(runs[name], f"{one}_{organ}") for one in (more, fewer))
            found.append(differs(f"{organ}: uptake with its integrin - 3 times that without, {name}", one, 3 * other))
    return found


def _education(runs: Runs) -> list[Finding]:
    """Times are 16, 32 and 48 h; no tumour cell is in the organ at any of them."""
    first, second, last = (value(runs["base"], "niche", place) for place in range(3))
    return [
        differs("niche cells of the lung, 32 h - 16 h", second, first),
        differs("48 h - 32 h", last, second),
        vanishes("niche cells without vesicles", value(runs["no vesicles"], "niche")),
    ]


def _permeability(runs: Runs) -> list[Finding]:
    """Entries to the lung over the second and the first day; with walls that do not leak they only reach balance."""

    def days(name: str) -> tuple[np.ndarray, np.ndarray]:
        first, both = value(runs[name], "entered", 0), value(runs[name], "entered", 1)
        return first, both - first

    (first, second), (first_tight, second_tight) = days("base"), days("walls do not leak")
    threefold = np.sum(days("three times the dose"), axis=0)
    threefold_tight = np.sum(days("three times the dose, no leak"), axis=0)
    return [
        differs("vesicles that enter the lung in a day, second - first", second, first),
        differs("in two days, leaky - tight walls", first + second, first_tight + second_tight),
        equals("tight walls: second day / first day", second_tight / np.mean(first_tight), 1.0, 0.05),
        equals(
            "tight walls: three times the dose / dose", threefold_tight / np.mean(first_tight + second_tight), 3.0, 0.06
        ),
        differs("leaky walls: three times the dose - 3 times that of the dose", threefold, 3.0 * (first + second)),
    ]


def _earlier(what: str, first: np.ndarray, then: np.ndarray) -> Finding:
    """One share above another of the same runs."""
    return differs(what, first - then, np.zeros_like(first))


def _marrow(runs: Runs) -> list[Finding]:
    """Shares of the numbers at 48 h that are there at 24 h: marrow cells come after the niche."""
    base = runs["base"]
    (niche, end), (settled, last) = ([value(base, name, place) for place in (0, 1)] for name in ("niche", "BMDC_lung"))
    return [
        differs("marrow cells in the lung, 48 h - 24 h", last, settled),
        _earlier(
            "share at 24 h of that at 48 h, niche cells - marrow cells", niche / np.mean(end), settled / np.mean(last)
        ),
        differs("marrow cells of lung - liver", last, value(base, "BMDC_liver")),
        vanishes("marrow cells without vesicles", value(runs["no vesicles"], "BMDC_lung")),
        vanishes("marrow cells with vesicles, without a niche", value(runs["no niche"], "BMDC_lung")),
    ]


def _distant_matrix(runs: Runs) -> list[Finding]:
    """Times are 1, 2 and 4 days; fibronectin is a volume fraction, 0.005 at first."""
    base = runs["base"]
    laid = [value(base, "fibronectin_liver", place) - 0.005 for place in range(3)]
    series = (*([value(base, name, place) for place in range(3)] for name in ("niche", "active_liver")), laid)
    niche, active, matrix = (numbers[1] / np.mean(numbers[2]) for numbers in series)
    return [
        differs(
            "fibronectin around active stellate cells - elsewhere",
            value(base, "fibronectin_active"),
            value(base, "fibronectin_quiet"),
        ),
        equals("elsewhere", value(base, "fibronectin_quiet"), 0.005, 1e-6),
        _earlier("share on day 2 of that on day 4: Kupffer cells of the niche - active stellate cells", niche, active),
        _earlier("active stellate cells - fibronectin", active, matrix),
        equals("fibronectin of the lung, which has no Kupffer cell", value(base, "fibronectin_lung"), 0.005, 1e-6),
        equals("of the liver without vesicles", value(runs["no vesicles"], "fibronectin_liver"), 0.005, 1e-6),
        equals("of the liver without TGF-beta", value(runs["no TGF-beta"], "fibronectin_liver"), 0.005, 1e-6),
    ]


def _glucose(runs: Runs) -> list[Finding]:
    base, more, none = (runs[name] for name in ("base", "three times the load", "anti-miR"))
    glucose = [value(run, "glucose_lung", 0) for run in (none, base, more)]
    bare = value(runs["no vesicles"], "glucose_lung", 0)
    (treated, error), (without, other) = mean_and_error(glucose[0]), mean_and_error(bare)
    return [
        differs("glucose of the lung after 2 days (mM), base - anti-miR", glucose[1], glucose[0]),
        differs("three times the load - base", glucose[2], glucose[1]),
        differs("glucose, lung - liver", glucose[1], value(base, "glucose_liver", 0)),
        Finding("glucose with anti-miR - without vesicles", treated - without, float(np.hypot(error, other)), 0.0),
        differs(
            "divisions in the lung in 7 days, base - anti-miR", *(value(run, "divisions_lung") for run in (base, none))
        ),
        differs(
            "tumour cells in the lung after 7 days, base - anti-miR",
            *(value(run, "tumour_lung") for run in (base, none)),
        ),
    ]


def _colonies(runs: Runs) -> list[Finding]:
    found = []
    for name, death in (("educated", 0.02), ("naive", 0.045)):
        seeds = np.asarray(runs[name]["seed"])[:, -1]
        growth = np.exp((0.05 - death) * 200.0)
        extinct = death * (growth - 1) / (0.05 * growth - death)
        found.append(share(f"surviving colonies, {name} organ", float(np.sum(seeds > 0)), seeds.size, 1 - extinct))
    return found


SEEDING_H, CLEARANCE_PER_H, BIRTH_PER_H, DEATH_PER_H = 24.0, 0.5, 0.03, 0.04


def _no_colony(seeds: float, death_per_h: float, hours: float) -> float:
    """Probability that no seed has a living descendant: seeds are Poisson, each a branching process of its own."""
    net = BIRTH_PER_H - death_per_h
    at = np.linspace(0.0, hours, 4001)
    rise, fall = 1 - np.exp(-CLEARANCE_PER_H * at), np.exp(-CLEARANCE_PER_H * np.maximum(at - SEEDING_H, 0.0))
    arrivals = np.where(at < SEEDING_H, rise, (1 - np.exp(-CLEARANCE_PER_H * SEEDING_H)) * fall)
    survives = net / (BIRTH_PER_H - death_per_h * np.exp(-net * (hours - at)))
    return float(np.exp(-seeds * np.sum(arrivals * survives) / np.sum(arrivals)))


def _organ_colonies(runs: Runs) -> list[Finding]:
    found, bare = [], {}
    deaths = {
        name: DEATH_PER_H / (1 + (fibronectin / 0.02) ** 2)
        for name, fibronectin in (("educated", 0.05), ("naive", 0.005))
    }
    for run, organ, kind in (
        ("base", "lung", "educated"),
        ("base", "liver", "naive"),
        ("not educated", "lung", "naive"),
    ):
        seeds = float(np.mean(value(runs[run], f"seeds_{organ}")))
        without = value(runs[run], f"tumour_{organ}") == 0
        bare[run, organ] = without.astype(float)
        wanted = _no_colony(seeds, deaths[kind], 240.0)
        found.append(
            share(f"organs without a colony, {organ} ({kind}), {run}", float(np.sum(without)), without.size, wanted)
        )
    return [
        *found,
        differs("organs without a colony, liver - lung", bare["base", "liver"], bare["base", "lung"]),
        differs("lung, not educated - educated", bare["not educated", "lung"], bare["base", "lung"]),
    ]


ROWS = (
    Row(
        "M27",
        "vesicles in blood",
        "S3:L40, L56, L116",
        "non-invasive",
        "The number of tumour vesicles in plasma is f_esc N s / k10 and follows with a lag of 1/k10; a dose leaves in "
        "two phases (V5), the first of minutes.",
        "plasma_kinetics.toml",
        """`parameters.k10="0.00186 /min"`""",
        {
            "base": {},
            "depleted": {"k10": 0.00186 / 60},
            "half the release": {"k_release": 30.0 / 3600},
            "tied off at 5 h": {"interventions": '[{ at = "5 h", set = { PS = "0 um^3/s" } }]'},
        },
        (0.5, 1, 5, 5.5, 6, 12),
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
        "education.toml",
        """`parameters.dose_EV="0 /h"`""",
        {"base": {}, "no vesicles": {"dose_EV": 0.0}},
        (16, 32, 48),
        check=_education,
        contested="the dose of half effect on a cell is assumed.",
    ),
    Row(
        "M30",
        "vascular permeability",
        "S3:L100",
        "promote vascular permeability",
        "Permeability rises with the dose, and uptake by the organ accelerates.",
        "education.toml",
        "`parameters.leak=0`",
        {
            "base": {},
            "walls do not leak": {"leak": 0.0},
            "three times the dose": {"dose_EV": 1.5e8 / 3600},
            "three times the dose, no leak": {"leak": 0.0, "dose_EV": 1.5e8 / 3600},
        },
        (24, 48),
        check=_permeability,
        contested="the factor of the leak (10) and its dose are assumed.",
    ),
    Row(
        "M31",
        "bone-marrow-derived cells",
        "S0:L5; S3:L54, L100",
        "recruit bone marrow-derived cells",
        "They rise in the organ after niche cells, only with vesicles in plasma.",
        "education.toml",
        """`parameters.k_educate="0 /h"`""",
        {"base": {}, "no vesicles": {"dose_EV": 0.0}, "no niche": {"k_educate": 0.0}},
        (24, 48),
        replicates=16,
        check=_marrow,
        contested="that marrow cells settle beside niche cells only is assumed.",
    ),
    Row(
        "M32",
        "distant matrix",
        "S0:L5",
        "modifying the extracellular matrix",
        "Fibronectin rises around niche cells, after Kupffer cells and stellate cells (Costa-Silva et al. 2015).",
        "distant_matrix.toml",
        """`parameters.s_TGFb="0 /s"`""",
        {"base": {}, "no vesicles": {"dose_EV": 0.0}, "no TGF-beta": {"s_TGFb": 0.0}},
        (24, 48, 96),
        replicates=24,
        check=_distant_matrix,
        contested="rates are assumed; the order of the cells is that of Costa-Silva et al. 2015.",
    ),
    Row(
        "M33",
        "miR-122 and glucose",
        "S3:L100",
        "suppresses glucose uptake by non-tumor cells ... nutrients are available",
        "Glucose in the tissue rises with the load of miR-122, and colonies grow.",
        "mir122_glucose.toml",
        "`parameters.copies=0`",
        {
            "base": {},
            "three times the load": {"copies": 60.0},
            "anti-miR": {"copies": 0.0},
            "no vesicles": {"dose_EV": 0.0},
        },
        (48, 168),
        replicates=256,
        check=_glucose,
        contested="the uptake that miR-122 leaves (0.2) and its dose are assumed.",
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
    ),
    Row(
        "M34b",
        "colonisation of one of two organs",
        "S0:L5; S3:L84, L100",
        "hospitable environment",
        "Seeds of one plasma survive in the educated organ more than in the naive one, as branching processes do.",
        "organ_colonies.toml",
        "`parameters.fibronectin_lung=0.005`",
        {"base": {}, "not educated": {"fibronectin_lung": 0.005}},
        (240,),
        replicates=256,
        check=_organ_colonies,
        contested="that fibronectin keeps seeds alive stands for all of education.",
    ),
)
