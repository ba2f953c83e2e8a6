"""The names that exosome populations stand for: species, reactions, and sums over size bins and cell types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from exodiff.config.compartments import ELSEWHERE
from exodiff.config.exosomes import Exosomes
from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.vessels import vessel_reactions

PER_BIN = ("bind", "unbind", "internalise", "escape", "degrade")
# Heads of dotted names that mean something else.
TAKEN = frozenset({"region", "plasma", ELSEWHERE})


@dataclass
class Derived:
    """What populations and cargo add to the namespace.

    Attributes:
        species: whether it lives in cells, by name.
        reactions: their names.
        pools: what may be in each compartment, such as ``plasma.EV``, and outside of all, such as ``elsewhere.EV``.
        groups: names that stand for several species or reactions: sums in expressions.

    """

    species: dict[str, bool] = field(default_factory=dict)
    reactions: list[str] = field(default_factory=list)
    pools: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> Iterator[tuple[str, str]]:
        """All names and their kinds."""
        yield from ((name, "species") for name in self.species)
        yield from ((name, "reactions") for name in self.reactions)
        yield from self.pools.items()
        for group, (first, *_) in self.groups.items():
            yield group, "species" if first in self.species else self.pools.get(first, "reactions")

    def members(self, name: str) -> tuple[str, ...]:
        """The names that a name stands for: itself, if it is no group."""
        return self.groups.get(name, (name,))


def derived(config: RunConfig) -> Derived:
    """The names that the populations and cargo of a config stand for."""
    found = Derived()
    found.reactions += [
        f"{name}.decay" for name, species in config.species.items() if species.decay or species.half_life
    ]
    for name, population in config.exosomes.items():
        _add_species(found, name, population)
        _add_reactions(found, name, population)
    for name, cargo in config.cargo.items():
        found.species[f"dose.{name}"] = True
        if cargo.half_life is not None:
            found.reactions.append(f"dose.{name}.decay")
    if config.compartments:
        _add_pools(found, config)
    vessels = tuple(vessel_reactions(config))
    found.reactions += [reaction.name for reaction in vessels]
    for reaction in (*config.reactions, *vessels):
        copies = reaction_names(reaction, found)
        if len(copies) > 1:
            found.reactions += copies
            found.groups[reaction.name] = copies
    return found


def _add_pools(found: Derived, config: RunConfig) -> None:
    free = [name for name, species in config.species.items() if not species.in_cell]
    bins = {name: bins_of(name, population) for name, population in config.exosomes.items()}
    for head in (*config.compartments, ELSEWHERE):
        kind = "elsewhere" if head == ELSEWHERE else "pools"
        single = (*free, *config.cells, *(one for each in bins.values() for one in each))
        found.pools |= {f"{head}.{name}": kind for name in single}
        found.groups |= {
            f"{head}.{n}": tuple(f"{head}.{one}" for one in each) for n, each in bins.items() if each != (n,)
        }


def bins_of(name: str, population: Exosomes) -> tuple[str, ...]:
    """The free species of a population: its name, or one for each size bin."""
    return (name,) if population.num_bins == 1 else tuple(f"{name}.s{i + 1}" for i in range(population.num_bins))


def _add_species(found: Derived, name: str, population: Exosomes) -> None:
    bins, uptake = bins_of(name, population), population.uptake
    found.species |= dict.fromkeys(bins, False)
    if population.senders:
        found.species[f"{name}.mvb"] = True
    parts = []
    if uptake is not None and uptake.mode == "receptors":
        if uptake.receptor is None:
            found.species[f"{name}.receptor"] = True
        parts.append("bound")
    if uptake is not None and uptake.has_endosome:
        parts.append("endosome")
    found.species |= {f"{one}.{part}": True for part in parts for one in bins}
    if len(bins) > 1:
        found.groups[name] = bins
        found.groups |= {f"{name}.{part}": tuple(f"{one}.{part}" for one in bins) for part in parts}


def _add_reactions(found: Derived, name: str, population: Exosomes) -> None:
    bins = bins_of(name, population)
    if population.senders and population.biogenesis is not None:
        for route in population.biogenesis.routes:
            found.groups[f"{name}.{route}"] = tuple(f"{name}.{route}.{cell}" for cell in population.senders)
            found.reactions += found.groups[f"{name}.{route}"]
        found.reactions += [f"{name}.fusion"]
        found.reactions += [f"{name}.lysosome"] if population.biogenesis.lysosome is not None else []
    for process in processes_of(population):
        copies = tuple(f"{one}.{process}{at}" for one in bins for at in places_of(process, population))
        found.reactions += copies
        if copies != (f"{name}.{process}",):
            found.groups[f"{name}.{process}"] = copies


def processes_of(population: Exosomes) -> tuple[str, ...]:
    """What happens to the vesicles of each bin, in the order of the reactions."""
    uptake = population.uptake
    found: list[str] = []
    if uptake is not None and uptake.mode == "receptors":
        found += ["bind", "internalise"] if uptake.k_off is None else ["bind", "unbind", "internalise"]
    elif uptake is not None:
        found.append("internalise")
    if uptake is not None and uptake.has_endosome:
        found += [key for key in ("escape", "degrade") if getattr(uptake, f"k_{key}") is not None]
    return (*found, "decay") if population.decay is not None else tuple(found)


def places_of(process: str, population: Exosomes) -> tuple[str, ...]:
    """What follows the name of a process: nothing in the tissue, ``.from_plasma`` for vesicles taken from there."""
    uptake = population.uptake
    captures = uptake is not None and process == ("bind" if uptake.mode == "receptors" else "internalise")
    if uptake is None or not captures:
        return ("",)
    inside = any(receiver.from_ is None for receiver in uptake.receivers.values())
    return (*(("",) if inside else ()), *(f".from_{compartment}" for compartment in uptake.compartments))


def reaction_names(reaction: Reaction, found: Derived) -> tuple[str, ...]:
    """The reactions that a written one stands for: one for each size bin of what it names."""
    copies = num_copies(reaction, found)
    return (reaction.name,) if copies == 1 else tuple(f"{reaction.name}.s{i + 1}" for i in range(copies))


def num_copies(reaction: Reaction, found: Derived) -> int:
    """How many reactions one equation writes: bins among its reactants, or of a single vesicle that it makes."""
    equation = reaction.equation
    terms = [*equation.reactants, *(term for term in equation.products if term.burst is None)]
    return max((len(found.members(term.name)) for term in terms), default=1)
