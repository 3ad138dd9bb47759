"""``hermeion lab``: raise, look at, enter and take down a lab."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hermeion.errors import LabError
from hermeion.lab import fleet, teardown
from hermeion.lab.hosts import LabHost, parse_host
from hermeion.lab.labfile import LabFile, read_lab_file
from hermeion.lab.progress import Report

app = typer.Typer(
    help="A fleet of real hosts in containers with simulated GPUs: to try an inventory, and for the tests.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option("--name", envvar="HERMEION_LAB", help="Which lab; several can stand side by side.")]


@app.command()
def up(
    name: Name = "lab",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME=GPUSET", help="A host, e.g. gpu-1=1xL40S, gpu-2=8xH100-SXM, cpu=none."),
    ] = None,
) -> None:
    """Raise a lab, or bring an existing one to these hosts (without --host: to the hosts it has).

    Example: `hermeion lab up --host gpu-1=2xRTX4090 --host gpu-2=8xH100-SXM`
    """
    wanted = [parse_host(text) for text in host] if host else _hosts_of(name)
    lab = fleet.raise_lab(name, wanted, Report())
    _print_table(lab, {entry.name: "running" for entry in lab.hosts})
    option = "" if name == "lab" else f" --name {name}"
    prefix = "" if name == "lab" else f"HERMEION_LAB={name} "
    typer.echo(f"Next:  {prefix}pyinfra inventories/lab.py deploys/hermes.py")
    typer.echo(f"       hermeion lab ssh {lab.hosts[0].name}{option}")
    typer.echo(f"       hermeion lab down{option}")


@app.command()
def status(
    name: Name = "lab", json: Annotated[bool, typer.Option("--json", help="Print lab.json and the states.")] = False
) -> None:
    """Show the hosts of a lab and what it serves.

    Example: `hermeion lab status --json | jq -r .images.vllm`
    """
    lab = read_lab_file(name)
    states = fleet.host_states(lab)
    if json:
        import json as json_module  # noqa: PLC0415  # the option's name shadows the module's

        typer.echo(json_module.dumps(lab.model_dump() | {"states": states}, indent=2))
        return
    _print_table(lab, states)


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    host: Annotated[str, typer.Argument(help="The host's name in this lab.")],
    command: Annotated[list[str] | None, typer.Argument(help="What to run; without it: a shell.")] = None,
    name: Name = "lab",
    user: Annotated[str | None, typer.Option("--user", help="root (the default) or admin, who has sudo.")] = None,
) -> None:
    """Open a session on a host.

    Example: `hermeion lab ssh gpu-1 -- nvidia-smi -L`
    """
    arguments = fleet.ssh_command(read_lab_file(name), host, command or [], user)
    sys.stdout.flush()
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606  # no shell: the arguments are a list
    except FileNotFoundError as error:
        message = "ssh is not installed on this machine: apt-get install openssh-client"
        raise LabError(message) from error


@app.command()
def down(
    name: Name = "lab",
    everything: Annotated[
        bool, typer.Option("--all", help="Every lab on this machine, the images and the cache too.")
    ] = False,
) -> None:
    """Take a lab down; what was built for it stays in the cache."""
    report = Report()
    if everything:
        teardown.lower_all(report)
    elif not teardown.lower_lab(name, report):
        typer.echo(f"no lab named {name!r} is up: nothing to do")


def _hosts_of(name: str) -> list[LabHost]:
    try:
        return [parse_host(f"{entry.name}={entry.gpus}") for entry in read_lab_file(name).hosts]
    except LabError:  # no such lab yet
        return [parse_host(text) for text in fleet.DEFAULT_HOSTS]


def _print_table(lab: LabFile, states: dict[str, str]) -> None:
    table = Table(title=f"lab {lab.name}", title_justify="left")
    for column in ("host", "GPUs", "address", "state"):
        table.add_column(column)
    for host in lab.hosts:
        table.add_row(host.name, host.gpus, f"{host.address}:{host.port}", states.get(host.name, "gone"))
    table.add_row("services", "", lab.mirrors["hub"], "")
    console = Console()
    console.print(table)
    for engine, image in lab.images.items():
        typer.echo(f"image  {engine}: {image}")
    for model in lab.models:
        typer.echo(f"model  {model.name}: {model.repo}@{model.revision[:12]}")
