"""One host to copy from: what it was seen to have, and whether it gives."""

from __future__ import annotations

import threading
import time

from .rsync import Away, Server

LOOK_SECONDS = 1.0
"""How often a host is asked what it has."""

REST_SECONDS = 3.0
"""How long a host that did not answer is left alone."""


class Peer:
    """A host to copy from, and what it was seen to have."""

    def __init__(self, server: Server, wanted: dict[str, int]) -> None:
        self.server = server
        self.files: dict[str, int] = {}
        self.asked = 0.0
        self.grown = 0.0
        self.rests = 0.0
        self.reason = "was not asked yet"
        self.for_good = self.seen = False
        self.bad: set[str] = set()
        self._wanted = wanted
        self._total = -1
        self._turn = threading.Lock()

    def look(self) -> bool:
        """See what it has, at most once a second; whether it answers."""
        with self._turn:
            now = time.monotonic()
            if self.for_good or now < self.rests:
                return False
            if now - self.asked < LOOK_SECONDS:
                return True
            try:
                files = self.server.list_folder("blobs")
            except Away as trouble:
                self.away(trouble)
                return False
            self.seen, self.files = True, files
            self.asked = now  # after the files: others look at both without taking turns
            total = sum(min(self.has(blob), size) for blob, size in self._wanted.items())
            if total > self._total:
                self._total, self.grown = total, time.monotonic()
            self.reason = "has nothing new"
            return True

    def away(self, trouble: Away) -> None:
        """It does not give now."""
        self.reason, self.for_good = str(trouble), trouble.for_good
        self.rests = time.monotonic() + REST_SECONDS

    def has(self, blob: str) -> int:
        """Bytes of a blob that it has, whole or not."""
        return self.files.get(blob, self.files.get(f"{blob}.incomplete", 0))
