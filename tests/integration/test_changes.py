"""The changes of docs/changes.md apply to their file and do what the page says."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import exodiff as ex
from exodiff.audit import Audit, DoseAudit
from exodiff.check import check_model

ROOT = Path(__file__).parents[2]
BASE = ROOT / "configs" / "mechanisms" / "caf_conversion.toml"
PAGE = (ROOT / "docs" / "changes.md").read_text(encoding="utf-8")
CARGO, RECEIVER, DOSE, DRUG = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def changed(diff: str) -> ex.Model:
    """The model after a change; each of its parts is found once in the file."""
    text = BASE.read_text(encoding="utf-8")
    for part in diff.split("@@\n"):
        lines = part.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        assert text.count(before) == 1, before
        text = text.replace(before, "".join(line[1:] for line in lines if line[0] != "-"))
    return ex.Model.from_dict(tomllib.loads(text))


def expected(model: ex.Model) -> Audit:
    found = check_model(model).audit
    assert found is not None
    return found


def dose(found: Audit, cargo: str, cell: str) -> DoseAudit:
    (one,) = (dose for dose in found.doses if (dose.cargo, dose.cell) == (cargo, cell))
    return one


def test_a_new_cargo_is_delivered_with_the_old_one_and_read_by_its_law():
    found = expected(changed(CARGO))
    growth, old = (dose(found, cargo, "fibroblast") for cargo in ("FGF", "TGFb"))
    assert growth.copies_per_day == pytest.approx(old.copies_per_day)
    assert growth.steady == pytest.approx(old.steady / 3)
    assert growth.laws == ("K 20 of hill in division",)


def test_a_new_receiver_takes_by_its_weight_from_the_others():
    found = expected(changed(RECEIVER))
    macrophage, fibroblast = (dose(found, "TGFb", cell) for cell in ("macrophage", "fibroblast"))
    assert macrophage.copies_per_day == pytest.approx(5 * fibroblast.copies_per_day)
    assert fibroblast.copies_per_day < 0.9 * dose(expected(ex.load(BASE)), "TGFb", "fibroblast").copies_per_day


def test_a_dose_is_given_to_every_voxel():
    model = changed(DOSE)
    given = np.asarray(ex.simulate(model, [0.0], seed=1)["tEV"])[0, 0]
    assert set(np.unique(given)) == {1, 2}
    # 1.6 in each of 4096 voxels, rounded at random: standard error sqrt(0.24 / 4096), four of them
    assert abs(given.mean() - 1.6) < 4 * np.sqrt(0.24 / given.size)
    assert model.parameters["interventions.treatment.add.tEV"] == pytest.approx(1e-3)


def test_a_drug_slows_the_forming_of_bodies():
    model = changed(DRUG)
    assert [(i.name, i.when) for i in check_model(model).interventions] == [("treatment", "at 12 h")]
    slow = check_model(changed(DRUG.replace('"0 uM"', '"10 uM"')))
    per_hour = [
        3600 * found.rate_now[1]
        for report in (check_model(model), slow)
        for found in report.reactions
        if found.name == "tEV.ceramide.tumour"
    ]
    assert per_hour == pytest.approx([3.0, 3.0 / (1 + 10 / 3)], rel=1e-6)
