"""What a registry says about an image: its digest, its size, and what it wishes of a driver."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hermeion.answers import Answer, judge_tool, question
from hermeion.errors import SourceError
from hermeion.plans import Image, Service
from hermeion.records import Record


class ImageFacts(Record):
    """What a registry says about an image; of no image: nothing.

    Attributes:
        digest: ``sha256:…``; ``None``: the service runs natively.
        image_bytes: Compressed size of its layers.
        cuda: Version of CUDA that it says it holds, or ``None``.
        requires: Its own condition on the driver (``NVIDIA_REQUIRE_CUDA``), or ``None``.
    """

    digest: str | None = None
    image_bytes: int = 0
    cuda: str | None = None
    requires: str | None = None


def image_question(service: Service, *, ca: str | None) -> str:
    """The script that asks for the image's digest and size; empty if the service runs in none."""
    image = service.image
    if not image:
        return ""
    registry = "registry-1.docker.io" if image.registry == "docker.io" else image.registry
    manifests = f"https://{registry}/v2/{image.repository}/manifests"
    values = {"REGISTRY": manifests, "REFERENCE": image.digest or image.tag}
    return question(("registry",), values, ca=ca, token=None)


def _judge_registry(host: str, service: Service, image: Image, answers: Mapping[str, Answer]) -> None:
    answer = answers["manifest"]
    what = f"{host}: {service.name}: the registry {image.registry} "
    wanted = f"{image.repository}@{image.digest}" if image.digest else f"{image.repository}:{image.tag}"
    if answer.status == 200:
        digest = f"sha256:{answer.sha256}"
        if image.digest and digest != image.digest:
            raise SourceError(f"{what}answered {digest} when asked for {wanted}. Do not use it.")
        return
    if answer.status in {400, 404}:
        raise SourceError(
            f"{what}has no {wanted} ({answer.status}). Check the image's name and digest; "
            "push it to the mirror first if the site has one."
        )
    if answer.status:
        raise SourceError(f"{what}answers {answer.status} for {wanted}. Nothing was changed.")
    raise SourceError(
        f"{what}cannot be reached from the host ({answer.error}). Check the network and hermes_mirrors/registry, "
        "hermes_mirrors/ca."
    )


def read_image(host: str, service: Service, answers: Mapping[str, Answer]) -> ImageFacts:
    """Judge the answers about a service's image.

    Raises:
        SourceError: The registry refuses, lacks or contradicts what is wanted, or cannot be asked.
    """
    image = service.image
    if not image:
        return ImageFacts()
    judge_tool(host, answers)
    subject = f"{host}: {service.name}"
    if "manifest" not in answers:
        raise SourceError(
            f"{subject}: asking the registry was cut short (no manifest). Nothing was changed; run again."
        )
    _judge_registry(host, service, image, answers)
    if "platform" in answers and answers["platform"].status != 200:
        raise SourceError(
            f"{subject}: the registry {image.registry} answers {answers['platform'].status} for "
            f"this machine's manifest of {image.repository}:{image.tag}. Nothing was changed; run again."
        )
    try:
        facts = _image_facts(answers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{subject}: the registry {image.registry} answered something that is not its own ({error!r}). Look for a "
            "proxy or a login page in between."
        ) from error
    if not facts.image_bytes:
        raise SourceError(
            f"{subject}: {image.repository}:{image.tag} has no image for this host's "
            "architecture. Choose a tag that has one."
        )
    return facts


def _image_facts(answers: Mapping[str, Answer]) -> ImageFacts:
    manifest = answers.get("platform", answers["manifest"]).body
    rows = answers["config"].body.splitlines() if "config" in answers else []
    wishes = dict(json.loads(row).split("=", 1) for row in rows if row)
    return ImageFacts(
        cuda=wishes.get("CUDA_VERSION"),
        requires=wishes.get("NVIDIA_REQUIRE_CUDA"),
        digest=f"sha256:{answers['manifest'].sha256}",
        image_bytes=sum(layer["size"] for layer in json.loads(manifest).get("layers", ())),
    )
