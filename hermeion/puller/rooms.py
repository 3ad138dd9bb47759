"""The filesystem below a cache: its room, its kind, and bringing everything on it to disk."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .sources import Refused
from .talk import size_text

_NETWORK = {"nfs", "nfs4", "lustre", "ceph", "cephfs", "wekafs", "beegfs", "gpfs", "9p", "virtiofs", "cifs", "smb3"}


def is_network(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether several hosts may write it: the number of a file may then differ from host to host."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            kind = after.split()[0]
            return kind in _NETWORK or kind.startswith("fuse.")
    return False


def check_room(cache: Path, missing: int, reserve: int) -> None:
    """See that the missing bytes fit, and the reserve stays free.

    Raises:
        Refused: They do not.
    """
    if not missing:
        return
    space = os.statvfs(cache)
    free = space.f_bavail * space.f_frsize
    if free < missing + reserve:
        raise Refused(
            f"{cache}: {size_text(missing)} ({missing} bytes) are to come and {size_text(reserve)} stay free, but only "
            f"{size_text(free)} ({free} bytes) are free; free {size_text(missing + reserve - free)} "
            "(`hermeion cache prune` shows what may go) or put hermes_cache elsewhere, and run again."
        )


def sync(folder: Path) -> None:
    """Bring the filesystem of a folder to disk: data, names, links."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    except AttributeError:  # a C library without it
        os.sync()
    finally:
        os.close(descriptor)
