"""Observables: what is read off a state, exactly, and the arithmetic on it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, TINY_OCCUPANCY, Mask, Real
from exodiff.core.expressions import Call, Expression, Name, evaluate, to_text, walk
from exodiff.kernels import totals
from exodiff.kernels.rates import Voxels
from exodiff.lattice.grid import Grid
from exodiff.problem import Histogram, Inputs, Problem, Profile
from exodiff.state import State


class Measured(NamedTuple):
    """What a state gives: exact totals by their text, and arrays of profiles and histograms by observable."""

    totals: dict[str, Array]
    arrays: dict[str, Array]


def measured_calls(problem: Problem) -> tuple[Call, ...]:
    """The totals, means and event counts that the observables name, once each."""
    calls = [
        node
        for observable in problem.observables
        if not isinstance(observable.quantity, Profile | Histogram)
        for node in walk(observable.quantity)
        if isinstance(node, Call) and node.function in ("total", "mean", "events")
    ]
    return tuple(dict.fromkeys(calls))


def event_counters(expressions: tuple[Expression, ...]) -> tuple[tuple[str, str], ...]:
    """(reaction, region) pairs that are counted, in the order in which the expressions name them."""
    calls = [n for e in expressions for n in walk(e) if isinstance(n, Call) and n.function == "events"]
    return tuple(dict.fromkeys(_reaction_and_region(call) for call in calls))


def _reaction_and_region(call: Call) -> tuple[str, str]:
    reaction, *region = (argument.name for argument in call.arguments if isinstance(argument, Name))
    return reaction, region[0] if region else ""


def measure(problem: Problem, inputs: Inputs, state: State, time_s: Real) -> Measured:
    """Read the observables off a state; totals are exact."""
    voxels = Voxels(problem, inputs, state.counts, time_s)
    sums: dict[str, Array] = {}
    for call in measured_calls(problem):
        key = to_text(call)
        if call.function == "events":
            sums[key] = state.events[problem.event_counters.index(_reaction_and_region(call))]
            continue
        species, *where = (argument.name for argument in call.arguments if isinstance(argument, Name))
        counts = state.counts[problem.network.index(species)]
        weight = _weight(voxels, where[0]) if where else jnp.ones((), counts.dtype)
        sums[key] = totals.total(counts * (_share_of_type(voxels, species, where[0]) if where else weight))
        if call.function == "mean":
            sums[f"size of {key}"] = totals.total(jnp.broadcast_to(weight, counts.shape))
    arrays = {}
    for observable in problem.observables:
        if isinstance(observable.quantity, Profile):
            arrays[observable.name] = _profile(voxels, observable.quantity)
        elif isinstance(observable.quantity, Histogram):
            arrays[observable.name] = _histogram(voxels, observable.quantity)
    return Measured(sums, arrays)


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
        parameters: values of the parameters that the observables name.
        time_s: time of the state.
        xp: ``numpy`` (float64, totals exact to 2^48) or ``jax.numpy`` (the problem's precision).

    """
    dtype = "float64" if xp is np else problem.precision

    def look_up(node: Name | Call) -> Any:
        if isinstance(node, Name):
            return time_s if node.name == "t" else parameters[node.name]
        key = to_text(node)
        value = _real(measured.totals[key], dtype, xp)
        if node.function == "mean":
            size = _real(measured.totals[f"size of {key}"], dtype, xp)
            return xp.where(size > 0, value / xp.where(size > 0, size, 1.0), xp.nan)
        return value

    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            observable.name: evaluate(observable.quantity, look_up, xp)
            for observable in problem.observables
            if not isinstance(observable.quantity, Profile | Histogram)
        }


def _real(words: Any, dtype: str, xp: Any) -> Any:
    if xp is np:
        words = np.asarray(words)
        scale = 1.0 if np.issubdtype(words.dtype, np.floating) else 65536.0
        return words[..., 0].astype(dtype) * scale + (0.0 if scale == 1.0 else words[..., 1].astype(dtype))
    return totals.to_real(words, dtype)


def squared_distance_um2(origin: Mask, grid: Grid) -> Real:
    """Squared distance from each voxel centre to the nearest origin voxel's, across periodic walls; inf without one.

    Exact separable transform (P. Felzenszwalb, D. Huttenlocher, Theory of Computing 8, 2012), by direct minimisation
    along each axis.
    """
    result = jnp.where(origin, 0.0, jnp.inf).astype(jnp.float32)
    for axis in range(3):
        length, spacing = grid.shape[axis], grid.spacing_um[axis]
        if length == 1:
            continue
        shape = [1, 1, 1]
        shape[axis] = length
        place = jnp.arange(length).reshape(shape)
        before = result

        def nearer(
            j: Array,
            best: Real,
            before: Real = before,
            axis: int = axis,
            place: Array = place,
            spacing: float = spacing,
        ) -> Real:
            gap = jnp.abs(place - j)
            if grid.is_periodic(axis):
                gap = jnp.minimum(gap, place.size - gap)
            step = gap.astype(jnp.float32) * spacing
            return jnp.minimum(best, lax.dynamic_slice_in_dim(before, j, 1, axis) + step * step)

        result = lax.fori_loop(0, length, nearer, jnp.full_like(before, jnp.inf))
    return result


def num_profile_bins(grid: Grid, bin_um: float) -> int:
    """Bins that hold every distance on the lattice."""
    longest = np.sqrt(sum(((n - 1) * h) ** 2 for n, h in zip(grid.shape, grid.spacing_um, strict=True)))
    return int(longest / bin_um) + 1


def _profile(voxels: Voxels, profile: Profile) -> Real:
    """Mean over the voxels in each bin of distance; NaN in empty bins."""
    origin = _weight(voxels, profile.origin) > 0.5
    distance = jnp.sqrt(squared_distance_um2(origin, voxels.problem.grid))
    value = jnp.broadcast_to(voxels.evaluate(profile.of), distance.shape)
    place = jnp.where(jnp.isfinite(distance), jnp.floor(distance / profile.bin_um + 1e-4), profile.num_bins)
    place = jnp.clip(place, 0, profile.num_bins).astype(jnp.int32).reshape(-1)
    size = profile.num_bins + 1
    total = jnp.zeros((size,), value.dtype).at[place].add(value.reshape(-1))[:-1]
    voxels_in = jnp.zeros((size,), COUNT_DTYPE).at[place].add(1)[:-1]
    return jnp.where(voxels_in > 0, total / jnp.maximum(voxels_in, 1), jnp.nan)


def _histogram(voxels: Voxels, histogram: Histogram) -> Real:
    """Voxels (weighted by occupancy in ``mean_field``) with a value in each bin, the last bin closed."""
    weight = _weight(voxels, histogram.over).reshape(-1)
    value = jnp.broadcast_to(voxels.evaluate(histogram.of), voxels.problem.grid.shape).reshape(-1)
    edges = jnp.asarray(histogram.edges, value.dtype)
    place = jnp.searchsorted(edges, value, side="right") - 1
    last = len(histogram.edges) - 2
    place = jnp.where(value == edges[-1], last, place)
    inside = (place >= 0) & (place <= last)
    return jnp.zeros((last + 1,), weight.dtype).at[jnp.clip(place, 0, last)].add(jnp.where(inside, weight, 0))
