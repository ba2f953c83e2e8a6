"""Vesicles go to the organ that their integrins name (configs/mechanisms/organotropism.toml)."""

from pathlib import Path

import pytest

import exodiff as ex

CONFIG = Path(__file__).parents[2] / "configs" / "mechanisms" / "organotropism.toml"
SWAPPED = ['exosomes.EVa.tags=["avb5"]', 'exosomes.EVb.tags=["a6b4"]']


@pytest.mark.parametrize(("overrides", "to_lung", "to_liver"), [([], "EVa", "EVb"), (SWAPPED, "EVb", "EVa")])
def test_each_organ_takes_the_vesicles_with_its_integrin(overrides, to_lung, to_liver):
    found = ex.simulate(ex.load(CONFIG, overrides), [7200.0], engine="mean_field").observables
    uptake = {name: float(values[0, 0]) for name, values in found.items()}
    assert uptake[f"{to_lung}_lung"] > 3.0 * uptake[f"{to_liver}_lung"] > 0.0
    assert uptake[f"{to_liver}_liver"] > 3.0 * uptake[f"{to_lung}_liver"] > 0.0
