"""Shared filesystems: one folder of this machine that is mounted in several hosts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from hermeion.errors import LabError

from .daemon import LABEL, labels, resource_name

if TYPE_CHECKING:
    import docker

_PATH = re.compile(r"/[\w./-]*[\w-]", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9.]*")
_SERVER = "storage.lab"  # in the source of what findmnt is made to call a network filesystem


@dataclass(frozen=True)
class Share:
    """A shared folder in a host.

    Attributes:
        path: Where it is mounted.
        kind: Filesystem type that ``findmnt`` in the host says, ``nfs4`` say; None: the real one.
    """

    path: str
    kind: str | None = None

    @property
    def text(self) -> str:
        """``PATH`` or ``PATH:KIND``."""
        return f"{self.path}:{self.kind}" if self.kind else self.path

    @property
    def slug(self) -> str:
        """Part of its volume's name."""
        name = re.sub(r"[^a-z0-9]+", "-", self.path.lower()).strip("-")[:30]
        return f"shared-{name}-{hashlib.sha256(self.path.encode()).hexdigest()[:6]}"


def read_share(text: str) -> Share:
    """A share from ``Share.text``.

    Raises:
        LabError: It is none.
    """
    path, _, kind = text.partition(":")
    if not _PATH.fullmatch(path) or ".." in path.split("/") or (kind and not _KIND.fullmatch(kind)):
        message = f"{text!r} is not a shared folder: write an absolute path, and nfs4 or the like after a colon."
        raise LabError(message)
    return Share(path, kind or None)


def parse_shared(texts: Iterable[str], hosts: Sequence[str]) -> dict[str, tuple[Share, ...]]:
    """Shares by host, from ``PATH=HOST,HOST[:KIND]``, sorted by path.

    Raises:
        LabError: A text is none, a host is not among ``hosts``, or a host has two at one path.
    """
    shares: dict[str, dict[str, Share]] = {name: {} for name in hosts}
    for text in texts:
        path, equals, rest = text.partition("=")
        names, colon, kind = rest.partition(":")
        if not equals or not names:
            message = f"--shared {text!r}: write PATH=HOST,HOST[:nfs4], for example --shared /srv/models=gpu-1,gpu-2."
            raise LabError(message)
        share = read_share(f"{path}:{kind}" if colon else path)
        for name in names.split(","):
            if name not in shares:
                message = f"--shared {text!r}: the lab has no host {name!r}. Hosts: {', '.join(hosts)}."
                raise LabError(message)
            if share.path in shares[name]:
                message = f"--shared {text!r}: {name} has another folder at {share.path} already."
                raise LabError(message)
            shares[name][share.path] = share
    return {name: tuple(found[path] for path in sorted(found)) for name, found in shares.items()}


def volume_of(lab: str, share: Share) -> str:
    """The volume behind a share: one for each path in a lab."""
    return resource_name(lab, share.slug)


def ensure_volumes(client: docker.DockerClient, lab: str, shares: Iterable[Share]) -> None:
    """A volume for each share, labelled so that ``down`` finds it; those of no share are removed."""
    wanted = {volume_of(lab, share) for share in shares}
    filters = {"label": [f"{LABEL}={lab}", f"{LABEL}.part=shared"]}
    there = {str(volume.name): volume for volume in client.volumes.list(filters=filters)}
    for name in sorted(wanted - there.keys()):
        client.volumes.create(name, labels=labels(lab, "shared"))
    for name in sorted(there.keys() - wanted):
        there[name].remove(force=True)


def binds(lab: str, shares: Iterable[Share]) -> dict[str, dict[str, str]]:
    """The mounts of a host, as the Docker SDK takes them."""
    return {volume_of(lab, share): {"bind": share.path, "mode": "rw"} for share in shares}


def disguise(shares: Iterable[Share]) -> Mapping[str, tuple[bytes, int]]:
    """Files that make ``findmnt`` in a host say the kinds: path without leading slash to content and mode."""
    rows = [f"{share.path} {share.kind} {_SERVER}:/{share.slug}\n" for share in shares if share.kind]
    if not rows:
        return {}
    stand_in = resources.files("hermeion.lab").joinpath("mounts/findmnt").read_bytes()
    return {
        "etc/hermeion-lab/mounts": ("".join(rows).encode(), 0o644),
        "usr/local/sbin/findmnt": (stand_in, 0o755),
    }
