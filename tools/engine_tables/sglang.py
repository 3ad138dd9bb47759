"""Options of SGLang: its own parser is run, for the way in which it is built changes with nearly every release.

The code of the wheel runs in a process of its own, without the packages that it needs (``sglang_stubs``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tools.engine_tables.releases import Found, Release, canonical

ROOT = Path(__file__).parents[2]
DEFAULTS = ("host", "port", "kv-cache-dtype", "sampling-defaults", "watchdog-timeout")
PARSERS = ("tool-call-parser", "reasoning-parser")

# Facts of the image: docker/Dockerfile of SGLang (CMD of its own, none of its ENTRYPOINTs; root; CUDA 13 since
# 0.5.20, whose last tag for CUDA 12.9 is v0.5.19-cu129); architectures of sgl-kernel's wheels.
IMAGE = {"entrypoint": [], "user": None, "capabilities": ["8.0", "8.6", "8.9", "9.0", "10.0", "12.0"]}


def extract(wheel: Path, msgspec: Path, version: str) -> Release:
    """Everything that the tables say of one release.

    Args:
        wheel: SGLang's wheel.
        msgspec: Folder with the package ``msgspec`` for the Python that runs this.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
        rows = run(Path(folder), msgspec)
    return release(rows, version, wheel.name)


def run(folder: Path, msgspec: Path) -> list[dict[str, Any]]:
    """What ``ServerArgs.add_cli_args`` of an unpacked wheel adds to a parser.

    Raises:
        RuntimeError: It does not load; carries its last words.
    """
    command = [sys.executable, "-m", "tools.engine_tables.sglang_program", str(folder)]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{ROOT}{os.pathsep}{msgspec}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"SGLang's parser does not load:\n{done.stderr[-2000:]}"
        raise RuntimeError(message)
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def release(rows: list[dict[str, Any]], version: str, source: str) -> Release:
    """The rows of :func:`run` as a release."""
    options: dict[str, Found] = {}
    defaults: dict[str, Any] = {}
    for row in rows:
        named = canonical(row["strings"], row["dest"])
        if named is None:
            continue
        name, aliases = named
        if name in options and row["dest"].replace("_", "-") != name:
            name = row["strings"][0].lstrip("-")
        options[name] = Found(row["kind"], tuple(row["choices"]), aliases, row["deprecated"])
        if name in DEFAULTS and row["default"] is not None:
            defaults[name] = row["default"]
    tools, reasoning = (tuple(one for one in options[name].choices if one != "auto") for name in PARSERS)
    new = tuple(int(part) for part in version.split(".")[:3]) >= (0, 5, 20)
    image = IMAGE | {"cuda": "13.0" if new else "12.9", "port": defaults.get("port")}
    return Release("sglang", version, source, options, tools, reasoning, defaults, image)
