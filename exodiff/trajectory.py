"""What a simulation in memory returns."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Num

from exodiff.core.errors import ConfigError
from exodiff.kernels import words
from exodiff.problem import Binned, Problem


class Record(NamedTuple):
    """What is kept of a state, or of many: attributes as of :class:`Trajectory`, without the leading axes."""

    counts: Array
    observables: dict[str, Array]
    concentrations: Array | None
    pools: Array | None


class Trajectory(eqx.Module):
    """States and observables at the requested times.

    Attributes:
        times: (times,) seconds.
        counts: all species, (replicates, times, species, x, y, z).
        observables: by name, (replicates, times, ...); profiles and (size) histograms have an axis of bins.
        concentrations: all continuous species, (replicates, times, continuous, x, y, z), each in its own unit; None
            without any.
        pools: amounts outside the lattice as (high, low) words, value = high 2^16 + low, or as (sum, compensation) in
            ``mean_field``; None without any.
        health: (replicates,), 0 if all went well, else a code of ``exodiff.core.health``.

    """

    times: Float[Array, " times"] | np.ndarray
    counts: Num[Array, "replicates times species x y z"]
    observables: dict[str, Array]
    concentrations: Float[Array, "replicates times continuous x y z"] | None
    pools: Num[Array, "replicates times pools 2"] | None
    health: Int[Array, " replicates"]
    problem: Problem = eqx.field(static=True)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.problem.grid.user_shape))
        replicates, times = self.counts.shape[:2]
        lines = [
            f"Trajectory({replicates} replicates, {times} times, {shape} voxels",
            f"  species: {', '.join((*self.problem.network.species, *self.problem.network.continuous))}",
            *(f"  observables[{name!r}]: {np.shape(values)}" for name, values in self.observables.items()),
        ]
        return "\n".join(lines) + ")"

    @property
    def bins(self) -> dict[str, np.ndarray]:
        """Edges of the bins of profiles and size histograms (um) and of histograms: one more than there are bins."""
        quantities = {o.name: o.quantity for o in self.problem.observables}
        return {name: np.asarray(q.edges) for name, q in quantities.items() if isinstance(q, Binned)}

    def __getitem__(self, name: str) -> Array:
        """Numbers of a species, or occupancy of a cell type: (replicates, times, *lattice shape).

        Of a continuous species, values in its own unit. Amounts outside the lattice, such as ``plasma.EV``:
        (replicates, times), exact int64 where they are known.
        """
        if any(one in self.problem.pools.names for one in self._members(name)):
            return self._amount(name)
        found = self._counts(name)
        return found.reshape(*found.shape[:2], *self.problem.grid.user_shape)

    def total(self, name: str) -> Array | np.ndarray:
        """Sum over the lattice, (replicates, times); exact int64 where the counts are known.

        Of a continuous species, molecules in the fluid.
        """
        found, scale = self._counts(name), self._molecules(name) if name in self.problem.network.continuous else 1
        if not is_traced(found):
            host = np.asarray(found) * scale
            return host.sum(axis=(2, 3, 4), dtype=np.int64 if host.dtype.kind == "i" else np.float64)
        return found.sum(axis=(2, 3, 4)) * scale

    def _members(self, name: str) -> tuple[str, ...]:
        return dict(self.problem.groups).get(name, (name,))

    def _amount(self, name: str) -> Array:
        """An amount outside the lattice, or its sum over what a name stands for."""
        assert self.pools is not None
        known = self.problem.pools.names
        amounts = [self.pools[:, :, known.index(one)] for one in self._members(name)]
        read = partial(words.to_real, dtype=self.problem.precision) if is_traced(self.pools) else words.to_host
        return sum(map(read, amounts[1:]), read(amounts[0]))  # pyright: ignore[reportReturnType]

    def _counts(self, name: str) -> Array:
        """Counts of a species, or their sum over what a name stands for; the values of a continuous species."""
        if name in self.problem.network.continuous:
            place = self.problem.network.continuous.index(name)
            assert self.concentrations is not None
            return self.concentrations[:, :, place]
        members = self._members(name)
        return sum(
            (self.counts[:, :, self._index(one)] for one in members[1:]), self.counts[:, :, self._index(members[0])]
        )

    def _molecules(self, name: str) -> float:
        """Molecules in the fluid of a voxel at one unit of a concentration."""
        field = self.problem.network.fields[self.problem.network.continuous.index(name)]
        if not field.has_molecules:
            raise ConfigError(f"trajectory.total({name!r})", f"{field.unit} has no molecules to add up; take the mean")
        return field.unit_value * self.problem.grid.fluid_volume_um3

    def _index(self, name: str) -> int:
        if name not in self.problem.network.species:
            continuous = self.problem.network.continuous
            known = ", ".join((*self.problem.network.species, *continuous, *self.problem.pools.names))
            raise ConfigError(f"trajectory[{name!r}]", f"there is no such species or cell type; there are {known}")
        return self.problem.network.index(name)


def is_traced(array: object) -> bool:
    """Whether its numbers are not known yet, inside jit, vmap or grad."""
    return isinstance(array, Tracer)
