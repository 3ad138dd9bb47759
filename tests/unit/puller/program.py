"""The puller as a program of its own, as it runs on hosts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub

from tests.unit.builders import ROOT

SYSTEM = "/usr/bin/python3"
"""Every user may run it, while the interpreter of the tests may lie in somebody's home."""


def spawn(
    folder: Path, job: dict[str, Any], prefix: list[str] | None = None, python: str = sys.executable
) -> subprocess.Popen[str]:
    """Start it from a copy, where nothing else of Hermeion is; its output is to be read.

    Args:
        folder: For the copy and the job.
        prefix: A command that runs the command after it.
    """
    if not (folder / "puller").exists():
        shutil.copytree(ROOT / "hermeion/puller", folder / "puller", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "job.json").write_text(json.dumps(job))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    return subprocess.Popen(
        [*(prefix or []), python, "-B", "-m", "puller", str(folder / "job.json")],
        cwd=folder,
        env=environment | {"TMPDIR": str(folder), "PYTHONPATH": str(Path(huggingface_hub.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    """Wait for its end: the exit status, and all that it printed."""
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


def error_of(out: str) -> str:
    """The sentence that it ended with."""
    return next(line[8:] for line in out.splitlines() if line.startswith("##error "))
