"""Other simulators on the two problems of `bench.spatial`: simulated seconds per second of a core, and what they reach.

E-Cell4's mesoscopic simulator makes every event, voxel by voxel, in a periodic box. SpatialPy does too in a closed one,
compiled with -O3, which it does not ask for itself; it compares one random number with the share of reactions and picks
the reaction or species by the same number, so that in `abc`, where reactions are a twentieth of the events, only the
first one ever happens. ReaDDy moves particles in continuous space, in a periodic box, here by steps of 0.1 s on one
core (CPU kernel, `UncontrolledApproximation`: the default handler of reactions takes thirty times as long for 10^5
particles); it has no reaction without an educt, so a particle a voxel makes A. Of ReaDDy and SpatialPy a short run is
taken from a long one, so that setting up does not count.
"""

import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.compilers import optimised

FILL = 0.3
IN_CELL = {"R": 5, "B": 5, "I": 10}
DIFFUSIVITY = {
    "abc": {"A": 1.0, "B": 1.0, "C": 0.0},
    "uptake": {"E": 1.0, "R": 0.0, "B": 0.0, "I": 0.0},
}  # um^2/s
_READDY_RADIUS_UM, _READDY_STEP_S = 0.3, 0.1
_READDY_STEPS = 2, 12  # of a short and a long run
_SPATIALPY_S = 0.1, 0.9  # more than 1 s it does not take as one step
_LARGEST = 32**3 * 10  # molecules of a species that ReaDDy steps, and SpatialPy's model compiles, in a minute


class Reached(NamedTuple):
    """Of one run: simulated seconds a second of a core, the time at its end, the mean of the first species there."""

    s_per_core_s: float
    end_s: float
    mean: float


Run = Callable[[int], Reached]


def cells(size: int, seed: int) -> np.ndarray:
    """Numbers of the voxels that are cells."""
    return np.random.default_rng(seed).choice(size**3, round(FILL * size**3), replace=False)


def ecell4(problem: str, size: int, m: int) -> Run:
    """The mesoscopic simulator, for a time that is short enough to wait for."""
    from ecell4_base import core, meso  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    simulated_s = 1.0 * (32 / size) ** 3 * 10 / m
    binding, unbinding = core.create_binding_reaction_rule, core.create_unbinding_reaction_rule
    lost, made = core.create_degradation_reaction_rule, core.create_synthesis_reaction_rule
    species = {name: core.Species(name, 0.01, d) for name, d in DIFFUSIVITY[problem].items()}
    network = core.NetworkModel()
    for one in species.values():
        network.add_species_attribute(one)
    if problem == "abc":
        a, b, c = species.values()
        rules = binding(a, b, c, 0.1 / m), unbinding(c, a, b, 0.1), lost(a, 0.1), made(a, 0.1 * m)
    else:
        e, r, b, i = species.values()
        rules = binding(e, r, b, 0.1 / m), unbinding(b, i, r, 0.1), lost(i, 0.05), made(e, 0.15)
    for rule in rules:
        network.add_reaction_rule(rule)
    first = next(iter(species.values()))

    def fill(world: Any, seed: int) -> None:
        for name in "ABC" if problem == "abc" else "E":
            world.add_molecules(species[name], m * size**3)
        if problem == "uptake":
            for voxel in cells(size, seed).tolist():
                for name, number in IN_CELL.items():
                    world.add_molecules(species[name], number, voxel)

    def call(seed: int) -> Reached:
        rng = core.GSLRandomNumberGenerator(seed + 1)
        world = meso.MesoscopicWorld(core.Real3(size, size, size), core.Integer3(size, size, size), rng)
        world.bind_to(network)
        fill(world, seed)
        simulator = meso.MesoscopicSimulator(world, network)
        began = time.process_time()
        simulator.run(simulated_s)
        took = time.process_time() - began
        return Reached(simulated_s / took, simulated_s, world.num_molecules(first) / size**3)

    return call


def readdy(problem: str, size: int, m: int) -> Run:
    """Brownian dynamics with Doi reactions: pairs within a radius react at the rate that gives the constant."""
    import readdy as rd  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    from readdy._internal.readdybinding import common  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    common.set_logging_level("error")  # or it writes between the rows
    system = rd.ReactionDiffusionSystem([size] * 3, periodic_boundary_conditions=[True] * 3, unit_system=None)
    for name, diffusivity in {**DIFFUSIVITY[problem], "source": 0.0}.items():
        system.add_species(name, diffusivity)
    add, near = system.reactions, _READDY_RADIUS_UM
    pair = 0.1 / m / (4 / 3 * np.pi * near**3)
    if problem == "abc":
        add.add_fusion("bind", "A", "B", "C", pair, near)
        add.add_fission("unbind", "C", "A", "B", 0.1, near)
        add.add_decay("lose", "A", 0.1)
        add.add_fission("make", "source", "source", "A", 0.1 * m, 0.5, weight1=0.0, weight2=1.0)
    else:
        add.add_fusion("bind", "E", "R", "B", pair, near, weight1=1.0, weight2=0.0)
        add.add_fission("take", "B", "I", "R", 0.1, 1e-3)
        add.add_decay("lose", "I", 0.05)
        add.add_fission("make", "source", "source", "E", 0.15, 0.5, weight1=0.0, weight2=1.0)

    def run(seed: int, steps: int) -> tuple[float, float]:
        simulation = system.simulation(kernel="CPU", reaction_handler="UncontrolledApproximation")
        simulation.kernel_configuration.n_threads = 1
        simulation.show_progress = False
        rng = np.random.default_rng(seed)
        corners = np.stack(np.unravel_index(np.arange(size**3), (size,) * 3), -1) - size / 2

        def scatter(name: str, where: np.ndarray, number: int) -> None:
            places = np.repeat(where, number, 0)
            simulation.add_particles(name, places + rng.random(places.shape))

        for name in "ABC" if problem == "abc" else "E":
            scatter(name, corners, m)
        if problem == "uptake":
            for name, number in IN_CELL.items():
                scatter(name, corners[cells(size, seed)], number)
        scatter("source", corners, 1)
        found: list[Any] = []
        first = next(iter(DIFFUSIVITY[problem]))
        simulation.observe.number_of_particles(steps, [first], callback=found.append)
        began = time.process_time()
        simulation.run(steps, _READDY_STEP_S, show_summary=False)
        return time.process_time() - began, float(found[-1][0])

    def call(seed: int) -> Reached:
        (short_s, _), (long_s, molecules) = (run(seed, steps) for steps in _READDY_STEPS)
        few, many = _READDY_STEPS
        return Reached((many - few) * _READDY_STEP_S / (long_s - short_s), many * _READDY_STEP_S, molecules / size**3)

    return call


def spatialpy(problem: str, size: int, m: int) -> Run:
    """Its C++ solver."""
    with optimised():
        short, long = (_spatialpy_run(problem, size, m, s) for s in _SPATIALPY_S)

    def call(seed: int) -> Reached:
        few, many = _SPATIALPY_S
        (short_s, _), (long_s, molecules) = short(seed), long(seed)
        return Reached((many - few) / (long_s - short_s), many, molecules / size**3)

    return call


def _spatialpy_run(problem: str, size: int, m: int, until_s: float) -> Callable[[int], tuple[float, float]]:
    """From a seed to seconds of a core, and molecules of the first species at the end."""
    import spatialpy as sp  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    side = (0, size - 1)
    domain = sp.Domain.create_3D_domain(side, side, side, size, size, size, type_id="fluid", rho=1.0, fixed=True)
    if problem == "uptake":
        domain.type_id = domain.type_id.astype("U16")
        domain.type_id[cells(size, 1)] = "type_cell"
    model = sp.Model(name=problem)
    model.add_domain(domain)
    model.add_species([sp.Species(name=n, diffusion_coefficient=d) for n, d in DIFFUSIVITY[problem].items()])
    for name in "ABC" if problem == "abc" else "E":
        model.add_initial_condition(sp.UniformInitialCondition(name, m))
    if problem == "uptake":
        for name, number in IN_CELL.items():
            model.add_initial_condition(sp.UniformInitialCondition(name, number, types=["type_cell"]))
    rules: dict[str, tuple[dict[str, int], dict[str, int], float]] = {
        "abc": {
            "bind": ({"A": 1, "B": 1}, {"C": 1}, 0.1 / m),
            "unbind": ({"C": 1}, {"A": 1, "B": 1}, 0.1),
            "lose": ({"A": 1}, {}, 0.1),
            "make": ({}, {"A": 1}, 0.1 * m),
        },
        "uptake": {
            "bind": ({"E": 1, "R": 1}, {"B": 1}, 0.1 / m),
            "take": ({"B": 1}, {"I": 1, "R": 1}, 0.1),
            "lose": ({"I": 1}, {}, 0.05),
            "make": ({}, {"E": 1}, 0.15),
        },
    }[problem]
    for name, (educts, products, rate) in rules.items():
        model.add_parameter(sp.Parameter(name=f"k_{name}", expression=rate))
        model.add_reaction(sp.Reaction(name=name, reactants=educts, products=products, rate=f"k_{name}"))
    model.timespan(sp.TimeSpan([0.0, until_s], timestep_size=until_s))
    solver = sp.Solver(model)
    solver.compile()
    first = next(iter(DIFFUSIVITY[problem]))

    def call(seed: int) -> tuple[float, float]:
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = solver.run(seed=seed, number_of_threads=1, verbose=False)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        return took, float(np.asarray(result.get_species(first, timepoints=[-1])).sum())

    return call


PEERS = {"ecell4": ecell4, "readdy": readdy, "spatialpy": spatialpy}


def peers(problem: str, size: int, m: int) -> dict[str, Run]:
    """Those that can run a problem of this size."""
    small = size**3 * m <= _LARGEST
    return {name: make(problem, size, m) for name, make in PEERS.items() if small or name == "ecell4"}
