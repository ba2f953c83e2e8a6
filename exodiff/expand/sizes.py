"""Size bins of a truncated lognormal law, with the exact moments of the vesicles in each."""

import math
from dataclasses import dataclass
from itertools import pairwise

from exodiff.config.exosomes import Diameter


@dataclass(frozen=True)
class SizeBin:
    """The vesicles between two diameters, which are one of so many equal shares.

    Attributes:
        low_um, high_um: its edges.
        mean_um: mean diameter.
        inverse_per_um: mean of 1 / d, to which the diffusivity is proportional.
        area: mean of (d / median)^2.
        volume: mean of (d / median)^3.

    """

    low_um: float
    high_um: float
    mean_um: float
    inverse_per_um: float
    area: float
    volume: float


def size_bins(diameter: Diameter) -> tuple[SizeBin, ...]:
    """Cut the law at its quantiles into bins of equal probability.

    Moments are those of the vesicles inside a bin, so that the mean of 1/d, d, d^2, d^3 over all vesicles does not
    depend on the number of bins.
    """
    law = diameter.log_law
    low, high = math.log(diameter.min_um), math.log(diameter.max_um)
    first, mass = law.cdf(low), law.cdf(high) - law.cdf(low)
    inner = [law.inv_cdf(first + mass * i / diameter.bins) for i in range(1, diameter.bins)]
    edges = [low, *inner, high]

    def moment(power: int, a: float, b: float) -> float:
        """Mean of d^power for a < log d < b: a normal law shifted by power times its variance."""
        mu, variance = law.mean, law.variance
        shift = power * variance
        inside = law.cdf(b - shift) - law.cdf(a - shift)
        return math.exp(power * mu + 0.5 * power**2 * variance) * inside / (law.cdf(b) - law.cdf(a))

    return tuple(
        SizeBin(
            math.exp(a),
            math.exp(b),
            moment(1, a, b),
            moment(-1, a, b),
            moment(2, a, b) / diameter.median_um**2,
            moment(3, a, b) / diameter.median_um**3,
        )
        for a, b in pairwise(edges)
    )
