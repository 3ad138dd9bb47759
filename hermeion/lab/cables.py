"""A host's cable: pulled and put back. The host runs on, and neither it nor its peers are told.

Docker can take a container off its network too, but brings it back with another interface name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermeion.errors import LabError

from .hosts import run_inside

if TYPE_CHECKING:
    from docker.models.containers import Container

# With the link go its routes; the address stays. /run is gone after a reboot, and so is the cut.
_CUT = """
ip link show dev eth0 up | grep -q . || exit 0
ip -4 route show default dev eth0 >/run/hermeion-lab-cut && ip link set dev eth0 down
"""
_JOIN = """
[ -e /run/hermeion-lab-cut ] || exit 0
ip link set dev eth0 up && read -r route </run/hermeion-lab-cut && ip route replace $route dev eth0 &&
rm /run/hermeion-lab-cut
"""


def cut(container: Container) -> None:
    """Take a running host off the network until ``join`` or its next boot; nothing if it is off.

    Raises:
        LabError: It cannot be done.
    """
    _do(container, _CUT, "cut off")


def join(container: Container) -> None:
    """Put a host that was cut off back, with its address; nothing if it is on.

    Raises:
        LabError: It cannot be done.
    """
    _do(container, _JOIN, "joined")


def _do(container: Container, script: str, what: str) -> None:
    status, said = run_inside(container, script)
    if status:
        message = f"{container.name} cannot be {what}: {said.strip() or f'status {status}'}"
        raise LabError(message)
