"""Images by content: an image whose Dockerfile, context and base have not changed is not built again."""

from __future__ import annotations

import hashlib
from importlib import resources
from io import BytesIO
from typing import TYPE_CHECKING

from docker.errors import APIError, ImageNotFound

from hermeion.errors import LabError

from ..daemon import LABEL, make_archive
from ..gpus.sets import forms_csv
from ..progress import Report
from .bases import base_tag, ensure_base

if TYPE_CHECKING:
    import docker

_SUITES = {"host": "trixie", "services": "trixie", "engine": "bookworm", "llamacpp": "sid"}
_SMI = "nvidia-driver-cuda/root/usr/bin/nvidia-smi"
_LABEL_HASH = f"{LABEL}.content"


def ensure_image(client: docker.DockerClient, kind: str, report: Report, suite: str | None = None) -> str:
    """The tag of the image ``kind`` (host, services, engine or llamacpp), built now if it does not exist.

    Args:
        suite: Distribution release below it, one of ``bases.SUITES``; None: the kind's own.

    Raises:
        LabError: No base image can be had, or the build fails; carries the build's last lines.
    """
    files = _context(kind)
    suite = suite or _SUITES[kind]
    base = base_tag(suite)
    digest = hashlib.sha256(make_archive(files) + base.encode()).hexdigest()
    tag = f"hermeion-lab-{kind}:{digest[:16]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        ensure_base(client, suite, report)
        with report.stage(f"building the {kind} image ({suite})"):
            _build(client, kind, files, base, tag, digest)
    return tag


def _context(kind: str) -> dict[str, tuple[bytes, int]]:
    """The build context; a file that starts with ``#!`` is executable, whatever the checkout says."""
    files = {}
    for entry in resources.files("hermeion.lab.images").joinpath(kind).iterdir():
        if entry.is_file() and not entry.name.endswith((".pyc", ".txt")):
            content = entry.read_bytes()
            files[entry.name] = (content, 0o755 if content.startswith(b"#!") else 0o644)
    if kind == "host":
        # What the boards answer: kept beside the lab's GPUs and in the package that also brings it.
        files["forms.csv"] = (forms_csv().encode(), 0o644)
        files["nvidia-smi"] = (resources.files("hermeion.lab.packages").joinpath(_SMI).read_bytes(), 0o755)
    return files


def _build(
    client: docker.DockerClient, kind: str, files: dict[str, tuple[bytes, int]], base: str, tag: str, digest: str
) -> None:
    lines: list[str] = []
    try:
        # The low-level call streams; the high-level one keeps the log to itself until the end.
        for event in client.api.build(
            fileobj=BytesIO(make_archive(files)),
            custom_context=True,
            tag=tag,
            buildargs={"BASE": base},
            labels={LABEL: "image", _LABEL_HASH: digest},
            network_mode="host",  # the machine's own way to the Debian mirrors, proxies included
            rm=True,
            forcerm=True,
            decode=True,
        ):
            lines.append(str(event.get("stream") or event.get("error") or "").rstrip())
            if "error" in event:
                log = "\n    ".join(line for line in lines[-15:] if line)
                message = (
                    f"building the {kind} image failed:\n    {log}\nThe lab needs the distribution's mirrors over HTTP."
                )
                raise LabError(message)
    except APIError as error:
        message = f"building the {kind} image failed: {error}. Is there room under /var/lib/docker?"
        raise LabError(message) from error
