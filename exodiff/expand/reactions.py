"""All reactions of a model: those written, and those that other blocks stand for."""

from exodiff.config.schema import Reaction, RunConfig
from exodiff.expand.decay import decay_reactions


def all_reactions(config: RunConfig) -> tuple[Reaction, ...]:
    """The written reactions in their order, then the expanded ones."""
    return (*config.reactions, *decay_reactions(config))
