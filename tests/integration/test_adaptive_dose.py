"""Doses that a condition calls (configs/mechanisms/adaptive_dose.toml)."""

from pathlib import Path

import numpy as np
import pytest

import exodiff as ex

CONFIG = Path(__file__).parents[2] / "configs" / "mechanisms" / "adaptive_dose.toml"


@pytest.mark.slow
def test_a_signal_that_passes_the_threshold_calls_a_dose_and_falls():
    model = ex.load(CONFIG)
    times = np.arange(0.0, 48.5, 0.5) * 3600.0
    treated, control = (
        ex.simulate(model, times, parameters=changed, seed=1).observables for changed in (None, {"dose": 0.0})
    )
    doses = np.asarray(treated["doses"])[0]
    assert doses[-1] >= 3
    assert np.all(np.isin(np.diff(doses), (0, 1)))
    # each brings 15 uM, and in between the drug falls by exp(-0.1) an hour; the noise of its clearance is far below
    drug = np.asarray(treated["drug"])[0]
    given = np.diff(doses) > 0
    assert np.all(np.diff(drug)[given] > 10.0)
    assert np.allclose(drug[1:][~given], drug[:-1][~given] * np.exp(-0.05), rtol=0.01, atol=0.02)
    # the signal lags behind the drug by hours; once it is under control it stays there, and without drug it does not
    high, signal, free = model.parameters["high"], *(np.asarray(f["plasma_vesicles"])[0] for f in (treated, control))
    assert signal[-48:].max() < 1.1 * high < free[-48:].min()
    assert np.asarray(control["doses"])[0, -1] == 1
