"""Where the straight-through derivative of a curved loss loses a part: at less than about one copy.

A path at zero carries no derivative, so second moments of few copies lose a share of the order of P(n = 0)
(:mod:`exodiff.kernels.straight_through`). Of a loss of the numbers x, with means m and the Hessian H, the mean is seen
through m H m / 2 and the scatter, of which a part is lost, through sum_i H_ii m_i / 2. Their ratio is how many copies
the loss reads: m for (x - c)^2, the sum of all m for the square of a sum, however few there are in each voxel.
"""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from exodiff.core.expressions import Call
from exodiff.inference.question import Question
from exodiff.problem import Problem
from exodiff.trajectory import Trajectory, is_traced

FEW = 1.0


def warn_of_few(question: Question, trajectory: Trajectory) -> None:
    """Say so if a curved loss reads less than one copy; nothing where it cannot be known, inside ``jit``."""
    if is_traced(trajectory.counts):
        return
    copies = copies_read(question, trajectory)
    if copies is not None and copies < FEW:
        warnings.warn(
            f"leap_st: the loss is curved and reads about {copies:.2g} copies; below {FEW:g} its derivative is too "
            "small, by up to the share of paths at zero. Read sums over more voxels, compare by check_grad, or choose "
            'estimator = "score" or "cfd"',
            stacklevel=2,
        )


def copies_read(question: Question, trajectory: Trajectory) -> float | None:
    """How many copies a curved loss reads; None of one that is linear in counts, amounts and totals."""
    observables = {name: trajectory.observables[name] for name in _totals(trajectory.problem)}
    numbers = (trajectory.counts, trajectory.pools, observables)

    def summed(numbers: tuple[Array, Array | None, dict[str, Array]]) -> Array:
        counts, pools, totals = numbers
        given = counts, {**trajectory.observables, **totals}
        seen = eqx.tree_at(lambda t: (t.counts, t.observables), trajectory, given)
        if pools is not None:
            seen = eqx.tree_at(lambda t: t.pools, seen, pools)
        return jnp.sum(question.read(seen))

    slope = jax.grad(summed)

    def bent(along: object) -> float:
        """The second derivative of the loss along some change of the numbers."""
        change = jax.jvp(slope, (numbers,), (along,))[1]
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), along, change)
        return float(sum(jax.tree.leaves(products)))

    def mean(rows: Array) -> Array:
        return jnp.broadcast_to(jnp.abs(jnp.mean(rows, 0)), rows.shape)

    means = jax.tree.map(mean, numbers)
    leaves, form = jax.tree.flatten(means)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    # random signs leave the diagonal of the Hessian (M. F. Hutchinson, Commun. Stat. 18, 1059, 1989)
    scatter = [
        jnp.sqrt(leaf) * jax.random.rademacher(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    of_scatter, of_means = bent(jax.tree.unflatten(form, scatter)), bent(means)
    return abs(of_means / of_scatter) if of_scatter else None


def _totals(problem: Problem) -> tuple[str, ...]:
    """Observables that are a number of molecules."""
    found = ((o.name, o.quantity) for o in problem.observables)
    return tuple(name for name, q in found if isinstance(q, Call) and q.function == "total")
