"""Priors of the model file, and where a search begins."""

from exodiff.build import ConfiguredModel
from exodiff.config.fields import nearest
from exodiff.config.parameters import Parameter
from exodiff.core.errors import ConfigError
from exodiff.inference.priors import Prior, default_prior


def prior_of(model: ConfiguredModel, name: str) -> Prior:
    """The prior of a parameter as the file gives it, or the default one."""
    if name not in model.parameters:
        raise ConfigError("fit.parameters", f"there is no parameter {name!r}; {nearest(name, model.parameters)}")
    value, declared = model.parameters[name], model.config.parameters
    given = declared.get(name) or declared.get(name.partition(".")[0])
    if given is None or (given.prior is None and given.bounds is None):
        if value <= 0:
            raise ConfigError(
                f"fit.parameters: {name}", f"{value:g} is not positive and has no prior; give it a prior or bounds"
            )
        return default_prior(value)
    return _declared_prior(given, f"parameters.{name}")


def _declared_prior(given: Parameter, where: str) -> Prior:
    bounds = None if given.bounds is None else (given.bounds[0].value, given.bounds[1].value)
    if given.prior is None:
        return Prior("flat", {}, bounds)
    ((kind, arguments),) = given.prior.items()
    prior = Prior(kind, {name: number.value for name, number in arguments.items()}, None)
    if bounds is None:
        return prior
    low, high = max(bounds[0], prior.range[0]), min(bounds[1], prior.range[1])
    if low >= high:
        raise ConfigError(f"{where}.prior", f"{prior} has nothing within the bounds {bounds[0]:g} to {bounds[1]:g}")
    return Prior(kind, prior.arguments, (low, high))


def start_of(model: ConfiguredModel, name: str, prior: Prior) -> float:
    """The coordinate at which the search for a parameter begins: that of its value in the file."""
    value = model.parameters[name]
    low, high = prior.range
    if not low < value < high:
        raise ConfigError(
            f"parameters.{name}",
            f"the search cannot begin at {value:g}: the prior ({prior}) allows only values above {low:g} and "
            f"below {high:g}; change the value or the prior",
        )
    return prior.to_coordinate(value)
