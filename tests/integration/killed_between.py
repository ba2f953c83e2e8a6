"""``python -m tests.integration.killed_between MODULE FUNCTION CALLS ...``: exodiff, killed at a call of a function."""

import importlib
import os
import signal
import sys
from typing import Any

from exodiff import cli


def main() -> None:
    """Let the first calls pass, and at the next one kill this process before anything is done."""
    module, name, calls, *arguments = sys.argv[1:]
    where = importlib.import_module(module)
    right, left = getattr(where, name), int(calls)

    def call(*given: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return right(*given)

    setattr(where, name, call)
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    main()
