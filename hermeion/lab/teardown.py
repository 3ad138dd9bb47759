"""Take a lab down without leaving anything: no container, network, volume or state."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from docker.errors import APIError, NotFound

from .cache import remove_cache
from .daemon import BUILD, LABEL, connect, find_containers, resource_name
from .labfile import list_labs
from .paths import StatePaths
from .progress import Report

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container


def remove_host(client: docker.DockerClient, lab: str, name: str, container: Container, state: StatePaths) -> None:
    """Remove one host with its volume and its state."""
    _stop(container)
    container.remove(force=True, v=True)
    remove_volume(client, resource_name(lab, f"{name}-docker"))
    shutil.rmtree(state.host(name), ignore_errors=True)


def _stop(container: Container) -> None:
    """Stop it without a restart: the policy would bring a host back between kill and remove."""
    with suppress(APIError):  # not running: nothing to stop
        container.update(restart_policy={"Name": "no"})  # type: ignore[arg-type]  # the stubs want a count of retries
        container.kill()


def remove_volume(client: docker.DockerClient, name: str) -> None:
    """Remove a volume if it is there."""
    with suppress(NotFound):
        client.volumes.get(name).remove(force=True)


def lower_lab(name: str, report: Report) -> bool:
    """Remove everything of one lab but the caches; False if there was nothing."""
    state = StatePaths.of(name)
    client = connect()
    containers = find_containers(client, name)
    volumes = client.volumes.list(filters={"label": f"{LABEL}={name}"})
    networks = client.networks.list(filters={"label": f"{LABEL}={name}"})
    found = bool(containers or volumes or networks or state.root.exists())
    for container in containers:
        report.line(f"removing {container.name}")
        _stop(container)
        with suppress(NotFound):
            container.remove(force=True, v=True)
    for volume in volumes:
        volume.remove(force=True)
    for network in networks:
        network.remove()
    shutil.rmtree(state.root, ignore_errors=True)
    return found


def lower_all(report: Report) -> None:
    """Remove every lab, every image with our label, and the caches."""
    client = connect()
    for container in find_containers(client, BUILD[LABEL]):  # of a build that was killed
        container.remove(force=True)
    standing = {str(c.labels[LABEL]) for c in client.containers.list(all=True, filters={"label": LABEL})}
    for name in sorted(set(list_labs()) | standing):
        report.line(f"taking down the lab {name}")
        lower_lab(name, report)
    images = client.images.list(all=False, filters={"label": f"{LABEL}=image"})
    for image in images:
        client.images.remove(str(image.id), force=True)
    for tag in ("hermeion-lab-base:trixie", "hermeion-lab-base:bookworm", "hermeion-lab-base:sid"):
        with suppress(NotFound):
            client.images.remove(tag, force=True)
    remove_cache()
    report.line(f"removed {len(images)} images and the cache")
