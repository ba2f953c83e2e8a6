"""The errors that a user may see. Each says where, what, the limit, and what to do."""

_LONGEST = 1000  # characters of a place or a line that are shown; names in a model file may have any length


class ExodiffError(Exception):
    """Base of all errors that exodiff raises on purpose.

    Args:
        where: the config key path, file or place, e.g. ``run.time_step``.
        problem: what is wrong, the limit, and what to do, in one line.

    """

    exit_code = 3

    def __init__(self, where: str, problem: str) -> None:
        where, problem = _shortened(where), "\n".join(map(_shortened, problem.split("\n")))
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


def _shortened(line: str) -> str:
    """A line without its middle, where it is too long: it says what is wrong first, and last what to do."""
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


class ConfigError(ExodiffError):
    """The model file or the call is wrong; nothing was run or written."""

    exit_code = 2


class SimulationError(ExodiffError):
    """The simulation cannot go on (overflow, NaN, a step that cannot be made small enough)."""


class FitError(ExodiffError):
    """The search for the best parameters did not converge."""


class CheckpointError(ExodiffError):
    """A checkpoint is missing, damaged or belongs to another run."""


class RunDirectoryError(ExodiffError):
    """A file of the run directory is in use by another process, cannot be read or written, or is damaged."""


class InUseError(RunDirectoryError):
    """Another process holds the run directory."""
