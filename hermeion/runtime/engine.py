"""Docker itself and Compose: what is there, and which packages bring what is missing."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

from hermeion.errors import PlacementError
from hermeion.inventory import HostSpec
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.runtime.versions import version_of, version_text

OLDEST_DOCKER = (20, 10, 0)
"""The oldest in a distribution that Hermeion serves: Debian 12, and Ubuntu 22.04 as it was released."""

FIRST_WITH_CDI = (25, 0, 0)
"""https://docs.docker.com/engine/release-notes/25.0/."""

OLDEST_COMPOSE = (2, 26, 1)
"""The oldest that Hermeion's Compose file was tried with: Debian 13's."""

OWNERS: dict[str, Literal["distribution", "docker", "moby"]] = {
    "docker-ce": "docker",
    "docker.io": "distribution",
    "moby-engine": "moby",
}
"""Whose Docker it is, by the package that has the daemon."""


class DistributionDocker(Record):
    """A distribution's own Docker. Versions are the newest of its index."""

    id: str
    version: str
    packages: tuple[str, ...]
    compose: str
    engine: str
    compose_version: str


class DockerRepository(Record):
    """Docker's own repository: its packages, and the releases of distributions that it serves."""

    packages: tuple[str, ...]
    compose: str
    releases: dict[str, tuple[str, ...]]


class Engine(Record):
    """What happens to Docker and Compose.

    Attributes:
        source: Whose Docker is installed; ``None``: the one that is there stays.
        version: Of the Docker that is there or will be; ``None``: the newest of Docker's own.
    """

    source: Literal["distribution", "docker"] | None = None
    version: tuple[int, int, int] | None
    packages: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@cache
def docker_packages() -> tuple[dict[tuple[str, str], DistributionDocker], DockerRepository]:
    """The distributions' own Docker by id and release, and Docker's repository."""
    table = tomllib.loads(files("hermeion.data").joinpath("docker.toml").read_text())
    rows = [DistributionDocker.model_validate(row) for row in table["distribution"]]
    return {(row.id, row.version): row for row in rows}, DockerRepository.model_validate(table["docker"])


def owner_of(probe: Probe) -> Literal["distribution", "docker", "moby"] | None:
    """Whose Docker is installed, or ``None``: no known package."""
    return next((owner for package, owner in OWNERS.items() if package in probe.packages), None)


def docker_version(probe: Probe) -> tuple[int, int, int] | None:
    """Version of the Docker that is there: as it says itself, else as its package says."""
    package = next((package for package in OWNERS if package in probe.packages), "")
    return version_of(probe.docker) or version_of(probe.packages.get(package))


def gpu_access(probe: Probe) -> Literal["cdi", "runtime"]:
    """How containers get GPUs on this host: by CDI, or by NVIDIA's runtime where Docker is older than 25.

    Whatever is installed anew knows CDI.
    """
    version = docker_version(probe)
    return "runtime" if version and version < FIRST_WITH_CDI else "cdi"


def check_docker(name: str, probe: Probe) -> None:
    """Refuse a Docker that is there and cannot be used.

    Raises:
        PlacementError: It is somebody's rootless one, Podman under its name, masked, or too old; or Compose is.
    """
    if probe.engine.rootless:
        raise PlacementError(
            f"{name}: the Docker that answers is a rootless one, and services of the system need Docker's own "
            "service. Take DOCKER_HOST or the context out of root's environment, then run again."
        )
    if not (probe.engine.installed or probe.docker):
        return
    version = docker_version(probe)
    if version is None and "podman-docker" in probe.packages:
        raise PlacementError(
            f"{name}: `docker` is Podman here (package podman-docker), which does not start what Hermeion writes for "
            "Docker Compose. Remove podman-docker, then run again; Podman itself may stay."
        )
    if version is None:
        raise PlacementError(
            f"{name}: there is a `docker` command of no package that Hermeion knows, and no Docker answers. Start "
            "its daemon, or remove the command (podman-docker, Docker of a snap), then run again."
        )
    if probe.engine.enabled == "masked":
        raise PlacementError(
            f"{name}: docker.service is masked: somebody has switched it off for good. `systemctl unmask docker`, "
            "then run again."
        )
    if version < OLDEST_DOCKER:
        raise PlacementError(
            f"{name}: Docker {probe.docker or version_text(version)} is older than 20.10, the oldest that Hermeion "
            "knows. Upgrade it, then run again."
        )
    compose = version_of(probe.compose)
    if compose and compose < OLDEST_COMPOSE:
        raise PlacementError(
            f"{name}: Docker Compose {probe.compose} is older than {version_text(OLDEST_COMPOSE)}, the oldest that "
            f"Hermeion's Compose file was tried with. Upgrade {_compose_package(probe) or 'it'}, then run again."
        )


def decide_engine(name: str, spec: HostSpec, probe: Probe) -> Engine:
    """Packages that bring Docker and Compose, or what has to be started.

    Raises:
        PlacementError: Nothing fits, or the inventory forbids it.
    """
    check_docker(name, probe)
    if not (probe.engine.installed or probe.docker):
        return _install(name, spec, probe)
    reasons: list[str] = []
    packages: tuple[str, ...] = ()
    if not probe.compose:
        package = _compose_package(probe)
        if package is None or not spec.hermes_runtime.install:
            raise PlacementError(_no_compose(name, probe, package))
        packages = (package,)
        reasons.append(f"Docker Compose is missing; {package} brings it.")
    if not probe.docker:
        state = probe.engine.active
        reasons.append(
            f"Docker is {state}, and is started." if state not in {"", "active"} else "Docker does not answer."
        )
    if probe.engine.enabled == "disabled":
        reasons.append("Docker does not start at boot, and is enabled.")
    remarks = ("Docker is part of a swarm, where live-restore does not work.",) if probe.engine.swarm else ()
    return Engine(version=docker_version(probe), packages=packages, reasons=tuple(reasons), remarks=remarks)


def _release(probe: Probe) -> tuple[str, str]:
    """Id and release; of RHEL and its rebuilds the major release, which packages are made for."""
    version = probe.os_version if probe.os_id in {"debian", "ubuntu"} else probe.os_version.partition(".")[0]
    return probe.os_id, version


def _compose_package(probe: Probe) -> str | None:
    own, repository = docker_packages()
    owner = owner_of(probe)
    if owner == "docker":
        return repository.compose
    row = own.get(_release(probe)) if owner == "distribution" else None
    return row.compose if row else None


def _no_compose(name: str, probe: Probe, package: str | None) -> str:
    start = f"{name}: Docker {probe.docker or ''}".rstrip() + " is here without Compose"
    if package is not None:
        return f"{start}, and hermes_runtime/install is false. Install {package}, or set it to true, then run again."
    if owner_of(probe) == "moby":
        return f"{start}. Install Compose v2 from where moby-engine came from (moby-compose), then run again."
    return (
        f"{start}, and {probe.os_id} {probe.os_version} has no Compose v2 for it. Put Compose 2.26.1 or newer into "
        "/usr/local/lib/docker/cli-plugins, or replace Docker by the one of Docker's repository, then run again."
    )


def _install(name: str, spec: HostSpec, probe: Probe) -> Engine:
    by_hand = "Install Docker 25 or newer with Compose 2.26.1 or newer by hand"
    if not spec.hermes_runtime.install:
        raise PlacementError(
            f"{name}: Docker is missing, and hermes_runtime/install is false. {by_hand}, or set it to true, then run "
            "again."
        )
    own, repository = docker_packages()
    release = _release(probe)
    row = own.get(release)
    served = release[1] in repository.releases.get(release[0], ())
    source = spec.hermes_runtime.source
    system = f"{probe.os_id} {probe.os_version}"
    if source == "distribution" and row is None:
        other = "Set hermes_runtime/source to 'docker' or 'auto'" if served else by_hand
        raise PlacementError(
            f"{name}: {system} has no Docker of its own that knows CDI (25 or newer) and has Compose v2. {other}, "
            "then run again."
        )
    owner = owner_of(probe)
    if row is not None and (source == "distribution" or (source == "auto" and owner != "docker")):
        reason = f"Docker is missing; {system} has {row.engine} with Compose {row.compose_version}."
        return Engine(source="distribution", version=version_of(row.engine), packages=row.packages, reasons=(reason,))
    if served:
        reason = "Docker is missing; it comes from Docker's own repository."
        return Engine(source="docker", version=None, packages=repository.packages, reasons=(reason,))
    raise PlacementError(f"{name}: Docker is missing, and there is none for {system} here. {by_hand}, then run again.")
