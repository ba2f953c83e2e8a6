"""``[vessels]`` become reactions across the walls."""

from exodiff.config.parameters import Parameter
from exodiff.config.schema import RunConfig
from exodiff.config.vessels import surface_key, vessel_reactions, volume_key
from exodiff.core.dimensions import VOLUME
from exodiff.core.expressions import Number


def with_exchange(config: RunConfig) -> RunConfig:
    """The config with reactions in place of vessels; literals become parameters named by their key path."""
    if not config.vessels:
        return config
    literals = {
        surface_key(name): vessels.permeability_surface
        for name, vessels in config.vessels.items()
        if isinstance(vessels.permeability_surface, Number)
    }
    literals |= {volume_key(name): Number(each.volume_um3, VOLUME) for name, each in config.compartments.items()}
    parameters = {key: Parameter(value=number) for key, number in literals.items()}
    update = {"vessels": {}, "reactions": (*config.reactions, *vessel_reactions(config))}
    return config.model_copy(update={**update, "parameters": {**config.parameters, **parameters}})
