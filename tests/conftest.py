"""Shared by all tests: where the helpers of the physics tests are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "physics"))
