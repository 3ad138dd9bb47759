"""Names of container images."""

from __future__ import annotations

import re

from hermeion.plans import Image

_REFERENCE = re.compile(
    r"^(?:(?P<registry>[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+|localhost)/)?"
    r"(?P<repository>[a-z0-9._/-]+):(?P<tag>[\w][\w.-]*)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


def parse_image(reference: str, mirror: str | None) -> Image:
    """Split a reference with tag; a name without registry comes from ``mirror``, else from Docker Hub.

    Raises:
        ValueError: It has no tag.
    """
    match = _REFERENCE.match(reference)
    if not match:
        raise ValueError(f"not an image reference with a tag: {reference!r}")
    return Image(
        registry=match["registry"] or mirror or "docker.io",
        repository=match["repository"],
        tag=match["tag"],
        digest=match["digest"],
    )
