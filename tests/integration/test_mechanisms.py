"""The table of mechanisms: complete, well formed, and a share of its rows measured; the rest under `slow`."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bench import mechanisms
from bench.mechanism_rows.matrix import apart
from bench.mechanism_rows.row import CONFIGS, Finding, equals, measure
from bench.rows import alone
from exodiff.config import load as config_load

ROWS = {row.id: row for _, section in mechanisms.SECTIONS for row in section}
MEASURED = [row.id for row in ROWS.values() if row.check is not None]


def test_every_mechanism_of_the_seeds_has_a_row():
    assert {f"M{number:02d}" for number in range(1, 47)} <= ROWS.keys()
    assert sum(len(section) for _, section in mechanisms.SECTIONS) == len(ROWS)


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.id)
def test_a_row_is_measured_or_says_what_it_waits_for(row):
    assert row.waits or row.check is not None
    assert (row.check is None) == (not row.config)
    if row.check is not None:
        text = (CONFIGS / row.config).read_text(encoding="utf-8")
        assert row.id.rstrip("bc") in text[: text.index("schema = 1")]
        assert row.arms
        controls = re.findall(r"`([^`]+)`", row.control)
        assert controls
        for control in controls:
            config_load.load(CONFIGS / row.config, [control])
        effect, without = (config_load.load(CONFIGS / row.config, changes) for changes in row.overrides())
        assert effect != without


def test_findings_fail_where_they_should():
    values = np.array([1.0, 1.2, 0.8, 1.1, 0.9])
    assert equals("", values, 1.0).passes
    assert not equals("", values, 1.5).passes
    assert equals("", values, 1.5, within=0.6).passes
    assert Finding("", 1.0, 0.1, 0.5, ">").passes
    assert not Finding("", 1.0, 0.1, 0.7, ">").passes
    assert not Finding("", 1.0, 0.1, 0.5, "<").passes


def test_vessels_that_float_free_are_seen():
    vessels = np.zeros((2, 2, 4, 4), bool)
    vessels[:, :, 0] = True
    vessels[0, 1, 1:3, 1] = True
    vessels[1, 1, 2, 2] = True  # touches nothing
    vessels[1, 1, 1, 0] = True
    assert apart(vessels).tolist() == [0, 1]


def test_measurements_that_end_together_lose_no_line(tmp_path, monkeypatch):
    read_at_once = mechanisms.read_lines

    def read_slowly():
        lines = read_at_once()
        time.sleep(0.02)
        return lines

    def keep(name):
        with alone(tmp_path):
            mechanisms.keep([{"id": name}])

    monkeypatch.setattr(mechanisms, "RESULTS", tmp_path / "mechanisms.jsonl")
    monkeypatch.setattr(mechanisms, "read_lines", read_slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, ["M03", "M01", "M04", "M02"]))
    assert [line["id"] for line in read_at_once()] == ["M01", "M02", "M03", "M04"]


def test_the_page_and_its_figures_are_those_of_the_results():
    """``python -m bench.mechanisms --page`` writes both anew."""
    lines = mechanisms.read_lines()
    assert mechanisms.PAGE.read_text(encoding="utf-8") == mechanisms.page(lines)
    figures = {path.stem: path.stat().st_size for path in mechanisms.FIGURES.iterdir()}
    assert figures.keys() == {line["id"] for line in lines}
    assert max(figures.values()) < 40_000


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in mechanisms.QUICK else pytest.mark.slow) for name in MEASURED]
)
def test_mechanism(name):
    assert not [str(finding) for finding in measure(ROWS[name]) if not finding.passes]
