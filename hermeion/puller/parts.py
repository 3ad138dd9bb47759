"""A file on its way: bytes are appended and hashed as they come, and what is there already is never fetched again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .job import File
from .marks import Mark

BLOCK = 1 << 20
"""Bytes read at a time where another program has written."""

SYNC = 64 << 20
"""Bytes after which what has come is put on disk, while more comes: what a crash of the host may cost."""


class Part:
    """The beginning of a file, ``<blob>.incomplete`` beside the blobs, and the hash of it.

    Attributes:
        size: Bytes that are on disk and hashed.
        there: Bytes that were on disk when it was opened; 0 once they turned out wrong.
        hashed: Bytes that were hashed, those of earlier beginnings included.
        fetched: Bytes that came since it was opened, those that turned out wrong included.

    Args:
        gate: Called before a block is written or hashed; it raises what stops the pull.
        mark: Where it is written how far the file is safe on disk.
    """

    def __init__(
        self, file: File, blobs: Path, *, gate: Callable[[], None] = lambda: None, mark: Mark | None = None
    ) -> None:
        self.file = file
        self.blob = blobs / file.blob
        self.path = blobs / f"{file.blob}.incomplete"
        self.size = self.hashed = self.fetched = 0
        self.gate = gate
        self._mark = mark
        self._hash = file.new_hash()
        self._stream: BinaryIO | None = None
        self._syncing: threading.Thread | None = None
        self._failure: OSError | None = None
        self.there = self._trim()
        self._synced = self._known = self.there

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self.gate()
        if self._stream is None:
            self._stream = self.path.open("ab", buffering=0)
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += self._stream.write(view[written:])
        finally:  # what a full disk still took is there
            self._count(view[:written])

    def catch_up(self) -> int:
        """Hash what has been appended by an earlier run or another program; bytes found. They are warm most often."""
        before = self.size
        try:
            with self.path.open("rb", buffering=0) as stream:
                stream.seek(self.size)
                buffer = memoryview(bytearray(BLOCK))
                while count := stream.readinto(buffer):
                    self.gate()
                    self._count(buffer[:count])
        except FileNotFoundError:
            pass
        return self.size - before

    def restart(self) -> None:
        """Forget everything: what is there is not the beginning of the file."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.size = self.there = self._synced = self._known = 0
        self._hash = self.file.new_hash()
        if self._mark:
            self._mark.put(0)

    @property
    def is_good(self) -> bool:
        """Whether it is the whole file, byte for byte."""
        return self.size == self.file.size and self.digest == self.file.blob

    @property
    def digest(self) -> str:
        """Hash of what is there, hexadecimal."""
        return str(self._hash.hexdigest())

    def finish(self) -> None:
        """Make it the blob: on disk, readable for engines, in one step."""
        self.close()
        if self._failure:
            raise self._failure
        with self.path.open("ab") as stream:  # an empty file is not there yet
            os.fdatasync(stream.fileno())
        self.path.chmod(0o666 & ~_umask())
        self.path.replace(self.blob)
        if self._mark:
            self._mark.drop()

    def close(self) -> None:
        """Close the stream; the bytes stay."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def _trim(self) -> int:
        """Cut off what a crash of the host may have spoiled; bytes that are left."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        safe = self._mark.safe() if self._mark else None
        if safe is not None and safe < size:
            os.truncate(self.path, safe)
            size = safe
        if size:
            self._sync()  # what an earlier run had no time for
        if self._mark:
            self._mark.put(size)
        return size

    def _sync_beside(self) -> None:
        """Put what has come on disk while more comes. One at a time: a slow disk is not asked twice."""
        if self._syncing and self._syncing.is_alive():
            return
        size = self.size

        def work() -> None:
            try:
                self._sync()
                if self._mark:
                    self._mark.put(size)
            except OSError as error:  # the kernel tells it once, and here
                self._failure = error

        self._synced = size
        self._syncing = threading.Thread(target=work, daemon=True)
        self._syncing.start()

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _count(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self.size += len(data)
        self.hashed += len(data)
        if self.size > self._known:
            self.fetched += self.size - self._known
            self._known = self.size
        if self._mark and self.size - self._synced >= SYNC:
            self._sync_beside()


def hash_of(file: File, path: Path, gate: Callable[[], None]) -> str:
    """Hash of a file that is there, as its blob would be named."""
    digest = file.new_hash()
    buffer = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            gate()
            digest.update(buffer[:count])
    return str(digest.hexdigest())


def _umask() -> int:
    """Of this process, without setting it for a moment, which other threads would see."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
