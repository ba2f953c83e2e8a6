"""The start of a simulation: its arrays, the first state, and interventions on a state."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from exodiff.concentrations import Found, solve_steady
from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Precision
from exodiff.core.errors import ConfigError
from exodiff.core.health import Health
from exodiff.exact import engine as exact
from exodiff.interventions import intervene, scheduled_now
from exodiff.kernels.cell_events import add_initial_contents
from exodiff.kernels.policies import policy_of, taken
from exodiff.kernels.pools import initial_pools, with_pools
from exodiff.kernels.random import fold, make_stream, site_id, voxel_index
from exodiff.kernels.rates import Voxels
from exodiff.problem import Inputs, Model, Problem
from exodiff.smoothness import refuse_field
from exodiff.state import State
from exodiff.trajectory import is_traced


def precision_context(precision: Precision) -> AbstractContextManager[Any]:
    """64-bit types inside, if the model asks for them."""
    if precision == "float32" or jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return nullcontext()
    return jax.enable_x64(True)  # pyright: ignore[reportAttributeAccessIssue]


def known_now() -> AbstractContextManager[Any]:
    """Inside, what no tracer enters is computed at once, also under jit, vmap and grad.

    Only there: the context computes the constants of a function to be compiled one by one.
    """
    return jax.ensure_compile_time_eval() if is_traced(jnp.zeros(())) else nullcontext()


def make_inputs(model: Model, parameters: Mapping[str, Any] | None, precision: Precision) -> Inputs:
    """The arrays of a model, with some parameters replaced."""
    unknown = set(parameters or {}) - set(model.parameters)
    if unknown:
        known = ", ".join(sorted(model.parameters))
        raise ConfigError(f"parameters[{min(unknown)!r}]", f"there is no such parameter; there are {known}")
    given = {name: _checked(model.problem, name, value) for name, value in (parameters or {}).items()}
    values = {**model.parameters, **given}
    return Inputs(
        {name: jnp.asarray(value, precision) for name, value in values.items()},
        {name: jnp.asarray(field, precision) for name, field in model.fields.items()},
    )


def _checked(problem: Problem, name: str, value: Any) -> Any:
    """A number, or one a voxel, with the three axes of the grid."""
    where = f"parameters[{name!r}]"
    is_field = not isinstance(value, str) and np.shape(value) == problem.grid.user_shape
    if isinstance(value, str) or (np.shape(value) != () and not is_field):
        raise ConfigError(where, f"{value!r} is not a number; give one in internal units (um, s, molecules)")
    if not is_traced(value) and not np.all(np.isfinite(np.asarray(value, float))):
        raise ConfigError(where, f"{value} is not finite; give a number")
    if not is_field:
        return value
    refuse_field(problem, name)
    return jnp.reshape(value, problem.grid.shape)


def start_array(model: Model, problem: Problem) -> Array:
    """The first state before its random part, (species, x, y, z), in the dtype of the engine."""
    if problem.engine == "mean_field":
        return jnp.asarray(model.start, problem.precision)
    if np.any(model.start != np.floor(model.start)):
        raise ConfigError("engine", f"{problem.engine} counts molecules, and this model begins with parts of one")
    return jnp.asarray(model.start, problem.precision if problem.engine == "leap_st" else COUNT_DTYPE)


def initial_state(problem: Problem, inputs: Inputs, start: Array, seed: Bits, replicate: Bits) -> State:
    """The state of one replicate at time zero: its Poisson numbers are drawn here."""
    index = voxel_index(problem.grid.shape)
    network = problem.network
    voxels = Voxels(problem, inputs, start, jnp.zeros((), problem.precision))
    counts = start
    for place in range(network.first_type, len(network.species)):
        counts = add_initial_contents(voxels, counts, place, start[place])
    policy = policy_of(problem.engine)
    log_p = jnp.zeros((), problem.precision) if problem.engine == "score" else None
    for species, mean in problem.random_start:
        stream = fold(make_stream(seed, replicate), site_id(f"initial:{network.species[species]}"))
        means = jnp.broadcast_to(voxels.evaluate(mean), problem.grid.shape)
        if species >= network.num_free:
            means = means * voxels.occupancy()
        counts = counts.at[species].add(policy.poisson(stream, index, 0, means).astype(counts.dtype))
        noted = taken(policy)
        log_p = noted if log_p is None or noted is None else log_p + noted
    events_dtype = problem.precision if counts.dtype != COUNT_DTYPE else BITS_DTYPE
    settings = [inputs.parameters[name] for name in problem.settings]
    state = State(
        pair=jnp.zeros((), BITS_DTYPE),
        counts=counts,
        events=jnp.zeros((len(problem.event_counters), 2), events_dtype),
        settings=jnp.stack(settings) if settings else jnp.zeros((0,), problem.precision),
        was_true=jnp.zeros((len(problem.triggered),), bool),
        health=jnp.zeros((), COUNT_DTYPE),
        pools=initial_pools(problem),
        log_p=log_p,
    )
    if network.fields:
        found, is_solved = _first_concentrations(problem, with_pools(problem, inputs, state.pools), counts)
        health = jnp.where(is_solved, Health.GOOD, Health.NOT_SOLVED).astype(COUNT_DTYPE)
        state = replace(state, concentrations=found, health=health)
    return exact.start_clock(problem, inputs, state) if problem.engine == "exact" else state


@partial(jax.jit, static_argnames=("problem",))
def _first_concentrations(problem: Problem, inputs: Inputs, counts: Array) -> Found:
    """Concentrations at time zero; steady ones are in balance with the counts."""
    voxels = Voxels(problem, inputs, counts, jnp.zeros((), problem.precision))
    given = (
        inputs.fields[f"initial.{field.name}"] if field.initial is None else voxels.evaluate(field.initial)
        for field in problem.network.fields
    )
    return solve_steady(voxels, jnp.stack([jnp.broadcast_to(value, problem.grid.shape) for value in given]))


def begin(problem: Problem, inputs: Inputs, start: Array, seed: Bits, replicate: Bits) -> State:
    """The state of one replicate at time zero, after the interventions of that time."""
    state = initial_state(problem, inputs, start, seed, replicate)
    fires = jnp.asarray(scheduled_now(problem, 0.0, 0.0), bool)
    return intervene_at(problem, inputs, seed, replicate, state, fires, jnp.zeros((), problem.precision))


def intervene_at(
    problem: Problem, inputs: Inputs, seed: Bits, replicate: Bits, state: State, fires: Array, time_s: Array
) -> State:
    """Do scheduled interventions at the end of an interval, and what they trigger."""
    if not problem.interventions:
        return state
    moment = state.pair if state.clock is None else state.clock.number[0]
    stream = fold(make_stream(seed, replicate), moment, site_id("interventions"))
    after = intervene(problem, inputs, state, fires, time_s, stream)
    if state.clock is None:
        return after
    # the clock of a replicate that had failed before tells when
    time_s = jnp.where(state.health == Health.GOOD, time_s, state.clock.time_s[0])
    return exact.after_intervention(problem, inputs, after, time_s)
