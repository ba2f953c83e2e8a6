"""What simulations may stand for."""

from types import SimpleNamespace

import numpy as np
import pytest

from exodiff.config.fit import read_noise
from exodiff.core.errors import ConfigError
from exodiff.inference.calibration import Pattern
from exodiff.inference.data import Data, checked
from exodiff.inference.design import Design
from exodiff.inference.objective import Part


@pytest.mark.parametrize(("limit", "value", "is_refused"), [(None, 0.0, True), (0.1, 0.0, False), (None, 2.0, False)])
def test_a_simulated_nothing_has_no_logarithm(limit, value, is_refused):
    """Taken for a tiny number, one such simulation would widen the interval beyond all use."""
    noise = read_noise({"lognormal": {"sigma": 0.2, **({} if limit is None else {"detection_limit": limit})}})
    data = checked(Data("n", [1.0], [3.0], noise, name="plasma.csv"), 0, 1.0)
    part = Part(data, np.ones((1, 1)), np.asarray(0.2), np.ones((1, 1, 1)), np.zeros(1))
    objective = SimpleNamespace(predictor=SimpleNamespace(design=Design((1.0,), (("n", 0, 1),))))
    simulated = np.array([[[3.0]], [[value]]])
    pattern = Pattern(1, [part], [])
    if is_refused:
        with pytest.raises(ConfigError, match=r"plasma\.csv: simulations at the estimate give 0.*a detection_limit"):
            pattern.draw(simulated, objective, np.random.default_rng(0))
    else:
        assert pattern.draw(simulated, objective, np.random.default_rng(0))[0].shape == (2, 1, 1)
