"""Where things are in a cache: the Hub client's layout, and what stands beside it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path, PurePosixPath

from .job import File, Job
from .sources import Refused


class Layout:
    """Paths of one pull."""

    def __init__(self, job: Job) -> None:
        for name in (*(file.path for file in job.files), job.ref, job.name, job.revision, job.repo):
            if not is_inside(name):
                raise Refused(f"{job.repo}: {name!r} leads out of the cache's folder; nothing was fetched.")
        for file in job.files:
            if not file.blob.isalnum():
                raise Refused(f"{job.repo}: {file.path} has no hash but {file.blob!r}; nothing was fetched.")
        beside = job.cache / "hermeion"
        self.job = job
        self.blobs = job.folder / "blobs"
        self.ref = job.folder / "refs" / job.ref
        self.tree = job.folder / "trees" / f"{job.revision}.json"
        self.parts = beside / "parts"
        self.manifest = beside / f"{job.name}.manifest"
        self.record = beside / f"{job.name}.json"
        self.lock = beside / f"{job.name}.lock"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.blobs, self.parts, self.job.snapshot, self.ref.parent, self.tree.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def link(self, file: File) -> None:
        """Give a blob its name in the snapshot: a relative link, as the client makes it. In one step."""
        path = self.job.snapshot / file.path
        target = os.path.relpath(self.blobs / file.blob, path.parent)
        if path.is_symlink() and path.readlink() == Path(target):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.parent / f".{uuid.uuid4().hex}.new"
        new.symlink_to(target)
        new.replace(path)


def is_inside(name: str) -> bool:
    """Whether a path stays below the folder that it is put into."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts and name != "."


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step, readable by all, and see it on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.chmod(0o644)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
