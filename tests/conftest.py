"""Shared by all tests: where the helpers of the physics tests are, what is kept, and types checked while they run."""

import gc
import os
import sys
from pathlib import Path

import pytest

# A test of the command line would turn it on for all tests after it; jaxlib was seen to die writing it in a process
# that had compiled thousands of programs.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

gc.set_threshold(50_000, 20, 50)  # as of the commands: most of what tests do is tracing

sys.path.insert(0, str(Path(__file__).parent / "physics"))

# Set by tests/integration/test_types.py. Before anything imports exodiff: a module is hooked when it is first loaded.
if os.environ.get("EXODIFF_CHECK_TYPES") == "1":
    from jaxtyping import install_import_hook

    ON_ARRAYS = (
        *("exact", "failure", "growth", "interventions", "kernels", "lattice", "model", "observe", "operations"),
        *(
            "passes",
            "problem",
            "schedule",
            "simulation",
            "start",
            "state",
            "step",
            "stepsize",
            "trajectories",
            "trajectory",
        ),
    )
    install_import_hook([f"exodiff.{name}" for name in ON_ARRAYS], "beartype.beartype")


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_dropped():
    """After each module: kept ones fill several GB by the end."""
    yield
    import jax  # noqa: PLC0415  (after the hook above)

    jax.clear_caches()
