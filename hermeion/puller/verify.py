"""A deep check: every file of recorded snapshots is hashed and compared with what was promised.

Runs on the host by itself, ``python verify.py ORDER.json``, with the standard library alone (Python 3.9 or newer). It
prints progress like a pull and leaves its findings as JSON in the file that the order names. The manifest of a
snapshot is all that it writes: the line of a file that is right gets its present inode and time, and that of a damaged
one becomes a line that no file can match, so that nobody takes the snapshot for complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

BLOCK = 4 << 20
"""Bytes that are read at a time; hashing so many lets other threads run."""

WORKERS = 4
"""Files that are hashed at the same time, at most: more only makes disks seek."""

LOCK_SECONDS = 60
"""How old the mark of a running pull may be."""

SAMPLES = 32
"""Places of a file at which is looked whether it is in memory."""

NEVER = "0 0.0000000000 -1"
"""Inode, time and size that no file has."""

BLOB = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

Stat = tuple[int, int, int]
"""Inode, time in nanoseconds, size."""


def stat_of(path: Path) -> Stat:
    """What a manifest says of a file."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def line_of(stat: Stat, path: str) -> str:
    """A manifest's line, as ``find -printf '%i %T@ %s %P'`` prints it."""
    inode, time_ns, size = stat
    seconds, rest = divmod(time_ns, 10**9)
    return f"{inode} {seconds}.{rest:09d}0 {size} {path}"


class Progress:
    """Counts bytes and files for those who wait."""

    def __init__(self, size: int, files: int) -> None:
        self.size, self.files = size, files
        self.done = self.done_files = 0
        self._last = 0.0
        self._lock = threading.Lock()
        print(f"##total {size}", flush=True)

    def add(self, count: int, files: int = 0) -> None:
        """So many more."""
        with self._lock:
            self.done += count
            self.done_files += files
            now = time.monotonic()
            if now - self._last >= 0.5 or self.done_files == self.files:
                self._last = now
                print(f"##progress {self.done} {self.size}\n##files {self.done_files} {self.files}", flush=True)


def is_cold(descriptor: int, size: int) -> bool:
    """Whether less than half of a file is in memory, as far as that can be asked."""
    step = max(1, size // SAMPLES)
    places = range(0, size, step)
    warm = 0
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # to look at a page must not bring its neighbours
    for place in places:
        try:
            warm += os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) > 0
        except OSError:  # not there, or the filesystem cannot tell
            continue
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return 2 * warm < len(places)


def digest_of(path: Path, new_hash: Any, progress: Progress) -> str:
    """Hash of a file. What was not in memory before is not left there, in place of what an engine needs."""
    with path.open("rb", buffering=0) as stream:
        descriptor = stream.fileno()
        cold = is_cold(descriptor, os.fstat(descriptor).st_size)
        block = memoryview(bytearray(BLOCK))
        place = 0
        while count := stream.readinto(block):
            new_hash.update(block[:count])
            if cold:
                os.posix_fadvise(descriptor, place, count, os.POSIX_FADV_DONTNEED)
            place += count
            progress.add(count)
        if cold:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what was still on its way then
    return str(new_hash.hexdigest())


class Wanted:
    """A file of a snapshot, with its promised size and hash (SHA-256, or git's for 40 digits)."""

    def __init__(self, path: str, size: Optional[int], promised: str) -> None:  # noqa: UP045  # Python 3.9
        self.path, self.size, self.promised = path, size, promised

    def check(self, snapshot: Path, progress: Progress) -> tuple[str, Optional[Stat]]:  # noqa: UP045
        """What was found in place of the promised hash (``""``: all is well), and the file's state, if it is known."""
        place = snapshot / self.path
        try:
            before = stat_of(place)
            if self.size is not None and before[2] != self.size:
                progress.add(before[2])
                return f"{before[2]} bytes in place of {self.size}", before
            plain = hashlib.sha256() if len(self.promised) == 64 else hashlib.sha1(b"blob %d\0" % before[2])  # noqa: S324  # git's
            digest = digest_of(place, plain, progress)
            if stat_of(place) != before:
                return "", None  # somebody writes it: nothing is known
        except FileNotFoundError:
            return "nothing", None
        except OSError as error:
            return f"no answer: {error.strerror or error}", None
        return ("" if digest == self.promised else digest), before


class Snapshot:
    """Weights that the cache has a record or a manifest of."""

    def __init__(self, cache: Path, name: str) -> None:
        self.cache, self.name = cache, name
        self.manifest = cache / "hermeion" / f"{name}.manifest"
        folder, _, revision = name.rpartition("@")
        self.place = cache / "hub" / folder / "snapshots" / revision.partition("+")[0]
        self.lines = self._lines()
        self.files = self._files()

    def _lines(self) -> dict[str, str]:
        try:
            text = self.manifest.read_bytes().decode(errors="surrogateescape")
        except FileNotFoundError:
            return {}
        rows = (line.split(" ", 3) for line in text.split("\n") if line.count(" ") >= 3)
        return {row[3]: " ".join(row) for row in rows}

    def _files(self) -> list[Wanted]:
        """From the record; without one, blobs are named after their hashes."""
        try:
            record = json.loads((self.cache / "hermeion" / f"{self.name}.json").read_text())
            files = [Wanted(row["path"], row["size"], row.get("sha256") or row["oid"]) for row in record["files"]]
            return [file for file in files if not {"", ".."} & set(file.path.split("/"))]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        blobs = {path: os.path.realpath(self.place / path).rpartition("/")[2] for path in self.lines}
        return [Wanted(path, None, blob) for path, blob in blobs.items() if BLOB.fullmatch(blob)]

    def key(self, file: Wanted) -> tuple[str, str]:
        """Equal for files that are one on disk and are promised to be the same."""
        return os.path.realpath(self.place / file.path), file.promised

    def is_being_pulled(self) -> bool:
        """Whether somebody writes it now. By the filesystem's own clock: those of hosts differ."""
        lock = self.cache / "hermeion" / f"{self.name}.lock"
        try:
            last = max(path.stat().st_mtime for path in (lock, *lock.glob("*")))
        except OSError:
            return False
        clock = self.manifest.with_name(f".clock.{os.getpid()}")
        try:
            clock.touch()
            now = clock.stat().st_mtime
            clock.unlink()
        except OSError:
            now = time.time()
        return now - last < LOCK_SECONDS

    def record(self, states: dict[str, Stat], damaged: set[str]) -> None:
        """Bring the manifest up to date. Without one, it is only written when everything is right."""
        if damaged and not self.lines:
            return
        lines = dict(self.lines)
        lines.update({path: line_of(state, path) for path, state in states.items()})
        lines.update({path: f"{NEVER} {path}" for path in damaged})
        if lines == self.lines:
            return
        rows = sorted(line.encode(errors="surrogateescape") + b"\n" for line in lines.values())
        temporary = self.manifest.with_name(f".{self.manifest.name}.{os.getpid()}")
        with temporary.open("wb") as stream:
            stream.writelines(rows)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(self.manifest)


def verify(order: dict[str, Any]) -> dict[str, Any]:
    """Check everything that is ordered: ``names`` with what was found of each, and ``hashed`` bytes."""
    cache = Path(order["cache"])
    found: dict[str, Any] = {}
    snapshots = []
    for name in order["names"]:
        snapshot = Snapshot(cache, name)
        pulled = snapshot.is_being_pulled()
        reason = "it is being pulled" if pulled else "" if snapshot.files else "nothing is recorded of its files"
        if reason:
            found[name] = {"skipped": reason, "files": 0, "bytes": 0, "damaged": [], "renewed": []}
        else:
            snapshots.append(snapshot)
    # A file that several names need is hashed once.
    unique = {snapshot.key(file): (snapshot, file) for snapshot in snapshots for file in snapshot.files}
    sizes = {key: os.stat(key[0]).st_size if os.path.exists(key[0]) else 0 for key in unique}  # noqa: PTH110, PTH116
    progress = Progress(sum(sizes.values()), len(unique))

    def check(key: tuple[str, str]) -> tuple[str, Optional[Stat]]:  # noqa: UP045
        snapshot, file = unique[key]
        result = file.check(snapshot.place, progress)
        progress.add(0, 1)
        return result

    workers = max(2, min(WORKERS, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers) as pool:
        results = dict(zip(unique, pool.map(check, unique)))  # noqa: B905  # Python 3.9
    for snapshot in snapshots:
        answers = {file.path: (file, *results[snapshot.key(file)]) for file in snapshot.files}
        damaged = [
            {"path": path, "promised": file.promised, "found": wrong}
            for path, (file, wrong, _) in answers.items()
            if wrong
        ]
        states = {path: state for path, (_, wrong, state) in answers.items() if state and not wrong}
        renewed = [path for path, state in states.items() if snapshot.lines.get(path) != line_of(state, path)]
        note = "" if len(states) + len(damaged) == len(answers) else "some of its files were being written"
        if order["record"] and not snapshot.is_being_pulled():
            try:
                snapshot.record(states, {row["path"] for row in damaged})
            except OSError as error:
                note = f"its manifest cannot be written: {error.strerror or error}"
        size = sum(os.stat(place).st_size for place in {os.path.realpath(snapshot.place / p) for p in states})  # noqa: PTH116
        found[snapshot.name] = {
            "skipped": note, "files": len(answers), "bytes": size, "damaged": damaged, "renewed": renewed
        }  # fmt: skip
    return {"names": found, "hashed": progress.done}


def become_owner(folder: Path) -> None:
    """Go on as who owns the cache: a network filesystem may give root no rights."""
    if os.geteuid() == 0 and (owner := folder.stat()).st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def main() -> None:
    """Entry point."""
    order = json.loads(Path(sys.argv[1]).read_text())
    begun = time.monotonic()
    os.umask(0o022)
    with Path(order["result"]).open("w") as result:
        become_owner(Path(order["cache"]))
        json.dump({**verify(order), "seconds": time.monotonic() - begun}, result)


if __name__ == "__main__":
    main()
