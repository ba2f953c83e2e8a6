"""Which devices a simulation uses: its replicates are spread over them, or the lattice of a single one is split."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from exodiff.core.errors import ConfigError
from exodiff.kernels.decomposition import LATTICE_AXES, spec_on
from exodiff.problem import Problem

REPLICATES = "replicates"


class Division(NamedTuple):
    """Replicates in so many shares, or one lattice in so many pieces along x and along y; one a device."""

    shares: int = 1
    pieces: tuple[int, int] = (1, 1)

    @property
    def num_devices(self) -> int:
        """Devices that are used."""
        return self.shares * self.pieces[0] * self.pieces[1]

    def __str__(self) -> str:
        if self.shares > 1:
            return f"replicates in {self.shares} shares"
        return f"lattice in {self.pieces[0]} x {self.pieces[1]} pieces" if self.num_devices > 1 else "undivided"


def divide(problem: Problem, replicates: int, available: int, processes: int = 1) -> Division:
    """How a simulation is divided over at most so many devices, equally many of each process.

    Several replicates go in equal shares. Of a single one the lattice is split, except in ``exact``, whose events come
    one after the other.

    Raises:
        ConfigError: it cannot be divided equally over the processes.

    """
    numbers = [n for n in range(processes, available + 1, processes) if replicates % n == 0]
    if replicates > 1 and numbers:
        return Division(shares=max(numbers))
    pieces = None
    if replicates == 1:
        most = 1 if problem.engine == "exact" else available
        pieces = lattice_pieces(problem.grid.shape, most, processes)
    if pieces is None:
        what = "run.replicates" if replicates > 1 else "lattice.shape"
        raise ConfigError(
            what, f"cannot be divided equally over {processes} processes; start as many as divide it (exact: one)"
        )
    return Division(pieces=pieces)


def lattice_pieces(shape: tuple[int, int, int], available: int, multiple_of: int = 1) -> tuple[int, int] | None:
    """Equal pieces along x and y: as many as there are devices for, and of those the ones with the least surface."""
    nx, ny, nz = shape
    splits = [
        (x, y)
        for x in range(1, available + 1)
        for y in range(1, available // x + 1)
        if nx % x == 0 and ny % y == 0 and x * y % multiple_of == 0
    ]
    return min(
        splits, key=lambda split: (-split[0] * split[1], ((split[0] - 1) * ny + (split[1] - 1) * nx) * nz), default=None
    )


def mesh_of(division: Division) -> Mesh | None:
    """The devices of all processes in the order of the division, or None for a single one."""
    if division.num_devices == 1:
        return None
    share = division.num_devices // jax.process_count()
    of_each = [[d for d in jax.devices() if d.process_index == i][:share] for i in range(jax.process_count())]
    devices = np.asarray([device for some in of_each for device in some])
    if division.shares > 1:
        return Mesh(devices, (REPLICATES,), axis_types=(AxisType.Auto,))
    return Mesh(devices.reshape(division.pieces), LATTICE_AXES, axis_types=(AxisType.Auto,) * 2)


@contextmanager
def on(mesh: Mesh | None) -> Iterator[None]:
    """Inside, programs are compiled for the mesh."""
    if mesh is None:
        yield
        return
    with jax.set_mesh(mesh):
        yield


def in_shares(function: Callable[..., Any], *arrays: Any) -> Any:
    """The result of a function of replicates, the first axis of all it takes and gives: each device does its share."""
    if REPLICATES not in jax.sharding.get_abstract_mesh().shape:
        return function(*arrays)
    split = PartitionSpec(REPLICATES)
    return jax.shard_map(function, in_specs=split, out_specs=split, check_vma=False)(*arrays)


def placed(mesh: Mesh | None, tree: Any, shape: tuple[int, ...], *, by_replicate: bool = False) -> Any:
    """Arrays on the devices of a mesh: the lattice in pieces, replicates in shares, everything else on each device."""
    if mesh is None:
        return tree

    def put(array: Any) -> jax.Array:
        host = np.asarray(array)
        if REPLICATES in mesh.axis_names:
            spec = PartitionSpec(REPLICATES) if by_replicate else PartitionSpec()
        else:
            spec = spec_on(host, shape)
        return jax.make_array_from_callback(host.shape, NamedSharding(mesh, spec), lambda index: host[index])

    return jax.tree.map(put, tree)
