"""Where the functions of arrays come from: NumPy and SciPy in a search, JAX where a density is compiled."""

from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.special


class Library(NamedTuple):
    """Modules with the same names.

    Attributes:
        arrays: ``numpy`` or ``jax.numpy``.
        special: ``scipy.special`` or ``jax.scipy.special``.

    """

    arrays: ModuleType
    special: ModuleType


NUMPY = Library(np, scipy.special)
JAX = Library(jnp, jax.scipy.special)
