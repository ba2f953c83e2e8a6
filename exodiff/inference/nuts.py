"""Draws from a posterior without noise by the no-U-turn sampler (M. Hoffman, A. Gelman, JMLR 15, 1593, 2014).

The sampler is NumPyro's. It moves in coordinates in which the posterior has about the unit covariance, those of the
estimate, so only its step has to adapt.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.errors import ConfigError
from exodiff.core.health import Health
from exodiff.inference.data import Measured
from exodiff.inference.densities import DENSITIES, SMALLEST
from exodiff.inference.library import JAX
from exodiff.inference.likelihoods import CLASSES
from exodiff.inference.objective import Objective
from exodiff.inference.synthetic import Synthetic
from exodiff.start import precision_context

NUM_CHAINS = 4
NUM_WARMUP = 300
NUM_DRAWS = 1000  # a chain
LARGEST_R_HAT = 1.01  # A. Vehtari et al., Bayesian Analysis 16, 667 (2021)
FEWEST_EFFECTIVE = 100 * NUM_CHAINS  # likewise


LogLikelihood = Callable[[Array, Array], Array]  # of the closure's means (times, columns) and scales (data,)


class Draws(NamedTuple):
    """Draws of some chains.

    Attributes:
        u: coordinates, (chains, draws, parameters).
        r_hat: how much wider all chains together are than each, (parameters,); 1 when they agree.
        effective: independent draws that would tell the mean as well, (parameters,).
        divergences: moves in which the energy was lost.

    """

    u: np.ndarray
    r_hat: np.ndarray
    effective: np.ndarray
    divergences: int

    @property
    def warnings(self) -> list[str]:
        """What to know before using an interval."""
        found = []
        if self.r_hat.max() > LARGEST_R_HAT or self.effective.min() < FEWEST_EFFECTIVE:
            found.append(
                f"the chains do not agree yet (R-hat {self.r_hat.max():.3f}, {self.effective.min():.0f} effective "
                "draws); narrow the prior of a direction that the data do not determine"
            )
        if self.divergences:
            found.append(
                f"{self.divergences} draws diverged: the posterior has a corner that the sampler misses; look at the "
                "pairs of parameters, and narrow priors or set bounds"
            )
        return found


def require_sampler() -> Any:
    """NumPyro, or an error that says how to get it."""
    try:
        return import_module("numpyro")
    except ImportError:
        raise ConfigError(
            "fit.uncertainty", "nuts needs the package numpyro; install it with: pip install 'exodiff[bayes]'"
        ) from None


def draw(
    objective: Objective, likelihood: LogLikelihood, centre: np.ndarray, covariance: np.ndarray, seed: int
) -> Draws:
    """Four chains of a thousand draws from about an estimate.

    Args:
        objective: the closure and the priors.
        likelihood: of what was measured.
        centre: the estimate, coordinates (parameters,).
        covariance: about that of the posterior.
        seed: of the draws.

    """
    require_sampler()
    infer, diagnostics = import_module("numpyro.infer"), import_module("numpyro.diagnostics")
    spread = np.linalg.cholesky(covariance)
    with precision_context(objective.predictor.model.problem.precision):
        middle, scale = jnp.asarray(centre), jnp.asarray(spread)

        def potential(place: Array) -> Array:
            return -log_posterior(objective, likelihood, middle + scale @ place)

        sampler = infer.MCMC(
            infer.NUTS(potential_fn=potential, forward_mode_differentiation=True, adapt_mass_matrix=False),
            num_warmup=NUM_WARMUP,
            num_samples=NUM_DRAWS,
            num_chains=NUM_CHAINS,
            chain_method="vectorized",
            progress_bar=False,
        )
        keys = jax.random.split(jax.random.PRNGKey(seed))
        begin = jax.random.normal(keys[0], (NUM_CHAINS, len(centre)))
        sampler.run(keys[1], init_params=begin, extra_fields=("diverging",))
        places = np.asarray(sampler.get_samples(group_by_chain=True), np.float64)
        divergences = int(np.sum(sampler.get_extra_fields()["diverging"]))
    u = centre + places @ spread.T
    of_u = [u[..., i] for i in range(len(centre))]
    return Draws(
        u,
        np.array([float(diagnostics.split_gelman_rubin(one)) for one in of_u]),
        np.array([float(diagnostics.effective_sample_size(one)) for one in of_u]),
        divergences,
    )


def log_posterior(objective: Objective, likelihood: LogLikelihood, u: Array) -> Array:
    """The log posterior density of coordinates (parameters,), for JAX; -inf where the closure has no result."""
    predictor, priors = objective.predictor, objective.priors
    values = jnp.stack([prior.from_coordinate(one, JAX) for prior, one in zip(priors, u, strict=True)])
    found = sum((prior.log_density(one, JAX) for prior, one in zip(priors, u, strict=True)), jnp.zeros((), u.dtype))
    means, scales, health = predictor.closure(values, predictor.time_step_s)
    found = found + likelihood(means, scales)
    return jnp.where(jnp.all(health == Health.GOOD) & jnp.isfinite(found), found, -jnp.inf)


def of_noise(objective: Objective) -> LogLikelihood:
    """The likelihood of each data set's noise, all values independent."""

    def likelihood(means: Array, scales: Array) -> Array:
        found = jnp.zeros((), means.dtype)
        for number, one in enumerate(objective.data):
            found = found + _log_likelihood(one, means[objective.predictor.design.place(one)], scales[number])
        return found

    return likelihood


def of_simulations(law: Synthetic) -> LogLikelihood:
    """The synthetic likelihood."""
    return lambda means, scales: law.log_density(means, JAX)


def _log_likelihood(data: Measured, mean: Array, scale: Array) -> Array:
    known = np.isfinite(data.values)
    if data.noise.kind in CLASSES:
        known &= known.all(axis=-1, keepdims=True)
    values = jnp.asarray(np.where(known, data.values, 0.0 if data.noise.kind in CLASSES else 1.0), mean.dtype)
    mean = jnp.where(np.isfinite(data.values), mean, 1.0)
    if data.noise.kind != "gaussian":
        mean = jnp.maximum(mean, SMALLEST)
    own = jnp.asarray(data.sd, mean.dtype) if data.sd is not None else jnp.nan_to_num(scale, nan=1.0)
    each = DENSITIES[data.noise.kind](values, mean, own, data.noise.limit, JAX)
    return jnp.where(known[..., : each.shape[-1]], each, 0.0).sum()
