"""Simulation-based calibration: does the whole procedure know how wrong it is?

Parameters are drawn from the prior, data simulated with them, and fitted; where the truth lies in its own posterior
must then be uniform (S. Talts et al., arXiv:1804.06788, 2018).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from exodiff.build import ConfiguredModel
from exodiff.core.errors import ConfigError, FitError
from exodiff.inference.data import Data
from exodiff.inference.fit import Fitter, make_settings
from exodiff.inference.unfinished import Unfinished

NUM_BINS = 20
MOST_FAILURES = 0.05


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fits of simulated data whose truth is known.

    Attributes:
        parameters: names.
        truths: coordinates that the data were simulated with, (fits, parameters).
        estimates: coordinates found.
        standard_errors: of them.
        failures: searches that did not converge, which are left out.

    """

    parameters: tuple[str, ...]
    truths: np.ndarray
    estimates: np.ndarray
    standard_errors: np.ndarray
    failures: int

    @property
    def ranks(self) -> np.ndarray:
        """Posterior probability below the truth, (fits, parameters); uniform if the procedure is right."""
        return norm.cdf((self.truths - self.estimates) / self.standard_errors)

    def coverage(self, level: float) -> dict[str, float]:
        """Share of the intervals of a level that hold the truth."""
        inside = np.abs(self.ranks - 0.5) < level / 2
        return dict(zip(self.parameters, map(float, inside.mean(axis=0)), strict=True))

    def p_values(self) -> dict[str, float]:
        """Of Pearson's test that the ranks are uniform, in 20 bins."""
        expected = len(self.truths) / NUM_BINS
        found = []
        for ranks in self.ranks.T:
            counts = np.histogram(ranks, NUM_BINS, (0.0, 1.0))[0]
            found.append(float(chi2.sf(((counts - expected) ** 2 / expected).sum(), NUM_BINS - 1)))
        return dict(zip(self.parameters, found, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """What a file tells of it."""
        return {
            "fits": len(self.truths),
            "failures": self.failures,
            "coverage_of_90": self.coverage(0.9),
            "p_of_uniform_ranks": self.p_values(),
            "ranks": {name: ranks.tolist() for name, ranks in zip(self.parameters, self.ranks.T, strict=True)},
        }

    def summary(self) -> str:
        """Coverage and uniformity of each parameter."""
        coverage, p_values = self.coverage(0.9), self.p_values()
        width = max(9, *map(len, self.parameters))
        lines = [f"{len(self.truths)} fits of simulated data, {self.failures} did not converge"]
        lines += [f"{'parameter':<{width}}  coverage of 90 %  p of uniform ranks"]
        lines += [f"{name:<{width}}  {coverage[name]:<16.3f}  {p_values[name]:.3g}" for name in self.parameters]
        return "\n".join(lines)


def sbc(
    model: ConfiguredModel,
    design: Data | Sequence[Data],
    parameters: Sequence[str],
    n: int = 200,
    *,
    method: str = "closure",
    calibrate: int | None = None,
    uncertainty: str = "sandwich",
    seed: int = 0,
) -> Calibration:
    """Simulation-based calibration of a fit.

    Args:
        model: its priors are those that truths are drawn from.
        design: data sets whose times, tissues and gaps are taken, and whose values are not.
        parameters: what is fitted.
        n: number of fits.
        method: as of :func:`exodiff.fit`, as the others.
        calibrate: likewise.
        uncertainty: ``sandwich`` or ``fisher``.
        seed: of truths, data and calibrations.

    Raises:
        ConfigError: for a wrong design or wrong settings.
        FitError: when more than a twentieth of the searches does not converge.

    """
    settings = make_settings(parameters, method=method, calibrate=calibrate, uncertainty=uncertainty, seed=seed)
    fitter = Fitter(model, [design] if isinstance(design, Data) else design, settings)
    return calibration_of(fitter, n, seed)


def calibration_of(
    fitter: Fitter,
    n: int,
    seed: int,
    report: Callable[[int, int], None] = lambda done, earlier: None,
    unfinished: Unfinished | None = None,
) -> Calibration:
    """As :func:`sbc`, for a fitter.

    Args:
        fitter: of the design.
        n: number of fits.
        seed: of truths, data and calibrations.
        report: is told after each fit how many are done, and how many of them a stopped call had done.
        unfinished: where each fit is kept, and what a stopped call did is looked for; None for nowhere.

    """
    if fitter.settings.uncertainty not in {"sandwich", "fisher"}:
        raise ConfigError(
            "fit.uncertainty", f"{fitter.settings.uncertainty} is not what sbc calibrates; choose sandwich or fisher"
        )
    generator = np.random.default_rng([seed, 4])
    drawn = np.stack([prior.draw(generator, n) for prior in fitter.priors], axis=1)
    seeds = generator.integers(2**32, size=n)
    found = np.zeros((0, 3, len(fitter.parameters)))  # truth, estimate, error of each fit; NaN where there is none
    if unfinished is not None:
        found = unfinished.found("fits", found)
    earlier = len(found)
    if earlier:
        report(earlier, earlier)
    for number in range(earlier, n):
        try:
            one = _fit_simulated(fitter, drawn[number], int(seeds[number]), number)
            cause = "its covariance is no covariance"
        except FitError as error:
            one, cause = np.full(found.shape[1:], np.nan), str(error)
        found = np.concatenate((found, one[None]))
        failures = _count_failures(found)
        if failures > MOST_FAILURES * n and not np.isfinite(one).all():
            raise FitError("sbc", f"{failures} of {number + 1} fits failed, the last with: {cause}")
        if unfinished is not None:
            unfinished.keep("fits", found)
        report(number + 1, earlier)
    failures = _count_failures(found)
    truths, estimates, errors = found[np.isfinite(found).all(axis=(1, 2))].transpose(1, 0, 2)
    return Calibration(fitter.parameters, truths, estimates, errors, failures)


def _fit_simulated(fitter: Fitter, values: np.ndarray, data_seed: int, seed: int) -> np.ndarray:
    """Coordinates of the truth and of the estimate, and its standard errors, (3, parameters)."""
    fit = fitter.fit(fitter.simulate_data(values, data_seed), seed=seed)
    truth = [prior.to_coordinate(float(one)) for prior, one in zip(fitter.priors, values, strict=True)]
    return np.stack((truth, fit.u, np.sqrt(np.diag(fit.covariance))))


def _count_failures(found: np.ndarray) -> int:
    return int(np.sum(~np.isfinite(found).all(axis=(1, 2))))
