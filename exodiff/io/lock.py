"""One process at a time in a run directory."""

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from exodiff.core.errors import InUseError, RunDirectoryError
from exodiff.io.atomic import make_folder
from exodiff.io.sealed import unread

FILE = "run.lock"


def _this_process() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return f"{os.getpid()} on {socket.gethostname()}" + (f", job {job}" if job else "")


class RunLock:
    """Holds a run directory while the ``with`` block lasts.

    The kernel drops the lock when the process ends in whatever way, so a file left by a killed run is no obstacle. The
    file stays: removing it would let two processes hold two files of one name.

    Raises:
        RunDirectoryError: on entering, when another process holds the directory or it cannot be locked.

    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / FILE
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        descriptor: int | None = None
        try:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{_this_process()}\n".encode(), 0)
        except OSError as error:
            raise self._refusal(error, descriptor) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def confirm(self) -> None:
        """Refuse to write on where the folder that was locked is gone, or another one is in its place.

        Raises:
            RunDirectoryError: says so, or that it cannot be looked at.

        """
        assert self._descriptor is not None
        try:
            is_there = os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
        except OSError as error:
            raise unread(self.path, error) from error
        if not is_there:
            raise RunDirectoryError(
                str(self.path.parent),
                "was removed, moved or replaced while the run went on; resume it where it is now, put it back from a "
                "copy and resume it, or run it anew",
            )

    def _refusal(self, error: OSError, descriptor: int | None) -> RunDirectoryError:
        run_dir = str(self.path.parent)
        if descriptor is None:
            return RunDirectoryError(run_dir, f"cannot be used as a run directory ({error})")
        holder = os.pread(descriptor, 300, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            advice = "wait for it, stop it, or give another folder"
            return InUseError(run_dir, f"another exodiff (process {holder}) is running in it; {advice}")
        return RunDirectoryError(run_dir, f"cannot be locked ({error}); put it on a file system that knows flock")
