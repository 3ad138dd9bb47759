"""``hermeion verify``: testinfra against the hosts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hermeion.resources import share


def verify(
    inventory: Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")],
    hosts: Annotated[list[str] | None, typer.Argument(help="Only these hosts.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML to this file.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line per claim.")] = False,
) -> None:
    """Look whether every host is as its own plan says; nothing is changed.

    The tests read plan.json on the host and nothing else of Hermeion's. Exit code: 0 all true, 1 something is not.

    Example: `hermeion verify inventories/lab.py gpu-1 -v`
    """
    folder = share("tests/hosts")
    command = [sys.executable, "-m", "pytest", str(folder), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command += ["-c", str(folder / "pytest.ini"), "--inventory", inventory]
    command += [part for host in hosts or () for part in ("--only-host", host)]
    command += ["-q", *(["--claims", "-o", "console_output_style=classic"] if verbose else [])]
    command += [f"--junit-xml={junit}"] if junit else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)
