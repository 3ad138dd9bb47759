"""Base images: a bare Debian or Ubuntu, pulled where a registry answers, else bootstrapped from the mirrors."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from docker.errors import DockerException, ImageNotFound

from hermeion.errors import LabError

from ..daemon import LABEL
from ..progress import Report

if TYPE_CHECKING:
    import docker

_PULL_SECONDS = 60  # a whole slim image, not one read; an unreachable registry fails at once
_UBUNTU = "http://archive.ubuntu.com/ubuntu"
_UBUNTU_KEYS = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
# For machines whose distribution has no ubuntu-keyring (Debian 12). SHA-256: noble's own package index.
_UBUNTU_KEYRING = f"{_UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
_UBUNTU_KEYRING_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"


@dataclass(frozen=True)
class Suite:
    """A release of a distribution."""

    title: str
    image: str
    """The official image, as ``docker pull`` names it."""
    sources: tuple[str, ...]
    """Lines of ``sources.list`` for mmdebstrap, and then for the hosts; a mirror alone stands for its main part."""
    options: tuple[str, ...] = ()
    """More options for mmdebstrap."""


SUITES = {
    "bookworm": Suite("Debian bookworm", "debian:bookworm-slim", ("http://deb.debian.org/debian",)),
    "trixie": Suite("Debian trixie", "debian:trixie-slim", ("http://deb.debian.org/debian",)),
    "noble": Suite(
        "Ubuntu noble",
        "ubuntu:noble",
        tuple(
            f"deb {mirror} {suite} main universe restricted multiverse"
            for mirror, suite in (
                (_UBUNTU, "noble"),
                (_UBUNTU, "noble-updates"),
                ("http://security.ubuntu.com/ubuntu", "noble-security"),
            )
        ),
    ),
}
# Not for hosts: unstable has no releases, and what the lab makes of it (llama.cpp) brings its own libraries. A mirror's
# copy of unstable may be older than the date to which it is signed.
_FOR_BUILDS = {
    "sid": Suite(
        "Debian sid",
        "debian:sid-slim",
        ("http://deb.debian.org/debian",),
        options=('--aptopt=Acquire::Check-Valid-Until "false"',),
    )
}
_BASES = SUITES | _FOR_BUILDS


def base_tag(suite: str) -> str:
    """The base image's tag.

    Raises:
        LabError: The lab has no such suite.
    """
    if suite not in _BASES:
        message = f"the lab has no hosts of {suite!r}. Suites: {', '.join(SUITES)}."
        raise LabError(message)
    return f"hermeion-lab-base:{suite}"


def ensure_base(client: docker.DockerClient, suite: str, report: Report) -> None:
    """Make the base image of ``suite`` if it is not there.

    Raises:
        LabError: Neither a registry nor the mirrors give one.
    """
    tag = base_tag(suite)
    try:
        client.images.get(tag)
    except ImageNotFound:
        pass
    else:
        return
    with report.stage(f"getting {_BASES[suite].title}: docker pull, else mmdebstrap"):
        refusal = _pull(client, suite)
        if refusal:
            report.line(f"  no registry answers ({refusal}); bootstrapping from the mirrors")
            with tempfile.TemporaryDirectory() as folder:
                _bootstrap(client, suite, refusal, Path(folder))


def _pull(client: docker.DockerClient, suite: str) -> str:
    """Pull the official image; the empty string, or one line that says why not."""
    source = _BASES[suite].image
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


def _bootstrap(client: docker.DockerClient, suite: str, refusal: str, folder: Path) -> None:
    """mmdebstrap piped into ``docker import``: the tar never touches the disk."""
    tag, wanted = base_tag(suite), _BASES[suite]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", *wanted.options]
    if suite == "noble":
        # Debian's smallest variant has apt and its keys; Ubuntu marks both as important only.
        command += [f"--keyring={_ubuntu_keys(folder)}", "--include=apt,ubuntu-keyring"]
    try:
        making = subprocess.Popen(
            [*command, suite, "-", *wanted.sources], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        message = (
            f"the lab needs a {wanted.title} image: docker pull said {refusal!r}, and mmdebstrap is not installed. "
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
            f"the lab needs a {wanted.title} image: docker pull said {refusal!r}, and mmdebstrap failed:\n    {last}\n"
            f"Reach a registry or the mirrors ({wanted.sources[0]})."
        )
        raise LabError(message)


def _ubuntu_keys(folder: Path) -> Path:
    """Keys of Ubuntu's archive: the machine's own package, else the one from the archive, checked by its hash.

    Raises:
        LabError: The archive does not answer, or gives another file.
    """
    if _UBUNTU_KEYS.exists():
        return _UBUNTU_KEYS
    package = folder / "ubuntu-keyring.deb"
    try:
        package.write_bytes(httpx.get(_UBUNTU_KEYRING, timeout=60).raise_for_status().content)
    except httpx.HTTPError as error:
        message = f"the keys of Ubuntu's archive cannot be fetched from {_UBUNTU_KEYRING}: {error}."
        raise LabError(message) from error
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != _UBUNTU_KEYRING_SHA256:
        message = f"{_UBUNTU_KEYRING} has SHA-256 {found}, and {_UBUNTU_KEYRING_SHA256} is wanted. Do not use it."
        raise LabError(message)
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder)], check=True)
    folder.chmod(0o755)  # apt reads it as another user
    return Path(shutil.copy(folder / str(_UBUNTU_KEYS).lstrip("/"), folder / "keys.gpg"))
