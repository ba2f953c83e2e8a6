"""What interventions do to amounts in compartments: boluses, infusions, conditions on them."""

import numpy as np
import pytest

import exodiff as ex
from tests.physics.models import make_model


def plasma(engine="leap", **tables):
    return make_model(
        [1],
        run={"engine": engine, "duration": "1000 s"},
        compartments={"plasma": {"volume": "1 uL"}},
        species={"EV": {}, "drug": {}},
        **tables,
    )


def test_an_infusion_flows_from_one_time_to_another():
    """Poisson numbers of mean rate times time between 95 s and 400 s, none before and after."""
    model = plasma(interventions=[{"from": "95 s", "to": "400 s", "infuse": {"plasma": {"EV": "1e7 /h"}}}])
    replicates = 400
    found = ex.simulate(model, [95.0, 200.0, 400.0, 1000.0], replicates=replicates)["plasma.EV"]
    assert np.all(found[:, 0] == 0)
    assert np.all(found[:, 3] == found[:, 2])
    for row, seconds in ((1, 105.0), (2, 305.0)):
        mean = 1e7 / 3600.0 * seconds
        assert abs(found[:, row].mean() - mean) < 4.0 * np.sqrt(mean / replicates)
        assert found[:, row].var() / mean == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / replicates))
    mean = ex.simulate(model, [200.0, 400.0], engine="mean_field")["plasma.EV"][0]
    np.testing.assert_allclose(mean, [1e7 / 3600.0 * 105.0, 1e7 / 3600.0 * 305.0], rtol=1e-5)


def test_a_bolus_is_exact_and_a_concentration_fills_the_compartment():
    model = plasma(
        interventions=[
            {"name": "dose", "at": "10 s", "add": {"plasma.EV": 1e10, "plasma.drug": "2e9 /mL"}},
            {"at": "20 s", "add": {"plasma.EV": -3}},
            {"at": "30 s", "set": {"plasma.drug": 7}},
            {"when": "plasma.drug == 7", "set": {"plasma.EV": "plasma.EV - 1e6 * plasma.drug"}},
            {"at": "50 s", "add": {"plasma.drug": -9}},
        ],
        reactions=[{"equation": "plasma.drug -> plasma.EV", "rate": "1e-30 /s"}],
    )
    found = ex.simulate(model, [0.0, 10.0, 20.0, 50.0])
    assert found["plasma.EV"][0].tolist()[:3] == [0, 10**10, 10**10 - 3]
    # read as float32, the amount is a multiple of 1024
    assert abs(found["plasma.EV"][0, 3] - (10**10 - 7_000_000)) <= 1024
    assert found["plasma.drug"][0].tolist() == [0, 2_000_000, 2_000_000, 0]
    assert model.parameters["interventions.dose.add.plasma.EV"] == 1e10


@pytest.mark.parametrize(
    ("intervention", "says"),
    [
        ({"from": 0, "infuse": {"EV": "1 /h"}}, "an infusion goes into a compartment"),
        ({"from": 0, "infuse": {"plasma.EV": "1 uM/h"}}, "1/s is needed"),
        ({"at": 0, "infuse": {"plasma.EV": "1 /h"}}, "give from and to"),
        ({"from": 0, "every": 5, "infuse": {"plasma.EV": "1 /h"}}, "nothing else beside it"),
        ({"at": 0, "add": {"plasma.EV": 1e19}}, "too many"),
        ({"at": 0, "add": {"plasma.EV": "EV"}}, "write total"),
        ({"at": 0, "add": {"blood.EV": 1}}, "no compartment or population 'blood'"),
    ],
)
def test_what_cannot_be_given_is_refused(intervention, says):
    with pytest.raises(ex.ConfigError, match=says):
        plasma(interventions=[intervention])
