"""A lattice in pieces along x and y, one a device: how arrays are split, and functions that stay within the pieces.

The mesh of devices is that of the surrounding ``jax.set_mesh``, if it has the axes named here: compiled programs then
depend on it, and kernels need not be told. Without one nothing here does anything. Most of a step needs no word about
it, since the compiler splits what is elementwise; what it would not split well is written here.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

LATTICE_AXES = ("lattice x", "lattice y")
"""Axes of the mesh along which x and y of the lattice are split. Memory runs along z, so z is not."""


def is_split() -> bool:
    """Whether the lattice is in more than one piece."""
    return max(_pieces()) > 1


def _pieces() -> tuple[int, int, int]:
    """Into how many pieces each axis of the lattice is split; a function that works on one piece sees no others."""
    mesh = jax.sharding.get_abstract_mesh()
    x, y = (1 if name in mesh.manual_axes else mesh.shape.get(name, 1) for name in LATTICE_AXES)
    return x, y, 1


def _name(axis: int, length: int) -> str | None:
    """Axis of the mesh along which an axis of an array is split."""
    return LATTICE_AXES[axis] if length > 1 and _pieces()[axis] > 1 else None


def is_split_along(array: Any, axis: int) -> bool:
    """Whether an array, whose last three axes are those of the lattice, is split along one of them."""
    return axis < len(LATTICE_AXES) and _name(axis, array.shape[array.ndim - 3 + axis]) is not None


def lattice_spec(array: Any) -> PartitionSpec:
    """How an array is split whose last three axes are those of the lattice, or of length 1."""
    if array.ndim < 3:
        return PartitionSpec()
    names = [_name(axis, array.shape[axis - 3]) for axis in (0, 1)]
    return PartitionSpec(*[None] * (array.ndim - 3), *names, None)


def spec_on(array: Any, shape: tuple[int, ...]) -> PartitionSpec:
    """How an array is split: like the lattice if its last axes have that shape, else every device has all of it."""
    return lattice_spec(array) if array.shape[-3:] == shape else PartitionSpec()


def settled(tree: Any, shape: tuple[int, ...]) -> Any:
    """Arrays split as :func:`spec_on` says, for a lattice of some shape."""
    if not is_split():
        return tree
    return jax.tree.map(lambda a: lax.with_sharding_constraint(a, spec_on(a, shape)), tree)


def by_pieces(function: Callable[..., Array], *arrays: Any) -> Array:
    """The result of a function that needs no other voxel: each device works on its piece, with control flow of its own.

    Arrays of three and more axes end in those of the lattice; the others are whole on each device.
    """
    known = [jnp.asarray(a) for a in arrays]
    if not is_split() or all(a.ndim < 3 for a in known):
        return function(*known)
    specs = tuple(lattice_spec(a) for a in known)
    result = lattice_spec(jax.eval_shape(function, *known))
    return jax.shard_map(function, in_specs=specs, out_specs=result, check_vma=False)(*known)


def on_whole(function: Callable[..., Array], *arrays: Array) -> Array:
    """The result of a function that each device works out by itself from whole arrays: the same bits on any number."""
    if not is_split():
        return function(*arrays)
    whole_of_each = PartitionSpec()
    return jax.shard_map(function, in_specs=whole_of_each, out_specs=whole_of_each, check_vma=False)(*arrays)


def whole(array: Array) -> Array:
    """An array of which each device has all."""
    return lax.with_sharding_constraint(array, PartitionSpec()) if is_split() else array


def whole_along_last(array: Array, axes: int) -> Array:
    """An array of which each device has the whole last axis; its last ``axes`` axes are x, or x y, or x y z."""
    if not is_split():
        return array
    lengths = array.shape[array.ndim - axes : -1]
    names = [_name(axis, length) for axis, length in enumerate(lengths)]
    return lax.with_sharding_constraint(array, PartitionSpec(*[None] * (array.ndim - axes), *names, None))


def whole_along(array: Array, axis: int) -> Array:
    """An array of which each device has all along x, y or z, the last three axes, and along the others its piece."""
    if not is_split():
        return array
    names = [None if a == axis else _name(a, array.shape[a - 3]) for a in range(3)]
    return lax.with_sharding_constraint(array, PartitionSpec(*[None] * (array.ndim - 3), *names))


def moved(array: Array, axis: int, distance: int, *, periodic: bool) -> Array:
    """The values moved along x, y or z, the last three axes; zeros enter unless it is periodic.

    Of a split axis only the values that change their piece go from one device to the next.
    """
    place = array.ndim - 3 + axis
    if periodic:
        found = jnp.roll(array, distance, place)
    else:
        padding = [(0, 0, 0)] * array.ndim
        padding[place] = (distance, -distance, 0)
        found = lax.pad(array, jnp.zeros((), array.dtype), padding)
    return lax.with_sharding_constraint(found, lattice_spec(array)) if is_split_along(array, axis) else found


@jax.custom_jvp
def rounded(product: Array) -> Array:
    """A product as it is: where one is added to something, a compiler may leave out its rounding.

    If it is used twice, of one use and not of the other, and which depends on how the lattice is split. Whole numbers
    in between hide the product: all bits set, a not-a-number, is the only pattern that they change.
    """
    whole_type = jnp.uint64 if product.dtype == jnp.float64 else jnp.uint32
    bits = lax.bitcast_convert_type(product, whole_type)
    most = jnp.asarray(jnp.iinfo(whole_type).max - 1, whole_type)
    return lax.bitcast_convert_type(jnp.minimum(bits, most), product.dtype)


@rounded.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:  # pyright: ignore[reportUnusedFunction]
    return rounded(*primals), tangents[0]


class _Rounding:
    """``jax.numpy`` with :func:`rounded`, for expressions."""

    rounded = staticmethod(rounded)

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)


ROUNDING = _Rounding()
