"""Problem: the static structure of a simulation. Model: a problem with its numbers.

What decides the compiled program is static and hashed by value; what one may fit or differentiate is an array.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from exodiff.core.arrays import Precision
from exodiff.core.expressions import Compare, Expression
from exodiff.core.size_law import SizeLaw
from exodiff.lattice.grid import Grid
from exodiff.model.network import Network
from exodiff.model.pools import NO_POOLS, Pools

Parameters = dict[str, Array]


@dataclass(frozen=True)
class FixedWall:
    """The concentration of a species outside a wall with fixed values."""

    axis: int
    side: int
    species: int
    concentration: Expression


@dataclass(frozen=True)
class Profile:
    """Mean of an expression over voxels, by their distance to the nearest voxel with a cell of a type."""

    of: Expression
    origin: str
    bin_um: float
    num_bins: int

    @property
    def edges(self) -> tuple[float, ...]:
        """Distances between which the bins lie, um."""
        return tuple(self.bin_um * i for i in range(self.num_bins + 1))


@dataclass(frozen=True)
class Histogram:
    """How many cells of a type (or voxels) have a value in each bin."""

    of: Expression
    over: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class SizeHistogram:
    """Diameters of tracked vesicles, as an instrument sees them: see ``exodiff.kernels.instruments``.

    Args:
        of: the number of vesicles in each size bin, a scalar expression each.
        law: how diameters are distributed.
        sample: how many vesicles are tracked.
        track_steps: steps of each track.
        smallest_um: diameter below which detection falls.
        edges: of the bins of measured diameters, um; the last is open.

    """

    of: tuple[Expression, ...]
    law: SizeLaw
    sample: int
    track_steps: int
    smallest_um: float
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Assay:
    """Vesicles that are counted as positive in a sample: see ``exodiff.kernels.instruments``.

    Args:
        of: number of vesicles, or their concentration; a scalar expression, as ``volume`` and the others.
        volume: fluid that holds the number, um^3; None if ``of`` is a concentration.
        sample: volume of the sample, um^3.
        recovery: share of the vesicles that is found.
        background: concentration of other vesicles, 1/um^3.
        false_positive: share of these that is taken for the wanted ones.
        detection_limit: smallest count that is told from none.

    """

    of: Expression
    volume: float | None
    sample: Expression
    recovery: Expression
    background: Expression
    false_positive: Expression
    detection_limit: Expression


Binned = Profile | Histogram | SizeHistogram


@dataclass(frozen=True)
class Observable:
    """A named quantity that is recorded."""

    name: str
    quantity: Expression | Binned | Assay


@dataclass(frozen=True)
class Assignment:
    """What an intervention does to one species or parameter.

    Args:
        target: a species (a number in every voxel, for species in cells in every cell), an amount outside the lattice,
            or a parameter.
        value: an expression; of the voxel for species, of the whole lattice for the others.
        adds: whether it is added to what is there.
        per_volume: whether it is a concentration, to be multiplied by the fluid volume of a voxel; that of a
            compartment is in the value.

    """

    target: str
    value: Expression
    adds: bool
    per_volume: bool = False


@dataclass(frozen=True)
class Intervention:
    """Something done from outside, at given times or when a condition becomes true.

    Args:
        name: its address for random bits.
        assignments: all with the values from before the intervention.
        removes: cell types that are taken away afterwards, with what is in them.
        region: name of the region it is limited to (parameters aside), or empty.
        at_s: scheduled times, rising.
        when: the condition, or None if it is scheduled.
        repeat: whether it acts each time the condition becomes true, not only the first.

    """

    name: str
    assignments: tuple[Assignment, ...]
    removes: tuple[str, ...] = ()
    region: str = ""
    at_s: tuple[float, ...] = ()
    when: Compare | None = None
    repeat: bool = False


@dataclass(frozen=True)
class Problem:
    """Everything static: hashed by value, a key of the compilation cache.

    Args:
        grid: the lattice.
        network: species and channels.
        walls: concentrations outside fixed walls.
        field_diffusion: free species whose diffusivity is a field ``diffusion.NAME`` of ``Inputs``.
        regions: names of regions, each a mask in ``Inputs.fields``.
        observables: what is recorded.
        event_counters: (reaction, region) pairs whose events are counted.
        random_start: (species, mean) pairs drawn for each replicate in every voxel (in-cell species: in every cell).
        engine: ``exact``, ``leap`` or ``mean_field``.
        precision: dtype of the reals.
        step_bound_s: the longest step; every interval is cut into an even number of equal ones. No compiled program
            holds it, so runs that differ in it share one.
        exit_limit: largest exit rate times step before a step is cut into substeps.
        hop_limit: largest D dt / h^2 before a step is cut into substeps.
        hop_parts: into how many parts the hops of a step are cut, for each species; empty where none are.
        is_reversible: whether ``leap_st`` is to be differentiated in reverse mode.
        cuts_s: times at which an infusion begins or ends, where no step may go on.
        interventions: in the order in which they act when they fall on one time.
        flow: velocity of the fluid along x, y and z, um/s, of parameters and the fields ``flow.field.x`` ... of
            ``Inputs``; empty without flow.
        groups: names that stand for sums of species, with those species.
        pools: amounts outside the lattice, and the reactions among them.

    """

    grid: Grid
    network: Network
    walls: tuple[FixedWall, ...]
    field_diffusion: tuple[int, ...]
    regions: tuple[str, ...]
    observables: tuple[Observable, ...]
    event_counters: tuple[tuple[str, str], ...]
    random_start: tuple[tuple[int, Expression], ...]
    engine: str
    precision: Precision
    step_bound_s: float = field(compare=False)
    exit_limit: float
    hop_limit: float
    hop_parts: tuple[int, ...] = ()
    is_reversible: bool = False
    cuts_s: tuple[float, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    flow: tuple[Expression, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pools: Pools = NO_POOLS

    def parts_of(self, species: int) -> int:
        """Into how many parts the hops of a free species in a step are cut."""
        return self.hop_parts[species] if self.hop_parts else 1

    def grid_of(self, species: int) -> Grid:
        """The lattice as a free species meets it: a fixed wall that gives it no concentration reflects."""
        return self.grid.fixed_at({(wall.axis, wall.side) for wall in self.walls if wall.species == species})

    @property
    def scheduled(self) -> tuple[Intervention, ...]:
        """Interventions at given times."""
        return tuple(i for i in self.interventions if i.when is None)

    @property
    def triggered(self) -> tuple[Intervention, ...]:
        """Interventions on a condition."""
        return tuple(i for i in self.interventions if i.when is not None)

    @property
    def settings(self) -> tuple[str, ...]:
        """Parameters that interventions change: their values are part of the state."""
        targets = (a.target for i in self.interventions for a in i.assignments)
        of_state = {*self.network.species, *self.network.continuous, *self.pools.names}
        return tuple(dict.fromkeys(t for t in targets if t not in of_state))


class Inputs(NamedTuple):
    """The arrays of a simulation: parameters by name, and fields on the lattice.

    Attributes:
        parameters: scalars (or arrays that broadcast on the lattice), internal units.
        fields: region masks ``region.NAME``, diffusivities ``diffusion.SPECIES``, first concentrations
            ``initial.SPECIES`` and velocities ``flow.field.x`` ..., each (x, y, z).
        common: the parameters once for all replicates, where each has a copy of its own to differentiate by; else None.

    """

    parameters: Parameters
    fields: dict[str, Array]
    common: Parameters | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A problem with its numbers: what ``simulate`` takes.

    Attributes:
        problem: the static structure.
        parameters: default value of each parameter, internal units (um, s, molecules).
        fields: region masks, diffusivities and velocities on the lattice.
        start: the state at time zero before its random part, (species, x, y, z).
        time_step_s: the fixed step, or None for the automatic one.
        tolerance: largest exit probability of a molecule in an automatic step.

    """

    problem: Problem
    parameters: dict[str, float]
    fields: dict[str, np.ndarray]
    start: np.ndarray
    time_step_s: float | None
    tolerance: float

    @property
    def lattices(self) -> dict[str, slice]:
        """Voxels along x of each lattice with a name: ``trajectory["EV"][:, :, model.lattices["lung"]]``."""
        return {part.name: part.places for part in self.problem.grid.parts}
