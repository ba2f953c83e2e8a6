"""``[[interventions]]`` of the file become those of the problem: series as times, literals as parameters."""

from collections.abc import Callable

from exodiff.config.interventions import is_bare
from exodiff.config.names import Namespace
from exodiff.config.schema import RunConfig
from exodiff.core.dimensions import PER_VOLUME
from exodiff.core.expressions import Expression, Number
from exodiff.problem import Assignment, Intervention


def interventions_of(config: RunConfig, leaf: Callable[[Expression, str], Expression]) -> tuple[Intervention, ...]:
    """All interventions in the order of the file.

    Args:
        config: checked.
        leaf: makes a parameter of a literal, with the given name.

    """
    names_of = Namespace(config)

    def assignment(target: str, key: str, value: Expression, where: str) -> Assignment:
        unit = names_of.unit_of(target)
        if unit is not None and isinstance(value, Number) and is_bare(value):
            value = Number(value.value * unit.value, unit.dimension)
        counts = target in config.species and unit is None
        per_volume = counts and names_of.dimension_of(value, where) == PER_VOLUME
        return Assignment(target, leaf(value, where), key == "add", per_volume)

    return tuple(
        Intervention(
            name=given.name,
            assignments=tuple(
                assignment(target, key, value, f"interventions.{given.name}.{key}.{target}")
                for target, (key, value) in given.assignments.items()
            ),
            removes=given.remove,
            region=given.region or "",
            at_s=given.times_s(config.run.duration_s),
            when=given.when,
            repeat=given.repeat,
        )
        for given in config.interventions
    )
