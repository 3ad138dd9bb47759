"""``hermeion explain``: the whole reasoning for one service."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from hermeion.cli.faces import NOTHING_TO_DO, REFUSED, find_report, fleet_of, is_plain
from hermeion.cli.plan import Bandwidth, More, Saved, all_saved


def explain(
    service: Annotated[str, typer.Argument(help="Name of the service, as in hermes_services.")],
    inventory: Annotated[str, typer.Option("--inventory", "-i", help="pyinfra inventory.")] = "inventory.py",
    more: More = None,
    saved: Saved = None,
    host: Annotated[list[str] | None, typer.Option(help="Only these hosts or groups.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    bandwidth: Bandwidth = 1.0,
) -> None:
    """Show the whole reasoning for one service on each of its hosts; nothing is changed.

    What was wanted, what was found, every option that was tried and why it was not taken, the choice, its memory term
    by term, the KV cache, estimates with their basis, remarks; for a refusal, what would fit.

    Exit code: 0 it is planned on all of its hosts, 1 a host is refused or unreachable.

    Example: `hermeion explain hermes -i inventories/lab.py --host gpu-1`

    Example: `hermeion explain hermes --from probes/gpu-1.json`
    """
    from hermeion.explanations import explain_host, explain_json  # noqa: PLC0415  # not needed to start
    from hermeion.fleet import find_service  # noqa: PLC0415  # same

    _, report = find_report(inventory, all_saved(saved, more), host or ())
    hosts = find_service(fleet_of(report, bandwidth, offline=bool(saved)), service, inventory)
    if as_json:
        answer = {"service": service, "hosts": {view.name: explain_json(view, service) for view in hosts}}
        typer.echo(json.dumps(answer, indent=2))
    else:
        console = Console()
        for number, view in enumerate(hosts):
            if number:
                console.print()
            for line in explain_host(view, service, console.width, plain=is_plain(console)):
                console.print(line)
    refused = any(view.state in {"refused", "not planned"} for view in hosts)
    raise typer.Exit(REFUSED if refused else NOTHING_TO_DO)
