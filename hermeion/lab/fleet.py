"""Raise a lab, change its hosts, and reach them."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermeion.errors import LabError

from . import apt, engine, hosts, mirrors, tiny, wheels
from .daemon import LABEL, connect, find_containers, resource_name
from .images.build import ensure_image
from .keys import ensure_certificates, ensure_ssh_key
from .labfile import HostEntry, LabFile, read_lab_file, write_lab_file
from .network import FIRST_HOST, ensure_network
from .paths import StatePaths, write_atomically
from .progress import Report
from .teardown import remove_host, remove_volume

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

DEFAULT_HOSTS = ("gpu-1=1xL40S", "gpu-2=none")


def raise_lab(name: str, wanted: Sequence[hosts.LabHost], report: Report) -> LabFile:
    """Bring up exactly these hosts with their services; an existing lab is changed, not rebuilt.

    Raises:
        LabError: Docker, the mirrors or a host do not do their part; what stands stays for the next try.
    """
    _check_names(wanted)
    state = StatePaths.of(name)
    state.root.mkdir(parents=True, exist_ok=True)
    client = connect()
    ensure_ssh_key(state.key, comment=f"hermeion-lab-{name}")
    host_image = ensure_image(client, "host", report)
    services_image = ensure_image(client, "services", report)
    subnet = ensure_network(client, name)
    ensure_certificates(state, name, mirrors.address_of(subnet))
    entries = _ensure_hosts(client, name, wanted, subnet, host_image, state, report)

    repository = apt.ensure_repository(client, services_image, report)
    write_atomically(state.apt_key, (repository / "key.asc").read_bytes())
    known = find_finished(name)
    if known is None:
        mirrors.write_served(state, apt=repository, index=None, models=[])
    address = mirrors.ensure_services(client, name, subnet, services_image, state, report)
    lab = LabFile(
        name=name,
        user="root",
        key=str(state.key),
        known_hosts=str(state.known_hosts),
        hosts=entries,
        mirrors=mirrors.describe_mirrors(address, state),
        images=known.images if known else {},
        models=known.models if known else [],
    )
    write_lab_file(lab, state)  # the hosts can be used from here on, while the slow parts are made

    index = wheels.ensure_wheels(report)
    engine_image = ensure_image(client, "engine", report)
    site = engine.ensure_site(client, engine_image, report)
    published = engine.ensure_engine(client, engine_image, site, address, state, report)
    folder = tiny.ensure_model(client, engine_image, site, report)
    model = tiny.describe_model(folder)
    mirrors.write_served(state, apt=repository, index=index, models=[(model.repo, model.revision, folder)])
    lab = lab.model_copy(update={"images": {"vllm": published}, "models": [model]})
    write_lab_file(lab, state)
    return lab


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


def _ensure_hosts(
    client: docker.DockerClient,
    lab: str,
    wanted: Sequence[hosts.LabHost],
    subnet: ipaddress.IPv4Network,
    image: str,
    state: StatePaths,
    report: Report,
) -> list[HostEntry]:
    standing = {str(c.labels[f"{LABEL}.host"]): c for c in find_containers(client, lab, "host")}
    marks = {host.name: hosts.host_labels(lab, host, state) for host in wanted}
    for name, container in list(standing.items()):
        if name not in marks or not marks[name].items() <= container.labels.items():
            report.line(f"removing host {name} ({container.labels.get(f'{LABEL}.gpus')})")
            remove_host(client, lab, name, container, state)
            del standing[name]
    taken = {address for c in standing.values() if (address := _address(c, lab))}
    free = (str(subnet[place]) for place in range(FIRST_HOST, subnet.num_addresses - 1))
    booting: list[tuple[hosts.LabHost, Container, str]] = []
    for host in wanted:
        if host.name in standing:
            container = standing[host.name]
            address = _address(container, lab)
            if container.status != "running":
                container.start()
        else:
            address = next(candidate for candidate in free if candidate not in taken)
            taken.add(address)
            remove_volume(client, resource_name(lab, f"{host.name}-docker"))  # of a host that was half removed
            hosts.create_volume(client, lab, host.name)
            container = hosts.create_host(client, lab, host, address, image, state)
        booting.append((host, container, address))
    with report.stage(f"booting {', '.join(host.name for host in wanted)}"):
        for _, container, _ in booting:
            if hosts.wait_for_boot(container) == "degraded":
                report.line(f"  {container.name}: failed units: {hosts.failed_units(container)}")
    _write_known_hosts(booting, state)
    return [HostEntry(name=host.name, address=address, port=22, gpus=host.gpus.text) for host, _, address in booting]


def _address(container: Container, lab: str) -> str:
    """The fixed address, also of a stopped container."""
    endpoint = container.attrs["NetworkSettings"]["Networks"][resource_name(lab, "net")]
    return str((endpoint.get("IPAMConfig") or {}).get("IPv4Address") or endpoint["IPAddress"])


def _write_known_hosts(booting: list[tuple[hosts.LabHost, Container, str]], state: StatePaths) -> None:
    lines = []
    for host, _, address in booting:
        public = (state.host(host.name) / "ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()
        lines.append(f"{address},{host.name} {public[0]} {public[1]}\n")
    write_atomically(state.known_hosts, "".join(lines))


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
    for entry in lab.hosts:
        if entry.name == host:
            options = ["-i", lab.key, "-p", str(entry.port), "-o", f"UserKnownHostsFile={lab.known_hosts}"]
            options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]
            return ["ssh", "-F", os.devnull, *options, f"{user or lab.user}@{entry.address}", *command]
    names = ", ".join(entry.name for entry in lab.hosts)
    message = f"the lab {lab.name!r} has no host {host!r}. Hosts: {names}."
    raise LabError(message)
