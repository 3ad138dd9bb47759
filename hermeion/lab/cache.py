"""Build results by content: each entry's name carries the hash of what went into it.

An entry is written under a temporary name and renamed when it is whole, so that a killed build leaves
nothing that looks like a result; what it left behind is swept away by the next build of that kind.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .paths import cache_root


def hash_of(*parts: str | bytes) -> str:
    """16 hexadecimal digits that change when any part does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def hash_folder(root: Path) -> str:
    """A hash of the names and contents below ``root``; bytecode and empty folders do not count."""
    parts: list[str | bytes] = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            parts += [path.relative_to(root).as_posix(), path.read_bytes()]
    return hash_of(*parts)


@contextmanager
def _locked(kind: str) -> Iterator[None]:
    """One build of a kind at a time on this machine; the lock ends with the process, however it ends."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{kind}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting: another process is making the lab's {kind}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_entry(kind: str, key: str) -> Path | None:
    """The finished entry, or None."""
    path = cache_root() / f"{kind}-{key}"
    return path if path.exists() else None


def ensure_entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of the entry; ``make`` fills an empty one if there is none yet."""
    found = find_entry(kind, key)
    if found:
        return found
    with _locked(kind):
        found = find_entry(kind, key)  # somebody else may have made it while this process waited
        if found:
            return found
        for left in cache_root().glob(f".{kind}-*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part = cache_root() / f".{kind}-{key}.part"
        part.mkdir()
        make(part)
        return part.rename(cache_root() / f"{kind}-{key}")


def remove_cache() -> None:
    """Delete every entry."""
    shutil.rmtree(cache_root(), ignore_errors=True)
