"""The lab's package index: what hosts install in their puller's virtual environment."""

from __future__ import annotations

import sys
from pathlib import Path

from hermeion.errors import LabError

from .cache import ensure_entry, hash_of
from .pip import run_quietly, wheel_platforms
from .progress import Report

REQUIREMENTS = Path(__file__).parent.parent / "data" / "puller-requirements.txt"
PYTHONS = {"3.13": 41, "3.11": 36}  # Debian 13 and 12: Python, and the minor number of their glibc
_RECIPE = "1"


def ensure_wheels(report: Report) -> Path | None:
    """The folder of wheels for both Debians; None while there is no list of requirements.

    Raises:
        LabError: pip cannot download them; carries its last lines.
    """
    if not REQUIREMENTS.exists():
        return None
    key = hash_of(REQUIREMENTS.read_bytes(), str(PYTHONS), _RECIPE)

    def make(part: Path) -> None:
        with report.stage("downloading wheels for the lab's package index"):
            for python, glibc in PYTHONS.items():
                _download(part, python, glibc)

    return ensure_entry("wheels", key, make)


def _download(folder: Path, python: str, glibc: int) -> None:
    refusal = download(folder, REQUIREMENTS, python, glibc)
    if refusal:
        message = f"pip cannot download the wheels of {REQUIREMENTS.name} for Python {python}:\n    {refusal}"
        raise LabError(message)


def download(folder: Path, requirements: Path, python: str, glibc: int, *options: str) -> str:
    """Fetch the wheels of ``requirements``, and no others, into ``folder``; the empty string, or pip's last lines."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    command += ["--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    command += [*wheel_platforms(glibc), *options, "--requirement", str(requirements)]
    return run_quietly(command)
