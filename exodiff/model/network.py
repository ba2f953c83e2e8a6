"""Species and reactions as static data: what the kernels loop over.

Everything that changes is a species with one array on the lattice: free molecules, molecules inside the cell of a
voxel, and cell types (their occupancy: 0 or 1 in the discrete engines, a real in ``mean_field``), in this order.
"""

from dataclasses import dataclass
from enum import Enum

from exodiff.core.equations import Burst
from exodiff.core.expressions import Expression

MAX_ORDER = 3  # largest order of one reactant in a chain; higher ones are re-evaluated each event


class DrawKind(Enum):
    """How the number of events of a channel in one step is found; each is the exact flow of the channel alone."""

    BINOMIAL = "binomial"  # one reactant is used up, one molecule an event
    POISSON = "poisson"  # no reactant changes
    CHAIN = "chain"  # one or two reactants change: exponential clocks of the mass-action propensity
    MODULATED = "modulated"  # the rate itself depends on what the channel changes: clocks, re-evaluated each event


class NewCell(Enum):
    """Where the new cell of a reaction goes, if it makes one."""

    NONE = "none"
    NEIGHBOUR = "neighbour"  # into an empty face neighbour
    HERE = "here"  # into this voxel, if it is empty


@dataclass(frozen=True)
class Product:
    """A product of random number; fixed numbers are in ``Channel.changes``."""

    species: int
    burst: Burst


@dataclass(frozen=True)
class Channel:
    """One reaction.

    Args:
        name: its address for random bits, and for ``events(name)``.
        equation: as written, for reports.
        reactants: (species, order) pairs, cell types included.
        changes: (species, change an event) pairs, zero changes left out.
        bursts: products of random number.
        rate: rate constant, or the whole propensity if ``is_propensity``.
        volume_power: power of the voxel's fluid volume that multiplies the rate.
        kind: how its events are drawn.
        parent: the cell type among the reactants, if any.
        kills: whether the parent cell disappears, and its molecules with it.
        new_cell: where a new cell goes.
        child: type of the new cell.
        needs_cell: whether it happens only in voxels with a cell (a product lives in cells and no reactant does).
        region: name of the region it is limited to, or empty.
        deposits: (continuous species, molecules an event adds to it) pairs.
        releases: (pool, elsewhere, count) of what it makes outside the lattice, places of ``Problem.pools``.

    """

    name: str
    equation: str
    reactants: tuple[tuple[int, int], ...]
    changes: tuple[tuple[int, int], ...]
    bursts: tuple[Product, ...]
    rate: Expression
    is_propensity: bool
    volume_power: int
    kind: DrawKind
    parent: int | None = None
    kills: bool = False
    new_cell: NewCell = NewCell.NONE
    child: int | None = None
    needs_cell: bool = False
    region: str = ""
    deposits: tuple[tuple[int, int], ...] = ()
    releases: tuple[tuple[int, int, int], ...] = ()

    @property
    def changing_reactants(self) -> list[int]:
        """Reactants whose number an event changes."""
        change_of = self.change_of
        return [species for species, _ in self.reactants if species in change_of]

    @property
    def change_of(self) -> dict[int, int]:
        """Change of each species in one event."""
        return dict(self.changes)


class Solve(Enum):
    """How a concentration follows its sources and losses."""

    STEADY = "steady"  # at each time the one that it would tend to
    IMPLICIT = "implicit"
    EXPLICIT = "explicit"  # what happens in a voxel in turn with diffusion, which is the same everywhere


@dataclass(frozen=True)
class Term:
    """A part of the equation of a concentration.

    Args:
        channel: its propensity is the rate, by fluid volume; for a loss also by concentration.
        factor: concentration that an event by volume adds or takes.

    """

    channel: Channel
    factor: int


@dataclass(frozen=True)
class Continuous:
    """A species that is a concentration, in internal units: dc/dt = div(D grad c) - losses c + gains.

    Args:
        name: its name in rates.
        unit: in which it is shown.
        unit_value: one of that unit in internal units.
        has_molecules: whether it is a number of molecules by volume, or something like a pressure or a share.
        solve: how it follows.
        diffusivity: an expression, or None if it does not move.
        initial: an expression, or None for the field ``initial.NAME`` of ``Inputs``.
        fixed: (cell type or region, value) pairs; the last one holds where several do.
        walls: (axis, side, value) outside fixed walls; what they do not list reflects.
        losses: first-order losses, with coefficients that may depend on it.
        gains: sources.

    """

    name: str
    unit: str
    unit_value: float
    has_molecules: bool
    solve: Solve
    diffusivity: Expression | None
    initial: Expression | None
    fixed: tuple[tuple[str, Expression], ...] = ()
    walls: tuple[tuple[int, int, Expression], ...] = ()
    losses: tuple[Term, ...] = ()
    gains: tuple[Term, ...] = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        """Losses and gains."""
        return (*self.losses, *self.gains)


@dataclass(frozen=True)
class Chemotaxis:
    """Which neighbour a cell prefers.

    Args:
        up: the free or continuous species that it goes up.
        strength: dimensionless; negative for down.

    """

    up: str
    strength: Expression


@dataclass(frozen=True)
class Network:
    """All species, in the order of the state's first axis, and all channels.

    Args:
        species: names.
        num_free: how many of them, from the first, are free on the lattice.
        num_in_cell: how many after these live in cells; the rest are cell types.
        diffusivity: expression of each free species, or None if it does not move.
        on_division: for each in-cell species, ``split`` or ``reset``.
        motility: expression of each cell type, or None.
        channels: reactions, in the order in which a forward step visits them.
        chemotaxis: of each cell type, or None; empty if no type has any.
        by_cell: for each cell-dependent parameter, the cell types with a value of their own.
        fields: the species that are concentrations, in the order of ``State.concentrations``.

    """

    species: tuple[str, ...]
    num_free: int
    num_in_cell: int
    diffusivity: tuple[Expression | None, ...]
    on_division: tuple[str, ...]
    motility: tuple[Expression | None, ...]
    channels: tuple[Channel, ...]
    by_cell: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fields: tuple[Continuous, ...] = ()
    chemotaxis: tuple[Chemotaxis | None, ...] = ()

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the species that are concentrations."""
        return tuple(field.name for field in self.fields)

    def index(self, name: str) -> int:
        """Place of a species on the first axis of the state."""
        return self.species.index(name)

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the species that are free in the fluid."""
        return self.species[: self.num_free]

    @property
    def in_cell(self) -> tuple[str, ...]:
        """Names of the species inside cells."""
        return self.species[self.num_free : self.first_type]

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Names of the cell types."""
        return self.species[self.first_type :]

    @property
    def first_type(self) -> int:
        """Place of the first cell type."""
        return self.num_free + self.num_in_cell

    @property
    def moves_cells(self) -> bool:
        """Whether a cell ever appears in another voxel."""
        return any(m is not None for m in self.motility) or any(c.new_cell is not NewCell.NONE for c in self.channels)
