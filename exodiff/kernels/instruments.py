"""What instruments make of vesicles: tracked diameters and counts of positives, with the noise of measuring.

Draws are addressed by the stream of a measurement, which nothing else uses: to measure changes no trajectory.
"""

import jax.numpy as jnp
from jax.scipy.special import gammainc, ndtri

from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE, Count, Mask, Real
from exodiff.core.size_law import SizeLaw
from exodiff.kernels import draws
from exodiff.kernels.random import Stream, to_unit_interval, word_pair

_NODES = 256  # of the midpoint rule over the vesicles of a size bin
_MOST_COUNTED = 2.0**24  # float32 tells whole numbers apart up to here


def tracked_diameters(
    stream: Stream, numbers: Real, law: SizeLaw, sample: int, track_steps: int, smallest_um: float
) -> tuple[Real, Mask]:
    """Diameters in um from nanoparticle tracking, and whether each track is seen: both (sample,).

    A track of n steps estimates the diffusivity as D Gamma(n, 1/n), hence the diameter as d / Gamma(n, 1/n): its
    relative standard deviation is 1/sqrt(n) at large n. A vesicle is seen with probability min(1, (d / smallest)^6), as
    its scattered light goes with d^6 (Rayleigh). Vesicles are drawn with replacement, at most as many as there are.

    Args:
        stream: of this measurement.
        numbers: vesicles in each size bin.
        law: of their diameters; sizes are exact inside a bin.
        sample: tracks.
        track_steps: n.
        smallest_um: see above.

    """
    track = jnp.arange(sample, dtype=BITS_DTYPE)
    chosen, inside = (to_unit_interval(word) for word in word_pair(stream, track, 0))
    total = jnp.sum(numbers)
    share = jnp.cumsum(numbers) / jnp.maximum(total, 1.0)
    size_bin = jnp.minimum(jnp.searchsorted(share, chosen, side="left"), len(law.quantiles) - 2)
    diameter_um = diameters_um(law, size_bin, inside)
    estimate = draws.gamma(stream, track, 2, jnp.full((sample,), track_steps, COUNT_DTYPE)) / track_steps
    is_seen = draws.uniform(stream, track, 1) <= (diameter_um / smallest_um) ** 6
    return diameter_um / estimate, is_seen & (track.astype(jnp.float32) < total)


def diameters_um(law: SizeLaw, size_bin: Count, inside: Real) -> Real:
    """The diameter below which a share ``inside`` of the vesicles of a bin lies."""
    quantiles = jnp.asarray(law.quantiles, inside.dtype)
    low, high = quantiles[size_bin], quantiles[size_bin + 1]
    return jnp.exp(law.log_median + law.log_sd * ndtri(low + inside * (high - low)))


def mean_size_histogram(
    numbers: Real, law: SizeLaw, sample: int, track_steps: int, smallest_um: float, edges_um: tuple[float, ...]
) -> Real:
    """Expected numbers of seen tracks between edges of measured diameters; arguments as of `tracked_diameters`."""
    bins = len(law.quantiles) - 1
    nodes = (jnp.arange(_NODES, dtype=numbers.dtype) + 0.5) / _NODES
    diameter_um = diameters_um(law, jnp.arange(bins)[:, None], nodes[None, :])
    seen = jnp.minimum(1.0, (diameter_um / smallest_um) ** 6)
    inner = jnp.asarray(edges_um[1:-1], numbers.dtype)
    above = gammainc(float(track_steps), track_steps * diameter_um[..., None] / inner)
    ends = jnp.ones((*diameter_um.shape, 1), numbers.dtype)
    within = -jnp.diff(jnp.concatenate((ends, above, 0.0 * ends), -1), axis=-1)
    expected = jnp.mean(seen[..., None] * within, axis=1)
    total = jnp.sum(numbers)
    tracks = jnp.minimum(jnp.asarray(sample, numbers.dtype), total)
    return tracks * (numbers @ expected) / jnp.where(total > 0, total, 1.0)


def counted(stream: Stream, mean: Real, detection_limit: Real) -> Real:
    """A Poisson count of positives with a given mean, 0 where it is below the limit.

    Above 2^24, where a float32 is no longer exact, the count is drawn from the normal law of this mean and variance.
    """
    index = jnp.zeros((), BITS_DTYPE)
    few = draws.poisson(stream, index, 0, jnp.minimum(mean, _MOST_COUNTED).astype(jnp.float32)).astype(mean.dtype)
    normal = ndtri(jnp.clip(draws.uniform(stream, index, 1), 1e-7, 1.0 - 1e-7)).astype(mean.dtype)
    count = jnp.where(mean <= _MOST_COUNTED, few, jnp.round(mean + jnp.sqrt(mean) * normal))
    return jnp.where(count >= detection_limit, count, 0.0)
