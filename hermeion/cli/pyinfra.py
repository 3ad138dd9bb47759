"""Run the stock pyinfra command line: it is wrapped, never replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hermeion.errors import HermeionError
from hermeion.resources import share


def deploy(inventory: str, *options: str, quiet: bool = False) -> tuple[int, dict[str, Any]]:
    """Run ``deploys/hermes.py`` and read the report that it leaves.

    Returns:
        pyinfra's exit code, and the report: plans by host, seconds by stage, failures by host.

    Raises:
        HermeionError: pyinfra could not begin; its own words are in the message.
    """
    if inventory.endswith(".py") and not Path(inventory).exists():
        raise HermeionError(f"there is no inventory {inventory}. Examples: inventories/example_*.py")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pyinfra", inventory, str(share("deploys") / "hermes.py"), *options]
        environment = os.environ | {"HERMEION_REPORT": str(report), "PYINFRA_PROGRESS": "off"}
        done = subprocess.run(
            command, env=environment, check=False, stdin=subprocess.DEVNULL, capture_output=quiet, text=True
        )
        if not report.exists():
            said = [line for line in (done.stderr or "").splitlines() if line.strip() and not line.startswith("-->")]
            raise HermeionError("\n".join(said) or "pyinfra could not begin, see above")
        return done.returncode, json.loads(report.read_text())
