"""What is asked of a model, whatever the estimator: a function of its trajectories, and what samples of it say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.build import ConfiguredModel
from exodiff.core.errors import ConfigError, SimulationError
from exodiff.core.health import ADVICE, Health
from exodiff.problem import Model
from exodiff.schedule import make_schedule
from exodiff.simulation import simulate
from exodiff.trajectory import Trajectory, is_traced

Observe = Callable[[Trajectory], Array]
Parameters = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Question:
    """The expectation of a function of the trajectory.

    Attributes:
        model: from ``exodiff.load`` or ``exodiff.Model.from_dict``.
        observe: of a trajectory of any number of replicates; gives an array whose first axis is that of the replicates,
            each row a function of its replicate alone.
        times: seconds, of the trajectory.
        seed: of all draws.
        n: how many replicates.
        time_step: longest step in seconds, or None for the model's.

    """

    model: Model
    observe: Observe
    times: Sequence[float]
    seed: Any
    n: int
    time_step: float | None

    def trajectory(self, parameters: Parameters, **settings: Any) -> Trajectory:
        """Trajectories of the engine ``leap`` unless said."""
        given = {"engine": "leap", "replicates": self.n, "seed": self.seed, "time_step": self.time_step, **settings}
        return simulate(self.model, self.times, parameters, **given)

    def read(self, trajectory: Trajectory) -> Array:
        """What is observed, one row a replicate."""
        try:
            found = jnp.asarray(self.observe(trajectory))
        except KeyError as missing:
            known = {observable.name for observable in self.model.problem.observables}
            if missing.args[0] not in known - set(trajectory.observables):
                raise
            raise ConfigError(
                f"observables.{missing.args[0]}",
                "a histogram, an assay or a threshold has no derivative along a trajectory, and would give 0; choose "
                'estimator = "cfd"',
            ) from None
        rows = trajectory.counts.shape[0]
        if found.ndim == 0 or found.shape[0] != rows:
            raise ConfigError(
                "observe", f"gave shape {found.shape} for {rows} replicates; give one row a replicate, not their mean"
            )
        return found if jnp.issubdtype(found.dtype, jnp.floating) else found.astype(trajectory.problem.precision)


class Samples(NamedTuple):
    """What an estimator found.

    Attributes:
        values: of what is observed, (rows, ...); one row where they are exact or deterministic.
        slopes: by parameter, derivatives with the same shape, whose mean over the rows estimates that of the
            expectation.
        mode: how they were found.

    """

    values: Array
    slopes: dict[str, Array]
    mode: str

    def unless(self, failed: Array) -> "Samples":
        """The same, or no numbers where something failed that could not be raised inside ``jit``."""
        values, slopes = jax.tree.map(lambda a: jnp.where(failed, jnp.nan, a), (self.values, self.slopes))
        return self._replace(values=values, slopes=slopes)


def times_of(model: Model, times: Sequence[float] | None) -> Sequence[float]:
    """The given times, or those at which a run of the model records its observables."""
    if times is not None:
        return times
    if not isinstance(model, ConfiguredModel):
        raise ConfigError("times", "a model without a config has no times of its own; give seconds")
    run = model.config.run
    schedule = make_schedule(run.duration_s, run.observe_every_s, run.snapshot_every_s, model.problem)
    return [moment.time_s for moment in schedule.moments if moment.observe]


def point_of(model: Model, parameters: Mapping[str, Any] | None) -> Parameters:
    """The values to differentiate at; at least one is needed."""
    if isinstance(parameters, str) or not isinstance(parameters, Mapping) or not parameters:
        example = min(model.parameters, default="k")
        raise ConfigError(
            "parameters", f'{parameters!r} names no values; give those to differentiate by, e.g. {{"{example}": 1.0}}'
        )
    return dict(parameters)


def refuse_fields(parameters: Parameters, names: tuple[str, ...], estimator: str) -> None:
    """Refuse to differentiate by a value a voxel, where each would need runs of its own."""
    for name in names:
        if jnp.ndim(parameters[name]):
            raise ConfigError(
                f"parameters[{name!r}]", f"{estimator} takes one number, not one a voxel; choose leap_st or closure"
            )


def refuse_contents(question: Question, names: tuple[str, ...], estimator: str) -> None:
    """Refuse parameters that are whole numbers of molecules in new cells, by which only reals have a derivative."""
    network = question.model.problem.network
    contents = {f"species.{name}.initial.{cell}" for name in network.in_cell for cell in network.cell_types}
    for name in names:
        if name in contents:
            raise ConfigError(
                f"parameters[{name!r}]",
                f"{estimator} has no derivative by a whole number of molecules, and gives 0; choose leap_st or closure",
            )


def derivatives(
    function: Callable[[Parameters], tuple[Any, Any]], at: Parameters, jacobian: Callable[..., Any] = jax.jacfwd
) -> tuple[Any, Any]:
    """Derivatives of the first result by each parameter, and the second result; none by no parameter."""
    if not at:
        return {}, function(at)[1]
    return jacobian(function, has_aux=True)(at)


def raise_if_failed(health: Array) -> Array:
    """Whether any replicate failed; raised where it is known."""
    failed = jnp.any(health != Health.GOOD)
    if not is_traced(failed) and bool(failed):
        bad = np.asarray(health)[np.asarray(health) != Health.GOOD]
        raise SimulationError("replicates", f"{bad.size} of {health.size} stopped: {ADVICE[Health(int(bad[0]))]}")
    return failed
