"""Images in the lab's registry: pushed once, and found again by the hash of what went into them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx

from hermeion.errors import LabError

from .cache import ensure_entry
from .daemon import BUILD
from .mirrors import registry_of, trust
from .oci import Compressed, Layer, make_config, make_manifest, rewrite_export
from .paths import StatePaths
from .progress import Report
from .registry import Registry

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Published:
    """An image as it is to stand in the registry."""

    repository: str
    tag: str
    settings: dict[str, Any]
    """Entrypoint, Env, Healthcheck and the like, as an image's configuration has them."""
    push_layers: Callable[[Registry], list[Layer]]
    """Uploads the layers, the lowest first."""


def ensure_published(kind: str, key: str, wanted: Published, address: str, state: StatePaths, report: Report) -> str:
    """The image as ``repository:tag@digest``; uploaded now if the registry does not have it.

    Args:
        kind: Name of the note in the cache.
        key: Hash of what goes into the image.

    Raises:
        LabError: The registry refuses it.
    """
    # trust_env: the machine's proxies do not lead to its own containers.
    with httpx.Client(
        base_url=f"https://{registry_of(address)}", verify=trust(state), timeout=600, trust_env=False
    ) as http:
        registry = Registry(http, wanted.repository)
        noted = ensure_entry(kind, key, lambda part: _publish(wanted, registry, part, report))
        digest = (noted / "digest").read_text(encoding="ascii").strip()
        if not registry.has_manifest(digest):  # the note outlived the registry's storage
            shutil.rmtree(noted)
            noted = ensure_entry(kind, key, lambda part: _publish(wanted, registry, part, report))
            digest = (noted / "digest").read_text(encoding="ascii").strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        message = f"{noted}/digest holds {digest!r}, not a digest: remove {noted} and run hermeion lab up again."
        raise LabError(message)
    return f"{wanted.repository}:{wanted.tag}@{digest}"


def _publish(wanted: Published, registry: Registry, part: Path, report: Report) -> None:
    with report.stage(f"publishing {wanted.repository}:{wanted.tag} in the lab's registry"):
        layers = wanted.push_layers(registry)
        config = make_config(layers, settings=wanted.settings)
        registry.push_blob(config)
        digest = registry.push_manifest(make_manifest(config, layers), wanted.tag)
        (part / "digest").write_text(digest + "\n", encoding="ascii")
        total = sum(layer.size for layer in layers)
        report.line(f"  {wanted.repository}:{wanted.tag} is {total / 1e6:.0f} MB compressed: {digest[:19]}")


def push_root(client: docker.DockerClient, image: str, registry: Registry) -> Layer:
    """Upload the whole file system of a local image as one layer."""
    container = client.containers.create(image, ["true"], labels=BUILD, network_mode="none")
    try:
        # The stubs call the chunks text; they are bytes.
        export = cast("Iterator[bytes]", container.export(chunk_size=1 << 20))
        return registry.push_layer(Compressed(lambda file: rewrite_export(export, file)))
    finally:
        container.remove(force=True)
