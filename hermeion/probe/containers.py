"""The part of a probe that is about Docker."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hermeion.records import Record


class Container(Record):
    """A container. ``service`` and ``release`` are its labels, empty for one that is not ours.

    Attributes:
        id: 64 hexadecimal digits.
        gpu_access: How it was given GPUs: ``cdi``; ``hook``, which a reload of systemd undoes; or ``None``.
    """

    id: str = ""
    name: str = ""
    state: str
    service: str = ""
    release: str = ""
    gpu_access: str | None = None


class Docker(Record):
    """Docker beyond its version.

    Attributes:
        installed: Whether its command is there, whether or not the daemon answers.
        active: systemd's word for its unit.
        enabled: Whether its unit starts at boot, in systemd's word.
        live_restore: Whether containers survive a restart of the daemon.
        cdi_folders: Where the daemon looks for CDI specifications; empty: CDI is off or unknown to it.
        runtimes: Names of its OCI runtimes that matter here: ``nvidia``.
        swarm: Whether it is part of a swarm.
        rootless: Whether the daemon that answers is somebody's rootless one.
    """

    installed: bool = False
    active: str = ""
    enabled: str = ""
    live_restore: bool = False
    cdi_folders: tuple[str, ...] = ()
    runtimes: frozenset[str] = frozenset()
    swarm: bool = False
    rootless: bool = False


def _gpu_access(runtime: str, drivers: str) -> str | None:
    """How a container has its GPUs, from its runtime and the drivers of its device requests."""
    words = set(drivers.split(",")) - {""}
    if "cdi" in words:
        return "cdi"
    return "hook" if runtime == "nvidia" or words & {"nvidia", "gpu"} else None


def _container(row: str, access: dict[str, str | None]) -> Container:
    id_, name, state, service, release = (word.removeprefix("-") if word == "-" else word for word in row.split(" "))
    return Container(id=id_, name=name, state=state, service=service, release=release, gpu_access=access.get(id_))


def parse_docker(rows: Iterable[str]) -> dict[str, Any]:
    """Rows of the section ``docker`` as fields of the probe."""
    values: dict[str, str] = {}
    images: list[str] = []
    containers: list[str] = []
    access: dict[str, str | None] = {}
    for row in rows:
        key, _, value = row.partition("=")
        if key == "image":
            images.append(value)
        elif key == "container":
            containers.append(value)
        elif key == "gpus":
            id_, runtime, drivers = (value + "  ").split(" ")[:3]
            access[id_] = _gpu_access(runtime, drivers)
        else:
            values[key] = value
    return {
        "docker": values.get("version") or None,
        "compose": values.get("compose") or None,
        "images": frozenset(images),
        "containers": tuple(_container(row, access) for row in containers),
        "engine": Docker(
            installed="active" in values,
            active=values.get("active", ""),
            enabled=values.get("enabled", ""),
            live_restore=values.get("live_restore") == "true",
            cdi_folders=tuple(json.loads(values.get("cdi_folders") or "[]")),
            runtimes=frozenset(values.get("runtimes", "").split()),
            swarm=values.get("swarm", "inactive") not in {"", "inactive"},
            rootless=values.get("rootless") == "yes",
        ),
    }
