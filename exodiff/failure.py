"""Why a replicate cannot go on, as an error: which reaction or species, in which voxel, when, what to do."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.concentrations import unsolved
from exodiff.core.errors import SimulationError
from exodiff.core.health import ADVICE, Health
from exodiff.growth import growth_rate
from exodiff.kernels.crossings import arrival_rates
from exodiff.kernels.pools import is_beyond, pool_rate
from exodiff.kernels.rates import Voxels, propensity, rate_factor
from exodiff.model.network import DrawKind
from exodiff.observe import current_inputs
from exodiff.problem import Inputs, Problem
from exodiff.processes import on_host
from exodiff.state import State
from exodiff.stepsize import diffusivities, drawn_losses, exits_by_species, hops_by_species, pool_exits


def raise_if_stopped(
    where: str, problem: Problem, inputs: Inputs, states: State, time_of: Callable[[int], float], then: str = ""
) -> None:
    """Raise the error of the first replicate whose health is not good, if there is one.

    Args:
        where: the call or the run directory.
        problem: the static structure.
        inputs: of the simulation.
        states: with a leading axis of replicates; a replicate that stopped is still as it was then.
        time_of: the time after some pairs of steps; the clock of ``exact`` knows its own.
        then: what else the user should know, e.g. that the last checkpoint is intact.

    """
    bad = np.flatnonzero(on_host(states.health) != Health.GOOD)
    if not bad.size:
        return
    replicate = int(bad[0])
    state = jax.tree.map(lambda a: jnp.asarray(a[replicate]), on_host(states))
    inputs = jax.tree.map(jnp.asarray, on_host(inputs))
    time_s = time_of(int(state.pair)) if state.clock is None else float(state.clock.time_s[0])
    told = f"replicate {replicate} stopped at {time_s:g} s: {explain(problem, inputs, state, time_s)}"
    raise SimulationError(where, f"{told}; {then}" if then else told)


def explain(problem: Problem, inputs: Inputs, state: State, time_s: float) -> str:
    """Say in one line why a state cannot advance: the species or reaction, the voxel, the advice."""
    health = Health(int(state.health))
    inputs = current_inputs(problem, inputs, state)
    voxels = Voxels(problem, inputs, state.counts, jnp.asarray(time_s, problem.precision))
    causes = {
        Health.STEP_TOO_LONG: _too_fast,
        Health.NOT_A_NUMBER: _wrong_rate,
        Health.NEGATIVE_RATE: _wrong_rate,
    }
    if health is Health.NOT_SOLVED:
        assert state.concentrations is not None
        species = unsolved(voxels, state.concentrations)
        return f"the equation of {species or 'a concentration'} has no solution; {ADVICE[health]}"
    cause = _overflow(voxels, state.pools) if health is Health.OVERFLOW else causes[health](voxels)
    return f"{cause}; {ADVICE[health]}" if cause else ADVICE[health]


def _overflow(voxels: Voxels, pools: jax.Array | None) -> str:
    problem, network = voxels.problem, voxels.problem.network
    missing = np.asarray(voxels.counts) < 0
    if missing.any():
        species, *voxel = _first(missing)
        return f"the count of {network.species[species]} in voxel {_user(problem, voxel)} is out of range"
    beyond = np.asarray(is_beyond(problem, pools))
    if beyond.any():
        return f"the amount of {problem.pools.names[int(np.argmax(beyond))]} is out of range"
    sources = {
        f"{channel.name} makes": _field(voxels, propensity(voxels, channel))
        for channel in network.channels
        if channel.kind is DrawKind.POISSON
    }
    return _largest(problem, sources, "{what} {value:.3g} a second in voxel {voxel}")


def _too_fast(voxels: Voxels) -> str:
    """The exit rate, the growth or the hops that are most over the limit of the step."""
    problem, network = voxels.problem, voxels.problem.network
    exits = {f"the exit rate of {network.species[s]}": _field(voxels, r) for s, r in exits_by_species(voxels).items()}
    outside = {**drawn_losses(voxels), **pool_exits(voxels)}
    exits |= {f"the exit rate of {name}": _field(voxels, r) for name, r in outside.items()}
    fastest = max((rate.max() for rate in exits.values()), default=0.0)
    growth = float(growth_rate(voxels))
    hops = {
        network.species[s]: float(rate) / problem.parts_of(s) * problem.exit_limit / problem.hop_limit
        for s, rate in hops_by_species(problem, voxels.inputs, voxels).items()
    }
    mover = max(hops, key=lambda name: hops[name], default="")
    if mover and hops[mover] > max(fastest, growth):
        return f"{mover} diffuses or drifts too fast for the step"
    if growth > fastest:
        return f"species that make each other grow at {growth:.3g} /s"
    return _largest(problem, exits, "{what} in voxel {voxel} has grown to {value:.3g} /s")


def _wrong_rate(voxels: Voxels) -> str:
    problem = voxels.problem
    for what, rate in _rates(voxels):
        wrong = ~np.isfinite(rate) | (rate < 0)
        if wrong.any():
            voxel = _first(wrong)
            return f"{what} in voxel {_user(problem, voxel)} is {rate[tuple(voxel)]:.3g}"
    for name in problem.settings:
        if not np.isfinite(value := float(voxels.inputs.parameters[name])):
            return f"an intervention set {name} to {value:.3g}"
    return ""


def _rates(voxels: Voxels) -> Iterator[tuple[str, np.ndarray]]:
    """All rates of a state, with what each is."""
    problem, network = voxels.problem, voxels.problem.network
    for channel in network.channels:
        yield f"the rate of {channel.name}", _field(voxels, rate_factor(voxels, channel))
    for reaction in problem.pools.reactions:
        yield f"the rate of {reaction.name}", _field(voxels, pool_rate(voxels, reaction))
    for crossing in problem.pools.crossings:
        yield f"the rate of {crossing.channel.name}", _field(voxels, arrival_rates(voxels, crossing))
    for species, diffusivity in diffusivities(problem, voxels.inputs, voxels).items():
        yield f"the diffusivity of {network.species[species]}", _field(voxels, diffusivity)
    for name, motility in zip(network.cell_types, network.motility, strict=True):
        if motility is not None:
            yield f"the motility of {name}", _field(voxels, voxels.evaluate(motility))
    for channel in network.channels:
        yield f"the propensity of {channel.name}", _field(voxels, propensity(voxels, channel))


def _field(voxels: Voxels, rate: jax.Array) -> np.ndarray:
    return np.broadcast_to(np.asarray(rate), voxels.problem.grid.shape)


def _largest(problem: Problem, rates: dict[str, np.ndarray], text: str) -> str:
    """The text with the largest rate of all voxels, its name, and where it is."""
    if not rates:
        return ""
    what = max(rates, key=lambda name: rates[name].max())
    value = rates[what].max()
    voxel = _first(rates[what] == value)
    return text.format(what=what, value=value, voxel=_user(problem, voxel))


def _first(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape)]


def _user(problem: Problem, voxel: list[int]) -> list[int]:
    return voxel[: problem.grid.num_axes]
