"""Scales: the unit of a time axis, linear or logarithmic values, round lengths, and their ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    Locator,
    MaxNLocator,
    MultipleLocator,
    NullLocator,
)

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
LOG_FROM = 100.0
STEPS = (1, 2, 2.5, 5, 10)
_TIME_STEPS = {"s": (1, 2, 5, 10, 15, 30), "min": (1, 2, 5, 10, 15, 30), "h": (1, 2, 3, 6, 12), "d": (1, 2, 5, 10)}
_MOST_TIME_STEPS = 6
_MOST_DECADES = 6
_LINEAR_SHARE = 0.4
# Matplotlib widens a range this small to one around 1.
_AS_GOOD_AS_ZERO = 1e-200
# Smaller changes, as of a sum in float32, are shown as none: their ticks would be unreadable.
_NO_CHANGE = 1e-5


@dataclass(frozen=True)
class TimeUnit:
    """A unit of time for people."""

    name: str
    seconds: float

    def text(self, time_s: float) -> str:
        """A time with its unit, e.g. ``24 h``."""
        return f"{time_s / self.seconds:.3g} {self.name}" if time_s < 1000 * self.seconds else self._long(time_s)

    def _long(self, time_s: float) -> str:
        return f"{time_s / self.seconds:.0f} {self.name}"


def time_unit(longest_s: float) -> TimeUnit:
    """The largest of s, min, h, d in which the longest time is at least 3 (2 for minutes)."""
    for name, seconds, least in (("d", DAY_S, 3), ("h", HOUR_S, 3), ("min", MINUTE_S, 2)):
        if longest_s >= least * seconds:
            return TimeUnit(name, seconds)
    return TimeUnit("s", 1.0)


def set_time_axis(axes: Axes, unit: TimeUnit, times_s: np.ndarray) -> None:
    """Label, ticks and limits of a horizontal time axis; the data are in the unit."""
    low, high = float(times_s.min()) / unit.seconds, float(times_s.max()) / unit.seconds
    axes.xaxis.set_major_locator(time_locator(unit, high - low))
    axes.xaxis.set_major_formatter(Multiples(0))
    axes.set_xlabel(f"time ({unit.name})")
    if high > low:
        axes.set_xlim(low, high)


def time_locator(unit: TimeUnit, length: float) -> Locator:
    """Ticks as on a clock or calendar, e.g. every 1, 2, 3, 6 or 12 h, at most seven."""
    for step in _TIME_STEPS[unit.name]:
        if 2 * step <= length <= _MOST_TIME_STEPS * step:
            return MultipleLocator(step)
    return MaxNLocator(nbins=_MOST_TIME_STEPS, steps=[1, 2, 5, 10])


@dataclass(frozen=True)
class ValueScale:
    """Limits, and below which value a logarithmic scale goes over into a linear one that reaches 0; None: linear."""

    low: float
    high: float
    linear_below: float | None
    is_whole: bool = False

    @property
    def power(self) -> int:
        """The power of ten that is taken out of the numbers on a linear axis, a multiple of 3."""
        largest = max(abs(self.low), abs(self.high))
        if self.linear_below is not None or 1e-2 <= largest < 1e5:
            return 0
        return 3 * math.floor(math.log10(largest) / 3)

    def label(self, unit: str) -> str:
        """The unit with the power that was taken out, e.g. ``10⁶ molecules``."""
        if not self.power:
            return unit
        times = "\N{MULTIPLICATION SIGN} "
        factor = f"$10^{{{self.power}}}$"
        return factor if unit in {"", "dimensionless"} else f"{factor} {times if unit[0] == '1' else ''}{unit}"

    def norm(self) -> Normalize:
        """For colours."""
        if self.linear_below is None:
            return Normalize(self.low, self.high)
        return SymLogNorm(self.linear_below, _LINEAR_SHARE, vmin=self.low, vmax=self.high, base=10)

    def locator(self, most: int = 4) -> Locator:
        """Where the ticks are: of a logarithmic scale at zero and powers of ten."""
        if self.linear_below is None:
            return MaxNLocator(nbins=most, steps=STEPS, integer=self.is_whole and self.high - self.low <= 4)
        first, last = math.ceil(math.log10(self.linear_below) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / (most + 2)))
        powers = [10.0**power for power in range(first, last + 1, every)]
        return FixedLocator(([0.0] if self.low == 0 else []) + powers)

    def formatter(self) -> Formatter:
        """What is written at the ticks."""
        return Multiples(self.power) if self.linear_below is None else FuncFormatter(power_text)

    def apply(self, axes: Axes, unit: str, *, room_below: bool = False) -> None:
        """Sets the vertical axis and its label; with room below, markers of 0 stand above the frame."""
        axes.set_ylabel(self.label(unit))
        if self.linear_below is None:
            room = 0.06 * (self.high - self.low)
            axes.set_ylim(self.low if self.low == 0 and not room_below else self.low - room, self.high + room)
        else:
            if self.low > 0:
                axes.set_yscale("log")
            else:
                axes.set_yscale("symlog", linthresh=self.linear_below, linscale=_LINEAR_SHARE)
            zero = -0.4 * self.linear_below if room_below else 0.0
            axes.set_ylim(zero if self.low == 0 else self.low / 1.4, self.high * 1.4)
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(self.locator())
        axes.yaxis.set_major_formatter(self.formatter())


class Multiples(Formatter):
    """Numbers as multiples of a power of ten, with as many decimals as the ticks need."""

    def __init__(self, power: int) -> None:
        self.unit = 10.0**power

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The text at one place."""
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The texts at all ticks of an axis."""
        places = np.asarray(values, np.float64) / self.unit
        steps = np.diff(np.unique(places)) if len(places) > 1 else np.abs(places)
        allowed = 1e-3 * float(steps.min(initial=np.inf))
        decimals = next((d for d in range(9) if np.all(np.abs(places - places.round(d)) <= allowed)), 9)
        return [f"{x + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for x in places.tolist()]


def value_scale(values: np.ndarray, *, may_be_logarithmic: bool = True, percentile: float = 1.0) -> ValueScale | None:
    """The scale for values, of which those that are not finite are left out; None when none is left.

    Logarithmic when the largest is over 100 times a percentile of the positive ones, and none is negative.
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    finite = np.where(np.abs(finite) < _AS_GOOD_AS_ZERO, 0.0, finite)
    if finite.size == 0:
        return None
    low, high = float(finite.min()), float(finite.max())
    is_whole = bool(np.all(finite == np.round(finite)))
    positive = finite[finite > 0]
    is_wide = positive.size and high > LOG_FROM * float(np.percentile(positive, percentile, method="lower"))
    if may_be_logarithmic and low >= 0 and is_wide:
        least = max(float(positive.min()), high * 10.0**-_MOST_DECADES)
        threshold = 10.0 ** math.floor(math.log10(least) + 1e-9)
        return ValueScale(0.0 if low < threshold else threshold, high, threshold)
    if high - low <= _NO_CHANGE * max(abs(low), abs(high)):
        return ValueScale(min(0.0, low), max(0.0, high) or (0.0 if low < 0 else 1.0), None, is_whole)
    return ValueScale(0.0 if 0 <= low < 0.6 * high else low, high, None, is_whole)


def power_text(value: float, _position: int | None = None) -> str:
    """``0``, ``1``, ``10``, ``100``, else as a power of ten."""
    if value == 0:
        return "0"
    power = round(math.log10(value))
    return f"{10**power}" if 0 <= power <= 2 else f"$10^{{{power}}}$"


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above a length."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))
