"""exodiff: stochastic, differentiable simulation of cell-cell communication by exosomes in tissue."""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exodiff.build import ConfiguredModel as Model
    from exodiff.build import load
    from exodiff.core.errors import (
        CheckpointError,
        ConfigError,
        ExodiffError,
        FitError,
        RunDirectoryError,
        SimulationError,
    )
    from exodiff.inference.data import Data
    from exodiff.inference.estimators import expect
    from exodiff.inference.experiments import design
    from exodiff.inference.fit import fit
    from exodiff.inference.gradient import check_grad, grad
    from exodiff.inference.sbc import sbc
    from exodiff.runner.entry import resume, run
    from exodiff.simulation import simulate
    from exodiff.trajectory import Trajectory

__version__ = "0.1.0"

LOADED_AT_S = time.time()  # code that is newer may not be what runs

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Data",
    "ExodiffError",
    "FitError",
    "Model",
    "RunDirectoryError",
    "SimulationError",
    "Trajectory",
    "check_grad",
    "design",
    "expect",
    "fit",
    "grad",
    "load",
    "resume",
    "run",
    "sbc",
    "simulate",
]

# Loaded when first used, so that `exodiff --help` and a wrong config do not wait for JAX.
_HOMES = {
    "CheckpointError": ("exodiff.core.errors", "CheckpointError"),
    "ConfigError": ("exodiff.core.errors", "ConfigError"),
    "Data": ("exodiff.inference.data", "Data"),
    "ExodiffError": ("exodiff.core.errors", "ExodiffError"),
    "FitError": ("exodiff.core.errors", "FitError"),
    "Model": ("exodiff.build", "ConfiguredModel"),
    "RunDirectoryError": ("exodiff.core.errors", "RunDirectoryError"),
    "SimulationError": ("exodiff.core.errors", "SimulationError"),
    "Trajectory": ("exodiff.trajectory", "Trajectory"),
    "check_grad": ("exodiff.inference.gradient", "check_grad"),
    "design": ("exodiff.inference.experiments", "design"),
    "expect": ("exodiff.inference.estimators", "expect"),
    "fit": ("exodiff.inference.fit", "fit"),
    "grad": ("exodiff.inference.gradient", "grad"),
    "load": ("exodiff.build", "load"),
    "resume": ("exodiff.runner.entry", "resume"),
    "run": ("exodiff.runner.entry", "run"),
    "sbc": ("exodiff.inference.sbc", "sbc"),
    "simulate": ("exodiff.simulation", "simulate"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'exodiff' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
