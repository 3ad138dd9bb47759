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
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pyinfra", inventory, str(share("deploys") / "hermes.py"), *options]
        environment = os.environ | {"HERMEION_REPORT": str(report), "PYINFRA_PROGRESS": "off"}
        done = subprocess.run(
            command, env=environment, check=False, stdin=subprocess.DEVNULL, capture_output=quiet, text=True
        )
        if not report.exists():
            raise HermeionError((done.stderr or "pyinfra could not begin, see above").strip())
        return done.returncode, json.loads(report.read_text())


def hosts(inventory: str) -> list[dict[str, Any]]:
    """Every host of an inventory with its merged data.

    Raises:
        HermeionError: The inventory cannot be read; pyinfra's own words are in the message.
    """
    command = [sys.executable, "-m", "pyinfra", inventory, "debug-inventory", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise HermeionError(f"{inventory} cannot be read:\n{(done.stderr or done.stdout).strip()}")
    data: Any = json.loads(done.stdout)
    return list(data["hosts"] if isinstance(data, dict) and "hosts" in data else data)
