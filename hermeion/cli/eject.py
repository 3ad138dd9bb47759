"""``hermeion eject``: a service's files, for whoever runs it on without Hermeion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hermeion.cli.faces import find_report, write_atomically
from hermeion.cli.plan import More, Saved, all_saved
from hermeion.errors import HermeionError

if TYPE_CHECKING:
    from hermeion.plans import Service
    from hermeion.render import RenderedFile


def planned(report: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """The plan of a service by host, as JSON.

    Raises:
        HermeionError: No host has it; what was planned, and what was not, is listed.
    """
    services = {
        host: {service["name"]: service for service in entry["plan"]["services"]}
        for host, entry in report["hosts"].items()
        if entry.get("plan")
    }
    if found := {host: there[name] for host, there in services.items() if name in there}:
        return found
    there = sorted({other for of_host in services.values() for other in of_host})
    reasons = [str(reason) for reason in report["failed"].values()]
    raise HermeionError("\n".join([f"no plan has a service {name}; there are {', '.join(there) or 'none'}", *reasons]))


def one_of(found: Mapping[str, dict[str, Any]], name: str) -> tuple[str, dict[str, Any]]:
    """The one host's plan of a service.

    Raises:
        HermeionError: There are several.
    """
    if len(found) > 1:
        raise HermeionError(f"{name} is planned on {', '.join(found)}, each with GPUs of its own. Choose: --host NAME.")
    return next(iter(found.items()))


def lock_of(host: str, entry: Mapping[str, Any], name: str) -> str | None:
    """Text of the file that the service's ``requirements`` names in the inventory.

    Raises:
        InventoryError: It cannot be read.
    """
    from hermeion.named_files import read_named  # noqa: PLC0415  # not needed to start

    wanted = entry.get("wanted", {}).get("hermes_services", ())
    paths = {service["name"]: service.get("requirements") for service in wanted}
    return read_named(host, f"hermes_services/{name}/requirements", paths.get(name))


def check_folder(folder: Path, *, force: bool) -> None:
    """See that the files may go into a folder, before work is done for them.

    Raises:
        HermeionError: It is a file, or holds something.
    """
    if folder.exists() and not folder.is_dir():
        raise HermeionError(f"{folder} is a file. Name a folder: --output DIR.")
    if not force and folder.exists() and any(folder.iterdir()):
        raise HermeionError(
            f"{folder} is not empty. Name another folder (--output DIR), or write over what has the same names "
            "(--force)."
        )


def write(folder: Path, files: Sequence[RenderedFile]) -> None:
    """Write the files, readable by everybody: the engine has a user of its own, and no secret is in them.

    Raises:
        HermeionError: The folder cannot be made, or a file not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HermeionError(f"{folder} cannot be made: {error.strerror or error}") from error
    for file in files:
        path = folder / file.path
        write_atomically(path, file.content)
        path.chmod(int(file.mode, 8))


def _answer(service: Service, folder: Path, files: Sequence[RenderedFile]) -> dict[str, Any]:
    return {
        "service": service.name,
        "host": service.host,
        "release": service.release_id,
        "folder": str(folder),
        "files": {file.path: file.sha256 for file in files},
    }


def eject(
    service: Annotated[str, typer.Argument(help="Name of the service, as in hermes_services.")],
    inventory: Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")],
    more: More = None,
    saved: Saved = None,
    host: Annotated[str | None, typer.Option(help="Of which host; needed where several have the service.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write. [default: ./SERVICE]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write what would run, for whoever goes on without Hermeion; nothing is changed on any host.

    A folder with compose.yaml, or with the systemd unit, launch.sh and the locked requirements; the engine's
    configuration; and a README.md that says in a few commands how to run it on that host. Keys are not in it: a
    placeholder stands in their place.

    With --from nobody is connected to. Then it works for a service whose commit and digest are known: one that ran when
    the host was saved, or that the inventory pins.

    Exit code: 0 it is written, 1 the service is not planned or the folder is not empty, 3 something of it is not known
    yet.

    Example: `hermeion eject hermes inventory.py --host gpu-1`

    Example: `hermeion eject hermes inventory.py --from probes/gpu-1.json --output hermes-by-hand`
    """
    folder = output or Path(service)
    check_folder(folder, force=force)
    _, report = find_report(inventory, all_saved(saved, more), [host] if host else ())
    name, plan = one_of(planned(report, service), service)
    from hermeion.eject import ejected_files  # noqa: PLC0415  # not needed to start
    from hermeion.plans import Service as Planned  # noqa: PLC0415  # same
    from hermeion.resources import share  # noqa: PLC0415  # same

    chosen = Planned.model_validate(plan)
    files = ejected_files(chosen, share("templates"), lock_of(name, report["hosts"][name], service))
    write(folder, files)
    if as_json:
        typer.echo(json.dumps(_answer(chosen, folder, files), indent=2))
        return
    console = Console(soft_wrap=True)
    for file in files:
        console.print(str(folder / file.path), markup=False, highlight=False)
    console.print(f"{service} as on {name}, release {chosen.release_id}; {folder / 'README.md'} says how to run it.")
