"""``hermeion probe``: what hosts are like, asked once and kept in files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hermeion.cli.faces import write_atomically
from hermeion.cli.pyinfra import deploy
from hermeion.errors import HermeionError
from hermeion.units import format_bytes

if TYPE_CHECKING:
    from hermeion.probe import Probe
    from hermeion.saved_hosts import SavedHost


def file_name(host: str) -> str:
    """``@docker/x`` as the name of a file in any folder: ``_docker_x.json``."""
    return re.sub(r"^\.", "_", re.sub(r"[^\w.-]", "_", host)) + ".json"


def targets(names: list[str], save: Path) -> dict[str, Path]:
    """The file of each host: ``save`` itself where it is named like a file, else one in that folder, which is made.

    Raises:
        HermeionError: Several hosts for one file, or the folder cannot be made.
    """
    if save.suffix == ".json" and not save.is_dir():
        if len(names) > 1:
            raise HermeionError(f"{save} is one file, and {len(names)} hosts answered. Name a folder, or one host.")
        return dict.fromkeys(names, save)
    try:
        save.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HermeionError(f"{save} cannot be made: {error.strerror or error}") from error
    files: dict[str, Path] = {}
    for name in names:
        path = save / file_name(name)
        if path in files.values():
            raise HermeionError(
                f"{path} would be the file of two hosts; probe them one by one, each into its own file."
            )
        files[name] = path
    return files


def _gpus(probe: Probe) -> str:
    from hermeion.gpus import find_model  # noqa: PLC0415  # not needed to start

    if probe.smi:
        names = [gpu.name for gpu in probe.smi]
    else:
        known = [(find_model(gpu.device_id, gpu.subsystem), gpu.device_id) for gpu in probe.gpus]
        names = [model.name if model else f"10de:{device_id}" for model, device_id in known]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "none"


def host_lines(saved: SavedHost) -> Iterator[Text]:
    """A host in a few lines."""
    from hermeion.pictures import clean  # noqa: PLC0415  # not needed to start

    probe = saved.probe
    driver = f"driver {probe.smi[0].driver}" if probe.smi else "no driver answers"
    if probe.driver.flavour:
        library = probe.driver.library or "missing"
        driver += f" ({probe.driver.flavour} module {probe.driver.module}, libraries {library})"
    docker = f"Docker {probe.docker}, Compose {probe.compose or 'missing'}" if probe.docker else "no Docker"
    yield Text(clean(saved.host), style="bold")
    yield Text(clean(f"  {probe.os_id} {probe.os_version}, kernel {probe.kernel}, {probe.machine}"))
    yield Text(clean(f"  GPUs: {_gpus(probe)}; {driver}; {docker}"))
    for disk in probe.disks.values():
        state = "" if disk.writable else ", read-only"
        yield Text(clean(f"  {disk.path}: {format_bytes(disk.free)} free of {format_bytes(disk.total)}{state}"))
    for name, (release, _) in sorted(probe.releases.items()):
        yield Text(clean(f"  {name}: release {release}"))


def _answer(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hosts": {name: json.loads(host["saved"]) for name, host in report["hosts"].items()},
        "failed": report["failed"],
    }


def probe(
    inventory: Annotated[str, typer.Argument(help="pyinfra inventory, such as inventories/lab.py.")],
    hosts: Annotated[list[str] | None, typer.Argument(help="Only these hosts or groups.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR_OR_FILE", help="Folder for a file per host, or the .json of one host.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Ask each host once what it is like: GPUs, driver, Docker, disks, releases; nothing is changed.

    With --save the answers can be planned from without a connection: `hermeion plan INVENTORY --from DIR`. The files
    hold no secret: user names and passwords in URLs and values of keys such as "splunk-token" in Docker's daemon.json
    are replaced by REDACTED, and hashes of files that only root may read are left out. They do tell the hosts' names,
    GPUs, kernel, packages and paths.

    Exit code: 0 every host answered, 1 one did not.

    Example: `hermeion probe inventories/lab.py --save probes`

    Example: `hermeion probe inventories/lab.py gpu-1 --save gpu-1.json`
    """
    from hermeion.saved_hosts import load_host  # noqa: PLC0415  # not needed to start

    limits = [part for name in hosts or () for part in ("--limit", name)]
    _, report = deploy(str(Path(inventory)), "--dry", "-y", *limits, quiet=True, file="probe.py")
    errors = Console(stderr=True, soft_wrap=True)
    if save:
        for name, path in targets(list(report["hosts"]), save).items():
            write_atomically(path, report["hosts"][name]["saved"])
            errors.print(f"{name}: {path}", markup=False, highlight=False)
    if as_json:
        typer.echo(json.dumps(_answer(report), indent=2))
    elif not save:
        console = Console(soft_wrap=True)
        for name, host in report["hosts"].items():
            for line in host_lines(load_host(host["saved"], name)):
                console.print(line)
    for name, host in report["hosts"].items():
        if host["unread"]:
            errors.print(f"{name}: saved without its own models: {host['unread']}", markup=False, highlight=False)
    for note in report["failed"].values():
        errors.print(note, style="red", markup=False, highlight=False)
    raise typer.Exit(1 if report["failed"] else 0)
