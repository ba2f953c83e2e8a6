"""The checkpoints of one run: written in the background while the device computes, and the newest good one read."""

import math
import tomllib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from exodiff.config import load as config_load
from exodiff.config.schema import RunConfig
from exodiff.core.errors import CheckpointError, ConfigError
from exodiff.io import checkpoint
from exodiff.kernels import words
from exodiff.processes import anywhere, is_first, of_first, on_host
from exodiff.runner.directory import RESOLVED
from exodiff.runner.pieces import blocks_of, write_together
from exodiff.runner.recorder import Recorded
from exodiff.state import Clock, State

KEPT = 3
_FOREIGN = "belongs to another config than this folder's"
_ALWAYS = ("counts", "events", "pair", "settings", "was_true")
_SOME = ("concentrations", "pools")
_CLOCK = ("time_s", "number", "rates")


class Latest(NamedTuple):
    """The newest good checkpoint.

    Attributes:
        state: as it was saved.
        pairs: pairs of steps done by it, in its schedule.
        time_s: simulated time.
        cuts_s: times at which its schedule is cut because the config was changed there.
        recorded: what was recorded up to it; checkpoints of earlier versions do not tell.
        begun: the config that it was computed with, if that is another one than the run's.
        warnings: newer checkpoints that were passed over, and why.

    """

    state: State
    pairs: int
    time_s: float
    cuts_s: tuple[float, ...]
    recorded: Recorded | None
    begun: RunConfig | None
    warnings: tuple[str, ...]


class Checkpoints:
    """Saves the states of a run, one at a time; leaving the ``with`` block waits for the last one.

    Args:
        folder: where the files are.
        config: of the run; a checkpoint of another one is refused.

    Attributes:
        cuts_s: times at which the schedule of what is saved is cut because the config was changed there.

    """

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder
        self.cuts_s: tuple[float, ...] = ()
        self.config = config
        self.meta = {
            "config_hash": config_load.config_hash(config),
            "seed": config.run.seed,
            "config": config_load.dump(config),
        }
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._last: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()
        if error is None:
            self.wait()

    def save(self, state: State, pairs: int, time_s: float, recorded: Recorded | None) -> None:
        """Begin to write a state; what was recorded up to it must be on the disk already.

        The first process says how much that is.

        Raises:
            CheckpointError: the checkpoint before this one could not be written.

        """
        self.wait()
        meta = {**self.meta, "pairs": pairs, "time_s": time_s, "cuts_s": self.cuts_s}
        if recorded is not None:
            meta["recorded"] = recorded._asdict()
        number = _number(state, pairs)
        arrays = _arrays(state)
        if jax.process_count() == 1:
            copies = {name: np.array(array) for name, array in arrays.items()}  # the device goes on in place
            self._last = self._writer.submit(checkpoint.write_checkpoint, self.folder, copies, meta, number, KEPT)
            return
        blocks = [block for name, array in arrays.items() for block in blocks_of(name, array)]
        pieces = write_together(self.folder, checkpoint.stem_of(number), blocks)
        if is_first():
            shapes = {name: array.shape for name, array in arrays.items()}
            self._last = self._writer.submit(checkpoint.join_pieces, self.folder, pieces, shapes, meta, number, KEPT)

    def raise_if_failed(self) -> None:
        """Notice a failure early, without waiting.

        Raises:
            CheckpointError: what was saved could not be written.

        """
        if self._last is not None and self._last.done():
            self.wait()

    def wait(self) -> None:
        """Wait until what was saved is on the disk.

        Raises:
            CheckpointError: it could not be written.

        """
        if self._last is not None:
            last, self._last = self._last, None
            last.result()

    def restart(self, latest: Latest) -> None:
        """Put a state in place of all checkpoints, of whatever config they are, and wait until it is there.

        Raises:
            CheckpointError: it could not be written; the others are untouched.

        """
        self.cuts_s = latest.cuts_s
        self.save(latest.state, latest.pairs, latest.time_s, latest.recorded)
        self.wait()
        if is_first():
            checkpoint.discard_all_but(self.folder, _number(latest.state, latest.pairs))

    def latest(self, *, exact: bool, skip_damaged: bool, accept_changes: bool) -> Latest | None:
        """The newest good checkpoint, or None if there is none at all; files of later steps are set aside.

        Args:
            exact: whether states have a clock.
            skip_damaged: pass over damaged files instead of refusing them.
            accept_changes: also take one of another config.

        Raises:
            CheckpointError: none is good, the newest is damaged, or it belongs to another config.

        """
        found = checkpoint.read_latest(self.folder) if checkpoint.list_checkpoints(self.folder) else None
        step = -1 if found is None else found.step
        words = divmod(step, 2**31)  # processes exchange numbers of 32 bits
        if anywhere(of_first(*words) != words):
            raise CheckpointError(
                str(self.folder), "is not the same for all processes; put the run on a file system that all nodes share"
            )
        if found is None:
            return None
        told = _read_meta(found)
        if found.skipped and not skip_damaged:
            worst = found.skipped[0]
            raise CheckpointError(
                str(worst.path),
                f"cannot be used: {worst.problem}; the last good one is {found.path.name}, at "
                f"{told.time_s:g} s: resume from it with from_last_good=True",
            )
        begun = self._other_config(found)
        if begun is not None and not accept_changes:
            keys = ", ".join(config_load.differences(begun, self.config)[:8])
            raise CheckpointError(
                str(found.path),
                f"{_FOREIGN} (it differs in {keys}); restore {RESOLVED}, go on with the changed config by "
                "accept_changes=True, or run anew",
            )
        if is_first():
            checkpoint.set_aside_after(self.folder, found.step)
        warnings = tuple(
            f"{each.path}: passed over and kept as *{checkpoint.DAMAGED}, {each.problem}" for each in found.skipped
        )
        self.cuts_s = told.cuts_s
        return Latest(_state(found, exact=exact), *told, begun, warnings)

    def _other_config(self, found: checkpoint.Checkpoint) -> RunConfig | None:
        """What a checkpoint was computed with, if that gives other numbers or other columns than the run's config."""
        written, is_same = found.meta.get("config"), found.meta.get("config_hash") == self.meta["config_hash"]
        if is_same and written in (None, self.meta["config"]):
            return None
        try:
            begun = config_load.from_mapping(tomllib.loads(str(written)))
        except (tomllib.TOMLDecodeError, ConfigError) as error:
            told = f"{_FOREIGN}, and its own cannot be read; restore {RESOLVED}, or run anew"
            raise CheckpointError(str(found.path), told) from error
        return None if is_same and begun.observables == self.config.observables else begun


def _number(state: State, pairs: int) -> int:
    """What a checkpoint is named by; it rises also within an interval of ``exact``, which is one pair."""
    if state.clock is None:
        return pairs
    low, high = on_host(state.clock.number).astype(np.int64).sum(axis=0)
    return pairs + int(low) + (int(high) << 32)


def _arrays(state: State) -> dict[str, jax.Array]:
    names = (*_ALWAYS, *(name for name in _SOME if getattr(state, name) is not None))
    arrays = {name: getattr(state, name) for name in names}
    if state.clock is not None:
        arrays |= {f"clock.{name}": getattr(state.clock, name) for name in _CLOCK}
    return arrays


def migrated(found: checkpoint.Checkpoint) -> Mapping[str, np.ndarray]:
    """The arrays as this version has them: in the first, the low word of totals and amounts had 16 bits."""
    if found.version > 1:
        return found.arrays
    narrow = {name: array for name in ("events", "pools") if (array := found.arrays.get(name)) is not None}
    wide = {}
    for name, array in narrow.items():
        if array.dtype.kind == "u":
            high = array[..., 0].astype(np.int32) if name == "pools" else array[..., 0]
            wide[name] = words.from_host(high.astype(np.int64) * 65536 + array[..., 1])
    return {**found.arrays, **wide}


class _Meta(NamedTuple):
    pairs: int
    time_s: float
    cuts_s: tuple[float, ...]
    recorded: Recorded | None


def _read_meta(found: checkpoint.Checkpoint) -> _Meta:
    """Where a checkpoint stands in its schedule; in earlier versions its pairs are in its name alone."""
    try:
        pairs = int(found.meta.get("pairs", found.step))
        cuts_s = tuple(map(float, found.meta.get("cuts_s", ())))
        told = _Meta(pairs, float(found.meta["time_s"]), cuts_s, _recorded(found.meta.get("recorded")))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _refusal(found, f"its description makes no sense ({error})") from error
    if pairs < 0 or not 0 <= told.time_s < math.inf or not all(0 <= cut_s <= told.time_s for cut_s in told.cuts_s):
        raise _refusal(found, "its description makes no sense")
    return told


def _recorded(written: Any) -> Recorded | None:
    if written is None:
        return None
    return Recorded({name: int(size) for name, size in written["table_bytes"].items()}, int(written["snapshots"]))


def _refusal(found: checkpoint.Checkpoint, problem: str) -> CheckpointError:
    return CheckpointError(str(found.path), f"{problem}; remove it to go on from the one before, or run anew")


def _state(found: checkpoint.Checkpoint, *, exact: bool) -> State:
    try:
        arrays: dict[str, Any] = {name: jnp.asarray(array) for name, array in migrated(found).items()}
        clock = Clock(*(arrays.pop(f"clock.{name}") for name in _CLOCK)) if exact else None
        health = jnp.zeros(arrays["pair"].shape[:1], jnp.int32)
        return State(**arrays, health=health, clock=clock)
    except (KeyError, TypeError, IndexError) as error:
        raise _refusal(found, f"it does not hold a state ({error})") from error


def refuse_unfit(folder: Path, state: State, expected: Any) -> None:
    """Refuse a state that is not laid out as that of the model, e.g. of a checkpoint that was made by hand.

    Args:
        folder: where it came from.
        state: as it was read.
        expected: a state of the model, or its shapes and types.

    Raises:
        CheckpointError: names what differs.

    """
    for name in (*_ALWAYS, *_SOME, *_CLOCK):
        one, other = (getattr(whole.clock if name in _CLOCK else whole, name, None) for whole in (state, expected))
        shapes = [None if array is None else (array.shape, str(array.dtype)) for array in (one, other)]
        if shapes[0] != shapes[1]:
            told = f"the newest checkpoint has {shapes[0]} as {name}, the model {shapes[1]}; remove it, or run anew"
            raise CheckpointError(str(folder), told)
