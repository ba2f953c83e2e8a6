"""What the model predicts for the data: by the closure with derivatives, and by simulation with its scatter.

Each is compiled once, as a function of the parameters (and the seed).
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.core.arrays import BITS_DTYPE
from exodiff.core.errors import SimulationError
from exodiff.core.expressions import Expression, Name, evaluate
from exodiff.core.health import ADVICE, Health
from exodiff.inference.design import Design
from exodiff.inference.unfinished import Unfinished
from exodiff.problem import Model
from exodiff.simulation import simulate
from exodiff.start import precision_context

VOXELS_AT_ONCE = 2**18  # of all replicates that are simulated side by side
FINER = 8  # takes the step at which an exit probability is a half to one at which it is below the default tolerance


class Prediction(NamedTuple):
    """The closure at some values of the fitted parameters.

    Attributes:
        means: of each column at each time, (times, columns).
        scales: of each data set's noise, (data,); NaN where it has none of its own.
        jacobian: derivative of the means by the fitted parameters, (times, columns, parameters).
        scale_jacobian: that of the scales, (data, parameters).

    """

    means: np.ndarray
    scales: np.ndarray
    jacobian: np.ndarray
    scale_jacobian: np.ndarray


class Predictor:
    """The model as a function of the fitted parameters.

    Attributes:
        time_step_s: of the closure; None for that of the model.
        outgrew_step: whether a prediction failed because its rates were too fast for that step.

    """

    def __init__(
        self, model: Model, parameters: Sequence[str], design: Design, scales: Sequence[Expression | None]
    ) -> None:
        self.model, self.parameters, self.design = model, tuple(parameters), design
        self._scales = tuple(scales)
        self.time_step_s: float | None = None
        self.outgrew_step = False
        self._with_derivatives = jax.jit(jax.jacfwd(self._closure_twice, has_aux=True), static_argnums=1)
        self._simulated = jax.jit(self._simulation, static_argnames="replicates")

    def _values(self, fitted: Array) -> dict[str, Array]:
        return dict(zip(self.parameters, fitted, strict=True))

    def _columns(self, observables: Mapping[str, Array]) -> Array:
        """(replicates, times, columns)."""
        read = [jnp.asarray(observables[name]) for name, _, _ in self.design.columns]
        return jnp.concatenate([a.reshape(*a.shape[:2], -1) for a in read], axis=-1)

    def refine(self) -> None:
        """Make the step of the closure finer."""
        now = self.model.problem.step_bound_s if self.time_step_s is None else self.time_step_s
        self.time_step_s, self.outgrew_step = now / FINER, False

    def start_over(self) -> None:
        """Take the step of the model again."""
        self.time_step_s, self.outgrew_step = None, False

    def closure(self, fitted: Array, time_step_s: float | None) -> tuple[Array, Array, Array]:
        """Means (times, columns), scales (data,) and health of the closure, for JAX to compile and differentiate."""
        values = self._values(fitted)
        found = simulate(self.model, self.design.times_s, parameters=values, engine="mean_field", time_step=time_step_s)
        means = self._columns(found.observables)[0]
        return means, self._evaluate_scales(values, means.dtype), found.health

    def _closure_twice(
        self, fitted: Array, time_step_s: float | None
    ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        """To differentiate, and as it is."""
        found = self.closure(fitted, time_step_s)
        return found[:2], found

    def _evaluate_scales(self, values: Mapping[str, Array], dtype: jnp.dtype) -> Array:
        everything = {**self.model.parameters, **values}

        def value(expression: Expression | None) -> Array:
            if expression is None:
                return jnp.asarray(np.nan, dtype)
            found = evaluate(expression, lambda node: jnp.asarray(everything[_name(node)], dtype), jnp)
            return jnp.asarray(found, dtype)

        return jnp.stack([value(expression) for expression in self._scales])

    def _simulation(self, fitted: Array, seed: Array, replicates: int) -> tuple[Array, Array]:
        engine = "leap" if self.model.problem.engine == "mean_field" else self.model.problem.engine
        found = simulate(
            self.model, self.design.times_s, self._values(fitted), seed, engine=engine, replicates=replicates
        )
        return self._columns(found.observables), found.health

    def predict(self, fitted: np.ndarray) -> Prediction | None:
        """The closure; None where it has no finite result.

        Args:
            fitted: values of the fitted parameters, internal units.

        """
        with precision_context(self.model.problem.precision):
            given = jnp.asarray(fitted, self.model.problem.precision)
            (jacobian, of_scales), (means, scales, health) = self._with_derivatives(given, self.time_step_s)
            found = Prediction(*(np.asarray(a, np.float64) for a in (means, scales, jacobian, of_scales)))
        self.outgrew_step |= bool(np.any(np.asarray(health) == Health.STEP_TOO_LONG))
        if np.any(np.asarray(health) != Health.GOOD) or not np.all(
            np.isfinite(found.jacobian[np.isfinite(found.means)])
        ):
            return None
        return found

    def scales(self, fitted: np.ndarray) -> np.ndarray:
        """Of each data set's noise, (data,); NaN where it has none of its own."""
        with precision_context(self.model.problem.precision):
            given = jnp.asarray(fitted, self.model.problem.precision)
            return np.asarray(self._evaluate_scales(self._values(given), given.dtype), np.float64)

    def simulate(self, fitted: np.ndarray, number: int, seed: int, unfinished: Unfinished | None = None) -> np.ndarray:
        """Independent realisations of the stochastic model, (number, times, columns).

        Args:
            fitted: values of the fitted parameters, internal units.
            number: of realisations.
            seed: of all draws.
            unfinished: where what is done is kept, and looked for.

        Raises:
            SimulationError: when one cannot go on.

        """
        batch = int(np.clip(VOXELS_AT_ONCE // np.prod(self.model.problem.grid.shape), 1, number))
        seeds = np.random.SeedSequence(seed).generate_state(-(-number // batch), np.uint32)
        with precision_context(self.model.problem.precision):
            given = jnp.asarray(fitted, self.model.problem.precision)

            def simulated(one: np.ndarray) -> np.ndarray:
                columns, health = map(
                    np.asarray, self._simulated(given, jnp.asarray(one, BITS_DTYPE), replicates=batch)
                )
                if np.any(health != Health.GOOD):
                    code = Health(int(health[health != Health.GOOD][0]))
                    at = ", ".join(f"{name} {value:.3g}" for name, value in zip(self.parameters, fitted, strict=True))
                    raise SimulationError("fit", f"a simulation at {at} stopped; {ADVICE[code]}")
                return columns.astype(np.float64)

            where = hashlib.blake2b(fitted.tobytes() + seeds.tobytes(), digest_size=8).hexdigest()
            results = [
                simulated(one) if unfinished is None else unfinished.array(f"{where}-{i}", partial(simulated, one))
                for i, one in enumerate(seeds)
            ]
        return np.concatenate(results)[:number]


def _name(node: object) -> str:
    assert isinstance(node, Name)
    return node.name
