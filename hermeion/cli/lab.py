"""``hermeion lab``: raise, look at, enter and take down a lab."""

from __future__ import annotations

import json as json_module  # options are named json
import os
import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from hermeion.errors import LabError
from hermeion.lab import fleet, teardown
from hermeion.lab.hosts import LabHost, host_in_state, make_host, parse_host
from hermeion.lab.labfile import LabFile, read_lab_file
from hermeion.lab.progress import Report
from hermeion.lab.states import DEFAULT_SUITE, gpus_of, parse_states, read_states, suite_of

app = typer.Typer(
    help="A fleet of real hosts in containers with simulated GPUs: to try an inventory, and for the tests.",
    no_args_is_help=True,
)


def complete_state(incomplete: str) -> list[tuple[str, str]]:
    """States that begin like this, with their sentences, for the shell."""
    return [(state.name, state.sentence) for state in read_states().values() if state.name.startswith(incomplete)]


Name = Annotated[str, typer.Option("--name", envvar="HERMEION_LAB", help="Which lab; several can stand side by side.")]
HostName = Annotated[str, typer.Argument(help="The host's name in this lab.")]
StateName = Annotated[str, typer.Argument(help="See: hermeion lab states", autocompletion=complete_state)]


@app.command()
def up(
    name: Name = "lab",
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME=GPUSET[@SUITE][+STATE]",
            help="A host, e.g. gpu-1=1xL40S, gpu-2=8xH100-SXM@noble, cpu=none, old=1xT4+driver-old.",
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="A host in this state, named after it, with the GPUs and suite it is meant for.",
            autocompletion=complete_state,
        ),
    ] = None,
    engine: Annotated[
        bool,
        typer.Option(
            "--engine/--no-engine",
            help="Build and publish the images of vLLM and llama.cpp and the models; hosts alone can do without, and "
            "are up sooner.",
        ),
    ] = True,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Also serve what vLLM as a native service installs on Debian 12 hosts (0.6 GB of wheels). They stay "
            "served until the lab is down.",
        ),
    ] = False,
) -> None:
    """Raise a lab, or bring an existing one to these hosts (without --host and --state: to the hosts it has).

    Example: `hermeion lab up --host gpu-1=2xRTX4090 --state driver-mismatch`

    Example with a host for native services: `hermeion lab up --native --host gpu-1=1xL40S@bookworm`
    """
    if native and not engine:
        message = "--native serves an engine's packages, and --no-engine leaves the engines out: use one of them."
        raise LabError(message)
    wanted = [parse_host(text) for text in host or ()] + [host_in_state(text) for text in state or ()]
    lab = fleet.raise_lab(name, wanted or _hosts_of(name), Report(), engine_too=engine, native_too=native)
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
        typer.echo(json_module.dumps(lab.model_dump(exclude_none=True) | {"states": states}, indent=2))
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
def states(json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False) -> None:
    """List the states that a host can be put into.

    Example: `hermeion lab up --state driver-mismatch --no-engine`
    """
    known = read_states().values()
    if json:
        rows = [
            {**asdict(state), "gpus": gpus_of(state.name), "suite": suite_of([state.name]) or DEFAULT_SUITE}
            for state in known
        ]
        typer.echo(json_module.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what the host shows")
    for state in known:
        extra = [f"on {state.base}" if state.base else "", state.gpus or "", state.suite or ""]
        said = ", ".join(word for word in extra if word)
        table.add_row(state.name, f"{state.sentence} [dim]{said}[/dim]")
    Console().print(table)


@app.command()
def enter(host: HostName, state: StateName, name: Name = "lab") -> None:
    """Put a standing host into a state, with everything that the state stands on.

    Example: `hermeion lab enter gpu-1 driver-mismatch`
    """
    _change(name, host, "enter", state)


@app.command()
def leave(host: HostName, state: StateName, name: Name = "lab") -> None:
    """Undo a state of a standing host; what the state stands on stays.

    Example: `hermeion lab leave gpu-1 driver-mismatch`
    """
    _change(name, host, "leave", state)


def _change(name: str, host: str, verb: Literal["enter", "leave"], state: str) -> None:
    lab = fleet.change_state(read_lab_file(name), host, verb, state, Report())
    typer.echo(f"{host} is now: {fleet.find_host(lab, host).state}")


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
        entries = read_lab_file(name).hosts
    except LabError:  # no such lab yet
        return [parse_host(text) for text in fleet.DEFAULT_HOSTS]
    # A change that was cut off reads "entering driver": such a host is made anew, in that state.
    return [make_host(entry.name, entry.gpus, entry.suite, parse_states(entry.state.split()[-1])) for entry in entries]


def _print_table(lab: LabFile, states: dict[str, str]) -> None:
    table = Table(title=f"lab {lab.name}", title_justify="left")
    for column in ("host", "GPUs", "suite", "state", "address", "container"):
        table.add_column(column, overflow="fold", no_wrap=column == "state")
    for host in lab.hosts:
        address = f"{host.address}:{host.port}"
        table.add_row(host.name, host.gpus, host.suite, host.state, address, states.get(host.name, "gone"))
    table.add_row("services", "", "", "", lab.mirrors["hub"], "")
    console = Console()
    console.print(table)
    for engine, image in lab.images.items():
        typer.echo(f"image  {engine}: {image}")
    for model in lab.models:
        typer.echo(f"model  {model.name}: {model.repo}@{model.revision[:12]}{f' {model.file}' if model.file else ''}")
    for engine, archive in lab.archives.items():
        typer.echo(f"archive  {engine}: {archive.url}")
    for engine, path in lab.requirements.items():
        typer.echo(f"packages  {engine}: {path}")
