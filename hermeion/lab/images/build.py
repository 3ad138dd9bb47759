"""Images by content: an image whose Dockerfile, context and base have not changed is not built again."""

from __future__ import annotations

import hashlib
import subprocess
from importlib import resources
from io import BytesIO
from typing import TYPE_CHECKING

from docker.errors import APIError, DockerException, ImageNotFound

from hermeion.errors import LabError

from ..daemon import LABEL, make_archive
from ..progress import Report

if TYPE_CHECKING:
    import docker

_BASES = {"host": "trixie", "services": "trixie", "engine": "bookworm"}
_PULL_SECONDS = 60  # a whole slim image, not one read; an unreachable registry fails at once
_LABEL_HASH = f"{LABEL}.content"


def ensure_image(client: docker.DockerClient, kind: str, report: Report) -> str:
    """The tag of the image ``kind`` (host, services or engine), built now if it does not exist.

    Raises:
        LabError: No base image can be had, or the build fails; carries the build's last lines.
    """
    files = _context(kind)
    base = f"hermeion-lab-base:{_BASES[kind]}"
    digest = hashlib.sha256(make_archive(files) + base.encode()).hexdigest()
    tag = f"hermeion-lab-{kind}:{digest[:16]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        _ensure_base(client, _BASES[kind], report)
        with report.stage(f"building the {kind} image"):
            _build(client, kind, files, base, tag, digest)
    return tag


def _context(kind: str) -> dict[str, tuple[bytes, int]]:
    """The build context; a file that starts with ``#!`` is executable, whatever the checkout says."""
    files = {}
    for entry in resources.files("hermeion.lab.images").joinpath(kind).iterdir():
        if entry.is_file() and not entry.name.endswith((".pyc", ".txt")):
            content = entry.read_bytes()
            files[entry.name] = (content, 0o755 if content.startswith(b"#!") else 0o644)
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
                message = f"building the {kind} image failed:\n    {log}\nThe lab needs Debian's mirrors over HTTP."
                raise LabError(message)
    except APIError as error:
        message = f"building the {kind} image failed: {error}. Is there room under /var/lib/docker?"
        raise LabError(message) from error


def _ensure_base(client: docker.DockerClient, suite: str, report: Report) -> None:
    tag = f"hermeion-lab-base:{suite}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        pass
    else:
        return
    with report.stage(f"getting Debian {suite}: docker pull, else mmdebstrap"):
        refusal = _pull(client, suite)
        if refusal:
            report.line(f"  no registry answers ({refusal}); bootstrapping from the Debian mirrors")
            _bootstrap(client, suite, refusal)


def _pull(client: docker.DockerClient, suite: str) -> str:
    """Pull the official image; the empty string, or one line that says why not."""
    source = f"debian:{suite}-slim"
    try:
        done = subprocess.run(
            ["docker", "pull", "--quiet", source], capture_output=True, text=True, timeout=_PULL_SECONDS, check=False
        )
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["docker pull failed"])[-1][:160]
        client.images.get(source).tag("hermeion-lab-base", suite)
    except subprocess.TimeoutExpired:
        return f"docker pull took over {_PULL_SECONDS} s"
    except (OSError, DockerException) as error:
        return str(error)
    return ""


def _bootstrap(client: docker.DockerClient, suite: str, refusal: str) -> None:
    """mmdebstrap piped into ``docker import``: the tar never touches the disk."""
    tag = f"hermeion-lab-base:{suite}"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", suite, "-", "http://deb.debian.org/debian"]
    try:
        making = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        message = (
            f"the lab needs a Debian {suite} image: docker pull said {refusal!r}, and mmdebstrap is not installed. "
            "Reach a registry, or run: apt-get install mmdebstrap"
        )
        raise LabError(message) from error
    with making:
        importing = subprocess.run(
            ["docker", "import", "--change", f"LABEL {LABEL}=image", "-", tag],
            stdin=making.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        evidence = making.stderr.read().decode(errors="replace") if making.stderr else ""
    if making.returncode or importing.returncode:
        client.images.remove(tag, force=True) if importing.returncode == 0 else None
        last = "\n    ".join((evidence + importing.stderr).strip().splitlines()[-8:])
        message = (
            f"the lab needs a Debian {suite} image: docker pull said {refusal!r}, and mmdebstrap failed:\n    {last}\n"
            "Reach a registry or http://deb.debian.org."
        )
        raise LabError(message)
