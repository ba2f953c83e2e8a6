"""From a config to a model: the only bridge from the file's language to arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from exodiff.config import load as config_load
from exodiff.config.flow import VelocityFile
from exodiff.config.names import Namespace
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.species import Density, FromFile, PoissonCount, VoxelCount
from exodiff.config.vessels import volume_key
from exodiff.core.axes import AXES
from exodiff.core.dimensions import PER_TIME
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Binary, Call, Compare, Expression, Name, Number, is_zero
from exodiff.expand.concentrations import Split, in_unit, split
from exodiff.expand.exosomes import expanded, species_groups
from exodiff.expand.interventions import interventions_of
from exodiff.expand.measurements import assay_of, size_histogram_of
from exodiff.expand.pools import comes_in, infusion_times, is_outside, on_lattice, pool_names, pools_of, releases
from exodiff.expand.reactions import all_reactions
from exodiff.io.images import read_field
from exodiff.kernels.faces import MAX_DIVERGENCE, divergence
from exodiff.lattice.grid import Grid
from exodiff.lattice.placement import CellMap
from exodiff.layout import make_grid, regions_and_cells
from exodiff.model.channels import SpeciesTable
from exodiff.model.network import Channel, Chemotaxis, Continuous, Network, NewCell, Solve
from exodiff.observe import event_counters, num_profile_bins, scalar_expressions
from exodiff.problem import FixedWall, Histogram, Model, Observable, Problem, Profile
from exodiff.simulation import bounded


@dataclass(frozen=True, eq=False)
class ConfiguredModel(Model):
    """A model that knows the config it was built from."""

    config: RunConfig
    warnings: tuple[str, ...]  # what is allowed but likely not meant

    def __repr__(self) -> str:
        grid = self.problem.grid
        shape = " x ".join(map(str, grid.user_shape))
        names = f" ({', '.join(part.name for part in grid.parts)})" if grid.parts else ""
        network = self.problem.network
        lines = [
            f"Model({self.config.title!r}: {shape} voxels{names}, engine {self.problem.engine}",
            f"  species: {', '.join(network.species[: network.first_type])}",
            f"  cells: {', '.join(network.cell_types) or 'none'}",
            f"  {len(network.channels)} reactions, {len(self.parameters)} parameters (.parameters)",
            f"  observables: {', '.join(o.name for o in self.problem.observables)})",
        ]
        return "\n".join(lines)

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], overrides: Sequence[str] = (), folder: str | Path = "."
    ) -> "ConfiguredModel":
        """Build a model from the keys of a model file, as nested dicts.

        Args:
            raw: the same keys as in the file.
            overrides: ``key.path=value`` texts.
            folder: where relative file names are looked up.

        Raises:
            ConfigError: with the key path, the value, what is allowed and what to do.

        """
        return build(config_load.from_mapping(raw, folder, overrides))


def load(path: str | Path, overrides: Sequence[str] = ()) -> ConfiguredModel:
    """Read a model file and build its model.

    Args:
        path: a TOML file.
        overrides: ``key.path=value`` texts, as of ``--set``.

    Raises:
        ConfigError: with the file, the key path, the value, what is allowed and what to do.

    """
    return build(config_load.load(path, overrides))


def build(config: RunConfig) -> ConfiguredModel:
    """Build the model of a config: network, lattice, placed cells, first counts, step."""
    return _Builder(expanded(config)).model(config)


class _Builder:
    """Collects the parameters that literals become, and the fields, while the parts are built."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.parameters: dict[str, float] = {}
        self.fields: dict[str, np.ndarray] = {}
        self.warnings: list[str] = []
        self.grid = make_grid(config)
        free = tuple(n for n, species in config.species.items() if not species.in_cell and not species.own_unit)
        in_cell = tuple(name for name, species in config.species.items() if species.in_cell)
        names = (*free, *in_cell, *config.cells)
        constant = frozenset(names.index(name) for name, species in config.species.items() if species.constant)
        continuous = tuple(name for name, species in config.species.items() if species.own_unit)
        self.table = SpeciesTable(names, len(free), len(free) + len(in_cell), constant, continuous)

    def model(self, given: RunConfig) -> ConfiguredModel:
        """The model, which keeps the config as it was given."""
        config = self.config
        self._named_parameters()
        masks, cells, warnings = regions_and_cells(config, self.grid)
        self.warnings += warnings
        self.fields |= {f"region.{name}": mask.astype(np.float32) for name, mask in masks.items()}
        network = self._network()
        observables = tuple(self._observable(name, given) for name in config.observables) or self._totals()
        interventions = interventions_of(config, self._leaf)
        watched = [a.value for i in interventions for a in i.assignments] + [i.when for i in interventions if i.when]
        problem = Problem(
            grid=self.grid,
            network=network,
            walls=self._walls(),
            field_diffusion=tuple(i for i, n in enumerate(network.free) if f"diffusion.{n}" in self.fields),
            regions=(*config.lattice.parts, *config.regions),
            observables=observables,
            event_counters=event_counters((*scalar_expressions(observables), *watched)),
            random_start=self._random_start(),
            engine=config.run.engine,
            precision=config.run.precision,
            step_bound_s=np.inf,
            exit_limit=np.inf,
            hop_limit=np.inf,
            cuts_s=infusion_times(config),
            interventions=interventions,
            flow=self._flow(),
            groups=species_groups(given),
            pools=pools_of(config, self.table, self._leaf),
        )
        step = None if config.run.time_step == "auto" else float(config.run.time_step)
        start = self._start(cells)
        self._refuse_what_overflows()
        model = ConfiguredModel(
            problem, self.parameters, self.fields, start, step, config.run.tolerance, given, tuple(self.warnings)
        )
        return replace(model, problem=bounded(problem, model, step))

    def _named_parameters(self) -> None:
        for name, parameter in self.config.parameters.items():
            if parameter.value is not None:
                self.parameters[name] = parameter.value.value
            for cell, number in (parameter.by_cell or {}).items():
                self.parameters[f"{name}.{cell}"] = number.value

    def _refuse_what_overflows(self) -> None:
        precision = self.config.run.precision
        largest = float(np.finfo(precision).max)
        for name, value in self.parameters.items():
            if abs(value) > largest:
                raise ConfigError(
                    name, f"{value:g} (in um, s, molecules) is more than {precision} holds, {largest:g}; check its unit"
                )

    def _leaf(self, expression: Expression, key: str) -> Expression:
        """A literal becomes a parameter named by its key path, so that it can be varied and fitted."""
        if not isinstance(expression, Number):
            return expression
        self.parameters[key] = expression.value
        return Name(key)

    def _network(self) -> Network:
        config, table = self.config, self.table
        diffusivity = tuple(self._diffusivity(name) for name in table.species[: table.num_free])
        on_division = tuple(config.species[name].on_division or "split" for name in self._in_cell())
        motility = tuple(
            None if is_zero(cell.motility) else self._leaf(cell.motility, f"cells.{name}.motility")
            for name, cell in config.cells.items()
        )
        inside = (r for r in all_reactions(config) if not (is_outside(config, r) or comes_in(config, r)))
        parts = [self._split(reaction) for reaction in inside]
        channels = tuple(part.channel for part in parts if part.channel is not None)
        by_cell = tuple(
            (name, tuple(parameter.by_cell))
            for name, parameter in config.parameters.items()
            if parameter.by_cell is not None
        )
        self._new_cells_know_their_content(channels)
        return Network(
            species=table.species,
            num_free=table.num_free,
            num_in_cell=table.first_type - table.num_free,
            diffusivity=diffusivity,
            on_division=on_division,
            motility=motility,
            channels=channels,
            by_cell=by_cell,
            fields=tuple(self._continuous(name, parts) for name in table.continuous),
            chemotaxis=self._chemotaxis(),
        )

    def _chemotaxis(self) -> tuple[Chemotaxis | None, ...]:
        if all(cell.chemotaxis is None for cell in self.config.cells.values()):
            return ()
        return tuple(
            cell.chemotaxis
            and Chemotaxis(
                cell.chemotaxis.up, self._leaf(cell.chemotaxis.strength, f"cells.{name}.chemotaxis.strength")
            )
            for name, cell in self.config.cells.items()
        )

    def _continuous(self, name: str, parts: Sequence[Split]) -> Continuous:
        """A continuous species with the terms that all reactions give it."""
        species, key = self.config.species[name], f"species.{name}"
        unit, initial = species.own_unit, species.initial
        assert unit is not None
        assert species.solve is not None
        if isinstance(initial, FromFile):
            field = read_field(initial.file, self.grid.user_shape).reshape(self.grid.shape) * unit.value
            if field.min() < 0:
                raise ConfigError(f"{key}.initial.file", f"{initial.file} has a value below 0; give 0 or more")
            self.fields[f"initial.{name}"] = field.astype(np.float64)
            first = None
        else:
            assert isinstance(initial, Expression)
            first = self._leaf(initial, f"{key}.initial")
        return Continuous(
            name=name,
            unit=unit.text,
            unit_value=unit.value,
            has_molecules=unit.has_molecules,
            solve=Solve(species.solve),
            diffusivity=self._diffusivity(name),
            initial=first,
            fixed=tuple((at, self._held(value, f"{key}.fixed.{at}")) for at, value in (species.fixed or {}).items()),
            walls=tuple((axis, side, value) for axis, side, of, value in self._wall_values() if of == name),
            losses=tuple(term for part in parts for of, term in part.losses if of == name),
            gains=tuple(term for part in parts for of, term in part.gains if of == name),
        )

    def _in_cell(self) -> tuple[str, ...]:
        return self.table.species[self.table.num_free : self.table.first_type]

    def _split(self, reaction: Reaction) -> Split:
        is_propensity = reaction.propensity is not None
        rate = reaction.propensity if reaction.propensity is not None else reaction.rate
        assert rate is not None
        per_volume, names_of = False, Namespace(self.config)
        if not is_propensity and reaction.num_molecules(self.config.cells) == 0 and not is_zero(rate):
            per_volume = names_of.dimension_of(rate, reaction.name) != PER_TIME
        written = f"reactions.{reaction.name}.{'propensity' if is_propensity else 'rate'}"
        key = written if "." not in reaction.name else f"species.{reaction.name}"
        written_on_lattice = reaction.model_copy(update={"equation": on_lattice(self.config, reaction.equation)})
        outside = releases(self.config, reaction.equation, pool_names(self.config))
        found = split(
            names_of,
            written_on_lattice,
            self._leaf(rate, key),
            self.table,
            per_volume=per_volume,
            crosses=bool(outside),
        )
        if found.channel is None:
            return found
        return replace(found, channel=replace(found.channel, equation=str(reaction.equation), releases=outside))

    def _held(self, value: Expression, key: str) -> Expression:
        """What a concentration is held at; an amount in a compartment stands for its density."""
        compartment = value.name.partition(".")[0] if isinstance(value, Name) else ""
        if compartment not in self.config.compartments:
            return self._leaf(value, key)
        volume = Number(self.config.compartments[compartment].volume_um3)
        return Binary("/", value, self._leaf(volume, volume_key(compartment)))

    def _diffusivity(self, name: str) -> Expression | None:
        given, key = self.config.species[name].diffusion, f"species.{name}.diffusion"
        if given is None:
            return None
        if isinstance(given, FromFile):
            field = read_field(given.file, self.grid.user_shape).reshape(self.grid.shape)
            if field.min() < 0:
                raise ConfigError(f"{key}.file", f"{given.file} has a value of {field.min():g} um^2/s; give 0 or more")
            self.fields[f"diffusion.{name}"] = field.astype(np.float64)
            return Number(0.0)
        if isinstance(given, dict):
            result = self._leaf(given["default"], f"{key}.default")
            for region, value in given.items():
                if region != "default":
                    inside = Compare(">", Name(f"region.{region}"), Number(0.5))
                    result = Call("where", (inside, self._leaf(value, f"{key}.{region}"), result))
            return result
        return None if is_zero(given) else self._leaf(given, key)

    def _flow(self) -> tuple[Expression, ...]:
        """Velocity along x, y and z; that of a file becomes fields ``flow.field.x`` and so on."""
        flow = self.config.flow
        if flow is None:
            return ()
        if not isinstance(flow.velocity, VelocityFile):
            components = zip(AXES, flow.components(), strict=True)
            return tuple(v if is_zero(v) else self._leaf(v, f"flow.velocity.{axis}") for axis, v in components)
        file, axes = flow.velocity.file, AXES[: self.grid.num_axes]
        field = read_field(file, (len(axes), *self.grid.user_shape), "axis, x, y, z")
        field = field.reshape(len(axes), *self.grid.shape).astype(np.float64)
        check_divergence(field, self.grid, f"flow.velocity.file: {file}")
        scale = self._leaf(flow.velocity.scale, "flow.velocity.scale")
        result: list[Expression] = [Number(0.0)] * 3
        for place, (axis, component) in enumerate(zip(axes, field, strict=True)):
            if np.any(component):
                self.fields[f"flow.field.{axis}"] = component
                result[place] = Binary("*", scale, Name(f"flow.field.{axis}"))
        return tuple(result)

    def _new_cells_know_their_content(self, channels: Sequence[Channel]) -> None:
        """The first content of new cells becomes parameters ``species.NAME.initial.TYPE``."""
        born = any(channel.new_cell is not NewCell.NONE for channel in channels)
        for name in self._in_cell():
            initial = self.config.species[name].initial
            if isinstance(initial, PoissonCount):
                if born:
                    raise ConfigError(
                        f"species.{name}.initial", "a Poisson content of new cells is not yet supported; give a number"
                    )
                continue
            assert isinstance(initial, float | int | dict)
            for cell in self.config.cells:
                value = initial.get(cell, 0.0) if isinstance(initial, dict) else initial
                self.parameters[f"species.{name}.initial.{cell}"] = float(value)

    def _wall_values(self) -> Iterator[tuple[int, int, str, Expression]]:
        """(axis, side, species, density) of all fixed walls."""
        for face_name, face in self.config.lattice.boundary.faces.items():
            axis, side = AXES.index(face_name[0]), int(face_name.endswith("high"))
            for name, density in face.fixed.items():
                key = f"lattice.boundary.{face_name}.fixed.{name}"
                yield axis, side, name, self._leaf(density, key)

    def _walls(self) -> tuple[FixedWall, ...]:
        species = self.table.species
        return tuple(
            FixedWall(axis, side, species.index(name), density)
            for axis, side, name, density in self._wall_values()
            if name in species
        )

    def _random_start(self) -> tuple[tuple[int, Expression], ...]:
        result = []
        for at, name in enumerate(self.table.species[: self.table.first_type]):
            initial, key = self.config.species[name].initial, f"species.{name}.initial"
            if isinstance(initial, PoissonCount):
                result.append((at, self._leaf(Number(float(initial.poisson)), f"{key}.poisson")))
            elif isinstance(initial, Density):
                density = self._leaf(initial.density, f"{key}.density")
                result.append((at, Binary("*", density, Number(self.grid.fluid_volume_um3))))
        return tuple(result)

    def _start(self, cells: CellMap) -> np.ndarray:
        """Placed cells and fixed first counts, (species, x, y, z)."""
        table, grid = self.table, self.grid
        whole = self.config.run.engine != "mean_field"
        counts = np.zeros((len(table.species), *grid.shape), np.int64 if whole else np.float64)
        for place in range(len(self.config.cells)):
            counts[table.first_type + place] = cells == place
        # what cells hold, and concentrations, are parameters, filled in by simulation.initial_state
        for at, name in enumerate(table.species[: table.num_free]):
            self._fill_start(counts[at], self.config.species[name].initial, f"species.{name}.initial")
        if whole and counts.max(initial=0) >= 2**31:
            raise ConfigError("species", f"a first count of {counts.max():.3g} is above 2^31; use smaller voxels")
        return counts.astype(np.int32) if whole else counts

    def _fill_start(self, target: np.ndarray, initial: Any, where: str) -> None:
        if isinstance(initial, VoxelCount):
            target[tuple((*initial.voxel, 0, 0)[:3])] = initial.count
        elif isinstance(initial, FromFile):
            field = read_field(initial.file, self.grid.user_shape).reshape(self.grid.shape)
            if field.min() < 0 or (target.dtype.kind == "i" and np.any(field != np.floor(field))):
                raise ConfigError(
                    f"{where}.file", f"{initial.file} must hold whole numbers of 0 or more for engine leap"
                )
            target[...] = field
        elif isinstance(initial, float | int):
            target[...] = initial

    def _totals(self) -> tuple[Observable, ...]:
        """What is recorded when the file names nothing: totals of species and cell types, means of concentrations."""
        counted = (Observable(f"total_{name}", Call("total", (Name(name),))) for name in self.table.species)
        names_of = Namespace(self.config)
        means = ((name, Call("mean", (Name(name),))) for name in self.table.continuous)
        return (*counted, *(Observable(f"mean_{name}", in_unit(names_of, mean)) for name, mean in means))

    def _observable(self, name: str, config: RunConfig) -> Observable:
        """An observable; instruments look at the populations of the config as it was given."""
        given, names_of = self.config.observables[name], Namespace(self.config)
        if given.value is not None:
            return Observable(name, in_unit(names_of, given.value))
        if given.profile is not None:
            bins = num_profile_bins(self.grid, given.profile.bin_um)
            if bins > 100_000:
                raise ConfigError(
                    f"observables.{name}.profile.bin",
                    f"{given.profile.bin_um:g} um makes {bins} bins; at most 100000 are allowed, raise it",
                )
            of = in_unit(names_of, given.profile.of)
            return Observable(name, Profile(of, given.profile.from_, given.profile.bin_um, bins))
        if given.size_histogram is not None:
            return Observable(name, size_histogram_of(given.size_histogram, config))
        if given.assay is not None:
            return Observable(name, assay_of(given.assay, config, name, self._leaf, self._fluid_um3))
        assert given.histogram is not None
        bins = given.histogram.bins
        edges = (*map(float, range(bins)), np.inf) if isinstance(bins, int) else bins
        return Observable(name, Histogram(in_unit(names_of, given.histogram.of), given.histogram.over, edges))

    def _fluid_um3(self, region: str) -> float:
        """Volume of the fluid of a region, or of the whole lattice."""
        voxels = float(self.fields[f"region.{region}"].sum()) if region else self.grid.num_voxels
        return voxels * self.grid.fluid_volume_um3


def check_divergence(velocities_um_per_s: np.ndarray, grid: Grid, where: str) -> None:
    """Refuse a flow that makes or loses fluid: molecules would gather or thin out where nothing holds them.

    Velocities at the centres of the voxels, (axes, x, y, z).
    """
    gain, fastest = (np.asarray(a) for a in divergence(jnp.asarray(velocities_um_per_s, jnp.float32), grid))
    voxel = np.unravel_index(int(np.abs(gain).argmax()), gain.shape)
    worst, limit = float(gain[voxel]), MAX_DIVERGENCE * float(fastest)
    if abs(worst) > limit:
        raise ConfigError(
            where,
            f"voxel {[int(i) for i in voxel[: grid.num_axes]]} {'makes' if worst > 0 else 'loses'} {abs(worst):.3g} of "
            f"its fluid a second, the limit is {limit:.3g} ({100 * MAX_DIVERGENCE:g} % of the largest |v| / h); "
            "give a flow without divergence, and none through reflecting walls",
        )
