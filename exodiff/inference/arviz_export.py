"""A fit as ArviZ takes it: its samples by chain and draw, and what was measured."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from exodiff.core.errors import ConfigError

if TYPE_CHECKING:
    from exodiff.inference.result import Fit


def export(fit: Fit) -> Any:
    """An ``InferenceData``, from ArviZ 1 on a ``DataTree``.

    Raises:
        ConfigError: when ArviZ is not installed.

    """
    arviz = _arviz()
    chains = 1 if fit.draws is None else len(fit.draws.u)
    groups = {
        "posterior": {name: one.reshape(chains, -1) for name, one in fit.samples.items()},
        "observed_data": {f"data_{number}": one.data.values for number, one in enumerate(fit.data)},
    }
    return arviz.from_dict(**groups) if arviz.__version__.startswith("0.") else arviz.from_dict(groups)


def _arviz() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.23 announces ArviZ 1 when it is imported
            return import_module("arviz")
    except ImportError:
        raise ConfigError(
            "fit.to_arviz", "needs the package arviz; install it with: pip install 'exodiff[bayes]'"
        ) from None
