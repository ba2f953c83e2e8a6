"""Programs that are read in place of tracing: the same numbers, and never those of something else."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import exodiff as ex
from exodiff.build import build
from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE
from exodiff.exact.clock import split_time
from exodiff.runner import traced
from exodiff.runner.compiled import advance_all, advance_exactly, begin_all
from exodiff.runner.directory import RunDirectory
from exodiff.start import make_inputs, start_array

MODEL = {
    "schema": 1,
    "lattice": {"shape": [3, 2, 2], "spacing": "10 um"},
    "species": {"EV": {"decay": "0.1 /s", "initial": {"poisson": 20}}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for what is traced; what this process has read is forgotten."""
    monkeypatch.setattr(traced, "kept_in", lambda: tmp_path / "traced")
    monkeypatch.setattr(traced, "_programs", {})
    return tmp_path / "traced"


def forget():
    """What another process would not know."""
    traced._programs.clear()


class Case:
    """The arguments of what advances a model."""

    def __init__(self, engine: str = "leap", replicates: int = 1):
        run = {"duration": "10 s", "engine": engine} | ({} if engine == "exact" else {"time_step": "1 s"})
        self.model = ex.Model.from_dict({**MODEL, "run": run})
        self.problem, self.replicates = self.model.problem, replicates
        self.inputs, self.seed = make_inputs(self.model, None, "float32"), jnp.asarray(7, BITS_DTYPE)
        start = start_array(self.model, self.problem)
        begin = partial(begin_all, self.problem, replicates=replicates)
        self.begin = lambda: begin(self.inputs, start, self.seed)
        self.function = advance_exactly if engine == "exact" else advance_all

    def given(self):
        state = self.begin()
        if state.clock is not None:
            return (self.inputs, self.seed, state, split_time(3.0, "float32"), jnp.asarray(50, BITS_DTYPE))
        interval = (jnp.zeros(()), jnp.ones(()))
        return (self.inputs, self.seed, state, interval, jnp.zeros((), COUNT_DTYPE), jnp.asarray(2, COUNT_DTYPE))

    def like(self):
        state = self.begin()
        return state if state.clock is None else (state, state.health)

    def prepared(self, function=None):
        given, like = self.given(), self.like()
        return traced.prepare(function or self.function, self.problem, given, like, replicates=self.replicates)()

    def expected(self):
        return self.function(self.problem, *self.given(), replicates=self.replicates)


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def refusing(function):
    """The same function, which may not be traced."""

    def traced_anew(*_args, **_kwargs):
        raise AssertionError("traced again")

    traced_anew.__qualname__ = function.__qualname__
    return traced_anew


@pytest.mark.parametrize(("engine", "replicates"), [("leap", 1), ("leap", 3), ("exact", 2)])
def test_another_process_reads_what_was_traced_and_finds_the_same(folder, engine, replicates):
    case = Case(engine, replicates)
    expected = case.expected()
    assert_same(case.prepared()(*case.given()), expected)
    assert len(list(folder.iterdir())) == 1
    forget()
    assert_same(case.prepared(refusing(case.function))(*case.given()), expected)


def test_the_next_run_of_this_process_compiles_nothing(folder, monkeypatch):
    case = Case()
    case.prepared()
    monkeypatch.setattr(traced, "_read_or_trace", refusing(traced._read_or_trace))
    assert_same(case.prepared()(*case.given()), case.expected())


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:500] + b"x" + b[501:], lambda _: b"", lambda _: b"x" * 99]
)
def test_a_damaged_file_is_traced_anew_and_replaced(folder, damage):
    case = Case()
    case.prepared()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    forget()
    assert_same(case.prepared()(*case.given()), case.expected())
    forget()
    case.prepared(refusing(case.function))


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(folder):
    folder.mkdir()
    left, written = folder / ".tmp-1-left", folder / ".tmp-2-written"
    for path in (left, written):
        path.touch()
    os.utime(left, (0.0, 0.0))
    Case().prepared()
    assert not left.exists()
    assert written.exists()


def test_what_cannot_be_kept_runs_all_the_same(folder):
    folder.write_text("in the way")
    case = Case()
    assert_same(case.prepared()(*case.given()), case.expected())
    assert folder.read_text() == "in the way"


def test_what_cannot_be_written_down_runs_all_the_same(folder):
    case = Case()

    def calling_back(*given, **named):
        found = case.function(*given, **named)
        pair = jax.pure_callback(lambda pair: pair, jax.ShapeDtypeStruct((1,), "uint32"), found.pair)
        return replace(found, pair=pair)

    assert_same(case.prepared(calling_back)(*case.given()), case.expected())
    assert not folder.exists()


def test_nothing_is_kept_without_a_cache(monkeypatch):
    monkeypatch.setattr(traced, "kept_in", lambda: None)
    monkeypatch.setattr(traced, "_read_or_trace", refusing(traced._read_or_trace))
    case = Case()
    assert_same(case.prepared()(*case.given()), case.expected())


def test_anything_that_tracing_depends_on_gives_another_file(folder, monkeypatch):
    case = Case()
    case.prepared()
    files = set(folder.iterdir())

    def assert_another():
        forget()
        case.prepared()
        more = set(folder.iterdir())
        assert len(more) == len(files) + 1
        files.update(more)

    case.problem = replace(case.problem, exit_limit=0.25)
    assert_another()
    case.replicates = 2
    begin = partial(begin_all, case.problem, replicates=2)
    case.begin = lambda: begin(case.inputs, start_array(case.model, case.problem), case.seed)
    assert_another()
    monkeypatch.setattr(traced, "_sources", lambda: b"another version of exodiff")
    assert_another()
    monkeypatch.setattr(traced.metadata, "version", lambda _: "another")
    assert_another()
    with jax.default_matmul_precision("highest"):
        assert_another()
        forget()
        case.prepared(refusing(case.function))


def test_equal_problems_are_one_program_whatever_their_steps(folder, tmp_path):
    model = ex.load(Path(__file__).parents[2] / "configs" / "therapy.toml")
    begun = RunDirectory(tmp_path / "run")
    begun.begin(model.config, None)
    again = build(begun.config())
    names = {
        traced._name([], b"", "advance_all", problem)
        for problem in (model.problem, again.problem, replace(model.problem, step_bound_s=9.0))
    }
    assert len(names) == 1


def test_code_that_changed_after_it_was_loaded_is_not_kept(folder, monkeypatch):
    case = Case()
    case.prepared()
    forget()
    monkeypatch.setattr(ex, "LOADED_AT_S", 1e9)
    monkeypatch.setattr(traced, "_read_or_trace", refusing(traced._read_or_trace))
    assert_same(case.prepared()(*case.given()), case.expected())


def test_what_an_editor_leaves_beside_the_code_does_not_count(folder, monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(traced, "_PACKAGE", package)
    monkeypatch.setattr(ex, "LOADED_AT_S", 1e11)
    known = traced._sources()
    (package / ".#a.py").symlink_to("nobody@nowhere:1")
    assert traced._sources() == known is not None
    (package / "b.py").symlink_to("nowhere.py")
    assert traced._sources() is None
    for path in package.iterdir():
        path.unlink()
    assert traced._sources() is None


def test_only_some_programs_are_held(folder, monkeypatch):
    monkeypatch.setattr(traced, "_MOST_PROGRAMS", 2)
    case = Case()
    for limit in (0.1, 0.2, 0.3):
        case.problem = replace(case.problem, exit_limit=limit)
        case.prepared()
    assert len(traced._programs) == 2


@pytest.mark.parametrize(
    "run",
    [
        {"time_step": "1 s"},
        {"time_step": "1 s", "engine": "mean_field"},
        {"time_step": "1 s", "precision": "float64", "replicates": 2},
        {"engine": "exact", "precision": "float64", "replicates": 2},
    ],
)
def test_runs_are_the_same_without_a_cache_with_one_and_in_the_next_process(folder, tmp_path, monkeypatch, run):
    initial = 20 if run.get("engine") == "mean_field" else {"poisson": 20}
    species = {"EV": {"decay": "0.1 /s", "initial": initial}}
    model = ex.Model.from_dict(
        {**MODEL, "species": species, "run": {"duration": "20 s", "observe_every": "5 s", **run}}
    )

    def observed(name):
        assert ex.run(model, tmp_path / name, figures=False).finished
        return (tmp_path / name / "observables.csv").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(traced, "kept_in", lambda: None)
        expected = observed("none")
    assert observed("first") == expected
    (path,) = folder.iterdir()
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(traced.export, "export", refusing(traced.export.export))
        assert observed("next") == expected
    assert list(folder.iterdir()) == [path]


ON_ANOTHER_DEVICE = """
import sys
from pathlib import Path
import jax
import exodiff as ex
from exodiff.runner import traced

traced.kept_in = lambda: Path(sys.argv[1]) / "traced"
run = {"duration": "4 s", "observe_every": "4 s", "time_step": "1 s"}
model = ex.Model.from_dict({
    "schema": 1, "run": run, "lattice": {"shape": [3, 3, 3], "spacing": "10 um"},
    "species": {"EV": {"decay": "0.1 /s", "initial": {"poisson": 20}}},
})
for place, device in enumerate(jax.devices()):
    with jax.default_device(device):
        ex.run(model, f"{sys.argv[1]}/{place}", figures=False)
"""


def test_a_run_on_another_device_does_not_take_the_program_of_the_first(tmp_path):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "-c", ON_ANOTHER_DEVICE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = ((tmp_path / name / "observables.csv").read_bytes() for name in "01")
    assert first == second


def test_the_folder_is_that_of_the_compilation_cache():
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for folder, is_used, expected in (
            ("/some/where", True, "/some/where/traced"),
            ("/some/where", False, None),
            (None, True, None),
            ("gs://bucket/x", True, None),
        ):
            jax.config.update(names[0], folder)
            jax.config.update(names[1], is_used)
            found = traced.kept_in()
            assert (found and str(found)) == expected
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
