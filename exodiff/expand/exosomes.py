"""``[exosomes]``, ``[cargo]``, ``[tags]`` become species in the fluid and in cells, and reactions between them."""

import math
from collections.abc import Iterator
from typing import Any

from exodiff.config.exosomes import Exosomes, Load, OfSize, Uptake
from exodiff.config.parameters import Parameter
from exodiff.config.populations import bins_of, derived, places_of
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.species import Density, PoissonCount, Species
from exodiff.config.vessels import volume_key
from exodiff.core.dimensions import LENGTH, VOLUME
from exodiff.core.equations import Burst, Equation, Term
from exodiff.core.expressions import Binary, Call, Expression, Name, Number, is_zero
from exodiff.expand.sizes import SizeBin, size_bins
from exodiff.expand.vessels import with_exchange
from exodiff.expand.written import Writer, times


def expanded(config: RunConfig) -> RunConfig:
    """The config with plain species and reactions in place of populations and vessels.

    The order is: what the file writes, then the populations in its order, then the doses.
    """
    config = with_exchange(config)
    if not config.exosomes and not config.cargo:
        return config
    writer = Writer(config)
    reactions = [one for reaction in config.reactions for one in writer.reaction(reaction)]
    species, by_cell = dict(config.species), {}
    for name, population in config.exosomes.items():
        part = _Population(config, writer, name, population)
        species |= part.species()
        reactions += part.reactions()
        by_cell |= part.by_cell
    species |= {f"dose.{name}": _dose(writer, name, cargo.half_life) for name, cargo in config.cargo.items()}
    update: dict[str, Any] = {
        "lattice": writer.lattice(),
        "cells": {name: writer.cell(cell) for name, cell in config.cells.items()},
        "species": species,
        "cargo": {},
        "tags": {},
        "exosomes": {},
        "reactions": tuple(reactions),
        "compartments": writer.compartments(),
        "interventions": writer.interventions(),
        "observables": {name: writer.observable(item) for name, item in config.observables.items()},
    }
    literals = {key: Parameter(value=number) for key, number in writer.parameters.items()}
    return config.model_copy(update={**update, "parameters": {**config.parameters, **literals, **by_cell}})


def species_groups(config: RunConfig) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names that stand for sums of species, such as ``tEV`` for its size bins."""
    found = derived(config)
    return tuple(
        (name, members) for name, members in found.groups.items() if members[0] in {*found.species, *found.pools}
    )


def _dose(writer: Writer, name: str, half_life: Expression | None) -> Species:
    return _in_cell(half_life=None if half_life is None else writer.leaf(half_life, f"cargo.{name}.half_life"))


def _in_cell(**fields: Any) -> Species:
    return Species.model_construct(**{**_PLAIN, "in_": "cell", "diffusion": None, "on_division": "split", **fields})


_PLAIN = {"decay": None, "half_life": None, "initial": 0.0, "constant": False}


class _Population:
    """One population written out.

    Parameters are named by key path, e.g. ``exosomes.tEV.uptake.k_on``; weights of receivers are given by cell type.
    """

    def __init__(self, config: RunConfig, writer: Writer, name: str, population: Exosomes) -> None:
        self.config = config
        self.writer = writer
        self.name = name
        self.population = population
        self.bins = bins_of(name, population)
        self.sizes: tuple[SizeBin | None, ...] = size_bins(population.diameter) if population.diameter else (None,)
        self.by_cell: dict[str, Parameter] = {}

    def leaf(self, value: Expression, key: str) -> Expression:
        return self.writer.leaf(value, f"exosomes.{self.name}.{key}")

    def by_type(self, key: str, values: dict[str, float]) -> Expression:
        """A parameter given by cell type."""
        self.by_cell[key] = Parameter.model_construct(
            value=None, by_cell={cell: Number(value) for cell, value in values.items()}
        )
        return Name(key)

    # Species

    def species(self) -> dict[str, Species]:
        population, uptake = self.population, self.population.uptake
        found = {one: self._free(size) for one, size in zip(self.bins, self.sizes, strict=True)}
        if population.senders:
            found[f"{self.name}.mvb"] = _in_cell()
        if uptake is not None and uptake.mode == "receptors":
            if uptake.receptor is None:
                found[f"{self.name}.receptor"] = self._receptors(uptake)
            found |= {f"{one}.bound": _in_cell() for one in self.bins}
        if uptake is not None and uptake.has_endosome:
            found |= {f"{one}.endosome": _in_cell() for one in self.bins}
        return found

    def _receptors(self, uptake: Uptake) -> Species:
        initial = {cell: uptake.receptors_of(cell) or 0.0 for cell in uptake.receivers}
        return _in_cell(initial=initial, on_division="reset")

    def _free(self, size: SizeBin | None) -> Species:
        fields = {"in_": None, "on_division": None, "diffusion": self._diffusion(size), "decay": self._decay()}
        return Species.model_construct(**{**_PLAIN, **fields, "initial": self._initial()})

    def _initial(self) -> Any:
        initial, share = self.population.initial, 1.0 / len(self.bins)
        if isinstance(initial, PoissonCount):
            return PoissonCount.model_construct(poisson=initial.poisson * share)
        if isinstance(initial, Density):
            return Density.model_construct(density=times(self.leaf(initial.density, "initial.density"), share))
        return initial

    def _decay(self) -> Expression | None:
        if self.population.decay is None:
            return None
        rate = self.leaf(self.population.decay, "decay")
        for tag in self.population.tags:
            factor = self.config.tags[tag].decay
            if factor is not None:
                rate = Binary("*", rate, self.writer.leaf(Number(factor), f"tags.{tag}.decay"))
        return rate

    def _diffusion(self, size: SizeBin | None) -> Any:
        given = self.population.diffusion
        if isinstance(given, OfSize):
            assert size is not None
            law, key = given.stokes_einstein, "diffusion.stokes_einstein"
            viscosity = self.leaf(law.viscosity, f"{key}.viscosity")
            tortuosity = self.leaf(law.tortuosity, f"{key}.tortuosity")
            temperature = self.leaf(law.temperature, f"{key}.temperature")
            # the mean of D over the bin is that at the harmonic mean of the diameters
            sphere = Number(1.0 / size.inverse_per_um)
            result: Expression = Call("stokes_einstein", (sphere, viscosity, temperature, tortuosity))
            for name, species in self.config.species.items():
                if species.fibre_radius_um is not None:
                    fibre = self.writer.leaf(Number(species.fibre_radius_um, LENGTH), f"species.{name}.fibre_radius")
                    hindrance = Call("hindrance", (Name(name), Number(size.mean_um), fibre))
                    result = Binary("*", result, hindrance)
            return result
        if isinstance(given, dict):
            return {region: self.leaf(value, f"diffusion.{region}") for region, value in given.items()}
        if isinstance(given, Expression) and not is_zero(given):
            return self.leaf(given, "diffusion")
        return given

    # Reactions

    def reactions(self) -> list[Reaction]:
        found = [*self._biogenesis()]
        uptake = self.population.uptake
        if uptake is not None:
            for one, size in zip(self.bins, self.sizes, strict=True):
                found += self._uptake(uptake, one, size)
        return found

    def _biogenesis(self) -> Iterator[Reaction]:
        given, mvb = self.population.biogenesis, f"{self.name}.mvb"
        if given is None or not self.population.senders:
            return
        for route, rate in given.routes.items():
            named = self.leaf(rate, f"biogenesis.{route}")
            for cell in self.population.senders:
                yield _reaction(f"{self.name}.{route}.{cell}", [Term(cell)], [Term(cell), Term(mvb)], named)
        if given.lysosome is not None:
            lysosome = self.leaf(given.lysosome, "biogenesis.lysosome")
            yield _reaction(f"{self.name}.lysosome", [Term(mvb)], [], lysosome)
        burst = Term(self.name, given.burst.count, given.burst.burst)
        fusion = self.leaf(given.fusion, "biogenesis.fusion")
        yield _reaction(f"{self.name}.fusion", [Term(mvb)], self.writer.term(burst, None), fusion)

    def _uptake(self, uptake: Uptake, one: str, size: SizeBin | None) -> Iterator[Reaction]:
        """Capture, and what becomes of a vesicle inside, for one bin."""
        surface, lumen = self._loads("surface", size), self._loads("lumen", size)
        endosome = [Term(f"{one}.endosome")] if uptake.has_endosome else []
        if uptake.mode == "clearance":
            made = [*endosome, *surface, *([] if endosome else lumen)]
            for at, source in self._sources(uptake, one, "internalise"):
                yield _reaction(f"{one}.internalise{at}", [Term(source)], made, self._clearance(uptake, source))
        else:
            receptor, bound = Term(uptake.receptor or f"{self.name}.receptor"), Term(f"{one}.bound")
            for at, source in self._sources(uptake, one, "bind"):
                capture = Binary("*", self._rate(uptake, "k_on"), self._weight(uptake, source))
                yield _reaction(f"{one}.bind{at}", [Term(source), receptor], [bound], capture)
            if uptake.k_off is not None:
                yield _reaction(f"{one}.unbind", [bound], [Term(one), receptor], self._rate(uptake, "k_off"))
            inside = self._rate(uptake, "k_internalise")
            yield _reaction(f"{one}.internalise", [bound], [*endosome, receptor, *surface], inside)
        if endosome and uptake.k_escape is not None:
            yield _reaction(f"{one}.escape", endosome, lumen, self._rate(uptake, "k_escape"))
        if endosome and uptake.k_degrade is not None:
            yield _reaction(f"{one}.degrade", endosome, [], self._rate(uptake, "k_degrade"))

    def _sources(self, uptake: Uptake, one: str, process: str) -> Iterator[tuple[str, str]]:
        """Where vesicles are taken from: what follows the name of the reaction, and what reacts."""
        for at in places_of(process, self.population):
            yield at, f"{at.removeprefix('.from_')}.{one}" if at else one

    def _rate(self, uptake: Uptake, key: str) -> Expression:
        return self.leaf(getattr(uptake, key), f"uptake.{key}")

    def _clearance(self, uptake: Uptake, source: str) -> Expression:
        """k_on receptors weight / V: what one cell takes of the vesicles in its voxel, or in a compartment."""
        receptors = {cell: uptake.receptors_of(cell) or 0.0 for cell in uptake.receivers}
        number = self.by_type(f"exosomes.{self.name}.uptake.receptors", receptors)
        clearance = Binary("*", Binary("*", self._rate(uptake, "k_on"), number), self._weight(uptake, source))
        if (compartment := self._compartment(source)) is not None:
            volume = Number(self.config.compartments[compartment].volume_um3, VOLUME)
            return Binary("/", clearance, self.writer.leaf(volume, volume_key(compartment)))
        lattice = self.config.lattice
        return Binary("/", clearance, Number(math.prod(lattice.spacing_um) * lattice.fluid_fraction, VOLUME))

    def _compartment(self, source: str) -> str | None:
        """The compartment of what reacts, or None in the tissue."""
        head, dot, _ = source.partition(".")
        return head if dot and head in self.config.compartments else None

    def _weight(self, uptake: Uptake, source: str) -> Expression:
        """The weight of the receiver in the voxel for vesicles from there, with the factors of the tags."""
        compartment = self._compartment(source)
        weights = {cell: one.weight for cell, one in uptake.receivers.items() if one.from_ == compartment}
        at = "" if compartment is None else f".from_{compartment}"
        weight = self.by_type(f"exosomes.{self.name}.uptake.receivers{at}", weights)
        for tag in self.population.tags:
            factors = self.config.tags[tag].receivers
            if factors.keys() & weights.keys():
                cells = {cell: factors.get(cell, 1.0) for cell in self.config.cells}
                weight = Binary("*", weight, self.by_type(f"tags.{tag}.receivers", cells))
        return weight

    def _loads(self, site: str, size: SizeBin | None) -> list[Term]:
        loads = (
            (cargo, load) for cargo, load in self.population.cargo.items() if self.config.cargo[cargo].site == site
        )
        return [self._load(cargo, load, size) for cargo, load in loads]

    def _load(self, cargo: str, load: Load, size: SizeBin | None) -> Term:
        mean = self.leaf(load.mean, f"cargo.{cargo}.mean")
        if load.scale is not None and size is not None:
            mean = times(mean, size.area if load.scale == "area" else size.volume)
        return Term(f"dose.{cargo}", 1, Burst("loaded", (self.leaf(load.fraction, f"cargo.{cargo}.fraction"), mean)))


def _reaction(name: str, reactants: Any, products: Any, rate: Expression) -> Reaction:
    fields = {"name": name, "equation": Equation(tuple(reactants), tuple(products)), "rate": rate}
    return Reaction.model_construct(**{**fields, "propensity": None, "region": None})
