"""The files of a model repository and what names their content: hashes as git and its Large File Storage make them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As on the Hub: these are in Large File Storage, named by the sha256 of their content, and so is all that is large
# (hf.co/docs/hub/repositories-getting-started: "files larger than 10MB").
_LARGE = (".safetensors", ".gguf", ".bin", ".pt")
_LARGE_BYTES = 10_000_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Hashes:
    """What names a file's content."""

    git_oid: str
    """sha1 of the git blob: the ETag of a plain file."""
    sha256: str | None
    """The ETag of a large file; None for a plain one."""


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository."""

    path: str
    source: Path
    size: int
    hashes: Hashes
    xet: str | None = None
    """Its name in the Xet storage, if it is there too."""

    @property
    def etag(self) -> str:
        """What names the blob in a client's cache."""
        return self.hashes.sha256 or self.hashes.git_oid

    def listing(self) -> dict[str, Any]:
        """The file's entry in a tree listing."""
        entry: dict[str, Any] = {"type": "file", "path": self.path, "size": self.size, "oid": self.hashes.git_oid}
        if self.hashes.sha256:
            entry["lfs"] = {"oid": self.hashes.sha256, "size": self.size, "pointerSize": 134}
        if self.xet:
            entry["xetHash"] = self.xet
        return entry


def hash_content(source: Path) -> Hashes:
    """Read the file once and name its content. A large file's git oid is that of its pointer, as git stores it."""
    size = source.stat().st_size
    large = source.suffix in _LARGE or size > _LARGE_BYTES
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with source.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if not large:
        return Hashes(digest.hexdigest(), None)
    sha256 = digest.hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()
    return Hashes(oid, sha256)


def list_files(root: Path) -> list[Path]:
    """Every file below ``root``, in the order of its repository's tree."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def revision_from(files: dict[str, Hashes]) -> str:
    """40 hexadecimal digits from the names and contents of the files, as a commit would have."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path, hashes in sorted(files.items()):
        digest.update(f"{path}\0{hashes.sha256 or hashes.git_oid}\n".encode())
    return digest.hexdigest()
