"""Two organs in one run: nothing passes between them but through plasma, and each has the law of the lattice alone."""

import numpy as np
import pytest
from scipy import stats

import exodiff as ex

HOPS_PER_S = 0.5
CONCENTRATION = {"kind": "concentration", "unit": "nM", "diffusion": "1 um^2/s"}


def model(lattices, **tables):
    lattice = {name: {"spacing": "1 um", **given} for name, given in lattices.items()}
    return ex.Model.from_dict({"schema": 1, "run": {"duration": "1000 s"}, "lattice": lattice, **tables})


def busy(lattices, **tables):
    """Vesicles that hop, cells that divide, spawn, walk up a gradient and count neighbours; all of it in the lung."""
    return model(
        lattices,
        cells={"a": {"motility": "0.02 um^2/s", "chemotaxis": {"up": "scent", "strength": 2.0}}, "b": {}},
        species={
            "EV": {"diffusion": "0.5 um^2/s"},
            "held": {"in": "cell", "initial": 9},
            "seen": {},
            "scent": {**CONCENTRATION, "solve": "steady", "decay": "0.1 /s"},
            "slow": {**CONCENTRATION, "solve": "implicit"},
        },
        parameters={"k": "0.01 /s"},
        reactions=[
            {"equation": "-> EV", "rate": "3 /s", "region": "lung"},
            {"equation": "a -> 2 a", "rate": "0.05 /s"},
            {"equation": "a -> a + b", "rate": "0.03 /s"},
            {"equation": "-> b", "rate": "k * near(a)"},
            {"equation": "-> seen", "rate": "100 * k * near(b)"},
            {"equation": "a -> a + scent", "rate": "10 /s"},
            {"equation": "a -> a + slow", "rate": "10 /s"},
        ],
        place=[{"cells": "a", "layer": {"axis": "x", "from": "2 um", "to": "3 um"}, "region": "lung"}],
        **tables,
    )  # fmt: skip


EVERYTHING = ("EV", "a", "b", "held", "seen", "scent", "slow")


@pytest.mark.slow
def test_nothing_crosses_the_border_in_leap():
    organs = busy({"lung": {"shape": [3, 2]}, "liver": {"shape": [2, 2]}})
    found = ex.simulate(organs, [20.0])
    for name in EVERYTHING:
        assert np.asarray(found[name][:, :, organs.lattices["lung"]]).sum() > 0, name
        assert not np.any(found[name][:, :, organs.lattices["liver"]]), name


@pytest.mark.slow
def test_in_the_mean_an_organ_does_as_it_does_alone():
    lung = {"shape": [3, 2]}
    both = busy({"lung": lung, "liver": {"shape": [2, 2]}})
    together, alone = (
        ex.simulate(each, [20.0], engine="mean_field", time_step=0.1) for each in (both, busy({"lung": lung}))
    )
    for name in EVERYTHING:
        found = np.asarray(together[name])
        np.testing.assert_allclose(found[:, :, both.lattices["lung"]], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)
        assert not np.any(found[:, :, both.lattices["liver"]]), name


def walkers(num_voxels, time_s):
    """Where a walker from voxel 0 of a closed row is after a time."""
    ends = np.isin(np.arange(num_voxels), (0, num_voxels - 1))
    generator = HOPS_PER_S * (np.eye(num_voxels, k=1) + np.eye(num_voxels, k=-1) - np.diag(2.0 - ends))
    values, vectors = np.linalg.eigh(generator)
    return (vectors * np.exp(values * time_s)) @ vectors.T[:, 0]


@pytest.mark.parametrize("engine", ["leap", pytest.param("exact", marks=pytest.mark.slow)])
def test_a_walker_spreads_over_its_organ(engine):
    """Voxel counts of n walkers are multinomial; the gate of chi square has a false alarm in a million, two of them."""
    n = 200_000 if engine == "leap" else 4000
    given = {"diffusion": f"{HOPS_PER_S} um^2/s"}
    organs = model(
        {"lung": {"shape": [4]}, "liver": {"shape": [3]}},
        species={
            "A": {**given, "initial": {"voxel": [0], "count": n}},
            "B": {**given, "initial": {"voxel": [4], "count": n}},
        },
    )
    settings = {} if engine == "exact" else {"time_step": 0.04}
    found = ex.simulate(organs, [2.0], engine=engine, **settings)
    for name, organ, length in (("A", "lung", 4), ("B", "liver", 3)):
        counts = np.asarray(found[name])[0, 0, organs.lattices[organ]]
        assert counts.sum() == n
        wanted = n * walkers(length, 2.0)
        assert np.sum((counts - wanted) ** 2 / wanted) < stats.chi2.isf(1e-6, length - 1)


COPIES = {"lung": 500, "liver": 2000}
FIRST = 10_000_000


def drinking():
    """Four voxels of endothelium in each organ, which take up vesicles of plasma."""
    sizes = {"lung": [3, 4], "liver": [2, 4]}
    return model(
        {name: {"shape": sizes[name], "represents": COPIES[name]} for name in sizes},
        compartments={"plasma": {"volume": "1 uL", "initial": {"EV": FIRST}}},
        species={"EV": {}},
        cells={"wall": {}},
        reactions=[{"name": "enter", "equation": "wall + plasma.EV -> wall + EV", "rate": "1e-8 /s"}],
        place=[{"cells": "wall", "layer": {"axis": "x", "from": 0, "to": "1 um"}}],
        observables={name: {"value": f"events(enter, {name})"} for name in COPIES},
    )


@pytest.fixture(scope="module")
def drunk():
    return ex.simulate(drinking(), list(np.linspace(0.0, 600.0, 7)), replicates=8)


def test_no_molecule_is_lost_between_plasma_and_organs(drunk):
    assert np.all(drunk["plasma.EV"] + drunk.total("EV") + drunk["elsewhere.EV"] == FIRST)
    assert np.all(drunk["elsewhere.EV"][:, -1] > 100_000)


def test_each_organ_drinks_as_one_of_its_copies(drunk):
    """Entries to a copy are Poisson with 4 x 1e-8 /s of what is in plasma, whatever the organ represents."""
    plasma = np.asarray(drunk["plasma.EV"], float).mean(axis=0)
    mean = 4e-8 * float(np.sum(0.5 * (plasma[1:] + plasma[:-1])) * 100.0)
    for organ in COPIES:
        found = np.asarray(drunk.observables[organ], float)[:, -1]
        assert abs(found.mean() - mean) < 4.5 * np.sqrt(mean / len(found)) + 2e-3 * mean


def test_an_organ_gives_back_for_all_of_its_copies():
    """One cell in each organ lets vesicles go to plasma: 500 and 2000 times what one does, and no more in between."""
    sizes = {name: {"shape": [1], "represents": copies} for name, copies in COPIES.items()}
    found = ex.simulate(
        model(
            sizes,
            compartments={"plasma": {"volume": "1 mL"}},
            species={"EV": {}},
            cells={"c": {}},
            reactions=[{"name": "shed", "equation": "c -> c + plasma.EV", "rate": "1 /s"}],
            place=[{"cells": "c", "everywhere": True}],
            observables={name: {"value": f"events(shed, {name})"} for name in COPIES},
        ),
        [50.0],
        replicates=2,
    )
    shed = {name: np.asarray(found.observables[name])[:, 0] for name in COPIES}
    assert np.all(found["plasma.EV"][:, 0] == sum(COPIES[name] * shed[name] for name in COPIES))
    assert all(np.all(each > 0) for each in shed.values())
