"""Random bits belong to an address (seed, replicate, step, site, voxel) and to nothing else: equality is demanded."""

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
            **(species or {}),
            "EV": {"diffusion": 1.0, "initial": {"poisson": 6.0}},
            "load": {"in": "cell", "initial": 3},
        },
        reactions=[
            *extra,
            {"name": "release", "equation": "source -> source + EV", "rate": "5 /s"},
            {"name": "loss", "equation": "2 EV ->", "rate": 0.02},
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
    assert len(np.unique(fields, axis=0)) == 6  # so no replicate of a seed is one of another seed


def test_bits_do_not_depend_on_what_is_observed_nor_on_a_reaction_of_rate_zero(plain):
    observables = {
        "all": {"value": "total(EV)"},
        "deaths": {"value": "events(loss)"},
        "far": {"profile": {"of": "conc(EV)", "from": "source", "bin": "1 um"}},
    }
    # the new reaction stands first and its species too: sites are named, not numbered
    extra = [{"name": "nothing", "equation": "EV + other -> other", "rate": 0.0}]
    model = _model(extra, observables, {"other": {"diffusion": 0.5, "initial": 2}})
    found = simulate(model, TIMES, seed=5, replicates=3, time_step=STEP)
    assert _equal(found, plain)
    assert np.array_equal(np.asarray(found.observables["all"]), plain.total("EV"))
    assert np.all(np.asarray(found.observables["deaths"])[:, 1] > 0)


def test_a_replicate_does_not_depend_on_how_many_there_are(plain):
    alone = simulate(_model(), TIMES, seed=5, replicates=1, time_step=STEP)
    assert np.array_equal(counts(alone, "EV")[0], counts(plain, "EV")[0])
    assert np.array_equal(counts(alone, "source")[0], counts(plain, "source")[0])


def test_jit_of_vmap_over_seeds_equals_plain_calls(plain):
    model = _model()

    def run(seed):
        return simulate(model, TIMES, seed=seed, replicates=3, time_step=STEP)["EV"]

    batched = np.asarray(jax.jit(jax.vmap(run))(np.asarray([5, 77], np.uint32)))
    assert np.array_equal(batched[0], counts(plain, "EV"))
    assert np.array_equal(batched[1], counts(simulate(model, TIMES, seed=77, replicates=3, time_step=STEP), "EV"))
