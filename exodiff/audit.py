"""What to expect of exosome populations before a run: release, range, uptake, and copies of cargo beside thresholds.

The estimate takes the state at time zero, multivesicular bodies at their steady state, receptors in excess, and
vesicles mixed over their lattice, so that each is taken up in it, decays or goes back to blood: uptake is conserved
with release. Blood holds what is given to it over the run against what leaves it (`exodiff.supplies`). What a gradient,
a wall or a written reaction does to vesicles is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from exodiff.config.exosomes import Exosomes
from exodiff.config.populations import bins_of
from exodiff.config.schema import RunConfig
from exodiff.core.expressions import Call, Expression, names, walk
from exodiff.kernels.rates import Voxels, propensity, rate_factor
from exodiff.model.network import DrawKind
from exodiff.stepsize import diffusivities
from exodiff.supplies import arrivals

DAY = 86400.0
LENGTH_UM = 100.0  # of the Peclet number: the distance between vessels
LAWS = ("hill", "hill_down", "saturate")


@dataclass(frozen=True)
class BinAudit:
    """The vesicles of one size: diffusivity, loss in the mean over the lattice, and what follows from them.

    Attributes:
        name: of the free species.
        diffusivity_um2_per_s: largest on the lattice.
        loss_per_s: capture and decay, mean over the lattice.
        range_um: sqrt(D / loss), or None.
        damkoehler: (voxel / range)^2; above 0.25 the voxel does not resolve the gradient.
        clearance_um3_per_s: largest of a receiver.
        diffusion_limit: clearance / (clearance + 4 pi D R), R half a voxel (F. C. Collins and G. E. Kimball, 1949);
            near 0 uptake is limited by reaction, and mixing within the voxel is right.
        peclet: v L / D along the strongest component of the flow, L = 100 um; None without flow.
        penetration: mean over a ball of all receivers of the concentration over that at its rim,
            3 (f coth f - 1) / f^2, f = radius / range inside (E. W. Thiele, 1939).
        in_voxel: vesicles in a voxel where release and loss balance.

    """

    name: str
    diffusivity_um2_per_s: float
    loss_per_s: float
    range_um: float | None
    damkoehler: float | None
    clearance_um3_per_s: float
    diffusion_limit: float | None
    peclet: float | None
    penetration: float | None
    in_voxel: float | None


@dataclass(frozen=True)
class PopulationAudit:
    """One population on one lattice: release of all of it now, the share that is taken up, and its sizes.

    Attributes:
        name: of the population.
        lattice: of several the one with this name, or empty.
        release_per_s: vesicles a second, with those that come from compartments.
        taken_up: share of them.
        bins: see `BinAudit`.

    """

    name: str
    lattice: str
    release_per_s: float
    taken_up: float
    bins: tuple[BinAudit, ...]


@dataclass(frozen=True)
class DoseAudit:
    """Copies of one cargo that a cell of one type is expected to get.

    Attributes:
        cargo: its name.
        cell: type of the receiver.
        uptakes_per_day: vesicles of all populations that carry it.
        copies_per_day: copies delivered.
        steady: copies in the cell where delivery and loss balance; None without a half-life.
        laws: Hill laws that read the dose, with their K.

    """

    cargo: str
    cell: str
    uptakes_per_day: float
    copies_per_day: float
    steady: float | None
    laws: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What is expected of all populations."""

    populations: tuple[PopulationAudit, ...]
    doses: tuple[DoseAudit, ...]


def audit(config: RunConfig, voxels: Voxels) -> Audit:
    """Estimate releases, ranges and doses of the populations of a config.

    Args:
        config: as given, with its populations.
        voxels: the state at time zero.

    """
    auditor = _Auditor(config, voxels)
    lattices = [(part.name, part.places) for part in voxels.problem.grid.parts] or [("", slice(None))]
    parts = [
        _Part(auditor, name, population, lattice, places)
        for name, population in config.exosomes.items()
        for lattice, places in lattices
    ]
    doses = [auditor.dose(cargo, cell, parts) for cargo in config.cargo for cell in auditor.cells]
    return Audit(tuple(part.report() for part in parts), tuple(dose for dose in doses if dose.uptakes_per_day > 0))


class _Auditor:
    """Rates of channels on the lattice at time zero."""

    def __init__(self, config: RunConfig, voxels: Voxels) -> None:
        self.config = config
        self.voxels = voxels
        self.network = voxels.problem.network
        self.arrivals = arrivals(voxels, config.run.duration_s)
        crossings = [channel for channel, _ in self.arrivals]
        self.channels = {channel.name: channel for channel in (*self.network.channels, *crossings)}
        self.shape = voxels.problem.grid.shape
        self.cells = {name: self.counts(name) > 0 for name in self.network.cell_types if self.counts(name).any()}

    def counts(self, name: str) -> np.ndarray:
        return np.asarray(self.voxels.counts[self.network.index(name)], float)

    def field(self, name: str) -> np.ndarray:
        """The rate of a channel, up to its mass action; 0 if there is none."""
        if name not in self.channels:
            return np.zeros(self.shape)
        return np.broadcast_to(np.asarray(rate_factor(self.voxels, self.channels[name]), float), self.shape)

    def speed_um_per_s(self) -> float:
        """Largest component of the flow."""
        return max(float(np.max(np.abs(self.value(component)))) for component in self.voxels.problem.flow)

    def value(self, expression: Expression) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.voxels.evaluate(expression), float), self.shape)

    def copies(self, name: str, product: str) -> np.ndarray:
        """Mean number of copies of a product that one event of a channel makes."""
        channel, species = self.channels.get(name), self.network.index(product)
        if channel is None:
            return np.zeros(self.shape)
        made = np.full(self.shape, float(max(channel.change_of.get(species, 0), 0)))
        for part in channel.bursts:
            if part.species == species:
                arguments = [self.value(argument) for argument in part.burst.arguments]
                made = made + np.prod(arguments, axis=0)
        return made

    def dose(self, cargo: str, cell: str, parts: "list[_Part]") -> DoseAudit:
        inside = self.cells[cell]
        uptakes = sum(part.uptakes(cell) for part in parts if cargo in part.population.cargo)
        copies = sum(part.delivered(cargo, cell) for part in parts if cargo in part.population.cargo)
        loss = self.field(f"dose.{cargo}.decay")[inside].mean()
        return DoseAudit(
            cargo, cell, uptakes * DAY, copies * DAY, float(copies / loss) if loss > 0 else None, self.laws(cargo, cell)
        )

    def laws(self, cargo: str, cell: str) -> tuple[str, ...]:
        """The Hill laws that read a dose in reactions that a cell of this type may do."""
        of_fields = (term.channel for field in self.network.fields for term in field.terms)
        found = {
            f"K {self.half(node.arguments[1], cell)} of {node.function} in {channel.name}": None
            for channel in (*self.channels.values(), *of_fields)
            if channel.parent is None or self.network.species[channel.parent] == cell
            for node in walk(channel.rate)
            if isinstance(node, Call) and node.function in LAWS and f"dose.{cargo}" in names(node.arguments[0])
        }
        return tuple(found)

    def half(self, expression: Expression, cell: str) -> str:
        return f"{self.value(expression)[self.cells[cell]].mean():.3g}"


class _Part:
    """One population on one lattice: release, capture and fates of its bins."""

    def __init__(self, auditor: _Auditor, name: str, population: Exosomes, lattice: str, places: slice) -> None:
        self.auditor = auditor
        self.name = name
        self.population = population
        self.lattice = lattice
        self.places = places
        self.bins = bins_of(name, population)
        self.capture = {one: self._capture(one) for one in self.bins}
        self.release = {one: self._release(one) for one in self.bins}

    def report(self) -> PopulationAudit:
        release = sum(self.release.values())
        taken = sum(self.release[one] * self._taken_up(one) for one in self.bins)
        share = taken / release if release > 0 else float(np.mean([self._taken_up(one) for one in self.bins]))
        return PopulationAudit(self.name, self.lattice, release, share, tuple(self._bin(one) for one in self.bins))

    def _release(self, one: str) -> float:
        """Vesicles a second: what forms times the share that fuses times the burst, and what reactions make."""
        auditor = self.auditor
        fusion, lysosome = auditor.field(f"{self.name}.fusion"), auditor.field(f"{self.name}.lysosome")
        share = np.divide(fusion, fusion + lysosome, out=np.zeros_like(fusion), where=fusion > 0)
        burst = auditor.copies(f"{self.name}.fusion", one) * share
        found = 0.0
        for channel in auditor.network.channels:
            if channel.kind is not DrawKind.POISSON:
                continue
            events = np.broadcast_to(np.asarray(propensity(auditor.voxels, channel), float), auditor.shape)
            is_route = any(channel.name.startswith(f"{self.name}.{route}.") for route in ("escrt", "ceramide"))
            made = events * (burst if is_route else auditor.copies(channel.name, one))
            found += float(np.sum(made[self.places]))
        for channel, events in auditor.arrivals:
            found += float(np.sum((events * auditor.copies(channel.name, one))[self.places]))
        return found

    def _capture(self, one: str) -> np.ndarray:
        """Rate at which a vesicle in each voxel is taken in: bound, and not let go."""
        auditor, uptake = self.auditor, self.population.uptake
        inside = self._field(f"{one}.internalise")
        if uptake is None or uptake.mode == "clearance":
            return inside
        receptors = auditor.counts(uptake.receptor or f"{self.name}.receptor")[self.places]
        let_go = self._field(f"{one}.unbind")
        kept = np.divide(inside, inside + let_go, out=np.zeros_like(inside), where=inside > 0)
        return self._field(f"{one}.bind") * receptors * kept

    def _field(self, name: str) -> np.ndarray:
        return self.auditor.field(name)[self.places]

    def _loss(self, one: str) -> float:
        species = self.auditor.network.index(one)
        out = [c.name for c in self.auditor.network.channels if c.releases and c.change_of.get(species, 0) < 0]
        rates = (self.capture[one], self._field(f"{one}.decay"), *map(self._field, out))
        return float(sum(rate.mean() for rate in rates))

    def _taken_up(self, one: str) -> float:
        loss = self._loss(one)
        return float(self.capture[one].mean() / loss) if loss > 0 else 0.0

    def _uptakes(self, one: str, cell: str) -> np.ndarray:
        """Vesicles of a bin that each cell of a type on this lattice takes up in a second."""
        loss = self._loss(one)
        of_cells = self.capture[one][self.auditor.cells[cell][self.places]]
        return self.release[one] * of_cells / (loss * self.capture[one].size) if loss > 0 else 0.0 * of_cells

    def _of_all(self, of_cells: np.ndarray, cell: str) -> float:
        """The mean over the cells of a type on all lattices of what those on this one get."""
        return float(of_cells.sum()) / float(self.auditor.cells[cell].sum())

    def uptakes(self, cell: str) -> float:
        """Vesicles that a cell of a type takes up in a second, in the mean over all lattices."""
        inside, found = self.auditor.cells[cell][self.places], 0.0
        for one in self.bins:
            found += self._of_all(self._uptakes(one, cell), cell)
            found += sum(self._of_all(events[inside], cell) for _, events in self._from_compartments(one))
        return found

    def _from_compartments(self, one: str) -> Iterator[tuple[str, np.ndarray]]:
        """Uptake straight from compartments: the channel's name, and vesicles a second in each voxel."""
        for channel, events in self.auditor.arrivals:
            if channel.name.startswith(f"{one}.internalise."):
                yield channel.name, events[self.places]

    def delivered(self, cargo: str, cell: str) -> float:
        """Copies of a cargo that a cell of a type gets in a second, in the mean over all lattices."""
        auditor, inside = self.auditor, self.auditor.cells[cell][self.places]
        found = 0.0
        for one in self.bins:
            escape, degrade = auditor.field(f"{one}.escape"), auditor.field(f"{one}.degrade")
            share = np.divide(escape, escape + degrade, out=np.zeros_like(escape), where=escape > 0)
            later = share * auditor.copies(f"{one}.escape", f"dose.{cargo}")
            copies = (auditor.copies(f"{one}.internalise", f"dose.{cargo}") + later)[self.places]
            found += self._of_all(self._uptakes(one, cell) * copies[inside], cell)
            for name, events in self._from_compartments(one):
                copies = (auditor.copies(name, f"dose.{cargo}") + later)[self.places]
                found += self._of_all((events * copies)[inside], cell)
        return found

    def _bin(self, one: str) -> BinAudit:
        auditor, loss = self.auditor, self._loss(one)
        problem = auditor.voxels.problem
        grid, size_um = problem.grid, max(problem.grid.spacing_um)
        spread = diffusivities(problem, auditor.voxels.inputs, auditor.voxels).get(auditor.network.index(one))
        fastest = 0.0 if spread is None else float(np.max(np.broadcast_to(spread, grid.shape)[self.places]))
        clearance = float(self.capture[one].max()) * grid.fluid_volume_um3
        reach = float(np.sqrt(fastest / loss)) if fastest > 0 and loss > 0 else None
        encounter = clearance + 4.0 * np.pi * fastest * 0.5 * min(grid.spacing_um)
        return BinAudit(
            name=one,
            diffusivity_um2_per_s=fastest,
            loss_per_s=loss,
            range_um=reach,
            damkoehler=None if reach is None else (size_um / reach) ** 2,
            clearance_um3_per_s=clearance,
            diffusion_limit=clearance / encounter if clearance > 0 and fastest > 0 else None,
            peclet=auditor.speed_um_per_s() * LENGTH_UM / fastest if problem.flow and fastest > 0 else None,
            penetration=self._penetration(one, fastest),
            in_voxel=self.release[one] / (loss * self.capture[one].size) if loss > 0 else None,
        )

    def _penetration(self, one: str, diffusivity_um2_per_s: float) -> float | None:
        receivers = self.capture[one] > 0
        if not receivers.any() or diffusivity_um2_per_s <= 0:
            return None
        volume = float(receivers.sum()) * float(np.prod(self.auditor.voxels.problem.grid.spacing_um))
        loss = float((self.capture[one] + self._field(f"{one}.decay"))[receivers].mean())
        f = (0.75 * volume / np.pi) ** (1 / 3) * float(np.sqrt(loss / diffusivity_um2_per_s))
        return 1.0 if f < 1e-2 else 3.0 * (f / float(np.tanh(f)) - 1.0) / f**2
