"""What is served now: ``served.json``, read again whenever it changes.

``{"models": [{"repo": "org/name", "revision": "<40 hex>", "path": "/folder"}], "index": ["/folder", …],
"apt": "/folder", "files": "/folder"}``
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KINDS = ("index", "apt", "files")
# As on the Hub: these are in Large File Storage, named by the sha256 of their content.
_LARGE = (".safetensors", ".gguf", ".bin", ".pt")


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository."""

    path: str
    source: Path
    size: int
    git_oid: str
    """sha1 of the git blob: the ETag of a plain file."""
    sha256: str | None
    """The ETag of a large file; None for a plain one."""

    @property
    def etag(self) -> str:
        """What names the blob in a client's cache."""
        return self.sha256 or self.git_oid

    def listing(self) -> dict[str, Any]:
        """The file's entry in a tree listing."""
        entry: dict[str, Any] = {"type": "file", "path": self.path, "size": self.size, "oid": self.git_oid}
        if self.sha256:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class HubModel:
    """One revision of a model repository."""

    repo: str
    revision: str
    files: dict[str, HubFile]


def read_hub_file(root: Path, source: Path) -> HubFile:
    """Hash one file. A large file's git oid is that of its pointer, as git stores it."""
    content = source.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest() if source.suffix in _LARGE else None
    stored = content
    if sha256:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
        stored = pointer.encode()
    oid = hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()
    return HubFile(source.relative_to(root).as_posix(), source, len(content), oid, sha256)


class Catalog:
    """Models and folders by what ``served.json`` says at the moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._models: dict[str, list[HubModel]] = {}
        self._folders: dict[str, list[Path]] = {}

    def models(self, repo: str) -> list[HubModel]:
        """Revisions of a repository, newest first; empty if there is no such repository."""
        with self._lock:
            self._refresh()
            return self._models.get(repo, [])

    def folders(self, kind: str) -> list[Path]:
        """The folders behind ``index``, ``apt`` or ``files``, in the order in which they are asked."""
        with self._lock:
            self._refresh()
            return self._folders.get(kind, [])

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._models, self._folders, self._stamp = {}, {}, None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        served = json.loads(self._path.read_text(encoding="utf-8"))
        models: dict[str, list[HubModel]] = {}
        for entry in served.get("models", []):
            root = Path(entry["path"])
            files = [read_hub_file(root, source) for source in sorted(root.rglob("*")) if source.is_file()]
            model = HubModel(entry["repo"], entry["revision"], {file.path: file for file in files})
            models.setdefault(model.repo, []).append(model)
        self._models = models
        self._folders = {kind: _paths(served.get(kind)) for kind in _KINDS}
        self._stamp = stamp


def _paths(given: str | list[str] | None) -> list[Path]:
    """One folder, several, or none."""
    return [Path(one) for one in ([given] if isinstance(given, str) else given or [])]
