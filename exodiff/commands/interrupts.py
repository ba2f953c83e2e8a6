"""Signals at the command line: told when they come, the second Ctrl-C obeyed, whatever the main thread does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from exodiff.commands.shared import INTERRUPTED, STDERR
from exodiff.runner.signals import STOPPING


def stop_at_once() -> None:
    """End the process as a kill would, which a run survives: neither a compilation nor a write is waited for."""
    STDERR.show_cursor()
    STDERR.print("exodiff: stopped at once; continue from the last checkpoint with `exodiff resume DIR`")
    os._exit(INTERRUPTED)


@contextmanager
def interruptions(then: str, at_second: Callable[[], None] = stop_at_once, *, quiet: bool = False) -> Iterator[None]:
    """While the block lasts, tell of the first signal that has a handler, and act on a second SIGINT.

    In a thread of its own: Python calls handlers between two lines of the main thread, and compiling takes minutes.

    Args:
        then: what happens now, for the line.
        at_second: called in the thread.
        quiet: tell nothing.

    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        is_told = False
        while content := os.read(reading, 1):
            number = content[0]
            if number not in STOPPING or signal.getsignal(number) is signal.default_int_handler:
                continue
            if is_told and number == signal.SIGINT:
                at_second()
            elif not is_told and not quiet:
                STDERR.print(f"interrupted by {signal.Signals(number).name}: {then}; a second Ctrl-C stops at once")
            is_told = True

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    earlier = signal.set_wakeup_fd(writing)
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        os.close(writing)  # the watcher reads the end of it
        watcher.join()
        os.close(reading)
