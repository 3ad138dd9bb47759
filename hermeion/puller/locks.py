"""One writer of the same weights at a time, on every host that shares the filesystem."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .layout import write_atomic
from .marks import boot_id
from .sources import Refused
from .talk import note

BEAT = 5.0
"""Seconds between two signs of life."""

STALE = 60.0
"""Seconds without a sign of life, by the filesystem's own clock, after which a lock of another host is dead."""


def process_start(pid: int) -> str | None:
    """Start time of a process in the kernel's ticks, or ``None``: there is none. A pid alone is given out again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


class FolderLock:
    """A folder, since making one is atomic everywhere: ``owner.json`` in it says whose; its time says alive.

    Args:
        gate: Called while it waits; it raises what stops the pull.
        lost: Called when another writer took the lock over, which happens to a host that slept for a minute.
    """

    def __init__(self, path: Path, *, gate: Callable[[], None], lost: Callable[[], None]) -> None:
        self._path = path
        self._gate = gate
        self._lost = lost
        self._ended = threading.Event()
        self._owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "boot": boot_id(),
            "start": process_start(os.getpid()),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017  # Python 3.10
            "id": uuid.uuid4().hex,
        }

    def __enter__(self) -> FolderLock:  # noqa: PYI034  # Self is not in Python 3.10
        said = ""
        while not self._take():
            owner = self._read(self._path)
            if self._is_stale(owner):
                self._break(owner)
                continue
            text = f"{owner.get('host', 'another host')} (process {owner.get('pid', 'unknown')}) pulls the same weights"
            if text != said:
                note(f"{text} since {owner.get('since', 'a moment ago')}; waiting for it")
                said = text
            self._gate()
            time.sleep(0.5)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._read(self._path).get("id") == self._owner["id"]:
            shutil.rmtree(self._path, ignore_errors=True)

    def _take(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._path.mkdir()
        except FileExistsError:
            return False
        write_atomic(self._path / "owner.json", json.dumps(self._owner))
        return True

    def _is_stale(self, owner: dict[str, Any]) -> bool:
        if owner.get("host") == self._owner["host"] and owner.get("boot") == self._owner["boot"]:
            return process_start(int(owner.get("pid", 0))) != str(owner.get("start"))
        try:
            return self._now() - self._path.stat().st_mtime > STALE
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """The time by the clock that stamps the files."""
        stamp = self._path.parent / f".{uuid.uuid4().hex}.new"
        stamp.touch()
        try:
            return stamp.stat().st_mtime
        finally:
            stamp.unlink()

    def _break(self, owner: dict[str, Any]) -> None:
        """Take a dead lock away: by a new name first, which only one of several can give it."""
        aside = self._path.with_name(f".{uuid.uuid4().hex}.new")
        try:
            self._path.rename(aside)
        except OSError:
            return
        if self._read(aside).get("id") != owner.get("id") and not self._path.exists():
            aside.rename(self._path)  # another one was faster, and this is its new lock
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                if self._read(self._path).get("id") != self._owner["id"] and not self._ended.is_set():
                    self._lost()
                    return
                os.utime(self._path)
            except OSError:  # a server that is away for a moment
                continue

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            owner = json.loads((path / "owner.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}


def lost_lock(path: Path) -> Refused:
    """What is said when another writer took over."""
    return Refused(
        f"{path}: another host took this pull over, since this one gave no sign of life for {STALE:.0f} s; "
        "run again: it waits for the other, and then uses what is there."
    )
