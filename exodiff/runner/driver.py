"""Drive one run to its end: advance in chunks, record at scheduled times, checkpoint, stop on a signal."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.build import ConfiguredModel, build
from exodiff.config.load import config_hash
from exodiff.core.arrays import BITS_DTYPE, COUNT_DTYPE
from exodiff.core.errors import CheckpointError, RunDirectoryError
from exodiff.devices import divide, mesh_of, on, placed
from exodiff.exact.clock import split_time
from exodiff.failure import raise_if_stopped
from exodiff.io.lock import RunLock
from exodiff.io.provenance import append_provenance, provenance
from exodiff.processes import anywhere, is_first, of_first, on_host
from exodiff.runner.changes import refuse_changes
from exodiff.runner.checkpoints import Checkpoints, Latest, refuse_unfit
from exodiff.runner.compiled import advance_all, advance_exactly, begin_all, intervene_all, measure_all
from exodiff.runner.directory import RunDirectory
from exodiff.runner.recorder import (
    Recorder,
    changed_tables,
    discard_after,
    missing_snapshots,
    refuse_records,
    write_pieces,
)
from exodiff.runner.signals import StopRequest
from exodiff.runner.traced import Program, prepare
from exodiff.schedule import Schedule, make_schedule
from exodiff.start import make_inputs, precision_context, start_array
from exodiff.state import State
from exodiff.stepsize import SAME_TIME

_CHUNK_S = 0.5  # wall-clock time of one call of the device, so that signals and progress are not kept waiting


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        phase: ``compiling``, ``running``, ``drawing figures`` or ``done``.
        time_s: simulated time reached.
        duration_s: simulated time of the whole run.
        speed: simulated seconds a wall-clock second, 0 if not known yet.

    """

    phase: str
    time_s: float
    duration_s: float
    speed: float = 0.0


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes:
        path: the run directory.
        finished: whether it reached its end; if not, ``exodiff resume`` continues it.
        stopped_by: the signal that stopped it, or None.
        time_s: simulated time reached.
        from_s: simulated time at which it began or went on.
        figures: files drawn.
        warnings: lines for the user, e.g. damaged checkpoints that were passed over.

    """

    path: Path
    finished: bool
    stopped_by: str | None
    time_s: float
    from_s: float = 0.0
    figures: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


Report = Callable[[Progress], None]


@dataclass
class Driver:
    """One run from where it is to its end."""

    model: ConfiguredModel
    directory: RunDirectory
    lock: RunLock | None
    report: Report
    skip_damaged: bool = True
    figures: bool = True
    accept_changes: bool = False
    given: bytes | None = None
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.model.config.run
        self.problem = self.model.problem
        self.replicates = config.replicates
        self.hash = config_hash(self.model.config)
        self.division = divide(self.problem, self.replicates, jax.device_count(), jax.process_count())
        self.mesh = mesh_of(self.division)
        self.schedule = self._make_schedule(())
        self.pairs_elsewhere = 0  # of schedules before this one, if the config was changed

    def _make_schedule(self, cuts_s: tuple[float, ...]) -> Schedule:
        times_s = self.model.config.run
        return make_schedule(
            times_s.duration_s, times_s.observe_every_s, times_s.snapshot_every_s, self.problem, cuts_s
        )

    def drive(self) -> RunResult:
        """Begin or go on, and come to the end or to a signal."""
        with precision_context(self.problem.precision), on(self.mesh), StopRequest() as stop:
            try:
                return self._drive(stop)
            except (RunDirectoryError, CheckpointError):
                self._confirm()  # a directory that is gone is told as such, whatever could not be written to it
                raise

    def _drive(self, stop: StopRequest) -> RunResult:
        shape = self.problem.grid.shape
        self.inputs = placed(self.mesh, make_inputs(self.model, None, self.problem.precision), shape)
        self.seed = jnp.asarray(self.model.config.run.seed, BITS_DTYPE)
        devices = [str(device) for device in jax.devices()]
        if is_first():
            append_provenance(
                self.directory.path,
                provenance(seed=self.model.config.run.seed, config_hash=self.hash, devices=devices),
            )
        with Checkpoints(self.directory.checkpoints, self.model.config) as checkpoints:
            found = checkpoints.latest(
                exact=self.problem.engine == "exact",
                skip_damaged=self.skip_damaged,
                accept_changes=self.accept_changes,
            )
            found = self._accept(found, checkpoints)
            if found is not None:
                refuse_unfit(self.directory.checkpoints, found.state, self._layout_of_state())
                self.schedule = self._make_schedule(found.cuts_s)
                self._refuse_another_place(found)
                self.pairs_elsewhere = int(np.min(found.state.pair)) - found.pairs
                self.warnings += found.warnings
                if found.pairs == self.schedule.num_pairs:
                    self.warnings.append("the run was at its end already; only its figures were drawn again")
            self.report(Progress("compiling", 0.0, self.schedule.duration_s))
            with self._recorder(found) as recorder, _beside() as background:
                pairs = 0 if found is None else found.pairs
                is_done = pairs == self.schedule.num_pairs
                program = None if is_done else background.submit(self._prepared())
                if found is not None:
                    state = placed(self.mesh, found.state, shape, by_replicate=True)
                else:
                    state = self._first_state()
                    self._raise_if_stopped(state)
                    self._record(recorder, 0, state)
                    self._save(recorder, checkpoints, state, 0)
                    checkpoints.wait()  # later records without any checkpoint are not those of a killed run
                if program is not None:
                    pairs = self._advance_to_end(program, recorder, checkpoints, state, pairs, stop)
        time_s, from_s = self.schedule.time_s(pairs), 0.0 if found is None else self.schedule.time_s(found.pairs)
        if pairs < self.schedule.num_pairs:
            stopped_by = stop.received or "a signal to another process"
            return RunResult(self.directory.path, False, stopped_by, time_s, from_s, (), tuple(self.warnings))
        figures = ()
        if self.figures and is_first():
            from exodiff.viz.figures import make_figures  # noqa: PLC0415 - a third of a second before the first step

            self.report(Progress("drawing figures", time_s, time_s))
            figures = tuple(make_figures(self.directory.path))
        anywhere(holds=False)  # the others wait here: waiting to exit, they would be ended after five minutes
        self.report(Progress("done", time_s, time_s))
        return RunResult(self.directory.path, True, None, time_s, from_s, figures, tuple(self.warnings))

    def _accept(self, found: Latest | None, checkpoints: Checkpoints) -> Latest | None:
        """Where the run goes on: with a changed config at a time of its schedule that was put there."""
        if found is None or found.begun is None:
            self._replace_config()
            return found
        keys = refuse_changes(str(self.directory.path), build(found.begun), self.model, found.time_s)
        self._replace_config()
        cuts_s = (*found.cuts_s, found.time_s)
        pairs = self._make_schedule(cuts_s).pairs_at(found.time_s)
        found = found._replace(pairs=pairs, cuts_s=cuts_s, begun=None)
        checkpoints.restart(found)
        self.warnings.append(f"from {found.time_s:g} s on with other {', '.join(keys[:8]) or 'contents of files'}")
        return found

    def _replace_config(self) -> None:
        if is_first():
            self.directory.accept(self.model.config, self.given)

    def _recorder(self, found: Latest | None) -> AbstractContextManager[Recorder | None]:
        """What writes the records; only the first process does."""
        if not is_first():
            return nullcontext()
        if found is None:
            refuse_records(self.directory.path)
            discard_after(self.directory.path, self.problem, -1.0)
        else:
            interval, _ = self.schedule.position(found.pairs)
            # what was recorded before a change may differ from the moment by rounding
            until_s = self.schedule.moments[interval].time_s + SAME_TIME * self.schedule.duration_s
            discard_after(self.directory.path, self.problem, until_s, found.recorded)
            self._tell_lost_records(found)
        recorded = found and found.recorded
        recorder = Recorder(self.directory.path, self.problem, self.model.parameters, self.replicates, recorded)
        self.warnings += recorder.left_out()
        return recorder

    def _tell_lost_records(self, found: Latest) -> None:
        """Rows cannot be put back once others follow them, snapshots can."""
        if found.recorded is None:
            return
        changed = list(changed_tables(self.directory.path, self.problem, found.recorded))
        if changed and not self.skip_damaged:
            advice = "put it back from a copy, or go on with what is there by from_last_good=True"
            raise RunDirectoryError("", f"{changed[0]}; {advice}")
        self.warnings += [*changed, *missing_snapshots(self.directory.path, found.recorded)]

    def _refuse_another_place(self, found: Latest) -> None:
        """A checkpoint that stands where the schedule does not was made by hand, or by another version."""
        pairs = found.pairs
        if pairs > self.schedule.num_pairs or not math.isclose(self.schedule.time_s(pairs), found.time_s, rel_tol=1e-9):
            told = (
                f"the newest checkpoint claims {pairs} pairs of steps at {found.time_s:g} s, which the config does not "
            )
            raise CheckpointError(str(self.directory.checkpoints), f"{told}give; remove it, or run anew")

    def _layout_of_state(self) -> State:
        given = (self.problem, self.inputs, start_array(self.model, self.problem), self.seed)
        return begin_all.whole.eval_shape(*given, replicates=self.replicates)

    def _first_state(self) -> State:
        start = placed(self.mesh, start_array(self.model, self.problem), self.problem.grid.shape)
        state = begin_all(self.problem, self.inputs, start, self.seed, replicates=self.replicates)
        # bound to its device as later ones are, or what measures them is compiled for this one alone
        return state if self.mesh is not None else jax.device_put(state, state.pair.device)

    def _prepared(self) -> Callable[[], Program]:
        """What compiles what advances the states: beside this thread, while the first state is made and recorded."""
        function = advance_exactly if self.problem.engine == "exact" else advance_all
        if self.mesh is not None:
            return lambda: partial(function, self.problem, replicates=self.replicates)
        state = self._layout_of_state()
        real, whole = jnp.zeros((), self.problem.precision), jnp.zeros((), COUNT_DTYPE)
        if state.clock is None:
            like, rest = state, ((real, real), whole, whole)
        else:
            like = (state, state.health)
            rest = (split_time(0.0, self.problem.precision), jnp.zeros((), BITS_DTYPE))
        given = (self.inputs, self.seed, state, *rest)
        return prepare(function, self.problem, given, like, replicates=self.replicates)

    def _advance_to_end(
        self,
        program: Future[Program],
        recorder: Recorder | None,
        checkpoints: Checkpoints,
        state: State,
        pairs: int,
        stop: StopRequest,
    ) -> int:
        every_s = self.model.config.run.checkpoint_every_s
        saved_at, saved_pairs = time.monotonic(), pairs
        chunk, is_compiled, began, began_s = 1, False, time.monotonic(), 0.0
        while pairs < self.schedule.num_pairs:
            interval, inside = self.schedule.position(pairs)
            stretch = self.schedule.intervals[interval]
            started = time.monotonic()
            state, done, work = self._advance(program.result(), state, interval, inside, chunk)
            state.health.block_until_ready()
            if is_compiled:
                chunk = _next_chunk(chunk, work, time.monotonic() - started)
            else:
                is_compiled, began, began_s = True, time.monotonic(), self._time_s(state, pairs + done)
            pairs += done
            self._raise_if_stopped(state)
            if done > 0 and inside + done == stretch.num_pairs:
                state = self._intervene(interval + 1, state)
                self._record(recorder, interval + 1, state)
            self._tell(self._time_s(state, pairs), began_s, time.monotonic() - began)
            # looked at once: a signal between two looks would end the run without its checkpoint
            stops = anywhere(holds=stop.received is not None)
            chunk, is_due = of_first(chunk, time.monotonic() - saved_at >= every_s)
            checkpoints.raise_if_failed()
            if stops or is_due:
                self._save(recorder, checkpoints, state, pairs)
                saved_at, saved_pairs = time.monotonic(), pairs
            if stops:
                return pairs
        if pairs > saved_pairs or pairs == 0:
            self._save(recorder, checkpoints, state, pairs)
        return pairs

    def _time_s(self, state: State, pairs: int) -> float:
        """Simulated time reached by all replicates."""
        reached_s = self.schedule.time_s(pairs)
        return reached_s if state.clock is None else max(reached_s, float(on_host(state.clock.time_s)[:, 0].min()))

    def _tell(self, time_s: float, began_s: float, elapsed_s: float) -> None:
        covered_s = time_s - began_s
        speed = covered_s / elapsed_s if elapsed_s > 0 and covered_s > 0 else 0.0
        self.report(Progress("running", time_s, self.schedule.duration_s, speed))

    def _advance(
        self, program: Program, state: State, interval: int, inside: int, chunk: int
    ) -> tuple[State, int, int]:
        """Advance by at most a chunk: the state, the pairs that are done by it, and how much work it was.

        Work is counted in pairs of steps, or in events in ``exact``, where an interval is one pair and counts as done
        when all replicates are at its end.
        """
        stretch, real = self.schedule.intervals[interval], self.problem.precision
        if state.clock is not None:
            before = on_host(state.clock.number)[:, 0]
            end = split_time(self.schedule.moments[interval + 1].time_s, real)
            state, reached = program(self.inputs, self.seed, state, end, jnp.asarray(chunk, BITS_DTYPE))
            assert state.clock is not None
            return state, int(jnp.all(reached)), int(np.max(on_host(state.clock.number)[:, 0] - before))
        count = min(chunk, stretch.num_pairs - inside)
        numbers = (jnp.asarray(stretch.start_s, real), jnp.asarray(stretch.dt_s, real))
        pairs = (jnp.asarray(inside, COUNT_DTYPE), jnp.asarray(count, COUNT_DTYPE))
        return program(self.inputs, self.seed, state, numbers, *pairs), count, count

    def _intervene(self, moment: int, state: State) -> State:
        planned = self.schedule.moments[moment]
        if not any(planned.fires):
            return state
        time_s = jnp.asarray(planned.time_s, self.problem.precision)
        fires = jnp.asarray(planned.fires)
        state = intervene_all(self.problem, self.inputs, self.seed, state, fires, time_s, replicates=self.replicates)
        self._raise_if_stopped(state)
        return state

    def _record(self, recorder: Recorder | None, moment: int, state: State) -> None:
        planned = self.schedule.moments[moment]
        self._confirm()
        if planned.observe:
            time_s = jnp.asarray(planned.time_s, self.problem.precision)
            measured = measure_all(self.problem, self.inputs, self.seed, state, time_s, replicates=self.replicates)
            measured = on_host(measured)
            if recorder is not None:
                recorder.observe(planned.time_s, measured)
        if planned.snapshot:
            self._snapshot(recorder, planned.time_s, state)

    def _snapshot(self, recorder: Recorder | None, time_s: float, state: State) -> None:
        if recorder is not None and jax.process_count() == 1:
            recorder.snapshot(time_s, *on_host((state.counts, state.concentrations)))
            return
        (index,) = of_first(0 if recorder is None else recorder.next_snapshot)
        pieces = write_pieces(self.directory.path, self.problem, index, state)
        if recorder is not None:
            recorder.join_snapshot(time_s, pieces)

    def _save(self, recorder: Recorder | None, checkpoints: Checkpoints, state: State, pairs: int) -> None:
        """Begin a checkpoint, after everything recorded up to it is on the disk."""
        self._confirm()
        recorded = None if recorder is None else recorder.flush()
        checkpoints.save(state, pairs, self.schedule.time_s(pairs), recorded)

    def _confirm(self) -> None:
        if self.lock is not None:
            self.lock.confirm()

    def _raise_if_stopped(self, state: State) -> None:
        where, then = str(self.directory.path), "the last checkpoint is intact"

        def time_of(pair: int) -> float:
            return self.schedule.time_s(pair - self.pairs_elsewhere)

        raise_if_stopped(where, self.problem, self.inputs, state, time_of, then)


@contextmanager
def _beside() -> Iterator[ThreadPoolExecutor]:
    """A thread beside this one, for which an error here does not wait."""
    executor = ThreadPoolExecutor(1)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _next_chunk(chunk: int, work: int, elapsed_s: float) -> int:
    """Pairs (or events) for the next call, from how long the work of this one took; grows at most fourfold."""
    return max(1, min(4 * chunk, int(max(work, 1) * _CHUNK_S / max(elapsed_s, 1e-6)), 2**31 - 1))
