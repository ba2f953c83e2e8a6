"""Inversion of the upper tail of a binomial or Poisson law by a fixed number of unrolled terms."""

from typing import NamedTuple

import jax.numpy as jnp

from exodiff.core.arrays import COUNT_DTYPE, Count, Mask, Real
from exodiff.kernels.laws import Law


class Inversion(NamedTuple):
    """How far the terms go.

    Attributes:
        terms: counts up to this are told apart.
        mean: the largest that it is used for.
        rest: what follows four terms after the last, over that term, of a Poisson law at the largest mean.

    """

    terms: int
    mean: float
    rest: float


SHORT = Inversion(terms=8, mean=1.25, rest=1.10)
LONG = Inversion(terms=24, mean=8.0, rest=1.35)


_FEW_TRIALS = 12.0
_MEAN_OF_FEW = 2.4


def is_short(law: Law) -> Mask:
    """Whether the short inversion suits: mean at most 5/4, or 12 trials and mean 2.4 (a count above 8 is as rare)."""
    short = law.mean() <= SHORT.mean
    return short if law.p is None else short | ((law.size <= _FEW_TRIALS) & (law.mean() <= _MEAN_OF_FEW))


def is_long(law: Law) -> Mask:
    """Whether the long inversion suits."""
    return law.mean() <= LONG.mean


def invert(v: Real, law: Law, reach: Inversion) -> Count:
    """min(X, terms + 1), X = #{k >= 1: v < P(X >= k)}: terms upwards by their ratio, tails downwards from the rest."""
    terms, ratio = [law.zero()], law.ratio()
    for k in range(1, reach.terms + 2):
        terms.append(terms[-1] * ratio(k))
    tail = jnp.float32(reach.rest)
    for k in range(reach.terms + 5, reach.terms + 1, -1):
        tail = 1.0 + tail * ratio(k)
    tail = terms[-1] * tail
    events = (v < tail).astype(COUNT_DTYPE)
    for k in range(reach.terms, 0, -1):
        tail = tail + terms[k]
        events = events + (v < tail).astype(COUNT_DTYPE)
    return events
