"""Shared by all tests: where the helpers of the physics tests are; and types checked while they run, if asked for."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "physics"))

# Set by tests/integration/test_types.py. Before anything imports exodiff: a module is hooked when it is first loaded.
if os.environ.get("EXODIFF_CHECK_TYPES") == "1":
    from jaxtyping import install_import_hook

    ON_ARRAYS = (
        *("exact", "failure", "growth", "interventions", "kernels", "lattice", "model", "observe", "operations"),
        *("passes", "problem", "schedule", "simulation", "state", "step", "stepsize", "trajectory"),
    )
    install_import_hook([f"exodiff.{name}" for name in ON_ARRAYS], "beartype.beartype")
