"""The hosts of a lab as they stand: made in parallel, put into their states, and known to ssh."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hermeion.errors import LabError

from . import cables, hosts
from .daemon import LABEL, find_containers, resource_name
from .labfile import HostEntry
from .network import FIRST_HOST
from .paths import StatePaths, write_atomically
from .progress import Report
from .shares import ensure_volumes
from .states import contained_in, format_states, parse_states
from .states.entering import Mirror, enter_state, read_current
from .states.kept import Kept, Maker, keep_images, kept_of
from .teardown import remove_host, remove_volume

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

# Booting and entering wait on disk and network about as long as they compute; more at once only makes each slower,
# and the last of forty would not be up within its time.
_AT_ONCE = 6
# The kernel counts inotify instances per user, and every host's root is this machine's. A host takes about eight
# (systemd, udev, dbus, sshd's PAM), one with Docker more; Linux allows 128, which is enough for sixteen.
_WATCHERS_PER_HOST = 16
_WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Standing:
    """A wanted host and the container that is it."""

    host: hosts.LabHost
    container: Container
    address: str


def ensure_images(wanted: Sequence[hosts.LabHost], suites: Mapping[str, str], maker: Maker) -> dict[str, str]:
    """The image that each host starts from, by its name: its suite's, or one of a host that is in a state already.

    Args:
        suites: The host image of every suite that is wanted.

    Raises:
        LabError: An image of a host in a state cannot be made.
    """
    kept: dict[str, Kept] = {}
    for host in wanted:
        one = kept_of(host.gpus, host.suite, host.states)
        if one:
            kept[host.name] = one
    tags = keep_images(maker, list(kept.values()), suites)
    return {host.name: tags[kept[host.name]] if host.name in kept else suites[host.suite] for host in wanted}


def allow_watchers(count: int, report: Report, setting: Path = _WATCHERS) -> None:
    """Let the kernel give ``count`` hosts the inotify instances that they need; a higher limit stays.

    Raises:
        LabError: The limit is too low and this user may not raise it.
    """
    needed, limit = 64 + _WATCHERS_PER_HOST * count, int(setting.read_text(encoding="ascii"))
    if limit >= needed:
        return
    try:
        setting.write_text(f"{needed}\n", encoding="ascii")
    except OSError as error:
        message = (
            f"{count} hosts need more inotify instances than this machine allows ({limit}), and the limit cannot be "
            f"raised: {error}. Run: sudo sysctl fs.inotify.max_user_instances={needed}"
        )
        raise LabError(message) from error
    report.line(f"fs.inotify.max_user_instances of this machine: {limit} -> {needed}, until it reboots")


def ensure_hosts(
    client: docker.DockerClient,
    lab: str,
    wanted: Sequence[hosts.LabHost],
    subnet: ipaddress.IPv4Network,
    images: Mapping[str, str],
    state: StatePaths,
    report: Report,
) -> list[Standing]:
    """Exactly these hosts, booted: what stands otherwise is removed or made anew.

    Raises:
        LabError: A host cannot be made or does not boot.
    """
    allow_watchers(len(wanted), report)
    kept = _keep(client, lab, wanted, images, state, report)
    taken = {address for container in kept.values() if (address := _address(container, lab))}
    free = (str(subnet[place]) for place in range(FIRST_HOST, subnet.num_addresses - 1))
    places = {
        host.name: _address(kept[host.name], lab)
        if host.name in kept
        else next(candidate for candidate in free if candidate not in taken)
        for host in wanted
    }

    ensure_volumes(client, lab, [share for host in wanted for share in host.shared])

    def stand(host: hosts.LabHost) -> Standing:
        container = kept.get(host.name)
        if container is None:
            remove_volume(client, resource_name(lab, f"{host.name}-docker"))  # of a host that was half removed
            hosts.create_volume(client, lab, host.name)
            container = hosts.create_host(client, lab, host, places[host.name], images[host.name], state)
        elif container.status != "running":
            container.start()
        if hosts.wait_for_boot(container) == "degraded":
            report.line(f"  {container.name}: failed units: {hosts.failed_units(container)}")
        cables.join(container)  # of a test that cut it off
        return Standing(host, container, places[host.name])

    with report.stage(f"booting {', '.join(host.name for host in wanted)}"):
        standing = _in_parallel(stand, wanted)
    _write_known_hosts(standing, state)
    return standing


def ensure_states(standing: Sequence[Standing], mirror: Mirror, state: StatePaths, report: Report) -> None:
    """Put every host into the states that are wanted of it.

    Raises:
        LabError: Some could not be put there; the others are. One message for all of them.
    """
    found = _in_parallel(lambda one: (one, read_current(one.container)), standing)
    waiting = [(one, current) for one, current in found if current != format_states(one.host.states)]

    def enter(case: tuple[Standing, str]) -> None:
        one, current = case[0], parse_states(case[1])
        for name in one.host.states:
            if name not in contained_in(current):
                with report.stage(f"  {one.host.name}: entering {name}"):
                    pci = state.host(one.host.name) / "pci"
                    current = enter_state(one.container, current, name, mirror, pci)

    if waiting:
        with report.stage(f"entering the states of {len(waiting)} hosts"):
            _in_parallel(enter, waiting)


def describe_hosts(standing: Sequence[Standing]) -> list[HostEntry]:
    """The hosts as ``lab.json`` has them, with the states that they say they are in."""

    def describe(one: Standing) -> HostEntry:
        return HostEntry(
            name=one.host.name,
            address=one.address,
            port=22,
            gpus=one.host.gpus.text,
            suite=one.host.suite,
            state=read_current(one.container),
            shared=[share.text for share in one.host.shared],
        )

    return _in_parallel(describe, standing)


def _in_parallel(work: Callable[[_Given], _Made], items: Sequence[_Given]) -> list[_Made]:
    """``work`` on every item, a few at once; every item is tried before the first failure is raised."""
    made: list[_Made] = []
    failures: list[str] = []
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for future in [pool.submit(work, item) for item in items]:
            try:
                made.append(future.result())
            except LabError as error:
                failures.append(str(error))
    if failures:
        raise LabError("\n".join(failures))
    return made


def _keep(
    client: docker.DockerClient,
    lab: str,
    wanted: Sequence[hosts.LabHost],
    images: Mapping[str, str],
    state: StatePaths,
    report: Report,
) -> dict[str, Container]:
    """Containers that are as wanted, by host; the others are removed."""
    marks = {host.name: hosts.host_labels(lab, host, images[host.name], state) for host in wanted}
    states = {host.name: format_states(host.states) for host in wanted}
    kept: dict[str, Container] = {}
    for container in find_containers(client, lab, "host"):
        name = str(container.labels[f"{LABEL}.host"])
        # A host that was made before hosts could share folders shares none.
        said = {hosts.SHARED_LABEL: ""} | container.labels
        same = name in marks and marks[name].items() <= said.items()
        if same and read_current(container) == states[name]:
            kept[name] = container
        else:
            report.line(f"removing host {name} ({container.labels.get(f'{LABEL}.gpus')})")
            remove_host(client, lab, name, container, state)
    return kept


def _address(container: Container, lab: str) -> str:
    """The fixed address, also of a stopped container."""
    endpoint = container.attrs["NetworkSettings"]["Networks"][resource_name(lab, "net")]
    return str((endpoint.get("IPAMConfig") or {}).get("IPv4Address") or endpoint["IPAddress"])


def _write_known_hosts(standing: Sequence[Standing], state: StatePaths) -> None:
    lines = []
    for one in standing:
        public = (state.host(one.host.name) / "ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()
        lines.append(f"{one.address},{one.host.name} {public[0]} {public[1]}\n")
    write_atomically(state.known_hosts, "".join(lines))
