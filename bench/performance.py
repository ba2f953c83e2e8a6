"""Write the tables and figures of docs/performance.md from bench/results/*.jsonl.

python -m bench.performance
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from bench import performance_figures as figures
from bench.rows import put_between
from exodiff.viz.style import DPI, RC

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
PEERS = ("rebop", "rebop, public call", "crn-jax", "gillespy2")  # of ensembles
Line = dict[str, Any]


def read(name: str) -> list[Line]:
    """The rows of a file without the bandwidth beside them, none if it was not measured."""
    path = RESULTS / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if line["name"] != "bandwidth"]


def bandwidth() -> str:
    """STREAM's four kernels, and the triad of the runs of other tables."""
    parts: list[Line] = []
    for path in sorted(RESULTS.glob("*.jsonl")):
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if line["name"] == "bandwidth":
                run = "alone" if path.stem == "bandwidth" else f"beside `bench.{path.stem}`"
                parts.append({**line, "run": run})
    columns = {"kernel": of("kernel"), "cores": of("cores"), "run": of("run"), "GB a second": of("gb_per_s", ".1f")}
    return table(columns, sorted(parts, key=lambda line: (line["run"] != "alone", line["run"])))


def table(columns: dict[str, Callable[[Line], Any]], lines: Iterable[Line]) -> str:
    """Markdown: one column a function of a row."""
    rows = [[str(value(line)) for value in columns.values()] for line in lines]
    head = [list(columns), ["---"] * len(columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in head + rows)


def of(key: str, form: str = "") -> Callable[[Line], str]:
    """A value of a row, a dash if it has none."""
    return lambda line: "-" if line.get(key) is None else format(line[key], form)


def with_error(key: str) -> Callable[[Line], str]:
    """A value and its standard error; of what others are compared with neither."""
    return lambda line: f"{line[key][0]:+.2f} ± {line[key][1]:.2f}" if any(line[key]) else "the reference"


def spatial() -> str:
    """`abc` and `uptake`, a table each."""
    common = {
        "size": of("size"),
        "molecules": of("molecules"),
        "step (s)": of("step_s"),
        "simulated s a core-second": of("simulated_s_per_core_s", ".3g"),
        "ns a voxel-step": of("ns_per_voxel_step", ".0f"),
    }
    abc = {"mean, %": "mean_off", "variance, %": "variance_off", "covariance, %": "covariance_off"}
    peers = {f"times {name}": of(f"times_{key}", ".0f") for key, name in figures.OTHERS.items()}
    lines = read("spatial")
    first = {**common, **{name: with_error(key) for name, key in abc.items()}, **peers}
    uptake = {"E, %": with_error("E_off"), "I, %": with_error("I_off"), **peers}
    parts = [
        table(first, [line for line in lines if line["problem"] == "abc"]),
        table({**common, **uptake}, [line for line in lines if line["problem"] == "uptake"]),
    ]
    return "\n\n".join(parts)


def ensembles() -> str:
    """The engine `exact` beside its peers."""
    columns = {
        "case": of("name"),
        "cores": of("cores"),
        "events a second": of("events_per_s_exodiff", ".2g"),
        **{f"times {peer}": of(f"ratio_to_{peer}", ".1f") for peer in PEERS},
    }
    return table(columns, [line for line in read("exact") if "events_per_s_exodiff" in line])


def draws() -> str:
    """Binomial and Poisson numbers beside those of JAX."""
    columns = {
        "law": of("name"),
        "n": of("n"),
        "p or mean": lambda line: f"{line.get('p', line.get('mean')):.3g}",
        "ns a number": of("ns_per_sample", ".1f"),
        "times jax.random": of("ratio_to_jax", ".0f"),
    }
    return table(columns, [line for line in read("draws") if "ns_per_sample" in line])


def hops() -> str:
    """Sweeps of hops over three axes."""
    columns = {
        "molecules a voxel": of("molecules_per_voxel", "g"),
        "r = D dt / h^2": of("hops_per_step", ".3g"),
        "ns a voxel-step, two cores": of("ns_per_voxel_step", ".1f"),
        "core-ns a voxel-step": of("cpu_ns_per_voxel_step", ".0f"),
        "a pair of random words, core-ns a voxel": of("cpu_ns_two_words", ".1f"),
        "a copy, core-ns a voxel": of("cpu_ns_copy", ".1f"),
    }
    return table(columns, read("hops"))


def limits() -> str:
    """What each kind of work takes, and each kernel beside its bound, a table each."""
    lines = read("limits")
    rate = {"work": of("kind"), "core-ns each": of("ns", ".2g")}
    columns = {
        "kernel": of("kernel"),
        "case": of("case"),
        "core-ns": of("cpu_ns", ".3g"),
        "bound, core-ns": of("bound_ns", ".3g"),
        "times its bound": of("times_bound", ".1f"),
        **{kind: of(kind, "g") for kind in ("pairs", "operations", "quotients", "functions", "looks", "products")},
        "bytes": of("bytes", "g"),
    }
    parts = [
        table(rate, [line for line in lines if line["name"] == "rate"]),
        table(columns, [line for line in lines if line["name"] == "limit"]),
    ]
    return "\n\n".join(parts)


def fields() -> str:
    """Deterministic diffusion: time to an accuracy, a step, and hops of `mean_field`, a table each."""
    lines = read("fields")
    to_limit = {
        "problem": lambda line: line["name"].split()[0],
        "precision": of("precision"),
        "core-ms": lambda line: format(1e3 * line["cpu_s"], ".1f"),
        "error": of("error", ".0e"),
        "pyphysicell, core-ms": lambda line: format(1e3 * line["peer_cpu_s"], ".0f"),
        "its steps": of("peer_steps"),
        "its error": of("peer_error", ".0e"),
        "times pyphysicell": of("times_peer", ".0f"),
    }
    step = {
        "concentrations": of("substrates"),
        "cells": of("cells"),
        "`solve`": of("solve"),
        "precision": of("precision"),
        "core-ns": of("cpu_ns", ".1f"),
        "pyphysicell (float64), core-ns": of("peer_cpu_ns", ".1f"),
        "a copy, core-ns": of("copy_cpu_ns", ".2f"),
    }
    hop = {
        "precision": of("precision"),
        "sweep, core-ns": of("cpu_ns_sweep", ".1f"),
        "sweep, ns on two cores": of("ns_sweep", ".2f"),
        **{f"{axis} alone, core-ns": of(f"cpu_ns_{axis}", ".1f") for axis in "xyz"},
        "three copies, core-ns": lambda line: format(3 * line["cpu_ns_copy"], ".1f"),
    }
    parts = [
        table(to_limit, [line for line in lines if "peer_steps" in line]),
        table(step, [line for line in lines if line["name"] == "field step"]),
        table(hop, [line for line in lines if line["name"] == "mean_field hops"]),
    ]
    return "\n\n".join(parts)


def tissue() -> str:
    """Minutes of a tissue with cells beside pyphysicell."""
    columns = {
        "voxels": lambda line: f"{line['size']}^3",
        "cells": of("cells"),
        "simulated min a core-second": of("min_per_core_s", ".1f"),
        "by pyphysicell": of("peer_min_per_core_s"),
        "times pyphysicell": of("times_peer", ".0f"),
        "error, %": lambda line: ", ".join(f"{m:.1f}" for m in line["error_percent"]),
        "its error, %": lambda line: ", ".join(f"{m:.1f}" for m in line["peer_error_percent"]),
        "mean by fine steps": lambda line: ", ".join(f"{m:.2f}" for m in line["means_by_fine_steps"]),
        "its mean by fine steps": lambda line: ", ".join(f"{m:.2f}" for m in line["peer_means_by_fine_steps"]),
    }
    return table(columns, read("tissue"))


def scaling() -> str:
    """What a step costs when one quantity grows: a line a quantity, its values and the times of the first."""
    lines = read("scaling")
    parts = []
    for name in dict.fromkeys(line["of"] for line in lines):
        own = [line for line in lines if line["of"] == name]
        steps = ", ".join(
            f"{shown(line['value'])}: {line['cpu_ms_per_step']:.1f} ({line['times_first']:.2f})" for line in own
        )
        parts.append({"grows": name, "steps": steps})
    return table({"grows": of("grows"), "value: core-ms a step (times the first)": of("steps")}, parts)


def shown(value: Any) -> str:
    """A value of what grows."""
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def shares() -> str:
    """What part of a step each kernel takes."""
    parts, lines = [], read("shares")
    for model in dict.fromkeys((line["model"], *line["shape"]) for line in lines):
        own = [line for line in lines if (line["model"], *line["shape"]) == model]
        per_step_ms = sum(line["core_ms_a_pair"] for line in own) / 2
        parts.append(
            {
                "model": f"{model[0]}, {' x '.join(map(str, model[1:]))}",
                "step (s)": f"{own[0]['step_s']:.3g}",
                "core-ms a step": f"{per_step_ms:.0f}",
                "of it, %": ", ".join(
                    f"{line['kernel']} {line['percent']:.0f}" for line in own if line["percent"] >= 1
                ),
            }
        )
    return table({name: of(name) for name in parts[0]}, parts) if parts else "Not measured."


def startup() -> str:
    """Seconds until a command is done."""
    columns = {
        "command": of("name"),
        "first steps done after (s)": of("first_steps_s", ".1f"),
        "all done after (s)": of("wall_s", ".1f"),
        "core-seconds": of("core_s", ".1f"),
    }
    return table(columns, read("startup"))


def gpu() -> str:
    """One accelerator: hops against its limits, and steps by size."""
    lines = read("gpu")
    if not lines:
        return "Not measured: no GPU was at hand."
    size = {"device": of("device"), "voxels": lambda line: shown(line["shape"])}
    sweep = {
        **size,
        "ns a voxel": of("ns_per_voxel", ".3g"),
        "of the bandwidth": of("share_of_bandwidth", ".0%"),
        "of the integer rate": of("share_of_integer_rate", ".0%"),
        "random words alone": of("share_of_random_words", ".0%"),
        "kernels": of("kernels"),
    }
    step = {
        **size,
        "replicates": of("replicates"),
        "us a step": of("us_per_step", ".4g"),
        "ns a voxel-step": of("ns_per_voxel_step", ".3g"),
    }
    parts = [
        table(sweep, [line for line in lines if line["name"].startswith("hop sweep")]),
        table(step, [line for line in lines if line["name"].startswith("step")]),
    ]
    return "\n\n".join(parts)


def memory() -> str:
    """Largest memory of a process, and of a step beside its state."""
    lines = read("memory")
    runs = table({"run": of("name"), "MiB": of("peak_rss_mib")}, [line for line in lines if "peak_rss_mib" in line])
    columns = {"step": of("name"), "state, MiB": of("state_mib"), "times its state": of("times_state")}
    return f"{runs}\n\n{table(columns, [line for line in lines if 'times_state' in line])}"


def ratios() -> list[tuple[str, str, float]]:
    """Comparisons with other simulators: reactions and diffusion by steps of 0.1 s, fields in float64 as theirs are."""
    found: list[tuple[str, str, float]] = []
    for line in read("spatial"):
        if line["step_s"] == 0.1:
            problem = f"{line['problem']}, {line['size']}$^3$, {line['molecules']} a voxel"
            found += [(problem, name, line[f"times_{key}"]) for key, name in figures.OTHERS.items()
                      if f"times_{key}" in line and key != "steps"]  # fmt: skip
    for line in read("exact"):
        if "events_per_s_exodiff" in line and line["cores"] == 1:
            problem = line["name"].replace("ensemble of 10000", "ensemble")
            found += [(problem, peer, line[f"ratio_to_{peer}"]) for peer in PEERS if f"ratio_to_{peer}" in line]
    for line in read("fields"):
        if line["name"] == "field step" and line["precision"] == "float64":
            cells = " and cells" if line["cells"] else ""
            several = "s" if line["substrates"] > 1 else ""
            problem = f"a step of {line['substrates']} concentration{several}{cells}"
            found.append((problem, "pyphysicell", line["times_peer"]))
        if "peer_steps" in line and line["precision"] == "float64":
            found.append((f"diffusion, {line['name'].split()[0]}, to 0.1 %", "pyphysicell", line["times_peer"]))
    found += [(f"a tissue of {line['cells']:,} cells", "pyphysicell", line["times_peer"]) for line in read("tissue")]
    return found


def draw() -> None:
    """All figures."""
    with rc_context(RC):
        for name, make in {
            "speed_against_error": partial(figures.speed_against_error, read("spatial")),
            "ratios": partial(figures.ratios, ratios()),
            "scaling": partial(figures.scaling, read("scaling")),
            "kernels": partial(figures.kernels, read("draws"), read("hops"), read("fields")),
            "limits": partial(figures.limits, read("limits")),
            "shares": partial(figures.shares, read("shares")),
        }.items():
            if all(make.args):  # or it was not measured
                make().savefig(RESULTS / f"{name}.png", dpi=DPI)


def tables() -> dict[str, str]:
    """What stands on the page, by the name of its place."""
    return {
        "bandwidth": bandwidth(),
        "spatial": spatial(),
        "ensembles": ensembles(),
        "draws": draws(),
        "hops": hops(),
        "limits": limits(),
        "fields": fields(),
        "tissue": tissue(),
        "scaling": scaling(),
        "shares": shares(),
        "startup": startup(),
        "memory": memory(),
        "gpu": gpu(),
    }


def main() -> None:
    """Write the page."""
    draw()
    for name, text in tables().items():
        put_between(PAGE, name, text)


if __name__ == "__main__":
    main()
