"""Raise a lab, change its hosts, and reach them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hermeion.errors import LabError

from . import apt, cables, hosts, mirrors, served, standing, wheels
from .daemon import LABEL, connect, find_containers
from .images.build import ensure_image
from .keys import ensure_certificates, ensure_ssh_key
from .labfile import HostEntry, LabFile, read_lab_file, write_lab_file
from .network import ensure_network
from .paths import StatePaths, write_atomically
from .progress import Report
from .states import find_state, parse_states, suite_of
from .states.entering import Mirror, enter_state, leave_state, read_current
from .states.kept import Maker
from .supplies import ensure_supplies
from .wheelhouse import ensure_libraries

if TYPE_CHECKING:
    from docker.models.containers import Container

DEFAULT_HOSTS = ("gpu-1=1xL40S", "gpu-2=none")


def raise_lab(
    name: str, wanted: Sequence[hosts.LabHost], report: Report, *, engine_too: bool = True, native_too: bool = False
) -> LabFile:
    """Bring up exactly these hosts with their services; an existing lab is changed, not rebuilt.

    Args:
        engine_too: Also build and publish the engines' images and the models. Without them a lab is up sooner,
            and serves packages only (what an earlier ``up`` published stays).
        native_too: Also serve the wheels that vLLM needs as a native service; once served, they stay.

    Raises:
        LabError: Docker, the mirrors or a host do not do their part; what stands stays for the next try.
    """
    _check_names(wanted)
    state = StatePaths.of(name)
    state.root.mkdir(parents=True, exist_ok=True)
    client = connect()
    ensure_ssh_key(state.key, comment=f"hermeion-lab-{name}")
    suites = {suite: ensure_image(client, "host", report, suite=suite) for suite in sorted({h.suite for h in wanted})}
    services_image = ensure_image(client, "services", report)
    subnet = ensure_network(client, name)
    ensure_certificates(state, name, mirrors.address_of(subnet))

    repository = apt.ensure_repository(client, services_image, report)
    write_atomically(state.apt_key, (repository / "key.asc").read_bytes())
    known = find_finished(name)
    served.serve_apt(state, repository)
    address = mirrors.ensure_services(client, name, subnet, services_image, state, report)
    described = mirrors.describe_mirrors(address, state)
    store = mirrors.describe_s3(address, served.ensure_keys(state))
    mirror = mirror_of(described)
    maker = Maker(client, name, subnet, repository.name, mirror, state, report)
    images = standing.ensure_images(wanted, suites, maker)
    fleet = standing.ensure_hosts(client, name, wanted, subnet, images, state, report)
    lab = LabFile(
        name=name,
        user="root",
        key=str(state.key),
        known_hosts=str(state.known_hosts),
        hosts=standing.describe_hosts(fleet),
        mirrors=described,
        images=known.images if known else {},
        models=known.models if known else [],
        archives=known.archives if known else {},
        requirements=known.requirements if known else {},
        environment=known.environment if known else {},
        s3=store,
    )
    write_lab_file(lab, state)  # the hosts can be used from here on, while the slow parts are made

    try:
        standing.ensure_states(fleet, mirror, state, report)
    finally:
        lab = lab.model_copy(update={"hosts": standing.describe_hosts(fleet)})
        write_lab_file(lab, state)
    if not engine_too:
        served.serve_wheels(state, [folder for folder in [wheels.ensure_wheels(report)] if folder])
        return lab
    native = native_too or bool(lab.requirements)
    supplies = ensure_supplies(client, repository, address, state, report, native=native)
    for one in fleet if native else ():
        ensure_libraries(one.container, one.host.suite)
    lab = lab.model_copy(update=supplies)
    write_lab_file(lab, state)
    return lab


def mirror_of(described: Mapping[str, Any]) -> Mirror:
    """The lab's apt repository, as the scripts of a state reach it, from the mirrors in ``lab.json``."""
    packages = described["apt"]["nvidia"]
    return Mirror(packages["url"], Path(packages["key"]).read_bytes(), Path(described["ca"]).read_bytes())


def change_state(lab: LabFile, host: str, verb: Literal["enter", "leave"], state: str, report: Report) -> LabFile:
    """Let one standing host enter or leave a state; returns the lab as it is then.

    Raises:
        LabError: There is no such host or state, the host is down, or the change fails.
    """
    entry = find_host(lab, host)
    find_state(state)
    needed = suite_of([state])
    if verb == "enter" and needed and needed != entry.suite:
        message = f"{state} exists on {needed} only; {host} has {entry.suite}. Try: hermeion lab up --state {state}"
        raise LabError(message)
    paths = StatePaths.of(lab.name)
    container = _running(lab, host)
    change, said = (enter_state, "entering") if verb == "enter" else (leave_state, "leaving")
    try:
        current = parse_states(read_current(container))
        with report.stage(f"{host}: {said} {state}"):
            change(container, current, state, mirror_of(lab.mirrors), paths.host(host) / "pci")
    finally:
        now = entry.model_copy(update={"state": read_current(container)})
        lab = lab.model_copy(update={"hosts": [now if one.name == host else one for one in lab.hosts]})
        write_lab_file(lab, paths)
    return lab


def _running(lab: LabFile, host: str) -> Container:
    find_host(lab, host)
    found = [c for c in find_containers(connect(), lab.name, "host") if c.labels[f"{LABEL}.host"] == host]
    if not found or found[0].status != "running":
        message = f"{host} is not running: hermeion lab up --name {lab.name} starts it."
        raise LabError(message)
    return found[0]


def cut_host(lab: LabFile, host: str) -> None:
    """Take a host off the network, as if its cable were pulled; it keeps running, and its address stays its own.

    Raises:
        LabError: The lab has no such host, or it is down.
    """
    cables.cut(_running(lab, host))


def join_host(lab: LabFile, host: str) -> None:
    """Put a host that was cut off back, with the address that it had.

    Raises:
        LabError: The lab has no such host, or it is down.
    """
    cables.join(_running(lab, host))


def find_finished(name: str) -> LabFile | None:
    """The lab as it says it is, or None if it does not say so in a way this version understands."""
    try:
        return read_lab_file(name)
    except LabError:
        return None


def _check_names(wanted: Sequence[hosts.LabHost]) -> None:
    names = [host.name for host in wanted]
    double = sorted({name for name in names if names.count(name) > 1})
    if double or "services" in names or "net" in names:
        message = f"host names must differ from each other and from services and net: {', '.join(double or names)}."
        raise LabError(message)


def host_states(lab: LabFile) -> dict[str, str]:
    """What Docker says of each host's container: running, restarting, exited, or gone."""
    client = connect()
    containers = {str(c.labels[f"{LABEL}.host"]): str(c.status) for c in find_containers(client, lab.name, "host")}
    return {host.name: containers.get(host.name, "gone") for host in lab.hosts}


def ssh_command(lab: LabFile, host: str, command: Sequence[str], user: str | None = None) -> list[str]:
    """The argument list that opens a session on ``host``, for ``os.execvp``.

    Raises:
        LabError: The lab has no such host.
    """
    entry = find_host(lab, host)
    options = ["-i", lab.key, "-p", str(entry.port), "-o", f"UserKnownHostsFile={lab.known_hosts}"]
    options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]
    return ["ssh", "-F", os.devnull, *options, f"{user or lab.user}@{entry.address}", *command]


def find_host(lab: LabFile, host: str) -> HostEntry:
    """The lab's host of that name.

    Raises:
        LabError: It has none; names those that it has, and the nearest.
    """
    names = [entry.name for entry in lab.hosts]
    if host in names:
        return lab.hosts[names.index(host)]
    near = difflib.get_close_matches(host, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    message = f"the lab {lab.name!r} has no host {host!r}.{hint} Hosts: {', '.join(names)}."
    raise LabError(message)
