"""Observables: what is read off a state, exactly, and the arithmetic on it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, TINY_OCCUPANCY, Mask, Number, Real
from exodiff.core.expressions import OBSERVABLE_FORMS, Call, Expression, Name, evaluate, names, to_text, walk
from exodiff.kernels import instruments, totals, words
from exodiff.kernels.bins import bin_sums
from exodiff.kernels.decomposition import whole_along
from exodiff.kernels.policies import is_discrete, policy_of
from exodiff.kernels.pools import with_pools
from exodiff.kernels.random import Stream, fold, site_id
from exodiff.kernels.rates import Voxels, with_concentrations
from exodiff.lattice.grid import Grid
from exodiff.problem import Assay, Binned, Histogram, Inputs, Observable, Problem, Profile, SizeHistogram
from exodiff.state import State

_LAYERS_AT_ONCE = 8  # in a search along an axis, so that what was found so far is read and written less often


class Measured(NamedTuple):
    """What a state gives.

    Attributes:
        totals: exact totals, and amounts outside the lattice, by their text.
        arrays: profiles and histograms by observable.
        assays: counts of positives by observable.
        settings: values now of the parameters that interventions change, by name.

    """

    totals: dict[str, Array]
    arrays: dict[str, Array]
    assays: dict[str, Array]
    settings: dict[str, Array]


def scalar_expressions(observables: Iterable[Observable]) -> tuple[Expression, ...]:
    """The scalar expressions that observables read, of assays what is counted."""
    quantities = [observable.quantity for observable in observables]
    return tuple(q.of if isinstance(q, Assay) else q for q in quantities if not isinstance(q, Binned))


def expressions_in(quantity: Expression | Binned | Assay) -> tuple[Expression, ...]:
    """All expressions of an observable."""
    if isinstance(quantity, Profile | Histogram):
        return (quantity.of,)
    if isinstance(quantity, SizeHistogram):
        return quantity.of
    if isinstance(quantity, Assay):
        numbers = (quantity.recovery, quantity.background, quantity.false_positive, quantity.detection_limit)
        return (quantity.of, quantity.sample, *numbers)
    return (quantity,)


def measured_calls(expressions: Iterable[Expression]) -> tuple[Call, ...]:
    """The totals, means and event counts that expressions name, once each."""
    nodes = (node for expression in expressions for node in walk(expression))
    calls = (n for n in nodes if isinstance(n, Call) and n.function in OBSERVABLE_FORMS)
    return tuple(dict.fromkeys(calls))


def event_counters(expressions: tuple[Expression, ...]) -> tuple[tuple[str, str], ...]:
    """(reaction, region) pairs that are counted, in the order in which the expressions name them."""
    calls = [n for e in expressions for n in walk(e) if isinstance(n, Call) and n.function == "events"]
    return tuple(dict.fromkeys(_reaction_and_region(call) for call in calls))


def _reaction_and_region(call: Call) -> tuple[str, str]:
    reaction, *region = (argument.name for argument in call.arguments if isinstance(argument, Name))
    return reaction, region[0] if region else ""


def current_inputs(problem: Problem, inputs: Inputs, state: State) -> Inputs:
    """The inputs with the values that interventions gave to parameters, and the concentrations."""
    settings = {name: state.settings[i] for i, name in enumerate(problem.settings)}
    inputs = with_concentrations(problem, inputs, state.concentrations)
    inputs = with_pools(problem, inputs, state.pools)
    return inputs._replace(parameters={**inputs.parameters, **settings})


def measure(problem: Problem, inputs: Inputs, state: State, time_s: Real, root: Stream) -> Measured:
    """Read the observables off a state; totals are exact.

    Instruments draw under the stream ``root`` of the replicate, at an address of their own for each name and time.
    """
    inputs = current_inputs(problem, inputs, state)
    voxels = Voxels(problem, inputs, state.counts, time_s)
    arrays, assays = {}, {}
    for observable in problem.observables:
        if isinstance(observable.quantity, Profile):
            arrays[observable.name] = _profile(voxels, observable.quantity)
        elif isinstance(observable.quantity, Histogram):
            arrays[observable.name] = _histogram(voxels, observable.quantity)
        elif isinstance(observable.quantity, SizeHistogram):
            stream = _measurement_stream(root, observable.name, time_s)
            arrays[observable.name] = _size_histogram(voxels, state, observable.quantity, stream)
        elif isinstance(observable.quantity, Assay):
            stream = _measurement_stream(root, observable.name, time_s)
            assays[observable.name] = _assay(voxels, state, observable.quantity, stream)
    sums = _sums(voxels, state, scalar_expressions(problem.observables))
    return Measured(sums, arrays, assays, {name: inputs.parameters[name] for name in problem.settings})


def read(voxels: Voxels, state: State, expression: Expression) -> Array:
    """Value of one scalar expression of a state (for a condition, whether it holds), as inside ``simulate``."""
    problem = voxels.problem
    sums = _sums(voxels, state, (expression,))
    found = evaluate(expression, _look_up(sums, voxels.inputs.parameters, voxels.time_s, problem.precision, jnp), jnp)
    return jnp.asarray(found)


def _sums(voxels: Voxels, state: State, expressions: Iterable[Expression]) -> dict[str, Array]:
    problem = voxels.problem
    sums: dict[str, Array] = {}
    expressions = tuple(expressions)
    for name in sorted(set().union(*map(names, expressions)) & set(problem.pools.names)):
        assert state.pools is not None
        sums[name] = words.signed(state.pools[problem.pools.names.index(name)])
    for call in measured_calls(expressions):
        key = to_text(call)
        if call.function == "events":
            sums[key] = state.events[problem.event_counters.index(_reaction_and_region(call))]
            continue
        species, *where = (argument.name for argument in call.arguments if isinstance(argument, Name))
        if species in problem.network.continuous:
            sums |= _sums_of_field(voxels, state, call, where)
            continue
        counts = state.counts[problem.network.index(species)]
        weight = _weight(voxels, where[0]) if where else jnp.ones((), counts.dtype)
        sums[key] = totals.total(counts * (_share_of_type(voxels, species, where[0]) if where else weight))
        if call.function == "mean":
            sums[f"size of {key}"] = totals.total(jnp.broadcast_to(weight, counts.shape))
    return sums


def _sums_of_field(voxels: Voxels, state: State, call: Call, where: list[str]) -> dict[str, Array]:
    """A total of a concentration, in molecules, or the sum and the number of voxels of a mean."""
    problem, (species, *_), key = voxels.problem, call.arguments, to_text(call)
    assert isinstance(species, Name)
    assert state.concentrations is not None
    value = state.concentrations[problem.network.continuous.index(species.name)]
    weight = _weight(voxels, where[0]).astype(value.dtype) if where else jnp.ones_like(value)
    if call.function == "total":
        return {key: totals.total(value * weight * problem.grid.fluid_volume_um3)}
    return {key: totals.total(value * weight), f"size of {key}": totals.total(weight)}


def _weight(voxels: Voxels, where: str) -> Array:
    """Occupancy of a cell type, or the mask of a region, in the dtype of the counts."""
    if where in voxels.problem.regions:
        return voxels.inputs.fields[f"region.{where}"].astype(voxels.counts.dtype)
    return voxels.counts[voxels.problem.network.index(where)]


def _share_of_type(voxels: Voxels, species: str, where: str) -> Array:
    """Part of a species in each voxel that counts: of molecules in cells, those in the cells of a type."""
    weight, network = _weight(voxels, where), voxels.problem.network
    if voxels.problem.engine != "mean_field" or species not in network.in_cell or where in voxels.problem.regions:
        return weight
    occupancy = voxels.occupancy()
    return weight / jnp.where(occupancy > TINY_OCCUPANCY, occupancy, 1.0)


def scalars(
    problem: Problem, measured: Measured, parameters: Mapping[str, Any], time_s: Any, xp: Any
) -> dict[str, Any]:
    """Values of the scalar observables.

    Args:
        problem: its observables are evaluated.
        measured: totals as words, with any leading axes.
        parameters: values of the parameters that the observables name; those that interventions change are in
            ``measured``.
        time_s: time of the state.
        xp: ``numpy`` (float64, totals exact to 2^53) or ``jax.numpy`` (the problem's precision).

    """
    dtype = "float64" if xp is np else problem.precision
    look_up = _look_up(measured.totals, {**parameters, **measured.settings}, time_s, dtype, xp)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: measured.assays[name] if isinstance(quantity, Assay) else evaluate(quantity, look_up, xp)
            for name, quantity in ((o.name, o.quantity) for o in problem.observables)
            if not isinstance(quantity, Binned)
        }


def _look_up(
    sums: Mapping[str, Any], parameters: Mapping[str, Any], time_s: Any, dtype: str, xp: Any
) -> Callable[[Name | Call], Any]:
    """The meaning of the names and forms of a scalar expression."""

    def look_up(node: Name | Call) -> Any:
        key = to_text(node)
        if isinstance(node, Name) and key not in sums:
            return time_s if key == "t" else parameters[key]
        value = _real(sums[key], dtype, xp)
        if isinstance(node, Call) and node.function == "mean":
            size = _real(sums[f"size of {key}"], dtype, xp)
            return xp.where(size > 0, value / xp.where(size > 0, size, 1.0), xp.nan)
        return value

    return look_up


def _real(words: Any, dtype: str, xp: Any) -> Any:
    if xp is np:
        words = np.asarray(words)
        if np.issubdtype(words.dtype, np.floating):
            return words[..., 0].astype(dtype)
        return words[..., 0].astype(dtype) * 2.0**32 + words[..., 1].astype(np.uint32).astype(dtype)
    return totals.to_real(words, dtype)


def squared_distance_um2(origin: Mask, grid: Grid) -> Real:
    """Squared distance from each voxel centre to the nearest origin voxel's, across periodic walls; inf without one.

    Another lattice is infinitely far.

    Exact separable transform (P. Felzenszwalb, D. Huttenlocher, Theory of Computing 8, 2012), by direct minimisation
    along each axis, from the first layer to the last that has an origin.
    """
    result = jnp.where(origin, 0.0, jnp.inf).astype(jnp.float32)
    for axis in range(3):
        if grid.shape[axis] > 1:
            result = _nearest_along(result, grid, axis)
    return result


def _nearest_along(before: Real, grid: Grid, axis: int) -> Real:
    """The least of the values of a row, each with the square of the way from it."""
    length, spacing = grid.shape[axis], grid.spacing_um[axis]
    shape = [1, 1, 1]
    shape[axis] = length
    place = jnp.arange(length).reshape(shape)
    stretch_of = jnp.asarray(grid.stretch_of(axis)).reshape(shape)
    before = whole_along(before, axis)  # nothing is exchanged inside of the loop
    others = tuple(a for a in range(3) if a != axis)
    is_source = jnp.any(jnp.isfinite(before), others)
    first, last = jnp.argmax(is_source), length - 1 - jnp.argmax(is_source[::-1])

    def nearer(group: Array, best: Real) -> Real:
        for offset in range(_LAYERS_AT_ONCE):
            j = jnp.minimum(first + group * _LAYERS_AT_ONCE + offset, length - 1)
            gap = jnp.abs(place - j)
            if grid.is_periodic(axis):
                gap = jnp.minimum(gap, length - gap)
            step = gap.astype(jnp.float32) * spacing
            if len(grid.stretches(axis)) > 1:
                step = jnp.where(stretch_of == lax.dynamic_slice_in_dim(stretch_of, j, 1, axis), step, jnp.inf)
            best = jnp.minimum(best, lax.dynamic_slice_in_dim(before, j, 1, axis) + step * step)
        return best

    num_groups = (last - first) // _LAYERS_AT_ONCE + 1
    return lax.fori_loop(0, num_groups, nearer, jnp.full_like(before, jnp.inf))


def num_profile_bins(grid: Grid, bin_um: float) -> int:
    """Bins that hold every distance on the lattice."""
    longest = np.sqrt(sum(((grid.longest(axis) - 1) * h) ** 2 for axis, h in enumerate(grid.spacing_um)))
    return int(longest / bin_um) + 1


def _profile(voxels: Voxels, profile: Profile) -> Real:
    """Mean over the voxels in each bin of distance; NaN in empty bins."""
    origin = _weight(voxels, profile.origin).astype(voxels.problem.precision) > 0.5
    distance = jnp.sqrt(squared_distance_um2(origin, voxels.problem.grid))
    value = jnp.broadcast_to(voxels.evaluate(profile.of), distance.shape)
    place = jnp.where(jnp.isfinite(distance), jnp.floor(distance / profile.bin_um + 1e-4), profile.num_bins)
    place = jnp.clip(place, 0, profile.num_bins).astype(COUNT_DTYPE)
    total = bin_sums(place, value, profile.num_bins)
    voxels_in = bin_sums(place, jnp.ones_like(place), profile.num_bins)
    return jnp.where(voxels_in > 0, total / jnp.maximum(voxels_in, 1).astype(total.dtype), jnp.nan)


def _histogram(voxels: Voxels, histogram: Histogram) -> Number:
    """Voxels (weighted by occupancy in ``mean_field``) with a value in each bin, the last bin closed."""
    value = jnp.broadcast_to(voxels.evaluate(histogram.of), voxels.problem.grid.shape)
    edges = jnp.asarray(histogram.edges, value.dtype)
    place = jnp.searchsorted(edges, value, side="right") - 1
    num_bins = len(histogram.edges) - 1
    place = jnp.where(value == edges[-1], num_bins - 1, place).astype(COUNT_DTYPE)
    return bin_sums(place, _weight(voxels, histogram.over), num_bins)


def _measurement_stream(root: Stream, name: str, time_s: Real) -> Stream:
    """Where an instrument draws: by its name and the time, to the resolution of float32."""
    return fold(root, site_id(f"observable:{name}"), lax.bitcast_convert_type(time_s.astype(jnp.float32), BITS_DTYPE))


def _size_histogram(voxels: Voxels, state: State, given: SizeHistogram, stream: Stream) -> Real:
    """Seen tracks in each bin of measured diameters; in ``mean_field`` as many as expected."""
    real = voxels.problem.precision
    numbers = jnp.stack([jnp.asarray(read(voxels, state, of), real) for of in given.of])
    track = (given.law, given.sample, given.track_steps, given.smallest_um)
    if not is_discrete(policy_of(voxels.problem.engine)):
        return instruments.mean_size_histogram(numbers, *track, given.edges)
    diameter_um, is_seen = instruments.tracked_diameters(stream, numbers, *track)
    inner = jnp.asarray(given.edges[1:-1], diameter_um.dtype)
    place = jnp.searchsorted(inner, diameter_um, side="right")
    return jnp.zeros((len(given.edges) - 1,), COUNT_DTYPE).at[place].add(is_seen.astype(COUNT_DTYPE))


def _assay(voxels: Voxels, state: State, given: Assay, stream: Stream) -> Real:
    """A count of positives, true and false; in ``mean_field`` its mean, whatever the detection limit."""
    found, sample, recovery, background, false_positive, limit = (
        jnp.asarray(read(voxels, state, expression), voxels.problem.precision) for expression in expressions_in(given)
    )
    concentration = found if given.volume is None else found / given.volume
    mean = sample * (recovery * concentration + false_positive * background)
    return instruments.counted(stream, mean, limit) if is_discrete(policy_of(voxels.problem.engine)) else mean
