"""Measure the mechanisms of the seed documents and write docs/mechanisms.md.

python -m bench.mechanisms [--only M15] [--quick] [--page]

Each row is data (``bench/mechanism_rows/``): a model file, a control, and checks with standard errors. What is measured
replaces the same rows in bench/results/mechanisms.jsonl, and the page is written from all of that file.
"""

import argparse
import json
import time
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import jax
from matplotlib import rc_context
from PIL import Image

from bench.mechanism_figures import figure
from bench.mechanism_rows.biogenesis import ROWS as BIOGENESIS
from bench.mechanism_rows.diagnostics import ROWS as DIAGNOSTICS
from bench.mechanism_rows.immune import ROWS as IMMUNE
from bench.mechanism_rows.matrix import ROWS as MATRIX
from bench.mechanism_rows.organs import ROWS as ORGANS
from bench.mechanism_rows.resistance import ROWS as RESISTANCE
from bench.mechanism_rows.row import CONFIGS, Row, measure
from bench.mechanism_rows.stroma import ROWS as STROMA
from bench.mechanism_rows.therapy import ROWS as THERAPY
from bench.rows import alone, commit
from exodiff.io.atomic import write_text
from exodiff.viz.style import RC

SECTIONS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    ("Biogenesis, cargo, release, uptake", BIOGENESIS),
    ("Signalling, growth, stroma", STROMA),
    ("Immune cells", IMMUNE),
    ("Angiogenesis and matrix", MATRIX),
    ("Distant organs", ORGANS),
    ("Resistance", RESISTANCE),
    ("Therapy", THERAPY),
    ("Diagnostics", DIAGNOSTICS),
)
_COLOURS = 64  # of a figure: a third of the bytes
QUICK = ("M34", "M43")
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "mechanisms.jsonl"
PAGE = ROOT / "docs" / "mechanisms.md"
FIGURES = ROOT / "docs" / "figures" / "mechanisms"
TEST = "tests/integration/test_mechanisms.py::test_mechanism"
FIGURE_DPI = 120
_OUTSIDE = (
    "Not simulable: cost, regulation and ethics of therapies (S3:L147). Out of scope: other diseases (S3:L34). A proxy",
    "of cost is the number of engineered vesicles that a cure takes.",
    "",
    "Weak points of the seed documents: they give no numbers but 30 to 150 nm; reference 9 of S3 is a data deposit;",
    "that HSP70 reduces antigen presentation, that glypican-1 marks pancreatic cancer and that miR-21 is an early",
    "marker is told as settled, but contested.",
)


_HOW_TO_READ = (
    "Each check compares runs of a model file in `configs/mechanisms/` with its control, or with a formula. `=` is met",
    "within 4 standard errors over replicates (or a tolerance that the acceptance gives), `>` and `<` by more than 4.",
    "What a row shows is that the mechanism closes, with the sign and the law that are claimed; many numbers are",
    "assumed, and marked so in the file. Repeat one with `python -m bench.mechanisms --only M15`, or see it by the",
    "commands under it: one run, one of its control, and both in one figure. The tests of",
    f"{', '.join(QUICK)} run always, the others with `-m slow`.",
    "",
    "In the figures a dot with bars of 4 standard errors is what was measured, the dashed line what is wanted; grey is",
    "where a `>` or `<` would fail, green a tolerance that the acceptance gives. Without an effect, a difference",
    "from the control would be 0.",
)
Line = dict[str, Any]  # one finding as JSON


def measured_lines(row: Row) -> list[Line]:
    """Measure a row: a line for each finding."""
    device = jax.devices()[0]
    at = commit()
    began = time.perf_counter()
    findings = measure(row)
    seconds = time.perf_counter() - began
    return [
        {
            "name": "mechanisms",
            "id": row.id,
            "what": finding.what,
            "value": float(f"{finding.value:.4g}"),
            "standard_error": float(f"{finding.standard_error:.2g}"),
            "sense": finding.sense,
            "wanted": float(f"{finding.wanted:.4g}"),
            "within": float(f"{finding.within:.4g}"),
            "passes": finding.passes,
            "seconds": round(seconds, 1),
            "device": f"{device.platform} {device.device_kind}",
            "jax": jax.__version__,
            "commit": at,
        }
        for finding in findings
    ]


def read_lines() -> list[Line]:
    """What was measured before."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []


def keep(lines: list[Line]) -> None:
    """Replace the rows that were measured, in the order of the table; to be called `alone`."""
    new = {line["id"] for line in lines}
    order = [row.id for _, rows in SECTIONS for row in rows]
    kept = [line for line in read_lines() if line["id"] not in new and line["id"] in order]
    kept = sorted([*kept, *lines], key=lambda line: order.index(line["id"]))
    write_text(RESULTS, "".join(json.dumps(line) + "\n" for line in kept))


def verdict(row: Row, lines: list[Line]) -> str:
    """In a word, or what the row waits for."""
    if row.check is None:
        return f"waits for {row.waits}"
    if not lines:
        return "not measured yet"
    return "pass" if all(line["passes"] for line in lines) else "FAIL"


def page(lines: list[Line]) -> str:
    """The text of docs/mechanisms.md."""
    found = {row.id: [line for line in lines if line["id"] == row.id] for _, rows in SECTIONS for row in rows}
    verdicts = [verdict(row, found[row.id]) for _, rows in SECTIONS for row in rows]
    passed, failed, waiting, missing = (
        sum(told.startswith(kind) for told in verdicts) for kind in ("pass", "FAIL", "waits", "not")
    )
    text = [
        "# Mechanisms",
        "",
        "Written by `python -m bench.mechanisms`; `bench/results/mechanisms.jsonl` has each number with its commit. Of",
        f"{len(verdicts)} rows for the 46 mechanisms that the seed documents name (S0 and S3, by line) {passed} pass,",
        f"{failed} fail, {waiting} wait for what they name, {missing} are not measured yet.",
        "",
        *_HOW_TO_READ,
        "",
        "| row | mechanism | model | first of what was measured | findings | verdict |",
        "|---|---|---|---|---|---|",
        *(_overview(row, found[row.id]) for _, rows in SECTIONS for row in rows),
        "",
    ]
    for title, rows in SECTIONS:
        text += [f"## {title}", ""]
        for row in rows:
            text += _entry(row, found[row.id])
    return "\n".join([*text, "## Outside", "", *_OUTSIDE, ""])


def _overview(row: Row, lines: list[Line]) -> str:
    first = _told(lines[0]) if lines else "-"
    return f"| {row.id} | {row.name} | {row.config} | {first} | {len(lines)} | {verdict(row, lines)} |"


def _told(line: Line) -> str:
    return f"{line['what']}: {line['value']:.4g} ± {line['standard_error']:.2g} ({line['sense']} {line['wanted']:.4g})"


def _entry(row: Row, lines: list[Line]) -> list[str]:
    text = [f"### {row.id} {row.name}: {verdict(row, lines)}", "", f'- {row.seed}: "{row.says}". {row.accept}']
    if row.config:
        engine = tomllib.loads((CONFIGS / row.config).read_text(encoding="utf-8"))["run"].get("engine", "leap")
        text += [
            f"- Model: [{row.config}](../configs/mechanisms/{row.config}), engine `{engine}`; control: {row.control}.",
            f"- Test: `{TEST}[{row.id}]`.",
        ]
        text += _commands(row)
    for line in lines:
        text.append(f"- {'' if line['passes'] else '**FAILS** '}{_told(line)}.")
    if row.check is not None and row.waits:
        text.append(f"- The rest waits for {row.waits}.")
    if row.contested:
        text.append(f"- Assumed or contested: {row.contested}")
    if lines:
        text += ["", f"![{row.id}: what was measured beside what is wanted](figures/mechanisms/{row.id}.png)"]
    return [*text, ""]


def _commands(row: Row) -> list[str]:
    """What a user types to see the row: a run, its first control, and both in one figure."""
    runs = f"runs/{row.id}"
    lines = [
        " ".join(
            [f"exodiff run configs/mechanisms/{row.config} --out {runs}/{name}", *(f"--set '{c}'" for c in changes)]
        )
        for name, changes in zip(("effect", "control"), row.overrides(), strict=True)
    ]
    return ["", "```", *lines, f"exodiff plot {runs}/effect {runs}/control", "```", ""]


def draw(lines: list[Line]) -> None:
    """A figure for each row that was measured."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(line["id"] for line in lines):
        with rc_context(RC):
            made = figure([line for line in lines if line["id"] == name])
            drawn = BytesIO()
            made.savefig(drawn, dpi=FIGURE_DPI)
            Image.open(drawn).convert("RGB").quantize(_COLOURS).save(FIGURES / f"{name}.png", optimize=True)


def main() -> None:
    """Measure, keep the results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="measure these rows")
    parser.add_argument("--quick", action="store_true", help="measure the rows that the tests run")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page from what is kept")
    options = parser.parse_args()
    rows = {row.id: row for _, section in SECTIONS for row in section}
    chosen = [*options.only, *(QUICK if options.quick else ())] or list(rows)
    unknown = set(chosen) - set(rows)
    if unknown:
        parser.error(f"{min(unknown)} is no row; there are {', '.join(rows)}")
    passed = True
    for row in (rows[name] for name in chosen if not options.page):
        lines = measured_lines(row) if row.check is not None else []
        with alone(RESULTS.parent):
            keep(lines)
        passed &= all(line["passes"] for line in lines)
        print(row.id, verdict(row, lines), *(json.dumps(line) for line in lines), sep="\n  ", flush=True)
    with alone(RESULTS.parent):
        lines = read_lines()
        write_text(PAGE, page(lines))
    draw([line for line in lines if options.page or line["id"] in chosen])
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
