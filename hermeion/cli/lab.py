"""``hermeion lab``: raise, look at, enter and take down a lab."""

from __future__ import annotations

import json as json_module  # options are named json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from hermeion.errors import LabError
from hermeion.lab import fleet, publish, teardown
from hermeion.lab.hosts import LabHost, host_in_state, make_host, parse_host
from hermeion.lab.labfile import LabFile, read_lab_file
from hermeion.lab.progress import Report
from hermeion.lab.shares import parse_shared, read_share
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
    shared: Annotated[
        list[str] | None,
        typer.Option(
            "--shared",
            metavar="PATH=HOST,HOST[:TYPE]",
            help="A folder that these hosts share, e.g. /srv/models=gpu-1,gpu-2; with :nfs4, findmnt in them calls it "
            "that. Kept, with the hosts, by an up that names neither.",
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
    wanted = wanted or _hosts_of(name)
    if shared:
        places = parse_shared(shared, [one.name for one in wanted])
        wanted = [replace(one, shared=places[one.name]) for one in wanted]
    lab = fleet.raise_lab(name, wanted, Report(), engine_too=engine, native_too=native)
    _print_table(lab, {entry.name: "running" for entry in lab.hosts})
    option = _option(name)
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
def cut(host: HostName, name: Name = "lab") -> None:
    """Take a host off the network, as if its cable were pulled; join, up or a reboot puts it back.

    Example: `hermeion lab cut gpu-2`
    """
    fleet.cut_host(read_lab_file(name), host)
    typer.echo(f"{host} is off the network. Put it back: hermeion lab join {host}{_option(name)}")


@app.command()
def join(host: HostName, name: Name = "lab") -> None:
    """Put a host that was cut off back on the network, with the address that it had.

    Example: `hermeion lab join gpu-2`
    """
    fleet.join_host(read_lab_file(name), host)
    typer.echo(f"{host} is on the network")


@app.command("publish")
def publish_folder(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="ORG/NAME on the lab's Hub, or s3://BUCKET.")],
    folder: Annotated[Path, typer.Argument(help="A folder of this machine; its files are linked, or copied.")],
    name: Name = "lab",
    main: Annotated[
        bool,
        typer.Option("--main", help="Let the branch main stand at it, also if the repository has revisions already."),
    ] = False,
    xet: Annotated[
        Path | None,
        typer.Option(
            "--xet", help='JSON: {"cas": URL, "hashes": {PATH: XET HASH}}: files that are in a Xet storage too.'
        ),
    ] = None,
) -> None:
    """Serve a folder as a revision of a repository, or as a bucket; prints its entry for hermes_catalog.

    The revision is made from the content. Do not change the files in place afterwards: they may be hard links.

    Example: `hermeion lab publish hermeion-lab/big ./shards`
    """
    if repo.startswith("s3://"):
        publish.publish_bucket(name, repo, folder, Report())
        typer.echo(f"served: {repo}")
        return
    storage = json_module.loads(xet.read_text(encoding="utf-8")) if xet else None
    entry = publish.publish_model(name, repo, folder, Report(), main=main, xet=storage)
    typer.echo(entry.model_dump_json(exclude_none=True))


@app.command()
def unpublish(
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="ORG/NAME with all its published revisions, or s3://BUCKET.")
    ],
    name: Name = "lab",
) -> None:
    """Serve no longer what publish served.

    Example: `hermeion lab unpublish hermeion-lab/big`
    """
    if not publish.unpublish(name, repo):
        typer.echo(f"nothing named {repo} is published: nothing to do")


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


def _option(name: str) -> str:
    return "" if name == "lab" else f" --name {name}"


def _hosts_of(name: str) -> list[LabHost]:
    try:
        entries = read_lab_file(name).hosts
    except LabError:  # no such lab yet
        return [parse_host(text) for text in fleet.DEFAULT_HOSTS]
    # A change that was cut off reads "entering driver": such a host is made anew, in that state.
    return [
        replace(
            make_host(entry.name, entry.gpus, entry.suite, parse_states(entry.state.split()[-1])),
            shared=tuple(read_share(text) for text in entry.shared),
        )
        for entry in entries
    ]


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
