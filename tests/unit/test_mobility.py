"""Diffusivities of vesicles: tables of published laws to their printed digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exodiff.core.mobility import hindrance, stokes_einstein

MPA_S = 1e-9  # kg/(um s)
DIAMETERS_NM = (30, 50, 80, 100, 120, 150)
# um^2/s at 37 C in water (0.691 mPa s), interstitial fluid (1.0) and plasma (1.2)
FREE = {
    0.691: ("21.9", "13.1", "8.2", "6.57", "5.48", "4.38"),
    1.0: ("15.1", "9.1", "5.7", "4.54", "3.79", "3.03"),
    1.2: ("12.6", "7.6", "4.7", "3.79", "3.16", "2.52"),
}
# fibre fraction, fibre radius in nm: S F at 30, 50, 100, 150 nm, and D at 100 nm in water with tortuosity 1.6
HINDERED = {
    (0.005, 20): ("0.93", "0.89", "0.78", "0.68", "2.0"),
    (0.01, 20): ("0.89", "0.82", "0.67", "0.53", "1.7"),
    (0.02, 20): ("0.82", "0.73", "0.51", "0.35", "1.3"),
    (0.04, 20): ("0.72", "0.58", "0.32", "0.17", "0.83"),
    (0.06, 20): ("0.63", "0.47", "0.21", "0.083", "0.54"),
    (0.04, 10): ("0.52", "0.32", "0.078", "0.012", "0.20"),
}


def agrees(value: float, printed: str) -> bool:
    """Within half a unit of the last printed digit, and 5 % of it more: some were rounded twice, 0.8847 to 0.89."""
    return abs(value - float(printed)) <= 0.55 * 10.0 ** -len(printed.partition(".")[2])


@pytest.mark.parametrize("viscosity", FREE)
def test_stokes_einstein_gives_the_table(viscosity):
    for d, printed in zip(DIAMETERS_NM, FREE[viscosity], strict=True):
        assert agrees(stokes_einstein(d / 1000, viscosity * MPA_S), printed)


@pytest.mark.parametrize(("fraction", "radius"), HINDERED)
def test_fibres_hinder_as_in_the_table(fraction, radius):
    *shares, diffusivity = HINDERED[fraction, radius]
    for d, printed in zip((30, 50, 100, 150), shares, strict=True):
        assert agrees(hindrance(np, fraction, d / 1000, radius / 1000), printed)
    free = stokes_einstein(0.1, 0.691 * MPA_S, tortuosity=1.6)
    assert agrees(free * hindrance(np, fraction, 0.1, radius / 1000), diffusivity)


def test_hindrance_falls_from_one_to_nothing_and_has_slopes():
    fractions = np.array([-0.1, 0.0, 1e-9, 1e-3, 0.01, 0.1, 0.3, 0.39, 0.3942, 0.5, 1.0])
    left = hindrance(np, fractions, 0.1, 0.02)
    assert left[0] == left[1] == 1.0
    assert np.all(np.diff(left) <= 0)
    assert np.all(left[-3:] == 0.0)
    slope = jax.vmap(jax.grad(lambda e: hindrance(jnp, e, 0.1, 0.02)))(jnp.asarray(fractions, jnp.float32))
    assert np.all(np.isfinite(slope))
    assert np.allclose(hindrance(jnp, jnp.asarray(fractions, jnp.float32), 0.1, 0.02), left, rtol=2e-4, atol=1e-6)
