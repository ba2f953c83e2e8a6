"""Random bits belong to an address (seed, replicate, step, site, voxel) and to nothing else: all tests demand equality."""

import jax
import numpy as np
import pytest
from models import box_of, counts, make_model, simulate

TIMES = [1.0, 3.0]
STEP = 0.125


def _model(extra=(), observables=None, species=None):
    return make_model(
        [5, 4],
        boundary={"x": "periodic"},
        cells={"source": {"motility": 0.1}},
        place=[{"cells": "source", "box": box_of(1, 2)}],
        species={
            "EV": {"diffusion": 1.0, "initial": {"poisson": 6.0}},
            "load": {"in": "cell", "initial": 3},
            **(species or {}),
        },
        reactions=[
            {"equation": "source -> source + EV", "rate": "5 /s"},
            {"equation": "2 EV ->", "rate": 0.02},
            *extra,
        ],
        observables=observables or {},
    )


@pytest.fixture(scope="module")
def plain():
    return simulate(_model(), TIMES, seed=5, replicates=3, time_step=STEP)


def _equal(a, b):
    return all(np.array_equal(counts(a, name), counts(b, name)) for name in ("EV", "load", "source"))


def test_the_same_seed_gives_the_same_bits(plain):
    assert _equal(simulate(_model(), TIMES, seed=5, replicates=3, time_step=STEP), plain)


def test_another_seed_and_another_replicate_give_other_bits(plain):
    other = simulate(_model(), TIMES, seed=6, replicates=3, time_step=STEP)
    fields = np.concatenate([counts(plain, "EV"), counts(other, "EV")])[:, -1].reshape(6, -1)
    assert len(np.unique(fields, axis=0)) == 6
    # nor is a seed's replicate another seed's: no pair of the six correlates, |r| < 5 sigma over 20 voxels x 2 times
    assert np.abs(np.corrcoef(fields) - np.eye(6)).max() < 0.95


def test_bits_do_not_depend_on_what_is_observed(plain):
    observables = {
        "all": {"value": "total(EV)"},
        "deaths": {"value": "events(r2)"},
        "far": {"profile": {"of": "conc(EV)", "from": "source", "bin": "1 um"}},
    }
    observed = simulate(_model(observables=observables), TIMES, seed=5, replicates=3, time_step=STEP)
    assert _equal(observed, plain)
    assert np.array_equal(np.asarray(observed.observables["all"]), plain.total("EV"))


def test_a_reaction_of_rate_zero_changes_no_other_draw(plain):
    extra = [{"name": "nothing", "equation": "EV + other -> other", "rate": 0.0}]
    species = {"other": {"diffusion": 0.5, "initial": 2}}
    assert _equal(simulate(_model(extra, species=species), TIMES, seed=5, replicates=3, time_step=STEP), plain)


def test_a_replicate_does_not_depend_on_how_many_there_are(plain):
    for replicates in (1, 4):
        found = simulate(_model(), TIMES, seed=5, replicates=replicates, time_step=STEP)
        shared = min(replicates, 3)
        assert np.array_equal(counts(found, "EV")[:shared], counts(plain, "EV")[:shared])


def test_vmap_over_seeds_equals_a_loop_and_jit_equals_plain(plain):
    model = _model()

    @jax.jit
    def run(seed):
        return simulate(model, TIMES, seed=seed, replicates=3, time_step=STEP)["EV"]

    seeds = np.asarray([5, 77], np.uint32)
    assert np.array_equal(np.asarray(run(seeds[0])), counts(plain, "EV"))
    batched = np.asarray(jax.jit(jax.vmap(run))(seeds))
    assert np.array_equal(batched[0], counts(plain, "EV"))
    assert np.array_equal(batched[1], np.asarray(run(seeds[1])))
