"""What the data determine: the spectrum of their Fisher information, and what only the prior says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CONDITION = 1e4


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Directions in the unconstrained coordinates, from the best to the worst determined.

    Attributes:
        coordinates: their names, such as "log k_on".
        eigenvalues: of the Fisher information of the data, falling; 1 / sqrt is the standard error along a direction.
        directions: (directions, parameters), each of length 1.
        share_of_data: of the whole information (data and prior) along each direction, 0 to 1.
        num_values: measured values.

    """

    coordinates: tuple[str, ...]
    eigenvalues: np.ndarray
    directions: np.ndarray
    share_of_data: np.ndarray
    num_values: int

    @property
    def prior_dominated(self) -> np.ndarray:
        """Which directions owe more to the prior than to the data."""
        return self.share_of_data < 0.5

    @property
    def condition(self) -> float:
        """Largest by smallest eigenvalue."""
        return float(self.eigenvalues[0] / max(float(self.eigenvalues[-1]), 1e-300))

    def describe(self, direction: int) -> str:
        """A direction in words, e.g. ``0.71 log k_on - 0.70 log D``; small parts are left out."""
        weights = self.directions[direction]
        order = [i for i in np.argsort(-np.abs(weights)) if abs(weights[i]) >= 0.1]
        sign = np.sign(weights[order[0]])
        terms = [(sign * weights[i], self.coordinates[i]) for i in order]
        text = " ".join(f"{'-' if weight < 0 else '+'} {abs(weight):.2f} {name}" for weight, name in terms)
        return text.removeprefix("+ ")

    @property
    def warnings(self) -> list[str]:
        """What a user must know before looking at an interval."""
        found = [
            f"{self.describe(int(i))} is determined by the prior rather than by the data "
            f"({100 * self.share_of_data[i]:.0f} % from the data)"
            for i in np.flatnonzero(self.prior_dominated)
        ]
        if self.condition > MOST_CONDITION:
            times = float(np.sqrt(self.condition))
            told = "over a million" if times > 1e6 else f"{times:.0f}"
            found.append(
                f"the data determine {self.describe(0)} {told} times better than "
                f"{self.describe(len(self.eigenvalues) - 1)}; fix a parameter, add an observable or a time, or give a "
                "narrower prior"
            )
        if self.num_values < len(self.coordinates):
            found.append(
                f"{self.num_values} values for {len(self.coordinates)} parameters: at least "
                f"{len(self.coordinates) - self.num_values} directions come from the prior alone"
            )
        return found

    def table(self) -> str:
        """The spectrum, one direction a line."""
        lines = ["Fisher information of the data, best direction first:", "  eigenvalue   se      data   direction"]
        for i, value in enumerate(self.eigenvalues):
            error = f"{1 / np.sqrt(value):.3g}" if value > 0 else "inf"
            mark = "  <- the prior" if self.prior_dominated[i] else ""
            share = f"{100 * self.share_of_data[i]:3.0f} %"
            lines.append(f"  {value:<10.3g}   {error:<7} {share}  {self.describe(i)}{mark}")
        return "\n".join(lines)


def identify(
    information: np.ndarray, prior_information: np.ndarray, coordinates: Sequence[str], num_values: int
) -> Identifiability:
    """The spectrum of an information matrix, (parameters, parameters)."""
    values, vectors = np.linalg.eigh(information)
    values, directions = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    of_prior = directions**2 @ prior_information
    share = values / np.maximum(values + of_prior, 1e-300)
    return Identifiability(tuple(coordinates), values, directions, share, num_values)
