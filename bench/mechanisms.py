"""Measure every mechanism of the seed documents and write docs/mechanisms.md.

python -m bench.mechanisms [--only M15] [--quick] [--out docs/mechanisms.md]

Each row is data (``bench/mechanism_rows/``): a model file, a control, and checks with standard errors.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax

from bench.mechanism_rows.biogenesis import ROWS as BIOGENESIS
from bench.mechanism_rows.diagnostics import ROWS as DIAGNOSTICS
from bench.mechanism_rows.immune import ROWS as IMMUNE
from bench.mechanism_rows.matrix import ROWS as MATRIX
from bench.mechanism_rows.organs import ROWS as ORGANS
from bench.mechanism_rows.resistance import ROWS as RESISTANCE
from bench.mechanism_rows.row import Finding, Row, measure
from bench.mechanism_rows.stroma import ROWS as STROMA
from bench.mechanism_rows.therapy import ROWS as THERAPY
from bench.rows import commit

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
QUICK = ("M12", "M34", "M43")
RESULTS = Path("bench/results/mechanisms.jsonl")
_OUTSIDE = (
    "Not simulable: cost, regulation and ethics of therapies (S3:L147). Out of scope: other diseases (S3:L34). A proxy",
    "of cost is the number of engineered vesicles that a cure takes.",
    "",
    "Weak points of the seed documents: they give no numbers but 30 to 150 nm; reference 9 of S3 is a data deposit;",
    "that HSP70 reduces antigen presentation, that glypican-1 marks pancreatic cancer and that miR-21 is an early",
    "marker is told as settled, but contested.",
)


class Result(NamedTuple):
    """What a row showed."""

    row: Row
    findings: list[Finding]
    seconds: float

    @property
    def verdict(self) -> str:
        """In one word, or what it waits for."""
        if self.row.check is None:
            return f"waits for {self.row.waits}"
        return "pass" if all(finding.passes for finding in self.findings) else "FAIL"


def run(chosen: list[Row]) -> list[Result]:
    """Measure rows; what waits is passed through."""
    results = []
    for row in chosen:
        began = time.perf_counter()
        findings = measure(row) if row.check is not None else []
        results.append(Result(row, findings, time.perf_counter() - began))
        print(f"{row.id} {results[-1].verdict} ({results[-1].seconds:.1f} s)", *findings, sep="\n  ", flush=True)
    return results


def page(results: list[Result], measured: str) -> str:
    """The text of docs/mechanisms.md."""
    found = {result.row.id: result for result in results}
    verdicts = [result.verdict for result in results]
    waiting = sum(verdict.startswith("waits") for verdict in verdicts)
    where = f"commit {measured}, {time.strftime('%Y-%m-%d')}, {jax.devices()[0].platform}"
    told = f"{verdicts.count('pass')} pass, {verdicts.count('FAIL')} fail, {waiting} wait for what is not there yet"
    lines = [
        "# Mechanisms",
        "",
        f"Written by `python -m bench.mechanisms`: {where}. Of {len(results)} rows for the 46 mechanisms that the seed",
        f"documents name (S0 and S3, by line) {told}.",
        "",
        "Each check compares runs of a model file in `configs/mechanisms/` with its control, or with a formula. `=` is",
        "met within 4 standard errors over replicates (or a given tolerance), `>` and `<` by more than 4. What a row",
        "shows is that the mechanism closes with the sign and law that are claimed, with numbers that are partly",
        "assumed: each is marked in its file. Repeat one with `python -m bench.mechanisms --only M15`, see it with",
        "`exodiff run configs/mechanisms/FILE`.",
        "",
    ]
    for title, rows in SECTIONS:
        lines += [f"## {title}", ""]
        for row in rows:
            if row.id in found:
                lines += _entry(found[row.id])
    return "\n".join([*lines, "## Outside", "", *_OUTSIDE, ""])


def _entry(result: Result) -> list[str]:
    row = result.row
    lines = [f"### {row.id} {row.name}: {result.verdict}", "", f'- {row.seed} says: "{row.says}".', f"- {row.accept}"]
    if row.config:
        control = f"; control: {row.control}" if row.control else ""
        lines.append(f"- Model: `configs/mechanisms/{row.config}`{control}.")
    lines += [f"- {'' if finding.passes else '**FAILS** '}{finding}." for finding in result.findings]
    if row.check is not None and row.waits:
        lines.append(f"- The rest waits for {row.waits}.")
    if row.contested:
        lines.append(f"- Assumed or contested: {row.contested}")
    return [*lines, ""]


def write_results(results: list[Result], measured: str) -> None:
    """JSON lines, one a finding."""
    device = jax.devices()[0]
    where = {"device": f"{device.platform} {device.device_kind}", "jax": jax.__version__, "commit": measured}
    rows = [
        {
            "name": "mechanisms",
            "id": result.row.id,
            "what": finding.what,
            "value": float(f"{finding.value:.5g}"),
            "standard_error": float(f"{finding.standard_error:.3g}"),
            "sense": finding.sense,
            "wanted": float(f"{finding.wanted:.5g}"),
            "passes": finding.passes,
            **where,
        }
        for result in results
        for finding in result.findings
    ]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Measure; with all rows, write the page and the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="these rows; writes nothing")
    parser.add_argument("--quick", action="store_true", help="the rows that the tests run; writes nothing")
    parser.add_argument("--out", type=Path, default=Path("docs/mechanisms.md"))
    options = parser.parse_args()
    rows = [row for _, section in SECTIONS for row in section]
    wanted = [*options.only, *(QUICK if options.quick else ())]
    unknown = set(wanted) - {row.id for row in rows}
    if unknown:
        parser.error(f"{min(unknown)} is no row; there are {', '.join(row.id for row in rows)}")
    measured = commit()  # before this writes into the tree
    results = run([row for row in rows if not wanted or row.id in wanted])
    if not wanted:
        options.out.write_text(page(results, measured), encoding="utf-8")
        write_results(results, measured)
    if any(result.verdict == "FAIL" for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
