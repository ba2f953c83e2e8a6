"""What to know before using the intervals of a fit."""

from collections.abc import Sequence

from exodiff.config.fit import Fit
from exodiff.inference.calibration import Corrected
from exodiff.inference.data import Measured
from exodiff.inference.likelihoods import CLASSES, LIKELIHOODS

MOST_SHIFT = 1.0  # in standard errors: a larger correction is too large for one step
MOST_SIMULATION_SHARE = 0.2  # of the variance


def of_independence(settings: Fit, data: Sequence[Measured]) -> list[str]:
    """Whether the densities of counts are multiplied that share a history."""
    counted = [one for one in data if LIKELIHOODS[one.noise.kind].counts]
    columns = [1 if one.noise.kind in CLASSES else one.values.shape[1] for one in counted]
    labels = [label for one, times in zip(counted, columns, strict=True) for label in one.replicates.tolist() * times]
    if settings.uses_simulations or len(set(labels)) == len(labels):
        return []
    told = (
        f"uncertainty {settings.uncertainty} takes counts of the same replicate as independent, and gives intervals "
        "that are too narrow where they are not; choose sandwich"
    )
    return [told]


def of_correction(corrected: Corrected, parameters: Sequence[str]) -> list[str]:
    """Whether the simulations moved the estimate too far, or were too few."""
    found = [
        f"the simulations moved {name} by {shift:+.1f} standard errors, which is much for one step; fit again from "
        "this estimate, or raise calibrate"
        for name, shift in zip(parameters, corrected.shift, strict=True)
        if abs(shift) > MOST_SHIFT
    ]
    if corrected.simulation_share > MOST_SIMULATION_SHARE:
        found.append(
            f"{100 * corrected.simulation_share:.0f} % of a variance comes from the finite number of simulations; "
            "raise calibrate"
        )
    return found
