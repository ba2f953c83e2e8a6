"""Array types and dtypes, named once.

Axis names used in shape annotations everywhere: ``species``, ``reactions``, ``x y z``, ``replicates``, ``times``.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

Precision = Literal["float32", "float64"]

COUNT_DTYPE = jnp.int32
BITS_DTYPE = jnp.uint32
TINY_OCCUPANCY = 1e-12  # below it mean_field sees no cell: the derivative of content / occupancy would overflow

Real = Float[Array, "..."]
Count = Int[Array, "..."]
Bits = UInt32[Array, "..."]
Mask = Bool[Array, "..."]
Number = Real | Count  # counts in the discrete engines, reals in mean_field
Field = Float[Array, "x y z"] | Int[Array, "x y z"]
