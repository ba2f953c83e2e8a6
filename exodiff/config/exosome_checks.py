"""Check populations, cargo and tags against the names: cell types, dimensions, what each rate may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from exodiff.config.exosomes import Exosomes, Load, OfSize, Uptake, is_poisson
from exodiff.config.fields import nearest
from exodiff.config.names import Namespace, gather
from exodiff.config.populations import num_copies
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.species import Density, VoxelCount
from exodiff.config.value_checks import check_half_life, check_rate, check_value
from exodiff.core.dimensions import (
    DIFFUSIVITY,
    DIMENSIONLESS,
    PER_TIME,
    PER_VOLUME,
    TEMPERATURE,
    VISCOSITY,
    VOLUME,
)
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Expression, names

Checks = Iterator[Callable[[], None]]


def check_exosomes(config: RunConfig, names_of: Namespace) -> Iterator[ConfigError]:
    """Yield what is wrong with [cargo], [tags] and [exosomes] across tables."""
    for name, cargo in config.cargo.items():
        if cargo.half_life is not None:
            yield from gather([partial(check_half_life, names_of, cargo.half_life, f"cargo.{name}.half_life")])
    for name, tag in config.tags.items():
        where = f"tags.{name}.receivers"
        yield from gather([partial(names_of.require, cell, ("cells",), where) for cell in tag.receivers])
    for name, population in config.exosomes.items():
        yield from gather([*_Population(config, names_of, name, population).checks()])


class _Population:
    """The checks of one population."""

    def __init__(self, config: RunConfig, names_of: Namespace, name: str, population: Exosomes) -> None:
        self.config = config
        self.names_of = names_of
        self.name = name
        self.where = f"exosomes.{name}"
        self.population = population

    def checks(self) -> Checks:
        population, where = self.population, self.where
        for cell in population.senders:
            yield partial(self.names_of.require, cell, ("cells",), f"{where}.released_by")
        for tag in population.tags:
            yield partial(_require, tag, self.config.tags, f"{where}.tags", "tag")
        if population.decay is not None:
            yield partial(check_value, self.names_of, population.decay, PER_TIME, f"{where}.decay", by_cell=True)
        yield from self.spread()
        yield from self.initial()
        yield from self.biogenesis()
        for cargo, load in population.cargo.items():
            yield from self.load(cargo, load)
        if population.uptake is not None:
            yield from self.uptake(population.uptake)

    def spread(self) -> Checks:
        given, where = self.population.diffusion, f"{self.where}.diffusion"
        if isinstance(given, OfSize):
            law, key = given.stokes_einstein, f"{where}.stokes_einstein"
            yield partial(self.positive, law.viscosity, VISCOSITY, f"{key}.viscosity")
            yield partial(self.positive, law.tortuosity, DIMENSIONLESS, f"{key}.tortuosity")
            yield partial(self.positive, law.temperature, TEMPERATURE, f"{key}.temperature")
        elif isinstance(given, Expression):
            yield partial(check_value, self.names_of, given, DIFFUSIVITY, where)
        elif isinstance(given, dict):
            for region, value in given.items():
                yield partial(check_value, self.names_of, value, DIFFUSIVITY, f"{where}.{region}")
                if region != "default":
                    yield partial(self.names_of.require, region, ("regions",), where)

    def positive(self, value: Expression, dimension: object, where: str) -> None:
        check_value(self.names_of, value, dimension, where)  # pyright: ignore[reportArgumentType]
        found = self.names_of.constant(value)
        if found is not None and np.any(found <= 0):
            raise ConfigError(where, f"is {float(found.min()):g} here; give a positive value")

    def initial(self) -> Checks:
        initial, where = self.population.initial, f"{self.where}.initial"
        if isinstance(initial, Density):
            yield partial(check_value, self.names_of, initial.density, PER_VOLUME, f"{where}.density")
        if isinstance(initial, VoxelCount):
            yield partial(self.voxel, initial.voxel, f"{where}.voxel")

    def voxel(self, voxel: tuple[int, ...], where: str) -> None:
        shape = self.config.lattice.grid_shape[: len(voxel)]
        if len(voxel) not in (3, len(self.config.lattice.shape)) or any(
            i >= n for i, n in zip(voxel, shape, strict=True)
        ):
            raise ConfigError(where, f"{list(voxel)} is not a voxel of the lattice; indices run from 0")

    def biogenesis(self) -> Checks:
        given, where = self.population.biogenesis, f"{self.where}.biogenesis"
        if given is None:
            return
        for key, rate in {**given.routes, "lysosome": given.lysosome, "fusion": given.fusion}.items():
            if rate is not None:
                yield partial(check_rate, self.names_of, rate, (PER_TIME,), f"{where}.{key}")
        yield partial(self.not_of_own, given.fusion, (self.name,), f"{where}.fusion")
        for argument in given.burst.burst.arguments if given.burst.burst else ():
            yield partial(check_value, self.names_of, argument, DIMENSIONLESS, f"{where}.burst", by_cell=True)

    def load(self, cargo: str, load: Load) -> Checks:
        where = f"{self.where}.cargo.{cargo}"
        yield partial(_require, cargo, self.config.cargo, where, "cargo")
        yield partial(self.probability, load.fraction, f"{where}.fraction")
        yield partial(check_value, self.names_of, load.mean, DIMENSIONLESS, f"{where}.mean", by_cell=True)

    def probability(self, value: Expression, where: str) -> None:
        check_value(self.names_of, value, DIMENSIONLESS, where, by_cell=True)
        found = self.names_of.constant(value)
        if found is not None and np.any(found > 1):
            raise ConfigError(where, f"{float(found.max()):g} is no probability; give 0 to 1")

    def uptake(self, uptake: Uptake) -> Checks:
        where = f"{self.where}.uptake"
        for cell in uptake.receivers:
            yield partial(self.names_of.require, cell, ("cells",), f"{where}.receivers")
        for compartment in uptake.compartments:
            yield partial(self.names_of.require, compartment, ("compartments",), f"{where}.receivers")
        if uptake.receptor is not None:
            yield partial(self.shared, uptake.receptor, f"{where}.receptor")
        yield partial(check_rate, self.names_of, uptake.k_on, (VOLUME * PER_TIME,), f"{where}.k_on")
        for key in ("k_off", "k_internalise", "k_escape", "k_degrade"):
            rate = getattr(uptake, key)
            if rate is not None:
                yield partial(check_rate, self.names_of, rate, (PER_TIME,), f"{where}.{key}")
        for key, site in self.delivering(uptake):
            made = tuple(f"dose.{name}" for name in self.population.cargo if self.site(name) == site)
            rate = getattr(uptake, key)
            if rate is not None:
                yield partial(self.not_of_own, rate, made, f"{where}.{key}")

    def delivering(self, uptake: Uptake) -> Iterator[tuple[str, str]]:
        """The rates that deliver cargo, and the site of what they deliver."""
        key = "k_internalise" if uptake.mode == "receptors" else "k_on"
        yield key, "surface"
        yield ("k_escape" if uptake.has_endosome else key), "lumen"

    def site(self, cargo: str) -> str:
        found = self.config.cargo.get(cargo)
        return "" if found is None else found.site

    def shared(self, receptor: str, where: str) -> None:
        self.names_of.require(receptor, ("species",), where)
        if not self.names_of.in_cell(receptor):
            raise ConfigError(where, f'{receptor!r} is free; a receptor is a species with in = "cell"')

    def not_of_own(self, rate: Expression, made: tuple[str, ...], where: str) -> None:
        """Refuse a rate that reads what its own events make in random numbers."""
        members = self.names_of.members
        read = {one for name in names(rate) for one in members(name)}
        fed = [name for name in made if read & {*members(name)}]
        if fed:
            raise ConfigError(
                where, f"reads {fed[0]!r}, of which its own events make a random number, which is not yet supported"
            )


def _require(name: str, table: object, where: str, what: str) -> None:
    known = table if isinstance(table, dict) else {}
    if name not in known:
        raise ConfigError(where, f"there is no {what} {name!r}; {nearest(name, known)}")


def check_equation_of_bins(reaction: Reaction, names_of: Namespace, where: str) -> None:
    """Refuse equations of populations whose size bins do not match, or whose products do not split exactly."""
    equation, members = reaction.equation, names_of.members
    sizes = {len(members(term.name)) for term in (*equation.reactants, *equation.products)} - {1}
    if len(sizes) > 1:
        first, second = sorted(sizes)[:2]
        raise ConfigError(
            where, f"'{equation}' names populations with {first} and {second} size bins; give them equally many"
        )
    if not sizes:
        return
    made = [term for term in equation.products if len(members(term.name)) > 1]
    bursts = [term for term in made if term.burst is not None and not is_poisson(term)]
    if bursts:
        raise ConfigError(
            where, f"'{bursts[0]}' does not fall into size bins independently; write poisson(...) or name a bin"
        )
    if any(len(members(term.name)) > 1 for term in equation.reactants):
        return
    plain = [term for term in made if term.burst is None]
    if plain and num_copies(reaction, names_of.derived) > 1 and (len(plain) > 1 or plain[0].count > 1):
        raise ConfigError(
            where,
            f"'{equation}' makes a fixed number of vesicles above 1, which does not fall into size bins "
            "independently; write poisson(...), one vesicle, or name a bin",
        )
