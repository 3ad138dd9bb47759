"""``hermeion plan``: what would run where, and why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hermeion.cli.faces import check_target, exit_code, find_report, fleet_of, is_plain, write_atomically
from hermeion.errors import HermeionError


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number of Gbit/s.")
    return value


Bandwidth = Annotated[
    float,
    typer.Option(metavar="GBIT", min=0.001, callback=_finite, help="Gbit/s of the link over which weights are pulled."),
]
Saved = Annotated[
    list[Path] | None,
    typer.Option("--from", help="Saved hosts in place of a connection: files, as many as you like, or their folder."),
]
More = Annotated[list[Path] | None, typer.Argument(hidden=True)]
"""What stands behind the first file of ``--from``: ``--from a.json b.json``."""


def all_saved(saved: list[Path] | None, more: list[Path] | None) -> list[Path] | None:
    """Every file that ``--from`` was given.

    Raises:
        HermeionError: There are files, and no ``--from`` before them.
    """
    if more and not saved:
        raise HermeionError(f"{more[0]}: what is it for? Saved hosts stand behind --from.")
    return [*(saved or ()), *(more or ())] or None


def plan(
    inventory: Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")],
    more: More = None,
    saved: Saved = None,
    limit: Annotated[list[str] | None, typer.Option(help="Only these hosts or groups.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page for a browser.")] = None,
    bandwidth: Bandwidth = 1.0,
) -> None:
    """Show what would run where, and why; nothing is changed.

    With --from nobody is connected to: hosts are planned as `hermeion probe INVENTORY --save DIR` left them.

    Exit code: 0 nothing to do (with --from: everything can be planned), 1 a host is refused or unreachable (with
    --from: or has no saved probe), 2 something would be done.

    Example: `hermeion plan inventories/lab.py --json | jq '.hosts["gpu-1"].pending'`

    Example: `hermeion plan inventory.py --from gpu-1.json gpu-2.json --html plan.html`
    """
    if html:
        check_target(html)
    code, report = find_report(inventory, all_saved(saved, more), limit or ())
    fleet = fleet_of(report, bandwidth, offline=bool(saved))
    if html:
        from datetime import datetime  # noqa: PLC0415  # not needed without a page

        from hermeion.pages import render_page  # noqa: PLC0415  # same
        from hermeion.resources import share  # noqa: PLC0415  # same

        made = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
        write_atomically(html, render_page(fleet, share("templates"), inventory=inventory, made=made))
    if as_json:
        from hermeion.fleet import report_json  # noqa: PLC0415  # not needed to start

        typer.echo(json.dumps(report_json(report, fleet), indent=2))
    else:
        from hermeion.pictures import plan_picture  # noqa: PLC0415  # not needed to start

        console = Console()
        console.print(plan_picture(fleet, console.width, plain=is_plain(console)))
        if html:
            console.print(f"The page: {html}", markup=False, highlight=False)
    raise typer.Exit(exit_code(code, report))
