"""What is served now: ``served.json``, read again whenever it changes.

``{"models": [{"repo": "org/name", "revision": "<40 hex>", "path": "/folder", "hashes": …, "xet": …}, …],
"index": ["/folder", …], "apt": "/folder", "files": "/folder", "buckets": {"name": "/folder"},
"s3": {"access_key": …, "secret_key": …}}``

Of several revisions of a repository the first is the newest: ``main``. ``hashes``, which may be missing, has what is
known already of each file: ``{"path": [size, mtime in ns, git oid, sha256 or null]}``; a file that has changed since is
read again. ``xet``, which may be missing, is ``{"cas": URL, "hashes": {"path": "<64 hex>"}}``.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .content import Hashes, HubFile, hash_content, list_files

_KINDS = ("index", "apt", "files")
_Stamp = tuple[str, int, int]  # path, size and time of change: as long as they are the same, so is the content


@dataclass(frozen=True)
class HubModel:
    """One revision of a model repository."""

    repo: str
    revision: str
    files: dict[str, HubFile]
    cas: str | None = None
    """Address of the Xet storage that has files of it."""


@dataclass(frozen=True)
class KeyPair:
    """Who may read the buckets."""

    access_key: str
    secret_key: str


class Catalog:
    """Models, folders and buckets by what ``served.json`` says at the moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._models: dict[str, list[HubModel]] = {}
        self._folders: dict[str, list[Path]] = {}
        self._buckets: dict[str, Path] = {}
        self._keys: KeyPair | None = None
        self._known: dict[_Stamp, Hashes] = {}

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

    def buckets(self) -> tuple[dict[str, Path], KeyPair | None]:
        """The folders behind the buckets, by name, and the key pair that opens them."""
        with self._lock:
            self._refresh()
            return self._buckets, self._keys

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._models, self._folders, self._buckets, self._stamp = {}, {}, {}, None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        served = json.loads(self._path.read_text(encoding="utf-8"))
        models: dict[str, list[HubModel]] = {}
        known: dict[_Stamp, Hashes] = {}
        for entry in served.get("models", []):
            model = self._read_model(entry, known)
            models.setdefault(model.repo, []).append(model)
        self._models, self._known = models, known
        self._folders = {kind: _paths(served.get(kind)) for kind in _KINDS}
        self._buckets = {name: Path(folder) for name, folder in served.get("buckets", {}).items()}
        self._keys = KeyPair(**served["s3"]) if served.get("s3") else None
        self._stamp = stamp

    def _read_model(self, entry: dict[str, Any], known: dict[_Stamp, Hashes]) -> HubModel:
        """A revision; ``known`` gets the hashes of its files."""
        root, noted, xet = Path(entry["path"]), entry.get("hashes", {}), entry.get("xet") or {}
        files = {}
        for source in list_files(root):
            path, status = source.relative_to(root).as_posix(), source.stat()
            size, *note = noted.get(path, (-1,))
            stamp = (str(source), status.st_size, status.st_mtime_ns)
            if (size, *note[:1]) == stamp[1:]:
                hashes = Hashes(*note[1:])
            else:
                hashes = self._known.get(stamp) or known.get(stamp) or hash_content(source)
            known[stamp] = hashes
            files[path] = HubFile(path, source, status.st_size, hashes, xet.get("hashes", {}).get(path))
        return HubModel(entry["repo"], entry["revision"], files, xet.get("cas"))


def _paths(given: str | list[str] | None) -> list[Path]:
    """One folder, several, or none."""
    return [Path(one) for one in ([given] if isinstance(given, str) else given or [])]
