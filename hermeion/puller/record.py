"""What a complete copy looks like: the manifest for the next probe, the record for people and programs."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from .job import Job
from .layout import Layout, write_atomic
from .rooms import is_network


class Stamp(NamedTuple):
    """What changes when a file is touched. ``inode`` is empty on a network filesystem."""

    inode: str
    mtime: str
    size: str

    @classmethod
    def of(cls, path: Path, *, network: bool) -> Stamp:
        """Of a file that is there, links followed.

        Raises:
            OSError: It is not.
        """
        found = path.stat()
        seconds, rest = divmod(found.st_mtime_ns, 10**9)
        return cls("" if network else str(found.st_ino), f"{seconds}.{rest:09d}0", str(found.st_size))


def manifest_text(job: Job) -> str:
    """One line for each file, as GNU ``find -L . -type f -printf '%i %T@ %s %P\\n'`` prints it, sorted bytewise."""
    lines = [f"{' '.join(Stamp.of(job.snapshot / file.path, network=False))} {file.path}" for file in job.files]
    return "".join(f"{line}\n" for line in sorted(lines, key=os.fsencode))


def read_manifest(path: Path, *, network: bool) -> dict[str, Stamp]:
    """Stamps by path; empty if there is none, or it is one of an older form."""
    stamps = {}
    try:
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
            if line:
                inode, mtime, size, name = line.split(" ", 3)
                stamps[name] = Stamp("" if network else inode, mtime, size)
    except (FileNotFoundError, ValueError):
        return {}
    return stamps


def is_complete(job: Job, layout: Layout) -> bool:
    """Whether every file is as it was when it was checked."""
    if not layout.manifest.exists():
        return False
    network = is_network(job.cache)
    recorded = read_manifest(layout.manifest, network=network)
    try:
        return all(
            recorded.get(file.path) == Stamp.of(job.snapshot / file.path, network=network)
            and int(recorded[file.path].size) == file.size
            for file in job.files
        )
    except OSError:
        return False


def known_blobs(job: Job, layout: Layout) -> dict[str, set[Stamp]]:
    """Blobs that were checked, with what they looked like: of every recorded pull of this repository."""
    known: dict[str, set[Stamp]] = {}
    network = is_network(job.cache)
    for record in layout.record.parent.glob(f"{job.folder.name}@*.json"):
        try:
            files = json.loads(record.read_text(encoding="utf-8"))["files"]
            stamps = read_manifest(record.with_suffix(".manifest"), network=network)
            for file in files:
                if stamp := stamps.get(file["path"]):
                    known.setdefault(file["sha256"] or file["oid"], set()).add(stamp)
        except (OSError, ValueError, KeyError, TypeError):  # no record of ours
            continue
    return known


def write_records(job: Job, layout: Layout, *, source: str, seconds: float) -> None:
    """Say that the weights are complete. The manifest comes last: it is what others believe."""
    record = {
        "repo": job.repo,
        "revision": job.revision,
        "name": job.name,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256, "oid": file.oid} for file in job.files],
        "checked": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017  # Python 3.10
        "host": socket.gethostname(),
        "source": source,
        "bytes": job.total,
        "seconds": round(seconds, 1),
    }
    write_atomic(layout.record, json.dumps(record, indent=1) + "\n")
    write_atomic(layout.manifest, manifest_text(job))
