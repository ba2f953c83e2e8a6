"""Stopping on a signal: the first asks for a checkpoint, a second interrupt stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """While the ``with`` block lasts, notes SIGTERM, SIGINT and SIGUSR1 in ``received``; polled between chunks.

    Outside the main thread no handler can be set, and none is.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._is_interrupted = False
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT:
            if self._is_interrupted:
                raise KeyboardInterrupt
            self._is_interrupted = True
        self.received = self.received or signal.Signals(number).name
