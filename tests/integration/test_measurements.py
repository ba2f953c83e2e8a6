"""Size histograms and assays of whole models: the file, both ways to simulate, the tables and the figures."""

import copy

import numpy as np
import pandas as pd
import pytest

import exodiff as ex

MODEL = {
    "schema": 1,
    "run": {"duration": "2 min", "observe_every": "1 min", "replicates": 2, "seed": 9, "time_step": "1 min"},
    "lattice": {"shape": [4, 4], "spacing": "20 um", "fluid_fraction": 0.2},
    "exosomes": {
        "tEV": {
            "diameter": {"median": "95 nm", "gsd": 1.35, "min": "30 nm", "max": "150 nm", "bins": 2},
            "initial": {"density": "1e11 /mL"},
            "decay": "1 /h",
        }
    },
    "regions": {"left": {"layer": {"axis": "x", "from": "0 um", "to": "40 um"}}},
    "observables": {
        "number": {"value": "total(tEV)"},
        "tracked": {
            "size_histogram": {
                "of": "total(tEV, left)",
                "sample": 500,
                "track_steps": 30,
                "bin": "10 nm",
                "smallest": "60 nm",
            }
        },
        "biopsy": {
            "assay": {
                "of": "total(tEV)",
                "sample": "500 um^3",
                "yield": 0.5,
                "background": "1e11 /mL",
                "false_positive": 0.1,
                "detection_limit": 3,
            }
        },
    },
}
MODEL["observables"]["second"] = MODEL["observables"]["biopsy"]
TIMES = [0.0, 60.0, 120.0]
REPLICATES = 400


@pytest.fixture(scope="module")
def model():
    return ex.Model.from_dict(MODEL)


@pytest.fixture(scope="module")
def trajectory(model):
    return ex.simulate(model, TIMES, seed=9, replicates=REPLICATES)


def test_run_records_what_simulate_returns(model, trajectory, tmp_path):
    ex.run(model, tmp_path / "run")
    table = pd.read_csv(tmp_path / "run/observables.csv").pivot(index="replicate", columns="time_s", values="biopsy")
    np.testing.assert_array_equal(table.to_numpy(), trajectory.observables["biopsy"][:2])
    profiles = pd.read_csv(tmp_path / "run/profiles.csv")
    last = profiles[(profiles.time_s == 120) & (profiles.replicate == 1)]
    np.testing.assert_array_equal(last.value, trajectory.observables["tracked"][1, 2])
    assert last.bin_high.iloc[0] == pytest.approx(0.01)
    assert last.bin_high.iloc[-1] == np.inf
    assert (tmp_path / "run/figures/profiles.png").stat().st_size > 5000


def test_measuring_changes_no_trajectory(trajectory):
    raw = copy.deepcopy(MODEL)
    raw["observables"] = {"number": {"value": "total(tEV)"}}
    bare = ex.simulate(ex.Model.from_dict(raw), TIMES, seed=9, replicates=2)
    np.testing.assert_array_equal(bare.counts, trajectory.counts[:2])


def noise(trajectory, name):
    """Counts of an assay less their mean, in units of the standard deviation: (replicates, times)."""
    number = np.asarray(trajectory.observables["number"], float)
    # 500 um^3 of a fluid of 16 voxels x 1600 um^3
    mean = 0.5 * 500 * number / (16 * 1600) + 0.1 * 500 * 0.1
    return (np.asarray(trajectory.observables[name], float) - mean) / np.sqrt(mean)


def test_assay_counts_yield_of_the_sample_and_false_positives(trajectory):
    found = noise(trajectory, "biopsy")[:, 0]
    assert abs(np.mean(found)) < 4.5 / np.sqrt(REPLICATES)
    assert abs(np.var(found) - 1) < 4.5 * np.sqrt(2 / REPLICATES)


def test_each_name_replicate_and_time_has_noise_of_its_own(trajectory):
    rows = np.concatenate([noise(trajectory, name).T for name in ("biopsy", "second")])
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.all(np.abs(correlations) < 4.5 / np.sqrt(REPLICATES))


def test_mean_field_gives_the_means(model):
    found = ex.simulate(model, [0.0], engine="mean_field").observables
    assert float(found["biopsy"][0, 0]) == pytest.approx(0.5 * 500 * 0.1 + 5, rel=1e-4)
    assert float(found["tracked"][0, 0].sum()) == pytest.approx(500, rel=0.05)


def test_an_assay_of_a_region_divides_by_the_fluid_of_that_region():
    raw = copy.deepcopy(MODEL)
    raw["observables"] |= {
        "of_left": {"assay": {"of": "total(tEV, left)", "sample": "500 um^3"}},
        "of_all": {"assay": {"of": "total(tEV)", "sample": "500 um^3"}},
    }
    found = ex.simulate(ex.Model.from_dict(raw), [0.0], engine="mean_field").observables
    # 0.1 vesicles a um^3 everywhere
    assert float(found["of_left"][0, 0]) == pytest.approx(50, rel=1e-5)
    assert float(found["of_all"][0, 0]) == pytest.approx(50, rel=1e-5)


def test_exact_measures_too(model):
    found = ex.simulate(model, TIMES, engine="exact", replicates=2).observables
    assert np.all(np.asarray(found["tracked"]).sum(-1) > 400)
    assert np.all(np.asarray(found["biopsy"]) >= 3)


def test_numbers_of_an_assay_are_parameters(model):
    keys = {name for name in model.parameters if name.startswith("observables.")}
    numbers = ("sample", "yield", "background", "false_positive", "detection_limit")
    assert keys == {f"observables.{name}.assay.{key}" for name in ("biopsy", "second") for key in numbers}


@pytest.mark.parametrize(
    ("observable", "key", "value", "message"),
    [
        ("tracked", "of", "total(nothing)", r"tracked.size_histogram.of: .*write e.g. 'total\(tEV\)'"),
        ("tracked", "of", "total(tEV, rim)", "tracked.size_histogram.of: 'rim' is not defined"),
        ("tracked", "sample", "1 mL", "tracked.size_histogram.sample"),
        ("tracked", "bin", "1 fm", "tracked.size_histogram.bin: .* raise it"),
        ("biopsy", "of", "total(tEV) / sample_time", "biopsy.assay.of: 'sample_time' is not defined"),
        ("biopsy", "of", "mean(tEV)", r"biopsy.assay.of: 'mean\(tEV\)' is the number in a voxel; write 'total"),
        ("biopsy", "of", "total(tEV) + total(tEV, left)", "biopsy.assay.of: .* counts in several places"),
        ("biopsy", "sample", "5 s", "biopsy.assay.sample: 5 s has dimension s, but um\\^3"),
        ("biopsy", "yield", 1.5, "biopsy.assay.yield: '1.5' is 1.5 here, but it is a share; give 0 to 1"),
        ("biopsy", "background", "1 /s", "biopsy.assay.background: .* has dimension 1/s, but 1/um\\^3 is needed"),
        ("biopsy", "detection_limit", -1, "biopsy.assay.detection_limit: -1 is negative"),
        ("biopsy", "yeild", 1, "unknown key 'yeild'; did you mean 'yield'"),
    ],
)
def test_wrong_values_are_named(observable, key, value, message):
    raw = copy.deepcopy(MODEL)
    (table,) = raw["observables"][observable].values()
    table[key] = value
    with pytest.raises(ex.ConfigError, match=message):
        ex.Model.from_dict(raw)
