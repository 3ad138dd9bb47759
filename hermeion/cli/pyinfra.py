"""Run the stock pyinfra command line: it is wrapped, never replaced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hermeion.errors import HermeionError
from hermeion.resources import share

NO_MATCH = "No host matches found for --limit pattern: "
"""How pyinfra says that a limit leaves no host: in passing, and then it does nothing and calls that a success."""

STOPPED = re.compile(r"^--> pyinfra error in \S+ line \d+: (?P<message>.*?)(?=^-->|\Z)", re.MULTILINE | re.DOTALL)
"""How pyinfra says that a deploy stopped every host: the inventory cannot be used."""


def deploy(inventory: str, *options: str, quiet: bool = False, file: str = "hermes.py") -> tuple[int, dict[str, Any]]:
    """Run a file of ``deploys`` and read the report that it leaves.

    Returns:
        pyinfra's exit code, and the report: plans by host, seconds by stage, failures by host.

    Raises:
        HermeionError: The inventory cannot be used, or pyinfra could not begin: its own words are in the message. Or a
            limit leaves no host.
    """
    if inventory.endswith(".py") and not Path(inventory).exists():
        raise HermeionError(f"there is no inventory {inventory}. Examples: inventories/example_*.py")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pyinfra", inventory, str(share("deploys") / file), *options]
        environment = os.environ | {"HERMEION_REPORT": str(report), "PYINFRA_PROGRESS": "off"}
        done = subprocess.run(
            command, env=environment, check=False, stdin=subprocess.DEVNULL, capture_output=quiet, text=True
        )
        for line in (done.stderr or "").splitlines():
            if NO_MATCH in line:
                raise HermeionError(f"not in {inventory}: {line.partition(NO_MATCH)[2].strip()}")
        if stopped := STOPPED.search(done.stderr or ""):
            raise HermeionError(stopped["message"].strip())
        if not report.exists():
            said = [line for line in (done.stderr or "").splitlines() if line.strip() and not line.startswith("-->")]
            raise HermeionError("\n".join(said) or "pyinfra could not begin, see above")
        return done.returncode, json.loads(report.read_text())
