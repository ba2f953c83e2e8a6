"""Run the four studies to their end, each with its control without vesicles, and write docs/studies.md.

python -m bench.studies [--only therapy] [--page]

Every run is a process of its own, as by `exodiff run`. What is measured replaces the same runs in
bench/results/studies.jsonl, and the page is written from all of that file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from bench.rows import alone, commit
from exodiff.io.atomic import make_folder, write_text
from exodiff.io.records import OBSERVABLES, read_table

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
RESULTS = ROOT / "bench" / "results" / "studies.jsonl"
PAGE = ROOT / "docs" / "studies.md"
FIGURES = ROOT / "docs" / "figures" / "studies"
SHOWN = ("observables", "cells", "fields")
FIGURE_COLOURS = 128
UNTREATED = "untreated"
ROUNDING = 1e-5  # relative, of concentrations: they are float32, and nothing but rounding may change them
Line = dict[str, Any]  # one run as JSON

_CHILD = """
import json, resource, sys, time
import exodiff as ex
from exodiff.schedule import make_schedule
began = {}
model = ex.load(sys.argv[1], sys.argv[3:])
result = ex.run(model, sys.argv[2], report=lambda progress: began.setdefault(progress.phase, time.process_time()))
if not result.finished:
    sys.exit(f"stopped by {result.stopped_by} after {result.time_s:g} s of simulated time")
run, used = model.config.run, resource.getrusage(resource.RUSAGE_SELF)
schedule = make_schedule(run.duration_s, run.observe_every_s, run.snapshot_every_s, model.problem)
print(json.dumps({
    "voxels": model.problem.grid.num_voxels,
    "hours": run.duration_s / 3600,
    "steps": 2 * schedule.num_pairs,
    "cpu_s": round(used.ru_utime + used.ru_stime),
    "cpu_before_first_step_s": round(began["running"]),
    "peak_rss_mib": round(used.ru_maxrss / 1024),
}))
"""


@dataclass(frozen=True)
class Effect:
    """What vesicles do to an observable by the end of a study.

    Args:
        observable: its name in the file.
        says: what it is, in words.
        without: its value where there are no vesicles.
        rises: whether vesicles raise it.
        rounding: relative error that is no effect; 0 of whole numbers.

    """

    observable: str
    says: str
    without: float = 0.0
    rises: bool = True
    rounding: float = 0.0

    def is_absent(self, value: float) -> bool:
        """Whether a value is that without vesicles: exactly, but for rounding."""
        return abs(value - self.without) <= self.rounding * abs(self.without)

    def is_shown(self, value: float) -> bool:
        """Whether a value is off it, to the right side."""
        return not self.is_absent(value) and (value > self.without) == self.rises


@dataclass(frozen=True)
class Arm:
    """One treatment, beside none, on an eighth of the lattice.

    Args:
        name: the drug.
        doses: overrides.
        observable: what it changes.
        says: what that is, in words.
        rises: whether it raises it.
        hour: when; None at the end.

    """

    name: str
    doses: tuple[str, ...]
    observable: str
    says: str
    rises: bool
    hour: float | None = None

    def change(self, treated: Line, untreated: Line) -> float:
        """By how much the treatment raises (or lowers) the observable."""
        sign = 1.0 if self.rises else -1.0
        return sign * (at(treated, self.observable, self.hour) - at(untreated, self.observable, self.hour))


@dataclass(frozen=True)
class Change:
    """How an observable of the run with vesicles changes in time.

    Args:
        observable: its name in the file.
        says: what it is and what happens then, in words.
        from_h: hours.
        to_h: hours.
        least: lowest ratio of the value then to that before.
        most: highest ratio.

    """

    observable: str
    says: str
    from_h: float
    to_h: float
    least: float = 0.0
    most: float = np.inf

    def ratio(self, line: Line) -> float:
        """The value at the end of the time to that at its beginning."""
        return at(line, self.observable, self.to_h) / at(line, self.observable, self.from_h)

    def is_shown(self, line: Line) -> bool:
        """Whether the ratio is within its limits."""
        return self.least <= self.ratio(line) <= self.most


@dataclass(frozen=True)
class Study:
    """One study.

    Args:
        name: of the file in configs/.
        claim: what it shows.
        effects: of its vesicles.
        control: overrides that stop the release of vesicles.
        smaller: overrides of the lattice in the control: what must be nothing there is nothing at any size.
        treatment: overrides of both runs.
        told: other observables of the run with vesicles, with what they are in words.
        arms: treatments that are compared with none.
        changes: in time, of the run with vesicles.

    """

    name: str
    claim: str
    effects: tuple[Effect, ...]
    control: tuple[str, ...]
    smaller: tuple[str, ...] = ("lattice.shape=[24, 24, 24]",)
    treatment: tuple[str, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    arms: tuple[Arm, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def hours(self) -> tuple[float, ...]:
        """Times besides the end whose values are kept."""
        of_arms = (arm.hour for arm in self.arms if arm.hour is not None)
        return tuple(sorted({*of_arms, *(hour for c in self.changes for hour in (c.from_h, c.to_h))}))

    @property
    def runs(self) -> Mapping[str, tuple[str, ...]]:
        """Overrides of each run."""
        runs = {"vesicles": self.treatment, "control": (*self.treatment, *self.control, *self.smaller)}
        if self.arms:
            runs[UNTREATED] = self.smaller
        return runs | {arm.name: (*arm.doses, *self.smaller) for arm in self.arms}


STUDIES = (
    Study(
        "primary_tumour",
        "Vesicles of tumour cells turn fibroblasts into CAFs, switch off T cells, make regulatory T cells and M2 "
        "macrophages, call vessels, and open the matrix.",
        (
            Effect("caf_fraction", "share of fibroblasts that are CAFs"),
            Effect("ctl_off_fraction", "share of T cells that are off"),
            Effect("treg_fraction", "share of CD4 cells that are regulatory"),
            Effect("m2_fraction", "share of macrophages that are M2"),
            Effect("sprouts", "steps of vessel sprouts"),
            Effect("mdsc", "myeloid suppressor cells"),
            Effect("fibroblast_dose", "copies of TGF-beta in a fibroblast"),
            Effect("collagen_of_tumour", "collagen in the tumour", 0.02, rises=False, rounding=ROUNDING),
            Effect("released", "bodies that fused"),
            Effect("taken_up", "vesicles taken up"),
        ),
        ('parameters.k_release="0 /h"',),
        told={
            "tumour_cells": "tumour cells",
            "killed": "tumour cells killed",
        },
    ),
    Study(
        "premetastatic_niche",
        "Vesicles of a distant tumour, led by integrins to lung and liver, make niches there before and while tumour "
        "cells arrive. The walls that vesicles cross to the cells of the lung know no integrin, so that it takes its "
        "own by a small factor only (M28 has receivers that face plasma).",
        (
            Effect("lung_a", "vesicles with a6b4 that the lung takes up"),
            Effect("lung_b", "vesicles with avb5 that the lung takes up"),
            Effect("liver_a", "vesicles with a6b4 that the liver takes up"),
            Effect("liver_b", "vesicles with avb5 that the liver takes up"),
            Effect("niche_lung", "niche cells of the lung"),
            Effect("niche_liver", "niche cells of the liver"),
            Effect("BMDC_liver", "marrow cells in the liver"),
            Effect("fibronectin_lung", "fibronectin of the lung", 0.005, rounding=ROUNDING),
            Effect("fibronectin_liver", "fibronectin of the liver", 0.005, rounding=ROUNDING),
            Effect("miR122_of_epithelium", "copies of miR-122 in an epithelial cell"),
        ),
        ('parameters.dose_EV="0 /h"',),
        ("lattice.lung.shape=[18, 20, 20]", "lattice.liver.shape=[18, 20, 20]"),
        told={
            "BMDC_lung": "marrow cells in the lung",
            "metastasis_lung": "tumour cells in the lung",
            "metastasis_liver": "tumour cells in the liver",
            "glucose_lung": "glucose of the lung (mM)",
        },
    ),
    Study(
        "therapy",
        "Under doxorubicin tumour cells export the drug in vesicles, resistant ones hand over P-gp, and PD-L1 on "
        "vesicles disarms T cells.",
        (
            Effect("PGP_of_sensitive", "copies of P-gp in a sensitive cell"),
            Effect("armed_fraction", "share of T cells that are armed", 1.0, rises=False),
            Effect("plasma_vesicles", "vesicles in plasma"),
            Effect("exported", "vesicles filled with drug"),
            Effect("released", "bodies that fused"),
            Effect("taken_up", "vesicles taken up"),
        ),
        ('parameters.k_body="0 /h"', 'parameters.k_load="0 /h"'),
        treatment=('parameters.dose_dox="500 nM"',),
        told={
            "sensitive": "sensitive tumour cells",
            "resistant": "resistant tumour cells",
            "drug_of_sensitive": "molecules of drug in a sensitive cell",
            "drug_of_resistant": "molecules of drug in a resistant cell",
        },
        arms=(
            Arm("doxorubicin", ('parameters.dose_dox="500 nM"',), "sensitive", "sensitive tumour cells", rises=False),
            Arm("GW4869", ('parameters.dose_GW="10 uM"',), "released", "bodies that fused", rises=False),
            Arm(
                "antibody",
                ('parameters.dose_mAb="10 nM"',),
                "PGP_of_sensitive",
                "P-gp in a sensitive cell",
                rises=False,
            ),
            Arm(
                "siKRAS vesicles",
                ("parameters.dose_si=1e9",),
                "siKRAS_of_sensitive",
                "copies of siRNA in a sensitive cell (20 have half the effect)",
                rises=True,
            ),
            Arm("anti-PD-1", ('parameters.dose_aPD1="10 nM"',), "armed_fraction", "share of armed T cells", rises=True),
        ),
    ),
    Study(
        "liquid_biopsy",
        "Plasma tells of a tumour by its vesicles, and less of half a tumour; a block of release more than halves the "
        "signal in six hours while no cell dies, it comes back, and surgery more than halves it in six hours too.",
        (
            Effect("released", "bodies that fused"),
            Effect("taken_up", "vesicles taken up in the tissue"),
            Effect("plasma_vesicles", "vesicles in plasma"),
        ),
        ('parameters.k_body="0 /h"',),
        told={"tumour_cells": "tumour cells", "biopsy": "positives in 0.5 mL of plasma"},
        arms=(
            Arm(
                "half the tumour",
                ('place.1.sphere.radius="95 um"',),
                "plasma_vesicles",
                "vesicles in plasma",
                rises=False,
                hour=6.0,
            ),
            Arm(
                "no block",
                ("parameters.block=1",),
                "plasma_vesicles",
                "vesicles in plasma",
                rises=True,
                hour=12.0,
            ),
        ),
        changes=(
            Change("plasma_vesicles", "vesicles in plasma, release blocked", 6.0, 12.0, most=0.5),
            Change("biopsy", "positives in the sample, release blocked", 6.0, 12.0, most=0.5),
            Change("tumour_cells", "tumour cells, release blocked", 6.0, 12.0, least=1.0),
            Change("plasma_vesicles", "vesicles in plasma, release again", 12.0, 18.0, least=1.5),
            Change("plasma_vesicles", "vesicles in plasma, after surgery", 18.0, 24.0, most=0.5),
            Change("biopsy", "positives in the sample, after surgery", 18.0, 24.0, most=0.5),
        ),
    ),
)


def measured(study: Study, run: str, overrides: tuple[str, ...]) -> Line:
    """Run a study in a process of its own; of the run with vesicles the figures are kept."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / study.name
        command = [sys.executable, "-c", _CHILD, str(CONFIGS / f"{study.name}.toml"), str(out), *overrides]
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
        seconds = time.perf_counter() - began
        table = read_table(out / OBSERVABLES)
        if run == "vesicles":
            _keep_figures(study.name, out / "figures")
    device = jax.devices()[0]
    values = {key: column for key, column in table.items() if key not in ("time_s", "replicate")}
    rows = {hour: int(np.argmin(np.abs(table["time_s"] - 3600.0 * hour))) for hour in study.hours}
    return {
        "name": "studies",
        "study": study.name,
        "run": run,
        "overrides": list(overrides),
        **json.loads(done.stdout.splitlines()[-1]),
        "wall_s": round(seconds),
        "final": {key: float(f"{column[-1]:.6g}") for key, column in values.items()},
        "at_h": {
            f"{h:g}": {key: float(f"{column[row]:.6g}") for key, column in values.items()} for h, row in rows.items()
        },
        "device": f"{device.platform} {device.device_kind}",
        "jax": jax.__version__,
        "commit": commit(),
    }


def at(line: Line, observable: str, hour: float | None) -> float:
    """An observable of a run at an hour that its study keeps, or at the end."""
    return (line["final"] if hour is None else line["at_h"][f"{hour:g}"])[observable]


def _keep_figures(name: str, drawn: Path) -> None:
    """The first page of each kind, at half the resolution."""
    make_folder(FIGURES)
    for kind in SHOWN:
        with Image.open(drawn / f"{kind}.png") as image:
            small = image.convert("RGB").reduce(2).quantize(FIGURE_COLOURS)
            small.save(FIGURES / f"{name}_{kind}.png", optimize=True)


def read_lines() -> list[Line]:
    """What was measured before."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []


def keep(line: Line) -> None:
    """Replace a run, in the order of the studies; to be called `alone`."""
    order = [(study.name, run) for study in STUDIES for run in study.runs]
    kept = {(old["study"], old["run"]): old for old in [*read_lines(), line]}
    write_text(RESULTS, "".join(json.dumps(kept[key]) + "\n" for key in order if key in kept))


def verdict(study: Study, lines: Mapping[str, Line]) -> str:
    """In a word."""
    if lines.keys() != study.runs.keys():
        return "not measured yet"
    with_them, control = (lines[run]["final"] for run in ("vesicles", "control"))
    shown = all(effect.is_shown(with_them[effect.observable]) for effect in study.effects)
    absent = all(effect.is_absent(control[effect.observable]) for effect in study.effects)
    treated = all(arm.change(lines[arm.name], lines[UNTREATED]) > 0 for arm in study.arms)
    changed = all(change.is_shown(lines["vesicles"]) for change in study.changes)
    return "pass" if shown and absent and treated and changed else "FAIL"


def page(lines: list[Line]) -> str:
    """The text of docs/studies.md."""
    found = {study.name: {line["run"]: line for line in lines if line["study"] == study.name} for study in STUDIES}
    text = [
        "# Studies",
        "",
        "Written by `python -m bench.studies`; `bench/results/studies.jsonl` has each run with its commit.",
        "Four studies of tissue size, each run to its end as the file is published, and once more without vesicles",
        "on an eighth of the lattice. An effect that vesicles carry must be there in the first run and gone in the",
        "second, exactly (concentrations: to rounding). The wall time is that of a machine with 2 cores that was busy",
        "with other work too; the time of the processor tells what a run costs. Both hold compiling (its part stands",
        "beside) and drawing.",
        "",
        "| study | run | voxels | simulated | steps | wall time | processor time | of it compiling | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        text += [
            f"| [{name}](../configs/{name}.toml) | {run} | {line['voxels']:,} | {line['hours']:g} h "
            f"| {line['steps']:,} | {line['wall_s'] / 60:.1f} min | {line['cpu_s'] / 60:.1f} min "
            f"| {line['cpu_before_first_step_s'] / 60:.1f} min "
            f"| {line['peak_rss_mib']:,} MiB |"
            for run, line in runs.items()
        ]
    for study in STUDIES:
        text += ["", *_entry(study, found[study.name])]
    return "\n".join([*text, ""])


def _entry(study: Study, lines: Mapping[str, Line]) -> list[str]:
    def told(run: str, observable: str, hour: float | None = None) -> str:
        return f"{at(lines[run], observable, hour):.4g}" if run in lines else "-"

    text = [f"## {study.name}: {verdict(study, lines)}", "", study.claim, ""]
    if study.treatment:
        text += [f"Both runs with {_settings(study.treatment)}.", ""]
    text.append(f"Without vesicles: {_settings(study.control)}.")
    if not lines:
        return text
    text += [
        "",
        "| at the end | vesicles | control | must be |",
        "|---|---|---|---|",
    ]
    for effect in study.effects:
        wanted = f"{'above' if effect.rises else 'below'} {effect.without:g}, and {effect.without:g}"
        values = " | ".join(told(run, effect.observable) for run in ("vesicles", "control"))
        text.append(f"| {effect.says} | {values} | {wanted} |")
    text += [f"| {says} | {told('vesicles', observable)} | | |" for observable, says in study.told.items()]
    if study.arms:
        text += [
            "",
            "Each change alone, one run on an eighth of the lattice:",
            "",
            "| changed | what | changed | unchanged | must |",
            "|---|---|---|---|---|",
        ]
        text += [
            f"| {_settings(arm.doses)} | {arm.says} {'at the end' if arm.hour is None else f'at {arm.hour:g} h'} "
            f"| {told(arm.name, arm.observable, arm.hour)} | {told(UNTREATED, arm.observable, arm.hour)} "
            f"| {'rise' if arm.rises else 'fall'} |"
            for arm in study.arms
        ]
    if study.changes and "vesicles" in lines:
        text += [
            "",
            "In the course of the run with vesicles:",
            "",
            "| what | between | ratio of the second to the first | must be |",
            "|---|---|---|---|",
        ]
        text += [
            f"| {c.says} | {c.from_h:g} h and {c.to_h:g} h | {c.ratio(lines['vesicles']):.4g} "
            f"| {f'at most {c.most:g}' if np.isfinite(c.most) else f'at least {c.least:g}'} |"
            for c in study.changes
        ]
    if "vesicles" in lines:
        text += [""] + [f"![{study.name}, {kind}](figures/studies/{study.name}_{kind}.png)" for kind in SHOWN]
    return text


def _settings(overrides: tuple[str, ...]) -> str:
    return ", ".join(f"`--set {override}`" for override in overrides)


def main() -> None:
    """Measure, keep the results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=[study.name for study in STUDIES])
    parser.add_argument("--run", action="append", metavar="RUN", help="only this run, e.g. control")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page from what is kept")
    options = parser.parse_args()
    for study in STUDIES:
        if options.page or study.name not in (options.only or [study.name]):
            continue
        for run, overrides in study.runs.items():
            if run in (options.run or [run]):
                line = measured(study, run, overrides)
                with alone(RESULTS.parent):
                    keep(line)
                print(json.dumps(line), flush=True)
    with alone(RESULTS.parent):
        lines = read_lines()
        write_text(PAGE, page(lines))
    found = [{line["run"]: line for line in lines if line["study"] == study.name} for study in STUDIES]
    raise SystemExit("FAIL" in [verdict(study, runs) for study, runs in zip(STUDIES, found, strict=True)])


if __name__ == "__main__":
    main()
