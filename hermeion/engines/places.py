"""Where an engine's process finds things: inside its container, or on the host itself."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from hermeion.plans import Service


class Places(NamedTuple):
    """Paths and address as the engine's process sees them.

    Attributes:
        hub: The Hub's cache, read-only.
        local: Folder of a model that lies in a folder of the host's own, read-only.
        cache: Folder for what the engine compiles, its own and private.
        config: Its configuration file, keys included.
        keys: File with its API keys, one in a line.
        host: Address to listen on.
        port: Port to listen on.
    """

    hub: str
    local: str
    cache: str
    config: str
    keys: str
    host: str
    port: int


def find_places(
    name: str,
    runtime: Literal["compose", "systemd"],
    *,
    weights: str,
    path: str | None,
    port: int,
    container_port: int,
) -> Places:
    """Where a service's engine finds things.

    Args:
        name: Of the service.
        weights: ``hermes_cache``.
        path: Folder on the host with the weights, or ``None``: they are in the cache.
        port: The service's port on the host.
        container_port: The engine's port in its container.
    """
    if runtime == "compose":
        return Places(
            hub="/models/hub",
            local="/models/local",
            cache="/var/cache/engine",
            config="/run/hermeion/engine.yaml",
            keys="/run/hermeion/api-keys",
            host="0.0.0.0",  # noqa: S104  # inside the container; published on 127.0.0.1 alone
            port=container_port,
        )
    return Places(
        hub=f"{weights}/hub",
        local=path or f"{weights}/local",
        cache=f"/var/cache/hermeion-{name}",
        config=f"/run/hermeion-{name}/engine.yaml",
        keys=f"/run/credentials/hermeion-{name}.service/api-keys",
        host="127.0.0.1",
        port=port,
    )


def places_of(service: Service, container_port: int) -> Places:
    """Where a planned service's engine finds things."""
    return find_places(
        service.name,
        service.runtime,
        weights=service.cache,
        path=service.path,
        port=service.port,
        container_port=container_port,
    )


def model_file(places: Places, service: Service) -> PurePosixPath:
    """Path of the service's GGUF file, of a split one the first part, as the engine's process sees it."""
    if service.path:
        return PurePosixPath(places.local) / service.files[0]
    folder = f"models--{service.repo.replace('/', '--')}"
    return PurePosixPath(places.hub) / folder / "snapshots" / str(service.revision) / service.files[0]
