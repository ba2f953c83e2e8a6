"""M35 to M37: resistance to drugs and to immunotherapy."""

import numpy as np

from bench.mechanism_rows.row import (
    HOUR,
    NO_RELEASE,
    Finding,
    Row,
    Runs,
    differs,
    equals,
    mean_and_error,
    value,
    vanishes,
)

K_KILL = 0.2 / HOUR  # of pgp_transfer.toml
SATURATED = '[{ at = "0 h", add = { "dose.PGP" = 1_000_000 } }]'
RELEASE, LOSS, FILLED = 0.105, 0.05, 2e6  # per h, per h, molecules; of drug_export.toml


def _export(runs: Runs) -> list[Finding]:
    def under(name: str, observable: str) -> np.ndarray:
        """Area under the curve, (replicates,)."""
        return np.trapezoid(np.asarray(runs[name].observables[observable], float), axis=1)

    donors, neighbours = ({name: under(name, f"in_{cells}") for name in runs} for cells in ("donors", "neighbours"))
    found = []
    for name, release in (("control", 0.0), ("base", RELEASE)):
        exact = np.trapezoid(FILLED * np.exp(-(release + LOSS) * np.arange(25)))
        found.append(equals(f"AUC of a donor / closed form, k_release = {release:g} /h", donors[name] / exact, 1.0))
    everything = [
        sum(np.asarray(run.observables[name], float) for name in ("in_cells", "in_vesicles", "lost", "degraded"))
        for run in runs.values()
    ]
    missing = max(float(np.max(np.abs(all_of_it / all_of_it[:, :1] - 1))) for all_of_it in everything)
    return [
        *found,
        differs("AUC of a donor (1e6 molecules h), base - ten times", donors["base"] / 1e6, donors["ten times"] / 1e6),
        differs(
            "AUC of a neighbour, ten times - 1.5 base", neighbours["ten times"] / 1e6, 1.5 * neighbours["base"] / 1e6
        ),
        vanishes("drug in neighbours without release", value(runs["control"], "in_neighbours")),
        Finding("share of the molecules that the balance misses", missing, 0.0, 0.0, within=1e-6),
    ]


def _transfer(runs: Runs) -> list[Finding]:
    near, away = value(runs["base"], "near"), value(runs["base"], "far")
    blocked = value(runs["control"], "near")
    fades = value(runs["short-lived"], "near")
    grown = value(runs["heritable"], "resistant") - value(runs["base"], "resistant")
    return [
        differs("sensitive survivors beside resistant cells - far away", near, away),
        differs("sensitive survivors beside, vesicles - release blocked", near, blocked),
        equals(
            "release blocked: beside - far away, minus that at the start",
            blocked - value(runs["control"], "far") * _start_ratio(runs),
            0.0,
        ),
        differs("survivors beside, half-life of P-gp 6 h - 5 min", near, fades),
        differs("resistant cells where the transfer is heritable - where not", grown, 0 * grown),
        *_front(runs),
        *_shift(runs),
    ]


def _front(runs: Runs) -> list[Finding]:
    """Of resistant cells, where the transfer is heritable: the band at 0 to 80 um from them, then that at 80 to 160."""
    run, mute = runs["heritable"], runs["heritable, mute"]
    beside, further = value(run, "resistant_beside", 1), value(run, "resistant_next", 1)
    return [
        differs("front: new resistant cells at 4 h, 0 to 80 um away - 80 to 160 um away", beside, further),
        differs("front: at 80 to 160 um, 24 h - 4 h", value(run, "resistant_next", 2), further),
        differs(
            "relay: new resistant cells, those release, too - those do not",
            value(run, "resistant") - value(run, "resistant", 0),
            value(mute, "converted"),
        ),
    ]


def _shift(runs: Runs) -> list[Finding]:
    """Factor on the drug's dose of half effect, from survival under a drug at EC50: kill rate k / (1 + shift)."""
    run = runs["base"]
    killing = -np.log(value(run, "near", 2) / value(run, "near", 0)) / (24 * HOUR)
    shift = K_KILL / killing - 1
    saturated, without = value(runs["saturated, 5 x drug"], "sensitive"), value(runs["control"], "sensitive")
    return [
        Finding("factor on the dose of half effect beside resistant cells", *mean_and_error(shift), 1.0, ">"),
        equals("survivors, saturated with P-gp under 5 x the drug - without under 1 x", saturated - without, 0.0),
    ]


def _start_ratio(runs: Runs) -> float:
    """Sensitive cells beside over those far away, as placed."""
    return float(value(runs["base"], "near", 0)[0] / value(runs["base"], "far", 0)[0])


def _competition(runs: Runs) -> list[Finding]:
    found, cells = [], 1600
    for name in ("D = K", "D = 4 K"):
        rates = {}
        copies = float(name.removeprefix("D = ").removesuffix("K") or 1) * 20
        found.append(equals(f"dose by vesicles, {name}", value(runs[f"{name}, none"], "dose"), copies))
        for antibody in ("none", "half"):
            active = value(runs[f"{name}, {antibody}"], "active") / cells
            rates[antibody] = mean_and_error(-np.log(active) / (4 * HOUR))
        (rate, error), (half, half_error) = rates["none"], rates["half"]
        ratio = half / rate
        spread = ratio * np.hypot(error / rate, half_error / half)
        # at the antibody level K_antibody (1 + D / K) the rate is half
        found.append(Finding(f"effect left at EC50 (1 + D / K), {name}", ratio, float(spread), 0.5))
        naive = value(runs[f"{name}, unshifted"], "active") / cells
        left = mean_and_error(-np.log(naive) / (4 * HOUR))
        found.append(
            Finding(
                f"effect left at the unshifted EC50, {name}",
                left[0] / rate,
                float(left[0] / rate * np.hypot(error / rate, left[1] / left[0])),
                0.5,
                ">",
            )
        )
    return found


def _arms() -> dict[str, dict[str, float | str]]:
    arms: dict[str, dict[str, float | str]] = {}
    for dose, name in ((20, "D = K"), (80, "D = 4 K")):
        for antibody, level in (("none", 0.0), ("half", 1 + dose / 20), ("unshifted", 1.0)):
            arms[f"{name}, {antibody}"] = {"exosomes.tEV.initial": f"{dose}", "antibody": level}
    return arms


ROWS = (
    Row(
        "M35",
        "drug export in vesicles",
        "S3:L38, L58, L101; T4 L106",
        "drug export",
        "Drug in the donor falls as release rises, and arrives in neighbours; mass is kept. Ten times the release "
        "raises the AUC of neighbours by more than half (V9).",
        "drug_export.toml",
        '`parameters.k_release="0 /h"`',
        {"base": {}, "control": {"k_release": 0.0}, "ten times": {"k_release": 10 * RELEASE / HOUR}},
        tuple(range(25)),
        check=_export,
        contested="the rate of release is a fit (Wang et al. 2017); that only donors pack the drug is assumed.",
    ),
    Row(
        "M36",
        "transfer of P-gp",
        "S0:L6; S3:L58, L101; T4 L107",
        "transfer of drug resistance",
        "Sensitive cells near resistant ones survive: the dose shifts, five-fold at saturation. It fades with its "
        "half-life, spreads as a front where it is heritable, and vanishes when release is blocked.",
        "pgp_transfer.toml",
        "`exosomes.tEV.biogenesis.fusion=0`",
        {
            "base": {},
            "control": NO_RELEASE,
            "short-lived": {"cargo.PGP.half_life": 300.0},
            "heritable": {"k_heritable": 0.1 / HOUR},
            "heritable, mute": {
                "k_heritable": 0.1 / HOUR,
                "reactions.inheritance.equation": '"sensitive -> converted"',
            },
            "saturated, 5 x drug": NO_RELEASE | {"interventions": SATURATED, "parameters.drug": '"500 nM"'},
        },
        (0, 4, 24),
        32,
        check=_transfer,
        contested="a five-fold shift at saturation is measured (Zhang et al. 2014), K is assumed.",
    ),
    Row(
        "M37",
        "interference with immunotherapy",
        "S3:L103; T4 L108",
        "interfering with immunotherapy",
        "Anti-PD-1 needs EC50 (1 + D / K) against the dose D of vesicular PD-L1.",
        "antibody_competition.toml",
        "`parameters.antibody=0`",
        _arms(),
        (4,),
        check=_competition,
        contested="competition at equilibrium is assumed.",
        treatment="parameters.antibody=10",
    ),
)
