"""The tables from which even hops are drawn: of each law, for the step of an interval and for halvings of it.

Those of an interval are made when a pair first needs them, and kept. Where an intervention changes a diffusivity, each
substep makes its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from exodiff.core.arrays import COUNT_DTYPE, Count, Real
from exodiff.kernels.alias_tables import Tables
from exodiff.kernels.hopping import LAW, hop_tables
from exodiff.kernels.policies import Mean, policy_of
from exodiff.kernels.rates import Voxels
from exodiff.operations import even_laws, keep_their_laws
from exodiff.problem import Inputs, Problem

MAX_HALVINGS = 6


class HopTables(NamedTuple):
    """The tables of an interval, (halvings, entries of all laws), and of how many halvings they have been made."""

    tables: Tables
    made: Count


def no_tables(problem: Problem) -> HopTables | None:
    """Room for the tables of an interval; None if a step needs none, or its own."""
    if not (_are_needed(problem) and keep_their_laws(problem)):
        return None
    shape = (MAX_HALVINGS + 1, len(even_laws(problem)) * LAW)
    dtypes = jax.eval_shape(hop_tables, jax.ShapeDtypeStruct((), jnp.float32))
    return HopTables(jax.tree.map(lambda a: jnp.zeros(shape, a.dtype), dtypes), jnp.zeros((), COUNT_DTYPE))


def with_halvings(
    known: HopTables | None, problem: Problem, inputs: Inputs, counts: Array, dt_s: Real, most: Count
) -> HopTables | None:
    """The tables of an interval, up to some number of halvings of its step."""
    if known is None:
        return None

    def make(halvings: Count, tables: Tables) -> Tables:
        made = _tables(problem, inputs, counts, dt_s / (1 << halvings).astype(dt_s.dtype))
        return jax.tree.map(lambda every, one: every.at[halvings].set(one), tables, made)

    wanted = jnp.maximum(known.made, most + 1)
    return HopTables(lax.fori_loop(known.made, wanted, make, known.tables), wanted)


def tables_of_substep(
    known: HopTables | None, problem: Problem, inputs: Inputs, counts: Array, dt_s: Real, halvings: Count | int
) -> tuple[Tables | None, Count | int]:
    """Flat tables, and where those of a substep begin."""
    if known is not None:
        every = known.tables
        return jax.tree.map(lambda a: a.reshape(-1), every), jnp.asarray(halvings) * every.entries.shape[1]
    return (_tables(problem, inputs, counts, dt_s) if _are_needed(problem) else None), 0


def _are_needed(problem: Problem) -> bool:
    return bool(even_laws(problem)) and not isinstance(policy_of(problem.engine), Mean)


def hops_per_step(diffusivity: Real, dt_s: Real, per_um2: Real) -> Real:
    """D dt / h^2."""
    return diffusivity * dt_s * per_um2


def per_area(problem: Problem) -> Real:
    """1 / h^2 of each even law, um^-2, over the parts of its hops."""
    found = [spacing**-2 / problem.parts_of(species) for species, spacing in even_laws(problem)]
    return jnp.asarray(found, problem.precision)


def _tables(problem: Problem, inputs: Inputs, counts: Array, dt_s: Real) -> Tables:
    """Flat tables of all laws for a step."""
    inputs, counts, dt_s = lax.stop_gradient((inputs, counts, dt_s))
    if inputs.common is not None:
        inputs = inputs._replace(parameters=inputs.common)
    voxels = Voxels(problem, inputs, counts, jnp.zeros_like(dt_s))
    expressions = [problem.network.diffusivity[species] for species, _ in even_laws(problem)]
    diffusivities = jnp.stack([jnp.reshape(voxels.evaluate(d), ()) for d in expressions if d is not None])
    made = hop_tables(hops_per_step(diffusivities, dt_s, per_area(problem)))
    return jax.tree.map(lambda a: a.reshape(-1), made)
