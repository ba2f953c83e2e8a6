"""Figures of docs/performance.md: speed against error, ratios to other simulators, growth, kernels, bounds, shares."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import t

from exodiff.viz.style import FAINT, INK, MAIN_COLOUR, MM_PER_INCH, PALETTE, TWO_COLUMNS_MM

Line = dict[str, Any]
WIDTH = TWO_COLUMNS_MM / MM_PER_INCH
OTHERS = {"ecell4": "E-Cell4", "spatialpy": "SpatialPy", "readdy": "ReaDDy", "steps": "STEPS"}
ELSEWHERE = "STEPS"  # measured on another machine
BIASED = "SpatialPy"
IN_PARTS_S = 0.5
ERRORS = {
    "abc": {"mean_off": "mean", "variance_off": "variance", "covariance_off": "covariance"},
    "uptake": {"E_off": "E in the fluid", "I_off": "I in a cell"},
}
CASES = (
    ("abc", 32, 10),
    ("abc", 64, 10),
    ("abc", 32, 100),
    ("uptake", 32, 10),
    ("uptake", 64, 10),
    ("uptake", 32, 100),
)


def speed_against_error(lines: list[Line]) -> Figure:
    """A mark a statistic and step; a level another simulator."""
    made = Figure(figsize=(WIDTH, 0.62 * WIDTH), layout="constrained")
    panels = made.subplots(2, 3, sharex=True)
    for panel, case in zip(panels.ravel(), CASES, strict=True):
        own = [line for line in lines if (line["problem"], line["size"], line["molecules"]) == case]
        if not own:
            panel.set_axis_off()
            continue
        _curves(panel, case[0], own)
        for key, name in OTHERS.items():
            speed = own[0].get(f"{key}_s_per_core_s")
            if speed is None:
                continue
            panel.axhline(speed, color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)))
            told = {ELSEWHERE: f"{name}, another machine", BIASED: f"{name}, biased"}.get(name, name)
            right, side = {BIASED: (0.6, "bottom"), "ReaDDy": (0.98, "top")}.get(
                name, (0.98, "bottom")
            )  # some are near
            panel.text(right, speed, told, transform=panel.get_yaxis_transform(), ha="right", va=side, color=FAINT)
        panel.set(title=f"{case[0]}, {case[1]}$^3$, {case[2]} a voxel", xscale="log", yscale="log")
        others = [own[0][f"{key}_s_per_core_s"] for key in OTHERS if f"{key}_s_per_core_s" in own[0]]
        panel.set_ylim(0.3 * min(others), 40 * max(line["simulated_s_per_core_s"] for line in own))
        panel.set_xlim(0.005, 4)
    for panel in panels[1]:
        panel.set_xlabel("error (%)")
    for panel in panels[:, 0]:
        panel.set_ylabel("simulated s a core-second")
        panel.legend(loc="upper left", handlelength=1.2, labelspacing=0.25)
    return made


def _curves(panel: Axes, problem: str, lines: list[Line]) -> None:
    """Errors that 95 % intervals tell from zero, else a hollow mark at that bound; steps beside the first statistic."""
    for colour, (key, label) in zip(PALETTE, ERRORS[problem].items(), strict=False):
        some = [line for line in lines if line[key] != [0.0, 0.0]]
        bounds = [max(float(t.ppf(0.975, line["rounds"] - 1)) * line[key][1], 1e-3) for line in some]
        seen = [abs(line[key][0]) > bound for line, bound in zip(some, bounds, strict=True)]
        x = [abs(line[key][0]) if known else bound for line, bound, known in zip(some, bounds, seen, strict=True)]
        y = [line["simulated_s_per_core_s"] for line in some]
        if colour == PALETTE[0]:
            for where, height, line in zip(x, y, some, strict=True):
                # below where hops go in parts first: that step is as fast and as right as the one before
                away = {"xytext": (-3, -7 if line["step_s"] == IN_PARTS_S else 3), "textcoords": "offset points"}
                panel.annotate(f"{line['step_s']:g} s", (where, height), ha="right", fontsize=5.5, color=colour, **away)
        for where, height, known in zip(x, y, seen, strict=True):
            panel.plot(where, height, "o", markersize=3.5, color=colour, markerfacecolor=colour if known else "white")
        panel.plot([], [], "o", markersize=3.5, color=colour, label=label)


def ratios(rows: list[tuple[str, str, float]]) -> Figure:
    """How many times faster: a line a problem, a mark a comparison (problem, the other, times)."""
    problems, names = (list(dict.fromkeys(row[i] for row in rows)) for i in (0, 1))
    made = Figure(figsize=(WIDTH, 0.05 * WIDTH * len(problems) + 0.35), layout="constrained")
    panel = made.subplots()
    for problem, other, times in rows:
        place, colour = problems.index(problem), PALETTE[names.index(other)]
        own = sorted((row[2], row[1]) for row in rows if row[0] == problem)
        rank = own.index((times, other))
        is_covered = rank > 0 and times < 1.05 * own[rank - 1][0]
        panel.plot(times, place, "o", color=colour, markersize=2.5 if is_covered else 4.5,
                   markerfacecolor="white" if other == BIASED else colour, zorder=2 + rank)  # fmt: skip
        written = f"{times:.2g}" if times < 10 else f"{times:,.0f}"
        # in turn above and below, and to the side where that is not enough
        is_near = rank > 1 and times < 2.0 * own[rank - 2][0]
        aside, side = (3, "left") if is_near else (0, "center")
        panel.annotate(written, (times, place), (aside, -9.5 if rank % 2 else 4), ha=side, textcoords="offset points")
    panel.hlines(range(len(problems)), 0.1, 1e4, color=FAINT, linewidth=0.3, zorder=0)
    panel.axvline(1, color=INK, linewidth=0.6)
    panel.set(
        xscale="log",
        xlim=(0.1, 1e4),
        xlabel="CPU time of the other / ours (above 1 ours is faster)",
        ylim=(len(problems) - 0.5, -0.7),
    )
    panel.set_yticks(range(len(problems)), problems)
    keys = [
        Line2D([], [], color=colour, marker="o", linewidth=0, markerfacecolor="white" if name == BIASED else colour)
        for colour, name in zip(PALETTE, names, strict=False)
    ]
    told = [f"{name}, biased" if name == BIASED else name for name in names]
    made.legend(keys, told, loc="outside right center", handlelength=0.8)
    return made


def scaling(lines: list[Line]) -> Figure:
    """A panel a quantity that grows, and the line along which the cost would grow with it."""
    names = list(dict.fromkeys(line["of"] for line in lines))
    labels = {"shape": "voxels / 1024", "molecules": "molecules a voxel", "cells": "share of voxels that are cells"}
    made = Figure(figsize=(WIDTH, 0.55 * WIDTH), layout="constrained")
    for panel, name in zip(made.subplots(2, 3).ravel(), names, strict=False):
        own = [line for line in lines if line["of"] == name and line["value"]]
        x = [_product(line["value"]) for line in own]
        y = [line["cpu_ms_per_step"] for line in own]
        panel.plot(x, [y[0] * value / x[0] for value in x], color=FAINT, linewidth=0.6, linestyle=(0, (4, 2)))
        panel.plot(x, y, "o-", color=MAIN_COLOUR, markersize=3.5)
        panel.set(xlabel=labels.get(name, name), xscale="log", yscale="log", ylim=(min(y) / 1.6, 2.2 * max(y)))
        written = [f"{value / 1024 if name == 'shape' else value:g}" for value in x]
        panel.set_xticks(x, written)
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter("{x:g}")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_minor_locator(NullLocator())
    made.supylabel("core-ms a step", fontsize=7)
    return made


def _product(value: Any) -> float:
    if not isinstance(value, list):
        return float(value)
    size = 1.0
    for length in value:
        size *= length
    return size


def kernels(draws: list[Line], hops: list[Line], fields: list[Line]) -> Figure:
    """Draws beside jax.random, a sweep of hops beside its bounds, a step of concentrations beside a copy."""
    made = Figure(figsize=(WIDTH, 0.36 * WIDTH), layout="constrained")
    drawn, swept, solved = made.subplots(1, 3)
    for colour, law in zip(PALETTE, ("binomial", "poisson"), strict=False):
        own = [line for line in draws if line["name"] == law]
        mean = [line["p"] * (line["n"] or 1) for line in own]
        order = sorted(range(len(own)), key=lambda i: mean[i])
        ours = [own[i]["ns_per_sample"] for i in order]
        theirs = [own[i]["ns_per_sample"] * own[i]["ratio_to_jax"] for i in order]
        x = [mean[i] for i in order]
        drawn.plot(x, ours, "o", color=colour, markersize=3.5, label=law)
        drawn.plot(x, theirs, "x", color=colour, markersize=3.5, label=f"{law}, jax.random")
    drawn.set(title="draws", xlabel="mean", ylabel="core-ns a number", xscale="log", yscale="log")
    drawn.set_ylim(1, 9000)
    drawn.legend(loc="upper left", handlelength=1.0)
    own = [line for line in hops if line["name"].startswith("hop")]
    for colour, r in zip(PALETTE, sorted({line["hops_per_step"] for line in own}), strict=False):
        some = [line for line in own if line["hops_per_step"] == r]
        molecules = [line["molecules_per_voxel"] for line in some]
        swept.plot(molecules, [line["cpu_ns_per_voxel_step"] for line in some], "o-", color=colour, markersize=3.5,
                   label=f"D dt / h$^2$ = {r:.2g}")  # fmt: skip
    molecules = sorted({line["molecules_per_voxel"] for line in own})
    for key, times, name in (("cpu_ns_two_words", 6, "six pairs of random words"), ("cpu_ns_copy", 3, "three copies")):
        level = [times * next(line[key] for line in own if line["molecules_per_voxel"] == m) for m in molecules]
        swept.plot(molecules, level, color=FAINT, linewidth=0.8, linestyle=(0, (4, 2)))
        swept.annotate(name, (molecules[0], max(level)), (0, 2), textcoords="offset points", color=FAINT)
    swept.set(title="a sweep of hops", xlabel="molecules a voxel", ylabel="core-ns a voxel", xscale="log", yscale="log")
    swept.legend(loc="upper left", handlelength=1.2)
    steps = [line for line in fields if line["name"] == "field step" and not line["cells"]]
    for colour, (key, precision, name) in zip(
        (PALETTE[0], PALETTE[1], INK, FAINT),
        (
            ("cpu_ns", "float32", "float32"),
            ("cpu_ns", "float64", "float64"),
            ("peer_cpu_ns", "float64", "pyphysicell, float64"),
            ("copy_cpu_ns", "float32", "a copy, float32"),
        ),
        strict=True,
    ):
        own = [line for line in steps if line["precision"] == precision]
        solved.plot([line["substrates"] for line in own], [line[key] for line in own], "o-", color=colour,
                    markersize=3.5, label=name)  # fmt: skip
    solved.set(title="a step of concentrations", xlabel="concentrations", ylabel="core-ns a value", yscale="log")
    solved.set_ylim(0.1, 900)
    solved.legend(loc="upper right", handlelength=1.2)
    return made


def limits(lines: list[Line]) -> Figure:
    """A row a kernel: what it takes, and its bound."""
    own = [line for line in lines if line["name"] == "limit"]
    made = Figure(figsize=(WIDTH, 0.021 * WIDTH * len(own) + 0.5), layout="constrained")
    panel = made.subplots()
    for place, line in enumerate(own):
        panel.plot([line["bound_ns"], line["cpu_ns"]], [place, place], color=FAINT, linewidth=0.8, zorder=1)
    panel.plot([line["bound_ns"] for line in own], range(len(own)), "o", color=MAIN_COLOUR, markerfacecolor="white",
               markersize=4, label="counted bound")  # fmt: skip
    panel.plot(
        [line["cpu_ns"] for line in own], range(len(own)), "o", color=MAIN_COLOUR, markersize=4, label="measured"
    )
    panel.set_yticks(range(len(own)), [_plain(f"{line['kernel']}: {line['case']}") for line in own])
    panel.set(xlabel="core-ns a number, voxel or event", xscale="log", ylim=(len(own) - 0.5, -0.5))
    panel.legend(loc="lower right", handlelength=1.0)
    return made


def _plain(text: str) -> str:
    """Without the marks of a page."""
    return text.replace("`", "").replace("^3", "$^3$")


def shares(lines: list[Line]) -> Figure:
    """A bar a model, its parts by kernel."""
    made = Figure(figsize=(WIDTH, 0.22 * WIDTH), layout="constrained")
    panel = made.subplots()
    kinds = list(dict.fromkeys(line["kernel"] for line in lines))
    models = list(dict.fromkeys(f"{line['model']}, {line['shape'][0]}$^3$" for line in lines))
    for place, model in enumerate(models):
        left = 0.0
        for colour, kind in zip(PALETTE, kinds, strict=False):
            for line in lines:
                if line["kernel"] == kind and f"{line['model']}, {line['shape'][0]}$^3$" == model:
                    panel.barh(place, line["percent"], 0.6, left, color=colour)
                    left += line["percent"]
    panel.set_yticks(range(len(models)), models)
    panel.set(xlabel="share of a step (%)", xlim=(0, 100), ylim=(len(models) - 0.5, -0.5))
    keys = [Line2D([], [], color=colour, linewidth=5) for colour, _ in zip(PALETTE, kinds, strict=False)]
    made.legend(keys, kinds, loc="outside right center", handlelength=0.8)
    return made
