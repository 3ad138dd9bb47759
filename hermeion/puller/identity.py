"""Whose the cache is, and becoming that user before it is touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """Who writes a cache, and with which umask."""

    uid: int
    gid: int
    umask: int


def owner_of(cache: Path) -> Owner:
    """The owner of the cache's folder, or of the nearest folder above it that exists.

    In a folder with the setgid bit the group writes too: umask 002. Elsewhere 022.
    """
    folder = cache
    while not folder.exists():
        folder = folder.parent
    found = folder.stat()
    shared = folder == cache and found.st_mode & stat.S_ISGID
    return Owner(found.st_uid, found.st_gid, 0o002 if shared else 0o022)


def become(owner: Owner) -> None:
    """Be that user from here on. Root may: on NFS that maps root to nobody, only the owner can write.

    A cache of root stays root's, and whoever is not root stays who they are.
    """
    os.umask(owner.umask)
    if os.geteuid() or not owner.uid:
        return
    os.setgroups([owner.gid])
    os.setgid(owner.gid)
    os.setuid(owner.uid)
