"""Check a config as a whole: names, dimensions, signs, equations, places. All that is wrong is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from exodiff.config.compartment_checks import check_compartments, check_place_of_reaction
from exodiff.config.concentration_checks import allowed_rates, check_concentrations
from exodiff.config.exosome_checks import check_equation_of_bins, check_exosomes
from exodiff.config.fit_checks import check_fit
from exodiff.config.flow_checks import check_flow
from exodiff.config.intervention_checks import check_interventions
from exodiff.config.measurement_checks import check_measurements
from exodiff.config.names import Namespace, gather, reaction_path
from exodiff.config.organ_checks import check_organs
from exodiff.config.place_checks import check_places, check_regions
from exodiff.config.schema import Chemotaxis, Observable, Reaction, RunConfig
from exodiff.config.species import Density, Species, VoxelCount
from exodiff.config.value_checks import (
    OF_LATTICE,
    PARAMETERS,
    STATE,
    check_dimension,
    check_half_life,
    check_rate,
    check_value,
)
from exodiff.core.dimensions import (
    DIFFUSIVITY,
    DIMENSIONLESS,
    PER_TIME,
    PER_VOLUME,
    Dimension,
)
from exodiff.core.equations import Term
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, names


def check(config: RunConfig) -> list[ConfigError]:
    """Return everything that is wrong across tables; `where` of each is the key path."""
    names_of = Namespace(config)
    errors = list(names_of.collect())
    checker = _Checker(config, names_of)
    for found in (
        checker.parameters(),
        check_organs(config),
        checker.lattice(),
        checker.cells(),
        checker.species(),
        check_concentrations(config, names_of),
        check_flow(config, names_of),
        checker.reactions(),
        check_compartments(config, names_of),
        check_places(config, names_of),
        check_regions(config, names_of),
        check_exosomes(config, names_of),
        check_interventions(config, names_of),
        checker.observables(),
        check_measurements(config, names_of),
        check_fit(config, names_of),
    ):
        errors += found
    return errors


MAX_ORDER = 50  # of one species in mass action, which is a product of so many factors


class _Checker:
    """One check for each table of a config."""

    def __init__(self, config: RunConfig, names_of: Namespace) -> None:
        self.config = config
        self.names_of = names_of

    def parameters(self) -> Iterator[ConfigError]:
        for name, parameter in self.config.parameters.items():
            where = f"parameters.{name}.by_cell"
            yield from gather(
                [partial(self.names_of.require, cell, ("cells",), where) for cell in parameter.by_cell or {}]
            )

    def lattice(self) -> Iterator[ConfigError]:
        for face, wall in self.config.lattice.boundary.faces.items():
            for name, value in wall.fixed.items():
                where = f"lattice.boundary.{face}.fixed.{name}"
                yield from gather(
                    [partial(self._free_species, name, where), partial(self._value, value, PER_VOLUME, where)]
                )

    def _free_species(self, name: str, where: str) -> None:
        self.names_of.require(name, ("species",), where)
        if self.names_of.in_cell(name):
            raise ConfigError(where, f"{name!r} lives in cells and meets no wall; name a free species")
        if self.names_of.unit_of(name) is not None and not self.names_of.has_molecules(name):
            raise ConfigError(
                where, f"{name!r} has no molecules, which is not yet supported at a wall; use fixed of it"
            )

    def cells(self) -> Iterator[ConfigError]:
        for name, cell in self.config.cells.items():
            checks: list[Callable[[], None]] = [
                partial(check_rate, self.names_of, cell.motility, (DIFFUSIVITY,), f"cells.{name}.motility")
            ]
            if cell.chemotaxis is not None:
                checks.append(partial(self._chemotaxis, cell.chemotaxis, f"cells.{name}.chemotaxis"))
            yield from gather(checks)

    def _chemotaxis(self, chemotaxis: Chemotaxis, where: str) -> None:
        up, strength = chemotaxis.up, chemotaxis.strength
        self.names_of.require(up, ("species",), f"{where}.up")
        if self.names_of.in_cell(up) or self.names_of.members(up) != (up,):
            raise ConfigError(f"{where}.up", f"{up!r} is not one species in the fluid; name a free or continuous one")
        self.names_of.check_expression(strength, PARAMETERS, f"{where}.strength")
        if self.names_of.depends_on_cell(strength):
            raise ConfigError(f"{where}.strength", "holds a by_cell parameter; write a plain one for each cell type")
        check_dimension(self.names_of, strength, (DIMENSIONLESS,), f"{where}.strength")

    def species(self) -> Iterator[ConfigError]:
        for name, species in self.config.species.items():
            where = f"species.{name}"
            checks = [partial(self._initial, species, f"{where}.initial")]
            for key, expr in _diffusions(species):
                checks.append(partial(self._value, expr, DIFFUSIVITY, f"{where}.{key}"))
                if key not in ("diffusion", "diffusion.default"):
                    region = key.removeprefix("diffusion.")
                    checks.append(partial(self.names_of.require, region, ("regions",), f"{where}.diffusion"))
            if species.decay is not None:
                checks.append(partial(self._value, species.decay, PER_TIME, f"{where}.decay", by_cell=True))
            if species.half_life is not None:
                checks.append(partial(check_half_life, self.names_of, species.half_life, f"{where}.half_life"))
            yield from gather(checks)

    def _initial(self, species: Species, where: str) -> None:
        initial = species.initial
        if isinstance(initial, dict):
            for cell in initial:
                self.names_of.require(cell, ("cells",), where)
        if isinstance(initial, Density):
            self._value(initial.density, PER_VOLUME, f"{where}.density")
        if isinstance(initial, VoxelCount):
            self._voxel(initial.voxel, f"{where}.voxel")
        if species.own_unit is None:
            self._whole_counts(initial, where)

    def _whole_counts(self, initial: object, where: str) -> None:
        counts = list(initial.values()) if isinstance(initial, dict) else [getattr(initial, "count", initial)]
        for count in counts:
            if isinstance(count, float) and not count.is_integer() and self.config.run.engine != "mean_field":
                raise ConfigError(
                    where, f"{count} is not a whole number of molecules, which only engine mean_field takes; round it"
                )

    def _voxel(self, voxel: tuple[int, ...], where: str) -> None:
        lattice = self.config.lattice
        shape = lattice.grid_shape if len(voxel) == 3 else lattice.shape
        if len(voxel) != len(shape) or any(index >= size for index, size in zip(voxel, shape, strict=True)):
            raise ConfigError(
                where, f"{list(voxel)} is not a voxel of the shape {list(lattice.shape)}; indices run from 0"
            )

    def _value(self, expr: Expression, expected: Dimension, where: str, *, by_cell: bool = False) -> None:
        check_value(self.names_of, expr, expected, where, by_cell=by_cell)

    def reactions(self) -> Iterator[ConfigError]:
        for index, reaction in enumerate(self.config.reactions):
            where = reaction_path(reaction, index)
            checks = [
                partial(self._equation, reaction, f"{where}.equation"),
                partial(self._speed, reaction, where),
                partial(check_equation_of_bins, reaction, self.names_of, f"{where}.equation"),
                partial(check_place_of_reaction, reaction, self.names_of, where),
            ]
            if reaction.region is not None:
                checks.append(partial(self.names_of.require, reaction.region, ("regions",), f"{where}.region"))
            yield from gather(checks)

    def _equation(self, reaction: Reaction, where: str) -> None:
        equation = reaction.equation
        for term in (*equation.reactants, *equation.products):
            self.names_of.require(term.name, ("species", "cells", "pools"), where, f" in '{equation}'")
            for argument in term.burst.arguments if term.burst else ():
                self._value(argument, DIMENSIONLESS, where, by_cell=True)
            self._burst(term, where)
        cells = [term for term in equation.reactants if term.name in self.config.cells]
        num_reactants = sum(term.count for term in cells)
        if num_reactants > 1:
            raise ConfigError(
                where,
                f"'{equation}' has {num_reactants} cells among its reactants; a voxel holds one cell, use near(TYPE) "
                "in the rate for its neighbours",
            )
        num_products = sum(term.count for term in equation.products if term.name in self.config.cells)
        homeless = [t.name for t in equation.products if self.names_of.in_cell(t.name)]
        if num_reactants and not num_products and homeless:
            raise ConfigError(
                where,
                f"'{equation}' lets the cell die and makes {homeless[0]!r}, which lives in cells; keep the cell among "
                "the products, or make a free species",
            )
        if num_products > num_reactants + 1:
            raise ConfigError(
                where,
                f"'{equation}' makes {num_products - num_reactants} new cells; one an event is allowed, split it up",
            )

    def _burst(self, term: Term, where: str) -> None:
        if term.burst is None:
            return
        if term.name in self.config.cells:
            raise ConfigError(where, f"'{term}' makes a random number of cells; bursts are for molecules only")
        first = self.names_of.constant(term.burst.arguments[0])
        if term.burst.kind == "loaded" and first is not None and np.any(first > 1):
            raise ConfigError(where, f"'{term}': the first argument is a probability; give 0 to 1")

    def _speed(self, reaction: Reaction, where: str) -> None:
        key, expr = ("rate", reaction.rate) if reaction.rate is not None else ("propensity", reaction.propensity)
        assert expr is not None
        where = f"{where}.{key}"
        if key == "propensity":
            check_rate(self.names_of, expr, (PER_TIME,), where)
        else:
            order = reaction.num_molecules(self.config.cells)
            many = [term for term in reaction.equation.reactants if term.count > MAX_ORDER]
            if many:
                raise ConfigError(
                    where,
                    f"'{many[0]}' is no mass action: at most {MAX_ORDER} of one species; write a propensity",
                )
            allowed = allowed_rates(self.names_of, reaction, order)
            check_rate(self.names_of, expr, allowed, where, f" ({order} molecules react in '{reaction.equation}')")
        self._feeds_itself(reaction, expr, where)

    def _feeds_itself(self, reaction: Reaction, rate: Expression, where: str) -> None:
        equation = reaction.equation
        members = self.names_of.members
        read = {one for name in (*names(rate), *(term.name for term in equation.reactants)) for one in members(name)}
        fed = [term.name for term in equation.products if term.burst is not None and read & {*members(term.name)}]
        if fed:
            raise ConfigError(
                where,
                f"'{equation}' makes a random number of {fed[0]!r}, on which its own rate depends, which is not yet "
                "supported; make another species that turns into it",
            )

    def observables(self) -> Iterator[ConfigError]:
        for name, observable in self.config.observables.items():
            yield from gather([partial(self._observable, observable, f"observables.{name}")])

    def _observable(self, observable: Observable, where: str) -> None:
        if not where.removeprefix("observables.").replace("-", "_").isidentifier():
            raise ConfigError(where, "is not a name for a column; use letters, digits and _")
        if observable.value is not None:
            self.names_of.check_expression(observable.value, OF_LATTICE, f"{where}.value", time=True)
            if self.names_of.depends_on_cell(observable.value):
                raise ConfigError(
                    f"{where}.value",
                    "holds a by_cell parameter, which has no value for the whole lattice; use a plain one",
                )
            self.names_of.dimension_of(observable.value, f"{where}.value")
        if observable.profile is not None:
            self._voxel_value(observable.profile.of, f"{where}.profile.of")
            self.names_of.require(observable.profile.from_, ("cells", "regions"), f"{where}.profile.from")
        if observable.histogram is not None:
            self._voxel_value(observable.histogram.of, f"{where}.histogram.of")
            self.names_of.require(observable.histogram.over, ("cells", "regions"), f"{where}.histogram.over")

    def _voxel_value(self, expr: Expression, where: str) -> None:
        self.names_of.check_expression(expr, STATE, where, time=True)
        self.names_of.dimension_of(expr, where)


def _diffusions(species: Species) -> Iterator[tuple[str, Expression]]:
    if isinstance(species.diffusion, Expression):
        yield "diffusion", species.diffusion
    elif isinstance(species.diffusion, dict):
        for region, expr in species.diffusion.items():
            yield f"diffusion.{region}", expr
