"""The Docker daemon of this machine, and what in it belongs to a lab."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException

from hermeion.errors import LabError

if TYPE_CHECKING:
    from docker.models.containers import Container

LABEL = "org.hermeion.lab"  # value: the lab's name, or "image" on images
BUILD = {LABEL: "-build"}  # containers that only make something; no lab can have that name


def connect() -> docker.DockerClient:
    """A client of the local daemon.

    Raises:
        LabError: The daemon does not answer.
    """
    try:
        # Building, exporting and stopping may take minutes without a byte; the default of 60 s cuts them.
        client = docker.from_env(timeout=600)
        client.ping()
    except DockerException as error:
        message = (
            f"the lab needs Docker, and its daemon does not answer: {error}. Start it (systemctl start docker, or "
            "in the background: dockerd), then run the same command again; you may also lack the group docker."
        )
        raise LabError(message) from error
    return client


def labels(name: str, part: str) -> dict[str, str]:
    """Labels of everything that belongs to the lab ``name``; ``part`` says what it is: host, services, …"""
    return {LABEL: name, f"{LABEL}.part": part}


def resource_name(lab: str, part: str) -> str:
    """The one naming scheme of containers, networks and volumes."""
    return f"hermeion-{lab}-{part}"


def find_containers(client: docker.DockerClient, lab: str, part: str | None = None) -> list[Container]:
    """Containers of a lab, running or not, by name."""
    filters: list[str] = [f"{LABEL}={lab}"]
    if part is not None:
        filters.append(f"{LABEL}.part={part}")
    # A container that vanishes between listing and inspecting is simply not there.
    found = client.containers.list(all=True, filters={"label": filters}, ignore_removed=True)
    return sorted(found, key=lambda container: str(container.name))


def make_archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar of ``path -> (content, mode)``, owned by root, without times: same files, same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            content, mode = files[path]
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tail_of_log(container: Container, lines: int = 15) -> str:
    """The last lines a container wrote, for error messages."""
    return bytes(container.logs(tail=lines)).decode(errors="replace").strip()
