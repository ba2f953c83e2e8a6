"""``python -m tests.integration.slow_at MODULE FUNCTION CALLS ...``: exodiff, where a call of a function never ends."""

import importlib
import sys
import time
from typing import Any

from exodiff import cli


def main() -> None:
    """Let the first calls pass; the next one tells that it waits."""
    module, name, calls, *arguments = sys.argv[1:]
    where = importlib.import_module(module)
    right, left = getattr(where, name), int(calls)

    def call(*given: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            sys.stderr.write(f"{name} waits\n")
            time.sleep(600)
        return right(*given)

    setattr(where, name, call)
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    main()
