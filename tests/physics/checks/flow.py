"""Molecules in a flowing fluid against closed forms (V6) and the exponential of a generator written here anew.

The generator has the fitted rates v / (1 - exp(-v l / D)) / h across faces (l = h) and open walls (l = h / 2), with the
velocity at a face from the centres on both sides. `leap` moves walkers by a hop law of second order; at the step used
here its total variation from the generator's is 2.6e-4 at most (`test_flow.py`), which a chi-square of 2e4 walkers sees
as a noncentrality of 0.01, its own spread being 3 to 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from scipy import stats
from scipy.linalg import expm

from tests.physics import gates
from tests.physics.checks.check import Check, smallest
from tests.physics.models import counts, make_model, simulate


def fitted(d: float, v: float, length: float) -> float:
    """(D / l) B(-v l / D) in um/s."""
    if v == 0.0:
        return d / length
    return max(v, 0.0) if d == 0.0 else float(v / -np.expm1(-v * length / d))


@dataclass(frozen=True, eq=False)
class Case:
    """Walkers on a small lattice in a flow.

    Args:
        name: for tables.
        shape: voxels along each axis.
        start: where the walkers begin.
        velocity: uniform, one number an axis, or a field (axes, *shape).
        diffusivity: of all voxels, or of each.
        boundary: of all walls, or by axis.
        spacing: edge of a voxel along x, y, z, um.

    """

    name: str
    shape: tuple[int, ...]
    start: tuple[int, ...]
    velocity: Any
    diffusivity: Any = 0.6
    boundary: Any = "reflecting"
    spacing: Sequence[float] = (1.0, 1.0, 1.0)

    def model(self, walkers: int, **run: Any) -> Any:
        """The case as a model file."""
        folder = _folder()
        velocity, diffusivity = self.velocity, self.diffusivity
        if np.ndim(velocity) > 1:
            np.save(folder / f"{self.name}_v.npy", velocity)
            velocity = {"file": f"{self.name}_v.npy"}
        if np.ndim(diffusivity):
            np.save(folder / f"{self.name}_D.npy", diffusivity)
            diffusivity = {"file": f"{self.name}_D.npy"}
        return make_model(
            list(self.shape),
            spacing=list(self.spacing),
            boundary=self.boundary,
            run=run,
            folder=folder,
            flow={"velocity": velocity},
            species={"W": {"diffusion": diffusivity, "initial": {"voxel": list(self.start), "count": walkers}}},
        )

    @property
    def is_closed(self) -> bool:
        """Whether no walker can leave."""
        return "absorbing" not in str(self.boundary)

    def generator(self) -> np.ndarray:
        """Rates from each voxel to each, walkers that leave being lost."""
        number = int(np.prod(self.shape))
        v = np.asarray(self.velocity, float)
        v = v if v.ndim > 1 else np.stack([np.full(self.shape, one) for one in v])
        d = np.broadcast_to(self.diffusivity, self.shape)
        place = np.arange(number).reshape(self.shape)
        rates = np.zeros((number, number))
        for here in np.ndindex(*self.shape):
            for axis, length in enumerate(self.shape):
                wall = self.boundary if isinstance(self.boundary, str) else self.boundary.get("xyz"[axis], "reflecting")
                h = self.spacing[axis]
                for step in (-1, 1):
                    there = list(here)
                    there[axis] += step
                    if wall == "periodic" or 0 <= there[axis] < length:
                        there[axis] %= length
                        to = tuple(there)
                        total = d[here] + d[to]
                        mean = 2.0 * d[here] * d[to] / total if total else 0.0
                        rate = fitted(mean, step * 0.5 * (v[axis][here] + v[axis][to]), h) / h
                        rates[place[here], place[to]] += rate
                    elif wall == "absorbing":
                        behind = list(here)
                        behind[axis] -= step
                        slope = v[axis][here] - v[axis][tuple(behind)] if length > 1 else 0.0
                        rate = fitted(d[here], step * (v[axis][here] + 0.5 * slope), 0.5 * h) / h
                    else:
                        continue
                    rates[place[here], place[here]] -= rate
        return rates

    def law(self, time_s: float) -> np.ndarray:
        """Where a walker is, (voxels)."""
        return expm(self.generator() * time_s)[np.ravel_multi_index(self.start, self.shape)]


@cache
def _folder() -> Path:
    return Path(mkdtemp())


def _vortex(n: int) -> np.ndarray:
    """One eddy in a square box: without divergence on the lattice too, and along its walls."""
    x = (np.arange(n) + 0.5) * np.pi / n
    return np.stack([np.sin(x)[:, None] * np.cos(x), -np.cos(x)[:, None] * np.sin(x)])


def _channel(length: int, width: int) -> np.ndarray:
    """A parabola along x."""
    y = (np.arange(width) + 0.5) / width
    speed = np.broadcast_to(3.0 * y * (1.0 - y), (length, width))
    return np.stack([speed, np.zeros_like(speed)])


# a strait: the fluid converges along x towards an open wall as it widens along y, v = (-s x, s y)
_STRAIT = 0.15 * np.stack([-(np.arange(5) + 0.5)[:, None] + np.zeros(4), np.zeros(5)[:, None] + np.arange(4) - 1.5])

CASES = (
    Case("ring", (7,), (2,), (0.8,), boundary="periodic"),
    Case("ring of two", (2, 3), (0, 1), (0.5, -0.9), boundary="periodic"),
    Case("line", (6,), (3,), (-0.7,)),
    Case("drain", (6,), (2,), (0.9,), boundary="absorbing"),
    Case("drain of one voxel", (1,), (0,), (-0.9,), boundary="absorbing"),
    Case("box", (4, 3, 2), (1, 1, 0), (0.5, -0.4, 0.3), boundary={"y": "absorbing"}, spacing=(1.0, 1.25, 0.8)),
    Case("vortex", (6, 6), (1, 2), _vortex(6)),
    Case("channel", (7, 5), (1, 2), _channel(7, 5), boundary={"x": "absorbing"}),
    Case("strait", (5, 4), (3, 1), _STRAIT, boundary="absorbing"),
    Case("media", (8,), (2,), (0.6,), np.repeat([0.1, 1.0], 4), boundary="periodic"),
    Case("no diffusion", (8,), (1,), (0.7,), np.repeat([0.0, 0.5], 4), boundary="absorbing"),
)
BY_NAME = {case.name: case for case in CASES}
SAMPLED = ("ring", "drain", "box", "vortex", "channel", "no diffusion")
SIZES = {"leap": (500, 40), "exact": (100, 30)}  # walkers a replicate, replicates
END_S, STEP_S = 1.5, 0.05
TOTAL_VARIATION = 3e-4  # of the hop law at this step


def mean_field(case: Case, step_s: float, end_s: float = END_S) -> np.ndarray:
    """The law of a walker by steps, (voxels)."""
    model = case.model(1, engine="mean_field", precision="float64")
    return counts(simulate(model, [end_s], time_step=step_s), "W")[0, 0].ravel()


@cache
def numbers(name: str, engine: str) -> np.ndarray:
    """Walkers in each voxel at the end, (replicates, voxels)."""
    walkers, replicates = SIZES[engine]
    model = BY_NAME[name].model(walkers)
    found = simulate(model, [END_S], seed=19, replicates=replicates, engine=engine, time_step=STEP_S)
    return counts(found, "W").reshape(replicates, -1)


def places(name: str, engine: str) -> float:
    """Walkers of all replicates in each voxel, and in all voxels and outside at once."""
    found, p = numbers(name, engine), np.clip(BY_NAME[name].law(END_S), 0.0, 1.0)
    seen, walkers = found.sum(0), SIZES[engine][0] * len(found)
    everywhere = np.repeat(np.arange(p.size + 1), np.append(seen, walkers - seen.sum()))
    together = gates.acceptance.chi2_pmf(everywhere, np.append(p, max(1.0 - p.sum(), 0.0)))
    return smallest(gates.binomial_p(seen, walkers, p), together)


# ----- numbers of BIOLOGY V6: 0.1 um/s, 1.3 um^2/s, voxels of 20 um, capture 3e-4 /s

V, D, H, K = 0.1, 1.3, 20.0, 3e-4
PECLET = V * H / D
EXCESS = 0.5 * PECLET / np.tanh(0.5 * PECLET)


@cache
def decay_lengths() -> tuple[float, float]:
    """Up- and downstream of a plane source with capture, um.

    Beside the source the splitting adds a mode that dies within six voxels. The step moves lengths by (k dt)^2 / 6 =
    1e-6; the walls, 20 voxels upstream and 60 downstream of what is read, by less than 1e-12.
    """
    voxels, source = 160, 40
    model = make_model(
        [voxels],
        spacing=H,
        flow={"velocity": [f"{V} um/s"]},
        species={"E": {"diffusion": D}},
        regions={"source": {"layer": {"axis": "x", "from": source * H, "to": (source + 1) * H}}},
        reactions=[{"equation": "-> E", "rate": 1.0, "region": "source"}, {"equation": "E ->", "rate": f"{K} /s"}],
        run={"engine": "mean_field", "precision": "float64"},
    )
    c = counts(simulate(model, [30.0 / K], time_step=8.0), "E")[0, 0]
    up, down = np.diff(np.log(c[20:33])), -np.diff(np.log(c[48:100]))
    assert np.ptp(up) < 1e-7 * up.mean()
    assert np.ptp(down) < 1e-7 * down.mean()
    return float(H / up.mean()), float(H / down.mean())


def continuum_lengths() -> tuple[float, float]:
    """12.53 um up, 345.9 um down."""
    half, root = V / (2 * D), np.sqrt((V / (2 * D)) ** 2 + K / D)
    return 1.0 / (half + root), 1.0 / (root - half)


def lattice_lengths() -> tuple[float, float]:
    """Geometric solutions z^i of up z^-1 + down z = up + down + k."""
    up, down = fitted(D, V, H) / H, fitted(D, -V, H) / H
    total = up + down + K
    root = np.sqrt(total**2 - 4.0 * up * down)
    return H / np.log((total + root) / (2 * down)), -H / np.log((total - root) / (2 * down))


def lengths_off(truth: tuple[float, float]) -> float:
    """Largest relative deviation."""
    return float(np.max(np.abs(np.asarray(decay_lengths()) / truth - 1.0)))


@cache
def free_walkers(engine: str) -> np.ndarray:
    """Displacements in voxels of walkers on a ring that none goes round, after 1000 s."""
    walkers, replicates = {"leap": (1000, 100), "exact": (500, 40)}[engine]
    model = make_model(
        [32],
        spacing=H,
        boundary="periodic",
        flow={"velocity": [V]},
        species={"W": {"diffusion": D, "initial": {"voxel": [10], "count": walkers}}},
    )
    found = simulate(model, [1000.0], seed=5, replicates=replicates, engine=engine)
    return np.repeat(np.arange(32) - 10, counts(found, "W").sum((0, 1)))


def drift(engine: str) -> float:
    """Mean v t, variance 2 D t (Pe/2) coth(Pe/2): hops up less hops down are two Poissons, kurtosis 3 + 1 / variance.

    Both are exact in `leap` too; going round the ring has a probability of 1e-9.
    """
    moved, t = free_walkers(engine)[:, None], 1000.0
    mean, variance = V * t / H, 2.0 * D * t * EXCESS / H**2
    return smallest(
        gates.mean_p(moved, mean, variance), gates.variance_p(moved, mean, np.array([variance]), 3.0 + 1.0 / variance)
    )


def _pile(**run: Any) -> Any:
    """Flow against the upper of two reflecting walls."""
    return make_model(
        [8],
        flow={"velocity": [0.5]},
        species={"W": {"diffusion": 1.0, "initial": 100}},
        run=run,
    )


def boltzmann() -> float:
    """Largest relative deviation from exp(v x / D), the steady state between reflecting walls, whatever the step.

    The slowest mode dies as D (pi / 8)^2 + v^2 / (4 D) = 0.21 /s.
    """
    model = _pile(engine="mean_field", precision="float64")
    c = counts(simulate(model, [200.0], time_step=0.3), "W")[0, 0]
    exact = np.exp(0.5 * np.arange(8))
    return float(np.max(np.abs(c / exact * exact.sum() / 800.0 - 1.0)))


def boltzmann_counts(engine: str) -> float:
    """800 walkers of each replicate in it, 90 s after they began evenly spread (exp(-19) of that is left)."""
    replicates = 50 if engine == "leap" else 20
    found = counts(simulate(_pile(), [90.0], seed=2, replicates=replicates, engine=engine), "W")[:, 0]
    p = np.exp(0.5 * np.arange(8)) / np.exp(0.5 * np.arange(8)).sum()
    laws = [gates.pmf_p(found[:, i], stats.binom.pmf(np.arange(801), 800, p[i])) for i in range(8)]
    return smallest(gates.binomial_p(found.sum(0), 800 * replicates, p), *laws)


C_LOW, C_HIGH, SPEED, LINE = 6.0, 2.0, 0.4, 8


def between_baths(**run: Any) -> Any:
    """Flow from a bath of 6 /um^3 to one of 2 /um^3."""
    return make_model(
        [LINE],
        boundary={"x_low": {"fixed": {"A": C_LOW}}, "x_high": {"fixed": {"A": C_HIGH}}},
        flow={"velocity": [SPEED]},
        species={"A": {"diffusion": 1.0, "initial": {"poisson": 5.0}}},
        run=run,
    )


def steady_between_baths() -> np.ndarray:
    """Steady solution of D c'' = v c' at the centres of the voxels."""
    x = np.arange(LINE) + 0.5
    return C_LOW + (C_HIGH - C_LOW) * np.expm1(SPEED * x) / np.expm1(SPEED * LINE)


def baths() -> float:
    """Largest relative deviation at the nodes; the slowest mode dies as (pi / 8)^2 + 0.04 = 0.19 /s."""
    model = between_baths(engine="mean_field", precision="float64")
    c = counts(simulate(model, [200.0], time_step=0.25), "A")[0, 0]
    return float(np.max(np.abs(c / steady_between_baths() - 1.0)))


def bath_counts(engine: str) -> float:
    """Independent Poissons about it: each voxel, all replicates, and neighbours."""
    replicates, mean = {"leap": 1000, "exact": 200}[engine], steady_between_baths()
    found = counts(simulate(between_baths(), [100.0], seed=3, replicates=replicates, engine=engine), "A")[:, 0]
    laws = [gates.pmf_p(found[:, i], stats.poisson.pmf(np.arange(60), mean[i])) for i in range(LINE)]
    centred = (found - mean) / np.sqrt(mean)
    together = (centred[:, 1:] * centred[:, :-1]).reshape(-1, 1)
    return smallest(gates.poisson_p(found.sum(0), replicates * mean), gates.mean_p(together, 0.0, 1.0), *laws)


_PLACES = "walkers in a flow are where the exponential of the generator has them"


def _sampled(name: str, claim: str, measure: Any, *arguments: str) -> Check:
    return Check(name, claim, lambda: measure(*arguments), gates.ALPHA, "p")


CHECKS = (
    Check(
        "V6 decay lengths",
        "capture in a flow: lengths of the continuum up- and downstream, h = 1.6 times the shorter",
        lambda: lengths_off(continuum_lengths()),
        0.01,
    ),
    Check("V6 lattice", "those lengths are the lattice's", lambda: lengths_off(lattice_lengths()), 2e-6),
    Check("Boltzmann", "flow against a reflecting wall piles up as exp(v x / D)", boltzmann, 1e-10),
    *(_sampled(f"Boltzmann, {e}", "and its counts are binomial", boltzmann_counts, e) for e in ("leap", "exact")),
    Check("flow between baths", "without reactions the steady profile is exact at the nodes", baths, 1e-10),
    *(_sampled(f"flow between baths, {e}", "and its counts are Poisson", bath_counts, e) for e in ("leap", "exact")),
    *(
        _sampled(f"drift, {e}", "free walkers: mean v t, variance 2 D t (Pe/2) coth(Pe/2)", drift, e)
        for e in ("leap", "exact")
    ),
    *(_sampled(f"flow, {name}, {e}", _PLACES, places, name, e) for e in ("leap", "exact") for name in SAMPLED),
)
