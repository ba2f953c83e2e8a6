"""Events per second of the engine `exact`, beside other simulators in the same run, and their cost against the voxels.

python -m bench.exact [--rounds 7] [--size 8 16 32] [--cores 1 2]

Peers are measured if they can be imported: gillespy2 (its C++ solver), rebop, crn-jax. All make the same number of
trajectories with the same 21 records to the same end, and react at k n (n - 1), as ours do. Each runs in processes of
its own that are pinned to a core: ours as one process with a device a core (JAX_NUM_CPU_DEVICES), the peers, which use
one core each, as one process a core that makes its share. Rounds go through all of them in turn; a figure is the median
of whole calls, without what is compiled before (given apart): on one core the CPU time of the process and of those that
it starts, which other work on the machine disturbs least, else the time that passes. rebop has no ensembles: it is
called once a trajectory, at the level below its xarray result (`rebop`), and as its documentation says, by
`Gillespie.run` (`rebop, public call`); `us_per_event_of_one_trajectory` is one that is 2,000 times as long, with as
many more records, so that the call costs nothing. crn-jax runs under `jax.vmap`.

The box (8^3 voxels with 10 molecules that hop, decay and are made) is beside rebop and crn-jax with a species a voxel;
GillesPy2 would compile 4,096 channels into its solver, and is left out.
"""

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.compilers import optimised

TRAJECTORIES, END_S, RECORDS = 10_000, 20.0, 21
LONG = 2000
Reactions = dict[str, tuple[dict[str, int], dict[str, int], float]]
BIRTH_DEATH: Reactions = {"birth": ({}, {"X": 1}, 10.0), "death": ({"X": 1}, {}, 0.1)}
DIMERISATION: Reactions = {"bind": ({"P": 2}, {"P2": 1}, 0.01), "split": ({"P2": 1}, {"P": 2}, 0.1)}
CELL: Reactions = {
    "bind": ({"EV": 1, "R": 1}, {"C": 1}, 0.002),
    "unbind": ({"C": 1}, {"EV": 1, "R": 1}, 0.1),
    "take_up": ({"C": 1}, {"I": 1}, 0.2),
    "degrade_EV": ({"EV": 1}, {}, 0.05),
    "release_EV": ({}, {"EV": 1}, 4.0),
    "make_R": ({}, {"R": 1}, 3.0),
    "degrade_R": ({"R": 1}, {}, 0.03),
    "recycle": ({"I": 1}, {"R": 1}, 0.1),
    "unload": ({"I": 1}, {"M": 1, "R": 1}, 0.1),
    "transcribe": ({}, {"M": 1}, 0.5),
    "degrade_M": ({"M": 1}, {}, 0.2),
    "translate": ({"M": 1}, {"M": 1, "P": 1}, 0.5),
    "degrade_P": ({"P": 1}, {}, 0.1),
    "activate": ({"P": 1, "K": 1}, {"A": 1}, 0.01),
    "deactivate": ({"A": 1}, {"P": 1, "K": 1}, 0.2),
    "dimerise": ({"P": 2}, {"D": 1}, 0.005),
    "split": ({"D": 1}, {"P": 2}, 0.2),
    "degrade_D": ({"D": 1}, {}, 0.05),
    "signal": ({"A": 1}, {"A": 1, "S": 1}, 0.3),
    "degrade_S": ({"S": 1}, {}, 0.1),
}
CELL_START = {"EV": 20, "R": 100, "C": 0, "I": 0, "M": 2, "P": 10, "K": 20, "A": 0, "D": 0, "S": 0}
BOX, BOX_END_S = 8, 2.0


class Case(NamedTuple):
    """A model without space: first numbers, reactions, the end and the records of a trajectory."""

    start: dict[str, int]
    reactions: Reactions
    end_s: float
    records: int


def _box() -> Case:
    """The box as one well-mixed system with a species a voxel."""
    names = {place: f"X{'_'.join(map(str, place))}" for place in itertools.product(range(BOX), repeat=3)}
    reactions: Reactions = {}
    for place, name in names.items():
        reactions[f"in{name}"] = ({}, {name: 1}, 1.0)
        reactions[f"out{name}"] = ({name: 1}, {}, 0.1)
        for axis, step in itertools.product(range(3), (-1, 1)):
            there = names.get(tuple(p + step * (a == axis) for a, p in enumerate(place)))  # pyright: ignore
            if there:
                reactions[f"{name}to{there}"] = ({name: 1}, {there: 1}, 1.0)
    return Case(dict.fromkeys(names.values(), 10), reactions, BOX_END_S, 2)


CASES = {
    "birth-death": Case({"X": 0}, BIRTH_DEATH, END_S, RECORDS),
    "dimerisation": Case({"P": 51, "P2": 0}, DIMERISATION, END_S, RECORDS),
    "20 reactions": Case(CELL_START, CELL, END_S, RECORDS),
    "box": _box(),
}


def _side(side: dict[str, int]) -> str:
    return " + ".join(f"{n} {name}" for name, n in side.items())


def _tables(name: str) -> dict[str, Any]:
    """Our model file of a case."""
    case = CASES[name]
    run = {"duration": "100 s", "engine": "exact"}
    if name == "box":
        return {
            "schema": 1,
            "run": run,
            "lattice": {"shape": [BOX] * 3, "spacing": "1 um"},
            "species": {"X": {"diffusion": 1.0, "decay": 0.1, "initial": 10}},
            "reactions": [{"equation": "-> X", "rate": "1 /s"}],
        }
    return {
        "schema": 1,
        "run": run,
        "lattice": {"shape": [1], "spacing": "1 um"},
        "species": {species: {"initial": n} for species, n in case.start.items()},
        "reactions": [
            {"name": name, "equation": f"{_side(a)} -> {_side(b)}".strip(), "rate": f"{k} /s" if not a else k}
            for name, (a, b, k) in case.reactions.items()
        ],
    }


def ours(name: str, number: int, records: int | None = None) -> Callable[[int], Any]:
    """From a seed to so many trajectories by our engine, with the records of the case or some."""
    import jax  # noqa: PLC0415

    import exodiff as ex  # noqa: PLC0415

    model, case = ex.Model.from_dict(_tables(name)), CASES[name]
    times = list(np.linspace(0.0, case.end_s, records or case.records))
    return lambda seed: jax.block_until_ready(ex.simulate(model, times, seed=seed, replicates=number).counts)


def _rebop_model(case: Case) -> Any:
    import rebop  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    model: Any = rebop.Gillespie()
    for before, after, k in case.reactions.values():
        model.add_reaction(k, *([s for s, n in side.items() for _ in range(n)] for side in (before, after)))
    return model


def _rebop(name: str, number: int) -> Callable[[int], Any]:
    case = CASES[name]
    inner = _rebop_model(case).gillespie
    inner.set_init(case.start)

    def one(seed: int) -> Any:
        return inner.run(case.end_s, case.records - 1, params={}, seed=seed, sparse=name == "box", var_names=None)

    return lambda seed: [one(seed * number + i) for i in range(number)]


def _rebop_public(name: str, number: int) -> Callable[[int], Any]:
    """As its documentation says: an xarray data set a trajectory."""
    case, model = CASES[name], _rebop_model(CASES[name])
    steps = case.records - 1
    return lambda seed: [
        model.run(case.start, tmax=case.end_s, nb_steps=steps, rng=seed * number + i) for i in range(number)
    ]


def _rebop_long(name: str, number: int) -> Callable[[int], Any]:
    """One trajectory, as long as ``number`` of them."""
    case, model = CASES[name], _rebop_model(CASES[name])
    return lambda seed: model.run(case.start, tmax=number * case.end_s, nb_steps=number * (case.records - 1), rng=seed)


def _gillespy2(name: str, number: int) -> Callable[[int], Any]:
    import gillespy2  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    case, model = CASES[name], gillespy2.Model("model")
    species = {name: gillespy2.Species(name, initial_value=n) for name, n in case.start.items()}
    model.add_species(list(species.values()))
    for label, (before, after, k) in case.reactions.items():
        rate = gillespy2.Parameter(f"k_{label}", expression=k)
        model.add_parameter(rate)
        sides = [{species[s]: n for s, n in side.items()} for side in (before, after)]
        model.add_reaction(gillespy2.Reaction(name=label, reactants=sides[0], products=sides[1], rate=rate))
    model.timespan(np.linspace(0.0, case.end_s, case.records))
    gillespy2.cache_enabled = False  # or parts that were compiled otherwise would be taken
    with optimised():
        solver = gillespy2.SSACSolver(model)
        model.run(solver=solver, number_of_trajectories=1, seed=1)
    return lambda seed: model.run(solver=solver, number_of_trajectories=number, seed=seed + 1)


class _State(NamedTuple):
    """What crn-jax carries."""

    x: Any
    time: Any
    next_reaction_time: Any


def _crn_jax(name: str, number: int) -> Callable[[int], Any]:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    from crn_jax.gillespie import simulate_trajectory  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    case = CASES[name]
    place = {species: i for i, species in enumerate(case.start)}
    change = np.zeros((len(case.reactions), len(place)), np.float32)
    first = np.full((len(case.reactions), 2), len(place))  # the reactants, as places; beyond the last: none
    for row, (before, after, _) in enumerate(case.reactions.values()):
        for sign, side in ((-1, before), (1, after)):
            for species, n in side.items():
                change[row, place[species]] += sign * n
        reactants = [place[s] for s, n in before.items() for _ in range(n)]
        first[row, : len(reactants)] = reactants
    changes, rates = jnp.asarray(change), jnp.asarray([k for *_, k in case.reactions.values()], jnp.float32)
    is_pair = jnp.asarray((first[:, 0] == first[:, 1]) & (first[:, 0] < len(place)), jnp.float32)

    def propensities(state: _State, _: Any) -> Any:
        x = jnp.append(state.x, 1.0)
        return rates * x[first[:, 0]] * (x[first[:, 1]] - is_pair)

    def react(state: _State, reaction: Any) -> _State:
        return state._replace(x=state.x + changes[reaction])

    start = _State(jnp.asarray(list(case.start.values()), jnp.float32), jnp.float32(0.0), jnp.float32(jnp.inf))
    steps = case.records - 1

    def one(key: Any) -> Any:
        found = simulate_trajectory(
            key,
            start,
            timestep=case.end_s / steps,
            n_steps=steps,
            compute_propensities_fn=propensities,
            apply_reaction_fn=react,
            max_steps=1_000_000,
        )
        return found.x

    run = jax.jit(jax.vmap(one))
    return lambda seed: jax.block_until_ready(run(jax.random.split(jax.random.key(seed), number)))


TOOLS = {
    "exodiff": ("exodiff", ours),
    "rebop": ("rebop", _rebop),
    "rebop, public call": ("rebop", _rebop_public),
    "rebop, one trajectory": ("rebop", _rebop_long),
    "gillespy2": ("gillespy2", _gillespy2),
    "crn-jax": ("crn_jax", _crn_jax),
}


def _work(pipe: Connection, tool: str, name: str, number: int, cores: tuple[int, ...], alone: bool) -> None:
    """A process that runs a tool for each seed it is sent, and answers with the seconds."""
    os.sched_setaffinity(0, cores)
    os.environ["JAX_NUM_CPU_DEVICES"] = str(len(cores))
    call = TOOLS[tool][1](name, number)
    while True:
        seed = pipe.recv()
        if seed is None:
            return
        clock = _cpu_s if alone else time.perf_counter
        began = clock()
        call(seed)
        pipe.send(clock() - began)


def _cpu_s() -> float:
    """CPU time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class _Team:
    """The processes of a tool that share its trajectories."""

    def __init__(self, tool: str, name: str, number: int, cores: tuple[int, ...]) -> None:
        context, self.pipes = multiprocessing.get_context("spawn"), []
        shares = [cores] if tool == "exodiff" else [(core,) for core in cores]
        for share in shares:
            here, there = context.Pipe()
            args = (there, tool, name, -(-number // len(shares)), share, len(cores) == 1)
            context.Process(target=_work, args=args, daemon=True).start()
            self.pipes.append(here)

    def seconds(self, seed: int) -> float:
        """Time of a round: that of the slowest."""
        for i, pipe in enumerate(self.pipes):
            pipe.send(1000 * i + seed)
        return max(pipe.recv() for pipe in self.pipes)

    def end(self) -> None:
        """Let the processes end."""
        for pipe in self.pipes:
            pipe.send(None)


def _medians(teams: dict[str, _Team], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of the first call (with compilation), and the median of the others, tools in turn."""
    first = {tool: team.seconds(0) for tool, team in teams.items()}
    seconds: dict[str, list[float]] = {tool: [] for tool in teams}
    for seed in range(1, rounds + 1):
        for tool, team in teams.items():
            seconds[tool].append(team.seconds(seed))
    for team in teams.values():
        team.end()
    return first, {tool: median(found) for tool, found in seconds.items()}


def mean_events(name: str) -> float:
    """Mean events of a trajectory."""
    import exodiff as ex  # noqa: PLC0415

    case = CASES[name]
    observables = {reaction: {"value": f"events({reaction})"} for reaction in case.reactions}
    model = ex.Model.from_dict({**_tables(name), "observables": observables})
    found = ex.simulate(model, [case.end_s], seed=1, replicates=TRAJECTORIES)
    return float(sum(np.mean(found.observables[reaction][:, -1]) for reaction in case.reactions))


def _installed(*leave_out: str) -> list[str]:
    known = {module: importlib.util.find_spec(module) is not None for module, _ in TOOLS.values()}
    missing = [module for module, is_there in known.items() if not is_there]
    if missing:
        print(f'without {", ".join(missing)}: pip install -e ".[bench]"', file=sys.stderr)
    return [tool for tool, (module, _) in TOOLS.items() if tool not in leave_out and known[module]]


def ensembles(cases: list[str], rounds: int, cores: list[int]) -> None:
    """All simulators in turn: events per second, and how many times as many we make."""
    from bench.rows import print_row  # noqa: PLC0415

    for name in cases:
        events = mean_events(name)
        for count in cores:
            used = tuple(sorted(os.sched_getaffinity(0)))[:count]
            teams = {tool: _Team(tool, name, TRAJECTORIES, used) for tool in _installed("rebop, one trajectory")}
            if "rebop" in teams and count == 1:
                teams["rebop, one trajectory"] = _Team("rebop, one trajectory", name, LONG, used)
            first, seconds = _medians(teams, rounds)
            long_s = seconds.pop("rebop, one trajectory", None)
            values: dict[str, Any] = {
                f"events_per_s_{tool}": round(events * TRAJECTORIES / found) for tool, found in seconds.items()
            }
            ours = seconds.pop("exodiff")
            values |= {f"ratio_to_{tool}": round(found / ours, 2) for tool, found in seconds.items()}
            if long_s is not None:
                values["us_per_event_of_one_trajectory_rebop"] = round(long_s / _long_events(name) * 1e6, 4)
            values |= {"first_call_s": round(first["exodiff"], 2), "cores": count, "load": round(os.getloadavg()[0], 1)}
            print_row(f"ensemble of {TRAJECTORIES}, {name}", **values)


def _long_events(name: str) -> int:
    """Events of the long trajectory: nb_steps = 0 returns all of them."""
    case = CASES[name]
    return len(_rebop_model(case).run(case.start, tmax=LONG * case.end_s, nb_steps=0, rng=1).time)


def box(rounds: int) -> None:
    """One trajectory of the box, on one core: microseconds an event."""
    from bench.rows import print_row  # noqa: PLC0415

    rate = BOX**3 * (1.0 + 10 * 0.1) + 10 * 6 * (BOX - 1) * BOX**2  # 10 molecules a voxel is the steady mean
    core = tuple(sorted(os.sched_getaffinity(0)))[:1]
    tools = _installed("rebop, public call", "rebop, one trajectory", "gillespy2")
    _, seconds = _medians({tool: _Team(tool, "box", 1, core) for tool in tools}, rounds)
    values = {f"us_per_event_{tool}": round(found / rate / BOX_END_S * 1e6, 2) for tool, found in seconds.items()}
    print_row("box, one trajectory", shape=[BOX] * 3, events=round(rate * BOX_END_S), **values, cores=1)


def lattices(sizes: list[int], rounds: int) -> None:
    """Microseconds an event in boxes of different size, 10 molecules a voxel that hop, decay and are made."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    import exodiff as ex  # noqa: PLC0415
    from bench.rows import print_row  # noqa: PLC0415
    from exodiff.exact import lattice  # noqa: PLC0415
    from exodiff.exact.clock import split_time  # noqa: PLC0415
    from exodiff.start import initial_state, make_inputs, start_array  # noqa: PLC0415

    for size in sizes:
        tables = _tables("box")
        tables["lattice"]["shape"] = [size] * 3
        model = ex.Model.from_dict(tables)
        problem, zero = model.problem, jnp.uint32(0)
        inputs = make_inputs(model, None, problem.precision)
        state = initial_state(problem, inputs, start_array(model, problem), zero, zero)
        end = split_time(1e9, problem.precision)
        advance = jax.jit(
            lambda state, budget, p=problem, i=inputs, t=end: lattice.advance(
                p, i, jnp.uint32(0), jnp.uint32(0), state, t, budget
            )
        )
        seconds: dict[int, list[float]] = {100: [], 20_100: []}
        began = time.perf_counter()
        jax.block_until_ready(advance(state, jnp.uint32(1)))
        compile_s = time.perf_counter() - began
        for _ in range(rounds):
            for events, found in seconds.items():
                began = time.perf_counter()
                jax.block_until_ready(advance(state, jnp.uint32(events)))
                found.append(time.perf_counter() - began)
        us = (median(seconds[20_100]) - median(seconds[100])) / 20_000 * 1e6
        print_row("lattice event", shape=[size] * 3, us_per_event=round(us, 2), compile_s=round(compile_s, 1))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--cores", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--case", nargs="*", default=["birth-death", "dimerisation", "20 reactions"])
    options = parser.parse_args()
    ensembles(options.case, options.rounds, options.cores)
    box(options.rounds)
    lattices(options.size, options.rounds)


if __name__ == "__main__":
    main()
