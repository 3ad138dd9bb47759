"""Names of container images."""

from __future__ import annotations

import pytest

from hermeion.images import parse_image
from tests.unit.builders import DIGEST


@pytest.mark.parametrize(
    ("reference", "mirror", "registry", "name"),
    [
        ("vllm/vllm-openai:v0.33.0", None, "docker.io", "vllm/vllm-openai"),
        ("vllm/vllm-openai:v0.33.0", "mirror:5000", "mirror:5000", "mirror:5000/vllm/vllm-openai"),
        ("ghcr.io/me/engine:1", None, "ghcr.io", "ghcr.io/me/engine"),
        ("ghcr.io/me/engine:1", "mirror:5000", "ghcr.io", "ghcr.io/me/engine"),
        ("registry.example:5000/me/engine:1", None, "registry.example:5000", "registry.example:5000/me/engine"),
        ("registry:5000/engine:1", None, "registry:5000", "registry:5000/engine"),
        ("localhost/engine:1", None, "localhost", "localhost/engine"),
        ("engine:1", None, "docker.io", "engine"),
    ],
)
def test_registry(reference: str, mirror: str | None, registry: str, name: str) -> None:
    """A name with a registry keeps it; one without comes from the mirror, else from Docker Hub."""
    image = parse_image(reference, mirror)

    assert (registry, name) == (image.registry, image.name)


def test_digest_wins_over_tag() -> None:
    """What Docker pulls is the digest; the tag stays for people."""
    image = parse_image(f"vllm/vllm-openai:v0.33.0@{DIGEST}", None)

    assert ("v0.33.0", DIGEST, f"vllm/vllm-openai@{DIGEST}") == (image.tag, image.digest, image.reference)


@pytest.mark.parametrize("reference", ["vllm/vllm-openai", "", "UPPER/case:1", "a b:1", "x:1@sha256:short"])
def test_not_a_reference(reference: str) -> None:
    """A reference without a tag is refused, and quoted."""
    with pytest.raises(ValueError) as caught:  # the message is compared whole
        parse_image(reference, None)

    assert f"not an image reference with a tag: {reference!r}" == str(caught.value)
