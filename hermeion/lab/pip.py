"""How the lab calls pip and uv: for other Pythons than its own, without surprises from the caller's shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hermeion.errors import LabError

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # has the CPU build of torch, which PyPI lacks
_OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1")  # other spellings of 2.17, 2.12 and 2.5


def wheel_platforms(glibc: int) -> list[str]:
    """``--platform`` options for every wheel that glibc 2.``glibc`` on x86-64 can load, best first."""
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(glibc, 4, -1)]
    tags += [f"{name}_x86_64" for name in _OLD_NAMES] + ["any"]
    return [argument for tag in tags for argument in ("--platform", tag)]


def pip_environment() -> dict[str, str]:
    """The caller's environment (indexes, proxies, certificates) with pip kept quiet and non-interactive."""
    return os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def find_links() -> list[str]:
    """Where pip is told to look for files beside its indexes (``PIP_FIND_LINKS`` or ``pip.conf``)."""
    places = os.environ.get("PIP_FIND_LINKS")
    if places is None:
        command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        places = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return places.split()


def uv_program() -> str:
    """The uv beside this Python, or on PATH.

    Raises:
        LabError: There is none.
    """
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        message = "the lab installs vLLM with uv, which is not there: pip install uv, then run the same command again."
        raise LabError(message)
    return found


def run_quietly(command: list[str]) -> str:
    """Run pip or uv; the empty string, or what it said last (warnings are left out if more is said)."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=pip_environment())
    if done.returncode == 0:
        return ""
    said = done.stderr.splitlines()
    told = [line[:400] for line in said if not line.startswith(("WARNING", "warning"))] or said[-5:]
    return "\n    ".join(told[-8:]) or f"{command[0]} ended with status {done.returncode} and said nothing"
