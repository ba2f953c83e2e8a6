"""A check: something that exodiff computes, compared with something exact, as one number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, eq=False)
class Check:
    """One comparison.

    Args:
        name: short and unique.
        claim: what holds when it passes, as a sentence.
        measure: returns the statistic.
        gate: a p-value must be above it, a deviation below it.
        statistic: which of the two; a p-value is already corrected for the number of tests inside.
        slow: longer than some seconds.

    """

    name: str
    claim: str
    measure: Callable[[], float]
    gate: float
    statistic: Literal["p", "deviation"] = "deviation"
    slow: bool = False

    def passes(self, value: float) -> bool:
        """Whether a measured value is inside the gate; not a number is not."""
        return value > self.gate if self.statistic == "p" else value < self.gate


def smallest(*p_values: float) -> float:
    """Of several p-values, corrected for their number."""
    return min(1.0, len(p_values) * min(p_values))
