"""Figures of docs/validation.md: counts beside exact laws, profiles beside closed forms."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exodiff.viz.style import FAINT, INK, MAIN_COLOUR, MM_PER_INCH, PALETTE, TWO_COLUMNS_MM
from tests.physics.checks import counting, transport
from tests.physics.models import counts

EXACT = {"color": PALETTE[0], "linewidth": 1.2}
WIDTH = TWO_COLUMNS_MM / MM_PER_INCH


def histograms() -> Figure:
    """Three kinds of burst, taken up vesicles, delivered copies, a branching family."""
    made = Figure(figsize=(WIDTH, 0.52 * WIDTH), layout="constrained")
    panels = made.subplots(2, 3).ravel()
    for panel, name in zip(panels, counting.BURSTS, strict=False):
        law = counting.stationary_law(counting.BURSTS[name][1])
        found = counts(counting.box_of_bursts(), name)[:, 0, 0]
        _histogram(panel, found, law, width=5, to=160, title=f"{name} bursts of 20")
    taken = counts(counting.uptake(), "taken")[:, 2, 0]
    _histogram(panels[3], taken, counting.stats.poisson.pmf(np.arange(60), 10.0), width=1, to=25, title="uptake")
    dose = counts(counting.uptake(), "dose")[:, 2, 0]
    _histogram(panels[4], dose, counting.load_law(5.0), width=1, to=32, title="delivered copies")
    family = counts(counting.branching(), "seed")[:, 0, 0]
    law = counting.branching_law(counting.UNTIL)
    _histogram(panels[5], family, law, width=1, to=25, title="descendants of one cell")
    for panel in (panels[0], panels[3]):
        panel.set_ylabel("probability")
    for panel in panels[3:]:
        panel.set_xlabel("number")
    handles = panels[5].get_legend_handles_labels()
    panels[5].legend(*handles, loc="upper right")
    return made


def _histogram(panel: Axes, found: np.ndarray, law: np.ndarray, *, width: int, to: int, title: str) -> None:
    """Relative frequencies in bins of so many counts, and the exact law in the same bins."""
    edges = np.arange(0, to + width, width)
    seen = np.histogram(found, edges)[0] / len(found)
    exact = np.add.reduceat(np.pad(law, (0, to + width))[: edges[-1]], edges[:-1])
    panel.bar(edges[:-1] + 0.5 * (width - 1), seen, 0.86 * width, color=MAIN_COLOUR, alpha=0.35, label="leap")
    panel.stairs(exact, edges - 0.5, label="exact", baseline=None, **EXACT)
    panel.set(title=title, xlim=(-0.5 - 0.1 * width, to), ylim=(0, None))


def profiles() -> Figure:
    """A plane source and its counts, a secreting spheroid, a transient."""
    made = Figure(figsize=(WIDTH, 0.33 * WIDTH), layout="constrained")
    plane, errors, ball = made.subplots(1, 3)
    found, mean = transport.plane_counts()
    x = (np.arange(len(mean)) + 0.5) * transport.H
    low, high = np.quantile(found, [0.05, 0.95], axis=0)
    plane.fill_between(x, low, high, color=MAIN_COLOUR, alpha=0.15, linewidth=0, label="90 % of replicates")
    plane.plot(x, found.mean(0), "o", color=MAIN_COLOUR, markersize=3, label="leap, mean")
    plane.plot(x, mean, label="lattice, exact", **EXACT)
    plane.set(
        title="plane source", xlabel="distance (um)", ylabel="vesicles in a voxel", xlim=(0, None), ylim=(0, None)
    )
    plane.legend(loc="upper right")
    r, seen, _, exact = transport.spheroid()
    # all voxels inside, and few enough outside that they can be told apart
    near = (r < transport.BALL) | ((r < 22) & (np.random.default_rng(0).random(r.shape) < 0.04))
    order = np.argsort(r[near])
    ball.plot(r[near], seen[near], "o", color=MAIN_COLOUR, markersize=2, alpha=0.5, label="mean_field, voxels")
    ball.plot(r[near][order], exact[near][order], label="closed form", **EXACT)
    ball.axvline(transport.BALL, color=FAINT, linewidth=0.5, linestyle=":")
    ball.set(title="secreting spheroid", xlabel="radius / h", ylabel="concentration", yscale="log", xlim=(0, 22))
    ball.legend(loc="upper right")
    deviation = (found.mean(0) - mean) / np.sqrt(mean / len(found))
    errors.axhspan(-2, 2, color="0.93", linewidth=0)
    errors.axhline(0, color=INK, linewidth=0.5)
    errors.plot(x, deviation, "o", color=MAIN_COLOUR, markersize=3)
    errors.set(title="plane source, deviation", xlabel="distance (um)", ylabel="standard errors", ylim=(-4.5, 4.5))
    return made
