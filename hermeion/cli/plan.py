"""``hermeion plan``: what would run where, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hermeion.cli.pyinfra import deploy
from hermeion.units import format_bytes

NOTHING_TO_DO, REFUSED, PENDING = 0, 1, 2


def _table(hosts: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="Plan", title_justify="left")
    for column in ("host", "service", "variant", "GPUs", "context × requests", "KV cache", "to do"):
        table.add_column(column, overflow="fold")
    for name, host in hosts.items():
        if "refused" in host:
            table.add_row(name, "–", "–", "–", "–", "–", "[red]refused[/red]")
            continue
        todo = ", ".join(host["pending"]) or "[green]nothing[/green]"
        for service in host["plan"]["services"]:
            gpus, tokens = service["gpus"], service["kv_tokens"]
            table.add_row(
                name,
                service["name"],
                service["variant"],
                f"{len(gpus)} × {gpus[0]['model']}",
                f"{service['context']} × {service['sequences']}",
                f"{tokens} tokens, {format_bytes(tokens * service['memory']['kv_per_token'])}",
                todo,
            )
    return table


def _reasons(host: dict[str, Any]) -> list[tuple[str, str]]:
    """Stage and reason for everything that would be done or is refused."""
    if "refused" in host:
        return [("refused", host["refused"])]
    return [(stage, reason) for stage, reasons in host["pending"].items() for reason in reasons]


def plan(
    inventory: Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")],
    limit: Annotated[list[str] | None, typer.Option(help="Only these hosts or groups.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what would run where, and why; nothing is changed.

    Exit code: 0 nothing to do, 1 a host is refused or unreachable, 2 something would be done.

    Example: `hermeion plan inventories/lab.py --json | jq '.hosts["gpu-1"].pending'`
    """
    options = ["--dry", "-y", *[part for name in limit or () for part in ("--limit", name)]]
    code, report = deploy(str(Path(inventory)), *options, quiet=True)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        console = Console()
        console.print(_table(report["hosts"]))
        for name, host in report["hosts"].items():
            for stage, reason in _reasons(host):
                text = reason.removeprefix(f"{name}: ")
                console.print(f"{name}  {stage}: {text}", markup=False, highlight=False, soft_wrap=True)
        for name, note in report["failed"].items():
            if name not in report["hosts"]:
                console.print(f"[red]{note}[/red]", soft_wrap=True)
    hosts = report["hosts"].values()
    if code or report["failed"] or any("refused" in host for host in hosts):
        raise typer.Exit(REFUSED)
    raise typer.Exit(PENDING if any(host.get("pending") for host in hosts) else NOTHING_TO_DO)
