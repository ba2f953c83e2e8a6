"""The cases of the Discrete Stochastic Models Test Suite in neutral form (truths/dsmts_dev.json), as exodiff models.

DSMTS: T. W. Evans, C. S. Gillespie, D. J. Wilkinson, Bioinformatics 24, 2008; part of the SBML Test Suite, LGPL 2.1.

The neutral form counts pairs, c x (x - 1) / 2, and writes every other law as events per second. Here a voxel has
1 um^3, so that rates carry no volume, and a mass action of order nu takes the rate c / nu!.

A case is rejected where a |z| of a mean or a variance passes its gate: 2e-6 a case, so a false alarm in all 25 has a
probability below 5e-5, and seeds are fixed.

`leap` tests conditions after each pair of steps, so its default step meets the condition of the state event too late:
|z| of 14 (mean) and 26 (variance) at 10,000 trajectories. The error is of first order in the step; TOLERANCE passes.
All other cases pass with the default at 10,000. The splitting lifts the mean of immigration and death, a dt coth(mu dt)
in place of a/mu, by (mu dt)^2 / 3: 0.33 % at mu dt = 0.1, 1.5 standard errors at 10,000 trajectories and 4.7 at
100,000, where twin_00019 (|z| 6.9) needs tolerance 0.05.
"""

import json
import re
from math import factorial, prod
from pathlib import Path

import numpy as np
from scipy import stats

import exodiff as ex
from tests.physics.checks.check import Check

TRUTHS = Path(__file__).parents[1] / "truths"
CASES = {case["name"]: case for case in json.loads((TRUTHS / "dsmts_dev.json").read_text())["cases"]}
TOLERANCE = {"twin_00033_state_event": 0.002}
HEAVY_TAILED = ("twin_00003_heavy_tail",)
HEAVY_GATE = 7.0  # truths/README.md: the sampling law of a variance has a long tail of its own there


def to_model(case, **run):
    """The tables of a model file for a case."""
    events = [_intervention(event, case) for event in case["events"]]
    return {
        "schema": 1,
        "title": case["title"],
        "run": {"duration": case["times"][-1], **run},
        "lattice": {"shape": [1], "spacing": 1.0},
        "parameters": {"per_s": "1 /s"},
        "species": {species["id"]: _species(species) for species in case["species"] if "assigned" not in species},
        "reactions": [_reaction(reaction) for reaction in case["reactions"]],
        **({"interventions": events} if events else {}),
        "observables": {
            species["id"]: {"value": _of_lattice(species.get("assigned", species["id"]), case)}
            for species in case["species"]
        },
    }


def _species(species):
    return {"initial": species["initial"], **({"constant": True} if species.get("boundary") else {})}


def _reaction(reaction):
    def side(terms):
        return " + ".join(f"{count} {name}" for name, count in terms.items())

    equation = f"{side(reaction['reactants'])} -> {side(reaction['products'])}"
    if reaction["kind"] == "expression":
        law = {"propensity": f"per_s * ({reaction['rate']})"}
    else:
        law = {"rate": reaction["rate"] / prod(map(factorial, reaction["reactants"].values()))}
    return {"name": reaction["id"], "equation": equation, **law}


def _intervention(event, case):
    when = {"at": [event["at"]]} if event["kind"] == "time" else {"when": _of_lattice(event["condition"], case)}
    repeat = {"repeat": True} if "when" in when else {}
    return {"name": event["id"], **when, **repeat, "set": {name: int(x) for name, x in event["assignments"].items()}}


def _of_lattice(text, case):
    """Species in a text as totals."""
    for species in case["species"]:
        text = re.sub(rf"\b{species['id']}\b", f"total({species['id']})", text)
    return text


def z_scores(case, trajectory):
    """Largest |z| of means and of variances over times and species; infinite where a sure number is missed."""
    largest = {"mean": 0.0, "variance": 0.0}
    for species in (s["id"] for s in case["species"]):
        samples = np.asarray(trajectory.observables[species], float)
        n = len(samples)
        mean, sd, kurtosis = (np.asarray(case[key][species]) for key in ("mean", "sd", "kurt"))
        if np.any(samples[:, sd == 0] != mean[sd == 0]):
            return {"mean": np.inf, "variance": np.inf}
        drawn = (sd > 0) & (n * mean >= 1000)  # below that the normal tail is off (truths/README.md)
        z = np.sqrt(n) * (samples.mean(0) - mean)[drawn] / sd[drawn]
        second = ((samples - mean) ** 2).mean(0)[drawn]
        z_variance = np.sqrt(n) * (second / sd[drawn] ** 2 - 1.0) / np.sqrt(kurtosis[drawn] - 1.0)
        largest["mean"] = max(largest["mean"], np.abs(z).max(initial=0.0))
        largest["variance"] = max(largest["variance"], np.abs(z_variance).max(initial=0.0))
    return largest


def gates(case):
    """What the scores of a correct simulator exceed with a probability of at most 2e-6 a case (Bonferroni)."""
    tests = 2 * 50 * len(case["species"])
    limit = float(stats.norm.isf(2e-6 / (2 * tests)))
    return {"mean": limit, "variance": HEAVY_GATE if case["name"] in HEAVY_TAILED else limit}


def worst(name: str, engine: str, seed: int, replicates: int) -> float:
    """Largest |z| over its gate."""
    case = CASES[name]
    run = {"tolerance": TOLERANCE[name]} if engine == "leap" and name in TOLERANCE else {}
    model = ex.Model.from_dict(to_model(case, **run))
    trajectory = ex.simulate(model, case["times"], engine=engine, replicates=replicates, seed=seed)
    scores, limits = z_scores(case, trajectory), gates(case)
    return max(scores[key] / limits[key] for key in limits)


def checks(engine: str, replicates: int, seed: int) -> tuple[Check, ...]:
    """All cases for an engine."""
    claim = f"means and variances at 50 times, {replicates} trajectories"
    return tuple(
        Check(f"{name}, {engine}", claim, lambda name=name: float(worst(name, engine, seed, replicates)), 1.0)
        for name in CASES
    )
