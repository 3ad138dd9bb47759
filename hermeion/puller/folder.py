"""Weights from a folder of the host: a disk that was carried there, or a share."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from .job import File, Job
from .parts import Part
from .sources import Refused, Retry

BLOCK = 64 << 20
"""Bytes copied at a time before they are hashed: they are still warm then. A multiple of every filesystem's block,
without which one that can share blocks between files does not."""

READ = 1 << 20

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What is wrong with the cache, not with the folder."""


class Folder:
    """A folder with the files by their names in the repository."""

    def __init__(self, entry: dict[str, Any], job: Job) -> None:  # noqa: ARG002  # all sources are built alike
        self.path = Path(entry["path"])
        self.name = f"the folder {self.path}"

    def fill(self, file: File, part: Part) -> None:
        """Append to the part what is missing.

        The kernel copies, where it can: a filesystem with shared blocks (XFS, Btrfs) then holds the bytes once, and a
        server of both folders copies by itself. What was written is read back and hashed, so the copy is checked too.

        Raises:
            Retry: A share did not answer as it should.
            Refused: The file cannot be read, or is not as long as it should be.
        """
        origin = self.path / file.path
        try:
            descriptor = os.open(origin, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(
                f"{origin} cannot be read by user {os.geteuid()}, who owns the cache ({error.strerror}). Check the "
                "folder, its mode, and whether it is mounted; then run again."
            ) from error
        try:
            there = os.fstat(descriptor).st_size
            if there != file.size:
                raise Refused(
                    f"{origin} has {there} bytes, {file.size} were there when it was looked at. Copy it into the "
                    "folder again and make SHA256SUMS anew, then run again."
                )
            if not _kernel_copies(descriptor, file, part):
                _copy(origin, descriptor, file, part)
        finally:
            os.close(descriptor)


def _kernel_copies(source: int, file: File, part: Part) -> bool:
    """Whether the kernel could copy; what it could not is for the other way."""
    target = os.open(part.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while part.size < file.size:
            start = part.size
            length = min(BLOCK, file.size - start)
            while start < part.size + length:
                copied = os.copy_file_range(source, target, part.size + length - start, start, start)
                if not copied:  # some filesystems say so in place of refusing
                    part.catch_up()
                    return False
                start += copied
            if part.catch_up() < length:
                return False
    except OSError as error:
        if error.errno in FULL:
            raise
        part.catch_up()
        return False  # between filesystems, an old kernel, a bad block: reading tells what it is
    finally:
        os.close(target)
    return True


def _copy(origin: Path, source: int, file: File, part: Part) -> None:
    while part.size < file.size:
        try:
            block = os.pread(source, min(READ, file.size - part.size), part.size)
        except OSError as error:
            raise Retry(f"{origin} cannot be read at byte {part.size} ({error.strerror})") from error
        if not block:
            raise Retry(f"{origin} ends at byte {part.size} of {file.size}")
        part.write(block)
