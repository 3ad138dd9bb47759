"""How far an unfinished file is safe on disk, and who is at it: ``<cache>/hermeion/parts/<blob>``."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def boot_id() -> str:
    """Of the kernel that runs: another one after a crash of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Mark:
    """Held while a file is fetched; ``boot-id bytes`` is written into it.

    The lock is the kernel's: it is gone with the process, however that ends. On network filesystems it may not bind
    other hosts; one host of a filesystem pulls, and the folder lock of the pull is for the others.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Mark | None:
        """The mark, or ``None`` while another process holds it."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:  # a filesystem without locks
                return cls(path, descriptor)
            try:
                same = os.fstat(descriptor).st_ino == path.stat().st_ino
            except FileNotFoundError:
                same = False
            if same:
                return cls(path, descriptor)
            os.close(descriptor)  # its holder finished, and took it away, between our two steps

    def safe(self) -> int | None:
        """Bytes that are surely on disk; ``None``: all that are there, since the host has not crashed in between."""
        boot, _, size = os.pread(self._descriptor, 200, 0).decode("ascii", "replace").partition(" ")
        return int(size) if boot != boot_id() and size.strip().isdigit() else None

    def put(self, size: int) -> None:
        """So many bytes are on disk. Of constant length: it is written in place, since the file is the lock."""
        os.pwrite(self._descriptor, f"{boot_id()} {size:>20}\n".encode(), 0)

    def drop(self) -> None:
        """The file is finished, or nothing of it is there."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
