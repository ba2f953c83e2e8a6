"""Begin a run in a directory, or continue the one that is there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exodiff.build import ConfiguredModel, build
from exodiff.core.errors import ConfigError
from exodiff.io.lock import RunLock
from exodiff.processes import is_first, of_first, together
from exodiff.runner.directory import RunDirectory
from exodiff.runner.driver import Driver, Progress, Report, RunResult
from exodiff.runner.faults import told_clearly


def _say_nothing(progress: Progress) -> None:
    del progress


def run(
    model: ConfiguredModel,
    out: str | Path,
    *,
    resume: str = "never",
    overwrite: bool = False,
    accept_changes: bool = False,
    given: bytes | None = None,
    report: Report = _say_nothing,
    figures: bool = True,
) -> RunResult:
    """Run a model in a directory; the command ``exodiff run``.

    Args:
        model: from ``load`` or ``Model.from_dict``.
        out: the run directory, made if needed.
        resume: ``never``; ``auto`` continues if the directory holds a run of this config, else begins one.
        overwrite: replace a run that is there.
        accept_changes: continue also a run of another config, from its newest checkpoint, if its state fits.
        given: the model file as the user wrote it, for ``config.toml``.
        report: called with the progress.
        figures: whether to draw them at the end; ``exodiff plot`` draws them later.

    Raises:
        ConfigError: the directory holds something else; nothing was written.
        SimulationError: the simulation cannot go on; the directory can be resumed from its last checkpoint.

    """
    directory = RunDirectory(Path(out))
    if resume not in ("never", "auto"):
        raise ConfigError(f"resume={resume}", "is not a choice; give auto or never")
    if overwrite and resume == "auto":
        told = "excludes resume=auto: the one begins anew each time, the other goes on; give one of them"
        raise ConfigError("overwrite=True", told)
    goes_on = False

    def refuse() -> None:
        nonlocal goes_on
        goes_on = resume == "auto" and directory.holds_run
        if goes_on:
            if not accept_changes:
                directory.refuse_another_config(model.config)
        elif not (overwrite and directory.holds_run):
            directory.refuse_another_run()

    def prepare() -> None:
        if not goes_on:
            directory.clear()
            directory.begin(model.config, given)

    with _opened(directory, model, refuse, prepare) as lock:
        (accepts,) = of_first(goes_on and accept_changes)
        return Driver(
            model, directory, lock, report, figures=figures, accept_changes=bool(accepts), given=given
        ).drive()


@contextmanager
def _opened(
    directory: RunDirectory, model: ConfiguredModel, refuse: Callable[[], None], prepare: Callable[[], None]
) -> Iterator[RunLock | None]:
    """The run directory, locked and prepared by the first process; the others wait for that and get no lock."""
    with told_clearly(directory.path, model), ExitStack() as stack:
        lock = None
        with together(str(directory.path)):
            if is_first():
                refuse()
                lock = stack.enter_context(RunLock(directory.path))
                refuse()  # another process may have begun a run there, and ended
                prepare()
                directory.tidy()
        yield lock


def resume(
    run_dir: str | Path,
    *,
    from_last_good: bool = False,
    accept_changes: bool = False,
    report: Report = _say_nothing,
) -> RunResult:
    """Continue the run in a directory from its newest checkpoint; the command ``exodiff resume``.

    Args:
        run_dir: the run directory.
        from_last_good: pass over damaged checkpoints instead of refusing them.
        accept_changes: go on with the ``resolved.toml`` that is there, though the run began with another one.
        report: called with the progress.

    Raises:
        ConfigError: there is no run in it, or its state does not fit what was changed.
        CheckpointError: the newest checkpoint is damaged (the text names the last good one), or none is good.

    """
    directory = RunDirectory(Path(run_dir))
    model = build(directory.config())
    with _opened(directory, model, lambda: None, lambda: None) as lock:
        return Driver(
            model, directory, lock, report, skip_damaged=from_last_good, accept_changes=accept_changes
        ).drive()
