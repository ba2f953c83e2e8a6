"""One JSON line a row, with what it was measured on."""

import json
import platform
import subprocess
from typing import Any

import jax


def commit() -> str:
    """The commit that is measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def print_row(name: str, **values: Any) -> None:
    """Print a measurement."""
    device = jax.devices()[0]
    where = {"device": f"{device.platform} {device.device_kind}", "machine": platform.machine(), "jax": jax.__version__}
    print(json.dumps({"name": name, **values, **where, "commit": commit()}), flush=True)
