"""The law of vesicle diameters: lognormal, cut at both ends, in bins of equal probability."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class SizeLaw:
    """A lognormal law of diameters in um, cut and divided.

    Args:
        log_median: mean of the logarithm before it is cut.
        log_sd: its standard deviation.
        quantiles: of the uncut law at the edges of the bins; one more than there are bins.

    """

    log_median: float
    log_sd: float
    quantiles: tuple[float, ...]

    @property
    def edges_um(self) -> tuple[float, ...]:
        """Diameters between which the bins lie."""
        law = NormalDist(self.log_median, self.log_sd)
        return tuple(math.exp(law.inv_cdf(quantile)) for quantile in self.quantiles)
