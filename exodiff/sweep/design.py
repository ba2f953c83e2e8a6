"""Designs: which values the varied keys of a model file take in each run of a sweep."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from exodiff.core.errors import ConfigError

MAX_RUNS = 100_000
DESIGNS = ("grid", "latin", "sobol")
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D.*?)?\s*")


@dataclass(frozen=True)
class Range:
    """An interval of numbers that share a unit.

    Attributes:
        low, high: in that unit, low < high.
        unit: as written, or empty.
        number: values of a grid, or None.
        is_log: whether values are spread evenly on the logarithm.

    """

    low: float
    high: float
    unit: str
    number: int | None
    is_log: bool

    def at(self, share: float) -> str:
        """The value at a share, 0 to 1, of the way from low to high, as a text for ``--set``."""
        if self.is_log:
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        number = f"{value:.12g}"
        return f'"{number} {self.unit}"' if self.unit else number


@dataclass(frozen=True)
class Variation:
    """A key of the model file, and the values that it takes: a list of texts, or a range."""

    key: str
    values: tuple[str, ...] | Range


def parse_variation(text: str) -> Variation:
    """Read ``KEY=V1, V2, ...`` or ``KEY=LOW:HIGH[:NUMBER][:log]``; values may carry a unit.

    Raises:
        ConfigError: says what was not understood.

    """
    key, equals, given = text.partition("=")
    key, where = key.strip(), f"--vary {key.strip()}"
    if not equals or not key or not given.strip():
        raise ConfigError(
            where, f'{text[:60]!r} is not KEY=VALUES; write e.g. --vary parameters.k_on="1e-5:1e-3:4:log"'
        )
    if ":" not in given:
        values = _listed(given)
        if not all(values) or len(set(values)) < len(values):
            raise ConfigError(where, f"{given!r} holds an empty or repeated value; write each value once")
        return Variation(key, values)
    return Variation(key, _range([part.strip() for part in given.strip().strip("\"'").split(":")], where))


def _listed(given: str) -> tuple[str, ...]:
    """Splits at commas, but not within brackets."""
    values, depth = [""], 0
    for character in given:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    return tuple(value.strip() for value in values)


def number_of(text: str) -> tuple[float, str]:
    """The number of a value, and its unit; what is no number is a kind of its own."""
    found = _QUANTITY.fullmatch(text.strip("\"'"))
    return (float(found[1]), found[2] or "") if found else (0.0, text)


def _range(parts: list[str], where: str) -> Range:
    is_log = parts[-1] == "log"
    parts = parts[:-1] if is_log else parts
    if len(parts) not in (2, 3):
        raise ConfigError(where, "a range is LOW:HIGH, LOW:HIGH:NUMBER, and :log at its end for even logarithms")
    number = None
    if len(parts) == 3:
        if not parts[2].isdigit() or not 2 <= int(parts[2]) <= MAX_RUNS:
            raise ConfigError(where, f"{parts[2]!r} is no number of values; give 2 to {MAX_RUNS}")
        number = int(parts[2])
    (low, low_unit), (high, high_unit) = (_quantity(part, where) for part in parts[:2])
    if low_unit and high_unit and low_unit != high_unit:
        raise ConfigError(where, f"{low_unit!r} and {high_unit!r} differ; write both ends in one unit")
    if not low < high or (is_log and low <= 0):
        rule = "rise, and begin above 0 with :log" if is_log else "rise"
        raise ConfigError(where, f"{parts[0]} to {parts[1]} is no range; it must {rule}")
    return Range(low, high, low_unit or high_unit, number, is_log)


def _quantity(text: str, where: str) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ConfigError(where, f"{text!r} is no number with a unit; write e.g. 2e-4 um^3/s")
    return float(found[1]), found[2] or ""


def design_rows(variations: Sequence[Variation], design: str, points: int | None, seed: int) -> list[tuple[str, ...]]:
    """The values of the varied keys in each run, as texts for ``--set``.

    Args:
        variations: keys with lists of values or ranges.
        design: ``grid`` combines all values; ``latin`` (Latin hypercube) and ``sobol`` (scrambled Sobol sequence) take
            ``points`` points, where a list of values is cut into equal shares.
        points: runs of a ``latin`` or ``sobol`` design.
        seed: of the design's own random numbers.

    Raises:
        ConfigError: a range without a number of values in a grid, no points, or too many runs.

    """
    if design not in DESIGNS:
        raise ConfigError("--design", f"{design!r} is no design; choose one of {', '.join(DESIGNS)}")
    repeated = {v.key for v in variations if sum(other.key == v.key for other in variations) > 1}
    if repeated:
        raise ConfigError(f"--vary {min(repeated)}", "is given twice; give all its values in one --vary")
    if design == "grid":
        if points is not None:
            raise ConfigError("--points", "belongs to --design latin or sobol; a grid has LOW:HIGH:NUMBER for each key")
        values = [_grid_values(variation) for variation in variations]
        if math.prod(map(len, values)) > MAX_RUNS:
            raise ConfigError("--vary", f"{math.prod(map(len, values))} runs; at most {MAX_RUNS} are possible")
        return list(itertools.product(*values))
    if points is None or not 1 <= points <= MAX_RUNS:
        raise ConfigError("--points", f"--design {design} needs the number of points, 1 to {MAX_RUNS}")
    if not variations:
        raise ConfigError("--vary", f"--design {design} needs a key to vary, e.g. --vary parameters.k_on=1e-5:1e-3:log")
    sampler = qmc.LatinHypercube if design == "latin" else qmc.Sobol
    # a Sobol sequence keeps its balance for powers of two alone: take those, and the first points of them
    size = points if design == "latin" else 1 << (points - 1).bit_length()
    shares = sampler(len(variations), rng=np.random.default_rng(seed)).random(size)[:points]
    return [tuple(_at(v, float(s)) for v, s in zip(variations, row, strict=True)) for row in shares]


def _grid_values(variation: Variation) -> list[str]:
    values = variation.values
    if not isinstance(values, Range):
        return list(values)
    if values.number is None:
        raise ConfigError(f"--vary {variation.key}", "a grid needs the number of values; write LOW:HIGH:NUMBER")
    return [values.at(i / (values.number - 1)) for i in range(values.number)]


def _at(variation: Variation, share: float) -> str:
    values = variation.values
    if isinstance(values, Range):
        return values.at(share)
    return values[min(int(share * len(values)), len(values) - 1)]
