"""``python -m tests.integration.stopped_at ACTION MODULE FUNCTION CALLS ...``: exodiff, stopped at a call."""

import importlib
import os
import signal
import sys
import time
from typing import Any

from exodiff import cli


def wait() -> None:
    """As a disk that does not answer."""
    sys.stderr.write("a call waits\n")
    time.sleep(600)


def kill() -> None:
    """Before anything is done."""
    os.kill(os.getpid(), signal.SIGKILL)


ACTIONS = {"wait": wait, "kill": kill}


def main() -> None:
    """Let the first calls pass, and act at the next ones."""
    action, module, name, calls, *arguments = sys.argv[1:]
    where = importlib.import_module(module)
    right, left = getattr(where, name), int(calls)

    def call(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            ACTIONS[action]()
        return right(*given, **named)

    setattr(where, name, call)
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    main()
