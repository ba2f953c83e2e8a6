"""How far a run is, and how long it will take, on a terminal or in a log."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn


class ProgressBar:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: Any = None
        self._told = -1e9
        self._began = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=1.0, told="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: Any) -> None:
        """Show how far a run is; takes a ``runner.driver.Progress``, without waiting for JAX to import it."""
        told = _status(progress)
        if self._bar is not None:
            share = progress.time_s / progress.duration_s
            self._bar.update(self._task, completed=share, description=progress.phase, told=told)
        elif (
            progress.phase != "running"
            or time.monotonic() - self._told > 10.0
            or progress.time_s == progress.duration_s
        ):
            if progress.phase == "running":
                self._told = time.monotonic()
            self._console.print(f"[{duration(time.monotonic() - self._began)}] {progress.phase} {told}".rstrip())


def _status(progress: Any) -> str:
    if progress.phase != "running":
        return ""
    text = f"{duration(progress.time_s)} of {duration(progress.duration_s)} simulated"
    if progress.speed > 0:
        left = (progress.duration_s - progress.time_s) / progress.speed
        text += f", {duration(progress.speed)} a second, {duration(left)} left"
    return text


def duration(seconds: float) -> str:
    """A time in the unit that reads best."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
