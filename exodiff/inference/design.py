"""Where on the model's output the measured values stand: times, and columns of observables and their bins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exodiff.core.errors import ConfigError
from exodiff.inference.data import Measured
from exodiff.problem import Binned, Problem


@dataclass(frozen=True)
class Design:
    """Every (time, column) at which something is predicted.

    Attributes:
        times_s: rising, once each.
        columns: observables that are read, and the first column and the number of columns of each.

    """

    times_s: tuple[float, ...]
    columns: tuple[tuple[str, int, int], ...]

    @property
    def num_columns(self) -> int:
        """All columns of all observables."""
        return sum(size for _, _, size in self.columns)

    def place(self, data: Measured) -> tuple[np.ndarray, np.ndarray]:
        """Rows of times (rows, 1) and columns (1, columns) of the prediction for each value."""
        where = {name: np.arange(first, first + size) for name, first, size in self.columns}
        times = np.searchsorted(np.asarray(self.times_s), data.times_s)
        return times[:, None], np.concatenate([where[name] for name in data.observables])[None, :]


def make_design(problem: Problem, data: Sequence[Measured]) -> Design:
    """The times and columns that some data need.

    Raises:
        ConfigError: for an unknown observable, or another number of columns than it has.

    """
    sizes = num_columns(problem)
    names: dict[str, None] = {}
    for one in data:
        for name in one.observables:
            if name not in sizes:
                raise ConfigError(one.name, f"{name!r} is no observable; there are {', '.join(sizes)}")
            names[name] = None
        needed = sum(sizes[name] for name in one.observables)
        if one.values.shape[1] != needed:
            raise ConfigError(
                one.name,
                f"has {one.values.shape[1]} columns, but {', '.join(one.observables)} has {needed}; give those",
            )
    first, columns = 0, []
    for name in names:
        columns.append((name, first, sizes[name]))
        first += sizes[name]
    times = np.unique(np.concatenate([one.times_s for one in data]))
    return Design(tuple(map(float, times)), tuple(columns))


def num_columns(problem: Problem) -> Mapping[str, int]:
    """How many values each observable has at a time."""
    quantities = {o.name: o.quantity for o in problem.observables}
    return {name: len(q.edges) - 1 if isinstance(q, Binned) else 1 for name, q in quantities.items()}
