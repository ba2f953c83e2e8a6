"""Trajectories in memory: pure functions of the parameters and the seed, for jit, vmap and grad."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from exodiff.core.arrays import BITS_DTYPE, Bits
from exodiff.core.errors import ConfigError
from exodiff.devices import divide, mesh_of, on, placed
from exodiff.exact import engine as exact
from exodiff.failure import raise_if_stopped
from exodiff.interventions import states_after_each
from exodiff.kernels.random import make_stream
from exodiff.observe import current_inputs
from exodiff.problem import Inputs, Model, Parameters, Problem
from exodiff.programs import ONCE, program
from exodiff.schedule import Plan, make_plan
from exodiff.smoothness import is_smooth, refuse_jumps, refuse_unscored
from exodiff.start import initial_state, known_now, make_inputs, precision_context, start_array
from exodiff.state import State
from exodiff.stepsize import Moments, with_step
from exodiff.trajectories import trajectories, trajectory
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
        parameters: values to use instead of the model's, by name; internal units (um, s, molecules). One that only
            reactions on the lattice read may have a value a voxel, of the shape of the lattice.
        seed: 0 to 2^32 - 1; replicates of one seed are independent. The file's ``run.seed`` counts for the placement
            alone: with ``seed`` equal to it, this gives what ``run`` gives.
        engine: ``exact``, ``leap`` or ``mean_field``; None takes the model's.
        replicates: independent trajectories, whatever ``run.replicates`` says; spread over the devices of this process
            (on CPU ``JAX_NUM_CPU_DEVICES``), unless called under ``jit``, ``vmap`` or ``grad``. The lattice of a
            single one is split over them.
        time_step: longest step in seconds; None takes the model's.
        estimator: ``leap_st`` gives the numbers of ``leap``, bit for bit, as reals with a moment-matched
            straight-through derivative with respect to the parameters, and the observables that have one. It is found
            in forward mode, whatever mode is asked for: in memory and time as many states and runs as there are
            parameters to differentiate, for any number of steps. With a value a voxel only reverse mode goes through
            it, in the memory of about 2 sqrt(pairs of steps) states.

    Raises:
        ConfigError: for a wrong argument, or a model that the estimator cannot differentiate.
        SimulationError: when a trajectory cannot go on.

    """
    _check_call(model, seed, replicates, time_step)
    problem = _with_estimator(_problem(model, engine, time_step), estimator)
    plan = make_plan(times, problem)
    with precision_context(problem.precision):
        inputs = make_inputs(model, parameters, problem.precision)
        start, seed = start_array(model, problem), jnp.asarray(seed, BITS_DTYPE)
        if any(value.ndim for value in inputs.parameters.values()) and problem.engine == "leap_st":
            problem = replace(problem, is_reversible=True)
            record, last = trajectories(problem, plan, inputs, start, seed, replicates=replicates, devices=1)
        elif problem.engine == "leap_st":
            record, last = _straight_through(problem, plan, replicates, inputs.parameters, inputs.fields, start, seed)
        else:
            if problem.engine != "mean_field":
                inputs = inputs._replace(parameters=jax.tree.map(_refuse_derivative, inputs.parameters))
            devices = _num_devices(seed, parameters)
            mesh = mesh_of(divide(problem, 1, devices)) if replicates == 1 else None
            inputs, start = placed(mesh, (inputs, start), problem.grid.shape)
            with on(mesh):
                record, last = trajectories(
                    problem, plan, inputs, start, seed, replicates=replicates, devices=min(replicates, devices)
                )
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
    plan = make_plan(times, problem)
    with precision_context(problem.precision):
        inputs, start = make_inputs(model, parameters, problem.precision), start_array(model, problem)
        given = (inputs, start, jnp.asarray(seed, BITS_DTYPE))
        record, last = trajectories(problem, plan, *given, replicates=n, devices=1)
    assert last.log_p is not None
    return Trajectory(np.asarray(times, float), *record, health=last.health, problem=problem), last.log_p


def simulate_each(
    model: Model,
    times: Sequence[float],
    shared: Mapping[str, Any],
    each: Mapping[str, Array],
    seed: int | Bits,
    time_step: float | None,
) -> tuple[Trajectory, Callable[[Record], dict[str, Array]]]:
    """Trajectories of ``leap_st``, each with copies of some parameters of its own, and the pull-back to these.

    One pull-back of a number of each replicate gives its derivatives in all of them. Both are compiled once a problem.

    Args:
        model: as of :func:`simulate`, like times, seed and time_step.
        times: seconds.
        shared: parameters of all replicates.
        each: a copy for each of the others, (replicates, ...), all alike.
        seed: of all draws.
        time_step: longest step in seconds, or None for the model's.

    """
    n = len(next(iter(each.values())))
    _check_call(model, seed, n, time_step)
    problem = replace(_with_estimator(_problem(model, "leap", time_step), "leap_st"), is_reversible=True)
    plan = make_plan(times, problem)
    with precision_context(problem.precision):
        inputs = make_inputs(model, {**shared, **{name: rows[0] for name, rows in each.items()}}, problem.precision)
        own = {name: jnp.reshape(rows, (n, *inputs.parameters[name].shape)) for name, rows in each.items()}
        given = (start_array(model, problem), jnp.asarray(seed, BITS_DTYPE))
        record, last, pull_back = _with_pull_back(problem, plan, inputs, own, *given)

    def pulled(cotangent: Record) -> dict[str, Array]:
        (found,) = _pulled(pull_back, cotangent)
        return {name: jnp.reshape(found[name], jnp.shape(rows)) for name, rows in each.items()}

    return Trajectory(np.asarray(times, float), *record, health=last.health, problem=problem), pulled


@program(static=("problem", "plan"))
def _with_pull_back(
    problem: Problem, plan: Plan, inputs: Inputs, each: Parameters, start: Array, seed: Bits
) -> tuple[Record, State, Callable[[Record], tuple[Parameters]]]:
    def run(each: Parameters) -> tuple[Record, State]:
        def one(number: Bits, own: Parameters) -> tuple[Record, State]:
            given = inputs._replace(parameters={**inputs.parameters, **own}, common=inputs.parameters)
            return trajectory(problem, plan, given, start, seed, number)

        return jax.vmap(one)(jnp.arange(len(next(iter(each.values()))), dtype=BITS_DTYPE), each)

    record, pull_back, last = jax.vjp(run, each, has_aux=True)
    return record, last, pull_back


@program(static=())
def _pulled(pull_back: Callable[[Record], tuple[Parameters]], cotangent: Record) -> tuple[Parameters]:
    return pull_back(cotangent)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _straight_through(
    problem: Problem,
    plan: Plan,
    replicates: int,
    parameters: Parameters,
    fields: dict[str, Array],
    start: Array,
    seed: Bits,
) -> tuple[Record, State]:
    """As :func:`trajectories`, for ``leap_st``."""
    inputs = Inputs(parameters, fields)
    return trajectories(problem, plan, inputs, start, seed, replicates=replicates, devices=1)


@partial(_straight_through.defjvp, symbolic_zeros=True)
def _(  # pyright: ignore[reportUnusedFunction]
    problem: Problem, plan: Plan, replicates: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
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


@program(static=("problem", "plan", "replicates", "names"))
def _with_jacobian(
    problem: Problem,
    plan: Plan,
    replicates: int,
    names: tuple[str, ...],
    inputs: Inputs,
    start: Array,
    seed: Bits,
) -> tuple[tuple[Record, State], Record]:
    """Records and last states, and the derivatives of the records by each of the named parameters, (names, ...)."""

    def record(chosen: Parameters) -> tuple[Record, State]:
        given = inputs._replace(parameters={**inputs.parameters, **chosen})
        return trajectories(problem, plan, given, start, seed, replicates=replicates, devices=1)

    def along(direction: Array) -> tuple[Record, Record, State]:
        tangent = dict(zip(names, direction, strict=True))
        return jax.jvp(record, ({name: inputs.parameters[name] for name in names},), (tangent,), has_aux=True)

    basis = jnp.eye(len(names), dtype=problem.precision)
    found, slopes, last = jax.vmap(along, out_axes=(None, 0, None))(basis)
    return (found, last), slopes


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
    with known_now(), precision_context(problem.precision):
        found = with_step(replace(problem, engine="mean_field"), moments(problem, model), time_step_s, model.tolerance)
    return replace(found, engine=problem.engine)


def moments(problem: Problem, model: Model) -> Moments:
    """What bounds on the step look at: the start, with means for random numbers, and what interventions make of it."""
    with known_now(), precision_context(problem.precision):
        inputs = make_inputs(model, None, problem.precision)
        states = _smooth_states(
            replace(problem, engine="mean_field"), inputs, jnp.asarray(model.start, problem.precision)
        )
        return [(current_inputs(problem, inputs, state), state.counts) for state in states]


@partial(jax.jit, static_argnames="smooth", compiler_options=ONCE)
def _smooth_states(smooth: Problem, inputs: Inputs, start: Array) -> list[State]:
    nothing = jnp.zeros((), BITS_DTYPE)
    first = initial_state(smooth, inputs, start, nothing, nothing)
    return states_after_each(smooth, inputs, first, make_stream(nothing, nothing))


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


def _num_devices(seed: int | Bits, parameters: Mapping[str, Any] | None) -> int:
    """Devices to use: one under jit, vmap and grad, where the caller decides."""
    given = (seed, *(parameters or {}).values(), jnp.zeros(()))  # of constants a traced function is told by the last
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is not None or any(is_traced(value) for value in given):
        return 1
    return jax.local_device_count()


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
