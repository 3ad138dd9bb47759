"""Whether what will be pulled has room on the host, to the byte, before anything is changed."""

from __future__ import annotations

from hermeion.errors import PlacementError
from hermeion.plans import Service
from hermeion.probe import Probe
from hermeion.sources import Sources
from hermeion.units import GIB, format_bytes

UNPACKED_RATIO = 3
"""An image takes about this many times its compressed size while and after it is unpacked (vLLM's: 2.5 to 3)."""

RESERVE = GIB
"""Bytes that a pull leaves free on a filesystem."""


def missing_bytes(service: Service, sources: Sources, probe: Probe) -> int:
    """Bytes of the wanted files that a pull has yet to write.

    A blob of the right name and size needs no room, an incomplete one only what is missing of it; content that two
    files share counts once. Blobs below 1 MiB are not looked for, so they count in full.
    """
    blobs = probe.blobs.get(f"models--{service.repo.replace('/', '--')}", {})
    wanted = {file.sha256 or file.oid or file.path: file.size for file in sources.files}
    return sum(
        size - min(size, blobs.get(f"{blob}.incomplete", 0)) for blob, size in wanted.items() if blobs.get(blob) != size
    )


def check_room(host: str, service: Service, sources: Sources, probe: Probe, *, pulls: bool = True) -> None:
    """See that weights, image and engine have room before any of them is pulled.

    Args:
        pulls: Whether this host writes the weights; else another one does, into the same filesystem.

    Raises:
        PlacementError: The filesystem is read-only or too small; bytes needed and free are shown.
    """
    if pulls and service.path is None and probe.weights.get(service.snapshot) != "complete":
        disk = probe.disks[service.cache]
        if not disk.writable:
            raise PlacementError(
                f"{host}: hermes_cache {service.cache} is on a read-only filesystem ({disk.source}). Remount it "
                "read-write or choose another folder."
            )
        if missing := missing_bytes(service, sources, probe):
            _room(host, f"the weights of {service.variant}", missing + RESERVE, disk.free, service.cache)
    if service.image and service.image.reference not in probe.images:
        docker = probe.disks["/var/lib/docker"]
        needed = sources.image_bytes * UNPACKED_RATIO + RESERVE
        _room(host, f"the image {service.image.repository}", needed, docker.free, docker.path)
    if (package := service.package) and package.identity not in probe.engines:
        opt = probe.disks["/opt/hermeion"]
        needed = (package.download or 0) + (package.installed or 0) + RESERVE
        _room(host, f"the engine {package.name}", needed, opt.free, opt.path)


def _room(host: str, what: str, needed: int, free: int, path: str) -> None:
    if needed > free:
        raise PlacementError(
            f"{host}: no room for {what}: {needed} bytes ({format_bytes(needed)}) are needed at {path}, "
            f"{free} ({format_bytes(free)}) are free. Free some or choose another filesystem."
        )
