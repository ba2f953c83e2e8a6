"""Signals at the command line: told when they come, the second Ctrl-C obeyed, whatever the main thread does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from exodiff.commands.shared import INTERRUPTED, STDERR, STOPPED
from exodiff.runner.signals import STOPPING


def stop_at_once() -> None:
    """End the process as a kill would, which a run survives: neither a compilation nor a write is waited for."""
    STDERR.show_cursor()
    STDERR.print("exodiff: stopped at once; continue from the last checkpoint with `exodiff resume DIR`")
    os._exit(INTERRUPTED)


def _stop_at_first(number: int, told: str) -> None:
    STDERR.show_cursor()
    STDERR.print(f"stopped by {signal.Signals(number).name} {told}")
    os._exit(STOPPED)


@dataclass
class Watch:
    """What is done on a signal.

    Attributes:
        then: what happens now, for the line that tells of the first one.
        at_second: called on the second SIGINT, in a thread.
        quiet: tell nothing.
        computes: whether there is something that is yet to be saved; if not, the first signal ends the process.
        otherwise: for the line that tells of that.

    """

    then: str
    at_second: Callable[[], None] = stop_at_once
    quiet: bool = False
    computes: bool = True
    otherwise: str = (
        "before anything was computed; nothing is lost: give the same command again (exodiff run with --resume auto)"
    )


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """While the block lasts, tell of the first signal that has a handler, and act on a second SIGINT.

    In a thread of its own: Python calls handlers between two lines of the main thread, and compiling takes minutes.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def run() -> None:
        told: set[int] = set()
        while content := os.read(reading, 1):
            number = content[0]
            if number not in STOPPING or signal.getsignal(number) is signal.default_int_handler:
                continue
            if not watch.computes:
                _stop_at_first(number, watch.otherwise)
            if number == signal.SIGINT and number in told:
                watch.at_second()
            elif not told and not watch.quiet:
                name = signal.Signals(number).name
                STDERR.print(f"interrupted by {name}: {watch.then}; a second Ctrl-C stops at once")
            told.add(number)

    watcher = threading.Thread(target=run, daemon=True)
    watcher.start()
    earlier = signal.set_wakeup_fd(writing)
    # a handler of Python's is needed for the thread to hear of it; a run has its own
    unheard = [number for number in STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    for number in unheard:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in unheard:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(earlier)
        os.close(writing)  # the watcher reads the end of it
        watcher.join()
        os.close(reading)
