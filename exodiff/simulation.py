"""Trajectories in memory: pure functions of the parameters and the seed, for jit, vmap and grad."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from math import isqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import Mesh, PartitionSpec

from exodiff.concentrations import Found, solve_steady
from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Bits, Precision
from exodiff.core.errors import ConfigError
from exodiff.core.health import Health
from exodiff.exact import engine as exact
from exodiff.exact.clock import UNLIMITED, Time, split_time
from exodiff.failure import raise_if_stopped
from exodiff.interventions import intervene, scheduled_now, states_after_each
from exodiff.kernels.cell_events import initial_contents
from exodiff.kernels.policies import policy_of, taken
from exodiff.kernels.pools import initial_pools, with_pools
from exodiff.kernels.random import Stream, fold, make_stream, site_id, voxel_index
from exodiff.kernels.rates import Voxels
from exodiff.observe import current_inputs, measure, scalars
from exodiff.problem import Inputs, Model, Parameters, Problem
from exodiff.smoothness import is_smooth, refuse_jumps, refuse_unscored
from exodiff.state import State
from exodiff.step import advance_pair
from exodiff.stepsize import Interval, Moments, intervals, merge_times, with_step
from exodiff.trajectory import Record, Trajectory, is_traced


def simulate(
    model: Model,
    times: Sequence[float],
    parameters: Mapping[str, Any] | None = None,
    seed: int | Bits = 0,
    engine: str | None = None,
    replicates: int = 1,
    time_step: float | None = None,
    estimator: str | None = None,
) -> Trajectory:
    """Simulate a model and return its states at some times.

    Pure: may be called under ``jax.jit`` and ``jax.vmap`` over parameters or seeds, and, with ``mean_field`` or
    ``estimator="leap_st"``, under ``jax.grad``, ``jax.jvp`` and ``jax.jacfwd``. The times, engine and replicates are
    then static. The step is chosen from the model's own parameters, so that it does not depend on traced ones.

    Args:
        model: from ``exodiff.load`` or ``exodiff.Model.from_dict``.
        times: seconds, rising, the first at least 0; the simulation starts at 0.
        parameters: values to use instead of the model's, by name; internal units (um, s, molecules).
        seed: 0 to 2^32 - 1; replicates of one seed are independent. The file's ``run.seed`` counts for the placement
            alone: with ``seed`` equal to it, this gives what ``run`` gives.
        engine: ``exact``, ``leap`` or ``mean_field``; None takes the model's.
        replicates: independent trajectories, whatever ``run.replicates`` says; spread over the devices of this process
            (on CPU ``JAX_NUM_CPU_DEVICES``), unless called under ``jit``, ``vmap`` or ``grad``.
        time_step: longest step in seconds; None takes the model's.
        estimator: ``leap_st`` gives the numbers of ``leap``, bit for bit, as reals with a moment-matched
            straight-through derivative with respect to the parameters, and the observables that have one. It is found
            in forward mode, whatever mode is asked for: in memory and time as many states and runs as there are
            parameters to differentiate, for any number of steps.

    Raises:
        ConfigError: for a wrong argument, or a model that the estimator cannot differentiate.
        SimulationError: when a trajectory cannot go on.

    """
    _check_call(model, seed, replicates, time_step)
    problem = _with_estimator(_problem(model, engine, time_step), estimator)
    plan = _plan(times, problem)
    with precision_context(problem.precision):
        inputs = make_inputs(model, parameters, problem.precision)
        start, seed = start_array(model, problem), jnp.asarray(seed, BITS_DTYPE)
        if problem.engine == "leap_st":
            record, last = _straight_through(problem, plan, replicates, inputs.parameters, inputs.fields, start, seed)
        else:
            if problem.engine != "mean_field":
                inputs = inputs._replace(parameters=jax.tree.map(_refuse_derivative, inputs.parameters))
            devices = _num_devices(replicates, seed, parameters)
            record, last = _trajectories(problem, plan, inputs, start, seed, replicates=replicates, devices=devices)
        if not any(map(is_traced, jax.tree.leaves((inputs, last)))):
            raise_if_stopped("simulate", problem, inputs, last, plan.time_s)
    return Trajectory(np.asarray(times, float), *record, health=last.health, problem=problem)


@jax.custom_jvp
def _refuse_derivative(value: Array) -> Array:
    """A parameter of an engine whose numbers jump: its derivative is an error in place of a wrong number."""
    return value


@_refuse_derivative.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:  # pyright: ignore[reportUnusedFunction]
    del primals, tangents
    raise ConfigError(
        "engine",
        'whole molecules have no derivative; differentiate with engine = "mean_field" or estimator = "leap_st"',
    )


def simulate_scored(
    model: Model,
    times: Sequence[float],
    parameters: Mapping[str, Any],
    seed: int | Bits,
    n: int,
    time_step: float | None,
) -> tuple[Trajectory, Array]:
    """Trajectories of ``leap``, and the log-probability of the draws of each, (replicates,).

    It is up to a constant, and its derivative with respect to the parameters is the score; arguments as of
    :func:`simulate`. Forward mode only.
    """
    _check_call(model, seed, n, time_step)
    problem = _problem(model, "leap", time_step)
    refuse_unscored(problem)
    problem = replace(problem, engine="score")
    plan = _plan(times, problem)
    with precision_context(problem.precision):
        inputs, start = make_inputs(model, parameters, problem.precision), start_array(model, problem)
        given = (inputs, start, jnp.asarray(seed, BITS_DTYPE))
        record, last = _trajectories(problem, plan, *given, replicates=n, devices=1)
    assert last.log_p is not None
    return Trajectory(np.asarray(times, float), *record, health=last.health, problem=problem), last.log_p


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _straight_through(
    problem: Problem,
    plan: "_Plan",
    replicates: int,
    parameters: Parameters,
    fields: dict[str, Array],
    start: Array,
    seed: Bits,
) -> tuple[Record, State]:
    """As :func:`_trajectories`, for ``leap_st``."""
    inputs = Inputs(parameters, fields)
    return _trajectories(problem, plan, inputs, start, seed, replicates=replicates, devices=1)


@partial(_straight_through.defjvp, symbolic_zeros=True)
def _(  # pyright: ignore[reportUnusedFunction]
    problem: Problem, plan: "_Plan", replicates: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """The derivative from the whole Jacobian, so that it is linear in the tangents and reverse mode transposes it."""
    parameters, fields, start, seed = primals
    moving = {name: t for name, t in tangents[0].items() if not isinstance(t, SymbolicZero)}
    found, slopes = _with_jacobian(problem, plan, replicates, tuple(moving), Inputs(parameters, fields), start, seed)
    if not any(map(is_traced, jax.tree.leaves(found))):
        raise_if_stopped("simulate", problem, Inputs(parameters, fields), found[1], plan.time_s)
    along = jnp.stack(list(moving.values()))
    record = jax.tree.map(lambda slope: jnp.tensordot(along, slope, 1), slopes)
    return found, (record, jax.tree.map(_zero_tangent, found[1]))


def _zero_tangent(value: Array) -> Array | np.ndarray:
    is_real = jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.zeros_like(value) if is_real else np.zeros(value.shape, jax.dtypes.float0)


@partial(jax.jit, static_argnames=("problem", "plan", "replicates", "names"))
def _with_jacobian(
    problem: Problem,
    plan: "_Plan",
    replicates: int,
    names: tuple[str, ...],
    inputs: Inputs,
    start: Array,
    seed: Bits,
) -> tuple[tuple[Record, State], Record]:
    """Records and last states, and the derivatives of the records by each of the named parameters, (names, ...)."""

    def record(chosen: Parameters) -> tuple[Record, State]:
        given = inputs._replace(parameters={**inputs.parameters, **chosen})
        return _trajectories(problem, plan, given, start, seed, replicates=replicates, devices=1)

    def along(direction: Array) -> tuple[Record, Record, State]:
        tangent = dict(zip(names, direction, strict=True))
        return jax.jvp(record, ({name: inputs.parameters[name] for name in names},), (tangent,), has_aux=True)

    basis = jnp.eye(len(names), dtype=problem.precision)
    found, slopes, last = jax.vmap(along, out_axes=(None, 0, None))(basis)
    return (found, last), slopes


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
    for name, value in (parameters or {}).items():
        _check_parameter(name, value)
    values = {**model.parameters, **(parameters or {})}
    return Inputs(
        {name: jnp.asarray(value, precision) for name, value in values.items()},
        {name: jnp.asarray(field, precision) for name, field in model.fields.items()},
    )


def _check_parameter(name: str, value: Any) -> None:
    where = f"parameters[{name!r}]"
    if isinstance(value, str) or np.shape(value) != ():
        raise ConfigError(where, f"{value!r} is not a number; give one in internal units (um, s, molecules)")
    if not is_traced(value) and not np.isfinite(float(value)):
        raise ConfigError(where, f"{value} is not finite; give a number")


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
        contents = initial_contents(voxels, place)
        inside = contents[:, None, None, None] * start[place]
        counts = counts.at[network.num_free : network.first_type].add(inside)
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
    """As :func:`advance` for ``mean_field``, as scans of fixed length, so that reverse mode works.

    With two levels of checkpoints reverse mode holds about 2 sqrt(pairs) states and what one pair needs.
    """
    start_s, dt_s, num_pairs = interval
    nothing = jnp.zeros((), BITS_DTYPE)
    group_size = max(isqrt(longest), 1)

    @partial(jax.checkpoint, prevent_cse=False)
    def pair(state: State, i: Array) -> tuple[State, None]:
        def go(state: State) -> State:
            time_s = start_s + 2.0 * dt_s * i.astype(dt_s.dtype)
            return advance_pair(problem, inputs, nothing, nothing, state, time_s, dt_s)

        return lax.cond(i < num_pairs, go, lambda s: s, state), None

    @partial(jax.checkpoint, prevent_cse=False)
    def group(state: State, first: Array) -> tuple[State, None]:
        return lax.scan(pair, state, first + jnp.arange(group_size, dtype=COUNT_DTYPE))[0], None

    return lax.scan(group, state, jnp.arange(0, longest, group_size, dtype=COUNT_DTYPE))[0]


class _Plan(NamedTuple):
    """When what happens.

    Attributes:
        intervals: stretches up to each requested time or intervention.
        ends_s: when the stretches end.
        fires: for each stretch, which of the scheduled interventions act at its end.
        rows: the requested times among the start (0) and the ends of the stretches.

    """

    intervals: tuple[Interval, ...]
    ends_s: tuple[float, ...]
    fires: tuple[tuple[bool, ...], ...]
    rows: tuple[int, ...]

    def time_s(self, pairs_done: int) -> float:
        """Simulated time after some pairs."""
        end_s = 0.0
        for start_s, dt_s, num_pairs in self.intervals:
            if pairs_done < num_pairs:
                return start_s + 2 * pairs_done * dt_s
            pairs_done -= num_pairs
            end_s = start_s + 2 * num_pairs * dt_s
        return end_s


def _num_devices(replicates: int, seed: int | Bits, parameters: Mapping[str, Any] | None) -> int:
    """Devices to spread replicates over: one under jit, vmap and grad, where the caller decides."""
    given = (seed, *(parameters or {}).values())
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is not None or any(is_traced(value) for value in given):
        return 1
    return min(replicates, jax.local_device_count())


@partial(jax.jit, static_argnames=("problem", "plan", "replicates", "devices"))
def _trajectories(
    problem: Problem,
    plan: _Plan,
    inputs: Inputs,
    start: Array,
    seed: Bits,
    *,
    replicates: int,
    devices: int,
) -> tuple[Record, State]:
    """Records of all replicates, and their states at the end, an equal share on each device."""
    if devices == 1:
        return _share(problem, plan, inputs, start, seed, jnp.arange(replicates, dtype=BITS_DTYPE))
    share = -(-replicates // devices)
    numbers = jnp.minimum(jnp.arange(devices * share, dtype=BITS_DTYPE), replicates - 1)
    mesh = Mesh(np.asarray(jax.local_devices()[:devices]), ("replicates",))
    everywhere, split = PartitionSpec(), PartitionSpec("replicates")
    run = jax.shard_map(
        partial(_share, problem, plan),
        mesh=mesh,
        in_specs=(everywhere, everywhere, everywhere, split),
        out_specs=split,
        check_vma=False,
    )
    return jax.tree.map(lambda a: a[:replicates], run(inputs, start, seed, numbers))


def _share(
    problem: Problem, plan: _Plan, inputs: Inputs, start: Array, seed: Bits, numbers: Bits
) -> tuple[Record, State]:
    """What one device does: the replicates of some numbers."""
    if problem.engine == "exact":
        return _exact_trajectories(problem, plan, inputs, start, seed, numbers)
    one = partial(_trajectory, problem, plan, inputs, start, seed)
    if numbers.shape[0] == 1:
        return jax.tree.map(lambda a: a[None], one(numbers[0]))
    return jax.vmap(one)(numbers)


def _trajectory(
    problem: Problem,
    plan: _Plan,
    inputs: Inputs,
    start: Array,
    seed: Bits,
    replicate: Bits,
) -> tuple[Record, State]:
    real = problem.precision
    first = begin(problem, inputs, start, seed, replicate)
    longest = max((interval.num_pairs for interval in plan.intervals), default=0)

    read = partial(read_record, problem, inputs, make_stream(seed, replicate))

    def stretch(state: State, row: tuple[Array, Array, Array, Array, Array]) -> tuple[State, Record]:
        *interval, end_s, fires = row
        start_s, dt_s, num_pairs = interval
        if problem.engine == "mean_field":
            state = _advance_differentiably(problem, inputs, state, (start_s, dt_s, num_pairs), longest)
        else:
            state = advance(problem, inputs, seed, replicate, state, (start_s, dt_s), 0, num_pairs)
        if problem.scheduled:
            state = intervene_at(problem, inputs, seed, replicate, state, fires, end_s)
        return state, read(state, end_s)

    table = (
        jnp.asarray([i.start_s for i in plan.intervals], real),
        jnp.asarray([i.dt_s for i in plan.intervals], real),
        jnp.asarray([i.num_pairs for i in plan.intervals], COUNT_DTYPE),
        jnp.asarray(plan.ends_s, real),
        jnp.asarray(plan.fires, bool).reshape(len(plan.intervals), len(problem.scheduled)),
    )
    last, records = lax.scan(stretch, first, table)
    if plan.rows[0] == 0:
        records = jax.tree.map(lambda a, b: jnp.concatenate((a[None], b)), read(first, jnp.zeros((), real)), records)
    if len(plan.rows) <= len(plan.intervals):
        wanted = np.asarray(plan.rows) - (plan.rows[0] > 0)
        records = jax.tree.map(lambda a: a[wanted], records)
    return records, last


def read_record(problem: Problem, inputs: Inputs, root: Stream, state: State, time_s: Array) -> Record:
    """What is kept of a state."""
    measured = measure(problem, inputs, state, time_s, root)
    values = scalars(problem, measured, inputs.parameters, time_s, jnp)
    found = {name: jnp.asarray(v, problem.precision) for name, v in {**values, **measured.arrays}.items()}
    concentrations = state.concentrations
    if concentrations is not None:
        units = jnp.asarray([field.unit_value for field in problem.network.fields], problem.precision)
        concentrations = concentrations / units[:, None, None, None]
    return Record(state.counts, found, concentrations, state.pools)


def _exact_trajectories(
    problem: Problem, plan: _Plan, inputs: Inputs, start: Array, seed: Bits, numbers: Bits
) -> tuple[Record, State]:
    """As :func:`_share`: all replicates go together, each with a clock of its own."""
    first = jax.vmap(partial(begin, problem, inputs, start, seed))(numbers)
    cuts_s = np.asarray([0.0, *plan.ends_s])
    ends = split_time(cuts_s[1:], problem.precision)
    if problem.interventions:
        last, records = _exact_with_interventions(problem, plan, inputs, seed, numbers, first, ends)
    else:
        last, (counts, events) = exact.trajectories(problem, inputs, seed, numbers, first, ends)
        settings = jnp.broadcast_to(first.settings[:, None], (*counts.shape[:2], 0))
        records = (counts, events, settings)
    rows = np.asarray(plan.rows)
    begun = (first.counts, first.events, first.settings)
    if rows[0] == 0:
        records = tuple(jnp.concatenate((a[:, None], b), 1) for a, b in zip(begun, records, strict=True))
    wanted = rows - (rows[0] > 0)
    if len(wanted) < records[0].shape[1]:
        records = jax.tree.map(lambda a: a[:, wanted], records)
    counts, events, settings = records

    def read(number: Bits, counts: Array, events: Array, settings: Array, time_s: Array) -> Record:
        state = State(first.pair[0], counts, events, settings, first.was_true[0], first.health[0])
        return read_record(problem, inputs, make_stream(seed, number), state, time_s)

    read_all = jax.vmap(jax.vmap(read, in_axes=(None, 0, 0, 0, 0)), in_axes=(0, 0, 0, 0, None))
    times = jnp.asarray(cuts_s[rows], problem.precision)
    return read_all(numbers, counts, events, settings, times), last


def _exact_with_interventions(
    problem: Problem, plan: _Plan, inputs: Inputs, seed: Bits, numbers: Bits, first: State, ends: Time
) -> tuple[State, tuple[Array, ...]]:
    """States at the last of some times, and counts, event counters and settings at each, (replicates, times, ...)."""

    def stretch(states: State, row: tuple[Time, Array]) -> tuple[State, tuple[Array, ...]]:
        end, fires = row
        states, _ = exact.advance(problem, inputs, seed, numbers, states, end, jnp.asarray(UNLIMITED, BITS_DTYPE))

        def intervened(states: State) -> State:
            def one(number: Bits, state: State) -> State:
                return intervene_at(problem, inputs, seed, number, state, fires, end.high)

            return jax.vmap(one)(numbers, states)

        if problem.scheduled:
            states = lax.cond(jnp.any(fires), intervened, lambda s: s, states)
        return states, (states.counts, states.events, states.settings)

    fires = jnp.asarray(plan.fires, bool).reshape(len(plan.intervals), -1)
    states, records = lax.scan(stretch, first, (ends, fires))
    return states, jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), records)


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
        found = with_step(replace(problem, engine="mean_field"), moments(problem, model), time_step_s, model.tolerance)
    return replace(found, engine=problem.engine)


def moments(problem: Problem, model: Model) -> Moments:
    """What bounds on the step look at: the start, with means for random numbers, and what interventions make of it."""
    with jax.ensure_compile_time_eval(), precision_context(problem.precision):
        inputs = make_inputs(model, None, problem.precision)
        smooth = replace(problem, engine="mean_field")
        nothing = jnp.zeros((), BITS_DTYPE)
        start = jnp.asarray(model.start, problem.precision)
        first = initial_state(smooth, inputs, start, nothing, nothing)
        states = states_after_each(smooth, inputs, first, make_stream(nothing, nothing))
        return [(current_inputs(problem, inputs, state), state.counts) for state in states]


def _with_estimator(problem: Problem, estimator: str | None) -> Problem:
    """The problem as an estimator of derivatives sees it."""
    if estimator is None:
        return problem
    if estimator != "leap_st":
        raise ConfigError("estimator", f'{estimator!r} is no estimator of simulate; choose "leap_st", or ex.grad')
    if problem.engine != "leap":
        raise ConfigError("estimator", f'leap_st belongs to the engine leap, not {problem.engine}; give engine="leap"')
    refuse_jumps(problem)
    return replace(problem, engine="leap_st", observables=tuple(filter(is_smooth, problem.observables)))


def _plan(times: Sequence[float], problem: Problem) -> _Plan:
    """Intervals up to each of the times and interventions."""
    if any(map(is_traced, times)):
        raise ConfigError("times", "are static: they have no derivative, and jit and vmap cannot change them")
    try:
        given = np.asarray(times, float)
    except (TypeError, ValueError):
        raise ConfigError("times", f"{times!r} are no numbers; give seconds, e.g. [0.0, 3600.0]") from None
    if given.ndim != 1 or given.size == 0 or not np.all(np.isfinite(given)):
        raise ConfigError("times", "a non-empty list of finite numbers (seconds) is needed")
    if given[0] < 0 or np.any(np.diff(given) <= 0):
        raise ConfigError("times", "must rise, from 0 or later")
    last = float(given[-1])
    at = (*problem.cuts_s, *(at for intervention in problem.scheduled for at in intervention.at_s))
    cuts = merge_times((0.0, *map(float, given), *at), last)
    fires = tuple(scheduled_now(problem, cut, 1e-9 * last) for cut in cuts[1:])
    rows = tuple(int(np.abs(np.asarray(cuts) - time).argmin()) for time in given)
    return _Plan(intervals(tuple(cuts), problem.step_bound_s), tuple(map(float, cuts[1:])), fires, rows)


def _check_call(model: Any, seed: int | Bits, replicates: int, time_step: float | None) -> None:
    if not isinstance(model, Model):
        raise ConfigError(
            "model", f"a {type(model).__name__} is no model; give exodiff.load(FILE) or Model.from_dict(...)"
        )
    if not is_traced(seed) and (seed != np.floor(seed) or not 0 <= seed < 2**32):
        raise ConfigError("seed", f"{seed} is not a whole number from 0 to 2^32 - 1; choose one")
    if is_traced(time_step):
        raise ConfigError("time_step", "is static: it has no derivative, and jit and vmap cannot change it")
    if time_step is not None and not 0 < time_step < np.inf:
        raise ConfigError("time_step", f"{time_step} s is not a step; give a positive number of seconds")
    if replicates < 1:
        raise ConfigError("replicates", f"{replicates} is not allowed; at least 1 is needed")
