"""The transition law of a pair of steps, enumerated from exodiff's own list of operations.

The order of the operations, their backward order, their kinds of draw and every number that a draw gets (probability,
mean, factor, propensity after so many events) are taken from :mod:`exodiff.passes`; here each is only turned into
the law of its draw: a binomial, a Poisson, a chain of exponential clocks, or a molecule's displacement in a hop. A
mistake in the step's order, rates or hop probabilities is therefore also in this law, and shows in its error against
the master equation. A change of order for comparison is a change of the visiting order alone.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse, stats
from scipy.linalg import expm

from exodiff.core.arrays import COUNT_DTYPE
from exodiff.kernels.clocks import MassAction
from exodiff.kernels.policies import Discrete, Mean
from exodiff.kernels.random import make_stream, voxel_index
from exodiff.kernels.rates import Voxels, propensity_after
from exodiff.kernels.reactions import mass_action_table
from exodiff.model.network import DrawKind
from exodiff.operation_draws import Amounts, Step, even_gain, inputs_of, uneven_gain
from exodiff.operations import (
    EVEN_HOP,
    Operation,
    backward_order,
    even_law,
    even_laws,
    hop_law,
    hop_laws,
    operations,
)
from exodiff.problem import Inputs
from exodiff.start import precision_context
from exodiff.stepsize import exit_and_hop_rates
from tests.physics.checks.states import Space, burst_pmf

TINY = 1e-17


@dataclass(frozen=True, eq=False)
class StepLaw:
    """What steps of one length do to the law of the states.

    Args:
        space: the states.
        dt_s: length of a step.

    """

    space: Space
    dt_s: float

    @cached_property
    def matrices(self) -> tuple[tuple[sparse.csr_array, ...], ...]:
        """Of each operation of the forward list: factors that act one after the other."""
        return tuple(self._operation(op) for op in operations(self.space.problem))

    @property
    def backward_order(self) -> tuple[int, ...]:
        """Places in the list of a backward step."""
        return backward_order(self.space.problem)

    def visit(self, law: np.ndarray, order: tuple[int, ...] | range) -> np.ndarray:
        """The law after the operations in this order."""
        return reduce(lambda p, m: p @ m, (m for place in order for m in self.matrices[place]), law)

    def forwards(self, law: np.ndarray) -> np.ndarray:
        """The law after a forward step."""
        return self.visit(law, range(len(self.matrices)))

    def backwards(self, law: np.ndarray) -> np.ndarray:
        """The law after a backward step."""
        return self.visit(law, self.backward_order)

    def pair(self, law: np.ndarray) -> np.ndarray:
        """The law after a pair of steps as the engine does it, without halvings."""
        return self.backwards(self.forwards(law))

    def _operation(self, op: Operation) -> tuple[sparse.csr_array, ...]:
        if op.hop is not None:
            return (self._hop(op),)
        weights = self._events(op)
        return tuple(self._in_voxel(op, voxel, weights[:, voxel]) for voxel in range(weights.shape[1]))

    def _step(self, inputs: Inputs, dt_s: Array, *, mean: bool = False) -> Step:
        problem = self.space.problem
        places = voxel_index(problem.grid.shape)
        time = jnp.zeros((), problem.precision)
        policy = Mean() if mean else Discrete()
        return Step(problem, inputs, policy, make_stream(0, 0), places, time, dt_s)

    def _events(self, op: Operation) -> np.ndarray:
        """Probability of 0, 1, ... events in each voxel, (state, voxel, events)."""
        space = self.space
        most = np.arange(int(space.states.max()) + 1)

        def numbers(voxels: Voxels, dt_s: Array) -> Array:
            """Probability, mean, or the chain of propensities: one row a voxel."""
            step, amounts = self._step(voxels.inputs, dt_s), Amounts(voxels.counts, jnp.zeros((0, 2)))
            if op.channel is not None and op.channel.kind is DrawKind.MODULATED:
                after = propensity_after(step.voxels(amounts), op.channel)
                chain = jax.vmap(after)(jnp.asarray(most, COUNT_DTYPE)) * step.dt_s
            elif op.channel is not None and op.channel.kind is DrawKind.CHAIN:
                table = mass_action_table(op.channel)
                inputs = inputs_of(step, amounts, op)
                law = MassAction(inputs.real, inputs.first, inputs.second, table[:2], table[2:])
                chain = jax.vmap(law.propensity)(jnp.asarray(most, COUNT_DTYPE))
            else:
                inputs = inputs_of(step, amounts, op)
                chain = jnp.stack([inputs.real, inputs.first.astype(inputs.real.dtype)])
            return chain.reshape(len(chain), -1).T

        given = space.over_states(op.site, numbers, self.dt_s)
        kind = DrawKind.POISSON if op.channel is None else op.channel.kind
        if kind is DrawKind.POISSON:
            return stats.poisson.pmf(most, given[..., :1])
        if kind is DrawKind.BINOMIAL:
            return stats.binom.pmf(most, given[..., 1:], given[..., :1])
        return chain_pmf(given.reshape(-1, len(most))).reshape(given.shape)

    def _in_voxel(self, op: Operation, voxel: int, weights: np.ndarray) -> sparse.csr_array:
        """Matrix of the operation in one voxel; the voxels do not see each other, so one may follow another."""
        space = self.space
        total = sparse.csr_array((len(space.states), len(space.states)))
        bursts = op.channel.bursts if op.channel is not None else ()
        for events in np.flatnonzero(weights.max(0) > TINY):
            target = space.states.copy()
            for species, change in op.changes:
                target[:, species, voxel] += change * events
            made = [(0, 1.0)]
            if bursts:
                (product,) = bursts
                size = int(space.states[:, product.species, voxel].max()) + 1
                made = list(enumerate(burst_pmf(space, product, int(events), size)))
            for number, chance in made:
                after = target.copy()
                if bursts:
                    after[:, bursts[0].species, voxel] += number
                total += space.transitions(np.arange(len(after)), after, weights[:, events] * chance)
        return sparse.csr_array(total)

    def _hop(self, op: Operation) -> sparse.csr_array:
        """Matrix of a hop of one species along one axis: molecules move independently, each by the kernel's law."""
        assert op.hop is not None
        species, _ = op.hop
        space = self.space
        grid, even = space.problem.grid, op.kind(space.problem) == EVEN_HOP
        with precision_context(space.problem.precision):
            step = self._step(space.inputs, jnp.asarray(self.dt_s, space.problem.precision), mean=True)
            units = jnp.eye(grid.num_voxels, dtype=space.problem.precision).reshape(-1, *grid.shape)

            def moved(unit: Array) -> Array:
                counts = jnp.zeros((len(space.problem.network.species), *grid.shape), unit.dtype).at[species].set(unit)
                inputs = inputs_of(step, Amounts(counts, jnp.zeros((0, 2))), op)
                law = hop_laws(space.problem).index(hop_law(space.problem, op))
                if not even:
                    return unit + uneven_gain(step, step.stream, inputs, law, 1.0 / op.parts)
                place = even_laws(space.problem).index(even_law(space.problem, op))
                return unit + even_gain(step, step.stream, inputs, law, place)

            kernel = np.asarray(jax.vmap(moved)(units)).reshape(grid.num_voxels, -1)
        rows, targets, weights = [], [], []
        for row, state in enumerate(space.states):
            for numbers, weight in _spread(tuple(int(n) for n in state[species]), _Kernel(kernel)).items():
                after = state.copy()
                after[species] = numbers
                rows.append(row)
                targets.append(after)
                weights.append(weight)
        return space.transitions(np.asarray(rows), np.stack(targets), np.asarray(weights))


class _Kernel:
    """A hashable matrix."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        self._key = matrix.tobytes()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kernel) and self._key == other._key


@lru_cache(maxsize=100_000)
def _spread(numbers: tuple[int, ...], kernel: _Kernel) -> dict[tuple[int, ...], float]:
    """Law of the numbers in all voxels after independent moves: the last molecule is added to those before it."""
    occupied = [v for v, n in enumerate(numbers) if n]
    if not occupied:
        return {numbers: 1.0}
    here = occupied[-1]
    fewer = (*numbers[:here], numbers[here] - 1, *numbers[here + 1 :])
    result: dict[tuple[int, ...], float] = {}
    row = kernel.matrix[here]
    gone = 1.0 - row.sum()  # through an open wall
    for before, weight in _spread(fewer, kernel).items():
        for there, p in enumerate(row):
            after = (*before[:there], before[there] + 1, *before[there + 1 :])
            result[after] = result.get(after, 0.0) + weight * p
        if gone > 1e-12:
            result[before] = result.get(before, 0.0) + weight * gone
    return result


def chain_pmf(propensities: np.ndarray) -> np.ndarray:
    """Law of the number of events in unit time when event k + 1 has propensity a_k, for each row of a_0, a_1, ..."""
    rows, inverse = np.unique(propensities.round(15), axis=0, return_inverse=True)
    size = rows.shape[1]
    chains = np.zeros((len(rows), size, size))
    places = np.arange(size)
    chains[:, places, places] = -rows
    chains[:, places[:-1], places[1:]] = rows[:, :-1]
    return np.clip(expm(chains)[:, 0], 0.0, None)[inverse.ravel()]


def advance(space: Space, law: np.ndarray, dt_s: float, num_pairs: int, laws: dict[float, StepLaw]) -> np.ndarray:
    """The law after so many pairs, each state in its 2^k parts as the limits of the problem ask for."""
    halvings = _halvings(space, dt_s)
    for _ in range(num_pairs):
        after = np.zeros_like(law)
        for k in np.unique(halvings[law > TINY]):
            part = np.where(halvings == k, law, 0.0)
            fine = laws.setdefault(dt_s / 2**k, StepLaw(space, dt_s / 2**k))
            for _ in range(2**k):
                part = fine.pair(part)
            after += part
        law = after
    return law


def _halvings(space: Space, dt_s: float) -> np.ndarray:
    """k of each state, by the rule of ``step.advance_pair``."""
    problem = space.problem

    def rates(voxels: Voxels) -> Array:
        limits = exit_and_hop_rates(problem, voxels.inputs, voxels.counts, voxels.time_s)
        return jnp.stack([limits.exit_per_s, limits.hop_excess_per_s * problem.hop_limit])

    excess = space.over_states("limits", rates) * dt_s / (problem.exit_limit, problem.hop_limit)
    return np.ceil(np.log2(np.maximum(excess.max(1), 1.0) * (1.0 - 1e-6))).astype(int)
