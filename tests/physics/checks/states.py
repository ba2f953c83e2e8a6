"""All states of a small model, and the generator of its master equation.

The generator is built from the model's propensities and hop rates alone; the step is another matter
(:mod:`tests.physics.checks.step_matrix`), so that one can be compared with the other.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse, stats

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.kernels.diffusion import hop_rates
from exodiff.kernels.faces import fluid_velocity
from exodiff.kernels.rates import Voxels, propensity
from exodiff.model.network import Product
from exodiff.problem import Inputs, Model, Problem
from exodiff.start import make_inputs, precision_context

MOST_STATES = 20_000


@dataclass(frozen=True, eq=False)
class Space:
    """The states of a model with at most so many molecules of each species in a voxel.

    Args:
        model: in double precision, so that only the splitting error is seen.
        states: (state, species, voxel), in the order of ``State.counts``; the first is the start.
        compiled: functions of the states, shared by spaces of one model with other steps.

    """

    model: Model
    states: np.ndarray
    compiled: dict[str, Callable[..., Array]] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """Its static structure."""
        return self.model.problem

    @cached_property
    def inputs(self) -> Inputs:
        """Its numbers."""
        with precision_context(self.problem.precision):
            return make_inputs(self.model, None, self.problem.precision)

    @cached_property
    def counts(self) -> Array:
        """States as the step sees them, (state, species, x, y, z)."""
        return jnp.asarray(self.states.reshape(*self.states.shape[:2], *self.problem.grid.shape), COUNT_DTYPE)

    @cached_property
    def _bases(self) -> np.ndarray:
        flat = self.states.reshape(len(self.states), -1)
        return np.concatenate(([1], np.cumprod(flat.max(0)[:-1].astype(np.int64) + 1)))

    @cached_property
    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        keys = self.states.reshape(len(self.states), -1) @ self._bases
        order = np.argsort(keys)
        return keys[order], order

    def find(self, states: np.ndarray) -> np.ndarray:
        """Place of each state, -1 for those beyond the space."""
        flat = states.reshape(len(states), -1)
        inside = np.all((flat >= 0) & (flat <= self.states.reshape(len(self.states), -1).max(0)), axis=1)
        keys, order = self._keys
        wanted = flat @ self._bases
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(inside & (keys[place] == wanted), order[place], -1)

    def over_states(self, name: str, function: Callable[..., Array], *arguments: float) -> np.ndarray:
        """A function of (voxels, arguments) for every state, compiled once for each name."""
        with precision_context(self.problem.precision):
            if name not in self.compiled:

                def of_one(inputs: Inputs, counts: Array, *given: Array) -> Array:
                    return function(Voxels(self.problem, inputs, counts, jnp.zeros_like(given[0])), *given[1:])

                every = (None, 0, None, *[None] * len(arguments))
                self.compiled[name] = jax.jit(jax.vmap(of_one, in_axes=every))
            given = [jnp.asarray(a, self.problem.precision) for a in (0.0, *arguments)]
            return np.asarray(self.compiled[name](self.inputs, self.counts, *given))

    def voxels(self, counts: Array) -> Voxels:
        """What rates see of one state; to be called in the precision of the problem."""
        return Voxels(self.problem, self.inputs, counts, jnp.zeros((), self.problem.precision))

    def start(self) -> np.ndarray:
        """The law at time zero."""
        return np.eye(1, len(self.states))[0]

    def transitions(self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> sparse.csr_array:
        """Matrix of (from, to state, weight); what leaves the space is lost."""
        place = self.find(targets)
        kept = (place >= 0) & (weights > 0)
        shape = (len(self.states), len(self.states))
        return sparse.csr_array((weights[kept], (rows[kept], place[kept])), shape=shape)


def enumerate_states(model: Model, caps: Mapping[str, int] | None = None) -> Space:
    """All states that reactions and hops reach from the model's start."""
    problem = model.problem
    network = problem.network
    assert not network.moves_cells
    assert not any(c.kills for c in network.channels)
    first = np.asarray(model.start, np.int64).reshape(len(network.species), -1)
    for cell_type in range(network.first_type, len(network.species)):  # what cells start with
        for place, name in enumerate(network.in_cell):
            content = model.parameters.get(f"species.{name}.initial.{network.species[cell_type]}", 0)
            first[network.num_free + place] += int(content) * first[cell_type]
    most = np.asarray([(caps or {}).get(name, np.iinfo(np.int32).max) for name in network.species])[:, None]
    seen = {first.tobytes(): first}
    queue = deque([first])
    while queue:
        for state in _reached(problem, queue.popleft(), most):
            key = state.tobytes()
            if key not in seen:
                seen[key] = state
                queue.append(state)
        assert len(seen) <= MOST_STATES, "too many states: give lower caps"
    return Space(model, np.stack(list(seen.values())))


def _reached(problem: Problem, state: np.ndarray, most: np.ndarray) -> Iterator[np.ndarray]:
    network = problem.network
    for channel in network.channels:
        for voxel in range(state.shape[1]):
            if any(state[s, voxel] < order for s, order in channel.reactants):
                continue
            after = state.copy()
            for s, change in channel.changes:
                after[s, voxel] += change
            for product in channel.bursts:
                yield from _up_to(after, product.species, voxel, most)
            if np.all((after >= 0) & (after <= most)):
                yield after
    for s, diffusivity in enumerate(network.diffusivity):
        if diffusivity is None:
            continue
        for here in np.flatnonzero(state[s]):
            for there in range(state.shape[1]):
                after = state.copy()
                after[s, here] -= 1
                after[s, there] += 1
                yield after


def _up_to(state: np.ndarray, species: int, voxel: int, most: np.ndarray) -> Iterator[np.ndarray]:
    for number in range(int(most[species, 0]) + 1 - int(state[species, voxel])):
        after = state.copy()
        after[species, voxel] += number
        yield after


def burst_pmf(space: Space, product: Product, events: int, size: int) -> np.ndarray:
    """Law of the copies that some events make, on 0 ... size - 1."""
    with precision_context(space.problem.precision):
        first = space.voxels(space.counts[0])
        arguments = [float(first.evaluate(a)) for a in product.burst.arguments]
    made = np.arange(size)
    if events == 0:
        return (made == 0).astype(float)
    if product.burst.kind == "poisson":
        return stats.poisson.pmf(made, arguments[0] * events)
    if product.burst.kind == "geometric":
        return stats.nbinom.pmf(made, events, 1.0 / (1.0 + arguments[0]))
    fraction, mean = arguments
    loaded = np.arange(events + 1)
    return stats.binom.pmf(loaded, events, fraction) @ stats.poisson.pmf(made, mean * loaded[:, None])


def generator(space: Space) -> sparse.csr_array:
    """Rates of the master equation, rows sum to zero up to what leaves the space."""
    reactions, hops = reaction_generator(space), hop_generator(space)
    return reactions + hops


def reaction_generator(space: Space) -> sparse.csr_array:
    """Rates of the reactions alone."""
    number = len(space.states)
    total = sparse.csr_array((number, number))
    for channel in space.problem.network.channels:
        rates = space.over_states(
            f"propensity of {channel.name}",
            lambda v, channel=channel: jnp.broadcast_to(propensity(v, channel), v.counts.shape[1:]),
        ).reshape(number, -1)
        for voxel, rate in enumerate(rates.T):
            target = space.states.copy()
            for s, change in channel.changes:
                target[:, s, voxel] += change
            total += _with_bursts(space, target, rate, channel.bursts, voxel)
            total -= sparse.diags_array(rate)
    return sparse.csr_array(total)


def _with_bursts(
    space: Space, target: np.ndarray, rate: np.ndarray, bursts: tuple[Product, ...], voxel: int
) -> sparse.csr_array:
    rows = np.arange(len(target))
    if not bursts:
        return space.transitions(rows, target, rate)
    (product,) = bursts
    size = int(space.states[:, product.species, voxel].max()) + 1
    total = sparse.csr_array((len(target), len(target)))
    for made, weight in enumerate(burst_pmf(space, product, 1, size)):
        after = target.copy()
        after[:, product.species, voxel] += made
        total += space.transitions(rows, after, rate * weight)
    return sparse.csr_array(total)


def hop_generator(space: Space) -> sparse.csr_array:
    """Rates of the hops alone."""
    grid, network = space.problem.grid, space.problem.network
    number, places = len(space.states), np.arange(grid.num_voxels).reshape(grid.shape)
    total = sparse.csr_array((number, number))
    for s, expression in enumerate(network.diffusivity):
        for axis in (a for a in range(3) if expression is not None and grid.can_hop(a)):
            assert expression is not None
            with precision_context(space.problem.precision):
                diffusivity = space.voxels(space.counts[0]).evaluate(expression)
                velocity = fluid_velocity(space.problem, space.inputs, axis)
                both = hop_rates(diffusivity, grid, axis, velocity)
            for rates, step in zip(both, (-1, 1), strict=True):
                rate = np.broadcast_to(np.asarray(rates), grid.shape).ravel()
                neighbour = np.roll(places, -step, axis).ravel()
                for here in np.flatnonzero(rate > 0):
                    weight = rate[here] * space.states[:, s, here]
                    target = space.states.copy()
                    target[:, s, here] -= 1
                    target[:, s, neighbour[here]] += 1
                    total += space.transitions(np.arange(number), target, weight) - sparse.diags_array(weight)
    return sparse.csr_array(total)
