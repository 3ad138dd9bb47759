"""What ``plan`` and ``explain`` share: a report from hosts or from files, and how it is shown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hermeion.cli.pyinfra import deploy
from hermeion.errors import HermeionError, ProbeError
from hermeion.forecasts import GIGABIT

if TYPE_CHECKING:
    from hermeion.saved_hosts import SavedHost
    from hermeion.views import Fleet

NOTHING_TO_DO, REFUSED, PENDING = 0, 1, 2


def is_plain(console: Console) -> bool:
    """Whether a picture has to do without colour."""
    return console.no_color or console.color_system is None


def check_target(path: Path) -> None:
    """See that a file can be written, before work is done for it.

    Raises:
        HermeionError: It is a folder, or its folder is not there.
    """
    if path.is_dir():
        raise HermeionError(f"{path} is a folder. Name a file in it, such as {path / 'plan.html'}.")
    if not path.parent.is_dir():
        raise HermeionError(f"{path} cannot be written: there is no folder {path.parent}.")


def write_atomically(path: Path, text: str) -> None:
    """Write a file in one step: it is there whole, or as it was.

    Raises:
        HermeionError: It cannot be written.
    """
    check_target(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HermeionError(f"{path} cannot be written: {error.strerror or error}") from error


def saved_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and those (``*.json``) of the folders named.

    Raises:
        ProbeError: A folder has none.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise ProbeError(
                f"{path}: no saved host (*.json) in this folder. Make one: hermeion probe INVENTORY --save DIR."
            )
        files += found
    return files


def read_saved(inventory: str, paths: Iterable[Path], names: Sequence[str]) -> dict[str, tuple[SavedHost, Path]]:
    """Saved hosts by name, each with its file.

    Raises:
        ProbeError: A file cannot be read, is of a host that is not in the inventory, or of one that another file is of.
    """
    from hermeion.saved_hosts import load_host  # noqa: PLC0415  # not needed to start

    saved: dict[str, tuple[SavedHost, Path]] = {}
    for path in saved_files(paths):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ProbeError(f"{path}: cannot be read: {reason}") from error
        host = load_host(text, str(path))
        if host.host not in names:
            raise ProbeError(
                f"{path}: a saved probe of {host.host}, which is not in {inventory}; there are {', '.join(names)}"
            )
        if host.host in saved:
            raise ProbeError(f"{path}: a second probe of {host.host}; the first is {saved[host.host][1]}")
        saved[host.host] = host, path
    return saved


def offline_report(inventory: str, paths: Sequence[Path], limit: Sequence[str]) -> dict[str, Any]:
    """The report of an inventory and saved hosts: nobody is connected to.

    Raises:
        HermeionError: The inventory or a saved host cannot be used.
    """
    from hermeion.cli.inventories import limited, load_inventory, wanted_by  # noqa: PLC0415  # not needed to start
    from hermeion.reports import plan_saved, wanted_json  # noqa: PLC0415  # same

    hosts = load_inventory(inventory)
    chosen = limited(inventory, hosts, limit)
    specs = wanted_by(chosen)
    saved = read_saved(inventory, paths, [host["name"] for host in hosts])
    report: dict[str, Any] = {"hosts": {}, "seconds": {}, "failed": {}, "unplanned": {}}
    for name, spec in specs.items():
        if name not in saved:
            note = f"no saved probe; make one with `hermeion probe {inventory} --save DIR`"
            report["failed"][name] = f"{name}: not planned: {note}"
            report["unplanned"][name] = wanted_json(spec)
            continue
        host, path = saved[name]
        try:
            report["hosts"][name] = plan_saved(spec, host)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProbeError(
                f"{path}: holds what no host answers ({error}). Make it anew: hermeion probe INVENTORY --save DIR."
            ) from error
        if "refused" in report["hosts"][name]:
            report["failed"][name] = report["hosts"][name]["refused"]
    return report


def find_report(inventory: str, saved: Sequence[Path] | None, limit: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """What is planned for each host, from the hosts themselves or from files, and pyinfra's exit code.

    Raises:
        HermeionError: The run could not begin, a file is broken, or a limit leaves no host.
    """
    if saved:
        return 0, offline_report(inventory, saved, limit)
    options = ["--dry", "-y", *[part for name in limit for part in ("--limit", name)]]
    return deploy(str(Path(inventory)), *options, quiet=True)


def fleet_of(report: dict[str, Any], bandwidth: float, *, offline: bool) -> Fleet:
    """The report as all faces show it.

    Args:
        bandwidth: In Gbit/s.
    """
    from hermeion.fleet import make_fleet  # noqa: PLC0415  # not needed to start

    return make_fleet(report, bandwidth * GIGABIT, offline=offline)


def exit_code(code: int, report: dict[str, Any]) -> int:
    """0 nothing to do (or, from files, everything can be planned), 1 refused or not reached, 2 something to do."""
    hosts = report["hosts"].values()
    if code or report["failed"] or any("refused" in host for host in hosts):
        return REFUSED
    return PENDING if any(host.get("pending") for host in hosts) else NOTHING_TO_DO
