"""Put a host into a state, and take it out again."""

from __future__ import annotations

import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from docker.errors import APIError, NotFound

from hermeion.errors import LabError

from ..daemon import make_archive
from ..hosts import run_inside, wait_for_boot
from . import State, after_entering, after_leaving, chain_of, contained_in, find_state, format_states, read_script

if TYPE_CHECKING:
    from docker.models.containers import Container

_FOLDER = "/var/lib/hermeion-lab"  # on the host: its states, and what its scripts need to reach the lab's mirror
_REBOOT_SECONDS = 60.0
_DISPLAY = 0x03  # PCI base class of GPUs, VGA or 3D; NVSwitches have 0x06 and keep their driver


@dataclass(frozen=True)
class Mirror:
    """The lab's apt repository: its URL, the key that signs it, and the CA certificate of its server."""

    url: str
    key: bytes
    ca: bytes


def read_current(container: Container) -> str:
    """The host's states as it was left: also of a host that is stopped, or whose entering was cut off."""
    try:
        stream, _ = container.get_archive(f"{_FOLDER}/states")
    except NotFound:
        return format_states(())
    with tarfile.open(fileobj=BytesIO(b"".join(stream))) as archive:
        file = archive.extractfile("states")
        return file.read().decode().strip() if file else ""


def enter_state(
    container: Container, current: tuple[str, ...], name: str, mirror: Mirror, pci: Path
) -> tuple[str, ...]:
    """Enter a state with everything it stands on; returns what the host is in afterwards.

    Args:
        pci: The host's PCI tree on this machine.

    Raises:
        LabError: It is in that state already, or a step fails; carries the step's last lines.
    """
    inside = contained_in(current)
    if name in inside:
        message = f"{container.name} is in the state {name} already."
        raise LabError(message)
    _put_mirror(container, mirror)
    _write_current(container, f"entering {name}")
    for state in chain_of(name):
        if state.name not in inside:
            _run(container, state, "enter", mirror)
            if state.pci:
                bind_functions(pci, state.pci)
            if state.reboot:
                reboot(container)
    after = after_entering(current, name)
    _write_current(container, format_states(after))
    return after


def leave_state(
    container: Container, current: tuple[str, ...], name: str, mirror: Mirror, pci: Path
) -> tuple[str, ...]:
    """Undo one state; what it stands on stays. Returns what the host is in afterwards.

    Raises:
        LabError: It is not in that state, the state cannot be left, or the script fails.
    """
    after = after_leaving(current, name)
    state = find_state(name)
    _put_mirror(container, mirror)
    _write_current(container, f"leaving {name}")
    _run(container, state, "leave", mirror)
    if state.pci:
        bind_functions(pci, None)
    if state.reboot:
        reboot(container)
    _write_current(container, format_states(after))
    return after


def bind_functions(tree: Path, driver: str | None) -> None:
    """Give every GPU of a PCI tree the ``driver`` link that the kernel shows, or take it away."""
    for folder in tree.iterdir():
        if int((folder / "class").read_text(encoding="ascii"), 16) >> 16 != _DISPLAY:
            continue
        link = folder / "driver"
        link.unlink(missing_ok=True)
        if driver:
            link.symlink_to(f"../../../../bus/pci/drivers/{driver}")


def reboot(container: Container) -> None:
    """Reboot a host from inside and wait until it is back.

    Raises:
        LabError: It does not go down, or does not come up.
    """
    container.reload()
    before = container.attrs["State"]["StartedAt"]
    with suppress(APIError):  # the call may end with the host
        run_inside(container, "systemctl reboot")
    deadline = time.monotonic() + _REBOOT_SECONDS
    while time.monotonic() < deadline:
        container.reload()
        if container.attrs["State"]["StartedAt"] != before and container.status == "running":
            wait_for_boot(container)
            return
        time.sleep(0.2)
    message = f"{container.name} did not go down for its reboot within {_REBOOT_SECONDS:.0f} s."
    raise LabError(message)


def _run(container: Container, state: State, action: str, mirror: Mirror) -> None:
    environment = {
        "LAB_APT_URL": mirror.url,
        "LAB_APT_KEY": f"{_FOLDER}/apt-key.asc",
        "LAB_CA": f"{_FOLDER}/ca.pem",
    }
    script = f"{read_script(state.name)}\n{action}"
    result = container.exec_run(["sh", "-c", script], environment=environment)
    if result.exit_code:
        said = cast("bytes", result.output).decode(errors="replace").strip().splitlines()
        tail = "\n    ".join(said[-15:])
        message = (
            f"{container.name} could not {action} the state {state.name} (exit {result.exit_code}):\n    {tail}\n"
            "The host is between two states: hermeion lab up makes it anew."
        )
        raise LabError(message)


def _put_mirror(container: Container, mirror: Mirror) -> None:
    _put(container, {"apt-key.asc": mirror.key, "ca.pem": mirror.ca})


def _write_current(container: Container, text: str) -> None:
    _put(container, {"states": f"{text}\n".encode()})


def _put(container: Container, files: dict[str, bytes]) -> None:
    paths = {f"{_FOLDER.lstrip('/')}/{name}": (content, 0o644) for name, content in files.items()}
    container.put_archive("/", make_archive(paths))
