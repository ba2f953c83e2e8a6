"""How fast a particle diffuses: Stokes-Einstein in a fluid, slower among fibres.

Functions of numbers or arrays; ``xp`` is ``numpy`` or ``jax.numpy``, as in :mod:`exodiff.core.evaluation`.
"""

import math
from typing import Any

BOLTZMANN_KG_UM2_PER_S2_K = 1.380649e-11
BODY_TEMPERATURE_K = 310.15


def stokes_einstein(
    diameter_um: Any, viscosity_kg_per_um_s: Any, temperature_k: Any = BODY_TEMPERATURE_K, tortuosity: Any = 1.0
) -> Any:
    """Diffusivity of a sphere, k T / (3 pi eta d) / tortuosity^2, in um^2/s; 1 mPa s is 1e-9 kg/(um s)."""
    thermal = BOLTZMANN_KG_UM2_PER_S2_K * temperature_k
    return thermal / (3.0 * math.pi * viscosity_kg_per_um_s * diameter_um) / tortuosity**2


def hindrance(xp: Any, fibre_fraction: Any, diameter_um: Any, fibre_radius_um: Any) -> Any:
    """What random fibres leave of a sphere's diffusivity: S F, between 1 without fibres and 0.

    Obstruction S = exp(-0.84 f^1.09) with f = (1 + d / (2 r_f))^2 e, the volume fraction that fibres take from the
    sphere's centre; drag of the medium F = 1 / (1 + (r^2 / K)^(1/2) + r^2 / (3 K)) with r = d / 2 and the permeability
    K = 3 r_f^2 (-ln e - 0.931) / (20 e), which ends at e = 0.394: there and beyond nothing moves.

    S F was tested in agarose on spheres of radius 2.1 to 6.2 nm at e = 0.04 to 0.07, with measured K (E. M. Johnson,
    D. A. Berk, R. K. Jain, W. M. Deen, Biophys. J. 70, 1017, 1996); for vesicles it extrapolates, and they deform.

    Args:
        xp: the array library.
        fibre_fraction: volume fraction e of the fibres; below 0 as 0.
        diameter_um: d of the sphere.
        fibre_radius_um: r_f.

    """
    e = xp.maximum(fibre_fraction, 0.0)
    is_fibrous = e > 0
    e = xp.where(is_fibrous, e, 0.01)
    covered = (1.0 + 0.5 * diameter_um / fibre_radius_um) ** 2 * e
    obstruction = xp.exp(-0.84 * covered**1.09)
    openness = -xp.log(e) - 0.931
    is_permeable = openness > 0
    permeability_um2 = 3.0 * fibre_radius_um**2 * xp.where(is_permeable, openness, 1.0) / (20.0 * e)
    drag = (0.5 * diameter_um) ** 2 / permeability_um2
    left = obstruction / (1.0 + xp.sqrt(drag) + drag / 3.0)
    return xp.where(is_fibrous, xp.where(is_permeable, left, 0.0), 1.0)
