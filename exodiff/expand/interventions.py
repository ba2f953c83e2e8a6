"""``[[interventions]]`` of the file become those of the problem: series as times, literals as parameters."""

from collections.abc import Callable

from exodiff.config.interventions import is_bare
from exodiff.config.names import Namespace
from exodiff.config.schema import RunConfig
from exodiff.config.vessels import volume_key
from exodiff.core.dimensions import PER_VOLUME
from exodiff.core.expressions import Binary, Expression, Number
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
        is_density = names_of.dimension_of(value, where) == PER_VOLUME
        named = leaf(value, where)
        compartment, dot, _ = target.partition(".")
        if is_density and dot and compartment in config.compartments:
            volume = Number(config.compartments[compartment].volume_um3)
            named = Binary("*", named, leaf(volume, volume_key(compartment)))
        counts = target in config.species and unit is None
        return Assignment(target, named, key == "add", is_density and counts)

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
        if not given.infuse
    )
