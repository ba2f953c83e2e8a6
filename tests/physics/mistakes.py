"""Mistakes to plant in the package: each takes a monkeypatch and spoils one thing."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from exodiff import operations, passes, trajectories
from exodiff import step as stepping
from exodiff.core import evaluation
from exodiff.kernels import cell_events, clocks, diffusion, draws, hopping, policies
from exodiff.kernels.neighbours import seen_from
from exodiff.lattice.grid import Grid
from exodiff.model.network import DrawKind
from tests.physics.checks import basics, continuum, counting, flow, leap_error, leap_models, step_matrix, transport


def forget() -> None:
    """Forget everything that was compiled or kept before a mistake was planted or taken away."""
    jax.clear_caches()
    checks = (basics, continuum, counting, flow, leap_error, leap_models, step_matrix, transport)
    for module in (operations, passes, hopping, *checks):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def pairs_as_squares(patch):
    """x^2 in place of x (x - 1), as long as there are two."""
    right = clocks.MassAction.propensity

    def squares(self, events, *, falling=True):
        del falling
        return jnp.where(events < self.capacity(), right(self, events, falling=False), 0.0)

    patch.setattr(clocks.MassAction, "propensity", squares)


def missing_fluid_fraction(patch):
    """The whole voxel as the volume of its fluid."""
    volume = property(lambda self: self.spacing_um[0] * self.spacing_um[1] * self.spacing_um[2])
    patch.setattr(Grid, "fluid_volume_um3", volume)


def leaking_wall(patch):
    """One in a thousand of those that meet the lower wall is lost."""
    right = passes.net_gain

    def leaky(flows, grid, axis):
        gain = right(flows, grid, axis)
        wall = diffusion.at_wall(grid, axis, 0)
        place = jnp.arange(gain.size, dtype=jnp.uint32).reshape(gain.shape)
        chance = ((flows[1] + 3 * flows[2] + 7 * gain).astype(jnp.uint32) + place * 40503) * jnp.uint32(2654435761)
        return gain - jnp.where(wall & (flows[1] > 0), (chance >> 8) % 1000 < flows[1], 0).astype(gain.dtype)

    patch.setattr(passes, "net_gain", leaky)


def bits_shared_by_voxels(patch):
    """All voxels at one address."""
    patch.setattr(stepping, "voxel_index", lambda shape: jnp.zeros(shape, jnp.uint32))


def _readdress(patch, change: Callable[..., tuple]) -> None:
    """Let each pair draw at the (replicate, pair) that ``change`` gives."""
    right = trajectories.advance_pair

    def wrong(problem, inputs, seed, replicate, state, time_s, dt_s, tables):
        replicate, used = change(replicate, state.pair)
        advanced, tables = right(problem, inputs, seed, replicate, replace(state, pair=used), time_s, dt_s, tables)
        return replace(advanced, pair=state.pair + jnp.uint32(1)), tables

    patch.setattr(trajectories, "advance_pair", wrong)


def bits_shared_by_steps(patch):
    """Every pair of steps at the address of the first."""
    _readdress(patch, lambda replicate, pair: (replicate, jnp.zeros_like(pair)))


def bits_shared_by_replicates(patch):
    """Every replicate at the address of the first."""
    _readdress(patch, lambda replicate, pair: (jnp.zeros_like(replicate), pair))


def bits_shared_by_reactions(patch):
    """All reactions and hops at one site."""
    patch.setattr(passes, "site_id", lambda name: 7)


def output_one_pair_early(patch):
    """Each stretch ends a pair of steps too soon."""
    right = trajectories.advance
    patch.setattr(trajectories, "advance", lambda *a: right(*a[:-1], a[-1] - 1))


def clipped_poisson(patch):
    """Poisson numbers of events, no more than there are molecules."""

    def clipped(self, stream, index, number, n, p):
        return jnp.minimum(draws.poisson(stream, index, number, n * p), n)

    patch.setattr(policies.Discrete, "binomial", clipped)


def linear_probability(patch):
    """k dt in place of 1 - exp(-k dt)."""
    right = passes.draw_inputs

    def wrong(voxels, channel, dt_s):
        inputs = right(voxels, channel, dt_s)
        if channel.kind is not DrawKind.BINOMIAL:
            return inputs
        return inputs._replace(real=jnp.minimum(-jnp.log1p(-inputs.real), 1.0))

    patch.setattr(passes, "draw_inputs", wrong)


def rounded_halves(patch):
    """The larger half always goes up."""
    patch.setattr(hopping.halving, "first_ones", lambda word, n: (n + 1) // 2)


def single_hops(patch):
    """Hops to the next voxel only."""

    def gain(policy, stream, index, n, law, place, collect):
        hops = 0.5 * law.moves / (1.0 + 0.5 * law.far)
        movers = policy.binomial(stream, index, 0, n, jnp.broadcast_to(2.0 * hops, n.shape))
        up = policy.half(stream, index, 4, movers)
        return collect.of_flows((jnp.zeros_like(n), movers - up, up, jnp.zeros_like(n)), place)

    def mean_gain(n, hops, grid, axis):
        next_to = [seen_from(n, grid, axis, step) for step in (-1, 1)]
        return hops * (sum(next_to) - 2.0 * n)

    patch.setattr(passes, "even_hop_gain", gain)
    patch.setattr(passes, "even_mean_gain", mean_gain)


def never_backwards(patch):
    """Hops first in every step."""
    patch.setattr(passes, "backward_order", lambda problem: tuple(range(len(operations.operations(problem)))))
    patch.setattr(step_matrix, "backward_order", lambda problem: tuple(range(len(operations.operations(problem)))))


def arithmetic_face_mean(patch):
    """The mean of D across a face between unlike voxels."""

    def rates(diffusivity, grid, axis, velocity):
        del velocity
        d = jnp.broadcast_to(diffusivity, grid.shape)
        found = []
        for side, step in enumerate((-1, 1)):
            inner = 0.5 * (d + seen_from(d, grid, axis, step)) / grid.spacing_um[axis] ** 2
            found.append(jnp.where(diffusion.at_wall(grid, axis, side), 0.0, inner))
        return diffusion.HopRates(*found)

    patch.setattr(passes, "hop_rates", rates)


def wall_at_the_next_centre(patch):
    """D / h^2 through an absorbing wall in place of 2 D / h^2."""
    right = passes.hop_rates

    def rates(*arguments):
        both, (_, grid, axis, _) = right(*arguments), arguments
        walls = [diffusion.at_wall(grid, axis, side) for side in (0, 1)]
        return diffusion.HopRates(*(jnp.where(w, 0.5 * r, r) for r, w in zip(both, walls, strict=True)))

    patch.setattr(passes, "hop_rates", rates)


def flow_backwards(patch):
    """The velocity at a face with the other sign."""
    right = diffusion.face_velocity
    patch.setattr(diffusion, "face_velocity", lambda *arguments: -right(*arguments))


def upwind_hops(patch):
    """D / l and all that the flow carries, in place of the fitted rates: the mean moves as it should."""
    patch.setattr(diffusion, "crossing_speed", lambda d, v, length: d / length + jnp.maximum(v, 0.0))


def velocity_of_the_voxel(patch):
    """The velocity at the centre in place of that at the face; walls as they are."""
    right = diffusion.face_velocity

    def wrong(v, grid, axis, side):
        return jnp.where(diffusion.at_wall(grid, axis, side), right(v, grid, axis, side), v)

    patch.setattr(diffusion, "face_velocity", wrong)


def division_loses_a_molecule(patch):
    """A daughter arrives with one molecule less."""
    right = cell_events.carrier

    def wrong(*arguments):
        def take_along(content):
            leaving, entering = right(*arguments)(content)
            return leaving, jnp.maximum(entering - 1, 0)

        return take_along

    patch.setattr(cell_events, "carrier", wrong)


def hill_without_power(patch):
    """x / (K + x) whatever n."""
    right = evaluation.hill
    patch.setitem(evaluation._FUNCTIONS, "hill", lambda xp, x, half, n: right(xp, x, half, 1.0))


def bursts_of_one_size(patch):
    """The mean in place of a random burst."""

    def wrong(policy, stream, index, voxels, channel, place, events):
        return (events * voxels.evaluate(channel.bursts[place].burst.arguments[-1])).astype(events.dtype)

    patch.setattr(passes, "burst_size", wrong)
