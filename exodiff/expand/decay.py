"""``decay`` and ``half_life`` of a species become a first-order reaction named ``SPECIES.decay``."""

import math

from exodiff.config.schema import Reaction, RunConfig
from exodiff.config.species import Species
from exodiff.core.equations import Equation, Term
from exodiff.core.expressions import Binary, Expression, Number, is_zero


def decay_reactions(config: RunConfig) -> tuple[Reaction, ...]:
    """One reaction for each species that decays."""
    reactions = []
    for name, species in config.species.items():
        rate = _rate(species)
        if rate is not None and not is_zero(rate):
            equation = Equation((Term(name),), ())
            fields = {"name": f"{name}.decay", "equation": equation, "rate": rate, "propensity": None, "region": None}
            reactions.append(Reaction.model_construct(**fields))
    return tuple(reactions)


def _rate(species: Species) -> Expression | None:
    half_life = species.half_life
    if half_life is None:
        return species.decay
    if isinstance(half_life, Number):
        return Number(math.log(2.0) / half_life.value)
    return Binary("/", Number(math.log(2.0)), half_life)
