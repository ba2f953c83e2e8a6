"""Trajectories in memory: pure functions of the parameters and the seed, for jit, vmap and grad."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Precision
from exodiff.core.errors import ConfigError, SimulationError
from exodiff.core.health import ADVICE, Health
from exodiff.exact import engine as exact
from exodiff.exact.clock import split_time
from exodiff.kernels.cell_events import initial_contents
from exodiff.kernels.policies import policy_of
from exodiff.kernels.random import fold, make_stream, site_id, voxel_index
from exodiff.kernels.rates import Voxels
from exodiff.observe import measure, scalars
from exodiff.problem import Inputs, Model, Problem
from exodiff.state import State
from exodiff.step import advance_pair
from exodiff.stepsize import Interval, intervals, with_step
from exodiff.trajectory import Trajectory, is_traced


def simulate(
    model: Model,
    times: Sequence[float],
    parameters: Mapping[str, Any] | None = None,
    seed: int | Bits = 0,
    engine: str | None = None,
    replicates: int = 1,
    time_step: float | None = None,
) -> Trajectory:
    """Simulate a model and return its states at some times.

    Pure: may be called under ``jax.jit`` and ``jax.vmap`` over parameters or seeds, and, with ``mean_field``, under
    ``jax.grad``. The times, engine and replicates are then static. The step is chosen from the model's own parameters,
    so that it does not depend on traced ones.

    Args:
        model: from ``exodiff.load`` or ``exodiff.Model.from_dict``.
        times: seconds, rising, the first at least 0; the simulation starts at 0.
        parameters: values to use instead of the model's, by name; internal units (um, s, molecules).
        seed: 0 to 2^32 - 1; replicates of one seed are independent.
        engine: ``exact``, ``leap`` or ``mean_field``; None takes the model's.
        replicates: independent trajectories.
        time_step: longest step in seconds; None takes the model's.

    Raises:
        ConfigError: for a wrong argument.
        SimulationError: when a trajectory cannot go on.

    """
    problem = _problem(model, engine, time_step)
    schedule = _schedule(times, problem.step_bound_s)
    _check_call(seed, replicates)
    with precision_context(problem.precision):
        inputs = make_inputs(model, parameters, problem.precision)
        run = _trajectories(
            problem,
            schedule,
            inputs,
            start_array(model, problem),
            jnp.asarray(seed, BITS_DTYPE),
            record_start=times[0] == 0,
            replicates=replicates,
        )
        trajectory = Trajectory(np.asarray(times, float), *run, problem=problem)
    if not is_traced(trajectory.health):
        raise_if_unhealthy(np.asarray(trajectory.health))
    return trajectory


def precision_context(precision: Precision) -> AbstractContextManager[Any]:
    """64-bit types inside, if the model asks for them."""
    if precision == "float32" or jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return nullcontext()
    return jax.enable_x64(True)  # pyright: ignore[reportAttributeAccessIssue]


def make_inputs(model: Model, parameters: Mapping[str, Any] | None, precision: Precision) -> Inputs:
    """The arrays of a model, with some parameters replaced."""
    unknown = set(parameters or {}) - set(model.parameters)
    if unknown:
        known = ", ".join(sorted(model.parameters))
        raise ConfigError(f"parameters[{min(unknown)!r}]", f"there is no such parameter; there are {known}")
    values = {**model.parameters, **(parameters or {})}
    return Inputs(
        {name: jnp.asarray(value, precision) for name, value in values.items()},
        {name: jnp.asarray(field, precision) for name, field in model.fields.items()},
    )


def start_array(model: Model, problem: Problem) -> Array:
    """The first state before its random part, (species, x, y, z), in the dtype of the engine."""
    return jnp.asarray(model.start, COUNT_DTYPE if problem.engine != "mean_field" else problem.precision)


def initial_state(problem: Problem, inputs: Inputs, start: Array, seed: Bits, replicate: Bits) -> State:
    """The state of one replicate at time zero: its Poisson numbers are drawn here."""
    index = voxel_index(problem.grid.shape)
    network = problem.network
    voxels = Voxels(problem, inputs, start, jnp.zeros((), problem.precision))
    counts = start
    for place in range(network.first_type, len(network.species)):
        contents = initial_contents(voxels, place)
        inside = contents[:, None, None, None] * start[place]
        counts = counts.at[network.num_free : network.first_type].add(inside)
    for species, mean in problem.random_start:
        stream = fold(make_stream(seed, replicate), site_id(f"initial:{network.species[species]}"))
        means = jnp.broadcast_to(voxels.evaluate(mean), problem.grid.shape)
        if species >= network.num_free:
            means = means * voxels.occupancy()
        counts = counts.at[species].add(policy_of(problem.engine).poisson(stream, index, 0, means).astype(counts.dtype))
    events_dtype = problem.precision if problem.engine == "mean_field" else BITS_DTYPE
    events = jnp.zeros((len(problem.event_counters), 2), events_dtype)
    state = State(jnp.zeros((), BITS_DTYPE), counts, events, jnp.zeros((), COUNT_DTYPE))
    return exact.start_clock(problem, inputs, state) if problem.engine == "exact" else state


def advance(
    problem: Problem,
    inputs: Inputs,
    seed: Bits,
    replicate: Bits,
    state: State,
    interval: tuple[Array, Array],
    first_pair: Array | int,
    num_pairs: Array | int,
) -> State:
    """Advance a discrete state by some pairs of an interval; their number may be known only when it runs."""
    start_s, dt_s = interval

    def body(i: Array, state: State) -> State:
        time_s = start_s + 2.0 * dt_s * (first_pair + i).astype(dt_s.dtype)
        return advance_pair(problem, inputs, seed, replicate, state, time_s, dt_s)

    return lax.fori_loop(0, num_pairs, body, state)


def _advance_differentiably(
    problem: Problem, inputs: Inputs, state: State, interval: tuple[Array, ...], longest: int
) -> State:
    """As :func:`advance` for ``mean_field``, as a scan of fixed length, so that reverse mode works."""
    start_s, dt_s, num_pairs = interval
    nothing = jnp.zeros((), BITS_DTYPE)

    def pair(state: State, i: Array) -> tuple[State, None]:
        def go(state: State) -> State:
            time_s = start_s + 2.0 * dt_s * i.astype(dt_s.dtype)
            return advance_pair(problem, inputs, nothing, nothing, state, time_s, dt_s)

        return lax.cond(i < num_pairs, go, lambda s: s, state), None

    scanned = jax.checkpoint(lambda state: lax.scan(pair, state, jnp.arange(longest))[0])
    return scanned(state)


@partial(jax.jit, static_argnames=("problem", "schedule", "record_start", "replicates"))
def _trajectories(
    problem: Problem,
    schedule: tuple[Interval, ...],
    inputs: Inputs,
    start: Array,
    seed: Bits,
    *,
    record_start: bool,
    replicates: int,
) -> tuple[Array, dict[str, Array], Array]:
    """Counts, observables and health of all replicates."""
    one = partial(_trajectory, problem, schedule, inputs, start, seed, record_start=record_start)
    if problem.engine == "exact":
        return _exact_trajectories(
            problem, schedule, inputs, start, seed, record_start=record_start, replicates=replicates
        )
    if replicates == 1:
        return jax.tree.map(lambda a: a[None], one(jnp.zeros((), BITS_DTYPE)))
    return jax.vmap(one)(jnp.arange(replicates, dtype=BITS_DTYPE))


def _trajectory(
    problem: Problem,
    schedule: tuple[Interval, ...],
    inputs: Inputs,
    start: Array,
    seed: Bits,
    replicate: Bits,
    *,
    record_start: bool,
) -> tuple[Array, dict[str, Array], Array]:
    real = problem.precision
    first = initial_state(problem, inputs, start, seed, replicate)
    longest = max((interval.num_pairs for interval in schedule), default=0)

    read = partial(_read, problem, inputs)

    def stretch(state: State, interval: tuple[Array, Array, Array]) -> tuple[State, tuple[Array, dict[str, Array]]]:
        start_s, dt_s, num_pairs = interval
        if problem.engine == "mean_field":
            state = _advance_differentiably(problem, inputs, state, interval, longest)
        else:
            state = advance(problem, inputs, seed, replicate, state, (start_s, dt_s), 0, num_pairs)
        return state, read(state, start_s + 2.0 * dt_s * num_pairs.astype(real))

    table = (
        jnp.asarray([i.start_s for i in schedule], real),
        jnp.asarray([i.dt_s for i in schedule], real),
        jnp.asarray([i.num_pairs for i in schedule], COUNT_DTYPE),
    )
    last, records = lax.scan(stretch, first, table)
    if record_start:
        records = jax.tree.map(lambda a, b: jnp.concatenate((a[None], b)), read(first, jnp.zeros((), real)), records)
    return records[0], records[1], last.health


def _read(problem: Problem, inputs: Inputs, state: State, time_s: Array) -> tuple[Array, dict[str, Array]]:
    """Counts and observables of a state."""
    measured = measure(problem, inputs, state, time_s)
    values = scalars(problem, measured, inputs.parameters, time_s, jnp)
    return state.counts, {name: jnp.asarray(v, problem.precision) for name, v in {**values, **measured.arrays}.items()}


def _exact_trajectories(
    problem: Problem,
    schedule: tuple[Interval, ...],
    inputs: Inputs,
    start: Array,
    seed: Bits,
    *,
    record_start: bool,
    replicates: int,
) -> tuple[Array, dict[str, Array], Array]:
    """As :func:`_trajectories`: all replicates go together, each with a clock of its own."""
    numbers = jnp.arange(replicates, dtype=BITS_DTYPE)
    first = jax.vmap(partial(initial_state, problem, inputs, start, seed))(numbers)
    ends_s = np.asarray([i.start_s + 2 * i.num_pairs * i.dt_s for i in schedule])
    last, records = exact.trajectories(problem, inputs, seed, numbers, first, split_time(ends_s, problem.precision))
    if record_start:
        begun = (first.counts, first.events)
        records = jax.tree.map(lambda a, b: jnp.concatenate((a[:, None], b), 1), begun, records)
        ends_s = np.concatenate(([0.0], ends_s))

    def read(counts: Array, events: Array, time_s: Array) -> tuple[Array, dict[str, Array]]:
        return _read(problem, inputs, State(first.pair[0], counts, events, first.health[0]), time_s)

    over_times = jax.vmap(read, in_axes=(0, 0, 0))
    read_all = jax.vmap(over_times, in_axes=(0, 0, None))
    counts, observables = read_all(records[0], records[1], jnp.asarray(ends_s, problem.precision))
    return counts, observables, last.health


def _problem(model: Model, engine: str | None, time_step: float | None) -> Problem:
    """The model's problem, with another engine or step if the call asks for it."""
    if engine not in (None, "exact", "leap", "mean_field"):
        raise ConfigError("engine", f"{engine!r} is no engine; choose exact, leap or mean_field")
    if time_step is not None and (engine or model.problem.engine) == "exact":
        raise ConfigError("time_step", "engine exact takes no steps; leave it out, or choose leap")
    if engine in (None, model.problem.engine) and time_step is None:
        return model.problem
    problem = replace(model.problem, engine=engine or model.problem.engine)
    step = time_step if time_step is not None else model.time_step_s
    return bounded(problem, model, step)


def bounded(problem: Problem, model: Model, time_step_s: float | None) -> Problem:
    """The problem with the step that the model's own parameters allow; ``exact`` takes none."""
    if problem.engine == "exact":
        exact.refuse_unsupported(problem)
        return replace(problem, step_bound_s=np.inf, exit_limit=np.inf, hop_limit=np.inf)
    with jax.ensure_compile_time_eval(), precision_context(problem.precision):
        inputs = make_inputs(model, None, problem.precision)
        smooth = replace(problem, engine="mean_field")
        nothing = jnp.zeros((), BITS_DTYPE)
        start = jnp.asarray(model.start, problem.precision)
        counts = initial_state(smooth, inputs, start, nothing, nothing).counts
        found = with_step(smooth, inputs, counts, time_step_s, model.tolerance)
    return replace(found, engine=problem.engine)


def _schedule(times: Sequence[float], bound_s: float) -> tuple[Interval, ...]:
    """Intervals up to each of the times."""
    given = np.asarray(times, float)
    if given.ndim != 1 or given.size == 0 or not np.all(np.isfinite(given)):
        raise ConfigError("times", "a non-empty list of finite numbers (seconds) is needed")
    if given[0] < 0 or np.any(np.diff(given) <= 0):
        raise ConfigError("times", "must rise, from 0 or later")
    starts = tuple(given) if given[0] == 0 else (0.0, *given)
    return intervals(starts, bound_s)


def _check_call(seed: int | Bits, replicates: int) -> None:
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise ConfigError("seed", f"{seed} is outside 0 ... 2^32 - 1; choose one inside")
    if replicates < 1:
        raise ConfigError("replicates", f"{replicates} is not allowed; at least 1 is needed")


def raise_if_unhealthy(health: np.ndarray) -> None:
    """Raise the error that belongs to the first replicate whose health is not good."""
    bad = np.flatnonzero(health != Health.GOOD)
    if bad.size:
        code = Health(int(health[bad[0]]))
        name = code.name.lower().replace("_", " ")
        raise SimulationError("simulate", f"replicate {bad[0]} stopped, {name}: {ADVICE[code]}")
