"""What is to be pulled: a job, as the controller wrote it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class File:
    """A file of a repository.

    Attributes:
        path: Its place in the repository.
        size: Bytes.
        sha256: Of its content, if it is a large one; hexadecimal.
        oid: Of its git blob, if it is a small one: SHA-1 over ``blob <size>`` NUL content; hexadecimal.
        xet: Its name in the Xet storage, or ``None``: it comes over HTTP.
    """

    path: str
    size: int
    sha256: str | None = None
    oid: str | None = None
    xet: str | None = None

    @property
    def blob(self) -> str:
        """Name of its blob in the Hub's cache: what its content is checked against."""
        name = self.sha256 or self.oid
        if not name:
            raise ValueError(f"{self.path}: neither sha256 nor oid is known")
        return name

    def new_hash(self) -> Any:
        """A hash that, fed with the content, ends in the blob's name."""
        if self.sha256:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


@dataclass(frozen=True)
class Job:
    """One pull.

    Attributes:
        name: Of the weights in the cache: ``models--org--name@commit``, and ``+hash`` for single files.
        repo: ``org/name``.
        revision: Commit, 40 hexadecimal digits.
        ref: Branch that is recorded as standing at the commit (without it ``hf cache prune`` takes the commit away).
        cache: Folder of the weights on this host; the Hub's cache is ``hub`` in it.
        files: What is wanted, in the order in which it is fetched.
        sources: Where it comes from; each has a ``kind``, the rest is the source's own. The first that can is taken.
        reserve: Bytes that stay free on the filesystem.
        workers: Files that are fetched at the same time.
        stall_seconds: How long not a byte may come before a connection is given up.
    """

    name: str
    repo: str
    revision: str
    cache: Path
    files: tuple[File, ...]
    sources: tuple[dict[str, Any], ...]
    ref: str = "main"
    reserve: int = 1 << 30
    workers: int = 8
    stall_seconds: float = 120.0
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Add up the bytes; a blob that is under two names counts once."""
        object.__setattr__(self, "total", sum({file.blob: file.size for file in self.files}.values()))

    @property
    def folder(self) -> Path:
        """The repository's folder in the cache."""
        return self.cache / "hub" / f"models--{self.repo.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        """The commit's folder: names that are links to blobs."""
        return self.folder / "snapshots" / self.revision


def read_job(text: str) -> Job:
    """A job from its JSON.

    Raises:
        ValueError: It is none; also as ``KeyError`` and ``TypeError``.
    """
    data = json.loads(text)
    files = tuple(File(**row) for row in data.pop("files"))
    return Job(**(data | {"cache": Path(data["cache"]), "files": files, "sources": tuple(data["sources"])}))
